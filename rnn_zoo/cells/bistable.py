"""Cells whose units can stay where they are for ever: BRC and nBRC."""

__all__ = ["BRCCell", "NBRCCell"]

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, drawn, filled
from ..init import glorot
from ..registry import register


def _stepped(from_x: Array, from_h: Array, bias: Any, state: Array) -> Array:
    """The state after a step, from what the input gives and what the state gives to the gates."""
    size = state.shape[0]
    a, c = jnp.split(plus(from_x[: 2 * size] + from_h, bias), 2)
    a, c = 1 + jnp.tanh(a), jax.nn.sigmoid(c)
    return c * state + (1 - c) * jnp.tanh(from_x[2 * size :] + a * state)


@register(
    "brc",
    family="gated",
    paper="Vecoven et al. 2021, arXiv:2006.05252",
    equation="h' = c * h + (1 - c) * tanh(W x + a * h), a, c of u * h",
    covers={"bistable recurrent cell": {}},
    full="""
        a = 1 + tanh(W_a x + w_a * h + b_a)
        c = sig(W_c x + w_c * h + b_c)
        h' = c * h + (1 - c) * tanh(W x + a * h)
        y = h'
        where W_a, W_c, W = weight_ih; w_a, w_c = weight_hh; b_a, b_c = bias; h = state
    """,
)
class BRCCell(AbstractDeclaredCell, init=False):
    r"""Bistable recurrent cell (Vecoven, Ernst & Drion 2021, arXiv:2006.05252).

    $$a = 1 + \tanh(W_a x + w_a \odot h + b_a), \qquad c = \sigma(W_c x + w_c \odot h + b_c), \qquad
    h' = c \odot h + (1 - c) \odot \tanh(W x + a \odot h), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order a, c, candidate; w are vectors, so
    each unit sees itself alone, as a biological cell does, and the candidate has no bias. Where
    a > 1 a unit has two stable states and keeps one of them without an input, however long;
    gradients vanish inside of them, so it takes more steps of training to learn what to keep.
    W is Glorot-uniform, w 1, biases are zero, as in the authors' code. Stack at least two;
    `NBRCCell` has matrices for w.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, " 2*hidden"] = filled(1.0)
    bias: Float[Array, " 2*hidden"] | None = filled(0.0)

    def equation(
        self,
        c: None,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        itself = self.weight_hh * jnp.concatenate([state, state])
        h = _stepped(self.weight_ih @ x, itself, self.bias, state)
        return h, h


@register(
    "nbrc",
    family="gated",
    paper="Vecoven et al. 2021, arXiv:2006.05252",
    equation="h' = c * h + (1 - c) * tanh(W x + a * h), a, c of U h",
    covers={"neuromodulated bistable recurrent cell": {}},
    full="""
        a = 1 + tanh(W_a x + U_a h + b_a)
        c = sig(W_c x + U_c h + b_c)
        h' = c * h + (1 - c) * tanh(W x + a * h)
        y = h'
        where W_a, W_c, W = weight_ih; U_a, U_c = weight_hh; b_a, b_c = bias; h = state
    """,
)
class NBRCCell(AbstractDeclaredCell, init=False):
    r"""Recurrently neuromodulated bistable cell (Vecoven, Ernst & Drion 2021, arXiv:2006.05252).

    $$a = 1 + \tanh(W_a x + U_a h + b_a), \qquad c = \sigma(W_c x + U_c h + b_c), \qquad
    h' = c \odot h + (1 - c) \odot \tanh(W x + a \odot h), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order a, c, candidate. A `BRCCell` whose
    gates read the whole state, so that units decide for each other which of them hold on. W and U
    are Glorot-uniform, biases are zero, as in the authors' code. For
    a first input that has to be known at the end of a long sequence.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(glorot, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = filled(0.0)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        h = _stepped(self.weight_ih @ x, c @ state, self.bias, state)
        return h, h
