"""Gated cells whose candidate sees the input alone: RAN, STAR, CFN and ATR."""

__all__ = ["ATRCell", "CFNCell", "RANCell", "RANState", "STARCell"]

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, computed, drawn, filled, option
from ..init import glorot, orthogonal
from ..registry import register
from .gated import forgetting


class RANState(NamedTuple):
    """State of a `RANCell`: output h and the sum c of weighted inputs, (hidden,) each."""

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]


@register(
    "ran",
    family="gated",
    paper="Lee et al. 2017, arXiv:1705.07393",
    equation="c' = i * (W x) + f * c, h' = tanh(c')",
    full="""
        u = W_u x
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        c' = i * u + f * c
        h' = phi(c')
        y = h'
        where W_u, W_i, W_f = weight_ih; U_i, U_f = weight_hh; b_i, b_f = bias
              phi = activation; h, c = state
    """,
)
class RANCell(AbstractDeclaredCell, init=False):
    r"""Recurrent additive network (Lee, Levy & Zettlemoyer 2017, arXiv:1705.07393).

    $$\tilde c = W_c x, \qquad i, f = \sigma(W x + U h + b)_{i,f}, \qquad
    c' = i \odot \tilde c + f \odot c, \qquad h' = \phi(c'), \qquad y = h'$$

    State: `RANState(h, c)`, zero at the start. Blocks of $W$ in the order candidate, i, f, of U and
    b in the order i, f. c is a weighted sum of linear inputs, whose weights can be read off the
    gates; nothing bounds it. `activation` $\phi$ is tanh; the authors' larger language models take
    the identity. The bias of f starts at `forget_bias`; weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(forgetting(1, blocks=2))
    activation: Callable = option(jnp.tanh, converter=portable)
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> RANState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return RANState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: RANState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[RANState, Float[Array, " {self.output_size}"]]:
        size = self.output_size
        from_x = self.weight_ih @ x
        i, f = jnp.split(plus(from_x[size:] + c @ state.h, self.bias), 2)
        memory = jax.nn.sigmoid(i) * from_x[:size] + jax.nn.sigmoid(f) * state.c
        h = self.activation(memory)
        return RANState(h, memory), h


def _replacing(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, given.dtype).at[: given.hidden_size].set(given.update_bias)


@register(
    "star",
    family="gated",
    paper="Turkoglu et al. 2021, arXiv:1911.11033",
    equation="h' = tanh((1 - k) * h + k * tanh(W x))",
    full="""
        k = sig(W_k x + U_k h + b_k)
        z = tanh(W_z x + b_z)
        h' = tanh((1 - k) * h + k * z)
        y = h'
        where W_k, W_z = weight_ih; U_k = weight_hh; b_k, b_z = bias; h = state
    """,
)
class STARCell(AbstractDeclaredCell, init=False):
    r"""Stackable recurrent cell (Turkoglu et al. 2021, arXiv:1911.11033).

    $$k = \sigma(W_k x + U_k h + b_k), \qquad z = \tanh(W_z x + b_z), \qquad
    h' = \tanh((1 - k) \odot h + k \odot z), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order k, z; U, (hidden, hidden), is for k
    alone. Made for stacks of ten layers, whose gradients keep their size from layer to layer.
    This is the paper's cell; the authors' code has JANET's shares of the state and of z in its
    place. k replaces, so $b_k$ starts at `update_bias`, below 0; weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    bias: Float[Array, " 2*hidden"] | None = computed(_replacing)
    update_bias: ClassVar[float] = option(-1.0)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        k, z = jnp.split(plus(self.weight_ih @ x, self.bias), 2)
        k = jax.nn.sigmoid(k + c @ state)
        h = jnp.tanh((1 - k) * state + k * jnp.tanh(z))
        return h, h


def _mostly_keeping(given: Given, shape: tuple[int, ...]) -> Array:
    signs = jnp.repeat(jnp.array([1, -1]), given.hidden_size)
    return signs.astype(given.dtype)


@register(
    "cfn",
    family="gated",
    paper="Laurent & von Brecht 2016, arXiv:1612.06212",
    equation="h' = theta * tanh(h) + eta * tanh(W x)",
    full="""
        theta = sig(W_theta x + U_theta h + b_theta)
        eta = sig(W_eta x + U_eta h + b_eta)
        h' = theta * tanh(h) + eta * tanh(W x)
        y = h'
        where W_theta, W_eta, W = weight_ih; U_theta, U_eta = weight_hh; b_theta, b_eta = bias
              h = state
    """,
)
class CFNCell(AbstractDeclaredCell, init=False):
    r"""Chaos-free network (Laurent & von Brecht 2016, arXiv:1612.06212).

    $$\theta, \eta = \sigma(W x + U h + b)_{\theta,\eta}, \qquad
    h' = \theta \odot \tanh h + \eta \odot \tanh(W_c x), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks of W in the order theta, eta, candidate, of U and
    b in the order theta, eta. Without an input every state decays to zero, whatever the weights:
    the only attractor, where an LSTM or a GRU can be chaotic. $b_\theta$ starts at 1, $b_\eta$ at
    -1, as in the paper; weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(_mostly_keeping)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        size = self.output_size
        from_x = self.weight_ih @ x
        gates = jax.nn.sigmoid(plus(from_x[: 2 * size] + c @ state, self.bias))
        theta, eta = jnp.split(gates, 2)
        h = theta * jnp.tanh(state) + eta * jnp.tanh(from_x[2 * size :])
        return h, h


@register(
    "atr",
    family="gated",
    paper="Zhang et al. 2018, arXiv:1810.12546",
    equation="h' = i * p + f * h, i = sig(p + U h), f = sig(p - U h), p = W x",
    full="""
        p = W x + b
        q = U h
        i = sig(p + q)
        f = sig(p - q)
        h' = i * p + f * h
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; h = state
    """,
)
class ATRCell(AbstractDeclaredCell, init=False):
    r"""Addition-subtraction twin-gated unit (Zhang et al. 2018, arXiv:1810.12546).

    $$p = W x + b, \qquad q = U h, \qquad i = \sigma(p + q), \qquad f = \sigma(p - q), \qquad
    h' = i \odot p + f \odot h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. The two gates are made of the same two vectors, so there
    are no more parameters than in an Elman unit; for translation in the paper. h is a weighted sum
    of linear inputs, which nothing bounds. No bias holds f open, so it forgets soon at the start:
    stack two. W is Glorot-uniform, U orthogonal, b zero.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    bias: Float[Array, " hidden"] | None = filled(0.0)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        p = plus(self.weight_ih @ x, self.bias)
        q = c @ state
        h = jax.nn.sigmoid(p + q) * p + jax.nn.sigmoid(p - q) * state
        return h, h
