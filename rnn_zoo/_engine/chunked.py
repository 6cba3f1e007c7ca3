"""What the evaluators of matrix states share: chunks of steps, between which a state passes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..linear import select
from . import plain
from .chunks import Way


# exp of it is 0, and so many of them can be added.
NEVER = -1e30


class Steps(NamedTuple):
    """The steps of a sequence, or of a chunk, (steps, heads, ...)."""

    parts: Any
    does: Array
    """(steps,): this step is no masked one, and none that fills a chunk."""
    segment: Array | None = None
    """(steps,): 1 at a reset; None: there are none at all."""


def in_order(parts: Any, way: Way, mask: Array | None, reset: Array | None) -> Steps:
    """The steps in the order in which they are processed."""
    does = jnp.ones(parts.q.shape[0], bool) if mask is None else mask
    steps = Steps(parts, does, None if reset is None else reset.astype(jnp.int32))
    return jax.tree.map(lambda x: x[::-1], steps) if way.reverse else steps


def cut(steps: Steps, size: int) -> Steps:
    """(chunks, steps, ...): chunks of that size, or of less for a short sequence; a power of two.

    Behind the last step are some that do nothing.
    """
    length = steps.does.shape[0]
    size = min(size, 1 << max(length - 1, 0).bit_length())

    def one(x: Array) -> Array:
        x = jnp.pad(x, [(0, -length % size)] + [(0, 0)] * (x.ndim - 1)) if length % size else x
        return x.reshape(-1, size, *x.shape[1:])

    return jax.tree.map(one, steps)


def per_step(found: Array, way: Way, smaller: int = 1) -> Array:
    """(chunks, steps, ...) to (time, ...): what is there after the last of so many smaller ones."""
    found = found.reshape(-1, *found.shape[2:])
    found = found[: way.length * smaller][smaller - 1 :: smaller]
    return found[::-1] if way.reverse else found


def run(chunk: Callable, steps: Steps, state: Any, initial: Any) -> tuple[Any, Array]:
    """`chunk(steps, state, initial) -> (state, read)` from chunk to chunk.

    A derivative keeps the states between them, and runs each chunk once more.
    """

    @jax.checkpoint
    def body(state, steps: Steps):
        return chunk(steps, state, initial)

    return plain.scan(body, state, steps, length=steps.does.shape[0], reverse=False)


def states(chunk: Callable, harmless: Callable, steps: Steps, state: Any, initial: Any) -> Any:
    """The state after each step, (chunks, steps, ...): step by step, all chunks side by side.

    `harmless(steps) -> (parts, does, broken)` is what the chunk begins with.
    """

    def enter(state, steps: Steps):
        return chunk(steps, state, initial)[0], state

    def step(state, at):
        parts, does, broken, began = at
        state = state if began is None else select(began, initial, state)
        state = select(does, parts.apply(state), state)
        state = spoilt(broken, state)
        return state, state

    def within(state, steps: Steps):
        began = None if steps.segment is None else steps.segment > 0
        at = (*harmless(steps), began)
        return plain.scan(step, state, at, length=steps.does.shape[0], reverse=False)[1]

    first = plain.scan(enter, state, steps, length=steps.does.shape[0], reverse=False)[1]
    return jax.vmap(within)(first, steps)


def harmless(steps: Steps) -> tuple[Any, Array, Array]:
    """Parts of steps that do nothing where they are masked, or broken: with a number that is not
    finite. With them which steps do something, and which are broken.

    In a product of matrices 0 times NaN reaches what lies before it, too. A logarithm may be that
    of 0: of a decay, which is added up, it is bounded.
    """
    parts = steps.parts
    if parts.log_decay is not None:
        parts = parts._replace(log_decay=jnp.maximum(parts.log_decay, NEVER))
    broken = jnp.zeros(steps.does.shape, bool)
    for name, part in parts._asdict().items():
        if part is not None and part.dtype != bool:
            finite = jnp.isfinite(part) | (part == -jnp.inf if name == "log_write" else False)
            broken |= ~finite.all(tuple(range(1, part.ndim)))
    does = steps.does & ~broken
    parts = jax.tree.map(lambda p: select(does, p, jnp.zeros_like(p)), parts)
    return parts, does, steps.does & broken


def spoilt(reached: Array, values: Any) -> Any:
    """NaN where a broken step reaches: up to the next reset."""
    return select(reached, jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), values), values)
