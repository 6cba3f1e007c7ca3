"""The recurrence of RWKV-7."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._common.terms import affine
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    derived,
    drawn_from,
    filled,
    option,
)
from ..init import fan_in_uniform, orthogonal
from ..linear import Parts
from ..registry import register
from .heads import cut, features_map, heads, like_value, unit, value_size, widths, zero_matrices
from .modes import has_map


__all__ = ["RWKV7Cell"]

# The authors' bound of the decay: at most exp(-exp(-1/2)), about 0.545, is forgotten in a step.
_FASTEST = math.exp(-0.5)


def _rank(name: str, value: int | None, given: Given) -> int:
    """of the maps to the decays and to the learning rates, by default hidden_size or 32 where that
    is larger"""
    return at_least_one(name, min(32, given.hidden_size) if value is None else value, given)


def _rows(given: Given) -> int:
    """Of r, k, v, and of what decays and learning rates are made of."""
    return given.num_heads * (2 * given.key_size + given.value_size) + 2 * given.rank


def _first_map(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """r and v with half of the usual bound, k with a twentieth, the low ranks with 0."""
    keys = given.num_heads * given.key_size
    counts = (keys, keys, given.hidden_size, 2 * given.rank)
    scale = jnp.asarray(np.repeat([0.5, 0.05, 0.5, 0.0], counts), given.dtype)
    return scale[:, None] * fan_in_uniform(key, shape, given.dtype)


def _small_orthogonal(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    return 0.1 * orthogonal(key, shape, given.dtype)


def _along(given: Any) -> np.ndarray:
    """From 0 to 1 along all channels."""
    count = given.num_heads * given.key_size
    return np.arange(count) / max(count - 1, 1)


def _within(given: Any) -> np.ndarray:
    """From -1 to 1 along the channels of each head, slow in the middle."""
    size = given.key_size
    one = (2 * np.arange(size) - (size - 1)) / max(size - 1, 1)
    return np.tile(one * abs(one), given.num_heads)


def first_decays(given: Any, power: float = 1.0) -> np.ndarray:
    """`bias_w` of a layer, of which the first has a power of 1; `given` has its heads."""
    return -5.5 + 6 * _along(given) ** power + 2.5 * _within(given)


def _first_decays(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(first_decays(given), given.dtype)


def _first_rates(given: Given, shape: tuple[int, ...]) -> Array:
    rates = -0.19 + 0.3 * _within(given) + 0.4 * (_along(given) - 0.5)
    return jnp.asarray(rates, given.dtype)


def _first_k_k(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(0.71 - 0.1 * (_along(given) - 0.5), given.dtype)


@register(
    "rwkv7",
    family="matrix",
    paper="Peng et al. 2025, arXiv:2503.14456",
    equation="S' = diag(w) S - (a * kappa) (S^T kappa)^T + k v^T, y = S'^T r, by head",
    full="""
        for each head
        r, K, v, f = pieces(W x, key_size, key_size, value_size)
        f_w, f_a = f
        w = exp(-exp(-0.5) sig(W_w tanh(f_w) + b_w))
        a = sig(W_a f_a + b_a)
        kappa = unit(k_k * K)
        k = K * (1 + k_a * (a - 1))
        S' = diag(w) S - outer(a * kappa, S^T kappa) + outer(k, v)
        y = S'^T r
        where W = weight_ih; W_w = head(weight_w); b_w = head(bias_w); W_a = head(weight_a)
              b_a = head(bias_a); k_k = head(k_k); k_a = head(k_a); S = state
    """,
    block="RWKV7TimeMix",
)
class RWKV7Cell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""The recurrence of RWKV-7, "Goose": a generalised delta rule (Peng et al. 2025,
    arXiv:2503.14456).

    In each head

    $$S' = \mathrm{diag}(w)\, S - (a \odot \kappa)(S^\top \kappa)^\top + k\, v^\top, \qquad
    y = S'^\top r$$
    $$w = e^{-e^{-1/2}\, \sigma(W_w \tanh(f_w) + b_w)}, \qquad
    a = \sigma(W_a f_a + b_a), \qquad
    \kappa = \mathrm{unit}(k_k \odot \hat K), \qquad
    k = \hat K \odot (1 + k_a \odot (a - 1))$$

    with $\mathrm{unit}(u) = u / \sqrt{|u|^2 + 10^{-6}}$. State: S, (heads, key, value), zero at the
    start. What is erased is read at $\kappa$, *before* the decay, and erased at $a \odot \kappa$: a
    is a learning rate for each channel. What is written has a key of its own. The decay alone
    leaves at least 0.545 of each channel. The rows of `weight_ih` @ x are r, $\hat K$ and v, each
    head by head, then $f_w$ and $f_a$, `rank` numbers each, for all heads together. With
    `input_map=False` x is these features. The cell counts steps and takes no dt: erasing by a is no
    flow.

    Parameters start as those of the authors' first layer, the rows of $f_w$ and $f_a$ among them
    at 0. The paper's block shifts tokens before the maps; behind the recurrence it normalises y,
    adds a bonus $(r \cdot k)\, v$ and gates the sum.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn_from(_first_map, when=has_map)
    weight_w: Float[Array, "num_heads*key rank"] = drawn_from(_small_orthogonal)
    bias_w: Float[Array, " num_heads*key"] = computed(_first_decays)
    weight_a: Float[Array, "num_heads*key rank"] = drawn_from(_small_orthogonal)
    bias_a: Float[Array, " num_heads*key"] = computed(_first_rates)
    k_k: Float[Array, " num_heads*key"] = computed(_first_k_k)
    k_a: Float[Array, " num_heads*key"] = filled(1.02)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    rank: ClassVar[int | None] = option(None, _rank)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def parts(self, c: None, x: Float[Array, " {self.input_size}"]) -> Parts:
        (key, value), rank = widths(self), (self.weight_w.shape[1],)
        features = affine(self.weight_ih, x, None)
        r, raw, v, f_w, f_a = cut(features, key, key, value, rank, rank)
        log_decay = -_FASTEST * jax.nn.sigmoid(self.weight_w @ jnp.tanh(f_w) + self.bias_w)
        a = jax.nn.sigmoid(self.weight_a @ f_a + self.bias_a).reshape(key)
        kappa = unit(raw * self.k_k.reshape(key))
        k = raw * (1 + self.k_a.reshape(key) * (a - 1))
        return Parts(r, k, v, log_decay.reshape(key), a=-kappa, b=a * kappa)

    def output(
        self, c: None, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()
