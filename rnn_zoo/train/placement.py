"""Where the samples of a batch and what is on every device lie.

The devices may be those of several processes. Then a process holds the rows of its own devices and
nothing else of a batch, and a copy of what is on every device.
"""

import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import PyTree

from ..data.batches import Batch


def sharding_of(mesh: Any) -> NamedSharding | None:
    """How the samples lie on devices: over all axes of a mesh, or over those that a sharding names
    for axis 0."""
    if mesh is None:
        return None
    if isinstance(mesh, NamedSharding):
        spec, mesh = mesh.spec, mesh.mesh
    else:
        spec = P(getattr(mesh, "axis_names", ()))
    if not isinstance(mesh, Mesh):
        raise TypeError(
            "expected mesh as a jax.sharding.Mesh, jax.make_mesh((2,), ('data',)), or a "
            f"NamedSharding over one, got {mesh!r}"
        )
    if len(spec) != 1 or spec[0] is None:
        raise ValueError(
            f"expected a sharding of the samples alone, axis 0 of a batch, as P('data'), got {spec}"
        )
    _check_processes(mesh)
    # The model need not know of the devices, whatever kind the axes are of.
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), spec)


def parts(sharding: NamedSharding) -> int:
    """How many parts a batch is cut into."""
    axes = sharding.spec[0]
    names = axes if isinstance(axes, tuple) else (axes,)
    return math.prod(sharding.mesh.shape[name] for name in names)


def _check_processes(mesh: Mesh) -> None:
    those = {device.process_index for device in mesh.devices.flat}
    if those not in ({jax.process_index()}, set(range(jax.process_count()))):
        raise ValueError(
            f"expected a mesh over devices of all {jax.process_count()} processes, "
            "jax.make_mesh((jax.device_count(),), ('data',)), or of this one alone, got one over "
            f"devices of processes {sorted(those)} in process {jax.process_index()}"
        )


def is_shared(sharding: NamedSharding | None) -> bool:
    """Whether other processes have a part in it."""
    return sharding is not None and not sharding.is_fully_addressable


def own_rows(sharding: NamedSharding | None, samples: int) -> np.ndarray | None:
    """Which rows of so many samples lie on devices of this process; None for all."""
    if sharding is None or not is_shared(sharding) or samples % parts(sharding):
        return None
    slices = sharding.addressable_devices_indices_map((samples,)).values()
    rows = [np.arange(samples)[at] for at in slices if at is not None]
    return np.unique(np.concatenate(rows))


def whole_size(sharding: NamedSharding | None, own: int) -> int:
    """How many samples a batch has of which this process has so many."""
    if sharding is None or not is_shared(sharding):
        return own
    return own * parts(sharding) // own_parts(sharding)


def own_parts(sharding: NamedSharding) -> int:
    """How many parts of a batch this process has."""
    rows = own_rows(sharding, parts(sharding))
    return parts(sharding) if rows is None else len(rows)


def require_parts(sharding: NamedSharding, size: int, name: str, own: bool = False) -> None:
    """ValueError for a batch, or with `own` a process's part, that devices cannot share equally."""
    count = own_parts(sharding) if own else parts(sharding)
    where = " of this process" if own and is_shared(sharding) else ""
    if size % count:
        below, above = size - size % count, size + count - size % count
        fit = f"{above}" if not below else f"{below} and {above}"
        raise ValueError(
            f"expected {name} that {count} devices{where} share equally, got {size}: multiples of "
            f"{count} do, the nearest are {fit}"
        )


def place(batch: Batch, sharding: NamedSharding | None, samples: int | None = None) -> Batch:
    """A batch of so many samples on its devices; one that they cannot share equally stays whole.

    `batch` has the rows that `own_rows` says, all of them by default.
    """
    if sharding is None:
        return batch
    samples = len(batch) if samples is None else samples
    if not is_shared(sharding):
        if samples % parts(sharding):
            return replicate(batch, sharding)
        return eqx.filter_shard(batch, sharding)
    rows = own_rows(sharding, samples)
    if rows is None:
        return spread(batch, sharding)
    return jax.tree.map(lambda leaf: _assemble(leaf, sharding, rows, samples), batch)


def _assemble(own: Any, sharding: NamedSharding, rows: np.ndarray, samples: int) -> jax.Array:
    """An array of all processes, of which this one has some rows."""
    shape = (samples, *own.shape[1:])

    def part(at):
        first, last, _ = at[0].indices(samples)
        begin = int(np.searchsorted(rows, first))
        return own if last - first == len(own) else own[begin : begin + last - first]

    # From device to device, and not through the host: that is where the rows are already.
    places = sharding.addressable_devices_indices_map(shape).items()
    held = [jax.device_put(part(at), device) for device, at in places if at is not None]
    return jax.make_array_from_single_device_arrays(shape, sharding, held)


def replicate(tree: PyTree, sharding: NamedSharding | None) -> PyTree:
    """The arrays of a tree on every device, inside a program."""
    return tree if sharding is None else eqx.filter_shard(tree, NamedSharding(sharding.mesh, P()))


def spread(tree: PyTree, sharding: NamedSharding | None) -> PyTree:
    """The arrays of a tree, which every process has, on every device."""
    if sharding is None or not is_shared(sharding):
        return replicate(tree, sharding)
    everywhere = NamedSharding(sharding.mesh, P())

    def put(leaf):
        if not eqx.is_array(leaf) or not leaf.is_fully_addressable:
            return leaf
        copies = [jax.device_put(leaf, device) for device in everywhere.addressable_devices]
        return jax.make_array_from_single_device_arrays(leaf.shape, everywhere, copies)

    return jax.tree.map(put, tree)


def local(tree: PyTree) -> PyTree:
    """The copy that this process has of arrays on every device: one can save and draw it alone."""

    def take(leaf):
        away = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        return leaf.addressable_data(0) if away else leaf

    return jax.tree.map(take, tree)
