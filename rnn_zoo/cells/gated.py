"""Gated cells: LSTM, GRU, MGU, and their linear relatives minGRU and minLSTM."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, AbstractLinearCell, StateMatrix
from ..init import fan_in_uniform, glorot, orthogonal
from ..linear import AffineMap, Diagonal


class LSTMState(NamedTuple):
    """State of an LSTM: hidden h and cell c, (hidden,) each; in an LSTMP c is (cell,)."""

    h: Float[Array, " hidden"]
    c: Float[Array, " cell"]


class LSTMCell(AbstractCell):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers 2000).

    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. The four blocks of the weights are in the
    order i, f, g, o (PyTorch, Keras, Equinox). `forget_bias` (1 by default) is where the
    bias of f starts. $W_{ih}$ is Glorot-uniform and $W_{hh}$ orthogonal, block by block.
    The safe first choice for memories up to some hundred steps.
    """

    weight_ih: Float[Array, "4*hidden input"]
    weight_hh: Float[Array, "4*hidden hidden"]
    bias: Float[Array, " 4*hidden"] | None
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """Sizes of x and h; `forget_bias` needs `use_bias`; `dtype` of the parameters."""
        self.weight_ih, self.weight_hh, bias = _gate_weights(
            input_size, hidden_size, 4, use_bias, dtype, key
        )
        if bias is not None:
            bias = bias.at[hidden_size : 2 * hidden_size].set(forget_bias)
        self.bias = bias
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> LSTMState:
        zeros = jnp.zeros(self.output_size, state_dtype(self.weight_hh))
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        i, f, g, o = jnp.split(z if self.bias is None else z + self.bias, 4)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMState(h, c), h


class GRUCell(AbstractCell):
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

    weight_ih: Float[Array, "3*hidden input"]
    weight_hh: Float[Array, "3*hidden hidden"]
    bias: Float[Array, " 3*hidden"] | None
    bias_n: Float[Array, " hidden"] | None
    reset_after: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset_after: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`reset_after`: whether r multiplies $U_n h$ or h; the rest as in `LSTMCell`."""
        self.weight_ih, self.weight_hh, self.bias = _gate_weights(
            input_size, hidden_size, 3, use_bias, dtype, key
        )
        has_bias_n = use_bias and reset_after
        self.bias_n = jnp.zeros(hidden_size, self.weight_hh.dtype) if has_bias_n else None
        self.reset_after = reset_after
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x = from_x if self.bias is None else from_x + self.bias
        if self.reset_after:
            from_h = c @ state
            r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)[: -self.output_size]), 2)
            u = from_h[-self.output_size :]
            reset = r * (u if self.bias_n is None else u + self.bias_n)
        else:
            gates = c[: -self.output_size] @ state
            r, z = jnp.split(jax.nn.sigmoid(from_x[: -self.output_size] + gates), 2)
            reset = c[-self.output_size :] @ (r * state)
        n = jnp.tanh(from_x[-self.output_size :] + reset)
        h = (1 - z) * n + z * state
        return h, h


class MGUCell(AbstractCell):
    r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420): a GRU with one gate.

    $$f = \sigma(W_f x + U_f h + b_f), \qquad \hat h = \tanh(W_h x + U_h (f \odot h) + b_h),
    \qquad h' = (1 - f) \odot h + f \odot \hat h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order f, h. Two thirds of a GRU's
    parameters. Against its name, f is the share that is replaced: b_f starts at `forget_bias`,
    and the default 1 replaces 0.73 of the state at every step. For long memories start below 0:
    -3 replaces a twentieth. Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"]
    weight_hh: Float[Array, "2*hidden hidden"]
    bias: Float[Array, " 2*hidden"] | None
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`forget_bias`, where the bias of f starts, needs `use_bias`; else as `LSTMCell`."""
        self.weight_ih, self.weight_hh, bias = _gate_weights(
            input_size, hidden_size, 2, use_bias, dtype, key
        )
        self.bias = None if bias is None else bias.at[:hidden_size].set(forget_bias)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x_f, from_x_h = jnp.split(from_x if self.bias is None else from_x + self.bias, 2)
        weight_f, weight_h = (
            c[: self.output_size],
            c[self.output_size :],
        )
        f = jax.nn.sigmoid(from_x_f + weight_f @ state)
        candidate = jnp.tanh(from_x_h + weight_h @ (f * state))
        h = (1 - f) * state + f * candidate
        return h, h


def positive(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """g of Feng et al. 2024: x + 1/2 where x >= 0, sigmoid(x) below. Positive and continuous."""
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


class MinGRUCell(AbstractLinearCell):
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

    weight_ih: Float[Array, "2*hidden input"]
    bias: Float[Array, " 2*hidden"] | None
    activation: Callable = eqx.field(static=True, converter=portable)
    negative_eigenvalues: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable = positive,
        negative_eigenvalues: bool = False,
        initialisation: str = "glorot",
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`activation` of the candidate, elementwise; the rest as in `LSTMCell`."""
        self.weight_ih, self.bias = _first_weights(
            input_size, hidden_size, 2, use_bias, initialisation, dtype, key
        )
        self.activation, self.negative_eigenvalues = activation, negative_eigenvalues
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        k = self.weight_ih @ x
        z, candidate = jnp.split(k if self.bias is None else k + self.bias, 2)
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


class MinLSTMCell(AbstractLinearCell):
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

    weight_ih: Float[Array, "3*hidden input"]
    bias: Float[Array, " 3*hidden"] | None
    activation: Callable = eqx.field(static=True, converter=portable)
    negative_eigenvalues: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable = positive,
        forget_bias: float = 1.0,
        negative_eigenvalues: bool = False,
        initialisation: str = "glorot",
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`activation` of the candidate, elementwise; the rest as in `LSTMCell`."""
        self.weight_ih, bias = _first_weights(
            input_size, hidden_size, 3, use_bias, initialisation, dtype, key
        )
        self.bias = None if bias is None else bias.at[:hidden_size].add(forget_bias)
        self.activation, self.negative_eigenvalues = activation, negative_eigenvalues
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        k = self.weight_ih @ x
        f, i, candidate = jnp.split(k if self.bias is None else k + self.bias, 3)
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


INITIALISATIONS = ("glorot", "linear")


def _first_weights(input_size, hidden_size, gates, use_bias, initialisation, dtype, key):
    check_choice("initialisation", initialisation, INITIALISATIONS)
    if initialisation == "glorot":
        return _input_weights(input_size, hidden_size, gates, use_bias, dtype, key)
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    dtype, rows = working_float(dtype), gates * hidden_size
    key_ih, key_b = jr.split(key)
    bias = fan_in_uniform(key_b, (rows,), input_size, dtype) if use_bias else None
    return fan_in_uniform(key_ih, (rows, input_size), input_size, dtype), bias


def _input_weights(input_size, hidden_size, gates, use_bias, dtype, key):
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    dtype = working_float(dtype)
    bias = jnp.zeros(gates * hidden_size, dtype) if use_bias else None
    return glorot(key, gates, hidden_size, input_size, dtype), bias


def _gate_weights(input_size, hidden_size, gates, use_bias, dtype, key):
    key_ih, key_hh = jr.split(key)
    weight_ih, bias = _input_weights(input_size, hidden_size, gates, use_bias, dtype, key_ih)
    return weight_ih, orthogonal(key_hh, gates, hidden_size, weight_ih.dtype), bias
