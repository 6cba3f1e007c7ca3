"""Excitatory and inhibitory populations: the model of Wilson and Cowan."""

from numbers import Integral
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, StateMatrix
from ..init import glorot, uniform
from ..registry import register
from .vanilla import check_leak, leak_over


WEIGHTS = ((16.0, 12.0), (15.0, 3.0))
"""To E from E and from I, to I from E and from I: of whole populations, in the paper."""


@register(
    "wilson_cowan",
    family="vanilla",
    paper="Wilson & Cowan 1972",
    equation="h' = (1 - a) h + a S(U h + W x + b), h = [E, I], U > 0 from E, < 0 from I",
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
class WilsonCowanCell(AbstractCell):
    r"""Excitatory and inhibitory populations (Wilson & Cowan 1972, Biophysical Journal 12).

    $$\tau \dot E = -E + (1 - r E) \odot S_E(W_{EE} E - W_{EI} I + P x + b_E), \qquad
    \tau \dot I = -I + (1 - r I) \odot S_I(W_{IE} E - W_{II} I + Q x + b_I)$$
    $$S(v) = \sigma(a (v - \theta)) - \sigma(-a \theta), \qquad
    h' = h + \alpha_{dt}\, \tau \dot h, \qquad \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad
    y = h' = [E, I]$$

    State: h, (hidden,), the share of each unit's neurons that are active, zero at the start. The
    first `excitatory` units are E (half of them by default, with the odd one), the others I.
    All W are positive, whatever is learned: the softplus of `raw_weight_hh`, in rows of the unit
    that reads. P, Q are the rows of $W_{ih}$ and of any sign. `refractory` r is 0, the form in
    use today, or 1, the paper's. Timed: `dt` in units of the step that `leak` $\alpha$ belongs
    to, of which $\tau = -1 / \log(1 - \alpha)$ is a number; dt = 0 holds the state. h stays
    within 1 above and $\sigma(-a \theta)$, some hundredths of a percent, below 0.

    `gain` a and `threshold` $\theta$, (E, I), are the paper's, and so is the size of the weights:
    16 to E from E, 12 to E from I, 15 to I from E, 3 to I from I, over the number of units read,
    times U(0, 2). b starts at $\theta$, where S is steepest, so that units learn from small
    inputs; with `use_bias=False` rest is a fixed point as in the paper, and a steady input near
    1.25 makes the populations oscillate. $W_{ih}$ is Glorot-uniform. For rates with signs fixed
    by their cells (Dale's principle), and as the model of cortical rhythms.
    """

    weight_ih: Float[Array, "hidden input"]
    raw_weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    excitatory: int = eqx.field(static=True)
    leak: float = eqx.field(static=True)
    gain: tuple[float, float] = eqx.field(static=True)
    threshold: tuple[float, float] = eqx.field(static=True)
    refractory: float = eqx.field(static=True)
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
        excitatory: int | None = None,
        leak: float = 0.5,
        gain: Any = (1.3, 2.0),
        threshold: Any = (4.0, 3.7),
        refractory: float = 0.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`excitatory` units, 1 to `hidden_size`; `leak` in (0, 1]; `gain` above 0 and
        `threshold`, (E, I); `refractory` in [0, 1]. ValueError otherwise."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.excitatory = _check_excitatory(excitatory, hidden_size)
        self.leak = check_leak(leak)
        self.gain, self.threshold = _pair("gain", gain), _pair("threshold", threshold)
        for a in self.gain:
            check_positive("gain", a)
        if not 0.0 <= refractory <= 1.0:
            raise ValueError(f"expected refractory in [0, 1], got {refractory}")
        self.refractory = float(refractory)
        dtype = working_float(dtype)
        key_ih, key_hh = jr.split(key)
        self.input_size, self.output_size = input_size, hidden_size
        self.weight_ih = glorot(key_ih, (hidden_size, input_size), dtype)
        self.raw_weight_hh = _raw_weights(key_hh, hidden_size, self.excitatory, dtype)
        self.bias = self._each(self.threshold, dtype) if use_bias else None

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

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
        rate = self._rate(z if self.bias is None else z + self.bias)
        alpha = leak_over(self.leak, dt)
        h = (1 - alpha) * state + alpha * (1 - self.refractory * state) * rate
        return h, h

    def _rate(self, z: Array) -> Array:
        """S, which is 0 at 0."""
        gain, threshold = self._each(self.gain, z.dtype), self._each(self.threshold, z.dtype)
        return jax.nn.sigmoid(gain * (z - threshold)) - jax.nn.sigmoid(-gain * threshold)

    def _each(self, pair: tuple[float, float], dtype: Any) -> Float[Array, " hidden"]:
        """The values of E and I, for each unit."""
        return jnp.where(jnp.arange(self.output_size) < self.excitatory, *pair).astype(dtype)


def _check_excitatory(given: int | None, size: int) -> int:
    count = size - size // 2 if given is None else given
    if not isinstance(count, Integral) or isinstance(count, bool) or not 1 <= count <= size:
        raise ValueError(f"expected excitatory as an integer from 1 to {size}, got {count!r}")
    return int(count)


def _pair(name: str, given: Any) -> tuple[float, float]:
    if np.shape(given) != (2,):
        raise ValueError(f"expected {name} as two numbers, of E and of I, got {given!r}")
    excitatory, inhibitory = given
    return float(excitatory), float(inhibitory)


def _raw_weights(key: PRNGKeyArray, size: int, excitatory: int, dtype: Any) -> Array:
    """What softplus makes positive weights of: the paper's, spread over the units of each kind."""
    kind = (np.arange(size) >= excitatory).astype(int)
    read = np.bincount(kind, minlength=2)[kind]
    mean = np.array(WEIGHTS)[kind][:, kind] / read
    wide = jnp.promote_types(dtype, jnp.float32)
    # Off 0, where the logarithm ends.
    weights = jnp.asarray(mean, wide) * uniform(key, (size, size), wide, low=1e-3, high=2.0)
    return (weights + jnp.log(-jnp.expm1(-weights))).astype(dtype)
