"""An LSTM whose output is a projection of its memory."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import check_sizes
from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, computed, drawn, option
from ..init import fan_in_uniform, glorot
from ..registry import register
from .gated import LSTMState, forgetting, has_peepholes, peeped, peeps


def _size(name: str, value: int | None, given: Given) -> int:
    """the size of c, twice `hidden_size` by default"""
    size = 2 * given.hidden_size if value is None else value
    check_sizes(**{name: size})
    return size


@register(
    "lstmp",
    family="gated",
    paper="Sak et al. 2014, arXiv:1402.1128",
    equation="c' = f * c + i * g, h' = V (o * tanh(c'))",
    covers={"peephole LSTM with a projection": {"peepholes": True}},
    full="""
        i = sig(W_i x + U_i h + p_i * c + b_i)    if peepholes
        i = sig(W_i x + U_i h + b_i)              otherwise
        f = sig(W_f x + U_f h + p_f * c + b_f)    if peepholes
        f = sig(W_f x + U_f h + b_f)              otherwise
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + p_o * c' + b_o)   if peepholes
        o = sig(W_o x + U_o h + b_o)              otherwise
        c' = f * c + i * g
        h' = V (o * tanh(c'))
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              p_i, p_f, p_o = weight_peep; peepholes = given(weight_peep)
              V = weight_hr
              h, c = state
    """,
)
class LSTMPCell(AbstractDeclaredCell, init=False):
    r"""LSTM with a recurrent projection (Sak et al. 2014, arXiv:1402.1128).

    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = W_{hr} (o \odot \tanh c'), \qquad y = h'$$

    State: `LSTMState(h, c)`, (hidden,) and (cell,), zero at the start. The memory is larger than
    `hidden_size` says, without its square of weights. PyTorch calls `cell_size` hidden_size
    and `hidden_size` proj_size. Every weight is Glorot-uniform, block by block; the rest is as in
    `LSTMCell`, and so are the `peepholes`, which the paper has; here they are left out by default.
    """

    weight_ih: Float[Array, "4*cell input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*cell hidden"] = drawn(glorot, blocks=4)
    weight_hr: Float[Array, "hidden cell"] = drawn(glorot)
    bias: Float[Array, " 4*cell"] | None = computed(forgetting(1, blocks=4))
    weight_peep: Float[Array, " 3*cell"] | None = drawn(
        fan_in_uniform, fan_in="cell", when=has_peepholes
    )
    cell_size: int = option(None, _size)
    forget_bias: ClassVar[float] = option(1.0)
    peepholes: ClassVar[bool] = option(False)

    def init_state(self) -> LSTMState:
        h = zero_state(self.output_size, self.weight_hh)
        return LSTMState(h, zero_state(self.cell_size, self.weight_hh))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        i, f, g, o = jnp.split(plus(z, self.bias), 4)
        p_i, p_f, p_o = peeps(self.weight_peep)
        i, f = peeped(i, p_i, state.c), peeped(f, p_f, state.c)
        memory = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        o = peeped(o, p_o, memory)
        h = self.weight_hr @ (jax.nn.sigmoid(o) * jnp.tanh(memory))
        return LSTMState(h, memory), h
