"""Linear oscillators."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractLinearCell
from ..init import fan_in_uniform, normal, uniform
from ..linear import AffineMap, Block2x2
from ..registry import register
from .oscillate import WIDEST, implicit, implicit_explicit, power


SCHEMES = ("imex", "im", "damped")
INITIALISATIONS = ("ring", "uniform")


@register(
    "linoss",
    family="state-space",
    paper="Rusch & Rus 2025, arXiv:2410.03943",
    equation="z' = z + d (B x - A y), y' = y + d z', out = C y' + D x",
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
class LinOSSCell(AbstractLinearCell):
    r"""Linear oscillatory state space (LinOSS; Rusch & Rus 2025, arXiv:2410.03943; damped:
    Boyer et al. 2025, arXiv:2505.12171).

    $$z' = z + \Delta (-A y^\ast - G z' + B x), \qquad y' = y + \Delta z', \qquad
    \mathrm{out} = C y' + D x, \qquad \Delta = \sigma(s)$$

    Forced oscillators $\ddot y = -A y - G \dot y + B x$. `scheme` "imex": $y^\ast = y$ and
    G = 0, which keeps volume and forgets nothing; "im": $y^\ast = y'$ and G = 0, which
    forgets; "damped": $y^\ast = y$ and G learned, which learns to forget. State: (2, units),
    the rows z and y, zero at the start. A = relu(`A`), G = relu(`G`), `step_logit` s. "imex"
    and "damped" also hold A to where the eigenvalues of the step are a conjugate pair of
    modulus $(1 + \Delta G)^{-1/2}$, with angles of at most 63/64 pi (at pi the state would
    grow), so that every scheme is stable whatever is learned.

    The equation is the step of dt = 1, $(z', y') = M (z, y) + g B x$. Another dt takes the
    real power $M^{dt}$ and the gain $(I - M)^{-1} (I - M^{dt}) g$: steps compose, and states
    stay bounded for any sequence of them. (The rule itself, at $dt\, \Delta$ from step to step,
    does not: steps of changing length pump an oscillator that forgets nothing.)

    B and C are real. The authors' are complex, which is the same as two real oscillators for
    each of theirs: A, G and s twice, B as its real rows over its imaginary ones, C as its real
    columns before minus its imaginary ones. Their D is a diagonal. For long sequences, and for
    what swings; linear: put it in a `Block`.
    """

    A: Float[Array, " units"]
    G: Float[Array, " units"] | None
    step_logit: Float[Array, " units"]
    B: Float[Array, "units input"]
    C: Float[Array, "output units"]
    D: Float[Array, "output input"]
    scheme: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A", "G", "step_logit", "B")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        scheme: str = "imex",
        initialisation: str | None = None,
        r_min: float = 0.9,
        r_max: float = 1.0,
        max_phase: float = math.pi,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `state_size`: the number of oscillators, by default `hidden_size`.
        - `scheme`: "imex", "im" or "damped".
        - `initialisation`: "uniform": A, G and s on (0, 1), the default of "imex" and "im";
          "ring", of "damped" alone and its default: s is N(0, 1/4), and A and G are those of
          eigenvalues uniform by area on $r_{min} \\le |\\lambda| \\le r_{max}$ with angles
          uniform on (0, `max_phase`), as the authors of the damped form draw them.

        B and C start uniform on $\\pm 1 / \\sqrt{\\text{fan-in}}$. ValueError for any other.
        """
        state_size = hidden_size if state_size is None else state_size
        check_sizes(input_size=input_size, hidden_size=hidden_size, state_size=state_size)
        self.scheme = check_choice("scheme", scheme, SCHEMES)
        dtype = working_float(dtype)
        keys = jr.split(key, 6)
        units = (state_size,)
        damped = scheme == "damped"
        initialisation = initialisation or ("ring" if damped else "uniform")
        check_choice("initialisation", initialisation, INITIALISATIONS if damped else ("uniform",))
        if initialisation == "ring":
            drawn = _ring(keys[0], units, (r_min, r_max, max_phase), dtype)
            self.A, self.G, self.step_logit = (p.astype(dtype) for p in drawn)
        else:
            self.A = uniform(keys[0], units, dtype, low=0.0, high=1.0)
            self.G = uniform(keys[1], units, dtype, low=0.0, high=1.0) if damped else None
            self.step_logit = uniform(keys[2], units, dtype, low=0.0, high=1.0)
        self.B = fan_in_uniform(keys[3], (state_size, input_size), dtype, fan_in=input_size)
        self.C = fan_in_uniform(keys[4], (hidden_size, state_size), dtype, fan_in=state_size)
        self.D = normal(keys[5], (hidden_size, input_size), dtype, std=1 / math.sqrt(input_size))
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, "2 units"]:
        return jnp.zeros((2, self.A.size), state_dtype(self.A))

    def constants(self) -> Any:
        dtype = state_dtype(self.A)
        step = jax.nn.sigmoid(self.step_logit.astype(dtype))
        stiffness = jax.nn.relu(self.A.astype(dtype))
        if self.scheme == "im":
            return implicit(stiffness, step)
        damping = jnp.zeros_like(step) if self.G is None else jax.nn.relu(self.G.astype(dtype))
        return implicit_explicit(stiffness, damping, step)

    def transition(
        self, c: Any, x: Float[Array, " {self.input_size}"], dt: Float[ArrayLike, ""] | None = None
    ) -> AffineMap:
        block, gain = c.block, c.gain
        if dt is not None:
            block, gain = power(c, jnp.asarray(dt))
        return AffineMap(Block2x2(block), gain * (self.B @ x)[None])

    def readout(
        self, c: Any, state: Float[Array, "2 units"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return self.C @ state[1] + self.D @ x


def _ring(key: PRNGKeyArray, units: tuple[int, ...], ring: tuple[float, float, float], dtype: Any):
    """A, G and s of a step whose eigenvalues lie on a ring."""
    r_min, r_max, max_phase = ring
    if not (0 < r_min < r_max <= 1 and 0 < max_phase <= math.pi):
        raise ValueError(
            "expected 0 < r_min < r_max <= 1 and 0 < max_phase <= pi, "
            f"got {r_min}, {r_max}, {max_phase}"
        )
    wide, keys = jnp.promote_types(dtype, jnp.float32), jr.split(key, 3)
    squared = uniform(keys[0], units, wide, low=r_min**2, high=r_max**2)
    phase = uniform(keys[1], units, wide, low=0.0, high=min(max_phase, WIDEST))
    step_logit = normal(keys[2], units, wide, std=0.5)
    step = jax.nn.sigmoid(step_logit)
    # From the determinant r^2 = 1 / (1 + step G), and |1 - lambda|^2 = step^2 A r^2.
    modulus = jnp.sqrt(squared)
    distance = (1 - modulus) ** 2 + 4 * modulus * jnp.sin(phase / 2) ** 2
    return distance / (step**2 * squared), (1 / squared - 1) / step, step_logit
