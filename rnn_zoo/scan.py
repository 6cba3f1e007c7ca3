"""The evaluators: a cell over a sequence, one signature and one return order for all of them.

`unroll` gives the final state and the outputs, `trajectory` all states and the outputs.
On one step a reset acts first, then the mask; a masked step holds the state and outputs
zero, and the cell never sees what stands in it.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ._common.checks import Steps, check_sizes, check_state, check_steps
from ._common.keys import step_keys
from ._common.moved import listing as _listing, moved as _moved
from ._common.old_names import SCAN as _OLD
from ._engine import across_devices as _across
from ._engine.backends import PARALLEL, choose, enough_for_chunks
from ._engine.chunks import Length
from ._evaluators import (
    CUDNN,
    PLAIN,
    WINDOW,
    Chunks,
    How,
    Report,
    at_once,
    by_cudnn,
    channels,
    check_cudnn,
    check_strict,
    choose_chunks,
    chosen_cudnn,
    chosen_inside,
    linear,
    matrix,
    one_chunk,
    options_inside,
    sequential,
    side_by_side,
    step_by_step,
    windows,
)
from .base import AbstractCell, State, check_cell, runs_in_chunks


METHODS = ("auto", "sequential", "parallel", "chunks", "cudnn")
MATRIX = "matrix"
ENGINES = ("auto", "scan")

# Part of the key of jax's caches, so that what was traced with one engine never runs with another.
_CHOSEN = jax.make_user_context("auto")


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """What runs inside `with rz.scan.engine("scan"):`, layers, models and training included.

    - `"auto"`: the loop and the recurrence of this package, as ever.
    - `"scan"`: plain `jax.lax.scan` of the cell's `step`, and for linear cells with
      `method="parallel"` plain `jax.lax.associative_scan` over `AffineMap.compose`. The results
      are the same but for rounding; only time and memory differ.

    A function that was traced before is traced anew. ValueError for another name.
    """
    if name not in ENGINES:
        raise ValueError(f"expected engine to be one of {ENGINES}, got {name!r}")
    with _CHOSEN(name):
        yield


@contextlib.contextmanager
def over_devices(mesh_axis: str) -> Iterator[None]:
    """One sequence over several devices: `with rz.scan.over_devices("time"):`, layers included.

    Time is spread over that axis of the mesh in use (`jax.set_mesh`), whose devices divide the
    number of steps, or, inside of a `jax.shard_map` over it, is spread already: there xs, dt, mask
    and reset are this device's steps, in the order of the devices, the state before the first step
    is the same on all, and so is the final state that comes back. Results are those of one device
    but for rounding: `mask`, `reset`, `dt`, `reverse`, states and gradients mean what they mean
    there.

    For linear cells, what passes between devices is one map h -> A h + b of the state's size, in
    log2(devices) rounds, for `ShortConv` the inputs that it remembers; never the sequence. The
    price is a second pass: each device runs its part as if nothing came before, hands on what it
    did, and runs it again from the state it is handed; in the gradient likewise. What is kept for a
    gradient are the states of its own steps. Of other cells, with `method="chunks"`, each device
    has the chunks of its own steps, and the states between chunks pass.

    TypeError for what is not a name. ValueError, when a sequence runs, for an axis that the mesh
    does not have, a number of steps that its devices do not divide, and a cell that is not linear
    without `method="chunks"`.
    """
    if mesh_axis is None:
        raise TypeError("expected mesh_axis to be the name of an axis of a mesh, got None")
    with _across.over(mesh_axis):
        yield


@contextlib.contextmanager
def in_chunks(options: Chunks | None = None) -> Iterator[None]:
    """Cells that are not linear run by `method="chunks"`, layers and models included.

    `with rz.scan.in_chunks():` is what `method="auto"` means inside, for every cell that has no
    parallel form of its own; the others, and what has a method or `remat` of its own, stay as they
    are. TypeError for options that are no `Chunks`.
    """
    if not isinstance(options, Chunks | None):
        raise TypeError(f"expected options to be a rnn_zoo.scan.Chunks or None, got {options!r}")
    with options_inside(options or "chunks"):
        yield


@contextlib.contextmanager
def in_cudnn() -> Iterator[None]:
    """LSTMs run by cuDNN: `with rz.scan.in_cudnn():`, layers and models included.

    It is `method="cudnn"` of `unroll` for every `LSTMCell` that has no method or `remat` of its
    own; all other cells stay as they are. Layers in a row and both directions are one call where
    they have one hidden size and no dropout between them. ValueError, when an LSTM runs, on a
    machine without cuDNN.
    """
    with options_inside(CUDNN):
        yield


def unroll(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reverse: bool = False,
    key: Any = None,
    method: str | Chunks = "auto",
    remat: int | str | None = None,
    engine: str | None = None,
    mesh_axis: str | None = None,
) -> tuple[State, Array]:
    """Run a cell over a sequence: `state, ys = unroll(cell, xs)`.

    **Arguments:**

    - `cell`: any cell, or a layer that can step.
    - `xs`: (time, input_size). Length 0 and 1 work.
    - `state`: the state before the first step; `cell.init_state()` by default. The final
      state carries a sequence on: chunks give what the whole gives.
    - `dt`: for timed cells, the elapsed time of each step in units of the cell's nominal
      step: a scalar or (time,).
    - `mask`: (time,) bool. False: this step does not happen. The state is held, the output
      is zero, and neither values nor gradients see what xs and dt hold there. The time of
      a masked step is not carried over; `rz.elapsed` makes a `dt` that does.
    - `reset`: (time,) bool. True: the state is the initial one again before this step, in
      processing order, masked or not.
    - `reverse`: process from the end; outputs stay in the order of xs.
    - `key`: for stochastic cells: one key, or one per step (time,).
    - `method`: "sequential"; "parallel" (linear cells, log2(time) passes); "chunks" (cells that
      are not linear: chunks of the sequence side by side, where the network allows; `scan.Chunks`
      in its place has options); "cudnn" (an `LSTMCell` of float32 without peepholes and coupled
      gates, on a CUDA device: what cuDNN does not compute runs in the loop, that is a mask with
      gaps or without any valid step, `reset`, and float64); "auto", which takes neither of the
      last two. cuDNN has not been run from here yet.
    - `remat`: for long sequences. A gradient keeps the states between segments of so many
      steps, and runs each segment once more; "sqrt": segments of sqrt(time) steps, so that
      the memory of what is kept grows like sqrt(time). Runs the sequential loop.
    - `engine`: "auto" or "scan", as in `rz.scan.engine`, which reaches layers and models too.
      The first thing to try where a result, a gradient or a transformation surprises.
    - `mesh_axis`: for linear cells, `ShortConv`, and others with `method="chunks"`, the axis of the
      mesh in use that time is spread over, as in `rz.scan.over_devices`, which reaches layers too.
      Its devices divide the number of steps.

    **Returns:** the final state, and the outputs (time, output_size).

    **Raises:** ValueError or TypeError for a wrong shape, dtype or structure, for a `dt`
    or a `method` that the cell does not have, for `remat` with method "parallel".
    """
    with _engine(engine), _across.over(mesh_axis):
        steps = _checked(cell, (xs, dt, mask, reset, key), reverse)
        how = How(_across.turned(reverse), False)
        state, _, ys = _evaluate(cell, steps, state, method, remat, how)
    return state, ys


def trajectory(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reverse: bool = False,
    key: Any = None,
    method: str | Chunks = "auto",
    engine: str | None = None,
    mesh_axis: str | None = None,
) -> tuple[State, Array]:
    """All states along a sequence: `states, ys = trajectory(cell, xs)`.

    Arguments as in `unroll`. Each leaf of `states` has a leading time axis and holds the
    state after that step, in the order of xs.
    """
    with _engine(engine), _across.over(mesh_axis):
        steps = _checked(cell, (xs, dt, mask, reset, key), reverse)
        how = How(_across.turned(reverse), True)
        _, states, ys = _evaluate(cell, steps, state, method, None, how)
    return states, ys


def chunk_report(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reverse: bool = False,
    key: Any = None,
    method: str | Chunks = "chunks",
) -> Report:
    """What `unroll(cell, xs, method="chunks")` does: its level, its passes, what was left open.

    Arguments and errors as in `unroll`; with `strict`, too, a report comes. A sequence that one
    chunk holds runs by the loop, which its report shows as one pass.
    """
    steps = _checked(cell, (xs, dt, mask, reset, key), reverse)
    options = resolve_method(cell, method, steps.length)
    if method != "chunks" and not isinstance(method, Chunks):
        raise ValueError(f'expected method to be "chunks" or a rnn_zoo.scan.Chunks, got {method!r}')
    if not isinstance(options, Chunks):
        return one_chunk(steps.length)
    plain = _CHOSEN.value == "scan"
    how = How(_across.turned(reverse), False, plain=plain, algorithm=options)
    whole = cell, check_state(cell, state)
    if _across.chosen() is None or steps.length == 0:
        return side_by_side(*whole, steps, how)[1]
    how = how._replace(mesh_axis=_across.chosen())
    if _across.inside():
        return side_by_side(_across.own(cell), whole[1], steps, how)[1]
    report, _ = _across.in_parts(_reported, whole, steps, how)
    return report._replace(size=int(report.size), chunks=int(report.chunks))


def _engine(name: str | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if name is None else engine(name)


def _checked(cell: Any, given: tuple, reverse: bool) -> Steps:
    """(xs, dt, mask, reset, key), checked against the cell."""
    check_cell(cell)
    xs, dt, mask, reset, key = given
    steps = check_steps(cell, xs, dt, mask, reset, None)
    if not cell.stochastic:
        return steps
    return steps._replace(key=step_keys(key, steps.length, reverse=reverse))


def _evaluate(cell, steps: Steps, state, method: str | Chunks, remat, how: How):
    state = check_state(cell, state)
    algorithm = resolve_method(cell, method, steps.length, remat)
    how = how._replace(algorithm=algorithm, plain=_CHOSEN.value == "scan")
    if _across.chosen() is not None and steps.length != 0:
        if not isinstance(algorithm, Chunks):
            _across.check_cell(cell, method, remat, how.keep_states)
        return _spread(cell, state, steps, remat, how._replace(mesh_axis=_across.chosen()))
    if isinstance(algorithm, Chunks):
        found, report = side_by_side(cell, state, steps, how)
        return check_strict(cell, report, algorithm, found)
    if algorithm == CUDNN:
        return by_cudnn(cell, state, steps, how)
    if algorithm == MATRIX:
        return matrix(cell, state, steps, how)
    if algorithm not in ("sequential", WINDOW):
        one_by_one = step_by_step(cell, how)
        return (channels if one_by_one else linear)(cell, state, steps, how)
    return _stepwise(cell, state, steps, remat, how)


def _stepwise(cell, state, steps: Steps, remat, how: How):
    if how.algorithm == WINDOW and at_once(cell, state, steps, how):
        return windows(cell, state, steps, how)
    segment = math.isqrt(max(steps.length - 1, 0)) + 1 if remat == "sqrt" else remat
    return sequential(cell, state, steps, how._replace(segment=segment))


def resolve_method(
    cell: AbstractCell, method: str | Chunks, length: Length, remat: int | str | None = None
) -> str | Chunks:
    """What runs the cell: the sequential loop, an algorithm for a linear recurrence, or chunks."""
    if not isinstance(method, Chunks) and method not in METHODS:
        raise ValueError(f"expected method to be one of {METHODS}, got {method!r}")
    if remat is not None:
        number = isinstance(remat, int) and not isinstance(remat, bool) and remat >= 1
        if remat != "sqrt" and not number:
            raise ValueError(
                f'expected remat to be None, "sqrt" or a number of steps >= 1, got {remat!r}'
            )
        if method not in ("auto", "sequential"):
            raise ValueError(f"remat belongs to the sequential loop: drop method={method!r}")
        return "sequential"
    if method == CUDNN:
        check_cudnn(cell)
    if chosen_cudnn(cell, method, length):
        return "sequential" if _CHOSEN.value == "scan" else CUDNN
    parallel = cell.linear or runs_in_chunks(cell)
    if method == "auto" and not parallel:
        method = chosen_inside()
    if method == "chunks" or isinstance(method, Chunks):
        options = Chunks() if isinstance(method, str) else method
        return choose_chunks(cell, parallel, length, options)
    if method == "parallel" and not parallel:
        raise ValueError(
            f"{type(cell).__name__} is not a linear cell and has no parallel form: "
            'use method="sequential" or "auto"; rz.list_cells(linear=True) names those that have'
        )
    if method == "auto" and getattr(cell, "has_window", False):
        return WINDOW
    if method == "sequential" or not parallel or length == 0:
        return "sequential"
    if _CHOSEN.value == "scan":
        return PLAIN if method == "parallel" and cell.linear else "sequential"
    if runs_in_chunks(cell):
        in_chunks = method == "parallel" or enough_for_chunks(length)
        return MATRIX if in_chunks else "sequential"
    return PARALLEL if method == "parallel" else choose(jax.default_backend(), length)


def _spread(cell, state, steps: Steps, remat, how: How):
    """A cell over the devices of a mesh axis; in `jax.shard_map` over it, this device's part."""
    if _across.inside():
        state, (states, ys) = _part((cell, state), steps, remat, how)
    else:
        state, (states, ys) = _across.in_parts(_part, (cell, state), steps, remat, how)
    return state, states, ys


