"""A GRU that looks back further than one step: tau-GRU."""

__all__ = ["TauGRUCell", "TauGRUState"]

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import state_dtype
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, at_least_one, drawn, filled, option
from ..init import glorot, orthogonal
from ..registry import register


class TauGRUState(NamedTuple):
    """State of a `TauGRUCell`: h, (hidden,), and those before it, (delay, hidden), oldest first."""

    h: Float[Array, " hidden"]
    past: Float[Array, "delay hidden"]


@register(
    "tau_gru",
    family="gated",
    paper="Erichson et al. 2022, arXiv:2212.00228",
    equation="h' = (1 - g) * h + g * (u + a * z), z of the state some steps ago",
    full="""
        u = tanh(W_u x + U_u h + b_u)
        z = tanh(W_z x + U_z h_l + b_z)
        g = sig(W_g x + U_g h + b_g)
        a = sig(W_a x + U_a h + b_a)
        h' = (1 - g) * h + g * (u + a * z)
        past' = shifted(past, h)
        y = h'
        where h, past = state; h_l = row(past, 0)
              W_u, W_z, W_g, W_a = weight_ih
              U_u, U_z, U_g, U_a = weight_hh
              b_u, b_z, b_g, b_a = bias
    """,
)
class TauGRUCell(AbstractDeclaredCell, init=False):
    r"""$\tau$-GRU (Erichson, Lim & Mahoney 2022, arXiv:2212.00228): feedback from $\tau$ steps ago.

    $$u = \tanh(W_u x + U_u h + b_u), \qquad z = \tanh(W_z x + U_z h_\ell + b_z), \qquad
    g, a = \sigma(W x + U h + b)_{g,a}$$
    $$h' = (1 - g) \odot h + g \odot (u + a \odot z), \qquad y = h'$$

    where $h_\ell$ is what h was `delay` steps ago. State: `TauGRUState(h, past)`, zero at the
    start: h, (hidden,), and past, (delay, hidden), the states before it, the oldest first, which is
    $h_\ell$. Blocks in the order u, z, g, a. Gradients have a second way back, which takes one step
    where the first takes `delay` + 1. The delay is counted in steps, so it means a time only where
    steps are regular. |h| stays at most 2. Weights as in `LSTMCell`, biases zero.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = filled(0.0)
    delay: int = option(3, at_least_one)

    def init_state(self) -> TauGRUState:
        past = jnp.zeros((self.delay + 1, self.output_size), state_dtype(self.weight_hh))
        return TauGRUState(past[-1], past[:-1])

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: TauGRUState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[TauGRUState, Float[Array, " {self.output_size}"]]:
        size = self.output_size
        from_x = plus(self.weight_ih @ x, self.bias)
        u = jnp.tanh(from_x[:size] + c[:size] @ state.h)
        z = jnp.tanh(from_x[size : 2 * size] + c[size : 2 * size] @ state.past[0])
        gates = jax.nn.sigmoid(from_x[2 * size :] + c[2 * size :] @ state.h)
        g, a = jnp.split(gates, 2)
        h = (1 - g) * state.h + g * (u + a * z)
        past = jnp.concatenate([state.past[1:], state.h[None]])
        return TauGRUState(h, past), h
