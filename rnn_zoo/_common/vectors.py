"""A state as one real vector, whatever its structure."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .checks import show


def state_vector(state: Any) -> Array:
    """A state as one real vector (n,), its arrays one after the other.

    A complex array gives its real parts, then its imaginary parts. Integers and booleans
    (a clock, a mask) are no part of it. Of all states along a sequence:
    `jax.vmap(rz.dynamics.state_vector)(states)`. ValueError where nothing is left.
    """
    parts = [_real(leaf) for leaf in jax.tree.leaves(state) if moves(leaf)]
    if not parts:
        raise ValueError(f"expected a state with real or complex arrays, got {show(state)}")
    return jnp.concatenate(parts)


def with_vector(state: Any, vector: Float[Array, " n"]) -> Any:
    """`state` with the numbers of its `state_vector` exchanged."""
    leaves, structure = jax.tree.flatten(state)
    sizes = [_real(leaf).size if moves(leaf) else 0 for leaf in leaves]
    parts = jnp.split(vector, np.cumsum(sizes)[:-1])
    new = [_like(leaf, part) if moves(leaf) else leaf for leaf, part in zip(leaves, parts)]
    return jax.tree.unflatten(structure, new)


def moves(leaf: Any) -> bool:
    """Whether a leaf of a state is a part of its vector: real or complex numbers."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _real(leaf: Any) -> Float[Array, " n"]:
    leaf = jnp.ravel(leaf)
    return jnp.concatenate([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf


def _like(leaf: Array, part: Float[Array, " n"]) -> Array:
    if jnp.iscomplexobj(leaf):
        part = lax.complex(*jnp.split(part, 2))
    return part.astype(leaf.dtype).reshape(leaf.shape)
