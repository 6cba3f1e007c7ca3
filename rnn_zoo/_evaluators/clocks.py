"""Integers and flags of a state, before each step, without going through the steps.

A chunk begins with a state, and the vector that is guessed holds real numbers alone. What else is
in a state has to follow from itself: a clock, which comes round, or what never changes.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AbstractMesh, use_abstract_mesh
from jaxtyping import Array

from .._common.checks import Steps
from .._common.keys import is_key
from .._common.runtime import runtime_error_if
from .._common.vectors import moves
from .._engine.unstable import Literal, Tracer, as_function
from .line import Line


LONGEST = 4096


def fixed_parts(cell: Any, state: Any, steps: Steps, line: Line) -> Any:
    """Of the state before each step what is no part of its vector, (time, ...), else None.

    TypeError for a cell whose integers or flags depend on its inputs or on the rest of the state,
    and for one that keeps nothing else.
    """
    given, structure = jax.tree.flatten(state)
    with _now():
        initial = jax.tree.leaves(cell.init_state())
    places = [i for i, leaf in enumerate(given) if not moves(leaf)]
    if len(places) == len(given):
        raise TypeError(
            f"{type(cell).__name__} keeps no real or complex numbers from step to step: "
            'method="chunks" looks for such states; use method="sequential"'
        )
    found: list = [None] * len(given)
    if places:
        own, first = [given[i] for i in places], [initial[i] for i in places]
        before = _constant(cell, state, places, (own, first), steps, line)
        for i, leaf in zip(places, before):
            found[i] = leaf
    return jax.tree.unflatten(structure, found)


def _constant(cell, state, places, starts: tuple, steps: Steps, line: Line) -> list[Array]:
    own, first = starts
    tick, constant = _ticking(cell, state, places, steps)
    if constant:
        if steps.reset is None:
            return [jnp.broadcast_to(leaf, (steps.length, *leaf.shape)) for leaf in own]
        # What a reset does shows from the step on whose state it changed.
        ever = lax.cummax(steps.reset.astype(jnp.int8)) > 0
        earlier = line.earlier(ever[-1].astype(jnp.int8)).any()
        since = earlier | jnp.concatenate([jnp.zeros(1, bool), ever[:-1]])
        return [_either(since, a, b) for a, b in zip(first, own)]
    table, back = _table(cell, tick, first)
    length = table[0].shape[0]
    equal = [(t == leaf[None]).reshape(length, -1).all(1) for t, leaf in zip(table, own)]
    equal = jnp.stack(equal).all(0)
    place = runtime_error_if(
        jnp.argmax(equal),
        ~equal.any(),
        f"{type(cell).__name__} was given a state whose integers or flags its clock never reaches "
        'from those of its initial state: method="chunks" follows that clock; use '
        'method="sequential", or a state that the cell came to',
    )
    happens = jnp.ones(steps.length, jnp.int32)
    if steps.mask is not None:
        happens = steps.mask.astype(jnp.int32)
    before = jnp.cumsum(happens) - happens + jnp.sum(line.earlier(jnp.sum(happens)))
    count = before + place
    if steps.reset is not None:
        last = lax.cummax(jnp.where(steps.reset, before, -1))
        earlier = jnp.max(line.earlier(last[-1] + 1)) - 1
        last = jnp.concatenate([jnp.full(1, -1), last[:-1]])
        last = jnp.maximum(last, earlier)
        count = jnp.where(last >= 0, before - last, count)
    # Behind its last row the table goes on with the row that follows it, as a clock comes round.
    count = jnp.where(count < length, count, back + (count - back) % (length - back))
    return [rows[count] for rows in table]


def _either(flags: Array, yes: Array, no: Array) -> Array:
    shape = (*flags.shape, *jnp.shape(yes))
    flags = flags.reshape(flags.shape + (1,) * jnp.ndim(yes))
    return jnp.where(flags, jnp.broadcast_to(yes, shape), jnp.broadcast_to(no, shape))


def _ticking(cell, state, places: list[int], steps: Steps):
    """What a step does to these leaves, as a function of them alone; whether it does nothing."""
    leaves, structure = jax.tree.flatten(state)
    arrays, static = eqx.partition(cell, eqx.is_array)

    def tick(own, rest, at: Steps, arrays):
        cell = eqx.combine(arrays, static)
        own, rest = iter(own), iter(rest)
        full = [next(own) if i in places else next(rest) for i in range(len(leaves))]
        full = jax.tree.unflatten(structure, full)
        after, _ = cell.advance(cell.constants(), full, at.x, at.dt, at.key)
        after = jax.tree.leaves(after)
        return [after[i] for i in places]

    dt = steps.dt if steps.dt is None or steps.dt.ndim == 0 else steps.dt[0]
    at = Steps(steps.x[0], dt, key=None if steps.key is None else steps.key[0])
    own = [leaves[i] for i in places]
    rest = [leaf for i, leaf in enumerate(leaves) if i not in places]
    # By their shapes alone: a clock ticks alike on all devices.
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (own, rest, at, arrays))
    with use_abstract_mesh(AbstractMesh((), ())):
        closed = jax.make_jaxpr(tick)(*shapes)
    jaxpr = closed.jaxpr
    if list(jaxpr.outvars) == list(jaxpr.invars[: len(own)]):
        return None, True
    # All but the leaves themselves, and constants that are known now, is foreign to a clock.
    foreign = set(jaxpr.invars[len(own) :])
    foreign |= {v for v, c in zip(jaxpr.constvars, closed.consts) if isinstance(c, Tracer)}
    for equation in jaxpr.eqns:
        read = {v for v in equation.invars if not isinstance(v, Literal)}
        if read & foreign:
            foreign |= set(equation.outvars)
    moved = any(not isinstance(v, Literal) and v in foreign for v in jaxpr.outvars)
    if moved or any(map(is_key, own)):
        raise TypeError(
            f"{type(cell).__name__} keeps integers or flags that depend on its inputs or on the "
            'rest of its state, or random keys: method="chunks" takes states of real numbers, of '
            'clocks and of what never changes; use method="sequential"'
        )

    def alone(own: list) -> list:
        known = [_blank(v) if v in foreign else c for v, c in zip(jaxpr.constvars, closed.consts)]
        others = [_blank(v) for v in jaxpr.invars[len(own) :]]
        return as_function(closed.replace(consts=known))(*own, *others)

    return alone, False


def _table(cell, tick, first: list) -> tuple[list[Array], int]:
    """The leaves from the initial state on until they come round, and the row they come back to."""
    name = type(cell).__name__
    if any(isinstance(leaf, Tracer) for leaf in first):
        raise TypeError(
            f"{name} starts its clock from an array that is not known while a program is traced: "
            'make it a static field (a tuple of numbers), or use method="sequential"'
        )
    with _now():
        now = [jnp.asarray(leaf) for leaf in first]
        rows, places = [], {}
        while _bytes(now) not in places:
            if len(rows) == LONGEST:
                raise TypeError(
                    f"{name} has a clock that does not come round within {LONGEST} steps: use "
                    'method="sequential"'
                )
            places[_bytes(now)] = len(rows)
            rows.append(now)
            now = tick(now)
        table = [np.stack([np.asarray(leaf) for leaf in leaves]) for leaves in zip(*rows)]
    # As arrays of the program's own devices.
    return [jnp.asarray(rows) for rows in table], places[_bytes(now)]


@contextlib.contextmanager
def _now() -> Iterator[None]:
    """Arrays inside have values while a program is traced, on whatever devices that will run."""
    with use_abstract_mesh(AbstractMesh((), ())), jax.ensure_compile_time_eval():
        yield


def _blank(variable: Any) -> Array:
    return jnp.zeros(variable.aval.shape, variable.aval.dtype)


def _bytes(leaves: list) -> tuple:
    return tuple(np.asarray(leaf).tobytes() for leaf in leaves)
