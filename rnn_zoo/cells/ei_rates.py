"""Rates of excitatory and inhibitory units: a network that keeps Dale's principle."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.fixed import Fixed
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
    option,
)
from ..init import glorot
from ..registry import register
from .vanilla import leak_over, leaking


def _share(name: str, value: float, given: Given) -> float:
    """in [0, 1]"""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"expected {name} as a share of the units, in [0, 1], got {value}")
    return float(value)


def _signs(given: Given, shape: None) -> Fixed:
    """1 for each excitatory unit, then -1 for each inhibitory one."""
    size = given.hidden_size
    count = round(given.excitatory * size)
    if given.excitatory > 0:
        count = max(1, count)
    return Fixed(jnp.where(jnp.arange(size) < count, 1.0, -1.0).astype(given.dtype))


def _magnitudes(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """Gamma-distributed; each unit hears as much of both kinds, and no state is made longer."""
    # Singular values have no 16-bit form.
    wide = jnp.promote_types(given.dtype, jnp.float32)
    signs = given.signs.value.astype(wide)
    # A sum of two exponentials is a gamma number of shape 2.
    size = jr.exponential(key, (2, *shape), wide).sum(0)
    excited, inhibited = (jnp.maximum(1, (signs == s).sum()) for s in (1, -1))
    size = size / jnp.where(signs > 0, excited, inhibited).astype(wide)
    norm = jnp.linalg.norm(_signed(size, signs, given.self_connections), ord=2)
    # A unit alone has no synapse.
    return (size / jnp.where(norm > 0, norm, 1)).astype(given.dtype)


def _signed(raw: Array, signs: Array, self_connections: bool) -> Array:
    """The sign is that of the unit that sends, the column."""
    signed = jnp.abs(raw) * signs[None]
    return signed if self_connections else jnp.where(jnp.eye(len(raw), dtype=bool), 0, signed)


@register(
    "ei_rnn",
    family="vanilla",
    paper="Song, Yang & Wang 2016",
    equation="v' = (1 - a) v + a (|M| S relu(v) + W x + b), y = relu(v'), S = diag(+-1)",
    covers={"excitatory-inhibitory RNN": {}, "RNN with Dale's law": {}},
    full="""
        alpha = 1 - (1 - leak)^dt
        U = abs(M) diag(signs)                 if self_connections
        U = (abs(M) * (1 - I)) diag(signs)     otherwise
        v' = (1 - alpha) v + alpha (U relu(v) + W x + b)
        y = relu(v')
        where M = weight_hh; W = weight_ih; b = bias; v = state
    """,
)
class EIRNNCell(AbstractDeclaredCell, init=False):
    r"""Rates of excitatory and inhibitory units (Song, Yang & Wang 2016, PLOS Computational
    Biology 12, doi:10.1371/journal.pcbi.1004792).

    $$v' = (1 - \alpha_{dt}) v + \alpha_{dt} \big(U \max(v, 0) + W_{ih} x + b\big)
    + \sigma \sqrt{1 - (1 - \alpha_{dt})^2}\, \xi, \qquad U = |M| \,\mathrm{diag}(s), \qquad
    y = \max(v', 0)$$

    State: v, the currents, (hidden,), zero at the start; y are the rates. Dale's principle: all
    synapses that leave a unit have its sign, s = 1 for the first `excitatory` share of the units
    (rounded, and at least one unit unless the share is 0), -1 for the others. `signs` is a
    `Fixed`, so that neither gradients nor weight decay reach it, and whatever becomes of M,
    `weight_hh`, no synapse changes its sign. Without `self_connections` U has no diagonal. In the
    paper a readout sees excitatory units alone: read the first ones of y.

    Timed: `dt` is in units of the step that `leak` $\alpha$ belongs to, a fifth of the paper's time
    constant by default, with $\alpha_{dt} = 1 - (1 - \alpha)^{dt}$; dt = 0 holds the state.
    `noise` $\sigma$ is the standard deviation of the currents that noise alone makes, whatever dt
    is (the paper's rule, for small steps, makes $\sqrt{2 / (2 - \alpha)}$ of it); above 0 the cell
    is stochastic.

    M starts gamma-distributed with shape 2, divided by the number of units of the sender's kind, so
    that both kinds balance, and by the largest singular value of U, so that the rates, which
    nothing bounds, cannot explode; the authors scale to a spectral radius of 1.5. $W_{ih}$ is
    Glorot-uniform, b zero. The cell is for models of cortical circuits that have to be read as
    such.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    signs: Fixed = computed(_signs)
    weight_hh: Float[Array, "hidden hidden"] = drawn_from(_magnitudes)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    excitatory: float = option(0.8, _share)
    leak: float = option(0.2, leaking)
    noise: float = option(0.0, non_negative)
    self_connections: bool = option(False)

    @property
    def stochastic(self) -> bool:
        return self.noise > 0

    def constants(self) -> StateMatrix:
        return StateMatrix(_signed(self.weight_hh, self.signs.value, self.self_connections))

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
        *,
        key: Any = None,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        current = plus(c @ jax.nn.relu(state) + self.weight_ih @ x, self.bias)
        alpha = leak_over(self.leak, dt)
        v = (1 - alpha) * state + alpha * current
        if self.stochastic:
            v = v + self._deviation(dt).astype(v.dtype) * jr.normal(key, v.shape, v.dtype)
        return v, jax.nn.relu(v)

    def _deviation(self, dt: ArrayLike) -> Array:
        """Of the noise that a time dt adds."""
        share = leak_over(self.leak, 2 * jnp.asarray(dt))
        # The root has no finite slope at dt = 0.
        moves = share > 0
        return self.noise * jnp.where(moves, jnp.sqrt(jnp.where(moves, share, 1)), 0)
