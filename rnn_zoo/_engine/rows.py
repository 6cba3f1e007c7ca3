"""A function of one step, spelled so that it runs fast over all steps at once.

Cells write W @ x. `jax.vmap` makes one product of all steps of that, with the steps last: the rows
of the result are those of W. What reads it wants the steps first, so XLA turns the result round,
element by element, inside of every loop that reads it, and its gradient likewise; on a CPU that
takes many times as long as the product. x @ W.T is the same product with the steps first.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType
from jaxtyping import Array

from .known import is_known
from .mesh import vary_alike
from .program import Product, perform, read_program, total
from .unstable import define, on_products, on_vmap


def by_rows(function: Callable) -> Callable:
    """The same function of arrays, with x @ W.T in the place of each W @ x where only x is made of
    its arguments. For `jax.vmap` of it.

    A function with an operation that is not known (`known.py`) stays as it is.
    """

    def respelled(*arguments: Array) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if closed.effects or not is_known(closed.jaxpr):
            return function(*arguments)
        program, values = read_program(closed, 0)
        if not program.sites:
            return function(*arguments)
        for op in program.outside:
            perform(op, values)

        def site(number: int, vectors: list) -> Array:
            products, offsets, _ = program.sites[number]
            terms = [_product(p, values[p.matrix.number], v) for p, v in zip(products, vectors)]
            return total([*terms, *(values[ref.number] for ref in offsets)])

        constants = [values[ref.number] for ref in program.needed]
        results = program.run(constants, (), arguments, site)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return respelled


def _product(product: Product, matrix: Array, vector: Array) -> Array:
    if not product.plain:
        return product(matrix, vector)
    vector, matrix = vary_alike(vector, matrix)
    return _rows_p.bind(vector, matrix)


# --- the primitive --------------------------------------------------------------------------------


def _rows(vectors, matrix):
    """(*batch, input), (output, input) -> (*batch, output)."""
    return lax.dot_general(vectors, matrix, (((vectors.ndim - 1,), (1,)), ((), ())))


def _rows_type(vectors, matrix):
    return vectors.update(shape=(*vectors.shape[:-1], matrix.shape[0]), weak_type=False)


def _in_vectors(cotangent, vectors, matrix):
    return cotangent @ matrix


def _in_matrix(cotangent, vectors, matrix):
    """The gradient of W, a sum over all steps.

    XLA lays out anew what stands first in this product, so that the steps come last, and does so
    inside of the operations that it came from. JAX's own rule has the cotangent there, the end of a
    long chain. Here the smaller one stands first. The barriers keep the compiler from swapping the
    two, and from working the chain into the new layout.
    """
    if AxisType.Explicit in jax.typeof(cotangent).sharding.mesh.axis_types:
        # JAX's rule knows how the gradient is to be spread.
        return jax.linear_transpose(functools.partial(_rows, vectors), matrix.aval)(cotangent)[0]
    if matrix.aval.shape[0] < matrix.aval.shape[1]:
        return _sum_of_outer(lax.optimization_barrier(cotangent), vectors)
    return lax.optimization_barrier(_sum_of_outer(vectors, cotangent)).T


def _sum_of_outer(first, second):
    """(*batch, n), (*batch, m) -> (n, m)."""
    steps = tuple(range(first.ndim - 1))
    return lax.dot_general(first, second, ((steps, steps), ((), ())))


def _batch(arguments, dims):
    vectors, matrix = arguments
    if dims[1] is not None:  # a matrix for each: JAX's product
        return jax.vmap(_rows, in_axes=dims)(vectors, matrix), 0
    return _rows_p.bind(jnp.moveaxis(vectors, dims[0], 0), matrix), 0


_rows_p = define("product_by_rows", _rows, _rows_type, static=(), several=False)
on_products(_rows_p, _in_vectors, _in_matrix)
on_vmap(_rows_p, _batch)
