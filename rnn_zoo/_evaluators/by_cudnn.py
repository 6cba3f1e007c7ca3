"""LSTMs by cuDNN: which ones, and how their parameters and states become its operands."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .._common.checks import Steps, check_state
from .._common.dtypes import half_as, working_dtype
from .._engine import across_devices as across, cudnn
from .._engine.backends import lstm_by
from ..cells.gated import LSTMCell, LSTMState
from .common import How, visible
from .options import chosen_inside
from .sequential import sequential


CUDNN = "cudnn"


def computes(cell: Any) -> bool:
    """Whether cuDNN has this cell: an LSTM of float32 without peepholes and coupled gates."""
    if type(cell) is not LSTMCell or cell.coupled or cell.weight_peep is not None:
        return False
    return cell.weight_ih.dtype == cell.weight_hh.dtype == jnp.float32


def check_cudnn(cell: Any) -> None:
    """A ValueError for a cell that cuDNN does not have."""
    if not computes(cell):
        raise ValueError(
            f'method="cudnn" expects an rz.cells.LSTMCell of float32 without peepholes and coupled '
            f'gates, got {type(cell).__name__}: use method="auto"'
        )


def check_here() -> None:
    """A ValueError where the machine has no cuDNN."""
    lacks = cudnn.missing()
    if lacks:
        raise ValueError(f'method="cudnn" needs {lacks}: use method="auto"')


def chosen(cell: Any, method: Any, length: Any) -> bool:
    """Whether "auto", or what it means here, is cuDNN for this cell and length."""
    if method != "auto" or not computes(cell):
        return method == CUDNN
    inside = chosen_inside()
    return inside == CUDNN or (inside == "auto" and not cudnn.missing() and lstm_by(length))


def fits(steps: Steps) -> bool:
    """Whether cuDNN has these steps as far as is known before they run."""
    known = isinstance(steps.length, int) and steps.length > 0
    return known and steps.reset is None and across.chosen() is None


def by_cudnn(cell: Any, state: Any, steps: Steps, how: How) -> tuple[Any, Any, Array]:
    """(final state, states, outputs) as the loop gives them, which takes what cuDNN does not."""
    check_here()
    in_float = working_dtype(cell, steps.x) == jnp.float32
    if how.keep_states or how.plain or not fits(steps) or not in_float:
        return sequential(cell, state, steps, how._replace(algorithm="sequential"))
    if how.reverse:
        turned = Steps(steps.x[::-1], mask=None if steps.mask is None else steps.mask[::-1])
        (state,), ys = layers_by_cudnn([cell], False, [state], turned)
        return state, None, ys[::-1]
    (state,), ys = layers_by_cudnn([cell], False, [state], steps)
    return state, None, ys


def layers_by_cudnn(
    cells: Sequence[Any], both: bool, states: Sequence[Any], steps: Steps
) -> tuple[list[LSTMState], Array]:
    """The final state of each cell, and the outputs of the last layer.

    `cells`: each direction of each layer, forward first. `states`: that before the first step of
    each, None for the initial one. ValueError on a machine without cuDNN.
    """
    check_here()
    states = [check_state(cell, state) for cell, state in zip(cells, states)]
    after, ys = _run(list(cells), both, states, steps)
    return after, half_as(steps.x, ys)


@eqx.filter_jit
def _run(
    cells: list[LSTMCell], both: bool, states: list[Any], steps: Steps
) -> tuple[list[LSTMState], Array]:
    size, layers = cells[0].output_size, len(cells) // (2 if both else 1)
    form = cudnn.form(cells[0].input_size, size, layers, both)
    weights = cudnn.packed([(cell.weight_ih, cell.weight_hh, cell.bias) for cell in cells])
    x = visible(steps)[0].astype(jnp.float32)[None]
    h, c = (jnp.stack(part)[:, None] for part in zip(*states))
    mask = [] if steps.mask is None else [steps.mask[None]]
    ys, h, c = cudnn.lstm(form, x, h, c, weights, *mask)
    ys = ys[0]
    if steps.mask is not None:
        ys = jnp.where(steps.mask[:, None], ys, jnp.zeros_like(ys))
    return [LSTMState(h[i, 0], c[i, 0]) for i in range(len(cells))], ys
