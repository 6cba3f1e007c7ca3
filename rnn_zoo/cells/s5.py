"""The simplified state space."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Complex, Float
from numpy.typing import NDArray

from .._common.checks import check_choice
from .._common.ranges import held
from ..base import AbstractLinearCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    derived,
    drawn,
    drawn_from,
    option,
    said,
)
from ..init import fan_in_normal, hippo_legs, normal
from ..linear import AffineMap, Diagonal
from ..registry import register
from .discretise import DiagonalSystem, discretised, over
from .modes import (
    discretisation,
    joint_readout,
    log_steps,
    read_modes,
    step_bounds,
    wide,
    write_modes,
    zero_modes,
)


LARGEST_REAL_PART = -1e-4
C_INITIALISATIONS = ("trunc_standard_normal", "lecun_normal", "complex_normal")


class S5Constants(NamedTuple):
    """The system of the modes, B as one real matrix, C and D."""

    system: DiagonalSystem
    B: Float[Array, "2*modes input"]
    joint: Float[Array, "hidden 2*modes+input"]


class Basis(NamedTuple):
    """The modes at the start: eigenvalues, and their vectors V."""

    eigenvalues: NDArray[np.complexfloating]
    V: NDArray[np.complexfloating]


def _blocks(name: str, value: int, given: Given) -> int:
    """HiPPO matrices along the diagonal at the start; they divide the state"""
    return at_least_one(name, value, given)


_conj_sym = said("keep one of each conjugate pair; the state of a block is then even")
_clip_eigs = said(
    "hold Re Lambda to at most -1e-4 where it is used; there the gradient passes inwards only, so\n"
    "that Lambda stays near and comes back"
)


def _state_size(name: str, value: int | None, given: Given) -> int:
    """by default `hidden_size`, rounded up to what `blocks` and `conj_sym` allow"""
    unit = given.blocks * (2 if given.conj_sym else 1)
    rounded_up = -(-given.hidden_size // unit) * unit
    size = at_least_one(name, rounded_up if value is None else value, given)
    if size % unit:
        raise ValueError(
            f"expected state_size to be a multiple of {unit} for blocks={given.blocks} and "
            f"conj_sym={given.conj_sym}, the smallest is {unit}, got {size}"
        )
    return size


def _C_init(name: str, value: str, given: Given) -> str:
    """as the authors draw C. Its parts are normal, cut in their tails, of deviation
    1 / sqrt(state_size) with "trunc_standard_normal" and 1 / sqrt(state_size * hidden_size) with
    "lecun_normal"; with "complex_normal" C of the modes itself is complex normal of variance 1,
    without V"""
    return check_choice(name, value, C_INITIALISATIONS)


def _basis(given: Given) -> Basis:
    return Basis(*s5_eigenvectors(given.state_size, given.blocks, given.conj_sym))


def _real_part(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(given.basis.eigenvalues.real, given.dtype)


def _imaginary_part(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(given.basis.eigenvalues.imag, given.dtype)


def _input_matrix(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    B = fan_in_normal(key, (given.state_size, given.input_size), given.dtype)
    return _adjoint(given.basis.V, B).astype(given.dtype)


def _output_matrix(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """C V as (real, imaginary), or with "complex_normal" a matrix in its place."""
    name, states, outputs = given.C_init, given.state_size, given.hidden_size
    if name == "complex_normal":
        return normal(key, shape, given.dtype, std=math.sqrt(0.5))
    fan = states if name == "trunc_standard_normal" else states * outputs
    # The deviation of a normal number within two deviations.
    std = 1 / math.sqrt(fan) / 0.87962566103423978
    C = std * jr.truncated_normal(key, -2.0, 2.0, (2, outputs, states), given.dtype)
    return _right(C, given.basis.V).astype(given.dtype)


@register(
    "s5",
    family="state-space",
    paper="Smith et al. 2023, arXiv:2208.04933",
    equation="h' = exp(d lambda) * h + (exp(d lambda) - 1) / lambda * (B x), y = 2 Re(C h') + D x",
    full="""
        lambda = min(Lambda_re, -1e-4) + j Lambda_im   if clip_eigs
        lambda = Lambda_re + j Lambda_im               otherwise
        Delta = dt exp(log_step)
        z = Delta * lambda
        k = exp(z)                      if discretisation = zoh
        k = (1 + z / 2) / (1 - z / 2)   otherwise
        g = (exp(z) - 1) / lambda       if discretisation = zoh
        g = Delta / (1 - z / 2)         otherwise
        h' = k * h + g * (B x)
        y = 2 re(C h') + D x   if conj_sym
        y = re(C h') + D x     otherwise
        where B = complex(B); C = complex(C); h = state
    """,
)
class S5Cell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Simplified state space layer, one system for all channels (S5; Smith et al. 2023,
    arXiv:2208.04933).

    $$\dot h = \Lambda h + \tilde B x, \qquad y = \kappa\, \mathrm{Re}(\tilde C h) + D x,
    \qquad h' = \bar\Lambda h + \bar B x$$

    discretised over the step $dt\, \Delta_n$, one $\Delta$ for each mode. With `conj_sym` half
    of the conjugate pairs is kept and $\kappa = 2$, else 1. $\Lambda = V^* S V$ starts with
    the normal part of HiPPO-LegS, $\tilde B = V^* B$ with B real, $\tilde C = C V$. State:
    h, (modes,) complex, zero at the start; modes is `state_size`, or half of it with
    `conj_sym`. Parameters are real: `Lambda_re`, `Lambda_im`, `log_step`, and B and C with a
    leading axis (real, imaginary). D is a full matrix (the authors' code, where input and
    output have one size, keeps its diagonal). B starts with variance 1 / input, its fan-in (in
    the authors' code, which takes its other axis for that, 1 / state_size). The cell is for long
    and for irregular sequences. It is linear: put it in a `Block`.
    """

    Lambda_re: Float[Array, " modes"] = computed(_real_part)
    Lambda_im: Float[Array, " modes"] = computed(_imaginary_part)
    B: Float[Array, "2 modes input"] = drawn_from(_input_matrix)
    C: Float[Array, "2 hidden modes"] = drawn_from(_output_matrix)
    D: Float[Array, "hidden input"] = drawn(fan_in_normal)
    log_step: Float[Array, " modes"] = drawn_from(log_steps)
    blocks: ClassVar[int] = option(1, _blocks)
    conj_sym: bool = option(True, _conj_sym)
    clip_eigs: bool = option(True, _clip_eigs)
    state_size: ClassVar[int | None] = option(None, _state_size)
    C_init: ClassVar[str] = option("trunc_standard_normal", _C_init)
    discretisation: str = option("zoh", discretisation)
    step_range: ClassVar[tuple[float, float]] = option((0.001, 0.1), step_bounds)
    basis: ClassVar[Basis] = derived(_basis)
    modes: ClassVar[int] = derived(lambda given: len(given.basis.eigenvalues))
    ssm_parameters: ClassVar[tuple[str, ...]] = ("Lambda_re", "Lambda_im", "B", "log_step")

    def init_state(self) -> Complex[Array, " modes"]:
        return zero_modes(self.Lambda_re.size, self.Lambda_re)

    def constants(self) -> S5Constants:
        real, imaginary, log_step = wide(self.Lambda_re, self.Lambda_im, self.log_step)
        if self.clip_eigs:
            real = held(real, -math.inf, LARGEST_REAL_PART)
        eigenvalues = lax.complex(real, imaginary)
        system = discretised(self.discretisation, eigenvalues, jnp.exp(log_step))
        joint = joint_readout(self.C, self.D, 2.0 if self.conj_sym else 1.0)
        return S5Constants(system, self.B.reshape(-1, self.input_size), joint)

    def transition(
        self,
        c: S5Constants,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> AffineMap:
        decay, gain = over(self.discretisation, c.system, dt)
        return AffineMap(Diagonal(decay), gain * write_modes(c.B, x))

    def readout(
        self, c: S5Constants, state: Complex[Array, " modes"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read_modes(c.joint, state, x)


def s5_eigenvectors(
    state_size: int, blocks: int = 1, conj_sym: bool = True
) -> tuple[NDArray[np.complexfloating], NDArray[np.complexfloating]]:
    """Lambda (modes,) and V (state_size, modes) of `blocks` HiPPO-LegS matrices."""
    size = state_size // blocks
    eigenvalues, V = hippo_legs(size)
    kept = size // 2 if conj_sym else size
    return np.tile(eigenvalues[:kept], blocks), np.kron(np.eye(blocks), V[:, :kept])


def _adjoint(V: NDArray[np.complexfloating], B: Array) -> Array:
    """V* B as (real, imaginary)."""
    return jnp.stack([V.real.T @ B, -V.imag.T @ B])


def _right(C: Array, V: NDArray[np.complexfloating]) -> Array:
    """C V as (real, imaginary), for C given so."""
    return jnp.stack([C[0] @ V.real - C[1] @ V.imag, C[0] @ V.imag + C[1] @ V.real])
