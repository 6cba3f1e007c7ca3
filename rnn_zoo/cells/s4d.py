"""The diagonal structured state space."""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Complex, Float, PRNGKeyArray
from numpy.typing import NDArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractLinearCell
from ..init import fan_in_uniform, hippo_legs, log_uniform, normal
from ..linear import AffineMap, Diagonal
from ..registry import register
from .discretise import DISCRETISATIONS
from .modes import check_map


class DiagonalConstants(NamedTuple):
    """The continuous system, and its discretisation for dt = 1."""

    eigenvalues: Complex[Array, "..."]
    step: Float[Array, "..."]
    decay: Complex[Array, "..."]
    gain: Complex[Array, "..."]


@register(
    "s4d",
    family="state-space",
    paper="Gu et al. 2022, arXiv:2206.11893",
    equation=(
        "h' = exp(d lambda) * h + (exp(d lambda) - 1) / lambda * (W x), y = 2 Re(C h') + D W x"
    ),
    full="""
        u = W x + b
        lambda = -exp(rho) + j omega
        Delta = dt exp(log_step)
        Z = diag(Delta) lambda
        K = exp(Z)                          if discretisation = zoh
        K = (1 + Z / 2) / (1 - Z / 2)       otherwise
        G = (exp(Z) - 1) / lambda           if discretisation = zoh
        G = diag(Delta) (1 / (1 - Z / 2))   otherwise
        H' = K * H + diag(u) G
        y = 2 re(sum(C * H')) + D * u
        where W = weight_ih; b = bias; rho = log_decay; omega = frequency
              C = complex(C); H = by_channel(state)
    """,
)
class S4DCell(AbstractLinearCell):
    r"""Diagonal state spaces, one for each channel (S4D; Gu et al. 2022, arXiv:2206.11893).

    $$u = W x + b, \qquad h_{cn}' = \bar\lambda_{cn} h_{cn} + \bar b_{cn} u_c, \qquad
    y_c = 2\, \mathrm{Re} \sum_n C_{cn} h_{cn}' + D_c u_c$$

    $\bar\lambda, \bar b$ discretise $\dot h = \lambda h + u$ over the step $dt\, \Delta_c$,
    $\lambda = -e^{\rho} + i \omega$, so Re lambda < 0. State: h, (hidden * state_size / 2,)
    complex, zero at the start; of conjugate pairs one is kept, hence the 2. Parameters are
    real: `log_decay` $\rho$, `frequency` $\omega$, `log_step` $\log \Delta$, C with the
    leading axis (real, imaginary). With `zoh` the flow is exact for inputs that are constant
    over a step. For long sequences of regular or irregular samples; linear: put it in a `Block`.
    """

    weight_ih: Float[Array, "hidden input"] | None
    bias: Float[Array, " hidden"] | None
    log_decay: Float[Array, "hidden modes"]
    frequency: Float[Array, "hidden modes"]
    log_step: Float[Array, " hidden"]
    C: Float[Array, "2 hidden modes"]
    D: Float[Array, " hidden"]
    discretisation: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    ssm_parameters: ClassVar[tuple[str, ...]] = ("log_decay", "frequency", "log_step", "D")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int = 64,
        initialisation: str = "lin",
        discretisation: str = "zoh",
        step_range: tuple[float, float] = (0.001, 0.1),
        input_map: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `state_size`: N, even: real dimensions of the state of one channel.
        - `initialisation`: of the eigenvalues, n from 0: "lin" -1/2 + i pi n; "inv"
          -1/2 + i N/pi (N/(2n+1) - 1); "legs" those of HiPPO-LegS. C starts as complex normal of
          variance 1, times the input vector of the method, which only their product shows: 1,
          and with "legs" that of HiPPO-LegS in its eigenvectors (as in the authors' code,
          without the half that the theory asks for).
        - `discretisation`: "zoh" or "bilinear"; over a gap that is long against 1 / |lambda|,
          "bilinear" turns the sign of a state where "zoh" forgets it.
        - `step_range`: Delta starts log-uniform on it, one for each channel.
        - `input_map`: False leaves W and b out, where x has `hidden_size` channels.

        ValueError for any other.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size, state_size=state_size)
        check_map(input_map, input_size, hidden_size)
        if state_size % 2:
            raise ValueError(f"expected an even state_size, from 2 up, got {state_size}")
        self.discretisation = check_choice("discretisation", discretisation, DISCRETISATIONS)
        dtype = working_float(dtype)
        key_W, key_step, key_C, key_D = jr.split(key, 4)
        eigenvalues = s4d_eigenvalues(initialisation, state_size)
        shape = (hidden_size, state_size // 2)
        size = (hidden_size, input_size)
        self.weight_ih = (
            fan_in_uniform(key_W, size, dtype, fan_in=input_size) if input_map else None
        )
        self.bias = jnp.zeros(hidden_size, dtype) if use_bias and input_map else None
        self.log_decay = jnp.broadcast_to(jnp.asarray(np.log(-eigenvalues.real), dtype), shape)
        self.frequency = jnp.broadcast_to(jnp.asarray(eigenvalues.imag, dtype), shape)
        self.log_step = log_uniform(key_step, (hidden_size,), dtype, bounds=step_range)
        # The phases of the eigenvectors are arbitrary, and so are those of C: moduli will do.
        weight = np.abs(legs_input(state_size)) if initialisation == "legs" else 1.0
        C = normal(key_C, (2, *shape), dtype, std=math.sqrt(0.5))
        self.C = C * jnp.broadcast_to(jnp.asarray(weight, dtype), C.shape)
        self.D = normal(key_D, (hidden_size,), dtype, std=1.0)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Complex[Array, " state"]:
        zeros = jnp.zeros(self.frequency.size, state_dtype(self.frequency))
        return lax.complex(zeros, zeros)

    def constants(self) -> DiagonalConstants:
        dtype = state_dtype(self.frequency)
        decay_rate = jnp.exp(self.log_decay.astype(dtype))
        eigenvalues = lax.complex(-decay_rate, self.frequency.astype(dtype))
        step = jnp.exp(self.log_step.astype(dtype))[:, None]
        decay, gain = DISCRETISATIONS[self.discretisation](eigenvalues, step)
        return DiagonalConstants(eigenvalues, step, decay, gain)

    def transition(
        self,
        c: DiagonalConstants,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> AffineMap:
        decay, gain = c.decay, c.gain
        if dt is not None:
            discretise = DISCRETISATIONS[self.discretisation]
            decay, gain = discretise(c.eigenvalues, jnp.asarray(dt) * c.step)
        u = self._project(x).astype(gain.dtype)
        return AffineMap(Diagonal(decay.ravel()), (gain * u[:, None]).ravel())

    def readout(
        self,
        c: DiagonalConstants,
        state: Complex[Array, " state"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        h = state.reshape(self.frequency.shape)
        from_h = jnp.sum(self.C[0] * h.real - self.C[1] * h.imag, axis=-1)
        return 2 * from_h + self.D * self._project(x)

    def _project(self, x: Array) -> Array:
        u = x if self.weight_ih is None else self.weight_ih @ x
        return u if self.bias is None else u + self.bias


def legs_input(state_size: int) -> NDArray[np.complexfloating]:
    """V* B of HiPPO-LegS, B_n = sqrt(2n + 1), for the modes of `s4d_eigenvalues`."""
    V = hippo_legs(state_size)[1]
    return (V.conj().T @ np.sqrt(2 * np.arange(state_size) + 1))[state_size // 2 :]


def s4d_eigenvalues(initialisation: str, state_size: int) -> NDArray[np.complexfloating]:
    """One of each conjugate pair: the half of `state_size` with imaginary part >= 0."""
    check_choice("initialisation", initialisation, ("lin", "inv", "legs"))
    n = np.arange(state_size // 2)
    if initialisation == "lin":
        return -0.5 + 1j * np.pi * n
    if initialisation == "inv":
        return -0.5 + 1j * state_size / np.pi * (state_size / (2 * n + 1) - 1)
    return hippo_legs(state_size)[0][state_size // 2 :]
