"""The dtypes that cells compute in."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike


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
    state = jax.eval_shape(cell.init_state)
    for tree in (state, eqx.filter(cell, eqx.is_inexact_array), [jnp.asarray(x)]):
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(tree)]
        inexact = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]
        if inexact:
            real = [np.dtype(jnp.finfo(dtype).dtype) for dtype in inexact]
            return jnp.dtype(functools.reduce(np.promote_types, [*real, np.dtype(np.float32)]))
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
