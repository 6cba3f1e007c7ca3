"""The search for the starts of all chunks, level by level, in one program.

Every level is a loop that takes no turn where it is not needed, which costs nothing; under `vmap` a
`lax.cond` would run both its sides.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array

from .._common.vectors import state_vector
from .by_steps import by_steps, declared
from .coalescence import Seeds, follow, merge, pick
from .common import until, when
from .newton import accumulated, corrections, jacobians
from .options import Chunks, Report
from .problem import Pass, Problem


# Passes of each chunk from where the one before ended, before something else is tried.
HANDED_ON = 3
# Joints that become so much smaller in a pass are waited for, so many passes at most.
SHRINKS, PATIENCE = 0.1, 8
# Times that seeds are chosen: the network's ends, then those unlike every seed.
ROUNDS = 4
# The share of joints with more branches than can be told apart, with which the way is still tried.
CROWDED = 0.1
# Rounds of the search: after that without seeds, along the first seeds, and along branches.
STRAIGHT, ALONG = 1, 2
NEWTON = 8
# A correction beyond so many units ends it.
MOST = 1e3
# The estimated error that is accepted, over the largest joint that counts as closed.
ERROR = 10.0
# Chunks that make every small change so small forget; of others, what they do is believed after so
# many passes, in which the changes have turned to where chunks let them grow.
FORGOTTEN, TURNED = 0.01, 4


class Trial(NamedTuple):
    """The last pass, and what is known of it."""

    run: Pass
    gains: Array
    """(chunks,): what a chunk does to a small change of its start, in the largest norm."""
    moved: Array
    """(chunks, n): the change that comes next, in units: what became of the one before."""
    wrong: Array
    joint: Array
    error: Array
    passes: Array
    level: Array
    fits: Array


def largest(states: Array) -> Array:
    """Of each number of a state, (n,), the largest along the states that is finite."""
    return jnp.max(jnp.where(jnp.isfinite(states), jnp.abs(states), 0), axis=0)


def units(states: Array) -> Array:
    """What joints are measured in, (n,): the larger of 1 and the largest that a number becomes.

    Each has its own: beside a large one, a joint of a small one would count for nothing.
    """
    return jnp.maximum(largest(states), 1)


def spread(states: Array) -> Array:
    """What branches are told apart in: as `units`, but of states that are all small the largest."""
    sizes = largest(states)
    least = jnp.minimum(jnp.max(sizes), 1)
    return jnp.maximum(sizes, jnp.where(least > 0, least, 1))


class Search(NamedTuple):
    """What is passed from round to round."""

    trial: Trial
    seeds: Seeds
    ends: Array
    """Of every chunk from every seed, (chunks, room, n)."""
    round: Array
    branches: Array
    more: Array
    """Whether there is something to try: new seeds, and ends that merge."""


def find(problem: Problem, options: Chunks) -> tuple[Pass, Report]:
    """The chunks from their true starts, and what it took."""
    tol = options.closed(problem.first.dtype)
    trial = _nothing_yet(problem)
    if options.newton and declared(problem) is not None:
        trial = _by_steps(problem, trial, tol)
    search = _look_for_branches(problem, trial, options, tol)
    trial = search.trial
    if options.newton:
        trial = _newton(problem, trial, tol, options.at_once)
    run, reruns = _one_by_one(problem, trial, tol)
    report = Report(
        level=jnp.where(trial.fits, trial.level, 4),
        passes=trial.passes,
        reruns=reruns,
        branches=search.branches,
        wrong=trial.wrong,
        joint=trial.joint,
        error=jnp.where(trial.fits, trial.error, 0),
        size=problem.steps.x.shape[1],
        chunks=problem.chunks,
    )
    return run, report


def _nothing_yet(problem: Problem) -> Trial:
    """A pass that was not run, and that hands on the initial state to every chunk."""
    starts = problem.first[None]
    initial = state_vector(problem.cell.init_state()).astype(starts.dtype)
    ends = jnp.broadcast_to(initial, (problem.chunks, *initial.shape))
    shapes = jax.eval_shape(problem.all, jnp.broadcast_to(starts, ends.shape))
    run = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    run = run._replace(starts=jnp.broadcast_to(starts, ends.shape), ends=ends)
    none = jnp.zeros((), starts.dtype)
    number = jnp.int32(0)
    gains = jnp.zeros(problem.chunks, starts.dtype)
    moved = jr.rademacher(jr.key(0), ends.shape, starts.dtype)
    return Trial(run, gains, moved, number, none, none, number, number, jnp.array(False))


def _look(problem: Problem, starts: Array, tol: float, before: Trial) -> Trial:
    """A pass from these starts: which joints are closed, and what chunks do to a small change.

    Beside each chunk runs a second one, from a start a little off: by the square root of the
    precision, at first up or down in every number, and then as the chunk before has made of it, so
    that the changes turn to where chunks, one after the other, let them grow.
    """
    step = jnp.sqrt(jnp.finfo(starts.dtype).eps).astype(starts.dtype)
    # Both in one program: the second sample of each chunk keeps nothing but its end.
    off = starts + step * units(starts) * before.moved
    both = jax.vmap(problem.all)(jnp.stack([starts, off]))
    run = jax.tree.map(lambda leaf: leaf[0], both)
    scale = units(run.ends)
    change = (both.ends[1] - both.ends[0]) / scale
    size = jnp.max(jnp.abs(change), axis=-1)
    gains = size / jnp.max(jnp.abs(off - starts) / scale, axis=-1)
    joints = run.joints(scale)
    wrong = jnp.sum(~(joints <= tol), dtype=jnp.int32)
    error, joint = accumulated(gains, joints), jnp.max(joints)
    passes, level = before.passes + 1, before.level
    known = (jnp.max(gains) <= FORGOTTEN) | (passes >= TURNED) | (joint == 0)
    fits = (wrong == 0) & (error <= ERROR * tol) & known
    moved = _turned(change, size, before.moved)
    return Trial(run, gains, moved, wrong, joint, error, passes, level, fits)


def _turned(change: Array, size: Array, moved: Array) -> Array:
    """The changes that the chunks hand on; as they were where nothing came of them."""
    change, size = change[:-1], size[:-1, None]
    some = (size > 0) & jnp.isfinite(size)
    after = jnp.where(some, change / jnp.where(some, size, 1), moved[1:])
    return jnp.concatenate([moved[:1], after])


def _hand_on(problem: Problem, trial: Trial, tol: float, round_: Array, go: Array) -> Trial:
    """Each chunk from the end of the one before, while that closes joints.

    What the first pass leaves open says nothing: nor does the second, where the first one is cold.
    A way along seeds that leads to another branch somewhere is not mended so.
    """
    cold, straight = round_ == 0, round_ == STRAIGHT

    def more(at):
        trial, turn, before = at
        fewer = (turn <= cold) | (2 * trial.wrong <= before.wrong)
        smaller = trial.joint <= SHRINKS * before.joint
        fewer = fewer & (turn < jnp.where(straight, 1, HANDED_ON + cold))
        closing = fewer | (smaller & (turn < PATIENCE))
        return go & ~trial.fits & closing

    def turn(at):
        trial, turn, _ = at
        after = _look(problem, trial.run.handed_on(), tol, trial)
        return after, turn + 1, _Open(trial.wrong, trial.joint)

    start = trial, jnp.int32(0), _Open(trial.wrong, trial.joint)
    return until(more, turn, start, problem)[0]


class _Open(NamedTuple):
    wrong: Array
    joint: Array


# --- branches -------------------------------------------------------------------------------------


def _look_for_branches(problem: Problem, trial: Trial, options: Chunks, tol: float) -> Search:
    """Rounds: the first one without seeds, for a network that forgets."""
    first = problem.first
    room = options.seeds * ROUNDS
    seeds = Seeds(jnp.broadcast_to(first, (room, *first.shape)), jnp.int32(1))
    ends = jnp.zeros((problem.chunks, room, *first.shape), first.dtype)
    search = Search(trial, seeds, ends, jnp.int32(0), jnp.int32(0), jnp.array(True))

    def go_on(search: Search) -> Array:
        # After as many passes as chunks, each has begun where the one before ended.
        soon = search.trial.passes < problem.chunks
        return ~search.trial.fits & search.more & (search.round <= ROUNDS + 1) & soon

    return until(go_on, lambda s: _round(problem, s, options, tol), search, problem)


def _round(problem: Problem, search: Search, options: Chunks, tol: float) -> Search:
    """What the last ends merge to, and each chunk from the one before from there on."""
    search = when(search.round > 0, lambda s: _branch_out(problem, s, options), search)
    go = search.more | (search.round == STRAIGHT)
    trial = _hand_on(problem, search.trial, tol, search.round, go)
    return search._replace(trial=trial, round=search.round + 1)


def _branch_out(problem: Problem, search: Search, options: Chunks) -> Search:
    """New seeds, every chunk from them, and, if the ends merge, the way along the branches.

    The first way needs no pass: from seed to seed, as if an end were the seed that is nearest. If
    that fails, the next one goes along the branches of the same ends. Where the ends do not merge,
    it is at least near to what Newton's method can mend, whatever bits there are to remember.
    """
    trial, count, round_ = search.trial, search.seeds.count, search.round
    scale = spread(trial.run.ends)
    first, again = round_ == STRAIGHT, round_ > ALONG
    known = jnp.arange(search.ends.shape[1]) < jnp.where(again, count, 0)
    valid = [jnp.ones(problem.chunks, bool), jnp.broadcast_to(known, search.ends.shape[:2]).ravel()]
    pool = jnp.concatenate([trial.run.ends, search.ends.reshape(-1, search.ends.shape[-1])])
    most = jnp.where(round_ == ALONG, 0, options.seeds - first)
    seeds = _added(search.seeds, pool, jnp.concatenate(valid), (options.seeds, most), scale)
    place = jnp.where(again, count, 0)
    new = (seeds.count > count) | first
    ends = when(new, lambda e: _from_seeds(problem, seeds, e, place, options), search.ends)
    merged, counts = _merged(seeds, ends, options, scale)
    crowded = jnp.mean(counts > options.branches) > CROWDED
    more = (new | (round_ == ALONG)) & ~crowded
    trial = trial._replace(passes=trial.passes + new)
    trial = when(first, lambda t: _straight(t, seeds, ends, options, scale), trial)
    level = jnp.where(again, 2, 1).astype(jnp.int32)
    trial = when(more & ~first, lambda t: _along(problem, t, merged, level, scale), trial)
    return Search(trial, seeds, ends, search.round, jnp.max(counts), more)


def _added(seeds: Seeds, pool: Array, valid: Array, most: tuple, scale: Array) -> Seeds:
    """At most so many more: (a bound that a program knows, the number)."""
    bound, number = most
    more = seeds.add(pool, valid, bound, scale)
    return more._replace(count=jnp.minimum(more.count, seeds.count + number))


def _from_seeds(
    problem: Problem, seeds: Seeds, ends: Array, first: Array, options: Chunks
) -> Array:
    points = lax.dynamic_slice_in_dim(seeds.points, first, options.seeds)
    starts = jnp.broadcast_to(points, (problem.chunks, *points.shape))
    return lax.dynamic_update_slice_in_dim(ends, problem.ends(starts), first, axis=1)


def _merged(seeds: Seeds, ends: Array, options: Chunks, scale: Array) -> tuple[Array, Array]:
    """The branches at the end of each chunk but the last, and how many."""
    valid = jnp.arange(ends.shape[1]) < seeds.count
    return jax.vmap(lambda ends: merge(ends, valid, options.branches, scale))(ends[:-1])


def _straight(trial: Trial, seeds: Seeds, ends: Array, options: Chunks, scale: Array) -> Trial:
    """The way from the first state, which is the first seed, from seed to seed.

    Behind the last seed stands the first one again.
    """
    points, ends = seeds.points[: options.seeds], ends[:, : options.seeds]
    starts = jnp.broadcast_to(points, ends.shape)
    return _on_the_way(trial, starts, ends, follow(starts, ends, scale), jnp.int32(1))


def _along(problem: Problem, trial: Trial, merged: Array, level: Array, scale: Array) -> Trial:
    """Every chunk from the branches before it; the way from the first state along them."""
    first = jnp.broadcast_to(trial.run.starts[0], (1, *merged.shape[1:]))
    starts = jnp.concatenate([first, merged])
    ends = problem.ends(starts)
    trial = _on_the_way(trial, starts, ends, follow(starts, ends, scale), level)
    return trial._replace(passes=trial.passes + 1)


def _on_the_way(trial: Trial, starts: Array, ends: Array, branch: Array, level: Array) -> Trial:
    """Of each chunk the start and the end on its branch."""
    run = trial.run._replace(starts=pick(starts, branch), ends=pick(ends, branch))
    # The first start is the state that was given, whatever branch it is like.
    run = run._replace(starts=run.starts.at[0].set(trial.run.starts[0]))
    return trial._replace(run=run, level=level, fits=jnp.array(False))


# --- no branches ----------------------------------------------------------------------------------


def _newton(problem: Problem, trial: Trial, tol: float, at_once: int | None) -> Trial:
    """Newton's method over the joints. What decides is the correction, not the joints: where
    the dynamics amplify, joints fit long before the states do."""
    line = problem.line

    def more(at):
        trial, _, turn, broken = at
        soon = trial.passes < problem.chunks
        return ~trial.fits & ~broken & (turn < NEWTON) & soon

    def turn(at):
        trial, starts, turn, _ = at
        trial = _look(problem, starts, tol, trial)
        offsets = line.own(trial.run.handed_on() - starts)
        move = corrections(jacobians(problem, line.own(starts), at_once), offsets, line)
        move = line.together(move)
        size = jnp.max(jnp.abs(move) / units(trial.run.ends))
        trial = trial._replace(error=size, fits=size <= tol, level=jnp.int32(3))
        return trial, starts + move, turn + 1, ~(size <= MOST)

    start = trial, trial.run.handed_on(), jnp.int32(0), jnp.array(False)
    return until(more, turn, start, problem)[0]


def _by_steps(problem: Problem, trial: Trial, tol: float) -> Trial:
    """Newton's method over single steps, where handing on does not close the joints."""
    trial = _hand_on(problem, trial, tol, jnp.int32(0), jnp.array(True))

    def look(trial: Trial) -> Trial:
        found = by_steps(problem, trial.run.handed_on(), tol)
        after = _look(problem, found.starts, tol, trial)
        fits = (after.wrong == 0) & (found.correction <= tol)
        passes, level = after.passes + found.rounds + 1, jnp.int32(3) * fits
        return after._replace(error=found.correction, fits=fits, level=level, passes=passes)

    return when(~trial.fits & (trial.passes < problem.chunks), look, trial, problem)


