"""What `method="chunks"` will take, seen from a few places of a sequence.

From some places the network runs from many states, which says how soon it forgets and how many
branches are left. How many passes these take depends on more: on how well a search finds the
branches, and whether their joints close at once. So the search itself runs on a sample, a few
chunks from all along the sequence, set one behind the other.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._common.checks import Steps
from .._common.vectors import state_vector, with_vector
from .coalescence import MERGED
from .common import How
from .levels import ROUNDS, spread, units
from .options import Chunks, Report
from .sequential import sequential
from .side_by_side import side_by_side


# Places of the sequence that are looked at, states that each is run from, steps that each is run.
PLACES, STARTS, AHEAD = 16, 32, 512
AFTER = (16, 64, 256, 512)
# Chunks of the sample.
SAMPLE = 32
# Of networks with branches, passes that are said of a longer sequence. It has more joints than the
# sample, at which the way from seed to seed may fail, and more ends to choose the seeds from.
LEAST, MOST = 5, 6


class Plan(NamedTuple):
    """What `method="chunks"` is expected to take."""

    forgetting_steps: int | None
    """Steps after which nothing shows where the state was, to the tolerance; None: over 512."""
    branches_after: dict[int, int]
    """After so many steps, how many states 32 of them have become, at the worst of 16 places."""
    exponent: float
    """The mean logarithm, per step, of what becomes of the distance of two states of one branch."""
    chunk: int
    level: int
    """As `rz.scan.Report.level`."""
    passes: int
    steps_in_a_row: int
    work: float
    """Steps of all rows, in units of the loop's."""
    memory_bytes: int
    """Of what a gradient keeps beside the states, or a search for branches, whichever is more."""
    verdict: str


def plan(cell: Any, state: Any, steps: Steps, options: Chunks) -> Plan:
    """The plan of a sequence; `steps` in processing order."""
    length, size = steps.length, options.steps(steps.length)
    vector = state_vector(state)
    tol = options.closed(vector.dtype)
    ahead = min(AHEAD, length)
    found = np.asarray(_looked_ahead(cell, state, steps, ahead), np.float64)
    # Starts beyond what the network reaches may run away, which says nothing of the network.
    stays = np.asarray(np.isfinite(found).all((0, 1, 3)))
    stays[:PLACES] = True
    found = np.nan_to_num(found[:, :, stays], posinf=np.inf, neginf=-np.inf)
    # As a run measures them: joints, and branches, each number of a state in a unit of its own.
    flat = jnp.asarray(found.reshape(-1, vector.size), vector.dtype)
    apart, points = _apart(found / np.asarray(units(flat))), found / np.asarray(spread(flat))
    widest = np.nan_to_num(apart.max((2, 3)), nan=np.inf).max(0)
    below = np.flatnonzero(widest > tol)
    forgets = int(below[-1]) + 2 if below.size else 1
    forgets = forgets if forgets <= ahead else None
    after = {n: max(_count(p[n - 1]) for p in points) for n in AFTER if n <= ahead}
    at_chunk = max(_count(p[min(size, ahead) - 1]) for p in points)
    exponent = _exponent(apart)
    chunks = math.ceil(length / size)
    report = _sampled(cell, state, steps, options)
    level, passes = int(report.level), int(report.passes)
    if level == 0 and forgets is not None:
        passes = max(passes, 1 + math.ceil(forgets / size))
    if level == 1 and chunks > SAMPLE:
        passes = min(max(passes + 1, LEAST), MOST)
    passes, reruns = min(passes, chunks), math.ceil(report.reruns * chunks / report.chunks)
    row = min(passes + reruns, chunks + passes)
    searched = options.seeds * ROUNDS if level in (1, 2) else 1
    numbers = chunks * vector.size * max(vector.size, searched)
    # Beside each chunk of a pass runs a second one; in some passes there are more.
    more = {1: options.seeds, 2: 2 * options.seeds, 3: passes * vector.size}.get(level, 0)
    more += options.branches if level in (1, 2) else 0
    blocks = options.newton and getattr(cell, "state_jacobian", None) is not None
    return Plan(
        forgetting_steps=forgets,
        branches_after=after,
        exponent=exponent,
        chunk=size,
        level=level,
        passes=passes,
        steps_in_a_row=row * size,
        work=2.0 * passes + more + reruns / chunks,
        memory_bytes=int(numbers * vector.dtype.itemsize),
        verdict=_verdict(level, forgets, at_chunk, row * size, length, blocks),
    )


