"""The diagonal structured state space."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Complex, Float
from numpy.typing import NDArray

from .._common.checks import check_choice
from .._common.terms import affine
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    derived,
    drawn,
    drawn_from,
    filled,
    option,
)
from ..init import fan_in_uniform, hippo_legs, normal
from ..registry import register
from .by_channel import AbstractChannelCell
from .discretise import DiagonalSystem, discretised, over
from .modes import (
    discretisation,
    has_map,
    has_map_bias,
    log_steps,
    mapped,
    scaled,
    step_bounds,
    wide,
    zero_modes,
)


INITIALISATIONS = ("lin", "inv", "legs")


def _even(name: str, value: int, given: Given) -> int:
    """N, even, the real dimensions of the state of one channel"""
    at_least_one(name, value, given)
    if value % 2:
        raise ValueError(f"expected an even state_size, from 2 up, got {value}")
    return value


def _initialisation(name: str, value: str, given: Given) -> str:
    """of the eigenvalues, n from 0: "lin" -1/2 + i pi n; "inv" -1/2 + i N/pi (N/(2n+1) - 1);
    "legs" those of HiPPO-LegS"""
    return check_choice(name, value, INITIALISATIONS)


def _eigenvalues(given: Given) -> NDArray[np.complexfloating]:
    return s4d_eigenvalues(given.initialisation, given.state_size)


def _log_decay(given: Given, shape: tuple[int, ...]) -> Array:
    rho = np.log(-given.eigenvalues.real)
    return jnp.broadcast_to(jnp.asarray(rho, given.dtype), shape)


def _frequency(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(jnp.asarray(given.eigenvalues.imag, given.dtype), shape)


def _output(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    # The phases of the eigenvectors are arbitrary, and so are those of C: moduli will do.
    legs = given.initialisation == "legs"
    weight = np.abs(legs_input(given.state_size)) if legs else 1.0
    C = normal(key, shape, given.dtype, std=math.sqrt(0.5))
    return C * jnp.broadcast_to(jnp.asarray(weight, given.dtype), shape)


@register(
    "s4d",
    family="state-space",
    paper="Gu et al. 2022, arXiv:2206.11893",
    equation=(
        "h' = exp(d lambda) * h + (exp(d lambda) - 1) / lambda * (W x), y = 2 Re(C h') + D W x"
    ),
    covers={
        "S4D-Lin": {"initialisation": "lin"},
        "S4D-Inv": {"initialisation": "inv"},
        "S4D-LegS": {"initialisation": "legs"},
    },
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
class S4DCell(AbstractDeclaredCell, AbstractChannelCell, init=False):
    r"""Diagonal state spaces, one for each channel (S4D; Gu et al. 2022, arXiv:2206.11893).

    $$u = W x + b, \qquad h_{cn}' = \bar\lambda_{cn} h_{cn} + \bar b_{cn} u_c, \qquad
    y_c = 2\, \mathrm{Re} \sum_n C_{cn} h_{cn}' + D_c u_c$$

    $\bar\lambda, \bar b$ discretise $\dot h = \lambda h + u$ over the step $dt\, \Delta_c$,
    $\lambda = -e^{\rho} + i \omega$, so Re lambda < 0. State: h, (hidden * state_size / 2,)
    complex, zero at the start; of conjugate pairs one is kept, hence the 2. Parameters are
    real: `log_decay` $\rho$, `frequency` $\omega$, `log_step` $\log \Delta$, C with the
    leading axis (real, imaginary). With "zoh" the flow is exact for inputs that are constant
    over a step. The cell is for long sequences of regular or irregular samples. It is linear:
    put it in a `Block`.

    C starts as complex normal of variance 1, times the input vector of the method, which only
    their product shows: 1, and with "legs" that of HiPPO-LegS in its eigenvectors (as in the
    authors' code, without the half that the theory asks for).
    """

    weight_ih: Float[Array, "hidden input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " hidden"] | None = filled(0.0, when=has_map_bias)
    log_decay: Float[Array, "hidden modes"] = computed(_log_decay)
    frequency: Float[Array, "hidden modes"] = computed(_frequency)
    log_step: Float[Array, " hidden"] = drawn_from(log_steps)
    C: Float[Array, "2 hidden modes"] = drawn_from(_output)
    D: Float[Array, " hidden"] = drawn(normal, std=1.0)
    state_size: ClassVar[int] = option(64, _even)
    initialisation: ClassVar[str] = option("lin", _initialisation)
    discretisation: str = option("zoh", discretisation)
    step_range: ClassVar[tuple[float, float]] = option((0.001, 0.1), step_bounds)
    input_map: ClassVar[bool] = option(True, mapped)
    use_bias: ClassVar[bool] = option(True)
    modes: ClassVar[int] = derived(lambda given: given.state_size // 2)
    eigenvalues: ClassVar[NDArray[np.complexfloating]] = derived(_eigenvalues)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("log_decay", "frequency", "log_step", "D")

    def init_state(self) -> Complex[Array, " state"]:
        return zero_modes(self.frequency.size, self.frequency)

    def constants(self) -> DiagonalSystem:
        frequency, rho, log_step = wide(self.frequency, self.log_decay, self.log_step)
        eigenvalues = lax.complex(-jnp.exp(rho), frequency)
        return discretised(self.discretisation, eigenvalues.T, jnp.exp(log_step)[None])

    def signals(
        self,
        c: DiagonalSystem,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> tuple[Float[Array, " hidden"], Float[ArrayLike, ""] | None]:
        return affine(self.weight_ih, x, self.bias), dt

    def change(
        self,
        c: DiagonalSystem,
        signals: tuple[Float[Array, " hidden"], Float[ArrayLike, ""] | None],
    ) -> tuple[Complex[Array, "modes hidden"], Complex[Array, "modes hidden"]]:
        u, dt = signals
        decay, gain = over(self.discretisation, c, dt)
        return decay, scaled(gain, u[None])

    def read(
        self,
        c: DiagonalSystem,
        H: Complex[Array, "modes hidden"],
        signals: tuple[Float[Array, " hidden"], Float[ArrayLike, ""] | None],
    ) -> Float[Array, " {self.output_size}"]:
        u, _ = signals
        from_h = jnp.sum(self.C[0].T * H.real - self.C[1].T * H.imag, axis=0)
        return 2 * from_h + self.D * u


def legs_input(state_size: int) -> NDArray[np.complexfloating]:
    """V* B of HiPPO-LegS, B_n = sqrt(2n + 1), for the modes of `s4d_eigenvalues`."""
    V = hippo_legs(state_size)[1]
    return (V.conj().T @ np.sqrt(2 * np.arange(state_size) + 1))[state_size // 2 :]


def s4d_eigenvalues(initialisation: str, state_size: int) -> NDArray[np.complexfloating]:
    """One of each conjugate pair: the half of `state_size` with imaginary part >= 0."""
    check_choice("initialisation", initialisation, INITIALISATIONS)
    n = np.arange(state_size // 2)
    if initialisation == "lin":
        return -0.5 + 1j * np.pi * n
    if initialisation == "inv":
        return -0.5 + 1j * state_size / np.pi * (state_size / (2 * n + 1) - 1)
    return hippo_legs(state_size)[0][state_size // 2 :]
