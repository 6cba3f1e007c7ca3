"""From the outputs of a sequence to one vector."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._common.checks import Steps
from .._engine import across_devices
from .base import Directions


POOLS = ("last", "mean", None)


def check_pool(name: str | None, known: tuple = POOLS) -> str | None:
    """`name` where it is known, else a ValueError."""
    if name not in known:
        raise ValueError(f"expected pool to be one of {known}, got {name!r}")
    return name


def pool_over_time(name: str, directions: Directions, ys: Array, steps: Steps) -> Array:
    """ "last": each direction's output at the last valid step that it processes; "mean": over
    the valid steps. Zeros where no step is valid. Outputs are zero where masked."""
    mask, axis = steps.mask, across_devices.inside()
    if name == "mean":
        valid, total = steps.length if mask is None else jnp.sum(mask), jnp.sum(ys, axis=0)
        if axis is not None:
            valid, total = lax.psum((valid, total), axis)
        return total / jnp.maximum(valid, 1).astype(ys.dtype)
    if steps.length == 0:
        return jnp.zeros(pooled_size(directions), ys.dtype)
    if mask is None:
        first, last = (lax.index_in_dim(ys, step, keepdims=False) for step in (0, -1))
    else:
        # Without a valid step both indices name a masked one, whose output is zero.
        last = steps.length - 1 - jnp.argmax(mask[::-1])
        first, last = jnp.take(ys, jnp.argmax(mask), axis=0), jnp.take(ys, last, axis=0)
    if axis is not None:
        first, last = across_devices.ends(first, last, mask, axis)
    ends = [(first if backward else last)[start:stop] for start, stop, backward in directions]
    return jnp.concatenate(ends)


def pooled_size(directions: Directions) -> int:
    """How many features the pool "last" reads."""
    return sum(stop - start for start, stop, _ in directions)
