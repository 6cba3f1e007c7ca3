"""Where the chunks of a sequence lie: on one device, or in equal parts on those of a mesh axis.

States pass between devices, and what is decided of them; the sequence stays where it is. What is
`together` is the same, to the bit, on all devices, so that all of them decide alike.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._engine import across_devices as across
from .._engine.mesh import vary


class Line(NamedTuple):
    """The devices in the order in which their steps are processed."""

    axis: str | None = None
    reverse: bool = False

    @property
    def devices(self) -> int:
        return 1 if self.axis is None else lax.axis_size(self.axis)

    @property
    def place(self) -> Any:
        """Of this device, 0 for the first."""
        return 0 if self.axis is None else across.place(self.axis, self.reverse)

    def together(self, array: Array) -> Array:
        """The entries that all devices have along axis 0."""
        if self.axis is None:
            return array
        array = vary(array, frozenset([self.axis]))
        parts = lax.all_gather(array, self.axis)
        parts = parts[::-1] if self.reverse else parts
        return parts.reshape(-1, *array.shape[1:])

    def own(self, array: Array) -> Array:
        """Of entries that are together, those of this device."""
        if self.axis is None:
            return array
        size = array.shape[0] // self.devices
        return lax.dynamic_slice_in_dim(array, self.place * size, size)

    def of(self, place: Any, tree: Any) -> Any:
        """What the device at this place has, on all."""
        if self.axis is None:
            return tree
        index = self.devices - 1 - place if self.reverse else place
        return across.from_device(tree, index, self.axis)

    def handed_on(self, array: Array, first: Array) -> Array:
        """Each entry one further, to the next device too; in front of all the first one."""
        if self.axis is not None:
            before = across.handed_on(array[-1], self.axis, self.reverse)
            first = jnp.where(self.place == 0, first, before)
        return jnp.concatenate([first[None], array[:-1]])

    def ahead(self, array: Array, last: Array) -> Array:
        """Each entry one back, to the device before too; behind all the last one."""
        if self.axis is not None:
            after = across.handed_on(array[0], self.axis, not self.reverse)
            last = jnp.where(self.place == self.devices - 1, last, after)
        return jnp.concatenate([array[1:], last[None]])

    def earlier(self, value: Array) -> Array:
        """The values of one number of the devices before this one, (devices,), elsewhere 0."""
        every = self.together(jnp.asarray(value)[None])
        return jnp.where(jnp.arange(self.devices) < self.place, every, jnp.zeros_like(every))
