"""Networks of oscillators, and the multiscale network made from them."""

__all__ = ["CoRNNCell", "HCoRNNCell", "LEMCell", "OscillatorState", "UnICORNNCell"]

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.dtypes import zero_state
from .._common.fixed import Fixed
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    drawn,
    drawn_from,
    non_negative,
    one_of,
    option,
    positive,
)
from ..init import fan_in_uniform, leaky_kaiming, uniform
from ..linear import Block2x2
from ..registry import register


class OscillatorState(NamedTuple):
    """State of a network of oscillators: position h and velocity z, (hidden,) each."""

    h: Float[Array, " hidden"]
    z: Float[Array, " hidden"]


class OscillatorMatrices(NamedTuple):
    """What multiplies the state: W_hh multiplies the positions, W_hz the velocities."""

    W_hh: StateMatrix
    W_hz: StateMatrix


def _rest(parameter: Array, size: int) -> OscillatorState:
    zeros = zero_state(size, parameter)
    return OscillatorState(zeros, zeros)


def _range(name: str, value: tuple[float, float], given: Given) -> tuple[float, float]:
    """(low, high) with 0 <= low <= high"""
    low, high = value
    if not 0 <= low <= high:
        raise ValueError(f"expected {name} as (low, high) with 0 <= low <= high, got {value}")
    return low, high


