"""A step whose values are known already, so that only its tangents are left to compute.

The way back through a loop has the state before each step and the values of its product sites, kept
or computed anew. It needs none of the step's results again, but how they move when what the step
reads moves. So a step is *recalled*: each known value is put in its place, together with the rule
by which it moves.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .program import SLOPES, Op, Product, Program, total
from .unstable import custom_zero_tangent, is_zero


class Values(NamedTuple):
    """What changes from step to step: what a step reads, and what is known of it already.

    Of many steps the arrays have an axis of time in front. Tangents come in the same tuple, with
    None for one that is zero.
    """

    state: list
    sums: list  # of the product sites
    known: dict[int, Any]  # activations, by the number of their result
    inputs: list


def recall_step(
    program: Program,
    matrices: Sequence,
    constants: Sequence,
    values: Values,
) -> tuple[list, list]:
    """The results of a step, and the vectors that its sites multiply with.

    The values of sites, and those activations that are known, are not computed anew; they move
    with what they are made of, sites with the vectors that depend on the state.
    """
    seen, known = [], values.known

    def product(number, vectors):
        seen.append(vectors)
        products = program.sites[number].products
        in_loop = [i for i, p in enumerate(products) if p.in_loop]
        recall = _recall_sum([products[i] for i in in_loop])
        own = matrices[number]
        return recall(values.sums[number], [own[i] for i in in_loop], [vectors[i] for i in in_loop])

    def activation(op, operand):
        number = op.results[0].number
        return _recall(op)(known[number], operand) if number in known else op(operand)[0]

    return program.run(constants, values.state, values.inputs, product, activation), seen


def _recall(op: Op) -> Callable:
    """(value, operand) -> the value of an activation, known before, that moves with its operand.

    For y = tanh(z) it is dy = (1 - y^2) dz: the slope follows from y, and z need not be known.
    """

    @jax.custom_jvp
    def recall(value, operand):
        return value

    @recall.defjvp
    def move(primals, tangents):
        value, _ = primals
        return value, SLOPES[op.equation.primitive](value) * tangents[1]

    return recall


def _recall_sum(products: Sequence[Product]) -> Callable:
    """(value, matrices, vectors) -> a site's value, known before, that moves with its vectors.

    For s = W h + ... it is ds = W dh + (what the tangent of the value itself says): that carries
    the terms which need no loop, and is the door by which the derivative in W leaves the loop.
    W itself stands still here, so that no step adds to its gradient.
    """

    @jax.custom_jvp
    def recall(value, matrices, vectors):
        return value

    def move(primals, tangents):
        value, matrices, _ = primals
        moved, _, vectors = tangents
        terms = [] if is_zero(moved) else [moved]
        terms += [p(m, v) for p, m, v in zip(products, matrices, vectors) if not is_zero(v)]
        return value, total(terms) if terms else custom_zero_tangent(value)

    recall.defjvp(move, symbolic_zeros=True)
    return recall


def push(function: Callable, at: Any, moved: Any) -> tuple[Any, Any]:
    """`function(at)` and its tangents, of a tree and the tangents of its arrays.

    A tangent of None is zero: its array stays out of the derivative and costs nothing.
    """
    arrays, tree = jax.tree.flatten(at)
    tangents = tree.flatten_up_to(moved)
    moving = [i for i, tangent in enumerate(tangents) if tangent is not None]

    def of_moving(*values):
        changed = dict(zip(moving, values, strict=True))
        return function(tree.unflatten([changed.get(i, a) for i, a in enumerate(arrays)]))

    return jax.jvp(of_moving, [arrays[i] for i in moving], [tangents[i] for i in moving])


def smooth(value: Any) -> bool:
    """Whether an array of this dtype has a derivative."""
    return jnp.issubdtype(value.dtype, jnp.inexact)


def smooth_alone(values: Sequence) -> list:
    """None in place of what has no derivative."""
    return [value if smooth(value) else None for value in values]
