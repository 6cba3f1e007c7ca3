"""The scalar cell of xLSTM."""

__all__ = ["SLSTMCell", "SLSTMState"]

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import affine, plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, computed, derived, drawn, filled, option
from ..init import normal
from ..registry import register
from .heads import features_map, heads, value_size
from .modes import has_map


# The logarithm of what an empty state weighs: finite, and nothing beside any gate.
EMPTY = -1e30


class SLSTMState(NamedTuple):
    """State of an sLSTM, (hidden,) each: output y, cell c and normaliser n, both divided by the
    exponential of the stabiliser m."""

    y: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    n: Float[Array, " hidden"]
    m: Float[Array, " hidden"]


def small(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, 2 / (5 columns))."""
    return normal(key, shape, dtype, std=math.sqrt(2 / (5 * shape[-1])))


def forget_biases(size: int, power: float = 0.3) -> Array:
    """From 5 to -7 along the units of a head."""
    place = jnp.arange(size) / max(size - 1, 1)
    return 5.0 - 12.0 * place**power


def _rows(given: Given) -> int:
    return 4 * given.hidden_size


def _forgetting(given: Given, shape: tuple[int, ...]) -> Array:
    """Zeros, and of the forget gates 5 to -7 along each head."""
    along = jnp.tile(forget_biases(given.value_size), given.num_heads)
    gates = jnp.zeros((4, given.hidden_size)).at[1].set(along)
    return gates.reshape(shape).astype(given.dtype)


@register(
    "slstm",
    family="matrix",
    paper="Beck et al. 2024, arXiv:2405.04517",
    equation="c' = sig(f) * c + exp(i) * tanh(z), n' = sig(f) * n + exp(i), y' = sig(o) * c' / n'",
    full="""
        for each head
        i = i_x + R_i y
        f = f_x + R_f y
        z = z_x + R_z y
        o = o_x + R_o y
        m' = max(m - softplus(-f), i)
        F = exp(m - softplus(-f) - m')
        c' = F * c + exp(i - m') * tanh(z)
        n' = F * n + exp(i - m')
        y' = sig(o) * c' / n'
        where y, c, n, m = state
              i_x, f_x, z_x, o_x = pieces(W x + b, value_size, value_size, value_size, value_size)
              W = weight_ih; b = bias; R_i = head(A_i); R_f = head(A_f); R_z = head(A_z)
              R_o = head(A_o); A_i, A_f, A_z, A_o = parts(weight_hh)
    """,
    block="SLSTMBlock",
)
class SLSTMCell(AbstractDeclaredCell, init=False):
    r"""The scalar LSTM of xLSTM (sLSTM; Beck et al. 2024, arXiv:2405.04517).

    $$i, f, z, o = W x + R y + b, \qquad m' = \max(\log \sigma(f) + m, i), \qquad
    F = e^{\log \sigma(f) + m - m'}, \qquad I = e^{i - m'}$$
    $$c' = F \odot c + I \odot \tanh z, \qquad n' = F \odot n + I, \qquad
    y' = \sigma(o) \odot c' / n'$$

    State: `SLSTMState(y, c, n, m)`. The input gate is an exponential, so that a new input can
    outweigh all that is stored; m keeps the exponentials in range and cancels in y. It starts at
    -1e30, which says that nothing is stored yet (the authors start it at 0 and treat n = 0 apart,
    to the same effect), and the rest at zero. What c and n hold besides an m of -1e30 has no
    weight, so that a start to be learned has an m of 0 and a positive n
    (`rz.LearnedInitialState(cell, state)`).

    `num_heads` heads of hidden / num_heads units each: the entries of `weight_hh`, (4, heads, unit,
    unit), are those of y in the same head, and it starts at 0. `weight_ih` and `bias` have blocks
    in the order i, f, z, o. `weight_ih` is N(0, 2 / (5 input)), and the bias 0, but along the
    units j of a head $5 - 12 (j / (d - 1))^{0.3}$ for f, from long memories to short ones: the
    authors' start of the first block. With `input_map=False` x is $W x$, as the paper's block gives
    it. The exponential gate has no time, so that the cell is not `timed`.
    """

    weight_ih: Float[Array, "4*hidden input"] | None = drawn(small, when=has_map)
    weight_hh: Float[Array, "4 num_heads value value"] = filled(0.0)
    bias: Float[Array, " 4*hidden"] | None = computed(_forgetting)
    num_heads: int = option(None, heads)
    value_size: int = derived(value_size)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)

    def init_state(self) -> SLSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return SLSTMState(zeros, zeros, zeros, jnp.full_like(zeros, EMPTY))

    def constants(self) -> StateMatrix:
        """R of all heads as one matrix."""
        own = jnp.eye(self.num_heads, dtype=self.weight_hh.dtype)
        blocks = self.weight_hh[:, :, :, None] * own[None, :, None, :, None]
        return StateMatrix(blocks.reshape(-1, self.output_size))

    def equation(
        self, c: StateMatrix, state: SLSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[SLSTMState, Float[Array, " {self.output_size}"]]:
        gates = plus(affine(self.weight_ih, x, None) + c @ state.y, self.bias)
        i, f, z, o = jnp.split(gates, 4)
        kept = jax.nn.log_sigmoid(f) + state.m
        m = jnp.maximum(kept, i)
        keep, write = jnp.exp(kept - m), jnp.exp(i - m)
        memory = keep * state.c + write * jnp.tanh(z)
        weight = keep * state.n + write
        y = jax.nn.sigmoid(o) * memory / weight
        return SLSTMState(y, memory, weight, m), y
