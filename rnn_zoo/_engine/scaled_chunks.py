"""Matrix states with exponential gates over a sequence, some steps at a time.

As in `matrix_chunks`, with a scale for each row: the logarithms of what a step still finds of each
write before it, and of the state that entered, are known before any exponential is taken, so that
their maximum m comes off first and no exponent is positive. This m is that of the step. The
normalisers n are one more column of the matrices C.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..linear import HIGHEST, Scaled, normalised, select
from . import chunked
from .backends import tuned
from .chunked import Steps, cut, harmless, in_order, per_step, spoilt
from .chunks import Way


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
    steps = cut(in_order(parts, way, mask, reset), tuned("matrix_chunk"))
    state, read = chunked.run(_chunk, steps, state, initial)
    return state, per_step(read, way)


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
    steps = cut(in_order(parts, way, mask, reset), tuned("matrix_chunk"))
    found = chunked.states(_chunk, harmless, steps, state, initial)
    return jax.tree.map(lambda leaf: per_step(leaf, way), found)


# --- one chunk ------------------------------------------------------------------------------------


def _chunk(steps: Steps, state: Any, initial: Any) -> tuple[Any, Array]:
    parts, does, broken = harmless(steps)
    parts = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts)  # the heads first
    index, first = jnp.arange(does.shape[0]), None
    upto = index[:, None] >= index[None]
    if steps.segment is not None:
        segment = jnp.cumsum(steps.segment)
        upto &= segment[:, None] == segment[None]
        first = segment == 0
        state = select(first[0], state, initial)  # that no gradient meets, where no step does
    entering = [(jnp.concatenate([s.C, s.n[..., None]], -1), s.m) for s in (state, initial)]

    before = upto & (index[:, None] > index[None])
    since = _since(upto, parts.log_decay) + _either(first, *(m[:, None] for _, m in entering))
    logs = _between(before, parts.log_decay) + parts.log_write[:, None]
    logs = jnp.where((upto & does[None])[None], logs, -jnp.inf)
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
    reached = broken | (before & broken[None]).any(1)
    after = state._replace(C=S[..., :-1], n=S[..., -1], m=m[:, -1])
    return spoilt(reached[-1], after), spoilt(reached, jnp.moveaxis(read, 0, 1))


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
    behind = jnp.tril(lower, -1)[None] * log_decay[:, :, None]  # of step l, where it is behind j
    return jnp.einsum("il,hlj->hij", lower, behind, precision=HIGHEST)
