"""Arrays that no optimiser can change."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree


class Fixed(eqx.Module):
    """A floating-point or complex array kept as the integers that spell it.

    `eqx.is_inexact_array` does not see it, so neither gradients nor weight decay reach it;
    it passes through jit, vmap and serialisation like any other leaf. Reading `value` is a
    bitcast, which costs nothing.
    """

    bits: Array
    dtype: Any = eqx.field(static=True)
    sealed: bool = eqx.field(static=True)
    """Made by `fix`, to be read by `unfix`; a cell's own `Fixed` arrays are not."""

    def __init__(self, value: Array, *, sealed: bool = False):
        value = jnp.asarray(value)
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            raise ValueError(f"expected floating-point or complex values, got {value.dtype}")
        self.dtype = value.dtype.name
        self.sealed = sealed
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            value = jnp.stack([value.real, value.imag])
        self.bits = lax.bitcast_convert_type(value, f"uint{8 * value.dtype.itemsize}")

    @property
    def value(self) -> Array:
        """The array."""
        dtype = jnp.dtype(self.dtype)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            pair = lax.bitcast_convert_type(self.bits, jnp.finfo(dtype).dtype)
            return lax.complex(pair[0], pair[1])
        return lax.bitcast_convert_type(self.bits, dtype)


def fix(tree: PyTree) -> PyTree:
    """`tree` with every inexact array in a sealed `Fixed`."""

    def seal(leaf):
        return Fixed(leaf, sealed=True) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(seal, tree)


def unfix(tree: PyTree) -> PyTree:
    """`tree` with every sealed `Fixed` read: the inverse of `fix`."""
    return jax.tree.map(lambda leaf: leaf.value if _sealed(leaf) else leaf, tree, is_leaf=_sealed)


def _sealed(leaf: Any) -> bool:
    return isinstance(leaf, Fixed) and leaf.sealed
