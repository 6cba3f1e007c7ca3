"""Gated cells: LSTM, GRU, MGU, and their linear relatives minGRU and minLSTM."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import AbstractLinearCell, StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    computed,
    drawn,
    drawn_from,
    filled,
    one_of,
    option,
)
from ..init import fan_in_uniform, glorot, orthogonal
from ..linear import AffineMap, Diagonal
from ..registry import register


class LSTMState(NamedTuple):
    """State of an LSTM: hidden h and cell c, (hidden,) each; in an LSTMP c is (cell,)."""

    h: Float[Array, " hidden"]
    c: Float[Array, " cell"]


def forgetting(place: int, blocks: int) -> Callable[[Given, Any], Array]:
    """The start of a bias: zeros, and `forget_bias` in one of its blocks."""

    def start(given: Given, shape: tuple[int, ...]) -> Array:
        size = shape[0] // blocks
        block = slice(place * size, (place + 1) * size)
        return jnp.zeros(shape, given.dtype).at[block].set(given.forget_bias)

    return start


def _has_bias_n(given: Given) -> bool:
    return given.use_bias and given.reset_after


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
    "lstm",
    family="gated",
    paper="Hochreiter & Schmidhuber 1997",
    equation="c' = f * c + i * g, h' = o * tanh(c')",
    full="""
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              h, c = state
    """,
)
class LSTMCell(AbstractDeclaredCell):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers 2000).

    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. The four blocks of the weights are in the
    order i, f, g, o (PyTorch, Keras, Equinox). `forget_bias` (1 by default) is where the
    bias of f starts. $W_{ih}$ is Glorot-uniform and $W_{hh}$ orthogonal, block by block.
    The safe first choice for memories up to some hundred steps.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = computed(forgetting(1, blocks=4))
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        i, f, g, o = jnp.split(plus(z, self.bias), 4)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMState(h, c), h


@register(
    "gru",
    family="gated",
    paper="Cho et al. 2014, arXiv:1406.1078",
    equation="h' = (1 - z) * n + z * h, n = tanh(W x + r * (U h))",
    full="""
        r = sig(W_r x + U_r h + b_r)
        z = sig(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))   if reset_after
        n = tanh(W_n x + b_n + U_n (r * h))         otherwise
        h' = (1 - z) * n + z * h
        y = h'
        where W_r, W_z, W_n = weight_ih
              U_r, U_z, U_n = weight_hh
              b_r, b_z, b_n = bias
              c_n = bias_n; h = state
    """,
)
class GRUCell(AbstractDeclaredCell):
    r"""Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    $$r, z = \sigma(W_{ih} x + W_{hh} h + b)_{r,z}, \qquad h' = (1 - z) \odot n + z \odot h,
    \qquad y = h'$$
    $$n = \tanh\big((W_{ih} x + b)_n + r \odot (U_n h + b_n)\big) \quad\text{(reset\_after)}$$
    $$n = \tanh\big((W_{ih} x + b)_n + U_n (r \odot h)\big) \quad\text{(the paper)}$$

    State: h, (hidden,), zero at the start. Blocks in the order r, z, n; $U_n$ is the last
    block of $W_{hh}$, $b_n$ is `bias_n`. `reset_after=True`, the default, is the form of
    cuDNN, PyTorch, Keras, Flax and Equinox; False is the paper's. z keeps the old state, as
    in the paper (Haiku and brainstate call that share 1 - z). Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "3*hidden hidden"] = drawn(orthogonal, blocks=3)
    bias: Float[Array, " 3*hidden"] | None = filled(0.0)
    bias_n: Float[Array, " hidden"] | None = filled(0.0, when=_has_bias_n)
    reset_after: bool = option(True)

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_hh)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x = plus(from_x, self.bias)
        if self.reset_after:
            from_h = c @ state
            r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)[: -self.output_size]), 2)
            u = from_h[-self.output_size :]
            reset = r * plus(u, self.bias_n)
        else:
            gates = c[: -self.output_size] @ state
            r, z = jnp.split(jax.nn.sigmoid(from_x[: -self.output_size] + gates), 2)
            reset = c[-self.output_size :] @ (r * state)
        n = jnp.tanh(from_x[-self.output_size :] + reset)
        h = (1 - z) * n + z * state
        return h, h


@register(
    "mgu",
    family="gated",
    paper="Zhou et al. 2016, arXiv:1603.09420",
    equation="h' = (1 - f) * h + f * tanh(W x + U (f * h))",
    full="""
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g (f * h) + b_g)
        h' = (1 - f) * h + f * g
        y = h'
        where W_f, W_g = weight_ih
              U_f, U_g = weight_hh
              b_f, b_g = bias
              h = state
    """,
)
class MGUCell(AbstractDeclaredCell):
    r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420): a GRU with one gate.

    $$f = \sigma(W_f x + U_f h + b_f), \qquad \hat h = \tanh(W_h x + U_h (f \odot h) + b_h),
    \qquad h' = (1 - f) \odot h + f \odot \hat h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order f, h. Two thirds of a GRU's
    parameters. Against its name, f is the share that is replaced: b_f starts at `forget_bias`,
    and the default 1 replaces 0.73 of the state at every step. For long memories start below 0:
    -3 replaces a twentieth. Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(forgetting(0, blocks=2))
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_hh)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x_f, from_x_h = jnp.split(plus(from_x, self.bias), 2)
        weight_f, weight_h = (
            c[: self.output_size],
            c[self.output_size :],
        )
        f = jax.nn.sigmoid(from_x_f + weight_f @ state)
        candidate = jnp.tanh(from_x_h + weight_h @ (f * state))
        h = (1 - f) * state + f * candidate
        return h, h


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
class MinGRUCell(AbstractDeclaredCell, AbstractLinearCell):
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

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_ih)

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
class MinLSTMCell(AbstractDeclaredCell, AbstractLinearCell):
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

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_ih)

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
