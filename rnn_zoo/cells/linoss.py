"""Linear oscillators."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_choice
from .._common.dtypes import state_dtype
from ..base import AbstractLinearCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    drawn,
    drawn_from,
    like_hidden,
    one_of,
    option,
)
from ..init import fan_in_normal, fan_in_uniform, normal, uniform
from ..linear import AffineMap, Block2x2
from ..registry import register
from .modes import wide
from .oscillate import WIDEST, Oscillator, implicit, implicit_explicit, power


SCHEMES = ("imex", "im", "damped")
INITIALISATIONS = ("ring", "uniform")


class Ring(NamedTuple):
    """A, G and s of steps whose eigenvalues lie on a ring."""

    A: Float[Array, " state"]
    G: Float[Array, " state"]
    step_logit: Float[Array, " state"]


def _initialisation(name: str, value: str | None, given: Given) -> str:
    r"""with "uniform", the default of "imex" and "im", A, G and s are on (0, 1); with "ring", of
    "damped" alone and its default, s is N(0, 1/4), and A and G are those of eigenvalues uniform by
    area on $r_{min} \le |\lambda| \le r_{max}$ with angles uniform on (0, `max_phase`), as the
    authors of the damped form draw them"""
    damped = given.scheme == "damped"
    value = value or ("ring" if damped else "uniform")
    return check_choice(name, value, INITIALISATIONS if damped else ("uniform",))


def _max_phase(name: str, value: float, given: Given) -> float:
    """at most pi, beside 0 < r_min < r_max <= 1; for "ring" alone"""
    r_min, r_max = given.r_min, given.r_max
    if _on_ring(given) and not (0 < r_min < r_max <= 1 and 0 < value <= math.pi):
        raise ValueError(
            "expected 0 < r_min < r_max <= 1 and 0 < max_phase <= pi, "
            f"got {r_min}, {r_max}, {value}"
        )
    return value


def _on_ring(given: Given) -> bool:
    return given.initialisation == "ring"


def _ring(given: Given, shape: Any, key: PRNGKeyArray) -> Ring:
    units, keys = (given.state_size,), jr.split(key, 3)
    dtype = jnp.promote_types(given.dtype, jnp.float32)
    squared = uniform(keys[0], units, dtype, low=given.r_min**2, high=given.r_max**2)
    phase = uniform(keys[1], units, dtype, low=0.0, high=min(given.max_phase, WIDEST))
    step_logit = normal(keys[2], units, dtype, std=0.5)
    step = jax.nn.sigmoid(step_logit)
    # From the determinant r^2 = 1 / (1 + step G), and |1 - lambda|^2 = step^2 A r^2.
    modulus = jnp.sqrt(squared)
    distance = (1 - modulus) ** 2 + 4 * modulus * jnp.sin(phase / 2) ** 2
    parts = distance / (step**2 * squared), (1 / squared - 1) / step, step_logit
    return Ring(*(p.astype(given.dtype) for p in parts))


def _of(part: str) -> Callable[[Given, Any, Any], Array]:
    """This part of the ring, or what is uniform on (0, 1)."""

    def start(given: Given, shape: tuple[int, ...], key: Any) -> Array:
        if given.ring is not None:
            return getattr(given.ring, part)
        return uniform(key, shape, given.dtype, low=0.0, high=1.0)

    return start


def _damped(given: Given) -> bool:
    return given.scheme == "damped"


@register(
    "linoss",
    family="state-space",
    paper="Rusch & Rus 2025, arXiv:2410.03943",
    equation="z' = z + d (B x - A y), y' = y + d z', out = C y' + D x",
    covers={
        "LinOSS-IMEX": {"scheme": "imex"},
        "LinOSS-IM": {"scheme": "im"},
        "D-LinOSS": {"scheme": "damped"},
    },
    full="""
        Delta = sig(s)
        G = relu(G_0)   if scheme = damped
        G = 0           otherwise
        r = 1 / sqrt(1 + Delta * G)
        low = (1 - r)^2 / (Delta * r)^2
        high = (1 + r^2 - 2 cos(63 pi / 64) r) / (Delta * r)^2
        A = relu(A_0)                    if scheme = im
        A = clip(relu(A_0), low, high)   otherwise
        k = Delta / (1 + Delta^2 * A)   if scheme = im
        k = Delta / (1 + Delta * G)     otherwise
        M = diagonals(k / Delta, -k * A, k, k / Delta)           if scheme = im
        M = diagonals(k / Delta, -k * A, k, 1 - Delta * k * A)   otherwise
        z', y' = steps(dt, M, [k, Delta * k] * [B x, B x], [z, y])
        out = C y' + D x
        where A_0 = A; G_0 = G; s = step_logit; z, y = parts(state)
    """,
)
class LinOSSCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Linear oscillatory state space (LinOSS; Rusch & Rus 2025, arXiv:2410.03943; damped:
    Boyer et al. 2025, arXiv:2505.12171).

    $$z' = z + \Delta (-A y^\ast - G z' + B x), \qquad y' = y + \Delta z', \qquad
    \mathrm{out} = C y' + D x, \qquad \Delta = \sigma(s)$$

    Forced oscillators $\ddot y = -A y - G \dot y + B x$. `scheme` "imex": $y^\ast = y$ and
    G = 0, which keeps volume and forgets nothing; "im": $y^\ast = y'$ and G = 0, which
    forgets; "damped": $y^\ast = y$ and G learned, which learns to forget. State: (2, state_size),
    the rows z and y of so many oscillators, zero at the start. A = relu(`A`), G = relu(`G`),
    `step_logit` s. "imex" and "damped" also hold A to where the eigenvalues of the step are a
    conjugate pair of modulus $(1 + \Delta G)^{-1/2}$, with angles of at most 63/64 pi (at pi the
    state would grow), so that every scheme is stable whatever is learned.

    The equation is the step of dt = 1, $(z', y') = M (z, y) + g B x$. Another dt takes the
    real power $M^{dt}$ and the gain $(I - M)^{-1} (I - M^{dt}) g$: steps compose, and states
    stay bounded for any sequence of them. (The rule itself, at $dt\, \Delta$ from step to step,
    does not: steps of changing length pump an oscillator that forgets nothing.)

    B and C are real. The authors' are complex, which is the same as two real oscillators for
    each of theirs: A, G and s twice, B as its real rows over its imaginary ones, C as its real
    columns before minus its imaginary ones. Their D is a diagonal. B and C start uniform on
    $\pm 1 / \sqrt{\text{fan-in}}$. The cell is for long sequences, and for what swings. It is
    linear: put it in a `Block`.
    """

    ring: ClassVar[Ring] = drawn_from(_ring, key=0, when=_on_ring)
    A: Float[Array, " state"] = drawn_from(_of("A"), key=0)
    G: Float[Array, " state"] | None = drawn_from(_of("G"), key=1, when=_damped)
    step_logit: Float[Array, " state"] = drawn_from(_of("step_logit"), key=2)
    B: Float[Array, "state input"] = drawn(fan_in_uniform, key=3)
    C: Float[Array, "hidden state"] = drawn(fan_in_uniform, key=4)
    D: Float[Array, "hidden input"] = drawn(fan_in_normal, key=5)
    state_size: ClassVar[int | None] = option(None, like_hidden)
    scheme: str = option("imex", one_of(*SCHEMES))
    initialisation: ClassVar[str | None] = option(None, _initialisation)
    r_min: ClassVar[float] = option(0.9)
    r_max: ClassVar[float] = option(1.0)
    max_phase: ClassVar[float] = option(math.pi, _max_phase)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A", "G", "step_logit", "B")

    def init_state(self) -> Float[Array, "2 state"]:
        return jnp.zeros((2, self.A.size), state_dtype(self.A))

    def constants(self) -> Oscillator:
        A, s = wide(self.A, self.step_logit)
        step, stiffness = jax.nn.sigmoid(s), jax.nn.relu(A)
        if self.scheme == "im":
            return implicit(stiffness, step)
        damping = jnp.zeros_like(step) if self.G is None else jax.nn.relu(wide(self.G)[0])
        return implicit_explicit(stiffness, damping, step)

    def transition(
        self,
        c: Oscillator,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> AffineMap:
        M, gain = (c.block, c.gain) if dt is None else power(c.powers, jnp.asarray(dt))
        return AffineMap(Block2x2(M), gain * (self.B @ x)[None])

    def readout(
        self, c: Oscillator, state: Float[Array, "2 state"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return self.C @ state[1] + self.D @ x
