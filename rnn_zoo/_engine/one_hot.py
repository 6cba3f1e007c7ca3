"""Matrices with one entry a column, or a row, as the places of these entries and their values.

Products of them have one entry a column or a row, too, so that n numbers and n places stand for a
matrix of n^2 and a product moves n numbers. Places are numbers beside the values, in one array, as
the algorithms take it; float32 holds every whole number up to 2^24. None of it has a derivative:
that of a recurrence is made of the whole matrices.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from ..linear import AbstractLinearMap, OneHotColumns


class AbstractPacked(AbstractLinearMap):
    """a of shape (2, n): of each column or row the place of its entry, and the entry."""

    rank: ClassVar[int] = 2

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *state)

    def identity(self) -> Any:
        n = self.a.shape[-1]
        eye = jnp.stack([jnp.arange(n), jnp.ones(n, int)]).astype(self.a.dtype)
        return type(self)(jnp.broadcast_to(eye, self.a.shape))

    def _parts(self) -> tuple[Int[Array, "..."], Array]:
        return self.a[..., 0, :].real.astype(jnp.int32), self.a[..., 1, :]


class PackedColumns(AbstractPacked):
    """Columns: what is in unit j goes to the unit at place j."""

    a: Array

    def apply(self, h: Array) -> Array:
        index, value = self._parts()
        return jnp.where(_meant(index).mT, (value * h)[..., None, :], 0).sum(-1)

    def compose(self, earlier: "PackedColumns") -> "PackedColumns":
        index, value = earlier._parts()
        return PackedColumns(_followed(self.a, index, value))

    def transpose(self) -> "PackedRows":
        return PackedRows(self.a)


class PackedRows(AbstractPacked):
    """Rows: unit i gets what is in the unit at place i."""

    a: Array

    def apply(self, h: Array) -> Array:
        index, value = self._parts()
        return value * _at(h, index)

    def compose(self, earlier: "PackedRows") -> "PackedRows":
        index, value = self._parts()
        return PackedRows(_followed(earlier.a, index, value))

    def transpose(self) -> "PackedColumns":
        return PackedColumns(self.a)


def _followed(a: Array, index: Int[Array, "..."], value: Array) -> Array:
    """The places that these places lead to, and the product of the values on the way."""
    places, values = _at(a[..., 0, :], index), _at(a[..., 1, :], index)
    return jnp.stack([places, values * value], -2)


def _at(x: Array, index: Int[Array, "..."]) -> Array:
    """x at these places.

    A sum over all of them. A scatter is a loop on a CPU, and XLA cannot spread a gather over a mesh
    with explicit axes. What is chosen by a select takes no NaN from beside it.
    """
    return jnp.where(_meant(index), x[..., None, :], 0).sum(-1)


def _meant(index: Int[Array, "..."]) -> Bool[Array, "..."]:
    """(..., n, n): of each, which place is its own."""
    here = jnp.arange(index.shape[-1], dtype=index.dtype)
    return index[..., None] == here.reshape((1,) * index.ndim + here.shape)


def packed(a: Array, kind: type) -> tuple[Array, type]:
    """The same matrices with the class that reads them. What is all NaN stays at the last place."""
    columns = issubclass(kind, OneHotColumns)
    axis, n = (-2 if columns else -1), a.shape[-1]
    places = lax.broadcasted_iota(jnp.int32, a.shape, a.ndim + axis)
    places = jnp.where(a != 0, places, 0).sum(axis)
    places = jnp.minimum(places, n - 1).astype(a.dtype)
    return jnp.stack([places, a.sum(axis)], -2), PackedColumns if columns else PackedRows
