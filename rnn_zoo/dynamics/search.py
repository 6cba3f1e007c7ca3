"""The search behind fixed points: roots from many starts, what of them is distinct, and sets."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._common.checks import Steps
from .._common.extras import missing
from ..base import AbstractCell
from .along import spectrum
from .maps import step_of


NEWTON = 8  # iterations of Newton's method before all else: most starts need no more
ROUND = 16  # iterations, after which starts that have arrived are left alone
STUCK = 0.8  # a round that leaves more than this share of the speed
BATCH = 256  # starts searched side by side: their Jacobians are held at once


class System(eqx.Module):
    """A cell, held, with the same input at every step `at`. `template` is one of its states."""

    cell: AbstractCell
    at: Steps
    template: Any

    def after(self, period: int = 1) -> Callable[[Array], Array]:
        """h -> the vector after `period` steps."""
        step = step_of(self.cell, self.template, self.at)
        return lambda h: lax.fori_loop(0, period, lambda _, h: step(h)[0], h)


class Tolerances(NamedTuple):
    """Those of `fixed_points`."""

    tol: float
    slow: float
    apart: float
    neutral: float


class Found(NamedTuple):
    """The fields of `FixedPoints`."""

    vectors: np.ndarray
    orbits: np.ndarray
    speeds: np.ndarray
    eigenvalues: np.ndarray
    unstable: np.ndarray
    neutral: np.ndarray
    sets: np.ndarray
    owners: np.ndarray


def search(
    system: System, vectors: Array, tolerances: Tolerances, period: int, max_steps: int
) -> Found:
    """Minima of the speed from every start; what is slow enough, distinct, and of this period."""
    tol, slow, apart, neutral = tolerances
    _library("optimistix")  # asked for before anything runs, whether or not a start will need it
    ends = _searched(system, vectors, period, max_steps, None if slow else tol)
    rounds = np.asarray(_rounds(system, jnp.asarray(ends), period))
    speeds = np.linalg.norm(rounds[:, -1] - ends, axis=1)
    fits = np.isfinite(speeds) & (speeds <= max(tol, slow))
    for d in (d for d in range(1, period) if period % d == 0):  # back in a shorter round
        fits &= np.linalg.norm(rounds[:, d - 1] - ends, axis=1) > apart
    kept, owners = _distinct(rounds, speeds, fits, apart)
    matrices = np.asarray(slopes(system, jnp.asarray(ends[kept]), period))
    values = spectrum(matrices) if len(kept) else np.zeros((0, ends.shape[1]), complex)
    still = np.abs(values - 1) <= neutral
    return Found(
        ends[kept],
        np.concatenate([ends[kept][:, None], rounds[kept][:, :-1]], axis=1),
        speeds[kept],
        values,
        np.sum((np.abs(values) > 1) & ~still, axis=1),
        still.sum(axis=1),
        _sets(system, ends[kept], still.sum(axis=1), tolerances, period),
        owners,
    )


@eqx.filter_jit
def slopes(system: System, vectors: Array, period: int = 1) -> Float[Array, "points n n"]:
    """The Jacobian of `period` steps at each vector."""
    return jax.vmap(jax.jacfwd(system.after(period)))(vectors)


@eqx.filter_jit
def after(system: System, vectors: Any, steps: int) -> Float[Array, "starts n"]:
    """Where each vector is after these steps."""
    return jax.vmap(system.after(steps))(vectors)


@eqx.filter_jit
def _rounds(system: System, vectors: Array, period: int) -> Float[Array, "points period n"]:
    """The states that each vector goes through, without the first."""
    step = system.after()

    def go(h: Array, _: None) -> tuple[Array, Array]:
        after = step(h)
        return after, after

    return jax.vmap(lambda h: lax.scan(go, h, None, period)[1])(vectors)


def _searched(
    system: System, vectors: Array, period: int, max_steps: int, tol: float | None
) -> np.ndarray:
    """Where the search from each start ends. Those that have arrived leave the rounds.

    First come steps of Newton's method, as long as each makes the speed smaller: they are cheaper
    than those of Levenberg and Marquardt, and fewer are needed near a point. Both then take turns.
    With `tol` those leave, too, that are faster and hardly became slower in a round: they come to a
    minimum of the speed that nobody asked for.
    """
    where = np.array(vectors)
    waiting = np.arange(len(where))
    before = np.full(len(where), np.inf)
    turns = [(_newton, NEWTON)] + [(_round, ROUND), (_newton, NEWTON)] * -(-max_steps // ROUND)
    for method, steps in turns:
        done = np.zeros(len(waiting), bool)
        for first in range(0, len(waiting), BATCH):
            chosen = waiting[first : first + BATCH]
            found = method(system, jnp.asarray(where[_padded(chosen, len(where))]), period, steps)
            new, arrived, speed = (np.asarray(part)[: len(chosen)] for part in found)
            where[chosen] = new
            done[first : first + BATCH] = arrived
            if method is _round:
                stuck = (speed > STUCK * before[chosen]) & (
                    speed > (np.inf if tol is None else tol)
                )
                done[first : first + BATCH] |= stuck
                before[chosen] = speed
        waiting = waiting[~done]
    return where


def _padded(chosen: np.ndarray, count: int) -> np.ndarray:
    """All, or 256, 128, 64, 16, 4 or one of them, so that few programs are compiled."""
    bits = (len(chosen) - 1).bit_length()
    size = 1 << (bits if bits > 6 else bits + bits % 2)
    return np.resize(chosen, min(size, BATCH, count))


@eqx.filter_jit
def _newton(system: System, vectors: Array, period: int, steps: int) -> tuple[Array, Array, Array]:
    after = system.after(period)
    eps = float(jnp.finfo(vectors.dtype).eps)

    def speed(h: Array) -> Array:
        return jnp.linalg.norm(after(h) - h)

    def go(carry: tuple) -> tuple:
        i, h, slow, _, _ = carry
        slope = jax.jacfwd(after)(h) - jnp.eye(len(h), dtype=h.dtype)
        step = jnp.linalg.solve(slope, after(h) - h)
        new = h - step
        faster = speed(new)
        better = faster < slow  # False for NaN, which a singular slope gives
        h, slow = jnp.where(better, new, h), jnp.where(better, faster, slow)
        size = 1 + jnp.linalg.norm(h)
        there = (slow <= 4 * eps * size) | (better & (jnp.linalg.norm(step) <= eps**0.9 * size))
        return i + 1, h, slow, there, there | ~better

    def one(h: Array) -> tuple[Array, Array, Array]:
        no = jnp.zeros((), bool)
        _, h, slow, there, _ = lax.while_loop(
            lambda carry: (carry[0] < steps) & ~carry[4], go, (0, h, speed(h), no, no)
        )
        return h, there, slow

    return jax.vmap(one)(vectors)


@eqx.filter_jit
def _round(system: System, vectors: Array, period: int, steps: int) -> tuple[Array, Array, Array]:
    optimistix, lineax = _library("optimistix"), _library("lineax")
    after = system.after(period)
    small = float(jnp.finfo(vectors.dtype).eps) ** 0.9
    # The damped normal equations: a decomposition of n x n where QR takes one of 2n x n.
    normal = lineax.Normal(lineax.Cholesky())
    solver = optimistix.LevenbergMarquardt(small, small, linear_solver=normal)

    def one(h: Array) -> tuple[Array, Array, Array]:
        found = optimistix.least_squares(
            lambda h, _: after(h) - h, solver, h, max_steps=steps, throw=False
        )
        end = found.value
        return end, found.result == optimistix.RESULTS.successful, jnp.linalg.norm(after(end) - end)

    return jax.vmap(one)(vectors)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing("fixed points are searched by Optimistix", "dynamics", error) from error


def _distinct(
    orbits: np.ndarray, speeds: np.ndarray, fits: np.ndarray, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    """The slowest of each place, and whose place each start came to; an orbit is one place."""
    kept, owners = [], np.full(len(speeds), -1)
    places = np.zeros((0, *orbits.shape[1:]), orbits.dtype)
    for i in np.argsort(np.where(fits, speeds, np.inf), kind="stable")[: int(fits.sum())]:
        away = np.linalg.norm(places - orbits[i, -1], axis=-1)
        near = away.min(axis=1) if len(kept) else np.zeros(0)
        if len(kept) and near.min() <= apart:
            owners[i] = near.argmin()
            continue
        owners[i] = len(kept)
        kept.append(i)
        places = np.concatenate([places, orbits[i : i + 1]])
    return np.array(kept, int), owners


def _sets(
    system: System, vectors: np.ndarray, neutral: np.ndarray, tolerances: Tolerances, period: int
) -> np.ndarray:
    """A label for each isolated point, and one for all points of a continuous set.

    Two points belong together where a search from between them ends between them, at a point with
    a neutral direction as well: asked for the edges of the shortest tree through such points.
    """
    labels = np.arange(len(vectors))
    some = np.flatnonzero(neutral)
    if len(some) > 1:
        a, b = some[_shortest_tree(vectors[some])].T
        gaps = np.linalg.norm(vectors[a] - vectors[b], axis=1)
        middle = jnp.asarray((vectors[a] + vectors[b]) / 2)
        between = _searched(system, middle, period, 4 * ROUND, None)
        speeds = np.linalg.norm(np.asarray(after(system, between, period)) - between, axis=1)
        values = spectrum(np.asarray(slopes(system, jnp.asarray(between), period)))
        joined = (speeds <= tolerances.tol) & (np.abs(values - 1) <= tolerances.neutral).any(axis=1)
        for end in (a, b):
            joined &= np.abs(np.linalg.norm(between - vectors[end], axis=1) / gaps - 0.5) < 0.25
        for one, other in zip(a[joined], b[joined]):
            labels[labels == labels[one]] = labels[other]
    return np.unique(labels, return_inverse=True)[1]


def _shortest_tree(points: np.ndarray) -> np.ndarray:
    """The edges of a minimum spanning tree, (points - 1, 2), by Prim's method."""
    away = np.linalg.norm(points - points[0], axis=1)
    nearest = np.zeros(len(points), int)
    edges = []
    for _ in range(1, len(points)):
        away[nearest == -1] = np.inf
        away[0] = np.inf
        new = int(away.argmin())
        edges.append((nearest[new], new))
        nearest[new] = -1
        distance = np.linalg.norm(points - points[new], axis=1)
        nearer = (distance < away) & (nearest != -1)
        away[nearer], nearest[nearer] = distance[nearer], new
    return np.array(edges)
