"""Numbers of the host: into JAX as they are, or not at all.

JAX without 64 bits cuts integers down to their last 32, in silence; what enters the package
comes through `exactly`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._engine.unstable import Tracer


def exactly(name: str, value: Any) -> Array:
    """`value` as a JAX array of the same numbers; floats are rounded as ever.

    ValueError for integers that JAX's integers do not hold, and for finite floats that would
    become infinite; TypeError for what holds no numbers.
    """
    host = None if fits(value) or not _of_host(value) else on_host(value)
    if host is None:
        return jnp.asarray(value)
    kept = checked(name, host)
    # Weak types of Python's numbers stay.
    return jnp.asarray(kept if host.dtype == np.longdouble else value)


def fits(value: Any) -> bool:
    """Whether JAX takes `value` as it is: a quick answer for what comes often."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub" and value.dtype.itemsize <= 4
    return isinstance(value, jax.Array) or (type(value) is float and abs(value) < 3e38)


def on_host(value: Any) -> np.ndarray | None:
    """`value` in NumPy, in all its bits; None where it is traced, or a key."""
    leaves = jax.tree.leaves(value)
    if any(isinstance(leaf, Tracer | jax.ShapeDtypeStruct) for leaf in leaves):
        return None
    if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return None
    return np.asarray(value)


def _of_host(value: Any) -> bool:
    """Whether some of it is not JAX's already."""
    return not isinstance(value, jax.Array) and not all(
        isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)
    )


def checked(name: str, host: np.ndarray) -> np.ndarray:
    """An array that JAX takes over without changing a number; else an error, see `exactly`."""
    if host.dtype.kind in "OSUmM":
        raise _no_numbers(name, host)
    if host.dtype.kind not in "iuf":
        return host
    if host.dtype == np.longdouble:
        host = host.astype(np.float64)
    kept = jax.dtypes.canonicalize_dtype(host.dtype)
    if kept == host.dtype:
        return host
    info: Any = np.iinfo(kept) if host.dtype.kind in "iu" else np.finfo(kept)
    wrong = (host < info.min) | (host > info.max)
    if host.dtype.kind == "f":
        wrong &= np.isfinite(host)
    if wrong.any():
        at = place(wrong)
        raise ValueError(
            f"expected {name} within the {kept.itemsize * 8} bits of {kept}, got {host[at]}"
            f"{f' at {list(map(int, at))}' if at else ''}: subtract an offset or scale it, give "
            'floats where rounding is right, or jax.config.update("jax_enable_x64", True)'
        )
    return host.astype(kept)


def _no_numbers(name: str, host: np.ndarray) -> Exception:
    if host.dtype.kind in "mM":
        return TypeError(
            f"expected {name} as numbers, got {host.dtype}: count in a unit of your own, "
            '(t - t[0]) / np.timedelta64(1, "s")'
        )
    if host.dtype.kind == "O" and all(isinstance(v, int) for v in host.flat):
        return ValueError(f"expected {name} within 64 bits, got {host.flat[0]}")
    return TypeError(f"expected {name} as an array of numbers, got {host.dtype}{host.shape}")


def in_64_bits(host: Any) -> Array:
    """An array of JAX with the dtype of NumPy's, whatever the program runs in."""
    with jax.enable_x64(True):
        return jnp.asarray(host)


def place(wrong: Any) -> tuple[int, ...]:
    """Where the first of them is."""
    return tuple(int(i[0]) for i in np.nonzero(wrong)) if np.ndim(wrong) else ()
