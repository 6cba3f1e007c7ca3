"""The steps of a sequence in another order, and back."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from .mesh import vary_alike
from .unstable import as_array, define, is_asked, is_zero, on_jvp, on_transpose, on_vmap


class Order(NamedTuple):
    """The places of some steps in another order: where each comes from, and where each went.

    Both stand there, so that the gradient of a change of order is one too, and no sum.
    """

    source: Int[Array, " time"]
    place: Int[Array, " time"]

    def apply(self, rows: Array) -> Array:
        """The rows in this order."""
        return _ordered_p.bind(*vary_alike(rows, *self))

    def undo(self, rows: Array) -> Array:
        """The rows as they were before `apply`."""
        return Order(self.place, self.source).apply(rows)


def valid_first(valid: Bool[Array, " time"]) -> Order:
    """The valid steps in their order, then the others."""
    behind = jnp.sum(valid, dtype=jnp.int32) - 1
    ranks = lax.cumsum(valid.astype(jnp.int32)) - 1
    others = behind + lax.cumsum((~valid).astype(jnp.int32))
    place = jnp.where(valid, ranks, others)
    numbers = jnp.arange(len(valid), dtype=jnp.int32)
    return Order(jnp.zeros_like(place).at[place].set(numbers, unique_indices=True), place)


# --- the primitive: (*batch, time, size), (*batch, time), (*batch, time) --------------------------


def _ordered(rows, source, place):
    return jnp.take_along_axis(rows, source[..., None], axis=-2, mode="promise_in_bounds")


def _push(primals, tangents):
    (rows, source, place), (tangent, *_) = primals, tangents
    ys = _ordered_p.bind(rows, source, place)
    if is_zero(tangent):
        return ys, tangent
    return ys, _ordered_p.bind(as_array(tangent), source, place)


def _pull(cotangent, rows, source, place):
    if not is_asked(rows) or is_zero(cotangent):
        return cotangent if is_asked(rows) else None, None, None
    return _ordered_p.bind(cotangent, place, source), None, None


def _batch(arguments, dims):
    rows, *numbers = (
        a[None] if dim is None else jnp.moveaxis(a, dim, 0) for a, dim in zip(arguments, dims)
    )
    if rows.shape[0] == 1:
        size = max(a.shape[0] for a in numbers)
        rows = jnp.broadcast_to(rows, (size, *rows.shape[1:]))
    return _ordered_p.bind(rows, *numbers), 0


_ordered_p = define(
    "steps_in_order",
    _ordered,
    lambda rows, source, place: rows.update(weak_type=False),
    static=(),
    several=False,
)
on_jvp(_ordered_p, _push)
on_transpose(_ordered_p, _pull)
on_vmap(_ordered_p, _batch)
