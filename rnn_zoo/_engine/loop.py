"""`lax.scan` of a step, with a derivative that is cheap in time and memory.

Autodiff of a scan keeps every intermediate value of every step, and adds to the gradient of each
weight matrix at every step; `vmap` moves the batch axis of whatever the scan reads. So the loop is
a primitive of its own. It keeps the states and the values of the product sites (`program.py`);
the way back computes the rest of a step anew, inside one loop, and gets the gradient of a matrix,
and of the inputs, from one large matrix product per chunk of steps (`tangents.py`). `vmap` adds an
axis behind that of time.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .chunks import Way, in_chunks
from .known import is_known
from .mesh import in_mesh, repeat, vary_as
from .plain import at_first_step, scan, trace
from .program import perform, read_program, total
from .recall import push, smooth, smooth_alone
from .run import Operands, Run
from .tangents import Derivative
from .unstable import ShapedArray, as_array, define, is_zero, on_jvp, on_vmap, zero_tangent


def loop(step: Callable, state: Any, inputs: Any, way: Way) -> tuple[Any, Any]:
    """`lax.scan(step, state, inputs, length, reverse)`; with `way.plain` that itself.

    With `way.segment`, a derivative keeps the states between segments of so many steps, and runs
    each segment once more.
    """
    length, reverse, segment, plain, _ = way
    if segment is not None and segment < length:

        def of_segment(state, inputs):
            size = len(jax.tree.leaves(inputs)[0])
            return loop(step, state, inputs, Way(size, reverse, None, plain))

        again = jax.checkpoint(of_segment, prevent_cse=False)
        division = length // segment, segment, length % segment
        return in_chunks(again, state, inputs, division=division, reverse=reverse)
    if plain or length == 0:
        return scan(step, state, inputs, length=length, reverse=reverse)
    leaves, of_state = jax.tree.flatten(state)
    columns, of_inputs = jax.tree.flatten(inputs)
    structure: dict[str, Any] = {}

    def flat(leaves: list, columns: list) -> list:
        after, outputs = step(
            jax.tree.unflatten(of_state, leaves), jax.tree.unflatten(of_inputs, columns)
        )
        structure["state"] = jax.tree.structure(after)
        outputs, structure["outputs"] = jax.tree.flatten(outputs)
        return [*jax.tree.leaves(after), *outputs]

    closed, leaves = trace(flat, vary_as(leaves, columns), at_first_step(columns))
    if structure["state"] != of_state or not _takes(closed, leaves):
        state = jax.tree.unflatten(of_state, leaves)
        return lax.scan(step, state, inputs, length=length, reverse=reverse)
    program, values = read_program(closed, len(leaves))
    for op in program.outside:
        perform(op, values)
    operands = Operands(
        [[values[p.matrix.number] for p in site.products] for site in program.sites],
        [total(values[ref.number] for ref in site.offsets) for site in program.sites],
        [values[ref.number] for ref in program.needed],
        leaves,
        columns,
    )
    arrays, tree = jax.tree.flatten(operands)
    run = Run(program, length, reverse, tree)
    results = _loop_p.bind(*arrays, run=run)
    after, outputs = results[: len(leaves)], results[len(leaves) :]
    outputs = jax.tree.unflatten(structure["outputs"], outputs)
    return jax.tree.unflatten(of_state, after), outputs


def _takes(closed, leaves: list) -> bool:
    """Whether the loop takes this step: it knows all that the step does, and the state keeps its
    shapes and dtypes (what `lax.scan` says of a state that does not is said there)."""
    alike = [(a.shape, a.dtype) == (b.shape, b.dtype) for a, b in zip(leaves, closed.out_avals)]
    return not closed.effects and all(alike) and is_known(closed.jaxpr)


# --- rules of the primitive -----------------------------------------------------------------------


def _evaluate(*arrays, run: Run) -> list[Array]:
    return run.forward(run.operands(arrays))


def _abstract(*avals, run: Run):
    if in_mesh(avals):  # the types say what lies on which device, and only the loop knows
        closed = jax.make_jaxpr(functools.partial(_evaluate, run=run))(*avals)
        return [aval.update(weak_type=False) for aval in closed.out_avals]
    size = len(run.program.state)
    states = [ShapedArray((*run.sizes[::-1], *a.shape), a.dtype) for a in run.program.state]
    outputs = [
        ShapedArray((run.length, *run.sizes[::-1], *a.shape), a.dtype)
        for a in run.program.avals[size:]
    ]
    return states + outputs


def _batch(arrays, dims, *, run: Run):
    leader, axis = next((x, d) for x, d in zip(arrays, dims) if d is not None)
    size = leader.shape[axis]
    position = run.operands(range(len(arrays)))
    state, columns = set(position.state), set(position.columns)
    moved, batched = [], []
    for i, (x, dim) in enumerate(zip(arrays, dims)):
        if dim is not None:
            x = jnp.moveaxis(x, dim, 1 if i in columns else 0)
        elif i in state:
            x = repeat(x, size, leader, axis)
        moved.append(x)
        batched.append(dim is not None or i in state)
    sizes, batched = (*run.sizes, size), (*run.batched, tuple(batched))
    run = dataclasses.replace(run, sizes=sizes, batched=batched)
    results = _loop_p.bind(*moved, run=run)
    return results, [0 if i < len(state) else 1 for i in range(len(results))]


def _push(arrays, tangents, *, run: Run):
    """The results and their tangents."""
    moved = [None if is_zero(t) else t for t in tangents]
    plan = run.plan
    if plan is None:  # the derivative that `lax.scan` has
        results, moved = push(lambda now: _evaluate(*now, run=run), list(arrays), moved)
        return results, _tangents(results, smooth_alone(moved))
    operands, given = run.operands(arrays), run.operands(tangents)
    results, kept = run.forward_kept(operands, plan)
    moving = [as_array(t) if smooth(a) else None for a, t in zip(operands.state, given.state)]
    derivative = Derivative(run, plan, operands, run.operands(moved))
    after, outputs = derivative.of_all(moving, kept)
    return results, _tangents(results, [*after, *outputs])


def _tangents(results: list, moved: list) -> list:
    """For each result its tangent; one without a derivative has none in `moved`."""
    return [zero_tangent(r) if t is None else t for r, t in zip(results, moved)]


_loop_p = define("recurrent_loop", _evaluate, _abstract, static=["run"], several=True)
on_vmap(_loop_p, _batch)
on_jvp(_loop_p, _push)
