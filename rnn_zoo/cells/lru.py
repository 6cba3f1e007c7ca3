"""The linear recurrent unit."""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractLinearCell
from ..init import ring
from ..linear import AffineMap, Diagonal
from ..registry import register
from .modes import joint_readout, read_modes, write_modes


class LRUConstants(NamedTuple):
    """What `LRUCell.constants` computes: the eigenvalues, B with its normalisation, C and D."""

    eigenvalues: Complex[Array, " modes"]
    B: Float[Array, "2*modes input"]
    joint: Float[Array, "output 2*modes+input"]


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
class LRUCell(AbstractLinearCell):
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

    nu_log: Float[Array, " modes"]
    theta_log: Float[Array, " modes"]
    gamma_log: Float[Array, " modes"]
    B: Float[Array, "2 modes input"]
    C: Float[Array, "2 output modes"]
    D: Float[Array, "output input"]
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    ssm_parameters: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "gamma_log", "B")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """Sizes of x and y; `state_size` complex units, by default `hidden_size`;
        0 <= r_min < r_max <= 1."""
        modes = hidden_size if state_size is None else state_size
        check_sizes(input_size=input_size, hidden_size=hidden_size, state_size=modes)
        if not (0 <= r_min < r_max <= 1 and max_phase > 0):
            raise ValueError(
                "expected 0 <= r_min < r_max <= 1 and max_phase > 0, "
                f"got {r_min}, {r_max}, {max_phase}"
            )
        dtype = working_float(dtype)
        key_ring, key_B, key_C, key_D = jr.split(key, 4)
        nu_log, theta_log = ring(key_ring, modes, r_min, r_max, max_phase, dtype)
        # log sqrt(1 - |lambda|^2) without cancellation: |lambda|^2 = exp(-2 exp(nu)).
        gamma_log = 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))
        self.nu_log, self.theta_log = nu_log.astype(dtype), theta_log.astype(dtype)
        self.gamma_log = gamma_log.astype(dtype)
        self.B = _normal(key_B, (2, modes, input_size), 2 * input_size, dtype)
        self.C = _normal(key_C, (2, hidden_size, modes), modes, dtype)
        self.D = _normal(key_D, (hidden_size, input_size), input_size, dtype)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Complex[Array, " modes"]:
        zeros = jnp.zeros(self.nu_log.size, state_dtype(self.nu_log))
        return lax.complex(zeros, zeros)

    def constants(self) -> LRUConstants:
        nu_log, theta_log = (p.astype(state_dtype(p)) for p in (self.nu_log, self.theta_log))
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
        state: Complex[Array, " modes"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read_modes(c.joint, state, x)


def _normal(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    return jr.normal(key, shape, dtype) / math.sqrt(fan_in)
