"""The evaluators as anybody would write them, of `lax.scan` and `lax.associative_scan` alone.

What the package runs instead is faster, and made of primitives of its own. Where a result, a
gradient or a transformation is in doubt, `engine="scan"` runs these: what then stays is no fault of
the engine. The laws hold both equal.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from ..linear import AffineMap, select, varies
from .across_devices import before, place
from .chunks import Way
from .mesh import in_mesh, vary, vary_as
from .unstable import varying


def states(
    maps: AffineMap,
    state: Array,
    way: Way,
    *,
    initial: Array,
    mask: Bool[Array, " time"] | None,
    reset: Bool[Array, " time"] | None,
) -> Array:
    """All states of a linear cell: `lax.associative_scan` over `AffineMap.compose`.

    `state` is the state before the first step, `initial` the one that a reset goes back to.
    """
    maps = _each(maps, state, way.length)
    if mask is not None:
        maps = select(mask, maps, maps.identity())
    if reset is None:
        prefixes = lax.associative_scan(_then, maps, reverse=way.reverse)
        return prefixes.apply(_entering(prefixes, _then, state, way))
    from_initial = maps.apply(jnp.broadcast_to(initial, maps.offset.shape))
    maps = AffineMap(maps.linear, select(reset, from_initial, maps.offset))
    since, prefixes = lax.associative_scan(_then_or_anew, (reset, maps), reverse=way.reverse)
    state = _entering((since, prefixes), _then_or_anew, state, way)
    return select(since, prefixes.offset, prefixes.apply(state))


def _entering(prefixes: Any, then: Callable, state: Array, way: Way):
    """The state before the first step of this device."""
    axis = way.mesh_axis
    if axis is None or lax.axis_size(axis) == 1:
        return state
    total = jax.tree.map(lambda x: x[0 if way.reverse else -1], prefixes)
    earlier = before(total, lambda b, a: then(a, b), axis, way.reverse)
    since, maps = earlier if isinstance(earlier, tuple) else (jnp.array(False), earlier)
    after = select(since, maps.offset, maps.apply(state))
    return select(place(axis, way.reverse) == 0, state, after)


def _then(earlier: AffineMap, later: AffineMap) -> AffineMap:
    return later.compose(earlier)


def _then_or_anew(earlier: tuple, later: tuple) -> tuple:
    """What a reset leaves behind is forgotten by a select, so that not even a NaN passes."""
    reset, maps = later
    return earlier[0] | reset, select(reset, maps, maps.compose(earlier[1]))


def _each(maps: AffineMap, state: Array, length: Any) -> AffineMap:
    """The maps with an axis of time on everything."""
    a, offset = maps.linear.a, maps.offset
    if not varies(maps.linear):
        a = jnp.broadcast_to(a, (length, *a.shape))
    if offset.ndim == state.ndim:
        offset = jnp.broadcast_to(offset, (length, *offset.shape))
    kind: Any = type(maps.linear)
    return AffineMap(kind(a.astype(state.dtype)), offset.astype(state.dtype))


def scan(step: Callable, state: Any, inputs: Any, *, length: Any, reverse: bool) -> tuple[Any, Any]:
    """`lax.scan`. In `jax.shard_map` the state is by its type as different between devices as the
    state after a step is, so that nobody has to say so of an initial state."""
    leaves, tree = jax.tree.flatten(state)
    columns, of_inputs = jax.tree.flatten(inputs)

    def flat(leaves: list, columns: list) -> list:
        now = jax.tree.unflatten(tree, leaves), jax.tree.unflatten(of_inputs, columns)
        return jax.tree.leaves(step(*now)[0])

    if length != 0 and in_mesh([jax.typeof(a) for a in (*leaves, *columns)]):
        leaves = trace(flat, vary_as(leaves, columns), at_first_step(columns))[1]
    return lax.scan(step, jax.tree.unflatten(tree, leaves), inputs, length=length, reverse=reverse)


def at_first_step(columns: list) -> list:
    """The types of the inputs of one step.

    What `jax.eval_shape` gives has lost its mesh where only some axes are manual.
    """
    return list(jax.make_jaxpr(lambda columns: [a[0] for a in columns])(columns).out_avals)


def trace(step: Callable, leaves: list, first: list) -> tuple[Any, list]:
    """The jaxpr of a step, `(state, inputs) -> [*state, ...]`, and the state before it."""
    while True:
        closed = jax.make_jaxpr(step)(leaves, first)
        pairs = zip(leaves, closed.out_avals)
        wider = [vary(a, varying(jax.typeof(a)) | varying(b)) for a, b in pairs]
        if all(a is b for a, b in zip(leaves, wider)):
            return closed, leaves
        leaves = wider