def _reported(whole: tuple, steps: Steps, how: How) -> tuple[Report, None]:
    cell, state = whole
    return side_by_side(_across.own(cell), state, steps, how)[1], None


def init_states(part: Any, batch_size: int) -> State:
    """`part.init_state()` of a cell, layer or model for so many samples: each array has a leading
    batch axis, as `rz.batch(part.scan)(xs, states)` takes it.

    A state that is trained gets the gradients of all samples. ValueError for a size below 1.
    """
    check_sizes(batch_size=batch_size)

    def spread(leaf: Any) -> Array:
        return jnp.broadcast_to(leaf, (batch_size, *jnp.shape(leaf)))

    return jax.tree.map(spread, part.init_state())


def _part(whole: tuple, steps: Steps, remat, how: How) -> tuple[Any, Any]:
    (cell, state), axis = whole, how.mesh_axis
    assert axis is not None
    if isinstance(how.algorithm, Chunks):
        found, report = side_by_side(_across.own(cell), state, steps, how)
        state, states, ys = check_strict(cell, report, how.algorithm, found)
    elif runs_in_chunks(cell) and not how.plain:
        cell = _across.own(cell)
        state, states, ys = matrix(cell, state, steps, how)
    elif cell.linear:
        # engine="scan" has no other form over devices.
        how = how._replace(algorithm=PLAIN if how.plain else how.algorithm)
        state, states, ys = linear(_across.own(cell), state, steps, how)
    elif hasattr(cell, "scan"):
        given = steps._asdict()
        with _across.backwards() if how.reverse else contextlib.nullcontext():
            state, ys = cell.scan(given.pop("x"), state, **given)
        return state, (None, ys)
    else:
        own = steps.x, steps.mask, steps.reset
        if how.reverse:
            own = jax.tree.map(lambda a: a[::-1], own)
        window = cell.pushed(*own)
        before = _across.before(window, lambda b, a: b.compose(a), axis, how.reverse)
        state = state if before is None else before.apply(state)
        state, states, ys = _stepwise(_across.own(cell), state, steps, remat, how)
    return _across.from_last(state, axis, how.reverse), (states, ys)


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__, "Chunks", "Report")
