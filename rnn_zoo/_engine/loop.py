"""`lax.scan` of a step, with a derivative that is cheap in time and memory.

Autodiff of a scan keeps every intermediate value of every step, and adds to the gradient of each
weight matrix at every step; `vmap` moves the batch axis of whatever the scan reads. So the loop is
a primitive of its own. It keeps the states and the values of the product sites (`_program.py`);
the way back computes the rest of a step anew, inside one loop, and gets the gradient of a matrix,
and of the inputs, from one large matrix product per chunk of steps (`_tangents.py`). `vmap` adds an
axis behind that of time.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .chunks import Length, in_chunks
from .known import is_known
from .mesh import in_mesh, repeat, vary_as
from .plain import scan, trace
from .plan import Plan, make_plan, smooth
from .program import Program, perform, read_program
from .tangents import Derivative, take
from .unstable import ShapedArray, as_array, define, is_zero, on_jvp, on_vmap, zero_tangent


def loop(
    step: Callable,
    state: Any,
    inputs: Any,
    *,
    length: Length,
    reverse: bool = False,
    segment: int | None = None,
    plain: bool = False,
) -> tuple[Any, Any]:
    """`lax.scan(step, state, inputs, length, reverse)`; with `plain` that itself.

    With `segment`, a derivative keeps the states between segments of so many steps, and runs each
    segment once more.
    """
    if segment is not None and segment < length:

        def of_segment(state, inputs):
            size = len(jax.tree.leaves(inputs)[0])
            return loop(step, state, inputs, length=size, reverse=reverse, plain=plain)

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

    first = [jax.eval_shape(lambda a: a[0], column) for column in columns]
    closed, leaves = trace(flat, vary_as(leaves, columns), first)
    if structure["state"] != of_state or not _takes(closed, leaves):
        state = jax.tree.unflatten(of_state, leaves)
        return lax.scan(step, state, inputs, length=length, reverse=reverse)
    program, values = read_program(closed, len(leaves))
    for op in program.outside:
        perform(op, values)
    operands = Operands(
        [site.constants(values) for site in program.sites],
        [[values[p.matrix.number] for p in site.products] for site in program.sites],
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


class Operands(NamedTuple):
    """What a loop works on, or one thing for each: a tangent, an axis."""

    sites: list  # what `Site.constants` gives
    originals: list  # the matrices as the step has them; the derivative is written with them
    constants: list
    state: list
    columns: list  # the inputs of all steps


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A loop without its operands. Each level of `vmap` adds an axis: in front of constants and
    states, behind time in columns and outputs. The last level comes first."""

    program: Program
    length: Length
    reverse: bool
    tree: Any
    sizes: tuple[Length, ...] = ()
    batched: tuple[tuple[bool, ...], ...] = ()  # by level, by operand

    @functools.cached_property
    def plan(self) -> Plan | None:
        return make_plan(self.program)

    def operands(self, flat: Sequence) -> Operands:
        return jax.tree.unflatten(self.tree, flat)

    def axes(self) -> list[Operands]:
        """For each level the axis of each operand at one step, 0 or None."""
        return [self.operands([0 if b else None for b in level]) for level in self.batched]

    def over_batch(self, function: Callable, arguments: Callable) -> Callable:
        """`function` under the levels of `vmap`; `arguments` gives its axes from `axes()`."""
        for axes in self.axes():
            function = jax.vmap(function, in_axes=arguments(axes))
        return function

    def forward(self, operands: Operands, *, keep: bool) -> tuple[list, Any]:
        """The last state and all outputs; and, to keep, the states after every step and the values
        of the plan's sites and activations."""
        program, size = self.program, len(operands.state)
        shared = program.shared if keep else {}  # an output that is a state is kept once

        def at_step(sites, constants, state, columns):
            sums, activations = [], {}

            def product(number, vectors):
                sums.append(program.sites[number].value(sites[number], vectors))
                return sums[-1]

            def activation(op, operand):
                (value,) = op(operand)
                activations[op.results[0].number] = value
                return value

            results = program.run(constants, state, columns, product, activation)
            kept = None
            if keep:
                plan = self.plan
                assert plan is not None, "without a plan the derivative is that of the scan"
                kept = take(sums, plan.sites), [activations[n] for n in plan.activations]
            outputs = [r for i, r in enumerate(results[size:]) if i not in shared]
            return results[:size], outputs, kept

        of_all = self.over_batch(at_step, lambda a: (a.sites, a.constants, 0, a.columns))

        def body(state, columns):
            after, outputs, kept = of_all(operands.sites, operands.constants, state, columns)
            return after, (outputs, (after, kept) if keep else None)

        # The columns say the length themselves, where there are any: also one that is a symbol.
        length = None if operands.columns else self.length
        after, (outputs, kept) = lax.scan(
            body, operands.state, operands.columns, length=length, reverse=self.reverse
        )
        if kept is not None:
            for i, state in shared.items():
                outputs.insert(i, kept[0][state])
        return [*after, *outputs], kept


# --- rules of the primitive -----------------------------------------------------------------------


def _evaluate(*arrays, run: Run) -> list[Array]:
    return run.forward(run.operands(arrays), keep=False)[0]


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
    if run.plan is None:
        return _push_as_scan(arrays, tangents, run)
    operands, moved = run.operands(arrays), run.operands(tangents)
    results, kept = run.forward(operands, keep=True)
    derivative = Derivative(run, operands, moved)
    moving = [as_array(t) for a, t in zip(operands.state, moved.state) if smooth(a)]
    moving, outputs = derivative.of_all(moving, *kept)
    return results, _tangents(results, [*moving, *outputs])


def _push_as_scan(arrays, tangents, run: Run):
    """The derivative that `lax.scan` has."""
    moving = [i for i, t in enumerate(tangents) if not is_zero(t)]

    def of_moving(*values):
        changed = dict(zip(moving, values, strict=True))
        return _evaluate(*(changed.get(i, a) for i, a in enumerate(arrays)), run=run)

    at = [arrays[i] for i in moving], [tangents[i] for i in moving]
    results, moved = jax.jvp(of_moving, *at)
    return results, _tangents(results, [t for r, t in zip(results, moved) if smooth(r)])


def _tangents(results: list, moved: list) -> list:
    """For each result its tangent, of those that results with a derivative have."""
    remaining = iter(moved)
    return [next(remaining) if smooth(r) else zero_tangent(r) for r in results]


_loop_p = define("recurrent_loop", _evaluate, _abstract, static=["run"], several=True)
on_vmap(_loop_p, _batch)
on_jvp(_loop_p, _push)
