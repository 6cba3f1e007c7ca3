"""A function of one sample that runs over many with the samples side by side in memory.

`jax.vmap` puts the axis of samples in front. Where a function picks entries of a vector one by one,
and what it does to each is elementwise, samples that lie side by side are better: an entry is a
whole row then, and a sum over entries adds rows. XLA does not find that by itself on the way back.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jaxtyping import Array

from .mesh import vary_alike
from .unstable import as_array, define, is_zero, on_jvp, on_vmap


def samples_last(function: Callable, *arrays: Array) -> Array:
    """`function(*arrays)`, one array, where the function takes each with more axes behind: of
    samples, or of length 1 where an array is one for all.

    The function is hashable, and equal where it does the same; it is part of the program.
    """
    meshes = (jax.typeof(array).sharding.mesh for array in arrays)
    if any(AxisType.Explicit in mesh.axis_types for mesh in meshes):
        return function(*arrays)
    return _samples_last_p.bind(*vary_alike(*arrays), function=function)


def _evaluate(*arrays, function):
    return function(*arrays)


def _abstract(*avals, function):
    (aval,) = jax.make_jaxpr(function)(*avals).out_avals
    return aval.update(weak_type=False)


def _push(arrays, tangents, *, function):
    moving = [i for i, tangent in enumerate(tangents) if not is_zero(tangent)]

    def of_moving(*values: Any):
        changed = dict(zip(moving, values, strict=True))
        return function(*(changed.get(i, a) for i, a in enumerate(arrays)))

    return jax.jvp(of_moving, [arrays[i] for i in moving], [as_array(tangents[i]) for i in moving])


def _batch(arrays, dims, *, function):
    moved = [
        a[..., None] if dim is None else jnp.moveaxis(a, dim, -1) for a, dim in zip(arrays, dims)
    ]
    result = _samples_last_p.bind(*moved, function=function)
    return result, result.ndim - 1


_samples_last_p = define("samples_last", _evaluate, _abstract, static=["function"], several=False)
on_jvp(_samples_last_p, _push)
on_vmap(_samples_last_p, _batch)
