"""Linear cells with some modes for each channel: what is large is held for one step alone."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._common.checks import Steps, check_output
from .._common.dtypes import half_as
from .._engine import plain
from .._engine.backends import tuned
from .._engine.chunks import Length, in_chunks, near
from .._engine.mesh import vary_as
from ..base import check_transition
from ..linear import select
from .common import How, as_floats, over_time, visible


def step_by_step(cell: Any, how: How) -> bool:
    """Whether a linear cell runs here: where it would run in a loop, and the last state is wanted
    alone."""
    has_channels = getattr(cell, "has_channels", False)
    return (
        has_channels and how.algorithm == "loop" and how.mesh_axis is None and not how.keep_states
    )


@eqx.filter_jit
def channels(cell, state, steps: Steps, how: How):
    """The signals of all steps at once, the state one step after the other.

    A derivative keeps the states between segments of a few steps, and makes the others anew.
    """
    c, (x, *dt) = cell.constants(), visible(steps)
    inputs = as_floats(cell, x, *dt)
    first = [array[0] if array.ndim else array for array in inputs]
    check_transition(cell, jax.eval_shape(lambda *at: cell.transition(c, *at), *first), state)
    signals, at_one_step = over_time(lambda *at: cell.signals(c, *at), inputs)
    changing, constant = _apart(signals(), at_one_step)
    initial = _parts(cell.by_mode(cell.init_state()))

    def body(H, at):
        changing, mask, reset = at
        if reset is not None:
            H = select(reset, initial, H)
        signals = eqx.combine(changing, constant)
        decay, written = cell.change(c, signals)
        after = _after(decay, written, H)
        y = cell.read(c, _joined(after), signals)
        check_output(cell, y)
        if mask is not None:
            after, y = select(mask, (after, y), (H, jnp.zeros_like(y)))
        return after, y

    # In `jax.shard_map` the state has to differ between devices, by type, where anything does.
    beside = jax.tree.leaves((changing, eqx.filter((cell, constant, c), eqx.is_array)))
    H = tuple(vary_as(list(_parts(cell.by_mode(state))), beside))
    H, ys = _in_segments(body, H, (changing, steps.mask, steps.reset), steps.length, how.reverse)
    return cell.by_channel(_joined(H)), None, half_as(x, ys)


def _apart(signals: Any, at_one_step: Any) -> tuple[Any, Any]:
    """What changes from step to step, and what does not."""
    changes = jax.tree.map(lambda a, one: a.ndim > len(one.shape), signals, at_one_step)
    return eqx.partition(signals, changes)


def _in_segments(body: Any, H: Any, inputs: Any, length: Length, reverse: bool) -> Any:
    """`lax.scan`, of which a derivative keeps the states between segments, and within the one it
    is at those between steps."""
    step = jax.checkpoint(body, prevent_cse=False)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def segment(H, inputs):
        size = len(jax.tree.leaves(inputs)[0])
        return plain.scan(step, H, inputs, length=size, reverse=reverse)

    return in_chunks(segment, H, inputs, division=_division(length), reverse=reverse)


def _division(length: Length) -> tuple[int, Length, int]:
    """The number of segments, their size, and the steps that remain; best none."""
    size = tuned("channel_segment")
    return near(length, size) if isinstance(length, int) and length > size else (1, length, 0)


# --- complex states as pairs: the compiler makes better loops of real numbers ---------------------


def _parts(H: Array) -> tuple[Array, ...]:
    return (H.real, H.imag) if jnp.iscomplexobj(H) else (H,)


def _joined(H: tuple[Array, ...]) -> Array:
    return lax.complex(*H) if len(H) == 2 else H[0]


def _after(decay: Array, written: Array, H: tuple[Array, ...]) -> tuple[Array, ...]:
    """decay * H + written."""
    if len(H) == 1:
        return (decay * H[0] + written,)
    (a, b), (re, im), (u, v) = (jnp.real(decay), jnp.imag(decay)), H, _pair(written)
    return a * re - b * im + u, a * im + b * re + v


def _pair(written: Array) -> tuple[Array, Array]:
    return jnp.real(written), jnp.imag(written)
