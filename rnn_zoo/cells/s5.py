"""The simplified state space."""

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
from .._common.ranges import held
from ..base import AbstractLinearCell
from ..init import hippo_legs, log_uniform, normal
from ..linear import AffineMap, Diagonal
from ..registry import register
from .discretise import DISCRETISATIONS
from .modes import joint_readout, read_modes, write_modes


LARGEST_REAL_PART = -1e-4
C_INITIALISATIONS = ("trunc_standard_normal", "lecun_normal", "complex_normal")


class S5Constants(NamedTuple):
    """The continuous system, its discretisation for dt = 1, and B as one real matrix."""

    eigenvalues: Complex[Array, " modes"]
    step: Float[Array, " modes"]
    decay: Complex[Array, " modes"]
    gain: Complex[Array, " modes"]
    B: Float[Array, "2*modes input"]
    joint: Float[Array, "output 2*modes+input"]


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
class S5Cell(AbstractLinearCell):
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
    the authors' code, which takes its other axis for that, 1 / state_size). For long and for
    irregular sequences; linear: put it in a `Block`.
    """

    Lambda_re: Float[Array, " modes"]
    Lambda_im: Float[Array, " modes"]
    B: Float[Array, "2 modes input"]
    C: Float[Array, "2 output modes"]
    D: Float[Array, "output input"]
    log_step: Float[Array, " modes"]
    conj_sym: bool = eqx.field(static=True)
    clip_eigs: bool = eqx.field(static=True)
    discretisation: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    ssm_parameters: ClassVar[tuple[str, ...]] = ("Lambda_re", "Lambda_im", "B", "log_step")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        blocks: int = 1,
        conj_sym: bool = True,
        clip_eigs: bool = True,
        C_init: str = "trunc_standard_normal",
        discretisation: str = "zoh",
        step_range: tuple[float, float] = (0.001, 0.1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `hidden_size`: size of y.
        - `state_size`: by default `hidden_size`, rounded up to what `blocks` allow.
        - `blocks`: HiPPO matrices along the diagonal at the start; they divide the state.
        - `conj_sym`: keep one of each conjugate pair; the state of a block is then even.
        - `clip_eigs`: hold Re Lambda to at most -1e-4 where it is used; there the gradient
          passes inwards only, so that Lambda stays near and comes back.
        - `C_init`: as the authors draw C. Its parts are normal, cut in their tails, of deviation
          1 / sqrt(state_size) with "trunc_standard_normal" and 1 / sqrt(state_size * hidden_size)
          with "lecun_normal"; with "complex_normal" C of the modes itself is complex normal of
          variance 1, without V.
        - `discretisation`: "zoh" or "bilinear"; over a gap that is long against 1 / |Lambda|,
          "bilinear" turns the sign of a state where "zoh" forgets it.
        - `step_range`: Delta starts log-uniform on it.

        ValueError for any other.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size, blocks=blocks)
        unit = blocks * (2 if conj_sym else 1)
        state_size = -(-hidden_size // unit) * unit if state_size is None else state_size
        check_sizes(state_size=state_size)
        if state_size % unit:
            raise ValueError(
                f"expected state_size to be a multiple of {unit} for blocks={blocks} and "
                f"conj_sym={conj_sym}, the smallest is {unit}, got {state_size}"
            )
        self.discretisation = check_choice("discretisation", discretisation, DISCRETISATIONS)
        dtype = working_float(dtype)
        key_B, key_C, key_D, key_step = jr.split(key, 4)
        eigenvalues, V = s5_eigenvectors(state_size, blocks, conj_sym)
        self.Lambda_re = jnp.asarray(eigenvalues.real, dtype)
        self.Lambda_im = jnp.asarray(eigenvalues.imag, dtype)
        B = normal(key_B, (state_size, input_size), dtype, std=1 / math.sqrt(input_size))
        self.B = _adjoint(V, B).astype(dtype)
        self.C = _output_matrix(C_init, key_C, hidden_size, V, dtype)
        self.D = normal(key_D, (hidden_size, input_size), dtype, std=1 / math.sqrt(input_size))
        self.log_step = log_uniform(key_step, eigenvalues.shape, dtype, bounds=step_range)
        self.conj_sym, self.clip_eigs = conj_sym, clip_eigs
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Complex[Array, " modes"]:
        zeros = jnp.zeros(self.Lambda_re.size, state_dtype(self.Lambda_re))
        return lax.complex(zeros, zeros)

    def constants(self) -> S5Constants:
        dtype = state_dtype(self.Lambda_re)
        real = self.Lambda_re.astype(dtype)
        if self.clip_eigs:
            real = held(real, -math.inf, LARGEST_REAL_PART)
        eigenvalues = lax.complex(real, self.Lambda_im.astype(dtype))
        step = jnp.exp(self.log_step.astype(dtype))
        decay, gain = DISCRETISATIONS[self.discretisation](eigenvalues, step)
        B = self.B.reshape(-1, self.input_size)
        joint = joint_readout(self.C, self.D, 2.0 if self.conj_sym else 1.0)
        return S5Constants(eigenvalues, step, decay, gain, B, joint)

    def transition(
        self,
        c: S5Constants,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> AffineMap:
        decay, gain = c.decay, c.gain
        if dt is not None:
            discretise = DISCRETISATIONS[self.discretisation]
            decay, gain = discretise(c.eigenvalues, jnp.asarray(dt) * c.step)
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


def _output_matrix(
    name: str, key: PRNGKeyArray, outputs: int, V: NDArray[np.complexfloating], dtype: Any
) -> Array:
    """C V as (real, imaginary), or with "complex_normal" a matrix in its place."""
    check_choice("C_init", name, C_INITIALISATIONS)
    states, modes = V.shape
    if name == "complex_normal":
        return normal(key, (2, outputs, modes), dtype, std=math.sqrt(0.5))
    fan = states if name == "trunc_standard_normal" else states * outputs
    # The deviation of a normal number within two deviations.
    std = 1 / math.sqrt(fan) / 0.87962566103423978
    C = std * jr.truncated_normal(key, -2.0, 2.0, (2, outputs, states), dtype)
    return _right(C, V).astype(dtype)


def _adjoint(V: NDArray[np.complexfloating], B: Array) -> Array:
    """V* B as (real, imaginary)."""
    return jnp.stack([V.real.T @ B, -V.imag.T @ B])


def _right(C: Array, V: NDArray[np.complexfloating]) -> Array:
    """C V as (real, imaginary), for C given so."""
    return jnp.stack([C[0] @ V.real - C[1] @ V.imag, C[0] @ V.imag + C[1] @ V.real])
