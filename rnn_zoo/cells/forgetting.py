"""A cell with nothing but a forget gate: JANET."""

__all__ = ["JANETCell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, computed, drawn, option
from ..init import glorot, orthogonal
from ..registry import register
from .gated import forgetting


@register(
    "janet",
    family="gated",
    paper="van der Westhuizen & Lasenby 2018, arXiv:1804.04849",
    equation="h' = sig(s) * h + (1 - sig(s - b)) * tanh(W x + U h)",
    covers={"LSTM with a forget gate alone": {"beta": 0.0}},
    full="""
        s = W_f x + U_f h + b_f
        g = tanh(W_g x + U_g h + b_g)
        h' = sig(s) * h + (1 - sig(s - beta)) * g
        y = h'
        where W_f, W_g = weight_ih; U_f, U_g = weight_hh; b_f, b_g = bias; h = state
    """,
)
class JANETCell(AbstractDeclaredCell, init=False):
    r"""JANET (van der Westhuizen & Lasenby 2018, arXiv:1804.04849): an LSTM that has the forget
    gate alone.

    $$s = W_f x + U_f h + b_f, \qquad g = \tanh(W_g x + U_g h + b_g), \qquad
    h' = \sigma(s) \odot h + (1 - \sigma(s - \beta)) \odot g, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order f, g. `beta` lets a unit take in
    more than it forgets: the two shares add up to as much as 1.245 for the default 1, to 1 for
    0, and |h| stays below e^beta. The paper holds beta fixed. b_f starts at `forget_bias`. For
    memories of T steps the authors start it with the logarithms of numbers from U(1, T):
    `rz.base.replace(cell, bias=...)` sets such a bias. Half the parameters of an LSTM, for long
    memories. Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(forgetting(0, blocks=2))
    beta: float = option(1.0)
    forget_bias: ClassVar[float] = option(1.0)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state
        s, g = jnp.split(plus(z, self.bias), 2)
        h = jax.nn.sigmoid(s) * state + (1 - jax.nn.sigmoid(s - self.beta)) * jnp.tanh(g)
        return h, h
