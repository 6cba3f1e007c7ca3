"""Cells whose step is linear in the state, or gives the parts of what it does to a matrix."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._common.checks import Steps, check_output
from .._common.dtypes import half_as
from .._engine import matrix_chunks, plain, scaled_chunks
from .._engine.backends import tuned
from .._engine.chunks import Length, Way, in_chunks, near
from .._engine.mesh import vary_as
from .._engine.offsets import with_start
from .._engine.recurrence import solve
from .._engine.rows import by_rows
from .._engine.unstable import samples_of
from ..base import check_parts, check_transition
from ..linear import AffineMap, select
from .common import How, as_floats, over_time, visible


PLAIN = "plain"


def linear(cell, state, steps: Steps, how: How):
    """A linear cell: inputs and outputs of many steps at once, the recurrence between them.

    Where the recurrence is a loop and there are many steps, these are some of them, and a
    derivative keeps the states between: to write arrays of all steps, and to read them again,
    takes longer than to make them anew.
    """
    segment = _segment(samples_of(steps.x) * state.size, steps.length, how)
    return _linear(cell, state, steps, how._replace(segment=segment))


def _segment(numbers: int, length: Length, how: How) -> int | None:
    """How many steps at once, each of so many numbers; None: all."""
    size = max(tuned("linear_values") // max(numbers, 1), tuned("linear_steps"))
    whole = how.algorithm != "loop" or how.mesh_axis is not None
    return None if whole or not isinstance(length, int) or length <= 4 * size else size


@eqx.filter_jit
def _linear(cell, state, steps: Steps, how: How):
    c = cell.constants()
    if how.segment is None:
        return _at_once(cell, c, state, steps, how)
    scalar_dt = steps.dt if steps.dt is not None and steps.dt.ndim == 0 else None
    per_step = steps if scalar_dt is None else steps._replace(dt=None)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def segment(state: Array, steps: Steps):
        steps = steps if scalar_dt is None else steps._replace(dt=scalar_dt)
        final, states, ys = _at_once(cell, c, state, steps, how)
        return final, (states, ys)

    # In `jax.shard_map` the state has to differ between devices, by type, where anything does.
    (state,) = vary_as([state], jax.tree.leaves(eqx.filter((cell, c, steps), eqx.is_array)))
    division = near(steps.length, how.segment)
    final, (states, ys) = in_chunks(
        segment, state, per_step, division=division, reverse=how.reverse
    )
    return final, states, ys


def _at_once(cell: Any, c: Any, state: Array, steps: Steps, how: How):
    x, *dt = visible(steps)
    inputs = as_floats(cell, x, *dt)
    is_plain = how.algorithm == PLAIN
    maps = _map_over_time(cell, c, state, inputs, is_plain)
    way = Way(steps.length, how.reverse, mesh_axis=how.mesh_axis)
    assert isinstance(how.algorithm, str)
    if is_plain:
        flags = {"mask": steps.mask, "reset": steps.reset}
        states = plain.states(maps, state, way, initial=cell.init_state(), **flags)
    else:
        states = solve(
            maps.linear,
            with_start(maps, state, steps, way, cell.init_state()),
            way,
            mask=steps.mask,
            barrier=steps.reset,
            algorithm=how.algorithm,
        )

    def readout(state: Array, x: Array) -> Array:
        y = cell.readout(c, state, x)
        check_output(cell, y)
        return y

    ys = jax.vmap(readout if is_plain else by_rows(readout))(states, inputs[0])
    if steps.mask is not None:
        ys = select(steps.mask, ys, jnp.zeros_like(ys))
    final = states[0] if how.reverse else states[-1]
    return final, states if how.keep_states else None, half_as(x, ys)


@eqx.filter_jit
def matrix(cell, state, steps: Steps, how: How):
    """A matrix state: what all steps do to it at once, and its chunks one after the other."""
    c, (x, *dt) = cell.constants(), visible(steps)
    inputs = as_floats(cell, x, *dt)
    in_axes = [0 if array.ndim else None for array in inputs]  # a scalar dt is not per step
    chunks = matrix_chunks if cell.linear else scaled_chunks

    def parts_at(*at: Array):
        parts = cell.parts(c, *at)
        check_parts(cell, parts, state)
        return parts

    parts = jax.vmap(by_rows(parts_at), in_axes=in_axes)(*inputs)
    way = Way(steps.length, how.reverse, mesh_axis=how.mesh_axis)
    flags = {"initial": cell.init_state(), "mask": steps.mask, "reset": steps.reset}
    if how.mesh_axis is not None:
        state = matrix_chunks.entering(parts, state, way, **flags)
    final, read = chunks.run(parts, state, way, **flags)
    states = chunks.states(parts, state, way, **flags) if how.keep_states else None

    def output(read: Array, x: Array) -> Array:
        y = cell.output(c, read, x)
        check_output(cell, y)
        return y

    ys = jax.vmap(by_rows(output))(read, inputs[0])
    if steps.mask is not None:
        ys = select(steps.mask, ys, jnp.zeros_like(ys))
    return final, states, half_as(x, ys)


def _map_over_time(
    cell: Any, c: Any, state: Array, inputs: list[Array], is_plain: bool
) -> AffineMap:
    """The elements of all steps; what depends on no per-step input gets no time axis."""
    maps, shapes = over_time(functools.partial(cell.transition, c), inputs, plain=is_plain)
    check_transition(cell, shapes, state)
    return maps()
