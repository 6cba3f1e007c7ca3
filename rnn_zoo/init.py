"""Initialisers: a key, a shape and a dtype to a real array."""

import math
from typing import Any

import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from ._common.checks import check_bounds as _check_bounds
from ._common.dtypes import working_float as working_float
from ._common.moved import listing as _listing, moved as _moved
from ._common.old_names import INIT as _OLD


Shape = tuple[int, ...]


def glorot(key: PRNGKeyArray, shape: Shape, dtype: Any, *, blocks: int = 1) -> Array:
    """Glorot-uniform, (rows, columns); each of the `blocks` of rows has the fans of its own."""
    make = jinit.glorot_uniform(in_axis=-1, out_axis=-2)
    rows, columns = shape
    return _stacked(key, blocks, lambda k: make(k, (rows // blocks, columns), dtype))


def orthogonal(key: PRNGKeyArray, shape: Shape, dtype: Any, *, blocks: int = 1) -> Array:
    """(blocks * size, size), each block a random orthogonal matrix."""
    # The factorisation behind it has no 16-bit form.
    wide = jnp.promote_types(dtype, jnp.float32)
    rows, columns = shape

    # One matrix after the other under `vmap`: with jaxlib 0.10.2 on two cores, several
    # factorisations of batches wait for each other's threads for ever.
    @jax.custom_batching.sequential_vmap
    def make(key: PRNGKeyArray) -> Array:
        return jinit.orthogonal()(key, (rows // blocks, columns), wide)

    return _stacked(key, blocks, make).astype(dtype)


def _stacked(key: PRNGKeyArray, blocks: int, make) -> Array:
    return jnp.concatenate([make(k) for k in jr.split(key, blocks)])


def uniform(
    key: PRNGKeyArray, shape: Shape, dtype: Any, *, low: float, high: float
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


def normal(key: PRNGKeyArray, shape: Shape, dtype: Any, *, std: float) -> Array:
    """N(0, std^2)."""
    return std * jr.normal(key, shape, dtype)


def fan_in_normal(
    key: PRNGKeyArray, shape: Shape, dtype: Any, *, fan_in: int | None = None
) -> Array:
    """N(0, 1 / fan_in); the fan-in is the last axis unless it is given."""
    return normal(key, shape, dtype, std=1 / math.sqrt(shape[-1] if fan_in is None else fan_in))


def fan_in_uniform(
    key: PRNGKeyArray, shape: Shape, dtype: Any, *, fan_in: int | None = None
) -> Array:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of PyTorch's linear layer.

    The fan-in is the last axis unless it is given.
    """
    bound = 1 / math.sqrt(shape[-1] if fan_in is None else fan_in)
    return uniform(key, shape, dtype, low=-bound, high=bound)


def leaky_kaiming(key: PRNGKeyArray, shape: Shape, dtype: Any) -> Array:
    """Kaiming-uniform (rows, columns) for a slope of 8 below zero: U(±sqrt(6 / (65 columns))).

    What the authors of IndRNN and UnICORNN take for input weights, an eighth of the usual.
    """
    bound = math.sqrt(6 / ((1 + 8**2) * shape[-1]))
    return uniform(key, shape, dtype, low=-bound, high=bound)


def log_uniform(
    key: PRNGKeyArray, shape: Shape, dtype: Any, *, bounds: tuple[float, float]
) -> Float[Array, "..."]:
    """The logarithms of numbers that are log-uniform on `bounds`, for step sizes.

    ValueError unless 0 < low <= high.
    """
    low, high = _check_bounds(bounds)
    return uniform(key, shape, dtype, low=math.log(low), high=math.log(high))


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
