"""Initialisers: a key and sizes to a real array."""

import math
from typing import Any

import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from ._common.dtypes import working_float as working_float
from ._common.moved import listing as _listing, moved as _moved
from ._common.old_names import INIT as _OLD


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


def leaky_kaiming(key: PRNGKeyArray, rows: int, columns: int, dtype: Any) -> Array:
    """Kaiming-uniform (rows, columns) for a slope of 8 below zero: U(±sqrt(6 / (65 columns))).

    What the authors of IndRNN and UnICORNN take for input weights, an eighth of the usual.
    """
    bound = math.sqrt(6 / ((1 + 8**2) * columns))
    return uniform(key, (rows, columns), -bound, bound, dtype)


def log_uniform(
    key: PRNGKeyArray, shape: tuple[int, ...], bounds: tuple[float, float], dtype: Any
) -> Float[Array, "..."]:
    """The logarithms of numbers that are log-uniform on `bounds`, for step sizes.

    ValueError unless 0 < low <= high.
    """
    low, high = bounds
    if not 0 < low <= high:
        raise ValueError(f"expected a range (low, high) with 0 < low <= high, got {bounds}")
    return uniform(key, shape, math.log(low), math.log(high), dtype)


def hippo_legs(size: int) -> tuple[NDArray[np.complexfloating], NDArray[np.complexfloating]]:
    r"""Eigenvalues and unitary eigenvectors of the normal part of the HiPPO-LegS matrix.

    $A_{nk} = -\sqrt{(2n+1)(2k+1)}$ below the diagonal and $-(n+1)$ on it is a normal matrix
    less $p p^t$, $p_n = \sqrt{n + 1/2}$ (Gu et al. 2022, arXiv:2206.11893). The real parts are
    -1/2; the imaginary parts rise, so that the first half is negative and the second its
    conjugate. NumPy float64: nothing here depends on a key.
    """
    n = np.arange(size)
    scale = np.sqrt(2 * n + 1)
    hippo = -np.tril(np.outer(scale, scale), -1) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    normal = hippo + np.outer(p, p)
    rotation = (normal - normal.T) / 2
    frequencies, vectors = np.linalg.eigh(-1j * rotation)
    return -0.5 + 1j * frequencies, vectors


def skew(triangle: Float[Array, " triangle"], size: int) -> Float[Array, "{size} {size}"]:
    """T - T^t for the strict upper triangle T, given row by row."""
    upper = jnp.zeros((size, size), triangle.dtype)
    upper = upper.at[jnp.triu_indices(size, 1)].set(triangle)
    return upper - upper.T


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__, "working_float")
