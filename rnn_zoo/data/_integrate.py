"""What the generators of series share: steps of the Runge-Kutta method, and checks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


# Numbers, or arrays: plain floats are the fastest for a few coordinates.
State = tuple[Any, ...]
Start = Sequence[float | int] | np.ndarray


def slopes(flow: Callable[..., State], state: State, dt: float) -> list[Any]:
    """k1 + 2 k2 + 2 k3 + k4 of the classical Runge-Kutta method for a step of length `dt`: six
    times the slope to go along."""
    half = dt / 2
    k1 = flow(*state)
    k2 = flow(*[x + half * k for x, k in zip(state, k1)])
    k3 = flow(*[x + half * k for x, k in zip(state, k2)])
    k4 = flow(*[x + dt * k for x, k in zip(state, k3)])
    return [p + 2 * q + 2 * r + s for p, q, r, s in zip(k1, k2, k3, k4)]


def integrated(
    flow: Callable[..., State], state: State, n_steps: int, h: float | int, substeps: int
) -> np.ndarray:
    """The states every `h` time units, (n_steps, coordinates), beginning with `state`."""
    check_steps(n_steps, h, substeps)
    dt = h / substeps
    sixth = dt / 6

    def later(state):
        for _ in range(substeps):
            state = tuple(x + sixth * k for x, k in zip(state, slopes(flow, state, dt)))
        return state

    return iterated(later, state, n_steps)


def iterated(rule: Callable[[Any], Any], state: Any, n_steps: int) -> np.ndarray:
    """`state`, `rule(state)`, `rule(rule(state))` and so on, (n_steps, coordinates).

    Raises ValueError where the states leave the finite numbers.
    """
    check_steps(n_steps)
    series = [state]
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(n_steps - 1):
                series.append(rule(series[-1]))
    except OverflowError:  # plain floats raise in math.sinh and its kind
        series.append(np.full_like(state, np.inf))
    values = np.array(series, np.float64).reshape(len(series), -1)[:n_steps]
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"expected a series that stays bounded, but it left the finite numbers at step "
            f"{finite.argmin()}: start nearer the default x0, or take smaller time steps"
        )
    return values


def etdrk4(
    linear: np.ndarray, nonlinear: Callable[[np.ndarray], np.ndarray], dt: float
) -> Callable[[np.ndarray], np.ndarray]:
    """One step of ETDRK4 for v' = linear v + nonlinear(v), the linear part exact.

    Its coefficients cancel where `linear * dt` is small, so they are taken as means over a circle
    around it; by symmetry half a circle and the real part do. Kassam and Trefethen (2005).
    """
    z = linear * dt
    whole, half = np.exp(z), np.exp(z / 2)
    circle = z[:, None] + np.exp(1j * np.pi * (np.arange(16) + 0.5) / 16)

    def mean(values):
        return dt * values.mean(axis=1).real

    e = np.exp(circle)
    q = mean((np.exp(circle / 2) - 1) / circle)
    f1 = mean((-4 - circle + e * (4 - 3 * circle + circle**2)) / circle**3)
    f2 = mean((2 + circle + e * (circle - 2)) / circle**3)
    f3 = mean((-4 - 3 * circle - circle**2 + e * (4 - circle)) / circle**3)

    def step(v):
        at_v = nonlinear(v)
        a = half * v + q * at_v
        at_a = nonlinear(a)
        at_b = nonlinear(half * v + q * at_a)
        at_c = nonlinear(half * a + q * (2 * at_b - at_v))
        return whole * v + f1 * at_v + 2 * f2 * (at_a + at_b) + f3 * at_c

    return step


def check_steps(n_steps: int, h: float | int = 1.0, substeps: int = 1) -> None:
    if n_steps < 0:
        raise ValueError(f"expected n_steps of at least 0, got {n_steps}")
    if not 0 < h < math.inf:
        raise ValueError(f"expected h, the time between two samples, to be positive, got {h}")
    if substeps < 1:
        raise ValueError(f"expected substeps of at least 1 between two samples, got {substeps}")


def start_at(x0: Start, size: int) -> tuple[float, ...]:
    """`x0` as plain floats, `size` of them."""
    start = np.asarray(x0, np.float64)
    if start.shape != (size,):
        raise ValueError(
            f"expected x0 of {size} numbers, one for each coordinate, got shape {start.shape}"
        )
    return tuple(start.tolist())
