"""A site of a loop whose samples lie side by side: each row of a state is one number of them all.

W @ v, with a sample in each column of v, is a faster product on a CPU than v @ W.T, where v has few
rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .backends import tuned
from .program import Program, Site, total
from .samples_last import samples_last


def pays(program: Program, samples: Any) -> bool:
    """Whether a loop over this program is faster so: on a CPU, if W is large and samples fill
    whole vectors of the processor. What is not elementwise would turn its operands round. So do
    masks, which select zeros for all samples: the gain is gone then, and they stay as they were.
    """
    if jax.default_backend() != "cpu" or not isinstance(samples, int):
        return False
    if samples not in range(16, 65, 8):
        return False
    products = [p for site in program.sites for p in site.products]
    numbers = sum(p.matrix.aval.size for p in products)
    in_loop = any(p.in_loop for p in products)
    return in_loop and numbers >= tuned("abreast") and program.elementwise


def joined(matrices: Sequence[Array], samples: int) -> Array:
    """What `value` multiplies with: the matrices of a site as one."""
    matrix = jnp.concatenate(matrices, axis=1)
    more = _columns(len(matrix), matrix.shape[1], samples) - matrix.shape[1]
    return jnp.pad(matrix, ((0, 0), (0, more)))


def _columns(rows: int, columns: int, samples: int) -> int:
    """The columns that a matrix gets, the last of zeros, so that threads share its product.

    XLA's library gives a product of small blocks to one thread: a second takes part if half of the
    rows and the samples, times the columns, reach a number. A matrix of one column is no product.
    """
    shared = -(-tuned("shared_product") // (rows // 2 + samples))
    return shared if columns < shared <= 1.2 * columns else max(columns, 2)


def value(_: Site, matrix: Array, offset: Array | None, vectors: Sequence[Array]) -> Array:
    """The site at one step."""
    arrays = (matrix, *vectors) if offset is None else (matrix, offset, *vectors)
    return samples_last(_Sum(offset is not None), *arrays)


class _Sum(NamedTuple):
    """W v + b, with samples behind: an axis for each `vmap`, of length 1 in what they share."""

    has_offset: bool

    def __call__(self, matrix: Array, *arrays: Array) -> Array:
        own = [i - matrix.ndim for i in range(2, matrix.ndim) if matrix.shape[i] > 1]
        if own:  # a matrix for each: of the members of a population, say
            axes = [own[0] if a.shape[own[0]] > 1 else None for a in arrays]
            each = [a.squeeze(own[0]) if x is None else a for a, x in zip(arrays, axes)]
            return jax.vmap(self, in_axes=(own[0], *axes), out_axes=own[0])(matrix, *each)
        matrix = matrix.reshape(matrix.shape[:2])
        offset, vectors = (arrays[0], arrays[1:]) if self.has_offset else (None, arrays)
        samples = jnp.broadcast_shapes(*(v.shape[1:] for v in vectors))
        parts = [jnp.broadcast_to(v, (len(v), *samples)) for v in vectors]
        more = matrix.shape[1] - sum(map(len, parts))
        if more:
            parts.append(jnp.zeros((more, *samples), matrix.dtype))
        return total([jnp.tensordot(matrix, jnp.concatenate(parts), 1), offset])
