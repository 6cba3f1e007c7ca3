"""Matrix states with exponential gates over a sequence, some steps at a time.

As in `matrix_chunks`, with a scale for each row: the logarithms of what a step still finds of each
write before it, and of the state that entered, are known before any exponential is taken, so that
their maximum m comes off first and no exponent is positive. This m is that of the step. The
normalisers n are one more column of the matrices C.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..linear import HIGHEST, Scaled, normalised, select
from . import plain
from .backends import tuned
from .chunks import Way


# exp of it is 0, and so many of them can be added.
NEVER = -1e30


class Steps(NamedTuple):
    """The steps of a chunk, (heads, steps, ...), or those of all of them, (steps, heads, ...)."""

    parts: Scaled
    does: Array
    """(steps,): neither masked nor broken, nor behind the last one."""
    broken: Array
    """(steps,): a part of this step is not finite."""
    segment: Array | None = None
    """(steps,): how many resets there were since the chunk began; None: there are none at all."""


def run(
    parts: Scaled,
    state: Any,
    way: Way,
    *,
    initial: Any,
    mask: Bool[Array, " time"] | None = None,
    reset: Bool[Array, " time"] | None = None,
) -> tuple[Any, Array]:
    """The state after all steps, and what each reads, (time, heads, value).

    Arguments as of `matrix_chunks.run`, for a state (C, n, m).
    """
    chunks = _chunks(parts, way, mask, reset)

    @jax.checkpoint
    def body(state, steps: Steps):
        return _chunk(steps, state, initial)

    count = chunks.does.shape[0]
    state, read = plain.scan(body, state, chunks, length=count, reverse=False)
    return state, _per_step(jnp.moveaxis(read, 2, 1), way)


def states(
    parts: Scaled,
    state: Any,
    way: Way,
    *,
    initial: Any,
    mask: Bool[Array, " time"] | None = None,
    reset: Bool[Array, " time"] | None = None,
) -> Any:
    """The state after each step, with an axis of time: the chunks side by side."""
    chunks = _chunks(parts, way, mask, reset)

    def enter(state, steps: Steps):
        return _chunk(steps, state, initial)[0], state

    def step(state, at):
        parts, does, broken, began = at
        state = state if began is None else select(began, initial, state)
        state = select(does, parts.apply(state), state)
        nan = jax.tree.map(lambda part: jnp.full_like(part, jnp.nan), state)
        state = select(broken, nan, state)
        return state, state

    def within(state, steps: Steps):
        by_time = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), steps.parts)
        segment = steps.segment
        began = None if segment is None else jnp.diff(segment, prepend=jnp.zeros_like(segment[:1]))
        at = (by_time, steps.does, steps.broken, None if began is None else began > 0)
        return plain.scan(step, state, at, length=steps.does.shape[0], reverse=False)[1]

    count = chunks.does.shape[0]
    first = plain.scan(enter, state, chunks, length=count, reverse=False)[1]
    found = jax.vmap(within)(first, chunks)
    return jax.tree.map(lambda leaf: _per_step(leaf, way), found)


def _chunks(parts: Scaled, way: Way, mask: Array | None, reset: Array | None) -> Steps:
    """The steps in the order in which they are processed, (chunks, ...)."""
    parts, does, broken = _finite(parts, mask)
    steps = Steps(parts, does, broken, None if reset is None else reset.astype(jnp.int32))
    if way.reverse:
        steps = jax.tree.map(lambda x: x[::-1], steps)
    length = does.shape[0]
    size = min(tuned("matrix_chunk"), 1 << max(length - 1, 0).bit_length())
    chunks = jax.tree.map(lambda x: _cut(x, size), steps)
    by_head = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 1), chunks.parts)
    segment = None if reset is None else jnp.cumsum(chunks.segment, 1)
    return chunks._replace(parts=by_head, segment=segment)


def _finite(parts: Scaled, mask: Array | None) -> tuple[Scaled, Array, Array]:
    """Steps that do nothing where they are masked, or broken; which do something; which are broken.

    In a product of matrices 0 times NaN reaches what lies before it, too.
    """
    parts = parts._replace(log_decay=jnp.maximum(parts.log_decay, NEVER))
    bounded = parts._replace(log_write=jnp.maximum(parts.log_write, NEVER))  # of 0 it is -inf
    finite = [jnp.isfinite(part).all(tuple(range(1, part.ndim))) for part in bounded]
    broken = ~jnp.stack(finite).all(0)
    if mask is not None:
        broken &= mask
    does = ~broken if mask is None else mask & ~broken
    return jax.tree.map(lambda p: select(does, p, jnp.zeros_like(p)), parts), does, broken


def _cut(x: Array, size: int) -> Array:
    """(chunks, size, ...), behind the last step filled with steps that do nothing."""
    rest = -x.shape[0] % size
    if rest:
        x = jnp.pad(x, [(0, rest)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(-1, size, *x.shape[1:])


def _per_step(found: Array, way: Way) -> Array:
    """(chunks, steps, ...) to (time, ...)."""
    found = found.reshape(-1, *found.shape[2:])[: way.length]
    return found[::-1] if way.reverse else found


# --- one chunk ------------------------------------------------------------------------------------


def _chunk(steps: Steps, state: Any, initial: Any) -> tuple[Any, Array]:
    parts, first = steps.parts, None
    index = jnp.arange(steps.does.shape[0])
    upto = index[:, None] >= index
    if steps.segment is not None:
        upto &= steps.segment[:, None] == steps.segment
        first = steps.segment == 0
        state = select(first[0], state, initial)  # that no gradient meets, where no step does
    entering = [(jnp.concatenate([s.C, s.n[..., None]], -1), s.m) for s in (state, initial)]

    before = upto & (index[:, None] > index)
    since = _since(upto, parts.log_decay) + _either(first, *(m[:, None] for _, m in entering))
    logs = _between(before, parts.log_decay) + parts.log_write[:, None]
    logs = jnp.where(upto & steps.does, logs, -jnp.inf)
    m = jnp.maximum(since, logs.max(-1))
    weights, left = jnp.exp(logs - m[..., None]), jnp.exp(since - m)

    v = jnp.concatenate([parts.v, jnp.ones_like(parts.v[..., :1])], -1)
    scores = jnp.einsum("hik,hjk->hij", parts.q, parts.k, precision=HIGHEST) * weights
    column = None if first is None else first[:, None]
    old = _either(column, *(jnp.matmul(parts.q, S, precision=HIGHEST) for S, _ in entering))
    read = jnp.matmul(scores, v, precision=HIGHEST) + left[..., None] * old
    read = normalised(read[..., :-1], read[..., -1], m)

    written = weights[:, -1, :, None] * parts.k
    written = jnp.einsum("hjk,hjv->hkv", written, v, precision=HIGHEST)
    last = None if first is None else first[-1]
    S = left[:, -1, None, None] * _either(last, *(S for S, _ in entering)) + written
    reached = steps.broken | (before & steps.broken).any(1)
    S, after = (jnp.where(reached[-1], jnp.nan, part) for part in (S, m[:, -1]))
    read = jnp.where(reached[:, None], jnp.nan, read)
    return state._replace(C=S[..., :-1], n=S[..., -1], m=after), read


def _either(first: Array | None, entered: Array, initial: Array) -> Array:
    """Of the state that entered the chunk, or of the one that a reset went back to.

    What was computed with each is chosen from, since a product hands on NaN as 0 times NaN.
    """
    return entered if first is None else jnp.where(first, entered, initial)


def _since(upto: Array, log_decay: Array) -> Array:
    """(heads, i): the decays since the segment began, that of step i among them."""
    return jnp.einsum("il,hl->hi", upto.astype(log_decay.dtype), log_decay, precision=HIGHEST)


def _between(before: Array, log_decay: Array) -> Array:
    """(heads, i, j): the decays behind step j up to step i; sums, and none of them a difference."""
    lower = jnp.tril(jnp.ones(before.shape, log_decay.dtype))
    behind = jnp.tril(lower, -1) * log_decay[:, :, None]  # of step l, where it is behind j
    return jnp.einsum("il,hlj->hij", lower, behind, precision=HIGHEST)
