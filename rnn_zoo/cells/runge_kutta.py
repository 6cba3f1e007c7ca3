"""Explicit Runge-Kutta steps of fixed number, for cells that are differential equations."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


METHODS = ("euler", "midpoint", "rk4")


def flow(
    rate: Callable[[Array], Array],
    v: Float[Array, " units"],
    dt: ArrayLike,
    method: str,
    substeps: int,
) -> Float[Array, " units"]:
    """v after the time dt of dv/dt = rate(v), in so many equal steps; dt = 0 gives v itself."""
    one: Callable[..., Array] = _STEPS[method]
    length = jnp.asarray(dt, v.dtype) / substeps
    for _ in range(substeps):
        v = v + length * one(rate, v, length)
    return v


def _euler(rate: Any, v: Array, length: Array) -> Array:
    return rate(v)


def _midpoint(rate: Any, v: Array, length: Array) -> Array:
    return rate(v + length / 2 * rate(v))


def _rk4(rate: Any, v: Array, length: Array) -> Array:
    first = rate(v)
    second = rate(v + length / 2 * first)
    third = rate(v + length / 2 * second)
    fourth = rate(v + length * third)
    return (first + 2 * second + 2 * third + fourth) / 6


_STEPS = {"euler": _euler, "midpoint": _midpoint, "rk4": _rk4}