@eqx.filter_jit
def _looked_ahead(cell: Any, state: Any, steps: Steps, ahead: int) -> Float[Array, "p t s n"]:
    """The states that different starts become, step by step, at places along the sequence."""
    length = steps.length
    places = np.linspace(0, length - ahead, PLACES).astype(int)
    scalar = steps.dt is not None and steps.dt.ndim == 0
    axes = jax.tree.map(lambda _: 0, steps)._replace(**({"dt": None} if scalar else {}))

    def window(first: int | np.integer) -> Steps:
        cut = jax.tree.map(lambda a: a[first : first + ahead], steps._replace(dt=None))
        dt = steps.dt if steps.dt is None or scalar else steps.dt[first : first + ahead]
        return cut._replace(dt=dt)

    windows = [window(first) for first in places]
    parts = jax.tree.map(lambda *a: a[0] if scalar and a[0].ndim == 0 else jnp.stack(a), *windows)

    def run(vector: Array, steps: Steps) -> Array:
        how = How(False, True)
        _, states, _ = sequential(cell, with_vector(state, vector), steps, how)
        return jax.vmap(state_vector)(states)

    first = state_vector(state)
    own = jax.vmap(run, in_axes=(None, axes))(first, parts)[:, -1]
    # The network's own states, and some that it may never reach, in a box around all of them.
    box = jax.random.uniform(jax.random.key(0), (STARTS - PLACES, *first.shape), first.dtype, -1, 1)
    starts = jnp.concatenate([own, box * spread(own)])
    both = jax.vmap(jax.vmap(run, in_axes=(0, None)), in_axes=(None, axes))(starts, parts)
    return jnp.swapaxes(both, 1, 2)


def _apart(found: np.ndarray) -> np.ndarray:
    """The distances of all pairs of starts, (places, steps, starts, starts).

    One start at a time: all differences at once would take starts times as much memory.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        each = [np.abs(found - found[:, :, i : i + 1]).max(-1) for i in range(found.shape[2])]
    return np.stack(each, axis=2)


def _count(points: np.ndarray) -> int:
    """How many of these are told apart."""
    found: list[np.ndarray] = []
    with np.errstate(invalid="ignore"):
        for point in points:
            if not any(np.abs(point - other).max() <= MERGED for other in found):
                found.append(point)
    return len(found)


def _exponent(apart: np.ndarray) -> float:
    """From the distances of pairs that end in one branch, while these can be told from rounding."""
    first, last = apart[:, 0], apart[:, -1]
    some = np.triu(np.ones(first.shape[-2:], bool), 1) & (last <= MERGED) & (first > 0)
    if not some.any():
        return 0.0
    rates = []
    for place in range(apart.shape[0]):
        for i, j in zip(*np.nonzero(some[place])):
            path = apart[place, :, i, j]
            seen = np.flatnonzero(path > 1e-6 * path[0])
            if seen[-1] > 0:
                rates.append(math.log(path[seen[-1]] / path[0]) / seen[-1])
    return float(np.mean(rates)) if rates else 0.0


def _sampled(cell: Any, state: Any, steps: Steps, options: Chunks) -> Report:
    """What the search takes for some of the chunks, as if there were no others between."""
    length, size = steps.length, options.steps(steps.length)
    options = dataclasses.replace(options, size=size, at_once=None, strict=False)
    count = min(SAMPLE, math.ceil(length / size))
    places = np.linspace(0, max(length - size, 0), count).astype(int)
    index = np.concatenate([np.arange(place, min(place + size, length)) for place in places])
    scalar = steps.dt is not None and steps.dt.ndim == 0
    parts = jax.tree.map(lambda a: a[index], steps._replace(dt=None) if scalar else steps)
    parts = parts._replace(dt=steps.dt) if scalar else parts
    return side_by_side(cell, state, parts, How(False, False, algorithm=options))[1]


def _verdict(level: int, forgets, branches: int, row: int, length: int, blocks: bool) -> str:
    fewer = f"about {length / row:.0f} times fewer steps in a row"
    if level == 0:
        told = "after a chunk or a few" if forgets is None else f"in {forgets} steps"
        return f"it forgets {told}: {fewer}"
    if level in (1, 2):
        return f"it keeps one of {branches} things or so: {fewer}"
    if level == 3 and blocks:
        return f"its units do not mix, so Newton's method over its steps may do: {fewer}"
    if level == 3:
        return f"it forgets slowly, and Newton's method may do: {fewer}"
    if 2 * row < length:
        return f"some of what it remembers does not merge: {fewer}"
    return 'nothing that it remembers merges: use method="sequential"'
