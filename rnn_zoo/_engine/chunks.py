"""A long sequence in pieces of some steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .backends import tuned


# A number of steps: an int, or a symbolic dimension of a program to be exported.
Length = Any


class Way(NamedTuple):
    """How a loop goes over a sequence."""

    length: Length
    reverse: bool = False
    segment: int | None = None
    """Steps between two states that a derivative keeps; None: it keeps all."""
    plain: bool = False
    """In `lax.scan` in any case."""
    mesh_axis: str | None = None
    """The axis of `jax.shard_map` that time is spread over; the length is this device's."""


def in_chunks(
    function: Callable,
    state: Any,
    inputs: Any,
    *each: Any,
    division: tuple[int, Length, int],
    reverse: bool,
) -> tuple[Any, Any]:
    """`function(state, inputs, *each) -> (state, outputs)` of a few steps, over many.

    `inputs` have an entry per step, along axis 0, and each of `each` an entry per chunk.
    """
    number, size, rest = division
    if number == 1 and not rest:
        return function(state, inputs, *jax.tree.map(lambda a: a[0], each))

    def part(state, start: int, number: int, size: int):
        cut = jax.tree.map(lambda a: a[start : start + number * size], inputs)
        if number == 1:
            return function(state, cut, *jax.tree.map(lambda a: a[start and -1], each))
        cut = jax.tree.map(lambda a: a.reshape(number, size, *a.shape[1:]), cut)
        at = cut, *jax.tree.map(lambda a: a[:number], each)
        state, outputs = lax.scan(lambda s, at: function(s, *at), state, at, reverse=reverse)
        join = lambda y: y.reshape(number * size, *y.shape[2:])  # noqa: E731
        return state, jax.tree.map(join, outputs)

    if not rest:
        return part(state, 0, number, size)
    bounds = [(0, number, size), (number * size, 1, rest)]
    pieces = []
    for bound in reversed(bounds) if reverse else bounds:
        state, outputs = part(state, *bound)
        pieces.append(outputs)
    pieces = reversed(pieces) if reverse else pieces
    return state, jax.tree.map(lambda *ys: jnp.concatenate(ys), *pieces)


def before_chunk(
    first: Array, after: Array, chunk: Any, *, division: tuple[int, Length, int], reverse: bool
) -> Array:
    """The state before a chunk, from that before all steps and those after every step.

    It is read where it lies: an array of these states for all chunks would have to be kept.
    """
    number, size, rest = division
    chunks = number + bool(rest)
    if chunks == 1:
        return first
    begins, at = (chunks - 1, (chunk + 1) * size) if reverse else (0, chunk * size - 1)
    # Beyond the ends a read is moved inside, and not used.
    within = lax.dynamic_index_in_dim(after, at, 0, False, allow_negative_indices=False)
    return jnp.where(chunk == begins, first, within)


def states_before(first: Array, after: Array, *, reverse: bool) -> Array:
    """The states before every step, from that before all steps and those after every step."""
    if reverse:
        return jnp.concatenate([after[1:], first[None]])
    return jnp.concatenate([first[None], after[:-1]])


def division(length: Length, batch: Length) -> tuple[int, Length, int]:
    """The number of chunks, their size, and the steps that remain.

    A rest is compiled apart, so it is taken only where a chunk would get too long without. A
    length that is a symbol, of a program to be exported, makes one chunk.
    """
    chunk = tuned("chunk")
    if isinstance(batch, int):
        chunk *= min(max(tuned("batch") // batch, 1), 8)
    if not isinstance(length, int) or length <= 2 * chunk:
        return 1, length, 0
    found = near(length, chunk)
    return (1, length, 0) if found[2] and length <= 8 * chunk else found


def near(length: int, size: int) -> tuple[int, int, int]:
    """A division into chunks of about so many steps, half as many to twice as many: best without a
    rest."""
    sizes = [s for s in range(max(size // 2, 1), 2 * size) if length % s == 0]
    size = min(sizes, key=lambda s: abs(s - size), default=size)
    return length // size, size, length % size