def _one_by_one(problem: Problem, trial: Trial, tol: float) -> tuple[Pass, Array]:
    """Chunks that started wrongly, from their true starts, one after the other.

    A chunk is kept only as it ran, from the start that it ran from. Over devices one of them has
    the steps of that chunk, and the others wait.
    """
    line, here = problem.line, problem.steps.x.shape[0]
    # What a joint of one becomes, along all chunks: where it grows, less is let through.
    growth = accumulated(trial.gains, jnp.ones_like(trial.gains))
    most, scale = tol * jnp.minimum(1, ERROR / growth), units(trial.run.ends)
    open_ = ~(trial.run.joints(scale) <= most)
    places = jnp.arange(problem.chunks)

    def next_open(i: Array | int) -> Array:
        """The first chunk from i on whose start is not where the one before ended."""
        return jnp.min(jnp.where(open_ & (places >= i), places, problem.chunks))

    def more(at):
        return at[1] < problem.chunks

    def rerun(at):
        run, i, count = at
        start, own = run.ends[jnp.maximum(i - 1, 0)], i - line.place * here
        mine, own = i // here == line.place, jnp.clip(own, 0, here - 1)
        steps, fixed = problem.chunk(own)
        final, states, ys = problem.one(start, steps, fixed)
        end = line.of(i // here, state_vector(final))
        follows = jnp.minimum(i + 1, problem.chunks - 1)
        near = jnp.max(jnp.abs(end - run.starts[follows]) / scale) <= most
        put = lambda a, b, i: lax.dynamic_update_index_in_dim(a, b.astype(a.dtype), i, 0)  # noqa: E731

        def keep(a: Array, b: Array) -> Array:
            return put(a, jnp.where(mine, b, a[own]) if line.devices > 1 else b, own)

        last = i == problem.chunks - 1
        run = Pass(
            put(run.starts, start, i),
            put(run.ends, end, i),
            jax.tree.map(lambda a, b: jnp.where(last, b, a), run.final, final),
            jax.tree.map(keep, run.states, states),
            keep(run.ys, ys),
        )
        return run, jnp.where(near, next_open(i + 2), i + 1), count + 1

    first = jnp.where(trial.fits, problem.chunks, jnp.maximum(next_open(1), 1))
    run, _, count = until(more, rerun, (trial.run, first, jnp.int32(0)), problem)
    return run, count
