"""Initialisers: a key and sizes to a real array."""

import math
from numbers import Integral
from typing import Any

import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


def working_float(dtype: Any = None) -> Any:
    """The dtype of new parameters: the given real one, or JAX's default float."""
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"expected a real dtype for the parameters, got {dtype}")
    return dtype


def check_sizes(**sizes: int) -> None:
    """Every size is an integer of at least 1, or a ValueError names the first that is not."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"expected {name} to be an integer of at least 1, got {size!r}")


def glorot(key: PRNGKeyArray, gates: int, rows: int, columns: int, dtype: Any) -> Array:
    """Glorot-uniform (gates * rows, columns), each gate with the fans of its own block."""
    make = jinit.glorot_uniform(in_axis=-1, out_axis=-2)
    return _stacked(key, gates, lambda k: make(k, (rows, columns), dtype))


def orthogonal(key: PRNGKeyArray, gates: int, size: int, dtype: Any) -> Array:
    """(gates * size, size), each gate's block a random orthogonal matrix."""
    make = jinit.orthogonal()
    # The factorisation behind it has no 16-bit form.
    wide = jnp.promote_types(dtype, jnp.float32)
    return _stacked(key, gates, lambda k: make(k, (size, size), wide)).astype(dtype)


def _stacked(key: PRNGKeyArray, gates: int, make) -> Array:
    return jnp.concatenate([make(k) for k in jr.split(key, gates)])


def uniform(
    key: PRNGKeyArray, shape: tuple[int, ...], low: float, high: float, dtype: Any
) -> Float[Array, "..."]:
    """U(low, high)."""
    return jr.uniform(key, shape, dtype, low, high)


def ring(
    key: PRNGKeyArray, size: int, r_min: float, r_max: float, max_phase: float, dtype: Any
) -> tuple[Float[Array, " {size}"], Float[Array, " {size}"]]:
    """(nu_log, theta_log) of eigenvalues exp(-exp(nu_log) + i exp(theta_log)).

    The eigenvalues are uniform by area on the ring r_min <= |lambda| <= r_max, with phases
    uniform on (0, max_phase) (Orvieto et al. 2023, lemma 3.2). The draws stay off 0, where
    the logarithms end, and are float32 at least: cast what you compute from them.
    """
    key_radius, key_phase = jr.split(key)
    dtype = jnp.promote_types(dtype, jnp.float32)
    tiny = 1e-6
    squared = jr.uniform(key_radius, (size,), dtype, tiny, 1.0) * (r_max**2 - r_min**2) + r_min**2
    squared = jnp.minimum(squared, 1.0 - tiny)
    nu_log = jnp.log(-0.5 * jnp.log(squared))
    theta_log = jnp.log(max_phase * jr.uniform(key_phase, (size,), dtype, tiny, 1.0))
    return nu_log, theta_log


def normal(key: PRNGKeyArray, shape: tuple[int, ...], std: float, dtype: Any) -> Array:
    """N(0, std^2)."""
    return std * jr.normal(key, shape, dtype)


def fan_in_uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of PyTorch's linear layer."""
    bound = 1 / math.sqrt(fan_in)
    return uniform(key, shape, -bound, bound, dtype)


def skew(triangle: Float[Array, " triangle"], size: int) -> Float[Array, "{size} {size}"]:
    """T - T^t for the strict upper triangle T, given row by row."""
    upper = jnp.zeros((size, size), triangle.dtype)
    upper = upper.at[jnp.triu_indices(size, 1)].set(triangle)
    return upper - upper.T


def check_positive(name: str, value: float, *, zero: bool = False) -> float:
    """A positive number (or, with `zero`, one that is not negative), or a ValueError."""
    if not (value > 0 or (zero and value == 0)):
        bound = "at least 0" if zero else "above 0"
        raise ValueError(f"expected {name} {bound}, got {value}")
    return float(value)
