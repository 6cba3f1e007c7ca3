"""Arrays that no optimiser can change."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree


class Fixed(eqx.Module):
    """An array of a cell that must never train: floating-point or complex numbers, kept as the
    integers that spell them.

        class MyCell(rz.AbstractCell):
            signs: rz.Fixed
            ...
            def step(self, state, x):
                weight = jnp.abs(self.weight) * self.signs.value

    A field that is a plain array trains: optimisers, weight decay and `eqx.filter_grad` take every
    array for which `eqx.is_inexact_array` holds. That is wrong for what the model is, rather than
    what it has learned: the signs of Dale's law in `rz.cells.EIRNNCell`, which say which units
    excite and which inhibit, a random reservoir, the mask of a wiring, the mean of the data. Such
    an array stands in a `Fixed`. `eqx.is_inexact_array` does not see the integers, so no gradient
    and no decay reaches them; jit, vmap, copies and files take them like any other leaf; and
    `value` is the array again, by a bitcast, which costs nothing. `jax.lax.stop_gradient` is not
    the same: it stops the gradient, and weight decay still shrinks what it stops. Numbers that
    are known when the class is made, such as a leak of 0.1, need no `Fixed`: a static field holds
    them.

    ValueError for what is neither floating-point nor complex.
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
