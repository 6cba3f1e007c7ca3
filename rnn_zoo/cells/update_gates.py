"""Cells with an update gate and no other: UGRNN and MinimalRNN."""

__all__ = ["MinimalRNNCell", "UGRNNCell"]

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, computed, drawn, filled, option
from ..init import glorot, orthogonal
from ..registry import register
from .gated import forgetting


@register(
    "ugrnn",
    family="gated",
    paper="Collins et al. 2016, arXiv:1611.09913",
    equation="h' = g * h + (1 - g) * tanh(W x + U h)",
    covers={"GRU without a reset gate": {}},
    full="""
        g = sig(W_g x + U_g h + b_g)
        c = phi(W_c x + U_c h + b_c)
        h' = g * h + (1 - g) * c
        y = h'
        where W_g, W_c = weight_ih; U_g, U_c = weight_hh; b_g, b_c = bias
              phi = activation; h = state
    """,
)
class UGRNNCell(AbstractDeclaredCell, init=False):
    r"""Update gate RNN (Collins, Sohl-Dickstein & Sussillo 2016, arXiv:1611.09913).

    $$g = \sigma(W_g x + U_g h + b_g), \qquad c = \phi(W_c x + U_c h + b_c), \qquad
    h' = g \odot h + (1 - g) \odot c, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order g, c. A GRU without its reset
    gate, whose update gate keeps: b_g starts at `forget_bias`, which the authors add where the
    gate is used. `activation` $\phi$ is tanh. With one
    gate and one vector of state it is easy to analyse, and common in models of neural circuits.
    Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(forgetting(0, blocks=2))
    activation: Callable = option(jnp.tanh, converter=portable)
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
        g, candidate = jnp.split(plus(z, self.bias), 2)
        g = jax.nn.sigmoid(g)
        h = g * state + (1 - g) * self.activation(candidate)
        return h, h


class MinimalRNNConstants(NamedTuple):
    """The matrices of the gate of a `MinimalRNNCell`: on its state, and on its features."""

    of_state: StateMatrix
    of_features: Float[Array, "hidden hidden"]


def _keeping(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.full(shape, given.update_bias, given.dtype)


@register(
    "minimal_rnn",
    family="gated",
    paper="Chen 2017, arXiv:1711.06788",
    equation="h' = u * h + (1 - u) * z, z = tanh(W x), u = sig(U h + V z)",
    full="""
        z = tanh(W x + b_z)
        u = sig(U_h h + U_z z + b_u)
        h' = u * h + (1 - u) * z
        y = h'
        where W = weight_ih; b_z = bias_ih; U_h, U_z = weight_hh; b_u = bias; h = state
    """,
)
class MinimalRNNCell(AbstractDeclaredCell, init=False):
    r"""MinimalRNN (Chen 2017, arXiv:1711.06788): features of the input, and a gate.

    $$z = \tanh(W x + b_z), \qquad u = \sigma(U_h h + U_z z + b_u), \qquad
    h' = u \odot h + (1 - u) \odot z, \qquad y = h'$$

    State: h, (hidden,), zero at the start. The state stays in the space of the features z, since
    nothing but the gate reads it. `weight_hh` has $U_h$ over $U_z$, both orthogonal, W is
    Glorot-uniform; `bias_ih` is $b_z$, `bias` is $b_u$, which starts at `update_bias`. Its
    signals and gradients are understood at the start (Chen et al. 2018, arXiv:1806.05394): a
    large `update_bias` is what carries them far.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    bias_ih: Float[Array, " hidden"] | None = filled(0.0)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " hidden"] | None = computed(_keeping)
    update_bias: ClassVar[float] = option(1.0)

    def constants(self) -> MinimalRNNConstants:
        of_state, of_features = jnp.split(self.weight_hh, 2)
        return MinimalRNNConstants(StateMatrix(of_state), of_features)

    def equation(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = jnp.tanh(plus(self.weight_ih @ x, self.bias_ih))
        u = jax.nn.sigmoid(plus(c.of_state @ state + c.of_features @ z, self.bias))
        h = u * state + (1 - u) * z
        return h, h
