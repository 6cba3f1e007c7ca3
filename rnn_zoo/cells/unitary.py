"""Networks whose recurrent matrix keeps the norm: unitary and orthogonal."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray

from .._common.dtypes import state_dtype, zero_state
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    derived,
    drawn,
    drawn_from,
    filled,
    one_of,
    option,
)
from ..init import glorot, skew, uniform
from ..registry import register
from .antisymmetric import above_diagonal


def mod_relu(z: Complex[Array, " hidden"], bias: Float[Array, " hidden"]) -> Array:
    """max(|z| + b, 0) z / |z|, with a modulus that is smooth at 0; its slope at 0 counts as 0."""
    tiny = 1e-5
    modulus = jnp.sqrt(z.real**2 + z.imag**2 + tiny**2)
    gain = jax.nn.relu(modulus + bias) / modulus
    # At 0 the gain is b / tiny: a run of zeros would multiply gradients by it until they overflow.
    gain = jnp.where(z == 0, 0, gain)
    return lax.complex(gain * z.real, gain * z.imag)


class UnitaryConstants(NamedTuple):
    """The phases and the unit reflection vectors of a `UnitaryCell`."""

    diagonals: Complex[Array, "3 hidden"]
    reflections: Complex[Array, "2 hidden"]


def _by_fans(fans: str) -> Callable[[Given, tuple[int, ...], PRNGKeyArray], Array]:
    """A start from U(±sqrt(6 / f)), f the sum of these axes."""

    def start(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
        bound = math.sqrt(6 / sum(given.shape(fans)))
        return uniform(key, shape, given.dtype, low=-bound, high=bound)

    return start


def _shuffled(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    return jr.permutation(key, given.hidden_size)


def _reflect(unit: Array, h: Array) -> Array:
    return h - 2 * unit * jnp.vdot(unit, h)


@register(
    "unitary",
    family="unitary",
    paper="Arjovsky et al. 2016, arXiv:1511.06464",
    equation="h' = modrelu(D R F^-1 D P R F D h + V x)",
    covers={"uRNN": {}},
    full="""
        D_1 = diag(exp(j omega_1))
        D_2 = diag(exp(j omega_2))
        D_3 = diag(exp(j omega_3))
        R_1 = I - 2 / norm(v_1)^2 * outer(v_1, conj(v_1))
        R_2 = I - 2 / norm(v_2)^2 * outer(v_2, conj(v_2))
        W = D_3 R_2 F^-1 D_2 P R_1 F D_1
        z = W h + V x
        m = sqrt(abs(z)^2 + 1e-10)
        h' = max(m + b, 0) / m * z
        y = U [re(h'), im(h')] + c
        where omega_1, omega_2, omega_3 = parts(omega); v_1, v_2 = parts(complex(v))
              P = permute(I, permutation); F = fourier(I)
              V = complex(weight_ih); b = bias; U = weight_out; c = bias_out; h = state
    """,
)
class UnitaryCell(AbstractDeclaredCell, init=False):
    r"""Unitary evolution RNN (Arjovsky et al. 2016, arXiv:1511.06464).

    $$W = D_3 R_2 F^{-1} D_2 \Pi R_1 F D_1, \qquad
    h' = \mathrm{modReLU}(W h + W_{ih} x), \qquad y = U [\mathrm{Re}\, h'; \mathrm{Im}\, h'] + b_o$$

    State: h, (hidden,) complex, zero at the start. D are diagonals $e^{i\omega}$, R Householder
    reflections $I - 2 v v^* / \|v\|^2$, F is the unitary discrete Fourier transform, $\Pi$ a fixed
    random permutation: $\|W h\| = \|h\|$ whatever the parameters, at O(hidden log hidden) cost.
    `hidden_size` is the number of complex units and of outputs. Complex parameters are real pairs
    (of the given `dtype`) with the pair on the leading axis. $\omega$ is from U(-pi, pi), v,
    $W_{ih}$ and U are Glorot-uniform, the modReLU's bias is from U(-0.01, 0.01), as in the authors'
    code. There the angles and the imaginary parts of v enter with the other sign: trained weights
    come over as omega = -theta and the conjugate of their v.

    modReLU takes $|z| \approx \sqrt{|z|^2 + 10^{-10}}$, where theirs divides by
    $|z| + 10^{-5}$. It jumps at z = 0, where it has no slope: the gradient there is 0, so long
    runs of zeros pass. The authors start from a state that is learned, from
    U(±sqrt(3 / (2 hidden))) in both parts: `rz.LearnedInitialState(cell, initial)` with such
    a draw for `initial`.
    """

    weight_ih: Float[Array, "2 hidden input"] = drawn_from(_by_fans("input 2*hidden"))
    omega: Float[Array, "3 hidden"] = drawn(uniform, low=-math.pi, high=math.pi)
    v: Float[Array, "2 2 hidden"] = drawn_from(_by_fans("2 2*hidden"))
    permutation: Int[Array, " hidden"] = drawn_from(_shuffled)
    bias: Float[Array, " hidden"] = drawn(uniform, low=-0.01, high=0.01)
    weight_out: Float[Array, "hidden 2*hidden"] = drawn(glorot)
    bias_out: Float[Array, " hidden"] = filled(0.0)

    def init_state(self) -> Complex[Array, " {self.output_size}"]:
        zeros = zero_state(self.output_size, self.omega)
        return lax.complex(zeros, zeros)

    def constants(self) -> UnitaryConstants:
        omega, v = (p.astype(state_dtype(p)) for p in (self.omega, self.v))
        diagonals = lax.complex(jnp.cos(omega), jnp.sin(omega))
        unit = v / jnp.sqrt(jnp.sum(v**2, axis=(0, 2), keepdims=True))
        return UnitaryConstants(diagonals, lax.complex(unit[0], unit[1]))

    def evolve(self, h: Complex[Array, " {self.output_size}"]) -> Complex[Array, " hidden"]:
        """W h."""
        return self._evolve(self.constants(), h)

    def _evolve(self, c: UnitaryConstants, h: Array) -> Array:
        d_1, d_2, d_3 = c.diagonals
        r_1, r_2 = c.reflections
        h = _reflect(r_1, jnp.fft.fft(d_1 * h, norm="ortho"))[self.permutation]
        return d_3 * _reflect(r_2, jnp.fft.ifft(d_2 * h, norm="ortho"))

    def equation(
        self,
        c: UnitaryConstants,
        state: Complex[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Complex[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self._evolve(c, state) + lax.complex(self.weight_ih[0] @ x, self.weight_ih[1] @ x)
        h = mod_relu(z, self.bias)
        return h, self.weight_out @ jnp.concatenate([h.real, h.imag]) + self.bias_out


def _signs(name: str, value: int | None, given: Given) -> int:
    """an integer from 0 to `hidden_size`, for the parametrisation 'cayley' alone"""
    size = given.hidden_size
    if given.parametrisation == "exp":
        if value is not None:
            raise ValueError(f"{name}={value} belongs to scoRNN: give parametrisation='cayley'")
        return 0
    count = size // 2 if value is None else value
    if not isinstance(count, Integral) or isinstance(count, bool) or not 0 <= count <= size:
        raise ValueError(f"expected {name} as an integer from 0 to {size}, got {count!r}")
    return int(count)


def _rotations(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """The strict upper triangle, row by row, of a matrix with 2 x 2 skew blocks."""
    size, dtype = given.hidden_size, given.dtype
    if given.initialisation == "henaff":
        angles = uniform(key, (size // 2,), dtype, low=-math.pi, high=math.pi)
    else:
        cosine = jnp.cos(uniform(key, (size // 2,), dtype, low=0.0, high=math.pi / 2))
        angles = -jnp.sqrt((1 - cosine) / (1 + cosine))
    even = jnp.arange(0, size - 1, 2)
    return jnp.zeros((size, size), dtype).at[even, even + 1].set(angles)[jnp.triu_indices(size, 1)]


def _first_weights(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    if given.parametrisation == "exp":
        return jax.nn.initializers.he_normal(in_axis=-1, out_axis=-2)(key, shape, given.dtype)
    return uniform(key, shape, given.dtype, low=-0.01, high=0.01)


def _first_bias(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    if given.parametrisation == "exp":
        return uniform(key, shape, given.dtype, low=-0.01, high=0.01)
    return jnp.zeros(shape, given.dtype)


@register(
    "exprnn",
    family="unitary",
    paper="Lezcano & Martinez 2019, arXiv:1901.08428",
    equation="h' = modrelu(exp(T - T^T) h + V x)",
    covers={"scoRNN": {"parametrisation": "cayley"}},
    full="""
        A = T - T^T
        W = expm(A)                if parametrisation = exp
        W = (I + A)^-1 (I - A) D   otherwise
        D = diag(signs(negative_ones))
        u = W h + V x
        h' = sign(u) * max(abs(u) + b, 0)
        y = h'
        where T = upper(weight_hh); V = weight_ih; b = bias; h = state
    """,
)
class ExpRNNCell(AbstractDeclaredCell, init=False):
    r"""Orthogonal RNN by the exponential map (Lezcano & Martinez 2019, arXiv:1901.08428).

    $$W = \exp(A), \quad A = T - T^\top, \qquad
    h' = \mathrm{modReLU}(W h + W_{ih} x), \qquad y = h'$$

    with $\mathrm{modReLU}(u) = \mathrm{sign}(u) \max(|u| + b, 0)$. State: h, (hidden,), zero
    at the start. T is strictly upper triangular and only its hidden (hidden - 1) / 2 entries
    are parameters (`weight_hh`, row by row). W is computed once per sequence. A starts with
    2 x 2 blocks, with entries from U(-pi, pi) ("henaff") or $-\sqrt{(1 - \cos u)/(1 + \cos u)}$,
    u from U(0, pi/2) ("cayley"); $W_{ih}$ is Kaiming-normal (cut at two standard deviations),
    b is from U(-0.01, 0.01), as in the authors' code. That multiplies rows, h W: a trained A
    changes its sign here. The cell is for long memories; its spectrum has modulus 1.

    `parametrisation="cayley"` is scoRNN (Helfrich et al. 2018, arXiv:1707.09520),
    $W = (I + A)^{-1} (I - A) D$: D is diagonal and fixed, its last `negative_ones` entries are
    -1 and the others 1. With D = I no W has an eigenvalue -1, which is why the number matters; it
    is half of the units by default, as in the authors' copying and adding tasks (a tenth in
    their MNIST). Started with "cayley", the blocks turn by u. $W_{ih}$ is then from U(±0.01) and
    b is zero, as theirs. They multiply rows, too: besides the sign of A, their input weights and
    readout are multiplied by D.
    """

    weight_ih: Float[Array, "hidden input"] = drawn_from(_first_weights)
    weight_hh: Float[Array, " triangle"] = drawn_from(_rotations)
    bias: Float[Array, " hidden"] = drawn_from(_first_bias)
    triangle: ClassVar[int] = derived(above_diagonal)
    parametrisation: str = option("exp", one_of("exp", "cayley"))
    initialisation: ClassVar[str] = option("cayley", one_of("cayley", "henaff"))
    negative_ones: int = option(None, _signs)

    def constants(self) -> StateMatrix:
        A = skew(self.weight_hh.astype(state_dtype(self.weight_hh)), self.output_size)
        if self.parametrisation == "exp":
            return StateMatrix(jax.scipy.linalg.expm(A))
        eye = jnp.eye(self.output_size, dtype=A.dtype)
        signs = jnp.where(
            jnp.arange(self.output_size) < self.output_size - self.negative_ones, 1, -1
        )
        signs = signs.astype(A.dtype)[None]  # of the columns
        return StateMatrix(jnp.linalg.solve(eye + A, eye - A) * signs)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        u = c @ state + self.weight_ih @ x
        h = jnp.sign(u) * jax.nn.relu(jnp.abs(u) + self.bias)
        return h, h
