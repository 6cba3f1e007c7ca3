"""Linear oscillators."""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._affine import AffineMap, Block2x2
from ..base import AbstractLinearCell, replace, state_dtype
from ..init import check_choice, check_sizes, normal, uniform, working_float
from .discretise import imex_oscillator, implicit_oscillator


SCHEMES = ("imex", "im", "damped")


class LinOSSConstants(NamedTuple):
    """The oscillators, and their blocks and gains for dt = 1."""

    stiffness: Float[Array, " units"]
    damping: Float[Array, " units"]
    step: Float[Array, " units"]
    block: Float[Array, "2 2 units"]
    gain: Float[Array, "2 units"]


class LinOSSCell(AbstractLinearCell):
    r"""Linear oscillatory state space (LinOSS; Rusch & Rus 2025, arXiv:2410.03943; damped:
    Boyer et al. 2025, arXiv:2505.12171).

    $$z' = z + \delta (-A y^\ast - G z' + B x), \qquad y' = y + \delta z', \qquad
    \mathrm{out} = C y' + D x, \qquad \delta = dt\, \sigma(s)$$

    Forced oscillators $\ddot y = -A y - G \dot y + B x$. `scheme` "imex": $y^\ast = y$ and
    G = 0, which keeps volume and forgets nothing; "im": $y^\ast = y'$ and G = 0, which
    forgets; "damped": $y^\ast = y$ and G learned, which learns to forget. State: (2, units),
    the rows z and y, zero at the start. A = relu(`A`), G = relu(`G`), `step_logit` s. "imex"
    and "damped" also hold A to where the eigenvalues are complex,
    $(\sqrt{1 + \Delta G} \mp 1)^2 / \Delta^2$ with $\Delta = \sigma(s)$, of modulus
    $(1 + \Delta G)^{-1/2}$: they are stable at dt = 1 whatever is learned, and for dt up to
    $2 / (\Delta \sqrt A)$; "im" is stable at any dt. For long sequences, and for what swings;
    linear: put it in a `Block`.
    """

    A: Float[Array, " units"]
    G: Float[Array, " units"] | None
    step_logit: Float[Array, " units"]
    B: Float[Array, "units input"]
    C: Float[Array, "output units"]
    D: Float[Array, "output input"]
    constants: LinOSSConstants | None
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
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`state_size` oscillators, by default `hidden_size`; `scheme` "imex", "im", "damped"."""
        state_size = hidden_size if state_size is None else state_size
        check_sizes(input_size=input_size, hidden_size=hidden_size, state_size=state_size)
        self.scheme = check_choice("scheme", scheme, SCHEMES)
        dtype = working_float(dtype)
        keys = jr.split(key, 6)
        units = (state_size,)
        self.A = uniform(keys[0], units, 0.0, 1.0, dtype)
        self.G = uniform(keys[1], units, 0.0, 1.0, dtype) if scheme == "damped" else None
        self.step_logit = uniform(keys[2], units, 0.0, 1.0, dtype)
        scale = 1 / math.sqrt(input_size)
        self.B = normal(keys[3], (state_size, input_size), scale, dtype)
        self.C = normal(keys[4], (hidden_size, state_size), 1 / math.sqrt(state_size), dtype)
        self.D = normal(keys[5], (hidden_size, input_size), scale, dtype)
        self.constants = None
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, "2 units"]:
        return jnp.zeros((2, self.A.size), state_dtype(self.A))

    def prepare(self) -> "LinOSSCell":
        if self.constants is not None:
            return self
        dtype = state_dtype(self.A)
        step = jax.nn.sigmoid(self.step_logit.astype(dtype))
        stiffness = jax.nn.relu(self.A.astype(dtype))
        damping = jnp.zeros_like(step) if self.G is None else jax.nn.relu(self.G.astype(dtype))
        if self.scheme != "im":
            stiffness = _oscillating(stiffness, damping, step)
        block, gain = self._discretise(stiffness, damping, step)
        return replace(self, constants=LinOSSConstants(stiffness, damping, step, block, gain))

    def transition(
        self, x: Float[Array, " {self.input_size}"], dt: Float[ArrayLike, ""] | None = None
    ) -> AffineMap:
        constants = self.prepare().constants
        assert constants is not None
        stiffness, damping, step, block, gain = constants
        if dt is not None:
            block, gain = self._discretise(stiffness, damping, jnp.asarray(dt) * step)
        return AffineMap(Block2x2(block), gain * (self.B @ x))

    def readout(
        self, state: Float[Array, "2 units"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return self.C @ state[1] + self.D @ x

    def _discretise(self, stiffness: Array, damping: Array, step: Array) -> tuple[Array, Array]:
        if self.scheme == "im":
            return implicit_oscillator(stiffness, step)
        return imex_oscillator(stiffness, damping, step)


def _oscillating(stiffness: Array, damping: Array, step: Array) -> Array:
    """The stiffness, held to where the eigenvalues of a step are a conjugate pair."""
    root = jnp.sqrt(1 + step * damping)
    # The lower end, (root - 1) / step, without cancellation.
    low, high = (damping / (root + 1)) ** 2, ((root + 1) / step) ** 2
    return jnp.clip(stiffness, low, high)
