"""Networks of oscillators, and the multiscale network made from them."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive, check_sizes
from .._common.dtypes import state_dtype, working_float
from .._common.fixed import Fixed
from ..base import AbstractCell, StateMatrix
from ..init import fan_in_uniform, leaky_kaiming, uniform
from ..registry import register


class OscillatorState(NamedTuple):
    """State of a network of oscillators: position h and velocity z, (hidden,) each."""

    h: Float[Array, " hidden"]
    z: Float[Array, " hidden"]


SCHEMES = ("explicit", "imex")


@register(
    "cornn",
    family="oscillatory",
    paper="Rusch & Mishra 2021, arXiv:2010.00951",
    equation="z' = z + d (tanh(W h + W2 z + V x + b) - g h - e z), h' = h + d z'",
    full="""
        d = dt delta
        f = tanh(W h + W_z z + V x + b) - gamma h
        z' = z + d (f - epsilon z)         if scheme = explicit
        z' = (z + d f) / (1 + d epsilon)   otherwise
        h' = h + d z'
        y = h'
        where W = weight_hh; W_z = weight_hz; V = weight_ih; b = bias; h, z = state
    """,
)
class CoRNNCell(AbstractCell):
    r"""Coupled oscillatory RNN (Rusch & Mishra 2021, arXiv:2010.00951).

    $$z' = z + \Delta \big[\tanh(W_{hh} h + W_{hz} z + W_{ih} x + b) - \gamma h
    - \epsilon \bar z\big], \qquad h' = h + \Delta z', \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. `scheme` "explicit": $\bar z = z$, the authors'
    code; "imex": $\bar z = z'$, the paper's implicit form, solved by the division by
    $1 + \epsilon \Delta$. Timed: `dt` multiplies `delta` $\Delta$; dt = 0 holds the state;
    explicit in h, so stable for small steps only. Defaults are those of the authors'
    sequential MNIST; weights and bias from U(±1/sqrt(input + 2 hidden)) as their one linear
    layer. For long memories with smooth dynamics; for short sequences take a larger `delta`.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, "hidden hidden"]
    weight_hz: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    delta: float = eqx.field(static=True)
    gamma: float = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        delta: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        scheme: str = "explicit",
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`delta`, `gamma`, `epsilon` > 0; `scheme` as above (ValueError otherwise)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        if scheme not in SCHEMES:
            raise ValueError(f"expected scheme to be one of {SCHEMES}, got {scheme!r}")
        self.delta = check_positive("delta", delta)
        self.gamma = check_positive("gamma", gamma)
        self.epsilon = check_positive("epsilon", epsilon)
        self.scheme = scheme
        dtype = working_float(dtype)
        fan_in = input_size + 2 * hidden_size
        key_ih, key_hh, key_hz, key_b = jr.split(key, 4)
        square = (hidden_size, hidden_size)
        self.weight_ih = fan_in_uniform(key_ih, (hidden_size, input_size), dtype, fan_in=fan_in)
        self.weight_hh = fan_in_uniform(key_hh, square, dtype, fan_in=fan_in)
        self.weight_hz = fan_in_uniform(key_hz, square, dtype, fan_in=fan_in)
        self.bias = (
            fan_in_uniform(key_b, (hidden_size,), dtype, fan_in=fan_in) if use_bias else None
        )
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def constants(self) -> tuple[StateMatrix, StateMatrix]:
        return StateMatrix(self.weight_hh), StateMatrix(self.weight_hz)

    def equation(
        self,
        c: tuple[StateMatrix, StateMatrix],
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        W_hh, W_hz = c
        u = W_hh @ h + W_hz @ z + self.weight_ih @ x
        force = jnp.tanh(u if self.bias is None else u + self.bias) - self.gamma * h
        delta = jnp.asarray(dt) * self.delta
        if self.scheme == "explicit":
            z = z + delta * (force - self.epsilon * z)
        else:
            z = (z + delta * force) / (1 + self.epsilon * delta)
        h = h + delta * z
        return OscillatorState(h, z), h


@register(
    "hcornn",
    family="oscillatory",
    paper="Ceni et al. 2024",
    equation="z' = z + d (tanh(W h + V x + b) - g * h - e * z), h' = h + d z'",
    full="""
        d = dt delta
        z' = z + d (tanh(W h + V x + b) - gamma * h - epsilon * z)
        h' = h + d z'
        y = h'
        where W = weight_hh; V = weight_ih; b = bias; gamma = stiffness; epsilon = damping
              h, z = state
    """,
)
class HCoRNNCell(AbstractCell):
    r"""Heterogeneous coRNN (Ceni et al. 2024, "Random Oscillators Network for Time Series
    Processing").

    $$z' = z + \Delta \big[\tanh(W_{hh} h + W_{ih} x + b) - \gamma \odot h
    - \epsilon \odot z\big], \qquad h' = h + \Delta z', \qquad y = h'$$

    A coRNN whose units have each their own stiffness and damping and no coupling through
    the velocities. `gamma` and `epsilon`, (low, high): drawn once from U(low, high) per unit
    and fixed, no optimiser changes them; the defaults are those of the authors' sequential
    MNIST. $W_{ih}$ and b from U(±1/sqrt(input)), $W_{hh}$ from U(±1/sqrt(hidden)), as their two
    linear layers. State and time as in `CoRNNCell`; `random_oscillators` is the reservoir.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    stiffness: Fixed
    damping: Fixed
    delta: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        delta: float = 0.042,
        gamma: tuple[float, float] = (1.35, 4.05),
        epsilon: tuple[float, float] = (2.35, 7.05),
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`delta` > 0; `gamma`, `epsilon` ranges with 0 <= low <= high (ValueError otherwise)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.delta = check_positive("delta", delta)
        dtype = working_float(dtype)
        key_ih, key_hh, key_b, key_gamma, key_epsilon = jr.split(key, 5)
        square = (hidden_size, hidden_size)
        self.weight_ih = fan_in_uniform(key_ih, (hidden_size, input_size), dtype, fan_in=input_size)
        self.weight_hh = fan_in_uniform(key_hh, square, dtype, fan_in=hidden_size)
        self.bias = (
            fan_in_uniform(key_b, (hidden_size,), dtype, fan_in=input_size) if use_bias else None
        )
        self.stiffness = _fixed_range("gamma", gamma, hidden_size, dtype, key_gamma)
        self.damping = _fixed_range("epsilon", epsilon, hidden_size, dtype, key_epsilon)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        u = c @ h + self.weight_ih @ x
        force = jnp.tanh(u if self.bias is None else u + self.bias)
        delta = jnp.asarray(dt) * self.delta
        z = z + delta * (force - self.stiffness.value * h - self.damping.value * z)
        h = h + delta * z
        return OscillatorState(h, z), h


@register(
    "lem",
    family="oscillatory",
    paper="Rusch et al. 2022, arXiv:2110.04744",
    equation="z' = (1 - d1) z + d1 tanh(.h), h' = (1 - d2) h + d2 tanh(.z')",
    full="""
        d_1 = dt delta sig(W_1 h + V_1 x + b_1)
        d_2 = dt delta sig(W_2 h + V_2 x + b_2)
        z' = (1 - d_1) * z + d_1 * tanh(W_z h + V_z x + b_z)
        h' = (1 - d_2) * h + d_2 * tanh(W_h z' + V_h x + b_h)
        y = h'
        where V_1, V_2, V_z, V_h = weight_ih
              W_1, W_2, W_z = weight_hh; W_h = weight_hz
              b_1, b_2, b_z, b_h = bias
              h, z = state
    """,
)
class LEMCell(AbstractCell):
    r"""Long expressive memory (Rusch et al. 2022, arXiv:2110.04744).

    $$\Delta_1 = \Delta \sigma(W_1 h + V_1 x + b_1), \qquad
    \Delta_2 = \Delta \sigma(W_2 h + V_2 x + b_2)$$
    $$z' = (1 - \Delta_1) \odot z + \Delta_1 \odot \tanh(W_z h + V_z x + b_z), \qquad
    h' = (1 - \Delta_2) \odot h + \Delta_2 \odot \tanh(W_h z' + V_h x + b_h), \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. Timed: `dt` multiplies `delta` $\Delta$; dt = 0
    holds the state; keep dt delta <= 1. Input weights V in the blocks 1, 2, z, h; W in the
    blocks 1, 2, z, and $W_h$ is `weight_hz`. All from U(±1/sqrt(hidden)), the authors'. Their
    code has the blocks 2, 1, h, z of V and 2, 1, z of W, and two biases for each block where
    there is one here: add them to load a trained one. The strongest of the oscillator
    family on long memories; costs what an LSTM costs.
    """

    weight_ih: Float[Array, "4*hidden input"]
    weight_hh: Float[Array, "3*hidden hidden"]
    weight_hz: Float[Array, "hidden hidden"]
    bias: Float[Array, " 4*hidden"] | None
    delta: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        delta: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`delta` > 0 (ValueError otherwise), 1 unless the data have a finer scale."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.delta = check_positive("delta", delta)
        dtype = working_float(dtype)
        size = hidden_size
        key_ih, key_hh, key_hz, key_b = jr.split(key, 4)
        self.weight_ih = fan_in_uniform(key_ih, (4 * size, input_size), dtype, fan_in=size)
        self.weight_hh = fan_in_uniform(key_hh, (3 * size, size), dtype, fan_in=size)
        self.weight_hz = fan_in_uniform(key_hz, (size, size), dtype, fan_in=size)
        self.bias = fan_in_uniform(key_b, (4 * size,), dtype, fan_in=size) if use_bias else None
        self.input_size, self.output_size = input_size, size

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def constants(self) -> tuple[StateMatrix, StateMatrix]:
        return StateMatrix(self.weight_hh), StateMatrix(self.weight_hz)

    def equation(
        self,
        c: tuple[StateMatrix, StateMatrix],
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        W_hh, W_hz = c
        from_x = self.weight_ih @ x
        from_x = from_x if self.bias is None else from_x + self.bias
        pre = from_x[: -self.output_size] + W_hh @ h
        one, two, pre_z = jnp.split(pre, 3)
        delta = jnp.asarray(dt) * self.delta
        delta_1, delta_2 = delta * jax.nn.sigmoid(one), delta * jax.nn.sigmoid(two)
        z = (1 - delta_1) * z + delta_1 * jnp.tanh(pre_z)
        target = jnp.tanh(W_hz @ z + from_x[-self.output_size :])
        h = (1 - delta_2) * h + delta_2 * target
        return OscillatorState(h, z), h


@register(
    "unicornn",
    family="oscillatory",
    paper="Rusch & Mishra 2021, arXiv:2103.05487",
    equation="z' = z - d s(c) (tanh(w * h + V x + b) + a h), h' = h + d s(c) z'",
    full="""
        d = dt delta sig(c)
        z' = z - d * (tanh(w * h + V x + b) + alpha h)
        h' = h + d * z'
        y = h'
        where w = weight_hh; V = weight_ih; b = bias; h, z = state
    """,
)
class UnICORNNCell(AbstractCell):
    r"""Undamped independent controlled oscillators (Rusch & Mishra 2021, arXiv:2103.05487).

    $$z' = z - \Delta \sigma(c) \odot \big[\tanh(w \odot h + W_{ih} x + b) + \alpha h\big],
    \qquad h' = h + \Delta \sigma(c) \odot z', \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. Each unit is its own oscillator, so stack layers.
    The scheme is symplectic: without input no energy is lost, whatever the length. Timed:
    `dt` multiplies `delta` $\Delta$; dt = 0 holds the state; stable for small steps only.
    w from U(0, 1), c from U(-0.1, 0.1), $W_{ih}$ from U(±sqrt(6 / (65 input))) and b from
    U(±1/sqrt(input)), as in the authors' code, so deep stacks start small. Their runs have
    `delta` from 2.8e-5 to 0.205 and `alpha` from 0 to 30.65 (0.19 and 30.65 in permuted MNIST).
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    bias: Float[Array, " hidden"] | None
    delta: float = eqx.field(static=True)
    alpha: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        delta: float = 0.1,
        alpha: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`delta` > 0, `alpha` >= 0 (ValueError otherwise)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.delta = check_positive("delta", delta)
        self.alpha = check_positive("alpha", alpha, zero=True)
        dtype = working_float(dtype)
        key_ih, key_hh, key_c, key_b = jr.split(key, 4)
        self.weight_ih = leaky_kaiming(key_ih, (hidden_size, input_size), dtype)
        self.weight_hh = uniform(key_hh, (hidden_size,), dtype, low=0.0, high=1.0)
        self.c = uniform(key_c, (hidden_size,), dtype, low=-0.1, high=0.1)
        self.bias = (
            fan_in_uniform(key_b, (hidden_size,), dtype, fan_in=input_size) if use_bias else None
        )
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def equation(
        self,
        c: Any,
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        u = self.weight_hh * h + self.weight_ih @ x
        force = jnp.tanh(u if self.bias is None else u + self.bias) + self.alpha * h
        delta = jnp.asarray(dt) * self.delta * jax.nn.sigmoid(self.c)
        z = z - delta * force
        h = h + delta * z
        return OscillatorState(h, z), h


def _rest(parameter: Array, size: int) -> OscillatorState:
    zeros = jnp.zeros(size, state_dtype(parameter))
    return OscillatorState(zeros, zeros)


def _fixed_range(name: str, given: tuple[float, float], size: int, dtype: Any, key) -> Fixed:
    low, high = given
    if not 0 <= low <= high:
        raise ValueError(f"expected {name} as (low, high) with 0 <= low <= high, got {given}")
    return Fixed(uniform(key, (size,), dtype, low=low, high=high))
