r"""y'' = -A y - G y' + u, one oscillator for each unit: a step of each rule, and its powers.

Pure functions, elementwise. The state is (z, y) with z = y', a step $M (z, y) + g u$ with a
2x2 matrix M whose eigenvalues $r e^{\pm i \theta}$ are a conjugate pair.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


WIDEST = math.pi * 63 / 64
"""The largest angle of an eigenvalue in one step. At pi the pair meets, where a state grows
with the number of steps and M has no real root."""


class Powers(NamedTuple):
    """What the powers of a step M need."""

    rest: Float[Array, "2 2 units"]
    r"""$(M / r - \cos\theta\, I)\, \theta / \sin\theta$: its square is $-\theta^2 I$."""
    log_modulus: Float[Array, " units"]
    squared: Float[Array, " units"]
    r"""$\theta^2$, which is smooth in A where theta is not."""
    forces: Float[Array, "3 units"]
    """What of a constant force reaches z, and y by two ways."""


class Oscillator(NamedTuple):
    """A step M, g: those of `power` at 1, to the bit; and its powers."""

    block: Float[Array, "2 2 units"]
    gain: Float[Array, "2 units"]
    powers: Powers


def implicit(stiffness: Float[Array, " units"], step: Float[Array, " units"]) -> Oscillator:
    r"""The implicit rule without damping: dissipative, of modulus $(1 + \Delta^2 A)^{-1/2}$.

    $$z' = z + \Delta (-A y' + u), \qquad y' = y + \Delta z'$$
    """
    square = step**2 * stiffness
    shrink = 1 / (1 + square)
    modulus, zero = jnp.sqrt(shrink), jnp.zeros_like(shrink)
    skew = _matrix(zero, -step * stiffness * modulus, step * modulus, zero)
    # cos theta = r; (1 - r) / 2 without cancellation.
    half = square * shrink / (2 * (1 + modulus))
    return _oscillator(step * shrink, step, skew, -0.5 * jnp.log1p(square), half)


def implicit_explicit(
    stiffness: Float[Array, " units"], damping: Float[Array, " units"], step: Float[Array, " units"]
) -> Oscillator:
    r"""The stiffness explicit and the damping implicit: of modulus $(1 + \Delta G)^{-1/2}$.

    $$z' = z + \Delta (-A y - G z' + u), \qquad y' = y + \Delta z'$$

    Without damping the step keeps volume. A is held to where the eigenvalues are a pair, from
    $(\sqrt{1 + \Delta G} - 1)^2 / \Delta^2$, where theta is 0, to where it is `WIDEST`.
    """
    root = jnp.sqrt(1 + step * damping)
    # (root - 1) / step without cancellation; the widest pair lies so far above it.
    lowest = (damping / (root + 1)) ** 2
    room = 4 * root * math.sin(WIDEST / 2) ** 2 / step**2
    above = jnp.minimum(jax.nn.relu(stiffness - lowest), room)
    stiffness = lowest + above
    modulus, push = 1 / root, step / (1 + step * damping)
    half = step**2 * modulus * above / 4
    # r - cos theta, with 1 - r without cancellation.
    tilt = 2 * half - step * damping / (root * (root + 1))
    skew = _matrix(tilt, -step * stiffness * modulus, step * modulus, -tilt)
    return _oscillator(push, step, skew, -0.5 * jnp.log1p(step * damping), half)


def power(
    step: Powers, dt: Float[Array, ""]
) -> tuple[Float[Array, "2 2 units"], Float[Array, "2 units"]]:
    r"""$M^{dt}$ and the gain $(I - M)^{-1} (I - M^{dt})\, g$ of a force that is constant meanwhile.

    $$M^{dt} = r^{dt} \Big(\cos(dt\, \theta)\, I
    + \frac{\sin(dt\, \theta)}{\sin \theta} (M / r - \cos\theta\, I)\Big)$$

    Steps compose, $M^s M^t = M^{s + t}$, so that no sequence of steps grows where M does not:
    the identity at 0, the step itself at 1. Every quotient is a smooth function of theta^2
    and log r, also where both are 0: there it is the free motion $y + dt\, \Delta z$.
    """
    real, squared = dt * step.log_modulus, dt**2 * step.squared
    cosine, sinc = _turn(squared)
    kept, turned, zero = jnp.exp(real), dt * sinc, jnp.zeros_like(sinc)
    eye = _matrix(cosine, zero, zero, cosine)
    block = kept[None, None] * (eye + turned[None, None] * step.rest)
    a, b = _pair_exprel(real, squared, cosine, sinc)
    to_z, to_y, to_y_late = step.forces
    return block, jnp.stack([kept * turned * to_z, dt * (a * to_y + dt * b * to_y_late)])


def _oscillator(
    push: Array, step: Array, skew: Array, log_modulus: Array, half: Array
) -> Oscillator:
    """All of it, from g = (push, step push), M / r - cos theta, log r and sin^2(theta / 2)."""
    squared = 4 * _squared_arcsine(half)
    cosine, sinc = _turn(squared)
    # 1 + lambda + lambda^2 ... of dt terms is dt E(dt w) / E(w) with w = log lambda and
    # E = exprel. In the basis of I and M - r cos theta its parts u + i theta v give the gain
    # of y, step push (u + v theta cot theta).
    a, b = _pair_exprel(log_modulus, squared, cosine, sinc)
    lift = step * push / (a**2 + squared * b**2)
    slope = cosine / sinc
    to_y, to_y_late = lift * (a - b * slope), lift * (squared * b + a * slope)
    forces = jnp.stack([push / (jnp.exp(log_modulus) * sinc), to_y, to_y_late])
    powers = Powers(skew / sinc[None, None], log_modulus, squared, forces)
    return Oscillator(*power(powers, jnp.ones((), push.dtype)), powers)


def _matrix(zz: Array, zy: Array, yz: Array, yy: Array) -> Array:
    return jnp.stack([jnp.stack([zz, zy]), jnp.stack([yz, yy])])


# Below it the series are exact to 64 bits, or to 32 with `_enough` of their terms; above it
# the closed forms lose a digit at most.
_NEAR = 0.25
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(8))
_SINC = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8))
_EXPREL = tuple(1 / math.factorial(k + 1) for k in range(16))
_ARCSINE = tuple(2 ** (2 * k + 1) / ((k + 1) ** 2 * math.comb(2 * k + 2, k + 1)) for k in range(24))


def _enough(coefficients: tuple[float, ...], x: Array) -> tuple[float, ...]:
    wide = x.dtype.itemsize > 4
    return coefficients if wide else coefficients[: len(coefficients) // 2 + 1]


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    coefficients = _enough(coefficients, x)
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _branches(x: Array, size: Array) -> tuple[Array, Array, Array]:
    """Where the series hold, and x for each branch, harmless where the other is taken."""
    small = size < _NEAR
    return small, jnp.where(small, x, jnp.zeros_like(x)), jnp.where(small, jnp.ones_like(x), x)


def _squared_arcsine(x: Array) -> Array:
    """arcsin(sqrt(x))^2 for 0 <= x < 1."""
    small, near, far = _branches(x, x)
    far = jnp.where(small, 0.5 * far, far)
    series = near * _polynomial(_ARCSINE, near)
    return jnp.where(small, series, jnp.arcsin(jnp.sqrt(far)) ** 2)


def _turn(squared: Array) -> tuple[Array, Array]:
    """cos(angle) and sin(angle) / angle, of the square of an angle."""
    small, near, far = _branches(squared, squared)
    angle = jnp.sqrt(far)
    cosine = jnp.where(small, _polynomial(_COSINE, near), jnp.cos(angle))
    return cosine, jnp.where(small, _polynomial(_SINC, near), jnp.sin(angle) / angle)


def _pair_exprel(real: Array, squared: Array, cosine: Array, sinc: Array) -> tuple[Array, Array]:
    """exprel(real + i angle) = a + i angle b as (a, b), for an angle as `_turn` has it."""
    size = real**2 + squared
    small, _, far = _branches(size, size)
    s = jnp.where(small, squared, jnp.zeros_like(squared))
    r = jnp.where(small, real, jnp.zeros_like(real))
    terms = _enough(_EXPREL, r)
    a, b = jnp.full_like(r, terms[-1]), jnp.zeros_like(r)
    for coefficient in reversed(terms[:-1]):
        a, b = r * a - s * b + coefficient, r * b + a
    # (exp(w) - 1) conj(w) / |w|^2, with exp(w) - 1 = less + i angle more.
    grown = jnp.exp(real)
    less, more = grown * cosine - 1, grown * sinc
    return (
        jnp.where(small, a, (less * real + squared * more) / far),
        jnp.where(small, b, (more * real - less) / far),
    )
