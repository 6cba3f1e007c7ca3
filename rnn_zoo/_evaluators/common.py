"""How a cell runs, and what its steps are given."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._common.checks import Steps
from .._common.dtypes import working_dtype
from .._engine.mesh import vary
from .._engine.rows import by_rows
from .._engine.unstable import varying
from ..linear import select
from .options import Chunks


class How(NamedTuple):
    """How a cell runs, known when the program is traced."""

    reverse: bool
    keep_states: bool
    segment: int | None = None
    plain: bool = False
    algorithm: str | Chunks = "sequential"
    mesh_axis: str | None = None


def as_floats(cell: Any, *inputs: Array) -> list[Array]:
    return [array.astype(working_dtype(cell, inputs[0])) for array in inputs]


def visible(steps: Steps) -> list[Array]:
    """x, and dt if any, with harmless values where the mask hides a step."""
    if steps.mask is None:
        return [steps.x] if steps.dt is None else [steps.x, steps.dt]
    x = select(steps.mask, steps.x, jnp.zeros_like(steps.x))
    if steps.dt is None:
        return [x]
    return [x, jnp.where(steps.mask, steps.dt, jnp.ones_like(steps.dt))]


def until(more: Callable, turn: Callable, start: Any, *beside: Any) -> Any:
    """`lax.while_loop`; what the turns read besides its state is named.

    In `jax.shard_map` all of the state differs between devices, by type, as soon as some of that
    does; a loop has to begin so.
    """
    wide = functools.partial(_vary_as, beside=(start, beside))
    return lax.while_loop(more, lambda at: wide(turn(at)), wide(start))


def when(flag: Array, function: Callable, at: Any, *beside: Any) -> Any:
    """`function(at)` where the flag holds, else `at`; it costs nothing where it does not."""

    def turn(at):
        return jnp.zeros_like(at[0]), function(at[1])

    return until(lambda at: at[0], turn, (flag, at), *beside)[1]


def repeated(first: int, last: int, turn: Callable, start: Any, *beside: Any) -> Any:
    """`lax.fori_loop`, as `until`."""
    wide = functools.partial(_vary_as, beside=(start, beside))
    return lax.fori_loop(first, last, lambda i, at: wide(turn(i, at)), wide(start))


def _vary_as(tree: Any, beside: Any) -> Any:
    arrays = jax.tree.leaves(eqx.filter(beside, eqx.is_array))
    axes = frozenset().union(*(varying(jax.typeof(array)) for array in arrays))
    return jax.tree.map(lambda leaf: vary(leaf, axes), tree) if axes else tree


def over_time(function: Callable, inputs: list[Array], *, plain: bool = False) -> tuple[Any, Any]:
    """How `function` of the inputs of one step runs over all steps, and what it gives at one step.

    What depends on no input of a step, a scalar dt among them, gets no axis of time.
    """
    in_axes = [0 if array.ndim else None for array in inputs]  # a scalar dt is not per step
    at_one_step = [array[0] if array.ndim else array for array in inputs]
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*at_one_step)
    dependent = {id(v) for v, axis in zip(jaxpr.jaxpr.invars, in_axes) if axis == 0}
    for equation in jaxpr.eqns:
        if any(id(v) in dependent for v in equation.invars):
            dependent.update(id(v) for v in equation.outvars)
    out_axes = [0 if id(v) in dependent else None for v in jaxpr.jaxpr.outvars]
    out_axes = jax.tree.unflatten(jax.tree.structure(shapes), out_axes)
    of_one = function if plain else by_rows(function)
    return functools.partial(jax.vmap(of_one, in_axes=in_axes, out_axes=out_axes), *inputs), shapes
