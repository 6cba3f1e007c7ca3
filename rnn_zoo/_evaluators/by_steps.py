"""Newton's method over single steps, for cells whose class declares a Jacobian of small blocks.

The unknowns are the states after all steps. A round runs every step once from the state before it,
and solves for the correction d of all of them,

    d_t = J_t d_{t-1} + f(s_{t-1}, x_t) - s_t,

which the engine for linear cells does in log2(steps) rounds. J is a diagonal, or a block for each
unit, so all of it takes steps times n numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.vectors import state_vector
from ..linear import Block2x2, Diagonal
from .common import until
from .newton import over_line
from .problem import Problem


# Rounds at most; a correction beyond so many units ends it, as with chunks.
ROUNDS, MOST = 12, 1e3


class Found(NamedTuple):
    starts: Array
    """Of the chunks, (chunks, n)."""
    correction: Array
    """The last one, in units: what is still open where it is not small."""
    rounds: Array


def declared(problem: Problem) -> Any:
    """The kind of map that one step is, for a small change of the state; None for any."""
    kind = getattr(problem.cell, "state_jacobian", None)
    return None if jax.tree.leaves(problem.fixed) else kind


def by_steps(problem: Problem, starts: Float[Array, "chunks n"], tol: float) -> Found:
    """From what the chunks of these starts go through."""
    kind, line, single = declared(problem), problem.line, problem.single()
    size = problem.steps.x.shape[1]

    def stepped(before: Array) -> tuple[Array, Array]:
        return single.each(lambda *at: _step(single, kind, *at), before)

    def more(at: tuple) -> Array:
        _, _, correction, turn = at
        going = (correction > tol) & (correction <= MOST)
        return (turn == 0) | (going & (turn < ROUNDS))

    def turn(at: tuple) -> tuple:
        states, scale, _, turn = at
        after, matrices = stepped(line.handed_on(states, problem.first))
        move = _solved(kind, matrices, after - states, line)
        scale = jnp.maximum(scale, _most(jnp.max(jnp.abs(after), axis=0), line))
        correction = jnp.max(_most(jnp.max(jnp.abs(move), axis=0), line) / scale)
        return states + move, scale, correction, turn + 1

    states = problem.traced(line.own(starts))
    start = states, jnp.ones_like(states[0]), jnp.zeros((), states.dtype), jnp.int32(0)
    states, _, correction, turns = until(more, turn, start, problem)
    starts = line.together(line.handed_on(states[size - 1 :: size], problem.first))
    return Found(starts, correction, turns)


def _step(single: Problem, kind: Any, *at: Any) -> tuple[Array, Array]:
    """The state after a step, and its Jacobian, of which a tangent shows a column of all units."""
    start, *rest = at

    def end(start: Array) -> Array:
        return state_vector(single.one(start, *rest)[0])

    if kind is Diagonal:
        return jax.jvp(end, (start,), (jnp.ones_like(start),))
    one, none = jnp.ones(len(start) // 2, start.dtype), jnp.zeros(len(start) // 2, start.dtype)
    after, first = jax.jvp(end, (start,), (jnp.concatenate([one, none]),))
    _, second = jax.jvp(end, (start,), (jnp.concatenate([none, one]),))
    columns = [column.reshape(2, -1) for column in (first, second)]
    return after, jnp.stack(columns, axis=1)


def _solved(kind: Any, matrices: Array, offsets: Array, line: Any) -> Array:
    if kind is Block2x2:
        offsets = offsets.reshape(len(offsets), 2, -1)
    found = over_line(kind(matrices), offsets, line, False, "associative")
    return found.reshape(len(found), -1)


def _most(values: Array, line: Any) -> Array:
    """The largest on all devices, which is NaN where one is."""
    return jnp.max(line.together(values[None]), axis=0)
