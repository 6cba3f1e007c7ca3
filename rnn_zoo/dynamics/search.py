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

from ..base import AbstractCell
from .along import spectrum
from .maps import step_of


ROUND = 32  # iterations, after which starts that have arrived are left alone
BATCH = 256  # starts searched side by side: their Jacobians are held at once


class System(eqx.Module):
    """A cell, held, with a constant input: what a step does to vectors. `template` is a state."""

    cell: AbstractCell
    x: Array
    dt: Array | None
    template: Any
    key: None = None

    def after(self, period: int = 1) -> Callable[[Array], Array]:
        """h -> the vector after `period` steps."""
        step = step_of(self.cell, self.template, self)
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
    ends = _searched(system, vectors, period, max_steps)
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
        _sets(ends[kept], matrices, still.sum(axis=1)),
        owners,
    )


@eqx.filter_jit
def slopes(system: System, vectors: Array, period: int = 1) -> Float[Array, "points n n"]:
    """The Jacobian of `period` steps at each vector."""
    return jax.vmap(jax.jacfwd(system.after(period)))(vectors)


@eqx.filter_jit
def after(system: System, vectors: Array, steps: int) -> Float[Array, "starts n"]:
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


def _searched(system: System, vectors: Array, period: int, max_steps: int) -> np.ndarray:
    """Where the search from each start ends. Those that have arrived leave the rounds."""
    where = np.array(vectors)
    waiting = np.arange(len(where))
    for _ in range(0, max_steps, ROUND):
        done = np.zeros(len(waiting), bool)
        for first in range(0, len(waiting), BATCH):
            chosen = waiting[first : first + BATCH]
            # Sizes that are powers of two, so that few programs are compiled.
            padded = np.resize(chosen, 1 << (len(chosen) - 1).bit_length())
            new, arrived = _round(system, jnp.asarray(where[padded]), period, ROUND)
            where[chosen] = np.asarray(new)[: len(chosen)]
            done[first : first + BATCH] = np.asarray(arrived)[: len(chosen)]
        waiting = waiting[~done]
    return where


@eqx.filter_jit
def _round(system: System, vectors: Array, period: int, steps: int) -> tuple[Array, Array]:
    optimistix, lineax = _library("optimistix"), _library("lineax")
    after = system.after(period)
    small = float(jnp.finfo(vectors.dtype).eps) ** 0.9
    # The damped normal equations: a decomposition of n x n where QR takes one of 2n x n.
    normal = lineax.Normal(lineax.Cholesky())
    solver = optimistix.LevenbergMarquardt(small, small, linear_solver=normal)

    def one(h: Array) -> tuple[Array, Array]:
        found = optimistix.least_squares(
            lambda h, _: after(h) - h, solver, h, max_steps=steps, throw=False
        )
        return found.value, found.result == optimistix.RESULTS.successful

    return jax.vmap(one)(vectors)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            'fixed points are searched by Optimistix: pip install "rnn-zoo[dynamics]"'
        ) from error


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


def _sets(vectors: np.ndarray, jacobians: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """A label for each isolated point, and one for all that neutral directions join.

    Two points belong together if each of both lies along the other's neutral directions (within 45
    degrees), no farther than four times what is usual between neighbours, the median.
    """
    labels = np.arange(len(vectors))
    some = np.flatnonzero(neutral)
    if len(some) > 1:
        gaps = np.linalg.norm(vectors[some][:, None] - vectors[some][None], axis=-1)
        np.fill_diagonal(gaps, np.inf)
        reach = 4 * np.median(gaps.min(axis=1))
        planes = [_still(jacobians[i], neutral[i]) for i in some]
        for a, b in zip(*np.nonzero(gaps <= reach)):
            way = (vectors[some[b]] - vectors[some[a]]) / gaps[a, b]
            if min(np.linalg.norm(planes[a].T @ way), np.linalg.norm(planes[b].T @ way)) > 0.7:
                one, other = labels[some[a]], labels[some[b]]
                labels[labels == max(one, other)] = min(one, other)
    return np.unique(labels, return_inverse=True)[1]


def _still(jacobian: np.ndarray, count: int) -> np.ndarray:
    """An orthonormal base of what a step leaves unchanged: least singular vectors of J - 1."""
    change = jacobian.astype(np.float64) - np.eye(len(jacobian))
    return np.linalg.svd(change)[2][-count:].T