def _fixed_in(option: str) -> Callable[[Given, Any, PRNGKeyArray], Fixed]:
    """A number for each unit from the range of this option, which no optimiser changes."""

    def start(given: Given, shape: None, key: PRNGKeyArray) -> Fixed:
        low, high = getattr(given, option)
        return Fixed(uniform(key, (given.hidden_size,), given.dtype, low=low, high=high))

    return start


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
class CoRNNCell(AbstractDeclaredCell, init=False):
    r"""Coupled oscillatory RNN (Rusch & Mishra 2021, arXiv:2010.00951).

    $$z' = z + \Delta \big[\tanh(W_{hh} h + W_{hz} z + W_{ih} x + b) - \gamma h
    - \epsilon \bar z\big], \qquad h' = h + \Delta z', \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. `scheme` "explicit": $\bar z = z$, the authors'
    code; "imex": $\bar z = z'$, the paper's implicit form, solved by the division by
    $1 + \epsilon \Delta$. Timed: `dt` multiplies `delta` $\Delta$; dt = 0 holds the state. Both
    are explicit in h, so stable for small steps only. The defaults are those of the authors'
    sequential MNIST; weights and bias are from U(±1/sqrt(input + 2 hidden)), as their one linear
    layer. It is for long memories with smooth dynamics; for short sequences take a larger `delta`.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(fan_in_uniform, fan_in="input 2*hidden")
    weight_hh: Float[Array, "hidden hidden"] = drawn(fan_in_uniform, fan_in="input 2*hidden")
    weight_hz: Float[Array, "hidden hidden"] = drawn(fan_in_uniform, fan_in="input 2*hidden")
    bias: Float[Array, " hidden"] | None = drawn(fan_in_uniform, fan_in="input 2*hidden")
    delta: float = option(0.042, positive)
    gamma: float = option(2.7, positive)
    epsilon: float = option(4.7, positive)
    scheme: str = option("explicit", one_of("explicit", "imex"))

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def constants(self) -> OscillatorMatrices:
        return OscillatorMatrices(StateMatrix(self.weight_hh), StateMatrix(self.weight_hz))

    def equation(
        self,
        c: OscillatorMatrices,
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        u = c.W_hh @ h + c.W_hz @ z + self.weight_ih @ x
        force = jnp.tanh(plus(u, self.bias)) - self.gamma * h
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
class HCoRNNCell(AbstractDeclaredCell, init=False):
    r"""Heterogeneous coRNN (Ceni et al. 2024, "Random Oscillators Network for Time Series
    Processing").

    $$z' = z + \Delta \big[\tanh(W_{hh} h + W_{ih} x + b) - \gamma \odot h
    - \epsilon \odot z\big], \qquad h' = h + \Delta z', \qquad y = h'$$

    A coRNN whose units have each their own stiffness and damping and no coupling through the
    velocities: drawn once from U(low, high), the ranges `gamma` and `epsilon`, and changed by no
    optimiser. The defaults are those of the authors' sequential MNIST. $W_{ih}$ and b are from
    U(±1/sqrt(input)), $W_{hh}$ from U(±1/sqrt(hidden)), as their two linear layers. State and time
    are those of `CoRNNCell`; `random_oscillators` is the reservoir.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(fan_in_uniform)
    weight_hh: Float[Array, "hidden hidden"] = drawn(fan_in_uniform)
    bias: Float[Array, " hidden"] | None = drawn(fan_in_uniform, fan_in="input")
    stiffness: Fixed = drawn_from(_fixed_in("gamma"))
    damping: Fixed = drawn_from(_fixed_in("epsilon"))
    delta: float = option(0.042, positive)
    gamma: ClassVar[tuple[float, float]] = option((1.35, 4.05), _range)
    epsilon: ClassVar[tuple[float, float]] = option((2.35, 7.05), _range)

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
        force = jnp.tanh(plus(c @ h + self.weight_ih @ x, self.bias))
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
class LEMCell(AbstractDeclaredCell, init=False):
    r"""Long expressive memory (Rusch et al. 2022, arXiv:2110.04744).

    $$\Delta_1 = \Delta \sigma(W_1 h + V_1 x + b_1), \qquad
    \Delta_2 = \Delta \sigma(W_2 h + V_2 x + b_2)$$
    $$z' = (1 - \Delta_1) \odot z + \Delta_1 \odot \tanh(W_z h + V_z x + b_z), \qquad
    h' = (1 - \Delta_2) \odot h + \Delta_2 \odot \tanh(W_h z' + V_h x + b_h), \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. Timed: `dt` multiplies `delta` $\Delta$, 1 unless the
    data have a finer scale; dt = 0 holds the state; keep dt delta <= 1. The input weights V have
    the blocks 1, 2, z, h, W has the blocks 1, 2, z, and $W_h$ is `weight_hz`. All are from
    U(±1/sqrt(hidden)), as the authors'. Their code has the blocks 2, 1, h, z of V and 2, 1, z of W,
    and two biases for each block where there is one here: add them to load a trained one. It is
    the strongest of the oscillator family on long memories and costs what an LSTM costs.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(fan_in_uniform, fan_in="hidden")
    weight_hh: Float[Array, "3*hidden hidden"] = drawn(fan_in_uniform)
    weight_hz: Float[Array, "hidden hidden"] = drawn(fan_in_uniform)
    bias: Float[Array, " 4*hidden"] | None = drawn(fan_in_uniform, fan_in="hidden")
    delta: float = option(1.0, positive)

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def constants(self) -> OscillatorMatrices:
        return OscillatorMatrices(StateMatrix(self.weight_hh), StateMatrix(self.weight_hz))

    def equation(
        self,
        c: OscillatorMatrices,
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        from_x = plus(self.weight_ih @ x, self.bias)
        pre = from_x[: -self.output_size] + c.W_hh @ h
        one, two, pre_z = jnp.split(pre, 3)
        delta = jnp.asarray(dt) * self.delta
        delta_1, delta_2 = delta * jax.nn.sigmoid(one), delta * jax.nn.sigmoid(two)
        z = (1 - delta_1) * z + delta_1 * jnp.tanh(pre_z)
        target = jnp.tanh(c.W_hz @ z + from_x[-self.output_size :])
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
class UnICORNNCell(AbstractDeclaredCell, init=False):
    r"""Undamped independent controlled oscillators (Rusch & Mishra 2021, arXiv:2103.05487).

    $$z' = z - \Delta \sigma(c) \odot \big[\tanh(w \odot h + W_{ih} x + b) + \alpha h\big],
    \qquad h' = h + \Delta \sigma(c) \odot z', \qquad y = h'$$

    State: `OscillatorState(h, z)`, zeros. Each unit is its own oscillator, so stack layers.
    The scheme is symplectic: without input no energy is lost, whatever the length. Timed:
    `dt` multiplies `delta` $\Delta$; dt = 0 holds the state. It is stable for small steps only.
    w is from U(0, 1), c from U(-0.1, 0.1), $W_{ih}$ from U(±sqrt(6 / (65 input))) and b from
    U(±1/sqrt(input)), as in the authors' code, so deep stacks start small. Their runs have
    `delta` from 2.8e-5 to 0.205 and `alpha` from 0 to 30.65 (0.19 and 30.65 in permuted MNIST).
    """

    weight_ih: Float[Array, "hidden input"] = drawn(leaky_kaiming)
    weight_hh: Float[Array, " hidden"] = drawn(uniform, low=0.0, high=1.0)
    c: Float[Array, " hidden"] = drawn(uniform, low=-0.1, high=0.1)
    bias: Float[Array, " hidden"] | None = drawn(fan_in_uniform, fan_in="input")
    delta: float = option(0.1, positive)
    alpha: float = option(1.0, non_negative)
    state_jacobian: ClassVar[type] = Block2x2

    def init_state(self) -> OscillatorState:
        return _rest(self.weight_ih, self.output_size)

    def equation(
        self,
        c: None,
        state: OscillatorState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[OscillatorState, Float[Array, " {self.output_size}"]]:
        h, z = state
        u = self.weight_hh * h + self.weight_ih @ x
        force = jnp.tanh(plus(u, self.bias)) + self.alpha * h
        delta = jnp.asarray(dt) * self.delta * jax.nn.sigmoid(self.c)
        z = z - delta * force
        h = h + delta * z
        return OscillatorState(h, z), h
