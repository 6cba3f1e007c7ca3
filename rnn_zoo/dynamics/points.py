"""Where a step leads back: fixed and slow points, periodic orbits, and which start goes where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive, check_sizes, check_state
from .._common.vectors import moves, state_vector
from ..base import AbstractCell, check_cell
from ..scan import trajectory
from ..wrappers.held import hold
from .along import time_constants
from .maps import checked
from .search import System, Tolerances, after, search, slopes


@dataclass(frozen=True, eq=False)
class FixedPoints:
    r"""States that a step, or `period` steps, with a constant input leads back to.

    - `vectors` (points, n): the states as real vectors, the slowest first; `orbits`
      (points, period, n) are all states of an orbit, `vectors` their first.
    - `speeds` (points,): $\|F(h) - h\|$, where F is a step or `period` of them. A point above the
      tolerance is a slow point: a minimum of the speed and no fixed point.
    - `eigenvalues` (points, n): those of F's Jacobian there, largest modulus first.
    - `unstable`, `neutral` (points,): how many directions grow, and along how many nothing changes
      (an eigenvalue of 1 within the tolerance).
    - `sets` (points,): a number for each isolated point and one for all points of a continuous
      set, a line or a ring: between two neighbours of it lies a third such point.
    - `owners` (starts,): the point that the search from each start arrived at, -1 for none.
    """

    vectors: np.ndarray
    orbits: np.ndarray
    speeds: np.ndarray
    eigenvalues: np.ndarray
    unstable: np.ndarray
    neutral: np.ndarray
    sets: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def stable(self) -> np.ndarray:
        """Whether nothing grows, (points,): attractors, and points of continuous ones."""
        return self.unstable == 0

    def __repr__(self) -> str:
        isolated = [np.sum(self.sets == s) == 1 for s in self.sets]
        counts = np.bincount(self.unstable[isolated]) if any(isolated) else np.zeros(0, int)
        parts = [
            f"{count} with {k} unstable direction{'s' * (k > 1)}" if k else f"{count} stable"
            for k, count in enumerate(counts)
            if count
        ]
        wide, sizes = np.unique(self.sets[~np.asarray(isolated, bool)], return_counts=True)
        for one, size in zip(wide, sizes):
            dimension = int(np.median(self.neutral[self.sets == one]))
            parts.append(f"a continuous set of dimension {dimension}, {size} points of it")
        found = int(np.sum(self.owners >= 0))
        listed = ", ".join(parts) or "none"
        return f"FixedPoints({listed}; {found} of {len(self.owners)} starts arrived)"


@dataclass(frozen=True, eq=False)
class Linearisation:
    """What a step does near a state, `linearise`: columns of `modes` are right eigenvectors.

    `readers` holds the left ones in its rows, so that readers @ modes is the identity: row k says
    how much of mode k a small change of the state is. `time_constants` and `frequencies` (cycles
    per unit of dt, or per step) belong to the `eigenvalues`.
    """

    jacobian: np.ndarray
    eigenvalues: np.ndarray
    modes: np.ndarray
    readers: np.ndarray
    time_constants: np.ndarray
    frequencies: np.ndarray


def fixed_points(
    cell: Any,
    x: ArrayLike,
    starts: Any,
    *,
    dt: float | None = None,
    tol: float = 1e-5,
    slow: float = 0.0,
    apart: float = 1e-3,
    neutral: float = 1e-3,
    max_steps: int = 256,
) -> FixedPoints:
    r"""States that a step with the constant input `x` leaves where they are.

    $$F(h, x) = h, \qquad \min_h \|F(h, x) - h\|^2$$

    by steps of Newton's method as long as they slow the state down, then by the method of Levenberg
    and Marquardt (Optimistix, the extra "dynamics"), from every start,
    as Sussillo and Barak 2013 (doi:10.1162/NECO_a_00409) search with gradient descent. Unstable
    points and saddles are found as stable ones are. Newton-like searches stop near minima of the
    speed, too: those are the slow points.

    **Arguments:**

    - `cell`: any cell without randomness, or a layer that steps, whose state holds no clock.
    - `x`: (input_size,), and `dt`, the time of a step of a timed cell.
    - `starts`: states with a leading axis, as `scan.trajectory` returns them, or their vectors
      (starts, n); `sample_states` draws some.
    - `tol`: the speed below which a point counts as fixed, an absolute number; `slow`: that below
      which a minimum of the speed is kept as a slow point (none by default).
    - `apart`: points nearer than this (Euclidean) are one point, the slowest of them.
    - `neutral`: how near to 1 an eigenvalue must be to count as a direction without change.
    - `max_steps`: iterations from a start.

    The map is run in the dtype of the cell: float32 holds speeds to about 1e-7 of the state's size.
    On the host, so not under jit.

    **Raises:** ImportError without Optimistix; TypeError for a cell that draws random numbers or
    whose state counts steps; ValueError for shapes, and for no start.
    """
    tolerances = _checked(tol, slow, apart, neutral)
    check_sizes(max_steps=max_steps)
    system, vectors = as_system(cell, x, starts, dt)
    return FixedPoints(*search(system, vectors, tolerances, 1, max_steps))


def periodic_orbits(
    cell: Any,
    x: ArrayLike,
    starts: Any,
    period: int,
    *,
    dt: float | None = None,
    tol: float = 1e-5,
    apart: float = 1e-3,
    neutral: float = 1e-3,
    max_steps: int = 256,
) -> FixedPoints:
    """Orbits that come back after `period` steps and not before, one point for each orbit.

    Arguments and errors as in `fixed_points`; ValueError for a period below 2. Eigenvalues are
    those of the whole round (Floquet multipliers).
    """
    if period < 2:
        raise ValueError(f"expected a period of at least 2 steps, got {period}: use fixed_points")
    tolerances = _checked(tol, 0.0, apart, neutral)
    check_sizes(max_steps=max_steps)
    system, vectors = as_system(cell, x, starts, dt)
    return FixedPoints(*search(system, vectors, tolerances, period, max_steps))


def basins(
    cell: Any,
    x: ArrayLike,
    starts: Any,
    points: FixedPoints,
    *,
    dt: float | None = None,
    steps: int = 1000,
    within: float = 1e-2,
) -> np.ndarray:
    """The stable set of `points` that each start has come to after `steps` steps, (starts,).

    The number is that of `points.sets`, and -1 for a start that is not `within` this distance of a
    stable point then: it needs more steps, or goes to an attractor that is not among the points.
    Arguments and errors as in `fixed_points`.
    """
    check_sizes(steps=steps)
    system, vectors = as_system(cell, x, starts, dt)
    stable = np.flatnonzero(points.stable)
    if not len(stable):
        return np.full(len(vectors), -1)
    ends = np.asarray(after(system, vectors, steps))
    places = points.orbits[stable]  # (stable, period, n)
    away = np.stack([np.linalg.norm(places - end, axis=-1).min(axis=1) for end in ends])
    nearest = away.argmin(axis=1)
    return np.where(away.min(axis=1) <= within, points.sets[stable][nearest], -1)


def linearise(
    cell: Any, x: ArrayLike, state: Any = None, *, dt: float | None = None
) -> Linearisation:
    """Jacobian, eigenvalues, modes and time constants of a step at `state`, or its vector (n,).

    Errors as in `fixed_points`; ValueError for a Jacobian whose eigenvectors do not span the
    space, which has no such modes.
    """
    system, vectors = as_system(cell, x, _one(cell, state), dt)
    jacobian = np.asarray(slopes(system, vectors)[0])
    values, modes = np.linalg.eig(jacobian.astype(np.float64))
    order = np.argsort(-np.abs(values), kind="stable")
    values, modes = values[order].astype(np.complex128), modes[:, order].astype(np.complex128)
    if np.linalg.cond(modes) > 1e12:
        raise ValueError("expected a Jacobian with n independent eigenvectors; this one has fewer")
    unit = 1.0 if dt is None else float(dt)
    return Linearisation(
        jacobian,
        values,
        modes,
        np.linalg.inv(modes),
        time_constants(values, dt=unit),
        np.abs(np.angle(values)) / (2 * np.pi * unit),
    )


def sample_states(
    cell: Any,
    xs: ArrayLike,
    count: int,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    noise: float = 0.0,
    key: PRNGKeyArray,
) -> Float[Array, "count n"]:
    """Vectors of `count` states of the run over `xs`, drawn with replacement, as starts.

    `noise`: standard deviation of what is added, in units of each number's own over the run.
    """
    check_sizes(count=count)
    check_positive("noise", noise, zero=True)
    checked(cell, xs, state, dt, None)
    vectors = jax.vmap(state_vector)(trajectory(cell, xs, state, dt=dt)[0])
    places, draws = jr.split(key)
    chosen = vectors[jr.randint(places, (count,), 0, len(vectors))]
    return chosen + noise * vectors.std(axis=0)[None] * jr.normal(draws, chosen.shape, chosen.dtype)


def bifurcation(
    make: Callable[[Array], AbstractCell],
    values: ArrayLike,
    x: ArrayLike,
    *,
    dt: float | None = None,
    washout: int = 500,
    steps: int = 100,
) -> Float[Array, "values steps outputs"]:
    """What cells that differ in one parameter do after a washout, side by side.

    `make(value)` builds the cell under `vmap`, so a value may be traced; each runs from its first
    state with the constant input `x` for washout + steps steps, and the outputs of the last
    `steps` are returned, (values, steps, output_size). `viz.bifurcation` draws them.
    """
    check_sizes(steps=steps)
    values = jnp.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"expected values of shape (values,), got {values.shape}")

    def one(value: Array) -> Array:
        cell = make(value)
        xs = jnp.broadcast_to(jnp.asarray(x), (washout + steps, cell.input_size))
        return trajectory(cell, xs, dt=dt)[1][washout:]

    return jax.vmap(one)(values)


def _one(cell: Any, state: Any) -> Any:
    """A state, or a vector, as a row of one."""
    if state is None:
        check_cell(cell)
        state = cell.init_state()
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state)


def _checked(tol: float, slow: float, apart: float, neutral: float) -> Tolerances:
    check_positive("tol", tol)
    check_positive("slow", slow, zero=True)
    check_positive("apart", apart)
    check_positive("neutral", neutral, zero=True)
    return Tolerances(tol, slow, apart, neutral)


def as_system(cell: Any, x: Any, starts: Any, dt: Any) -> tuple[System, Array]:
    """The step as a map of vectors, and the starts as vectors."""
    check_cell(cell)
    if cell.stochastic:
        raise TypeError(f"{type(cell).__name__} is random: a fixed point is of a step without that")
    steps, template = checked(cell, jnp.asarray(x)[None], None, dt, None)
    clocks = [leaf for leaf in jax.tree.leaves(template) if not moves(leaf)]
    if clocks:
        raise TypeError(
            f"the state of {type(cell).__name__} counts steps ({clocks[0].dtype}), so what a step "
            "does changes with time and nothing stays: look at another cell"
        )
    first = state_vector(template)
    if hasattr(starts, "shape") and starts.ndim == 2 and starts.shape[1] == len(first):
        vectors = jnp.asarray(starts)
    else:
        check_state(cell, jax.tree.map(lambda leaf: leaf[0], starts))
        vectors = jax.vmap(state_vector)(starts)
    if not len(vectors):
        raise ValueError(f"expected starts, (starts, {len(first)}), got none")
    at = jax.tree.map(lambda leaf: leaf[0], steps)
    return System(hold(cell), at, template), vectors.astype(first.dtype)
