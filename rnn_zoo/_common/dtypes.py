"""The dtypes that cells compute in."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree


def half_as(xs: ArrayLike, ys: Any) -> Any:
    """`ys` in the dtype of `xs` where that is a 16-bit one, else as they are.

    What is no array comes back as it is, for the check of outputs to name.
    """
    given = jnp.result_type(xs)
    half = jnp.issubdtype(given, jnp.floating) and given.itemsize == 2
    return ys.astype(given) if half and hasattr(ys, "astype") else ys


def working_dtype(cell: Any, x: ArrayLike) -> Any:
    """The real dtype that a cell or layer computes in, never below float32.

    That of its state, or else of its parameters, or else of the input.
    """
    return dtype_beside(jax.eval_shape(cell.init_state), cell, x)


def dtype_beside(state: PyTree, cell: Any, x: ArrayLike) -> Any:
    """`working_dtype` where a state of the cell is at hand."""
    for tree in (state, eqx.filter(cell, eqx.is_inexact_array), [x]):
        dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)}
        real = [jnp.finfo(d).dtype for d in dtypes if jnp.issubdtype(d, jnp.inexact)]
        if real:
            return functools.reduce(jnp.promote_types, real, jnp.dtype(jnp.float32))
    return jnp.result_type(float)


def state_dtype(parameter: Any) -> Any:
    """The dtype of a carry beside this parameter: never below float32."""
    return jnp.promote_types(parameter.dtype, jnp.float32)


def working_float(dtype: Any = None) -> Any:
    """The dtype of new parameters: the given real one, or JAX's default float."""
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"expected a real dtype for the parameters, got {dtype}")
    return dtype


def zero_state(size: int, parameter: Any) -> Float[Array, " {size}"]:
    """(size,) zeros in the dtype of a carry beside this parameter."""
    return jnp.zeros(size, state_dtype(parameter))
