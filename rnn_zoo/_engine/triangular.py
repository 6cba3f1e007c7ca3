"""Unit triangular systems, of products that every way to spread arrays over devices knows."""

import jax.numpy as jnp
from jaxtyping import Array

from ..linear import HIGHEST


def unit_inverse(strict: Array) -> Array:
    """The inverse of I - L for a strictly lower L of a power of two rows.

    Blocks of 8 rows by substitution, then two blocks to one. Squaring L as often as it takes
    would be quicker and is wrong: where keys repeat, the powers grow before they end.
    """
    size = strict.shape[-1]
    block = min(size, 8)
    part, eye = _blocks(strict, block), jnp.eye(block, dtype=strict.dtype)
    rows = [jnp.broadcast_to(eye[0], part.shape[:-1])]
    for i in range(1, block):
        seen = jnp.stack(rows, -2)
        rows.append(jnp.sum(part[..., i, :i, None] * seen, -2) + eye[i])
    inverse = jnp.stack(rows, -2)
    while block < size:
        one, two = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
        between = _blocks(strict, 2 * block)[..., block:, :block]
        corner = jnp.matmul(two, jnp.matmul(between, one, precision=HIGHEST), precision=HIGHEST)
        upper = jnp.concatenate([one, jnp.zeros_like(one)], -1)
        inverse = jnp.concatenate([upper, jnp.concatenate([corner, two], -1)], -2)
        block *= 2
    return inverse[..., 0, :, :]


def _blocks(matrix: Array, size: int) -> Array:
    """(..., count, size, size): the blocks on the diagonal."""
    places = [slice(i, i + size) for i in range(0, matrix.shape[-1], size)]
    return jnp.stack([matrix[..., at, at] for at in places], -3)
