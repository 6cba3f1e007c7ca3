"""One sequence over the devices of a mesh axis: each has a part of the steps, in their order.

What a device does to the state before its part is one map of the state's size. The maps are what
passes between devices, in log2(devices) rounds; the sequence itself never moves.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jax.sharding import AxisType, PartitionSpec, get_abstract_mesh, reshard
from jaxtyping import Array

from ..linear import select
from .mesh import vary


# Part of the key of jax's caches, as the engine's own choice is.
_AXIS = jax.make_user_context(None)
_BACKWARDS = jax.make_user_context(False)


@contextlib.contextmanager
def over(axis: str | None) -> Iterator[None]:
    """Sequences inside are spread over this axis; None changes nothing. TypeError for no name."""
    if axis is None:
        yield
        return
    if not isinstance(axis, str):
        raise TypeError(
            f"expected mesh_axis to be the name of one axis of a mesh, such as 'time', got {axis!r}"
        )
    with _AXIS(axis):
        yield


@contextlib.contextmanager
def backwards() -> Iterator[None]:
    """Sequences inside run the other way: so a layer that steps is read from its end."""
    with _BACKWARDS(not _BACKWARDS.value):
        yield


def turned(reverse: bool) -> bool:
    """The way that a sequence runs which was asked to run so."""
    return bool(reverse) != _BACKWARDS.value


def chosen() -> str | None:
    """The axis that sequences are spread over."""
    return _AXIS.value


def inside() -> str | None:
    """The same where every device sees its own part already, in `jax.shard_map`; else None."""
    axis = chosen()
    return axis if axis in get_abstract_mesh().manual_axes else None


def outside(length: Any) -> str | None:
    """The same where a sequence of this length is still whole; an empty one has no parts."""
    return None if inside() or (isinstance(length, int) and length == 0) else chosen()


def check_cell(cell: Any, method: Any, remat: Any, keep_states: bool) -> None:
    """A ValueError for what cannot be spread: a cell, or a way to run it."""
    name, layer = type(cell).__name__, hasattr(cell, "scan") and not cell.linear
    if layer and keep_states:
        raise ValueError(f"{name} has no trajectory over devices: ask for those of its parts")
    if not cell.linear and not hasattr(cell, "pushed") and not layer:
        raise ValueError(
            f"{name} is not a linear cell, so its steps cannot be spread over the devices of a "
            "mesh axis: rz.list_cells(linear=True) names the cells that can, besides them "
            'ShortConv; ask for method="chunks", drop mesh_axis, or spread the batch instead'
        )
    if not hasattr(cell, "pushed") and (method == "sequential" or remat is not None):
        given = 'method="sequential"' if remat is None else "remat"
        raise ValueError(
            f"{given} goes through a sequence on one device: drop it, or drop mesh_axis"
        )


# --- from the whole to its parts ------------------------------------------------------------------


@eqx.filter_jit
def in_parts(function: Callable, whole: Any, parts: Any, *options: Any) -> tuple[Any, Any]:
    """`function(whole, parts, *options)` on each device, with its part of the time of `parts`.

    It returns what is the same on all devices, and what has an axis of time. ValueError where the
    mesh in use has no such axis, or its devices do not divide the number of steps.
    """
    axis = chosen()
    assert axis is not None
    (length,) = {x.shape[0] for x in jax.tree.leaves(parts) if x.ndim}
    _check_mesh(axis, length)
    arrays, rest = eqx.partition(whole, eqx.is_array)
    whole_spec, time = PartitionSpec(), PartitionSpec(axis)
    specs = jax.tree.map(lambda x: time if x.ndim else whole_spec, parts)
    mesh = get_abstract_mesh()
    if dict(zip(mesh.axis_names, mesh.axis_types))[axis] is AxisType.Explicit:
        parts = jax.tree.map(lambda x, spec: reshard(x, spec), parts, specs)

    def part(arrays: Any, parts: Any) -> Any:
        return function(eqx.combine(arrays, rest), parts, *options)

    return jax.shard_map(
        part, in_specs=(whole_spec, specs), out_specs=(whole_spec, time), axis_names={axis}
    )(arrays, parts)


def own(cell: Any) -> Any:
    """The cell as each device has it, by its type.

    Otherwise the gradient of what is made of it for each step would be summed over the devices for
    each step, and not once for each parameter.
    """
    axes = frozenset([chosen()])
    return jax.tree.map(lambda a: vary(a, axes) if eqx.is_array(a) else a, cell)


def _check_mesh(axis: str, length: int) -> None:
    mesh = get_abstract_mesh()
    if axis not in mesh.axis_names:
        there = f"axes {mesh.axis_names}" if mesh.axis_names else "no mesh"
        raise ValueError(
            f"expected a mesh with an axis {axis!r}, as mesh_axis says, got {there}: call it "
            f"inside `with jax.set_mesh(jax.make_mesh((devices,), ({axis!r},))):`, or inside "
            "jax.shard_map over that axis; mesh_axis=None runs on one device"
        )
    size = mesh.shape[axis]
    if length % size:
        more = -length % size
        raise ValueError(
            f"expected a number of steps that the {size} devices of mesh axis {axis!r} divide, "
            f"got {length}: add {more} steps behind the last and hide them with mask="
            f"rz.lengths_to_mask([{length}], {length + more})[0]"
        )


# --- what passes between devices ------------------------------------------------------------------


def place(axis: str, reverse: bool) -> Array:
    """0 for the device whose steps are processed first, 1 for the next one."""
    index = lax.axis_index(axis)
    return lax.axis_size(axis) - 1 - index if reverse else index


def handed_on(tree: Any, axis: str, reverse: bool, distance: int = 1) -> Any:
    """What the device so many places earlier has; zeros where there is none."""
    size = lax.axis_size(axis)
    pairs = [(i, i + distance) for i in range(size - distance)]
    if reverse:
        pairs = [(to, source) for source, to in pairs]
    return jax.tree.map(lambda x: lax.ppermute(x, axis, pairs), tree)


def before(total: Any, compose: Callable, axis: str, reverse: bool) -> Any:
    """What all earlier devices do, one after the other; zeros on the first, None on a lone one.

    `total`: what this device does. `compose(later, earlier)` is associative. Each round doubles
    the number of devices that a message speaks of.
    """
    size, here = lax.axis_size(axis), place(axis, reverse)
    window, result, distance = total, None, 1
    while distance < size:
        received = handed_on(window, axis, reverse, distance)
        there = here >= distance
        if result is None:
            result = received
        else:
            result = select(there, compose(result, received), result)
        distance *= 2
        if distance < size:
            window = select(there, compose(window, received), window)
    return result


def from_device(tree: Any, index: Any, axis: str) -> Any:
    """What one device has, on all; zeros where the index names none."""
    here = lax.axis_index(axis) == index
    return jax.tree.map(lambda x: lax.psum(jnp.where(here, x, jnp.zeros_like(x)), axis), tree)


def from_last(tree: Any, axis: str, reverse: bool) -> Any:
    """What the device has that is processed last, on all."""
    return from_device(tree, 0 if reverse else lax.axis_size(axis) - 1, axis)


def ends(first: Array, last: Array, mask: Array | None, axis: str) -> tuple[Array, Array]:
    """What the first and the last device that has a valid step reads there, on all devices.

    `first`, `last`: what this device reads at its first and its last valid step.
    """
    here, size = lax.axis_index(axis), lax.axis_size(axis)
    if mask is None:
        return from_device(first, 0, axis), from_device(last, size - 1, axis)
    valid = mask.any()
    one = lax.pmin(jnp.where(valid, here, size), axis)
    other = lax.pmax(jnp.where(valid, here, -1), axis)
    return from_device(first, one, axis), from_device(last, other, axis)


def first_key(keys: Array, axis: str) -> Array:
    """The key of the first step of the whole sequence."""
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        return from_device(keys[0], 0, axis)
    data = from_device(jr.key_data(keys[0]), 0, axis)
    return jr.wrap_key_data(data, impl=jr.key_impl(keys))


def own_part(array: Array, axis: str) -> Array:
    """The steps of this device, of an array that every device has whole."""
    length = array.shape[0] // lax.axis_size(axis)
    return lax.dynamic_slice_in_dim(array, lax.axis_index(axis) * length, length)


# --- products of A --------------------------------------------------------------------------------


def product(a: Array, kind: Any, axis: int) -> Array:
    """A_n ... A_1 along an axis, which stays with length 1."""
    while (length := a.shape[axis]) > 1:
        earlier = lax.slice_in_dim(a, 0, length - 1, 2, axis)
        later = lax.slice_in_dim(a, 1, length, 2, axis)
        pairs = kind(later).compose(kind(earlier)).a
        rest = lax.slice_in_dim(a, length - length % 2, length, axis=axis)
        a = jnp.concatenate([pairs, rest], axis) if length % 2 else pairs
    return a


def power(a: Array, kind: Any, count: Array, most: int) -> Array:
    """A^count for counts up to `most`; a count has an axis for each axis of `a` before A's own.

    A real diagonal is raised by its logarithm: every squaring doubles the relative error of a
    power, so that A^n is n roundings off, and its exponential is off by one of its exponent.
    """
    if kind.rank == 1 and not jnp.iscomplexobj(a):
        count = count[..., None]
        size = jnp.exp(count.astype(a.dtype) * jnp.log(jnp.abs(a)))
        size = jnp.where((a < 0) & (count % 2 == 1), -size, size)
        return jnp.where(count == 0, jnp.ones_like(a), size)
    result = kind(a).identity().a
    result = jnp.broadcast_to(
        result, (*jnp.broadcast_shapes(count.shape, a.shape[: count.ndim]), *a.shape[count.ndim :])
    )
    for bit in range(most.bit_length()):
        result = select((count >> bit) & 1 == 1, kind(a).compose(kind(result)).a, result)
        a = kind(a).compose(kind(a)).a
    return result
