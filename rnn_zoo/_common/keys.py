"""Keys: one, or one for each step."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array

from .._engine import across_devices
from .._engine.chunks import Length


def check_key(key: Any) -> Any:
    """A TypeError for what is no key."""
    if not hasattr(key, "dtype") or not hasattr(key, "ndim"):
        raise TypeError(f"expected a key such as jax.random.key(0), got {key!r}")
    return key


def is_key(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jax.dtypes.prng_key))


def step_keys(key, length: Length, *, reverse: bool = False) -> Array | None:
    """One key per step: a single key is split, (time,) keys are taken as they are.

    Splitting is in processing order, so that a reversed run draws what a run over the
    flipped sequence draws.
    """
    if key is None:
        return None
    rank = key_rank(key)
    if rank == 0:
        axis = across_devices.inside()
        if axis is None:
            keys = jr.split(key, length)
        else:  # those that these steps have in the whole sequence
            keys = across_devices.own_part(jr.split(key, length * lax.axis_size(axis)), axis)
        return keys[::-1] if reverse else keys
    if rank == 1 and key.shape[0] == length:
        return key
    raise ValueError(f"expected one key or {length} keys, one per step of xs, got {key.shape}")


def key_rank(key: Any) -> int:
    """The number of axes of an array of keys: 0 for one key, typed or old-style."""
    return key.ndim if is_key(check_key(key)) else key.ndim - 1


def spread_keys(keys: Array | None, parts: int) -> list[Array | None]:
    """Independent (time,) keys for each of several parts, from (time,) keys."""
    if keys is None:
        return [None] * parts
    spread = jax.vmap(lambda key: jr.split(key, parts), out_axes=1)(keys)
    return [spread[i] for i in range(parts)]
