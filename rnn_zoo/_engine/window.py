"""The last inputs as a state, and what a run of steps does to it."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from ..linear import select


class Window(eqx.Module):
    """Rows that are pushed into a window of the last rows, oldest first: at most as many as fit.

    An element of a monoid, as `AffineMap` is: what many steps do is as large as one state.
    """

    rows: Array
    """(size, ...): the last `count` of them are those that are pushed."""
    count: Int[Array, ""]

    def apply(self, rows: Array) -> Array:
        """The window after."""
        places = jnp.arange(len(rows))
        moved = _picked(rows, places[None] == places[:, None] + self.count)
        return select(places < len(rows) - self.count, moved, self.rows)

    def compose(self, earlier: "Window") -> "Window":
        """First `earlier`, then `self`."""
        count = jnp.minimum(self.count + earlier.count, len(self.rows))
        return Window(self.apply(earlier.rows), count)


def pushed(
    inputs: Array,
    initial: Array,
    mask: Bool[Array, " time"] | None,
    reset: Bool[Array, " time"] | None,
) -> Window:
    """What the steps of a sequence push: their valid inputs; a reset pushes all of `initial`."""
    size, time = len(initial), len(inputs)
    inputs = inputs.astype(initial.dtype)
    if mask is None and reset is None:
        rows = inputs[max(time - size, 0) :]
        missing = [(size - len(rows), 0)] + [(0, 0)] * (rows.ndim - 1)
        return Window(jnp.pad(rows, missing), jnp.array(len(rows), jnp.int32))
    valid = jnp.ones(time, bool) if mask is None else mask
    if reset is not None:
        resets = reset.astype(jnp.int32)
        valid = valid & (lax.cumsum(resets, reverse=True) == resets)  # none behind the step
    age = lax.cumsum(valid.astype(jnp.int32), reverse=True)  # 1 for the newest
    rows = _picked(inputs, valid[None] & (age[None] == jnp.arange(size, 0, -1)[:, None]))
    window = Window(rows, jnp.minimum(age[0], size).astype(jnp.int32))
    if reset is None:
        return window
    anew = Window(window.apply(initial), jnp.full_like(window.count, size))
    return select(reset.any(), anew, window)


def _picked(rows: Array, which: Bool[Array, "new old"]) -> Array:
    """For each new row the old one that is its, zeros where none is.

    By a select and a sum: a gather asks how its result is spread over devices.
    """
    picks = [select(one, rows, jnp.zeros_like(rows)).sum(0) for one in which]
    return jnp.stack(picks) if picks else rows[:0]
