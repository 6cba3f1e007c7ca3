"""h_t = A_t h_{t-1} + b_t for all t: the algorithms, and one derivative for all of them.

The recurrence is a linear system with ones on its diagonal, and is stated as one
(`lax.custom_linear_solve`): its derivative is then the same recurrence run the other way
with A transposed, forward mode, `vmap` and second derivatives follow, and h is all that is
kept for it. An A without a time axis stays one matrix throughout.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from ._affine import AbstractLinearMap, AffineMap, prefix_states, select, varies


class Recurrence(NamedTuple):
    """What a state goes through from one step to the next, without the offsets."""

    linear: AbstractLinearMap
    """A of all steps, or one for all (`varies`)."""
    mask: Bool[Array, " time"] | None
    """False: the state is held."""
    barrier: Bool[Array, " time"] | None
    """True: the step forgets what came before, by a select, so that not even a NaN passes."""
    reverse: bool
    """Runs from the last step to the first."""

    def through(self, h: Array) -> Array:
        """What is left of h, the states before the steps, after them."""
        after = self.linear.apply(h)
        if self.mask is not None:
            after = select(self.mask, after, h)
        if self.barrier is not None:
            after = select(self.barrier, jnp.zeros_like(after), after)
        return after

    def at(self, t: Array) -> "Recurrence":
        """One step of it."""
        linear, flags = self.linear, (self.mask, self.barrier)
        if varies(linear):
            linear = jax.tree.map(lambda a: _index(a, t), linear)
        mask, barrier = (None if f is None else _index(f, t) for f in flags)
        return Recurrence(linear, mask, barrier, self.reverse)


def solve(recurrence: Recurrence, offsets: Array, algorithm: str) -> Array:
    """All states (time, ...) from the offsets (time, ...); the state before the first is 0.

    `algorithm`: "loop", one step after the other; "associative", log2(time) passes.
    """
    run = {"loop": _loop, "associative": _associative}[algorithm]

    def matvec(h: Array) -> Array:
        nothing = jnp.zeros_like(h[:1])
        parts = [h[1:], nothing] if recurrence.reverse else [nothing, h[:-1]]
        return h - recurrence.through(jnp.concatenate(parts))

    return lax.custom_linear_solve(
        matvec,
        offsets,
        lambda _, b: run(recurrence, b, transposed=False),
        lambda _, b: run(_transposed(recurrence), b, transposed=True),
    )


def _transposed(recurrence: Recurrence) -> Recurrence:
    """The system of the derivative: it runs the other way, and its A_t acts after its step t."""
    return recurrence._replace(
        linear=recurrence.linear.transpose(), reverse=not recurrence.reverse
    )


def _loop(recurrence: Recurrence, offsets: Array, *, transposed: bool) -> Array:
    # Slices of axis 0 in a loop, not lax.scan: vmap maps them without moving the batch axis,
    # which saves two passes over all arrays.
    length = offsets.shape[0]

    def body(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        h, states = carry
        t = length - 1 - i if recurrence.reverse else i
        step = recurrence.at(t)
        if transposed:
            h = _index(offsets, t) + h
            return step.through(h), lax.dynamic_update_index_in_dim(states, h, t, 0)
        h = _index(offsets, t) + step.through(h)
        return h, lax.dynamic_update_index_in_dim(states, h, t, 0)

    start = jnp.zeros_like(offsets[0]), jnp.zeros_like(offsets)
    return lax.fori_loop(0, length, body, start)[1]


def _associative(recurrence: Recurrence, offsets: Array, *, transposed: bool) -> Array:
    linear, mask, barrier, reverse = recurrence
    if mask is not None:
        shape = (offsets.shape[0], *linear.a.shape[-linear.rank :])
        linear = jax.tree.map(lambda a: jnp.broadcast_to(a, shape), linear)
        linear = select(mask, linear, linear.identity())
    if transposed:
        # Before step t in this order comes the A of the step before; the first has none.
        shift = -1 if reverse else 1
        linear = jax.tree.map(lambda a: jnp.roll(a, shift, 0), linear) if varies(linear) else linear
        barrier = None if barrier is None else jnp.roll(barrier, shift)
    if reverse:
        linear = jax.tree.map(lambda a: a[::-1], linear) if varies(linear) else linear
        barrier = None if barrier is None else barrier[::-1]
        return prefix_states(AffineMap(linear, offsets[::-1]), barrier)[::-1]
    return prefix_states(AffineMap(linear, offsets), barrier)


def _index(array: Array, t: Array) -> Array:
    return lax.dynamic_index_in_dim(array, t, 0, keepdims=False)
