"""Excitatory and inhibitory populations: the model of Wilson and Cowan."""

from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive
from .._common.dtypes import state_dtype
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, computed, drawn, drawn_from, option
from ..init import glorot, uniform
from ..registry import register
from .vanilla import leak_over, leaking


WEIGHTS = ((16.0, 12.0), (15.0, 3.0))
"""To E from E and from I, to I from E and from I: of whole populations, in the paper."""


def _units(name: str, value: int | None, given: Given) -> int:
    """an integer from 1 to `hidden_size`"""
    size = given.hidden_size
    count = size - size // 2 if value is None else value
    if not isinstance(count, Integral) or isinstance(count, bool) or not 1 <= count <= size:
        raise ValueError(f"expected {name} as an integer from 1 to {size}, got {count!r}")
    return int(count)


def _pair(name: str, value: Any, given: Given) -> tuple[float, float]:
    """two numbers, of E and of I"""
    if np.shape(value) != (2,):
        raise ValueError(f"expected {name} as two numbers, of E and of I, got {value!r}")
    excitatory, inhibitory = value
    return float(excitatory), float(inhibitory)


def _positive_pair(name: str, value: Any, given: Given) -> tuple[float, float]:
    """two numbers above 0, of E and of I"""
    excitatory, inhibitory = _pair(name, value, given)
    return check_positive(name, excitatory), check_positive(name, inhibitory)


def _share(name: str, value: float, given: Given) -> float:
    """in [0, 1]"""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"expected {name} in [0, 1], got {value}")
    return float(value)


def _by_unit(pair: tuple[float, float], excitatory: int, size: int, dtype: Any) -> Array:
    """The values of E and I, for each unit."""
    return jnp.where(jnp.arange(size) < excitatory, *pair).astype(dtype)


def _first_bias(given: Given, shape: tuple[int, ...]) -> Array:
    return _by_unit(given.threshold, given.excitatory, given.hidden_size, given.dtype)


def _raw_weights(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """What softplus makes positive weights of: the paper's, spread over the units of each kind."""
    kind = (np.arange(given.hidden_size) >= given.excitatory).astype(int)
    read = np.bincount(kind, minlength=2)[kind]
    mean = np.array(WEIGHTS)[kind][:, kind] / read
    wide = jnp.promote_types(given.dtype, jnp.float32)
    # Off 0, where the logarithm ends.
    weights = jnp.asarray(mean, wide) * uniform(key, shape, wide, low=1e-3, high=2.0)
    return (weights + jnp.log(-jnp.expm1(-weights))).astype(given.dtype)


@register(
    "wilson_cowan",
    family="vanilla",
    paper="Wilson & Cowan 1972",
    equation="h' = (1 - a) h + a S(U h + W x + b), h = [E, I], U > 0 from E, < 0 from I",
    covers={"wilson_cowan_ei": {}, "Wilson-Cowan with refractory rates": {"refractory": 1.0}},
    full="""
        alpha = 1 - (1 - leak)^dt
        u_E = W_E [E, -I] + P x + b_E
        u_I = W_I [E, -I] + Q x + b_I
        S_E = sig(a_E (u_E - theta_E)) - sig(-a_E theta_E)
        S_I = sig(a_I (u_I - theta_I)) - sig(-a_I theta_I)
        E' = (1 - alpha) E + alpha (1 - r E) * S_E
        I' = (1 - alpha) I + alpha (1 - r I) * S_I
        y = [E', I']
        where E, I = split(state, excitatory)
              W_E, W_I = split(softplus(raw_weight_hh), excitatory)
              P, Q = split(weight_ih, excitatory); b_E, b_I = split(bias, excitatory)
              a_E, a_I = gain; theta_E, theta_I = threshold; r = refractory
    """,
)
class WilsonCowanCell(AbstractDeclaredCell, init=False):
    r"""Excitatory and inhibitory populations (Wilson & Cowan 1972, Biophysical Journal 12).

    $$\tau \dot E = -E + (1 - r E) \odot S_E(W_{EE} E - W_{EI} I + P x + b_E), \qquad
    \tau \dot I = -I + (1 - r I) \odot S_I(W_{IE} E - W_{II} I + Q x + b_I)$$
    $$S(v) = \sigma(a (v - \theta)) - \sigma(-a \theta), \qquad
    h' = h + \alpha_{dt}\, \tau \dot h, \qquad \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad
    y = h' = [E, I]$$

    State: h, (hidden,), the share of each unit's neurons that are active, zero at the start. The
    first `excitatory` units are E (half of them by default, with the odd one), the others I.
    All W are positive, whatever is learned: they are the softplus of `raw_weight_hh`, a row for
    the unit that reads. P and Q are the rows of $W_{ih}$, of any sign. `refractory` r is 0, the
    form in use today, or 1, the paper's. Timed: `dt` is in units of the step that `leak` $\alpha$
    belongs to, of which $\tau = -1 / \log(1 - \alpha)$ is a number; dt = 0 holds the state. h stays
    within 1 above and $\sigma(-a \theta)$, some hundredths of a percent, below 0.

    `gain` a and `threshold` $\theta$, (E, I), are the paper's, and so is the size of the weights:
    16 to E from E, 12 to E from I, 15 to I from E, 3 to I from I, over the number of units read,
    times U(0, 2). b starts at $\theta$, where S is steepest, so that units learn from small
    inputs; with `use_bias=False` rest is a fixed point as in the paper, and a steady input near
    1.25 makes the populations oscillate. $W_{ih}$ is Glorot-uniform. The cell is for
    rates with signs fixed by their cells (Dale's principle), and as the model of cortical rhythms.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    raw_weight_hh: Float[Array, "hidden hidden"] = drawn_from(_raw_weights)
    bias: Float[Array, " hidden"] | None = computed(_first_bias)
    excitatory: int = option(None, _units)
    leak: float = option(0.5, leaking)
    gain: tuple[float, float] = option((1.3, 2.0), _positive_pair)
    threshold: tuple[float, float] = option((4.0, 3.7), _pair)
    refractory: float = option(0.0, _share)

    def constants(self) -> StateMatrix:
        raw = self.raw_weight_hh.astype(state_dtype(self.raw_weight_hh))
        return StateMatrix(jax.nn.softplus(raw) * self._each((1.0, -1.0), raw.dtype)[None])

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = c @ state + self.weight_ih @ x
        rate = self._rate(plus(z, self.bias))
        alpha = leak_over(self.leak, dt)
        h = (1 - alpha) * state + alpha * (1 - self.refractory * state) * rate
        return h, h

    def _rate(self, z: Array) -> Array:
        """S, which is 0 at 0."""
        gain, threshold = self._each(self.gain, z.dtype), self._each(self.threshold, z.dtype)
        return jax.nn.sigmoid(gain * (z - threshold)) - jax.nn.sigmoid(-gain * threshold)

    def _each(self, pair: tuple[float, float], dtype: Any) -> Float[Array, " hidden"]:
        """The values of E and I, for each unit."""
        return _by_unit(pair, self.excitatory, self.output_size, dtype)
