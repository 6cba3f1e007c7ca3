"""A long sequence in pieces of some steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


# A number of steps: an int, or a symbolic dimension of a program to be exported.
Length = Any

# Steps whose products share one: enough rows for a full-speed product, few enough for the cache.
CHUNK = 32


def in_chunks(
    function: Callable, state: Any, inputs: Any, division: tuple[int, Length, int], reverse: bool
) -> tuple[Any, Any]:
    """`function(state, inputs) -> (state, outputs)` of a few steps, over a sequence of them."""
    number, size, rest = division
    if number == 1 and not rest:
        return function(state, inputs)

    def part(state, start: int, number: int, size: int):
        cut = jax.tree.map(lambda a: a[start : start + number * size], inputs)
        if number == 1:
            return function(state, cut)
        cut = jax.tree.map(lambda a: a.reshape(number, size, *a.shape[1:]), cut)
        state, outputs = lax.scan(function, state, cut, reverse=reverse)
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


def division(length: Length) -> tuple[int, Length, int]:
    """The number of chunks, their size, and the steps that remain.

    A rest is compiled apart, so it is taken only where a chunk would get too long without. A
    length that is a symbol, of a program to be exported, makes one chunk.
    """
    if not isinstance(length, int) or length <= 2 * CHUNK:
        return 1, length, 0
    sizes = [c for c in range(CHUNK // 2, 2 * CHUNK) if length % c == 0]
    if not sizes and length <= 8 * CHUNK:
        return 1, length, 0
    size = min(sizes, key=lambda c: abs(c - CHUNK), default=CHUNK)
    return length // size, size, length % size
