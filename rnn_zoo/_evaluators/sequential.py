"""Any cell, step by step."""

import equinox as eqx
import jax.numpy as jnp

from .._common.checks import Steps, check_step
from .._engine.chunks import Way
from .._engine.loop import loop
from ..linear import select
from .common import How, visible


@eqx.filter_jit
def sequential(cell, state, steps: Steps, how: How):
    c = cell.constants()
    initial = cell.init_state()
    scalar_dt = steps.dt if steps.dt is not None and steps.dt.ndim == 0 else None

    def body(state, at: Steps):
        x, *dt = visible(at if scalar_dt is None else at._replace(dt=scalar_dt))
        if at.reset is not None:
            state = select(at.reset, initial, state)
        after, y = cell.advance(c, state, x, *dt, key=at.key)
        check_step(cell, state, after, y)
        if at.mask is not None:
            after = select(at.mask, after, state)
            y = jnp.where(at.mask, y, jnp.zeros_like(y))
        return after, (after if how.keep_states else None, y)

    per_step = steps if scalar_dt is None else steps._replace(dt=None)
    way = Way(steps.length, how.reverse, how.segment, how.plain)
    state, (states, ys) = loop(body, state, per_step, way)
    return state, states, ys
