"""An LSTM whose units see of the state only themselves: IndyLSTM."""

__all__ = ["IndyLSTMCell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..declared import AbstractDeclaredCell, computed, drawn, option
from ..init import fan_in_uniform, glorot
from ..registry import register
from .gated import LSTMState, forgetting


@register(
    "indy_lstm",
    family="gated",
    paper="Gonnet & Deselaers 2019, arXiv:1903.08023",
    equation="c' = f * c + i * g, h' = o * tanh(c'), gates of W x + u * h",
    full="""
        i = sig(W_i x + u_i * h + b_i)
        f = sig(W_f x + u_f * h + b_f)
        g = tanh(W_g x + u_g * h + b_g)
        o = sig(W_o x + u_o * h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              u_i, u_f, u_g, u_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              h, c = state
    """,
)
class IndyLSTMCell(AbstractDeclaredCell, init=False):
    r"""IndyLSTM (Gonnet & Deselaers 2019, arXiv:1903.08023): an LSTM of independent units.

    $$i, f, o = \sigma(W_{ih} x + u \odot h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + u \odot h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. Blocks in the order i, f, g, o; u is a vector for
    each, `weight_hh` (4 hidden,), from U(±1/sqrt(hidden)). W is Glorot-uniform, `forget_bias` is
    where the bias of f starts. Without a matrix for the state it is small and quick. The units of
    one layer know nothing of each other: stack at least two.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, " 4*hidden"] = drawn(fan_in_uniform, fan_in="hidden")
    bias: Float[Array, " 4*hidden"] | None = computed(forgetting(1, blocks=4))
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def equation(
        self, c: None, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        itself = self.weight_hh * jnp.tile(state.h, 4)
        z = self.weight_ih @ x + itself
        i, f, g, o = jnp.split(plus(z, self.bias), 4)
        memory = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return LSTMState(h, memory), h
