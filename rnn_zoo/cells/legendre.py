"""The delay of a window in Legendre polynomials: what LMUs remember their past with.

Everything that the order and the window alone decide is computed once, in float64, by NumPy.
"""

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.typing import NDArray

from ..linear import HIGHEST


# A step is taken apart into steps of r, 2 r, 4 r, ... where r |A| is at most this, and a rest.
_SHORTEST = 0.5
# After so many windows with one input, no number remembers what was before.
_WINDOWS = 64
# Terms of the exponential series of a matrix of norm 1/2 that its dtype can tell from zero.
_TERMS = {"float32": 9, "float64": 15}


class Delay(NamedTuple):
    """What moves the memory; [A, B] is a matrix with a column for the input, which is held."""

    nominal: NDArray[np.float64]
    """(order, order + 1), [A, B] of one nominal step."""
    rate: NDArray[np.float64]
    """(order, order + 1): the right-hand side of the differential equation."""
    doubled: NDArray[np.float64]
    """(count, order, order + 1), [A, B] of steps of r, 2 r, 4 r, ..."""
    shortest: float
    """r, a power of 2, at most 1."""


def legendre(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""A and B of the delay of one unit of time (Voelker et al. 2019): $\dot m = A m + B u$.

    $A_{ij} = (2i+1) (-1 \text{ if } i < j \text{ else } (-1)^{i-j+1})$, $B_i = (2i+1)(-1)^i$. For
    a window of $\theta$, both over $\theta$.
    """
    i, j = np.arange(order)[:, None], np.arange(order)
    sign = np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    A, B = (2.0 * i + 1) * sign, (2.0 * j + 1) * (-1.0) ** j
    return A.astype(np.float64), B.astype(np.float64)


@functools.lru_cache(maxsize=32)
def delay(order: int, theta: float) -> Delay:
    """What moves a memory of this order over a window of theta steps."""
    A, B = legendre(order)
    whole = np.zeros((order + 1, order + 1))
    whole[:order] = np.column_stack([A, B]) / theta
    norm = np.abs(whole).sum(1).max()
    exponent = min(math.floor(math.log2(_SHORTEST / norm)), 0)
    # Enough to forget everything, and more than one nominal step.
    count = max(math.ceil(math.log2(_WINDOWS * theta)), 0) - exponent + 1
    doubled = [_exponential(whole * 2.0**exponent)]
    while len(doubled) < count:
        doubled.append(doubled[-1] @ doubled[-1])
    cut = np.stack(doubled)[:, :order]
    return Delay(cut[-exponent], whole[:order], cut, 2.0**exponent)


def _exponential(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^X of a matrix of norm 1/2 at most, by its series."""
    total = np.eye(len(X))
    for k in range(20, 0, -1):
        total = np.eye(len(X)) + X @ total / k
    return total


def step(
    m: Float[Array, "channels order"], u: Float[Array, " channels"], nominal: Array
) -> Float[Array, "channels order"]:
    """The memory after a step with a matrix [A, B], u held."""
    return jnp.matmul(jnp.concatenate([m, u[:, None]], 1), nominal.T, precision=HIGHEST)


def moved(
    m: Float[Array, "channels order"],
    u: Float[Array, " channels"],
    dt: Float[ArrayLike, ""],
    flow: Delay,
) -> Float[Array, "channels order"]:
    """The memory after a time dt with u held, exact for any dt.

    dt is a sum of some of r, 2 r, 4 r, ... and of a rest below r. Each of them is one product with
    the memory, so that no matrix exponential is computed in a step; the rest has the derivative
    in dt.
    """
    dtype = m.dtype
    rate, dt = jnp.asarray(flow.rate, dtype), jnp.asarray(dt, dtype)
    steps = jnp.minimum(jnp.floor(dt / flow.shortest), 2.0 ** len(flow.doubled) - 1)
    rest = jnp.minimum(dt - steps * flow.shortest, flow.shortest)
    before = m
    for k in range(_TERMS[dtype.name], 0, -1):
        m = before + rest / k * step(m, u, rate)
    for k, matrix in enumerate(flow.doubled):
        halves = jnp.floor(steps * 2.0**-k)
        odd = halves - 2 * jnp.floor(halves / 2) == 1
        m = jnp.where(odd, step(m, u, jnp.asarray(matrix, dtype)), m)
    return m


def discretised(
    dt: Float[ArrayLike, ""], flow: Delay, dtype: Any
) -> tuple[Float[Array, "order order"], Float[Array, " order"]]:
    """A and B of a step of dt: where a time dt takes each polynomial, and an input of one."""
    order = len(flow.rate)
    basis = jnp.eye(order + 1, dtype=dtype)
    after = moved(basis[:, :order], basis[:, order], dt, flow)
    return after[:order].T, after[order]
