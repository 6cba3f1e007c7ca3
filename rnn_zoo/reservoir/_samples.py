"""What a fit of a readout is given, checked; NaN in a target is one that was not observed."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from .._common.checks import check_traced
from .._common.numbers import exactly, in_64_bits, on_host, place
from .._engine.unstable import Tracer


def check_penalty(penalty: ArrayLike, rank: int) -> Array:
    """The penalty as an array of this rank. ValueError for another, or for one not above 0."""
    penalty = jnp.asarray(penalty)
    if penalty.ndim != rank:
        wanted = "shape (k,), one per readout" if rank else "a scalar"
        raise ValueError(f"expected the penalty as {wanted}, got shape {penalty.shape}")
    return check_traced(penalty, jnp.all(penalty > 0), "a ridge penalty above 0")


def kept(name: str, value: Any) -> Any:
    """The value as an array of JAX, with all the bits that the floats of NumPy have."""
    host = None if isinstance(value, jax.Array) else on_host(value)
    if host is None:
        return jnp.asarray(value)
    if host.dtype.kind not in "fiub":
        return exactly(name, value)
    return in_64_bits(host.astype(np.float64)) if host.dtype.itemsize > 4 else jnp.asarray(host)


def check_finite(name: str, values: Any, mask: Any, axes: tuple[str, ...]) -> None:
    """A ValueError that names the first value that is not finite where `mask` is True; nothing is
    checked in what is traced. `mask` has the first axes of `values`."""
    if isinstance(values, Tracer) or isinstance(mask, Tracer):
        return
    values = np.asarray(values)
    if jnp.issubdtype(values.dtype, jnp.inexact):
        wrong = ~np.isfinite(values.astype(np.float64) if values.dtype.kind == "V" else values)
        _refuse(name, values, wrong, mask, axes, "give it a value, or a mask that leaves it out")


def check_targets(targets: Array, mask: Any, axes: tuple[str, ...]) -> tuple[Array, bool]:
    """The targets, and whether some of a step are missing and others are not.

    ValueError for infinite ones. Where targets are traced, a step that lacks some of them and not
    all is a runtime error.
    """
    if not jnp.issubdtype(targets.dtype, jnp.inexact):
        return targets, False
    keep = jnp.ones(targets.shape[:-1], bool) if mask is None else jnp.asarray(mask)
    # Whether each target needs equations of its own decides shapes, so it has to be known before
    # the program is compiled; from traced values it cannot be.
    if isinstance(targets, Tracer) or isinstance(keep, Tracer):
        if targets.shape[-1] < 2:
            return targets, False
        absent = jnp.isnan(targets)
        some = jnp.any(keep & absent.any(axis=-1) & ~absent.all(axis=-1))
        message = (
            "a step lacks some of its targets and not all (NaN), which needs equations for each "
            "target: fit outside of jit, or give a network for each"
        )
        return eqx.error_if(targets, some, message), False
    values = np.asarray(targets, np.float64)
    _refuse("targets", values, np.isinf(values), keep, axes, "NaN stands for a missing target")
    absent = np.isnan(values)
    some = np.asarray(keep) & absent.any(axis=-1) & ~absent.all(axis=-1)
    return targets, bool(some.any())


def _refuse(
    name: str, values: Any, wrong: Any, mask: Any, axes: tuple[str, ...], mend: str
) -> None:
    if mask is not None:
        keep = np.asarray(mask)
        wrong = wrong & keep.reshape(keep.shape + (1,) * (wrong.ndim - keep.ndim))
    if wrong.any():
        at = place(wrong)
        where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, at))
        raise ValueError(f"expected finite {name}, got {values[at]} at {where}: {mend}")


def check_samples(features: Any, targets: Any, mask: Array | None) -> None:
    """ValueError or TypeError where the shapes or the mask of samples do not fit each other."""
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            "expected features (samples, features) and targets (samples, outputs), got "
            f"{features.shape} and {targets.shape}: flatten batch and time into samples"
        )
    if mask is None:
        return
    if mask.dtype != bool:
        raise TypeError(f"expected mask of dtype bool, got {mask.dtype}")
    if mask.shape != features.shape[:1]:
        raise ValueError(f"expected mask of shape {features.shape[:1]}, got {mask.shape}")
