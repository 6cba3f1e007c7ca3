"""Arrays over several devices: how their types say so, and how types are made to agree."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array

from .unstable import varying


def vary(array: Array, axes: frozenset) -> Array:
    """The same values, by their type different along these axes too."""
    missing = axes - varying(jax.typeof(array))
    return lax.pcast(array, tuple(sorted(missing)), to="varying") if missing else array


def vary_as(arrays: Sequence[Array], others: Sequence[Array]) -> list[Array]:
    """All with the axes that one of the others varies along.

    For the state before a loop: a derivative inside of a step would be summed over the devices of
    a state that is one for all, as long as it is.
    """
    axes = frozenset().union(*(varying(jax.typeof(other)) for other in others))
    return [vary(array, axes) for array in arrays] if axes else list(arrays)


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


def looked_up(table: Array, places: Array) -> Array:
    """Rows of a table, spread over devices as the places are."""
    sharding = jax.typeof(places).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return table[places]
    rest = (None,) * (table.ndim - 1)
    return table.at[places].get(out_sharding=PartitionSpec(*sharding.spec, *rest))


def beside(array: Array, like: Array | None = None, rank: int = 0) -> Array:
    """The same values, by their type spread over devices as the first `rank` axes of `like` are,
    or, under `vmap`, as the axes are that it maps.

    Asked of an explicit mesh by name, JAX needs a context that says which; so the values meet ones
    that are spread as `like` is, and that the compiler takes out again.
    """
    if like is None or AxisType.Explicit not in jax.typeof(like).sharding.mesh.axis_types:
        return array
    true = (like != like).any(tuple(range(rank, like.ndim))) | True
    return _times(array, true.reshape(true.shape + (1,) * (array.ndim - rank)))


def _times(array: Array, true: Array) -> Array:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _times(jr.key_data(array), true[..., None])
        return jr.wrap_key_data(data, impl=jr.key_impl(array))
    if jnp.iscomplexobj(array):
        return lax.complex(_times(array.real, true), _times(array.imag, true))
    return array & true if array.dtype == bool else array * true.astype(array.dtype)
