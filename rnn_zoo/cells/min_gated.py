"""Gated cells whose gates see only the input, which makes them linear: minGRU and minLSTM."""

__all__ = ["MinGRUCell", "MinLSTMCell"]

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.terms import plus
from ..base import AbstractLinearCell
from ..declared import AbstractDeclaredCell, Given, drawn_from, one_of, option
from ..init import fan_in_uniform, glorot
from ..linear import AffineMap, Diagonal
from ..registry import register


def _first_weights(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    if given.initialisation == "linear":
        return fan_in_uniform(key, shape, given.dtype)
    return glorot(given.key, shape, given.dtype, blocks=shape[0] // given.hidden_size)


def _first_bias(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    linear = given.initialisation == "linear"
    start = fan_in_uniform(key, shape, given.dtype, fan_in=given.input_size) if linear else 0.0
    return jnp.broadcast_to(jnp.asarray(start, given.dtype), shape)


def _first_forgetting_bias(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    return _first_bias(given, shape, key).at[: given.hidden_size].add(given.forget_bias)


def positive(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """g of Feng et al. 2024: x + 1/2 where x >= 0, sigmoid(x) below. Positive and continuous."""
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


@register(
    "mingru",
    family="gated",
    paper="Feng et al. 2024, arXiv:2410.01201",
    equation="h' = (1 - z(x)) * h + z(x) * g(W x)",
    full="""
        z = sig(W_z x + b_z)
        g = phi(W_g x + b_g)
        k = 2 (1 - z) - 1   if negative_eigenvalues
        k = 1 - z           otherwise
        h' = k * h + z * g
        y = h'
        where W_z, W_g = weight_ih; b_z, b_g = bias; phi = activation; h = state
    """,
)
class MinGRUCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""minGRU (Feng et al. 2024, arXiv:2410.01201): a GRU whose gate sees only the input.

    $$z = \sigma(W_z x + b_z), \qquad \tilde h = g(W_h x + b_h), \qquad
    h' = (1 - z) \odot h + z \odot \tilde h, \qquad y = h'$$

    Linear in h. State: h, (hidden,), zero at the start (the authors' log-space code starts
    at g(0) = 1/2). `activation` g is the positive function of the paper's log-space form;
    `lambda h: h` gives its plain form. 1 - z is computed as $\sigma(-\cdot)$, so nothing
    cancels where the gate saturates and no log-space scan is needed. Blocks in the order
    z, h. `initialisation`: "glorot", Glorot-uniform weights and zero biases, as the other gated
    cells; "linear", both from U(±1/sqrt(input)), what the linear layers of the paper's listing
    do. Fast, and weak on anything that needs state-dependent gates.

    With `negative_eigenvalues` the state is kept by 2 (1 - z) - 1, which can turn its sign:
    what parity needs (Grazzi et al. 2024, arXiv:2411.12537).
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn_from(_first_weights, key=0)
    bias: Float[Array, " 2*hidden"] | None = drawn_from(_first_bias, key=1)
    activation: Callable = option(positive, converter=portable)
    negative_eigenvalues: bool = option(False)
    initialisation: ClassVar[str] = option("glorot", one_of("glorot", "linear"))

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        k = self.weight_ih @ x
        z, candidate = jnp.split(plus(k, self.bias), 2)
        # 2 sigmoid(z) - 1 = tanh(z / 2)
        keep = jnp.tanh(-z / 2) if self.negative_eigenvalues else jax.nn.sigmoid(-z)
        return AffineMap(Diagonal(keep), jax.nn.sigmoid(z) * self.activation(candidate))

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return state


@register(
    "minlstm",
    family="gated",
    paper="Feng et al. 2024, arXiv:2410.01201",
    equation="h' = (f h + i g(W x)) / (f + i), f, i of x",
    full="""
        f = sig(W_f x + b_f)
        i = sig(W_i x + b_i)
        g = phi(W_g x + b_g)
        k = 2 f / (f + i) - 1   if negative_eigenvalues
        k = f / (f + i)         otherwise
        h' = k * h + i / (f + i) * g
        y = h'
        where W_f, W_i, W_g = weight_ih; b_f, b_i, b_g = bias; phi = activation; h = state
    """,
)
class MinLSTMCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""minLSTM (Feng et al. 2024, arXiv:2410.01201): an LSTM whose gates see only the input.

    $$f = \sigma(W_f x + b_f), \quad i = \sigma(W_i x + b_i), \quad
    \tilde h = g(W_h x + b_h), \qquad
    h' = \frac{f}{f+i} \odot h + \frac{i}{f+i} \odot \tilde h, \qquad y = h'$$

    Linear in h. State: h, (hidden,), zero at the start. The two shares are computed as
    $\sigma(\pm(\log f - \log i))$ from the logarithms of the gates, which
    never divides 0 by 0. `forget_bias` is added to where b_f starts. Blocks in the order f, i, h;
    `activation` and `initialisation` as in `MinGRUCell`, and so `negative_eigenvalues`:
    2 f / (f + i) - 1.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn_from(_first_weights, key=0)
    bias: Float[Array, " 3*hidden"] | None = drawn_from(_first_forgetting_bias, key=1)
    activation: Callable = option(positive, converter=portable)
    forget_bias: ClassVar[float] = option(1.0)
    negative_eigenvalues: bool = option(False)
    initialisation: ClassVar[str] = option("glorot", one_of("glorot", "linear"))

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        k = self.weight_ih @ x
        f, i, candidate = jnp.split(plus(k, self.bias), 3)
        log_ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
        keep = jnp.tanh(log_ratio / 2) if self.negative_eigenvalues else jax.nn.sigmoid(log_ratio)
        update = jax.nn.sigmoid(-log_ratio)
        return AffineMap(Diagonal(keep), update * self.activation(candidate))

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return state
