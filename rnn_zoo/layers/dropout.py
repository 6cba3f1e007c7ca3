"""Dropout along a sequence, one draw per step."""

import jax
from jaxtyping import Array

from .._dropout import Dropout as Dropout, make_dropout as make_dropout


def drop_steps(dropout: Dropout, ys: Array, keys: Array | None) -> Array:
    """Dropout with one key per step, so that steps one by one draw the same."""
    if keys is None:
        return dropout(ys)
    return jax.vmap(lambda y, key: dropout(y, key=key))(ys, keys)
