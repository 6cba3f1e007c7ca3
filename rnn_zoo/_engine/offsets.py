"""The offsets of a linear recurrence, with what begins it worked into them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..linear import AffineMap, select, varies
from .across_devices import place
from .chunks import Way
from .mesh import in_mesh, vary_alike


def with_start(maps: AffineMap, state: Array, steps: Any, way: Way, initial: Array) -> Array:
    """The offsets, with the state before the first step and the resets worked into them.

    `steps` has `mask` and `reset`; `initial` is the state that a reset goes back to.
    """
    linear, offset = maps.linear, maps.offset
    if offset.ndim == jnp.ndim(state):  # an offset that does not depend on x
        offset = jnp.broadcast_to(offset, (way.length, *offset.shape))
    offset = offset.astype(state.dtype)
    first = way.length - 1 if way.reverse else 0
    if jnp.iscomplexobj(state):
        # Under `vmap` one for each sample, from here on: otherwise a gradient in a state that is
        # one for all may add two sums over devices, on which XLA aborts (jaxlib 0.10.2 and 0.12).
        state, initial = (
            jnp.where(False, offset[first].astype(s.dtype), s) for s in (state, initial)
        )
    if steps.mask is not None:
        offset = select(steps.mask, offset, jnp.zeros_like(offset))

    def through(linear, mask, h):
        return linear.apply(h) if mask is None else select(mask, linear.apply(h), h)

    at_first = jax.tree.map(lambda a: a[first], linear) if varies(linear) else linear
    if steps.reset is not None:
        state = select(steps.reset[first], initial, state)
    mask = None if steps.mask is None else steps.mask[first]
    start = offset[first] + through(at_first, mask, state)
    if steps.reset is not None:
        every = through(linear, steps.mask, jnp.broadcast_to(initial, offset.shape))
        offset = select(steps.reset, offset + every, offset)
    if way.mesh_axis is not None:  # the first step of all is on one device
        there = place(way.mesh_axis, way.reverse) == 0
        start = jnp.where(there, start, offset[first])
    return _with_first(offset, start, way.reverse)


def _with_first(offset: Array, start: Array, reverse: bool) -> Array:
    """The offsets with another one for the first step to be processed."""
    if not in_mesh([jax.typeof(offset)]):
        return offset.at[-1 if reverse else 0].set(start)
    # An update in place under `vmap` is a scatter, which asks how its result is to be spread.
    parts = [offset[:-1], start[None]] if reverse else [start[None], offset[1:]]
    return jnp.concatenate(vary_alike(*parts))
