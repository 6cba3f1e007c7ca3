"""An LSTM whose forget gate can saturate and still learn: UR-LSTM."""

__all__ = ["URLSTMCell"]

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, drawn, drawn_from, filled
from ..init import glorot, orthogonal, uniform
from ..registry import register
from .gated import LSTMState


def _uniform_gates(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """The b with sigmoid(b) from U(1/hidden, 1 - 1/hidden); of a single unit 1/2."""
    edge = 1 / max(given.hidden_size, 2)
    # In 16 bits 1 - u would round to 0.
    wide = jnp.promote_types(given.dtype, jnp.float32)
    u = uniform(key, shape, wide, low=edge, high=1 - edge)
    return (jnp.log(u) - jnp.log1p(-u)).astype(given.dtype)


@register(
    "ur_lstm",
    family="gated",
    paper="Gu et al. 2020, arXiv:1910.09890",
    equation="c' = g * c + (1 - g) * u, g = 2 r * f + (1 - 2 r) * f^2, h' = o * tanh(c')",
    full="""
        f = sig(W_f x + U_f h + b_f + b)
        r = sig(W_r x + U_r h + b_r - b)
        u = tanh(W_u x + U_u h + b_u)
        o = sig(W_o x + U_o h + b_o)
        g = 2 r * f + (1 - 2 r) * f^2
        c' = g * c + (1 - g) * u
        h' = o * tanh(c')
        y = h'
        where W_f, W_r, W_u, W_o = weight_ih
              U_f, U_r, U_u, U_o = weight_hh
              b_f, b_r, b_u, b_o = bias
              b = bias_gate; h, c = state
    """,
)
class URLSTMCell(AbstractDeclaredCell, init=False):
    r"""UR-LSTM (Gu et al. 2020, arXiv:1910.09890): uniform gate initialisation, refine gate.

    $$f = \sigma(z_f + b), \qquad r = \sigma(z_r - b), \qquad
    u = \tanh(z_u), \qquad o = \sigma(z_o), \qquad z = W_{ih} x + W_{hh} h + b_z$$
    $$g = 2 r \odot f + (1 - 2 r) \odot f^2, \qquad
    c' = g \odot c + (1 - g) \odot u, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. Blocks in the order f, r, u, o. The refine gate r
    moves the forget gate within f^2 and 1 - (1 - f)^2, so that g reaches 0 and 1 while f still has
    a gradient; there is no input gate. b, `bias_gate`, is one vector for both gates, with opposite
    signs: $\sigma(b)$ starts uniform on (1/hidden, 1 - 1/hidden), so the units begin with memories
    of many lengths, up to `hidden_size` steps. The other biases are zero, weights as in `LSTMCell`.
    For long memories without a bias to tune.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = filled(0.0)
    bias_gate: Float[Array, " hidden"] = drawn_from(_uniform_gates)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        f, r, u, o = jnp.split(plus(z, self.bias), 4)
        f, r = jax.nn.sigmoid(f + self.bias_gate), jax.nn.sigmoid(r - self.bias_gate)
        g = 2 * r * f + (1 - 2 * r) * f**2
        memory = g * state.c + (1 - g) * jnp.tanh(u)
        h = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return LSTMState(h, memory), h
