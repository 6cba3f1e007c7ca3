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

    def __init__(self, value: Array):
        value = jnp.asarray(value)
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            raise ValueError(f"expected floating-point or complex values, got {value.dtype}")
        self.dtype = value.dtype.name
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
    """`tree` with every inexact array in a `Fixed`."""
    return jax.tree.map(lambda leaf: Fixed(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def unfix(tree: PyTree) -> PyTree:
    """`tree` with every `Fixed` read."""

    def read(leaf):
        return leaf.value if isinstance(leaf, Fixed) else leaf

    return jax.tree.map(read, tree, is_leaf=lambda leaf: isinstance(leaf, Fixed))
