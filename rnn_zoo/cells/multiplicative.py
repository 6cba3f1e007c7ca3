"""An LSTM whose recurrent matrix depends on the input: the multiplicative LSTM."""

__all__ = ["MultiplicativeLSTMCell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, computed, drawn, option
from ..init import glorot, orthogonal
from ..registry import register
from .gated import LSTMState, forgetting


@register(
    "multiplicative_lstm",
    family="gated",
    paper="Krause et al. 2016, arXiv:1609.07959",
    equation="m = (W x) * (U h), c' = f * c + i * g, h' = o * tanh(c'), gates of x and m",
    full="""
        m = (W_m x) * (U_m h)
        i = sig(W_i x + U_i m + b_i)
        f = sig(W_f x + U_f m + b_f)
        g = tanh(W_g x + U_g m + b_g)
        o = sig(W_o x + U_o m + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')
        y = h'
        where W_m = weight_mx; U_m = weight_mh
              W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              h, c = state
    """,
)
class MultiplicativeLSTMCell(AbstractDeclaredCell, init=False):
    r"""Multiplicative LSTM (Krause et al. 2016, arXiv:1609.07959).

    $$m = (W_{mx} x) \odot (W_{mh} h), \qquad i, f, o = \sigma(W_{ih} x + W_{hh} m + b)_{i,f,o},
    \qquad g = \tanh(W_{ih} x + W_{hh} m + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. Blocks in the order i, f, g, o. Each input has a
    recurrent matrix of its own, $W_{hh} \mathrm{diag}(W_{mx} x) W_{mh}$: for text by characters,
    where it can change its mind after a surprise. `mlstm` is the matrix LSTM, another cell. An
    early form of the authors has a linear candidate and h' = tanh(o c'). $W_{mh}$ and $W_{hh}$
    start orthogonal, $W_{mx}$ and $W_{ih}$ Glorot-uniform; `forget_bias` is where the bias of f
    starts.
    """

    weight_mx: Float[Array, "hidden input"] = drawn(glorot)
    weight_mh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = computed(forgetting(1, blocks=4))
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_mh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        m = (self.weight_mx @ x) * (c @ state.h)
        z = self.weight_ih @ x + self.weight_hh @ m
        i, f, g, o = jnp.split(plus(z, self.bias), 4)
        memory = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return LSTMState(h, memory), h
