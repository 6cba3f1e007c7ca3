"""The last inputs as a state, and what a run of steps does to it."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int


class Window(eqx.Module):
    """Rows that are pushed into a window of the last rows, oldest first: at most as many as fit.

    An element of a monoid, as `AffineMap` is: what many steps do is as large as one state.
    """

    rows: Array
    """(size, ...): the last `count` of them are those that are pushed."""
    count: Int[Array, ""]

    def apply(self, rows: Array) -> Array:
        """The window after."""
        old = jnp.arange(len(rows)) < len(rows) - self.count
        moved = jnp.roll(rows, -self.count, axis=0)
        return jnp.where(old.reshape(old.shape + (1,) * (rows.ndim - 1)), moved, self.rows)

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
    valid = jnp.ones(time, bool) if mask is None else mask
    if reset is not None:
        since = lax.cumsum(reset.astype(jnp.int32), reverse=True) - reset  # resets behind a step
        valid = valid & (since == 0)
    age = lax.cumsum(valid.astype(jnp.int32), reverse=True)  # 1 for the newest
    wanted = jnp.arange(size, 0, -1)
    found = valid & (age == wanted[:, None])
    rows = inputs[jnp.argmax(found, axis=1)]
    there = found.any(1).reshape((size,) + (1,) * (inputs.ndim - 1))
    rows = jnp.where(there, rows, jnp.zeros_like(rows)).astype(initial.dtype)
    window = Window(rows, jnp.minimum(age[0], size))
    if reset is None:
        return window
    anew = Window(window.apply(initial), jnp.full_like(window.count, size))
    any_reset = reset.any()
    return Window(
        jnp.where(any_reset, anew.rows, window.rows), jnp.where(any_reset, anew.count, window.count)
    )
