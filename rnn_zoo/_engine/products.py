"""A_t h_{t-1} for all t at once: what the derivative of a recurrence in A is made of.

A primitive of its own, because the transpose in an A that is one for all steps is a sum over time,
which runs faster as a loop than as XLA's reduction. Arrays have the axes of `recurrence.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .mesh import vary
from .unstable import define, on_products, on_vmap, varying


def at_time(array: Array, t: Array, axis: int) -> Array:
    if array.shape[axis] == 1:
        return lax.squeeze(array, (axis,))
    return lax.dynamic_index_in_dim(array, t, axis, False, allow_negative_indices=False)


def batched(arguments, dims):
    """All with a leading axis, of length 1 where they are the same for the whole batch."""
    return [
        jnp.expand_dims(x, 0) if dim is None else jnp.moveaxis(x, dim, 0)
        for x, dim in zip(arguments, dims)
    ]


def ends(offsets: Array, axis: int, reverse: bool) -> tuple[int, int]:
    """The first and the last step to be processed."""
    length = offsets.shape[axis]
    return (length - 1, 0) if reverse else (0, length - 1)


def plus_at(x: Array, t: int, value: Array, axis: int) -> Array:
    """x with something added at one step."""
    sides = [(t, x.shape[axis] - 1 - t) if i == axis else (0, 0) for i in range(x.ndim)]
    return x + jnp.pad(value, sides)


def product_over_time(a: Array, states: Array, kind: type, shift: int) -> Array:
    """A_t h_{t - shift}, with zeros for what is before the first and after the last step."""
    if a.shape[a.ndim - 1 - kind.rank] > 1:
        return _apply(a, states, kind=kind, shift=shift)
    return _product_p.bind(a, states, kind=kind, shift=shift)


def _apply(a, states, *, kind, shift):
    return kind(a).apply(shifted(states, shift, a.ndim - 1 - kind.rank))


def shifted(x: Array, shift: int, axis: int) -> Array:
    if shift == 0:
        return x
    edge = jnp.zeros_like(lax.slice_in_dim(x, 0, 1, axis=axis))
    if shift > 0:
        return jnp.concatenate([edge, lax.slice_in_dim(x, 0, -1, axis=axis)], axis)
    return jnp.concatenate([lax.slice_in_dim(x, 1, None, axis=axis), edge], axis)


def _sum_of_products(cotangent, a, states, *, kind, shift):
    """The transpose in A: its sum over time as a loop, which XLA would make a slow reduction."""
    axis, shape = a.aval.ndim - 1 - kind.rank, a.aval.shape

    def add(t: Array, total: Array) -> Array:
        h, ct = at_time(states, t - shift, axis), at_time(cotangent, t, axis)
        return total + jax.vjp(lambda a: kind(a).apply(h), total)[1](ct)[0]

    batch = jnp.broadcast_shapes(states.shape[:axis], shape[:axis])
    total = jnp.zeros((*batch, *shape[axis + 1 :]), cotangent.dtype)
    total = vary(total, varying(jax.typeof(cotangent)))
    total = lax.fori_loop(max(shift, 0), states.shape[axis] + min(shift, 0), add, total)
    return _summed_to(shape, jnp.expand_dims(total, axis))


def _product_back(cotangent, a, states, *, kind, shift):
    """The transpose in the states."""
    cotangent = shifted(cotangent, -shift, a.ndim - 1 - kind.rank)
    return _summed_to(states.aval.shape, kind(a).transpose().apply(cotangent))


def _summed_to(shape: tuple[int, ...], x: Array) -> Array:
    axes = tuple(i for i, (n, m) in enumerate(zip(shape, x.shape)) if n != m)
    return x.sum(axes, keepdims=True) if axes else x


def _product_batch(arguments, dims, **params):
    return _product_p.bind(*batched(arguments, dims), **params), 0


def _product_type(a, states, **params):
    return states.update(shape=jax.eval_shape(functools.partial(_apply, **params), a, states).shape)


_product_p = define(
    "product_over_time", _apply, _product_type, static=("kind", "shift"), several=False
)
on_products(_product_p, _sum_of_products, _product_back)
on_vmap(_product_p, _product_batch)
