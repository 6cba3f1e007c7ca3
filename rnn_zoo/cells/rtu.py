"""The recurrent trace unit."""

__all__ = ["RTUCell"]

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.dtypes import state_dtype
from ..base import AbstractLinearCell
from ..declared import AbstractDeclaredCell, Given, computed, derived, drawn, drawn_from, option
from ..init import fan_in_normal, ring
from ..linear import AffineMap, Block2x2
from ..registry import register
from .modes import wide


class RTUConstants(NamedTuple):
    """What `RTUCell.constants` computes: the blocks, and the normalised input weights."""

    block: Float[Array, "2 2 pairs"]
    weight: Float[Array, "2 pairs input"]


def _ring(given: Given, shape: Any, key: PRNGKeyArray) -> tuple[Array, ...]:
    drawn = ring(key, given.pairs, given.r_min, given.r_max, given.max_phase, given.dtype)
    return tuple(p.astype(given.dtype) for p in drawn)


def _checked_ring(name: str, value: float, given: Given) -> float:
    """above 0, beside 0 <= r_min < r_max <= 1"""
    if not (0 <= given.r_min < given.r_max <= 1 and value > 0):
        raise ValueError(
            "expected 0 <= r_min < r_max <= 1 and max_phase > 0, "
            f"got {given.r_min}, {given.r_max}, {value}"
        )
    return value


@register(
    "rtu",
    family="state-space",
    paper="Elelimy et al. 2024, arXiv:2409.01449",
    equation="c' = r R(theta) c + sqrt(1 - r^2) * (W x), y = relu(c')",
    full="""
        r = exp(-exp(nu))
        g = r * cos(theta)
        p = r * cos(pi / 2 - theta)
        k = sqrt(1 - r^2)
        a' = g * a - p * b + k * (W_1 x)
        b' = p * a + g * b + k * (W_2 x)
        y, rest = split([phi(a'), phi(b')], output_size)
        where nu = nu_log; theta = exp(theta_log); phi = activation
              W_1, W_2 = parts(weight_ih); a, b = parts(state)
    """,
)
class RTUCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Recurrent trace unit (Elelimy et al. 2024, arXiv:2409.01449), the linear form.

    $$r = e^{-e^{\nu}}, \qquad g = r \cos \theta, \qquad \phi = r \sin \theta, \qquad
    \gamma = \sqrt{1 - r^2}$$
    $$c_1' = g \odot c_1 - \phi \odot c_2 + \gamma \odot W_1 x, \qquad
    c_2' = g \odot c_2 + \phi \odot c_1 + \gamma \odot W_2 x, \qquad y = f([c_1', c_2'])$$

    Complex modes as pairs of real numbers that turn and fade. State: (2, pairs), the rows $c_1$
    and $c_2$, zero at the start, with a pair for every two hidden units; of an odd hidden size
    the last unit is a $c_1$ without its partner in y. `nu_log` is $\nu$, `theta_log` the
    logarithm of $\theta$. They start as in an `LRUCell`, on the ring $r_{min} \le r \le
    r_{max}$ with phases up to `max_phase`; $\gamma$ is no parameter but follows $\nu$. The
    `activation` f, relu by default as the authors', acts on what leaves the cell. Inside the
    recurrence, where another form of the paper has it, it would not be linear: that form is not
    here. The weights $W_1, W_2$ start as N(0, 1 / input).
    """

    pairs: ClassVar[int] = derived(lambda given: (given.hidden_size + 1) // 2)
    ring: ClassVar[Any] = drawn_from(_ring, key=1)
    nu_log: Float[Array, " pairs"] = computed(lambda given, shape: given.ring[0])
    theta_log: Float[Array, " pairs"] = computed(lambda given, shape: given.ring[1])
    weight_ih: Float[Array, "2 pairs input"] = drawn(fan_in_normal, key=0)
    activation: Callable = option(jax.nn.relu, converter=portable)
    r_min: ClassVar[float] = option(0.0)
    r_max: ClassVar[float] = option(1.0)
    max_phase: ClassVar[float] = option(2 * math.pi, _checked_ring)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "weight_ih")

    def init_state(self) -> Float[Array, "2 pairs"]:
        return jnp.zeros((2, self.nu_log.size), state_dtype(self.nu_log))

    def constants(self) -> RTUConstants:
        nu_log, theta_log, weight = wide(self.nu_log, self.theta_log, self.weight_ih)
        decay, phase = jnp.exp(nu_log), jnp.exp(theta_log)
        g, p = jnp.exp(-decay) * jnp.cos(phase), jnp.exp(-decay) * jnp.sin(phase)
        # sqrt(1 - r^2) without cancellation: r^2 = exp(-2 exp(nu)).
        gain = jnp.sqrt(-jnp.expm1(-2 * decay))
        block = jnp.stack([jnp.stack([g, -p]), jnp.stack([p, g])])
        return RTUConstants(block, gain[None, :, None] * weight)

    def transition(self, c: RTUConstants, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        written = c.weight.reshape(-1, self.input_size) @ x
        return AffineMap(Block2x2(c.block), written.reshape(2, -1))

    def readout(
        self, c: RTUConstants, state: Float[Array, "2 pairs"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return self.activation(state.reshape(-1)[: self.output_size])
