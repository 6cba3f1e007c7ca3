"""What several cells with a matrix state declare and compute: heads, keys, the cutting of features.

The state is (heads, key, value), and the outputs are the values of all heads, one head behind the
other. The features that a cell computes from come from one map of x, or are x itself without an
input map, and are cut into parts, each of them head by head.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._common.dtypes import state_dtype
from ..base import AbstractCell
from ..declared import Given, at_least_one
from ..init import log_uniform, uniform


LOWEST_STEP = 1e-4
STEP_RANGE = (0.001, 0.1)


# --- options --------------------------------------------------------------------------------------


def heads(name: str, value: int | None, given: Given) -> int:
    """the number of heads, which divides hidden_size; by default its largest divisor of at most
    4"""
    if value is None:
        return max(n for n in range(1, 5) if given.hidden_size % n == 0)
    at_least_one(name, value, given)
    if given.hidden_size % value:
        raise ValueError(
            f"expected num_heads to divide hidden_size={given.hidden_size}, got {value}"
        )
    return value


def value_size(given: Given) -> int:
    """V: the outputs of one head."""
    return given.hidden_size // given.num_heads


def like_value(name: str, value: int | None, given: Given) -> int:
    """the width of the keys of one head, by default that of its values,
    hidden_size / num_heads"""
    return at_least_one(name, value_size(given) if value is None else value, given)


def half_value(name: str, value: int | None, given: Given) -> int:
    """the width of the keys of one head, by default half that of its values,
    hidden_size / num_heads, and at least 1"""
    half = max(1, value_size(given) // 2)
    return at_least_one(name, half if value is None else value, given)


def features_map(name: str, value: bool, given: Given) -> bool:
    """False leaves `weight_ih` and `bias` out: x is then the features, `rows` in number, as a block
    gives them that has a convolution before its cell"""
    if not value and given.input_size != given.rows:
        raise ValueError(
            f"expected input_size to be the number of features, {given.rows}, without input_map, "
            f"got {given.input_size}"
        )
    return value


# --- how parameters start -------------------------------------------------------------------------


def first_rates(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """`A_log`: logarithms of numbers uniform on (1, 16)."""
    dtype = jnp.promote_types(given.dtype, jnp.float32)
    return jnp.log(uniform(key, shape, dtype, low=1.0, high=16.0)).astype(given.dtype)


def first_steps(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """`bias_dt`: softplus makes of it numbers log-uniform on `step_range`, at least 1e-4.

    A cell without that option has (0.001, 0.1).
    """
    dtype = jnp.promote_types(given.dtype, jnp.float32)
    bounds = getattr(given, "step_range", STEP_RANGE)
    step = jnp.maximum(jnp.exp(log_uniform(key, shape, dtype, bounds=bounds)), LOWEST_STEP)
    # The inverse of softplus, also where the step is large.
    return (step + jnp.log(-jnp.expm1(-step))).astype(given.dtype)


def xavier(*parts: str, gain: float = 1.0) -> Callable[..., Array]:
    """A start of `weight_ih` for `drawn_from`: each part Glorot-uniform, with the fans of its own.

    The parts are numbers of rows as in an annotation, "num_heads*key".
    """

    def start(given: Given, shape: tuple[int, ...], key: Any) -> Array:
        columns = shape[1]
        counts = [given.shape(part)[0] for part in parts]
        bounds = [gain * math.sqrt(6 / (count + columns)) for count in counts]
        scale = jnp.asarray(np.repeat(bounds, counts), given.dtype)
        return scale[:, None] * uniform(key, shape, given.dtype, low=-1.0, high=1.0)

    return start


# --- what a step computes -------------------------------------------------------------------------


def cut(features: Float[Array, " rows"], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """The features as parts of these shapes, one behind the other."""
    sizes = [math.prod(shape) for shape in shapes]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return [part.reshape(shape) for part, shape in zip(jnp.split(features, ends), shapes)]


def unit(z: Float[Array, "*heads key"]) -> Float[Array, "*heads key"]:
    """Keys of length 1; a small number under the root keeps a key of zeros finite."""
    return z * jax.lax.rsqrt(jnp.sum(z * z, -1, keepdims=True) + 1e-6)


def softplus_decay(
    A_log: Float[Array, "*#heads"], z: Float[Array, "*#heads"], dt: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "*#heads"]:
    r"""The logarithm of a decay, $-dt\, e^{A_{log}} \mathrm{softplus}(z)$."""
    return -jnp.asarray(dt) * jnp.exp(A_log) * jax.nn.softplus(z)


def zero_matrices(
    cell: AbstractCell, heads: int, key: int, value: int
) -> Float[Array, "{heads} {key} {value}"]:
    """The first state, in the dtype of a carry beside the parameters of the cell; where it has
    none, in JAX's default float."""
    real = (p for p in jax.tree.leaves(cell) if jnp.issubdtype(p.dtype, jnp.floating))
    first = next(real, None)
    dtype = jnp.result_type(float) if first is None else state_dtype(first)
    return jnp.zeros((heads, key, value), dtype)


def widths(cell: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """(heads, key) and (heads, value): the shapes of most parts."""
    return (cell.num_heads, cell.key_size), (cell.num_heads, cell.value_size)
