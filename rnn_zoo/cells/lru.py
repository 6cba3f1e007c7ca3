"""The linear recurrent unit."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..base import AbstractLinearCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    computed,
    drawn,
    drawn_from,
    like_hidden,
    option,
)
from ..init import ring
from ..linear import AffineMap, Diagonal
from ..registry import register
from .modes import joint_readout, read_modes, wide, write_modes, zero_modes


class LRUConstants(NamedTuple):
    """What `LRUCell.constants` computes: the eigenvalues, B with its normalisation, C and D."""

    eigenvalues: Complex[Array, " state"]
    B: Float[Array, "2*state input"]
    joint: Float[Array, "hidden 2*state+input"]


class Ring(NamedTuple):
    """Eigenvalues at the start, and the normalisation that belongs to them."""

    nu_log: Float[Array, " state"]
    theta_log: Float[Array, " state"]
    gamma_log: Float[Array, " state"]


def _ring(given: Given, shape: Any, key: PRNGKeyArray) -> Ring:
    size, dtype = given.state_size, given.dtype
    nu_log, theta_log = ring(key, size, given.r_min, given.r_max, given.max_phase, dtype)
    # log sqrt(1 - |lambda|^2) without cancellation: |lambda|^2 = exp(-2 exp(nu)).
    gamma_log = 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))
    return Ring(*(p.astype(dtype) for p in (nu_log, theta_log, gamma_log)))


def _checked_ring(name: str, value: float, given: Given) -> float:
    """above 0, beside 0 <= r_min < r_max <= 1"""
    if not (0 <= given.r_min < given.r_max <= 1 and value > 0):
        raise ValueError(
            "expected 0 <= r_min < r_max <= 1 and max_phase > 0, "
            f"got {given.r_min}, {given.r_max}, {value}"
        )
    return value


def _normal(
    key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any, *, fan_in: int | None = None
) -> Array:
    """N(0, 1 / fan_in); the fan-in is the last axis unless it is given."""
    return jr.normal(key, shape, dtype) / math.sqrt(shape[-1] if fan_in is None else fan_in)


@register(
    "lru",
    family="state-space",
    paper="Orvieto et al. 2023, arXiv:2303.06349",
    equation="h' = lambda * h + gamma * (B x), y = Re(C h') + D x",
    full="""
        lambda = exp(-exp(nu) + j exp(theta))
        h' = lambda * h + exp(gamma) * (B x)
        y = re(C h') + D x
        where nu = nu_log; theta = theta_log; gamma = gamma_log
              B = complex(B); C = complex(C); h = state
    """,
)
class LRUCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349).

    $$\lambda = \exp(-e^{\nu} + i e^{\theta}), \qquad
    h' = \lambda \odot h + e^{\gamma} \odot (B x), \qquad y = \mathrm{Re}(C h') + D x$$

    State: h, (state_size,) complex, zero at the start; |lambda| < 1 by construction. Parameters
    are real: `nu_log`, `theta_log`, `gamma_log` hold $\nu, \theta, \gamma$; the leading axis
    of B and C is (real, imaginary). `r_min, r_max, max_phase`: the ring that the eigenvalues
    are drawn from; for long memories 0.9, 0.999, pi / 10. $e^{\gamma}$ starts at
    $\sqrt{1 - |\lambda|^2}$ and is learned. D is a full matrix (the authors' code, where
    input and output have one size, keeps its diagonal). Linear: put it in a `Block`.
    """

    ring: ClassVar[Ring] = drawn_from(_ring)
    nu_log: Float[Array, " state"] = computed(lambda given, shape: given.ring.nu_log)
    theta_log: Float[Array, " state"] = computed(lambda given, shape: given.ring.theta_log)
    gamma_log: Float[Array, " state"] = computed(lambda given, shape: given.ring.gamma_log)
    B: Float[Array, "2 state input"] = drawn(_normal, fan_in="2*input")
    C: Float[Array, "2 hidden state"] = drawn(_normal)
    D: Float[Array, "hidden input"] = drawn(_normal)
    state_size: ClassVar[int | None] = option(None, like_hidden)
    r_min: ClassVar[float] = option(0.0)
    r_max: ClassVar[float] = option(1.0)
    max_phase: ClassVar[float] = option(2 * math.pi, _checked_ring)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "gamma_log", "B")

    def init_state(self) -> Complex[Array, " state"]:
        return zero_modes(self.nu_log.size, self.nu_log)

    def constants(self) -> LRUConstants:
        nu_log, theta_log = wide(self.nu_log, self.theta_log)
        modulus, phase = jnp.exp(-jnp.exp(nu_log)), jnp.exp(theta_log)
        eigenvalues = lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
        B = jnp.exp(self.gamma_log)[None, :, None] * self.B
        B, joint = B.reshape(-1, self.input_size), joint_readout(self.C, self.D)
        return LRUConstants(eigenvalues, B, joint)

    def transition(self, c: LRUConstants, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        return AffineMap(Diagonal(c.eigenvalues), write_modes(c.B, x))

    def readout(
        self,
        c: LRUConstants,
        state: Complex[Array, " state"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read_modes(c.joint, state, x)
