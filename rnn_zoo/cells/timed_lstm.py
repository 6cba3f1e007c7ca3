"""LSTMs with a time: T-LSTM, Phased LSTM."""

__all__ = ["PhasedLSTMCell", "PhasedLSTMState", "TLSTMCell"]

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_bounds
from .._common.dtypes import state_dtype, zero_state
from .._common.ranges import held
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    computed,
    drawn,
    drawn_from,
    filled,
    non_negative,
    one_of,
    option,
)
from ..init import fan_in_uniform, glorot, log_uniform, orthogonal, uniform
from ..registry import register
from .gated import LSTMState, forgetting


# A share of time that a unit is open below this one is no gate, and a division by 0 in the end.
LEAST_RATIO = 1e-3


@register(
    "t_lstm",
    family="gated",
    paper="Baytas et al. 2017, doi:10.1145/3097983.3097997",
    equation="c* = c + (g(dt) - 1) tanh(V c), c' = f * c* + i * g, h' = o * tanh(c')",
    full="""
        c_s = tanh(V c + b_s)
        delta = 1 / log(exp(1) + dt)   if decay = log
        delta = 1 / max(dt, 1)         otherwise
        u = c - c_s + delta c_s
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + b_o)
        c' = f * u + i * g
        h' = o * tanh(c')
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              V = weight_short; b_s = bias_short
              h, c = state
    """,
)
class TLSTMCell(AbstractDeclaredCell, init=False):
    r"""T-LSTM (Baytas et al. 2017, doi:10.1145/3097983.3097997): time discounts a part of c.

    $$c_s = \tanh(W_s c + b_s), \qquad c^* = c - c_s + \delta(dt)\, c_s$$
    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \quad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g, \quad
    c' = f \odot c^* + i \odot g, \quad h' = o \odot \tanh c', \quad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. $c_s$ is the short-term part of the memory.
    $\delta$ is 1 / log(e + dt) for `decay` "log", which the paper takes for long gaps, and
    1 / max(dt, 1) for "inverse", its choice for short ones, held to 1 so that no gap makes
    memories grow. Timed. dt = 0 gives the step of an LSTM and does not hold the state; the
    nominal step, dt = 1, discounts with "log" to 0.76 already, and with "inverse" not at all.
    Blocks and starts as in `LSTMCell`, $W_s$ orthogonal and $b_s$ zero; the authors' weights are
    N(0, 0.01) and all of their biases 1. For records with gaps of many lengths, visits for example.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = computed(forgetting(1, blocks=4))
    weight_short: Float[Array, "hidden hidden"] = drawn(orthogonal)
    bias_short: Float[Array, " hidden"] = filled(0.0)
    decay: str = option("log", one_of("log", "inverse"))
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: LSTMState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        short = jnp.tanh(self.weight_short @ state.c + self.bias_short)
        kept = state.c - short + self._discount(jnp.asarray(dt, state.c.dtype)) * short
        z = self.weight_ih @ x + c @ state.h
        i, f, g, o = jnp.split(plus(z, self.bias), 4)
        memory = jax.nn.sigmoid(f) * kept + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return LSTMState(h, memory), h

    def _discount(self, dt: Array) -> Array:
        return 1 / jnp.log(math.e + dt) if self.decay == "log" else 1 / jnp.maximum(dt, 1.0)


# --- phased LSTM ----------------------------------------------------------------------------------


class PhasedLSTMState(NamedTuple):
    """State of a phased LSTM, (hidden,) each: hidden h, cell c, and where in its period a unit is,
    from 0 to 1."""

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    phase: Float[Array, " hidden"]


class PhasedLSTMConstants(NamedTuple):
    """The recurrent weights, the periods, and the share of its period that a unit is open."""

    weight_hh: StateMatrix
    period: Float[Array, " hidden"]
    ratio: Float[Array, " hidden"]


def _bounds(name: str, value: Any, given: Given) -> tuple[float, float]:
    """(low, high) with 0 < low <= high, in units of dt"""
    return check_bounds(value)


def _share(name: str, value: float, given: Given) -> float:
    """in (0, 1]"""
    if not LEAST_RATIO <= value <= 1:
        raise ValueError(f"expected {name} in [{LEAST_RATIO}, 1], got {value}")
    return float(value)


def _with_peepholes(given: Given) -> bool:
    return given.peepholes


def _peephole(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    return fan_in_uniform(key, shape, given.dtype, fan_in=given.hidden_size)


def _log_periods(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    return log_uniform(key, shape, given.dtype, bounds=given.periods)


def _shifts(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """Anywhere in the period of the unit."""
    return uniform(key, shape, given.dtype, low=0.0, high=1.0) * jnp.exp(given.log_period)


def _open_share(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.full(shape, given.open_ratio, given.dtype)


def _of_period(time: Array) -> Array:
    """What is left of a time, in periods, beyond whole ones."""
    return time - jnp.floor(time)


@register(
    "phased_lstm",
    family="gated",
    paper="Neil et al. 2016, arXiv:1610.09513",
    equation="c' = k * LSTM_c + (1 - k) * c, h' = k * LSTM_h + (1 - k) * h, k = k(t)",
    full="""
        tau = exp(log_period)
        rho = clip(ratio, 0.001, 1)
        p' = (p + dt / tau) mod 1
        k = 2 p' / rho       if p' < rho / 2
        k = 2 - 2 p' / rho   if p' < rho
        k = leak p'          otherwise
        i = sig(W_i x + U_i h + b_i + p_i * c)     if given(weight_peep)
        i = sig(W_i x + U_i h + b_i)               otherwise
        f = sig(W_f x + U_f h + b_f + p_f * c)     if given(weight_peep)
        f = sig(W_f x + U_f h + b_f)               otherwise
        g = tanh(W_g x + U_g h + b_g)
        c_1 = f * c + i * g
        o = sig(W_o x + U_o h + b_o + p_o * c_1)   if given(weight_peep)
        o = sig(W_o x + U_o h + b_o)               otherwise
        h_1 = o * tanh(c_1)
        c' = k * c_1 + (1 - k) * c
        h' = k * h_1 + (1 - k) * h
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              p_i, p_f, p_o = weight_peep
              h, c, p = state
    """,
)
class PhasedLSTMCell(AbstractDeclaredCell, init=False):
    r"""Phased LSTM (Neil, Pfeiffer & Liu 2016, arXiv:1610.09513): units that open by a clock.

    $$\phi' = (\phi + dt / \tau) \bmod 1, \qquad
    k = 2 \phi' / \rho \ \ (\phi' < \rho / 2), \quad
    2 - 2 \phi' / \rho \ \ (\phi' < \rho), \quad \alpha \phi' \ \text{else}$$
    $$\tilde h, \tilde c = \mathrm{LSTM}(x, h, c), \qquad
    c' = k \odot \tilde c + (1 - k) \odot c, \qquad h' = k \odot \tilde h + (1 - k) \odot h,
    \qquad y = h'$$

    State: `PhasedLSTMState(h, c, phase)`. The paper's phase at the time t is that of (t - s) in a
    period $\tau$. Here it is carried, from -s at the start on, which float32 holds for longer than
    a clock: s is `shift`, in units of dt; $\tau$ = exp(`log_period`); $\rho$ is `ratio`, held to
    [0.001, 1]; the leak $\alpha$ is `leak`. The authors set it to 0 once trained. Timed; the time
    passes before the step, and dt = 0 still takes one. The LSTM is that of `LSTMCell` with
    `peepholes` of the memory (i, f of the old one, o of the proposed one), as the authors' is.

    Periods start log-uniform on `periods`, shifts uniform on a period, ratios at `open_ratio`.
    A unit learns from the share of the steps in which it is open: at regular steps take periods of
    many steps over the ratio, or it may never open. For long sequences with irregular times and
    rhythms of their own.
    """

    weight_ih: Float[Array, "4*hidden input"] = drawn(glorot, blocks=4)
    weight_hh: Float[Array, "4*hidden hidden"] = drawn(orthogonal, blocks=4)
    bias: Float[Array, " 4*hidden"] | None = computed(forgetting(1, blocks=4))
    weight_peep: Float[Array, " 3*hidden"] | None = drawn_from(_peephole, when=_with_peepholes)
    log_period: Float[Array, " hidden"] = drawn_from(_log_periods)
    shift: Float[Array, " hidden"] = drawn_from(_shifts)
    ratio: Float[Array, " hidden"] = computed(_open_share)
    leak: float = option(1e-3, non_negative)
    peepholes: ClassVar[bool] = option(True)
    periods: ClassVar[tuple[float, float]] = option((10.0, 100.0), _bounds)
    open_ratio: ClassVar[float] = option(0.05, _share)
    forget_bias: ClassVar[float] = option(1.0)

    def init_state(self) -> PhasedLSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        dtype = state_dtype(self.shift)
        start = -self.shift.astype(dtype) / jnp.exp(self.log_period.astype(dtype))
        return PhasedLSTMState(zeros, zeros, _of_period(start))

    def constants(self) -> PhasedLSTMConstants:
        period, ratio = (p.astype(state_dtype(p)) for p in (self.log_period, self.ratio))
        return PhasedLSTMConstants(
            StateMatrix(self.weight_hh), jnp.exp(period), held(ratio, LEAST_RATIO, 1.0)
        )

    def equation(
        self,
        c: PhasedLSTMConstants,
        state: PhasedLSTMState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[PhasedLSTMState, Float[Array, " {self.output_size}"]]:
        phase = _of_period(state.phase + jnp.asarray(dt, state.phase.dtype) / c.period)
        k = self._openness(phase, c.ratio)
        z = plus(self.weight_ih @ x + c.weight_hh @ state.h, self.bias)
        i, f, g, o = jnp.split(z, 4)
        p_i, p_f, p_o = _thirds(self.weight_peep)
        i, f = (jax.nn.sigmoid(gate + p(state.c)) for gate, p in ((i, p_i), (f, p_f)))
        memory = f * state.c + i * jnp.tanh(g)
        h = jax.nn.sigmoid(o + p_o(memory)) * jnp.tanh(memory)
        h, memory = (k * new + (1 - k) * old for new, old in ((h, state.h), (memory, state.c)))
        return PhasedLSTMState(h, memory, phase), h

    def _openness(self, phase: Array, ratio: Array) -> Array:
        rising, falling = 2 * phase / ratio, 2 - 2 * phase / ratio
        closed = jnp.where(phase < ratio, falling, self.leak * phase)
        return jnp.where(phase < ratio / 2, rising, closed)


def _thirds(weights: Array | None) -> tuple[Callable[[Array], Any], ...]:
    """What each peephole adds for a memory: nothing where there are none."""
    if weights is None:
        return (lambda memory: 0.0,) * 3
    return tuple(lambda memory, own=own: own * memory for own in jnp.split(weights, 3))
