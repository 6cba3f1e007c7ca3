r"""From h'(t) = lambda h(t) + b u(t) to steps of a given length: pure functions, elementwise.

The diagonal schemes take eigenvalues, real or complex, and the step, real, and give
(decay, gain) of $h_n = \mathrm{decay}\, h_{n-1} + \mathrm{gain}\, b u_n$. All are exact at a
step of 0, where the state is held, and have finite derivatives there. For oscillators see
`oscillate`.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


# Below this modulus the series is exact to 64 bits; above it the quotient loses one digit.
_SMALL = 0.1
_SERIES = tuple(1 / math.factorial(k + 1) for k in range(9))

from .._common.moved import listing as _listing


def zoh(
    eigenvalues: Inexact[Array, "..."], step: Float[Array, "..."]
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    r"""Zero-order hold, exact for an input that is constant over the step.

    $$\bar\lambda = e^{\lambda \Delta}, \qquad
    \mathrm{gain} = \lambda^{-1} (e^{\lambda \Delta} - 1)$$
    """
    step = step.astype(eigenvalues.dtype)
    z = eigenvalues * step
    return jnp.exp(z), step * exprel(z)


def bilinear(
    eigenvalues: Inexact[Array, "..."], step: Float[Array, "..."]
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    r"""The trapezoidal (Tustin) rule, of second order and stable wherever Re lambda < 0.

    $$\bar\lambda = \frac{1 + \lambda \Delta / 2}{1 - \lambda \Delta / 2}, \qquad
    \mathrm{gain} = \frac{\Delta}{1 - \lambda \Delta / 2}$$
    """
    step = step.astype(eigenvalues.dtype)
    half = eigenvalues * step / 2
    return (1 + half) / (1 - half), step / (1 - half)


def euler(
    eigenvalues: Inexact[Array, "..."], step: Float[Array, "..."]
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    r"""The explicit rule, $\bar\lambda = 1 + \lambda \Delta$, gain $\Delta$: for small steps."""
    step = step.astype(eigenvalues.dtype)
    z = eigenvalues * step
    return 1 + z, step * jnp.ones_like(z)


DISCRETISATIONS = {"zoh": zoh, "bilinear": bilinear}


def exponential_euler(
    eigenvalues: Inexact[Array, "..."], step: Float[Array, "..."]
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    r"""The decay of `zoh` with the gain of `euler`, as the code of Mamba has it."""
    step = step.astype(eigenvalues.dtype)
    z = eigenvalues * step
    return jnp.exp(z), step * jnp.ones_like(z)


def exprel(z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """(exp(z) - 1) / z, 1 at 0, with accurate derivatives on both sides of it."""
    small = jnp.real(z) ** 2 + jnp.imag(z) ** 2 < _SMALL**2
    # Each branch sees harmless values where the other is taken: NaN * 0 is NaN in a gradient.
    near = jnp.where(small, z, jnp.zeros_like(z))
    far = jnp.where(small, jnp.ones_like(z), z)
    series = jnp.zeros_like(z)
    for coefficient in reversed(_SERIES):
        series = series * near + coefficient
    return jnp.where(small, series, jnp.expm1(far) / far)


__dir__ = _listing(__name__)
