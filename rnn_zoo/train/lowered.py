"""Training in a lower precision than the parameters have."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..data.batches import Batch


def checked_dtype(dtype: Any) -> Any:
    """The dtype, as JAX names it; ValueError for what is neither None nor bfloat16."""
    if dtype is None:
        return None
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found != jnp.bfloat16:
        raise ValueError(
            f"expected compute_dtype to be jnp.bfloat16 or None, got {dtype!r}: float16 would need "
            "its losses scaled, and a model of another precision is made with dtype="
        )
    return found


def in_dtype(of_part: Callable, dtype: Any) -> Callable:
    """A loss `of_part(params, rest, batch, key, state)` that computes in `dtype`; the gradient is
    that of the parameters as they are, since a cast hands it back in their dtype."""
    if dtype is None:
        return of_part

    def lowered(params: PyTree, rest: PyTree, batch: Batch, key: Any, state: PyTree) -> Any:
        params = jax.tree.map(lambda leaf: _matrix_in(dtype, leaf), params)
        return of_part(params, rest, _inputs_in(dtype, batch), key, state)

    return lowered


def _matrix_in(dtype: Any, leaf: Any) -> Any:
    """Vectors stay: they are cheap, and decays near 1 are among them."""
    return leaf.astype(dtype) if jnp.ndim(leaf) >= 2 else leaf


def _inputs_in(dtype: Any, batch: Batch) -> Batch:
    x = jnp.asarray(batch.x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return batch  # tokens
    return eqx.tree_at(lambda b: b.x, batch, x.astype(dtype))
