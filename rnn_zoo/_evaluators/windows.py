"""Cells that read their last inputs: all steps at once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jaxtyping import Array

from .._common.checks import Steps, check_output
from .._common.dtypes import dtype_beside, half_as
from .._engine.mesh import vary_alike
from .._engine.order import valid_first
from ..linear import select
from .common import How, visible


WINDOW = "window"
# The products of more inputs are many operations; such a cell runs step by step.
MOST = 32


def at_once(cell: Any, state: Any, steps: Steps, how: How) -> bool:
    """Whether a cell runs here: it reads its last inputs, and the last state is wanted alone."""
    if not getattr(cell, "has_window", False) or how.keep_states or how.plain:
        return False
    if not isinstance(steps.length, int) or steps.length == 0 or len(state) >= MOST:
        return False
    # A gather asks there how its result is spread over devices.
    explicit = AxisType.Explicit in jax.typeof(steps.x).sharding.mesh.axis_types
    fits = dtype_beside(state, cell, steps.x) == state.dtype
    return fits and not (explicit and steps.mask is not None)


@eqx.filter_jit
def windows(cell, state, steps: Steps, how: How):
    """The inputs of all steps, each with those before it, and what the cell reads of them."""
    xs = visible(steps)[0].astype(state.dtype)
    mask, reset = steps.mask, steps.reset
    if how.reverse:
        xs, mask, reset = jax.tree.map(lambda a: jnp.flip(a, 0), (xs, mask, reset))
    state, xs = vary_alike(state, xs)
    rows = jnp.concatenate([state, xs])
    ys = _read(cell, rows, mask, reset)
    final = rows[len(xs) :]
    if mask is not None or reset is not None:
        final = cell.pushed(xs, mask, reset).apply(state)
    return final, None, half_as(steps.x, jnp.flip(ys, 0) if how.reverse else ys)


def _read(cell: Any, rows: Array, mask: Array | None, reset: Array | None) -> Array:
    """The outputs; `rows` are the inputs before all steps, and those of the steps."""
    length, before = len(rows), len(cell.init_state())
    documents = None if reset is None else jnp.pad(jnp.cumsum(reset), (before, 0))
    undo: Callable = lambda ys: ys  # noqa: E731
    if mask is not None:
        # Valid steps side by side; what reads beyond them is masked.
        order = valid_first(jnp.concatenate([jnp.ones(before, bool), mask]))
        rows, undo = order.apply(rows), order.undo
        documents = None if documents is None else documents[order.source]

    def back(a: Array, steps: int) -> Array:
        return a[before - steps : length - steps]

    def inputs(steps: int) -> Array:
        if documents is None or steps == 0:
            return back(rows, steps)
        same = back(documents, steps) == back(documents, 0)
        return select(same, back(rows, steps), jnp.zeros_like(back(rows, 0)))

    def read(*inputs: Array) -> Array:
        y = cell.read(inputs)
        check_output(cell, y)
        return y

    ys = jax.vmap(read)(*map(inputs, range(before + 1)))
    if mask is None:
        return ys
    ys = undo(jnp.pad(ys, ((before, 0), (0, 0))))[before:]
    return select(mask, ys, jnp.zeros_like(ys))
