"""Matrix states over a sequence, some steps at a time: products of matrices instead of a step.

Within a chunk of C steps, what the steps do to the state that enters is worked out for all of them
at once: C x C scores between what they read and what they wrote, and where they erase, one unit
triangular system (the WY form of a product of rank-one changes). Between chunks the state alone is
handed on, and a derivative keeps those states and nothing else.

What makes it hold in float32: sums of logarithms within a segment, never differences of running
sums; exponents that are masked before they are raised, and never positive; the triangular system
by substitution, never by powers of its matrix; products in full precision.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from ..linear import HIGHEST, AffineMap, Dense, Parts, alike
from . import chunked
from .across_devices import before, place
from .backends import tuned
from .chunked import Steps, cut, harmless, in_order, per_step, spoilt
from .chunks import Way
from .mesh import vary_alike
from .triangular import unit_inverse


def run(
    parts: Parts,
    state: Array,
    way: Way,
    *,
    initial: Array,
    mask: Bool[Array, " time"] | None = None,
    reset: Bool[Array, " time"] | None = None,
) -> tuple[Array, Array]:
    """The state after all steps, and what each reads, (time, heads, value).

    `state` is the state before the first step, `initial` the one that a reset goes back to. As in
    the loop, a masked step does nothing; what is not finite reaches the steps behind it up to the
    next reset.
    """
    steps, smaller = _chunks(parts, way, mask, reset)
    state, read = chunked.run(_chunk, steps, state, initial)
    return state, per_step(read, way, smaller)


def states(
    parts: Parts,
    state: Array,
    way: Way,
    *,
    initial: Array,
    mask: Bool[Array, " time"] | None = None,
    reset: Bool[Array, " time"] | None = None,
) -> Array:
    """The state after each step, (time, heads, key, value): the chunks side by side."""
    steps, smaller = _chunks(parts, way, mask, reset)
    return per_step(chunked.states(_chunk, harmless, steps, state, initial), way, smaller)


def entering(parts: Parts, state: Array, way: Way, **flags: Any) -> Array:
    """The state before the first step of this device, from the one before all steps.

    What passes between devices is what the steps of each do to any state, one matrix for each head.
    """
    axis = way.mesh_axis
    if axis is None or lax.axis_size(axis) == 1:
        return state
    heads, key, value = state.shape
    eye = jnp.broadcast_to(jnp.eye(key, dtype=state.dtype), (heads, key, key))
    flags["initial"] = _beside(flags["initial"].astype(state.dtype), jnp.zeros_like(eye))
    wider = parts._replace(v=_beside(parts.v, jnp.zeros((*parts.v.shape[:-1], key), parts.v.dtype)))
    total, _ = run(wider, _beside(jnp.zeros_like(state), eye), way, **flags)
    total = AffineMap(Dense(total[..., value:]), total[..., :value])
    earlier = before(total, lambda b, a: b.compose(a), axis, way.reverse)
    return jnp.where(place(axis, way.reverse) == 0, state, earlier.apply(state))


def _beside(*columns: Array) -> Array:
    return jnp.concatenate(vary_alike(*columns), -1)


def _chunks(parts: Parts, way: Way, mask: Array | None, reset: Array | None) -> tuple[Steps, int]:
    """The chunks, and how many smaller steps a step has."""
    by_channel = parts.log_decay is not None and parts.log_decay.shape[-1] > 1
    size = tuned("channel_chunk" if by_channel else "matrix_chunk")
    steps = in_order(parts, way, mask, reset)
    if parts.k.ndim == 3:
        return cut(steps, size), 1
    return cut(_single(steps), size), parts.k.shape[1]


def _single(steps: Steps) -> Steps:
    """Smaller steps one after the other: the first may be a reset, the last one reads."""
    parts, segment = steps.parts, steps.segment
    smaller = parts.k.shape[1]

    def among(x: Array, place: int) -> Array:
        rest = jnp.zeros((x.shape[0], smaller - 1, *x.shape[1:]), x.dtype)
        both = [x[:, None], rest] if place == 0 else [rest, x[:, None]]
        return jnp.concatenate(both, 1).reshape(-1, *x.shape[1:])

    rest: list[Any] = [None if p is None else p.reshape(-1, *p.shape[2:]) for p in parts[1:]]
    segment = None if segment is None else among(segment, 0)
    return Steps(Parts(among(parts.q, -1), *rest), jnp.repeat(steps.does, smaller), segment)


# --- one chunk ------------------------------------------------------------------------------------


class Chunk(NamedTuple):
    """What the steps of a chunk do; i and j are its steps, and None a factor of 1."""

    rows: Array
    """(heads, i, key): what q reads of the state before its step."""
    k: Array
    a: Array | None
    b: Array | None
    turn: Array | None
    """(heads, key or 1): of the state, to the end; the four above are turned against it."""
    before: Array
    """(i, j): step j comes before step i, in its segment."""
    between: Array | None = None
    """(heads, i, j, key or 1): what is left before i of what j wrote."""
    since: Array | None = None
    """(heads, i, key or 1): what is left before i of the state that its segment began with."""
    until: Array | None = None
    """(heads, j, key or 1): what is left after the chunk of what j wrote."""
    left: Array | None = None
    """(heads, key or 1): what is left after it of the state that its last segment began with."""
    first: Array | None = None
    """(steps, 1): in the segment that the state entered; None: there are no others."""


def _chunk(steps: Steps, state: Array, initial: Array) -> tuple[Array, Array]:
    """The state after a chunk, and what its steps read, (steps, heads, value)."""
    parts, _, broken = harmless(steps)
    parts = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), parts)  # the heads first
    segment = None if steps.segment is None else jnp.cumsum(steps.segment)
    if segment is not None:
        # Where no step reads the state that enters, NaN in it shall not reach a derivative.
        state = jnp.where(segment[0] == 0, state, jnp.zeros_like(state))
    entering = (state, initial)
    index = jnp.arange(parts.k.shape[1])
    before = index[:, None] > index[None]
    if segment is not None:
        before &= segment[:, None] == segment[None]
    chunk = _faded(_turned(parts, before), parts.log_decay, segment)

    own = jnp.einsum("hik,hik->hi", jnp.conj(parts.q), parts.k, precision=HIGHEST)
    scores = _scores(chunk, chunk.rows, chunk.k) + _diagonal(own)
    if parts.a is None:
        read, written = _product(scores, parts.v), _written(chunk, chunk.k, parts.v)
    elif parts.b is None:  # v and what is erased are one: k (v - a^T S)^T
        rest = _solved(chunk, -_scores(chunk, chunk.a, chunk.k), -parts.v, entering)
        read, written = _read(chunk, scores, -rest), _left(chunk, chunk.k, -rest)
    else:
        seen = _product(_scores(chunk, chunk.a, chunk.k), parts.v)
        seen = _solved(chunk, _scores(chunk, chunk.a, chunk.b), seen, entering)
        own = jnp.einsum("hik,hik->hi", jnp.conj(parts.q), parts.b, precision=HIGHEST)
        erased = _scores(chunk, chunk.rows, chunk.b) + _diagonal(own)
        read = _product(scores, parts.v) + _read(chunk, erased, seen)
        written = _written(chunk, chunk.k, parts.v) + _left(chunk, chunk.b, seen)
    read = read + _of_entering(chunk, _times(chunk.rows, chunk.since), entering)
    at_last = state if chunk.first is None else jnp.where(chunk.first[-1], state, initial)
    after = _times(at_last, _column(chunk.left)) + written
    after, read = _times(after, _column(chunk.turn)), jnp.moveaxis(jnp.real(read), 0, 1)
    reached = broken | (before & broken[None]).any(1)
    return spoilt(reached[-1], after), spoilt(reached, read)


def _turned(parts: Parts, before: Array) -> Chunk:
    """What the steps read and write, in a frame that turns with the state since its segment began.

    A turn has modulus 1, so that undoing it costs no accuracy, where undoing a decay would.
    """
    rows, k, a, b, end = jnp.conj(parts.q), parts.k, parts.a, parts.b, None
    if parts.log_decay is not None:
        rows = _times(rows, jnp.exp(parts.log_decay))
    for own, since in _turns(parts, before):
        back = jnp.conj(own * since)
        rows, k = _times(rows, own * since), _times(k, back)
        a, b = (None if a is None else _times(a, since)), (None if b is None else _times(b, back))
        end = _times((own * since)[:, -1], end)
    return Chunk(rows, k, a, b, end, before)


def _turns(parts: Parts, before: Array) -> list[tuple[Array, Array]]:
    """For each kind of turn that of a step itself and that of the steps before it."""
    turns, dtype = [], jnp.real(parts.k).dtype
    if parts.angle is not None:
        since = _sums(before, parts.angle)
        turns.append(tuple(lax.complex(jnp.cos(x), jnp.sin(x)) for x in (parts.angle, since)))
    if parts.negative is not None:
        since = _sums(before, parts.negative.astype(dtype)) % 2 == 1
        turns.append(tuple(jnp.where(x, -1, 1).astype(dtype) for x in (parts.negative, since)))
    return turns


def _faded(chunk: Chunk, log_decay: Array | None, segment: Array | None) -> Chunk:
    """The chunk with its decays: sums of logarithms within a segment, none of a difference."""
    if segment is not None:
        chunk = chunk._replace(first=(segment == 0)[:, None])
    before = chunk.before
    if log_decay is not None:
        lower = jnp.tril(jnp.ones(before.shape, log_decay.dtype), -1)
        behind = lower[None, ..., None] * log_decay[:, :, None]  # of step l, where it is behind j
        sums = jnp.einsum("il,hljk->hijk", lower, behind, precision=HIGHEST)
        between = jnp.where(before[None, ..., None], sums, -jnp.inf)
        since = _sums(before, log_decay)
        chunk = chunk._replace(
            between=jnp.exp(between),
            since=jnp.exp(since),
            until=jnp.exp(_sums(before.T, log_decay)),
            left=jnp.exp(since[:, -1] + log_decay[:, -1]),
        )
    if segment is None:
        return chunk
    last = (segment == segment[-1])[:, None].astype(chunk.rows.real.dtype)
    return chunk._replace(until=last[None] if chunk.until is None else chunk.until * last[None])


def _sums(which: Array, values: Array) -> Array:
    return jnp.einsum("il,hlk->hik", which.astype(values.dtype), values, precision=HIGHEST)


def _scores(chunk: Chunk, rows: Array | None, columns: Array | None) -> Array:
    """(heads, i, j): what step i reads of a one that step j wrote."""
    assert rows is not None
    assert columns is not None
    between = chunk.between
    if between is not None and between.shape[-1] > 1:
        parts = alike(rows, columns, between)
        return jnp.einsum("hik,hjk,hijk->hij", *parts, precision=HIGHEST)
    scores = jnp.einsum("hik,hjk->hij", *alike(rows, columns), precision=HIGHEST)
    if between is None:
        return jnp.where(chunk.before, scores, jnp.zeros_like(scores))
    return _times(scores, between[..., 0])


def _solved(chunk: Chunk, scores: Array, given: Array, entering: tuple) -> Array:
    """What each step finds: `given` and what is read of the entering state, with all that the
    steps before it have changed."""
    inverse = unit_inverse(scores)
    start = _times(chunk.a, chunk.since)
    if chunk.first is None:
        return _product(inverse, given + _product(start, entering[0]))
    found = _of_entering(chunk, _product(inverse, start), entering)
    return _product(inverse, given) + found


# --- with the states of two segments --------------------------------------------------------------
# What the entering state holds may be NaN and has to end at a reset, where a product would hand it
# on as 0 times NaN: so the two are multiplied apart, and one is chosen.


def _of_entering(chunk: Chunk, rows: Array, entering: tuple[Array, Array]) -> Array:
    """What rows read of the state that their segment began with."""
    if chunk.first is None:
        return _product(rows, entering[0])
    return jnp.where(chunk.first, *(_product(rows, state) for state in entering))


def _read(chunk: Chunk, scores: Array, values: Array) -> Array:
    if chunk.first is None:
        return _product(scores, values)
    return jnp.where(chunk.first, *(_product(scores, one) for one in _apart(chunk, values)))


def _left(chunk: Chunk, columns: Array | None, values: Array) -> Array:
    if chunk.first is not None:
        values = jnp.where(chunk.first[-1], *_apart(chunk, values))
    return _written(chunk, columns, values)


def _apart(chunk: Chunk, values: Array) -> tuple[Array, Array]:
    assert chunk.first is not None
    zeros = jnp.zeros_like(values)
    return jnp.where(chunk.first, values, zeros), jnp.where(chunk.first, zeros, values)


def _written(chunk: Chunk, columns: Array | None, values: Array) -> Array:
    """What is left after the chunk of what its steps wrote."""
    columns = _times(columns, chunk.until)
    return jnp.einsum("hjk,hjv->hkv", *alike(columns, values), precision=HIGHEST)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(*alike(a, b), precision=HIGHEST)


def _times(a: Any, factor: Array | None) -> Array:
    if factor is None:
        return a
    a, factor = alike(a, factor)
    return a * factor


def _column(factor: Array | None) -> Array | None:
    return None if factor is None else factor[..., None]


def _diagonal(values: Array) -> Array:
    return values[..., None] * jnp.eye(values.shape[-1], dtype=values.dtype)[None]
