"""Steps as maps of real vectors: h -> h', with what a step's derivative does to a frame."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import Steps, check_state, check_steps
from .._common.vectors import state_vector, with_vector
from ..base import AbstractCell, State, check_cell


def checked(cell: Any, xs: Any, state: Any, dt: Any, key: Any) -> tuple[Steps, State]:
    """The steps and the first state, with a time for each step where there are times."""
    check_cell(cell)
    steps = check_steps(cell, xs, dt, None, None, key)
    if steps.dt is not None:
        steps = steps._replace(dt=jnp.broadcast_to(steps.dt, (steps.length,)))
    return steps, check_state(cell, state)


def push(
    cell: AbstractCell, state: State, frame: Float[Array, "n k"], at: Steps
) -> tuple[State, Float[Array, "n k"]]:
    """The state after this step, and what the step's derivative makes of the frame."""
    vector = state_vector(state)
    _, derivative, after = jax.linearize(step_of(cell, state, at), vector, has_aux=True)
    columns = jax.vmap(derivative, in_axes=1, out_axes=1)
    return after, columns(frame.astype(vector.dtype))


def step_of(cell: AbstractCell, state: State, at: Steps) -> Callable:
    """The step h -> h' of state vectors, with the state after it beside."""

    def step(vector):
        after, _ = cell.advance(cell.constants(), with_vector(state, vector), at.x, at.dt, at.key)
        return state_vector(after), after

    return step
