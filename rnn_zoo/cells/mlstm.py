"""The matrix cell of xLSTM."""

__all__ = ["MLSTMCell", "MLSTMState"]

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.terms import affine, plus
from ..base import AbstractScaledMatrixCell
from ..declared import AbstractDeclaredCell, Given, derived, drawn_from, option
from ..init import normal
from ..linear import Scaled
from ..registry import register
from .heads import cut, features_map, half_value, heads, value_size, widths, zero_matrices
from .modes import has_map
from .slstm import EMPTY, small


class MLSTMState(NamedTuple):
    """State of an mLSTM: matrices C and normalisers n, both divided by the exponential of the
    stabilisers m."""

    C: Float[Array, "heads key value"]
    n: Float[Array, "heads key"]
    m: Float[Array, " heads"]


def _rows(given: Given) -> int:
    return given.num_heads * (2 * given.key_size + given.value_size + 2)


def _maps(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """Those of the gates are 0."""
    return small(key, shape, given.dtype).at[-2 * given.num_heads :].set(0)


def _gates(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """Of i N(0, 0.01), of f from 3 to 6."""
    i = normal(key, (given.num_heads,), given.dtype, std=0.1)
    return jnp.concatenate([i, jnp.linspace(3.0, 6.0, given.num_heads).astype(given.dtype)])


@register(
    "mlstm",
    family="matrix",
    paper="Beck et al. 2024, arXiv:2405.04517",
    equation="C' = sig(f) C + exp(i) k v^T, n' = sig(f) n + exp(i) k, y = C'^T q / max(|n' q|, 1)",
    full="""
        for each head
        q_x, k, v, i_x, f_x = pieces(W x, key_size, key_size, value_size, 1, 1)
        q = q_x / sqrt(key_size)
        i = i_x + b_i
        f = f_x + b_f
        m' = max(m - softplus(-f), i)
        F = exp(m - softplus(-f) - m')
        C' = F C + exp(i - m') outer(k, v)
        n' = F n + exp(i - m') k
        y = C'^T q / max(abs(sum(n' * q)), exp(min(-m', 80)))
        where C, n, m = state; W = weight_ih; b_i = head(b_1); b_f = head(b_2)
              b_1, b_2 = bias_gates
    """,
    block="MLSTMBlock",
)
class MLSTMCell(AbstractDeclaredCell, AbstractScaledMatrixCell, init=False):
    r"""The matrix LSTM of xLSTM (mLSTM; Beck et al. 2024, arXiv:2405.04517).

    $$q, k, v, i, f = W x + b, \qquad m' = \max(\log \sigma(f) + m, i), \qquad
    F = e^{\log \sigma(f) + m - m'}, \qquad I = e^{i - m'}$$
    $$C' = F C + I k v^\top, \qquad n' = F n + I k, \qquad
    y = \frac{K^{-1/2} C'^\top q}{\max(|K^{-1/2}\, n' \cdot q|, e^{-m'})}$$

    for each of `num_heads` heads, with keys of K numbers. State: `MLSTMState(C, n, m)`, of shapes
    (heads, key, value), (heads, key) and (heads,). The input gate is an exponential, so that a new
    input can outweigh all that is stored; m keeps the exponentials in range and cancels in y,
    which is that of sums C and n that were never divided, over at least 1. It starts at -1e30,
    which says that nothing is stored yet (the authors start it at 0, to the same effect), and the
    rest at zero; what C and n hold besides an m of -1e30 has no weight, so that a start to be
    learned has an m of 0 (`rz.LearnedInitialState(cell, state)`). The exponential of -m is taken up
    to that of 80. Nothing is added to the denominator, where the authors add 1e-6, which would make
    y depend on m. A sequence runs step by step, or with `method="parallel"` in chunks of some
    steps, where products of matrices take the place of steps.

    The rows of `weight_ih` are those of q (heads * key), k (heads * key), v (heads * value), i and
    f (heads each); they start as N(0, 2 / (5 input)), but at 0 for i and f. `bias_gates` is b of i,
    N(0, 0.01), then of f, 3 to 6 over the heads; q, k and v have none. The output gate and the norm
    over each head are the block's. The exponential gate has no time, so that the cell is not
    `timed`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn_from(_maps, when=has_map)
    bias_gates: Float[Array, " 2*num_heads"] | None = drawn_from(_gates)
    num_heads: int = option(None, heads)
    key_size: int = option(None, half_value)
    value_size: int = derived(value_size)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    for_blocks: ClassVar[bool] = True

    def init_state(self) -> MLSTMState:
        C = zero_matrices(self, self.num_heads, self.key_size, self.value_size)
        return MLSTMState(C, C[..., 0], jnp.full(self.num_heads, EMPTY, C.dtype))

    def parts(self, c: Any, x: Float[Array, " {self.input_size}"]) -> Scaled:
        keys, values = widths(self)
        gates = (2, self.num_heads)
        q, k, v, both = cut(affine(self.weight_ih, x, None), keys, keys, values, gates)
        i, f = plus(both, None if self.bias_gates is None else self.bias_gates.reshape(gates))
        return Scaled(q / self.key_size**0.5, k, v, jax.nn.log_sigmoid(f), i)

    def output(
        self, c: Any, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()
