"""Arrays over several devices: how their types say so, and how types are made to agree."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType
from jaxtyping import Array


def varying(aval: Any) -> frozenset:
    """The axes of a `jax.shard_map` along which a value may differ from device to device."""
    return aval.mat.varying


def vary(array: Array, axes: frozenset) -> Array:
    """The same values, by their type different along these axes too."""
    missing = axes - varying(jax.typeof(array))
    return lax.pcast(array, tuple(sorted(missing)), to="varying") if missing else array


def vary_alike(*arrays: Array) -> list[Array]:
    """All with the axes that one of them varies along."""
    axes = frozenset().union(*(varying(jax.typeof(array)) for array in arrays))
    return [vary(array, axes) for array in arrays] if axes else list(arrays)


def in_mesh(avals: Sequence) -> bool:
    """Whether the type of one of these depends on a mesh of devices."""
    return any(not aval.sharding.mesh.empty for aval in avals)


def repeat(array: Array, size: Any, like: Array, axis: int) -> Array:
    """The array `size` times along a new axis 0, spread over devices as `axis` of `like` is."""
    repeated = jnp.broadcast_to(array, (size, *array.shape))
    return beside(repeated, jnp.moveaxis(like, axis, 0), 1)


def beside(array: Array, like: Array | None = None, rank: int = 0) -> Array:
    """The same values, by their type spread over devices as the first `rank` axes of `like` are,
    or, under `vmap`, as the axes are that it maps.

    Asked of an explicit mesh by name, JAX needs a context that says which; so the values are chosen
    from two alike by a condition on `like`, which the compiler takes out again.
    """
    if like is None or AxisType.Explicit not in jax.typeof(like).sharding.mesh.axis_types:
        return array
    condition = (like != like).any(tuple(range(rank, like.ndim)))
    condition = condition.reshape(condition.shape + (1,) * (array.ndim - rank))
    return jnp.where(condition, array, array)
