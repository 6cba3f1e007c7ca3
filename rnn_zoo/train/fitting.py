"""The training of one model."""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.random as jr
import numpy as np

from ..data.batches import Batch
from ._old_fit import takes_old_arguments
from .checkpoint import AbstractStore, Checkpoints, Run
from .evaluate import assess
from .feeds import feed_of
from .keeping import Kept, kept_in, resumed
from .losses import fault_of
from .lowered import checked_dtype
from .placement import is_shared, local, place, sharding_of, spread
from .processes import STOP, join, listening, writes
from .progress_bar import ProgressBar
from .settled import (
    DataSourceError,
    FitResult,
    Length,
    NonFiniteLossError,
    Plan,
    Watch,
    at_least_one,
    checked_ema,
    make_plan,
    no_best,
    source_failed,
)
from .step import LOOK_BACK, UpdateRule, averaged, start, update


@takes_old_arguments
def fit(
    model: Any,
    train: Any,
    valid: Any = None,
    *,
    loss: Callable[..., Any],
    optimizer: Any,
    key: Any,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lengths: Sequence[int] | None = None,
    eval_every: int | None = None,
    max_patience: int | None = None,
    return_best: bool = False,
    augment: Callable[..., Any] | None = None,
    truncate: int | None = None,
    callback: Callable[..., Any] | None = None,
    show_progress: bool = False,
    checkpoints: Checkpoints | None = None,
    opt_state: Any = None,
    ema: Any = None,
    mesh: Any = None,
    compute_dtype: Any = None,
) -> FitResult:
    """Train a model: `fit(model, train, valid, loss=cross_entropy, optimizer=..., key=...)`.

    Many models at once train with `fit_population`.

    **Arguments:**

    - `model`: any Equinox module; what `trainable` names is trained.
    - `train`, `valid`: `rnn_zoo.data.Batch`es with all the samples, in memory or in mapped files,
      or any iterable of `Batch`es, which are taken as they come. One of `train` that can be gone
      through again begins anew when it ends; `valid` does so for each evaluation, and has to be
      able to.
    - `loss(model, batch, *, key)`: a scalar, or (scalar, dict of scalars).
    - `optimizer`: any optax transformation.
    - `key`: the order of the data depends on it and on the epoch alone, the randomness of a step
      on it and on the step alone.
    - `steps` or `epochs`: exactly one. An epoch is as many full batches as there are; what
      remains of its permutation is left out, other samples in each epoch. Of an iterable it is a
      pass, and epochs need its length (`len`).
    - `batch_size`: 32 by default; not for an iterable, nor are `lengths`.
    - `lengths`: batches of padded samples are cut to the smallest of these that fits
      (`rnn_zoo.data.batches`).
    - `eval_every`: steps between rows of the history; by default an epoch, or the whole run where
      the length of an epoch is not known.
    - `max_patience`: training stops after so many evaluations without a better validation loss.
    - `return_best`: give back the model with the best validation loss.
    - `augment(batch, key) -> batch`: is applied inside the jitted step, to training data only.
    - `truncate`: truncated backpropagation through time. Each batch is run in segments of so
      many steps with an update after each, and the state is carried on; a schedule counts
      segments. This needs a `PredictionLoss`, a target for each step and a model that can step.
    - `callback(step, row)` or `callback(step, row, result)`: is called with each row; training
      stops when it returns True, which may be NumPy's or JAX's. `result` is a `FitResult` of the
      run so far: the model as it is, the optimiser's state, the history.
    - `show_progress`: a progress bar on stderr (needs tqdm).
    - `checkpoints`: `Checkpoints(directory, every=None, resume=False, keep=None)`, where and how
      often the run is written, and whether it goes on from what is there.
    - `opt_state`: `result.opt_state` of a run before, to go on with its moments and its schedule.
      Steps are counted from 0 again, so give another key, or the data come in the same order.
    - `ema`: an optax transformation that averages, `optax.ema(0.999)`. It is given the parameters
      after each update, the validation loss is that of their average, and the result has it as
      `ema_model`.
    - `mesh`: a `jax.sharding.Mesh`, over all axes of which the samples of each batch are spread,
      or a `NamedSharding(mesh, P("data"))` that names the axes. The model is on every device. The
      loss has to be a mean over targets, as those here are and as `evaluate` needs it; the run is
      the one of one device but for rounding, of a `PredictionLoss` with its dropout too. Its
      devices may be those of several processes: docs/pages/howto/devices.md.
    - `compute_dtype`: `jnp.bfloat16` for a loss of inputs and matrices of that dtype. The
      parameters, their gradients and the optimiser keep theirs, and so do all vectors among them;
      the states of cells are float32. `loss` sees x in bfloat16, validation the model as it is.

    The step is compiled for these very `loss`, `optimizer`, `augment` and `ema` objects: give the
    same ones again and the next run does not compile.

    Ctrl-C stops, evaluates once more, writes a checkpoint and returns what there is.

    **Raises:** NonFiniteLossError at the first step whose loss or gradient is not finite, and at
    the end where `return_best` or `max_patience` saw no validation loss that is; ValueError or
    TypeError for arguments and data that do not fit, before anything runs; DataSourceError where
    `train` or `valid` fails or ends later; FileNotFoundError where `resume="must"` finds no
    checkpoint.
    """
    plan = make_plan(
        model,
        UpdateRule(
            loss,
            optimizer,
            augment,
            truncate,
            checked_ema(ema),
            sharding_of(mesh),
            checked_dtype(compute_dtype),
        ),
        feed_of(train, batch_size, lengths, epochs),
        Watch(valid, eval_every, max_patience, return_best, callback, show_progress),
        Length(steps, epochs),
        key,
    )
    checkpoints = _checked(checkpoints, plan)
    progress = start(model, optimizer, opt_state, ema)
    run = Run(progress, (model, averaged(progress)))
    run.processes = join(run.progress, plan, checkpoints)
    with kept_in(checkpoints, plan) as kept:
        run = resumed(run, checkpoints, kept)
        _open(run, plan, checkpoints)
        show_progress = show_progress and writes(plan.rule.sharding)
        with ProgressBar(show_progress, plan.steps, int(run.progress.step)) as bar:
            with listening(run.processes):
                _train(run, plan, kept, bar)
    _require_a_best(run, plan)
    return _result(run, return_best)


def _open(run: Run, plan: Plan, checkpoints: Checkpoints | None) -> None:
    """Put the run on its devices, and begin to go through the data where it goes on."""
    run.progress = spread(run.progress, plan.rule.sharding)
    if run.processes is not None:
        run.best = spread(run.best, plan.rule.sharding)
    order, _ = jr.split(plan.key)
    first = int(run.progress.step)
    run.stream = plan.feed.open(order, first, run.position, plan.rule.sharding)
    if checkpoints is not None and run.stream.position is None:
        raise ValueError(
            "checkpoints need a train that can say where it is, or the run would go on with other "
            "data: a Batch, a list of them, or an iterable whose iterator has get_state() and "
            "set_state(state), as those of Grain"
        )


def _checked(checkpoints: Checkpoints | None, plan: Plan) -> Checkpoints | None:
    """The checkpoints with their default."""
    if checkpoints is None:
        return None
    if not isinstance(checkpoints, Checkpoints):
        raise TypeError(
            f"expected checkpoints as rz.train.Checkpoints(directory), got {checkpoints!r}"
        )
    every = at_least_one("every of Checkpoints", checkpoints.every, plan.eval_every)
    return dataclasses.replace(checkpoints, every=every)


def _train(run: Run, plan: Plan, kept: Kept | None, bar: ProgressBar) -> None:
    # A run that goes on counts the seconds that it had taken before.
    began = time.perf_counter() - run.seconds
    try:
        for step in _steps(run, plan):
            run.seconds = time.perf_counter() - began
            stop = False
            if plan.evaluates_at(step):
                row = _add_row(run, plan)
                bar.show(row)
                stop = plan.watch.asks_to_stop(row, lambda: _result(run, return_best=False))
                stop = stop if run.processes is None else run.processes.any(stop)
                stop |= _out_of_patience(run, plan)
            bar.advance()
            last = stop or step == plan.steps
            if kept is not None and (last or step % kept.every == 0):
                _write(run, plan, kept.store)
            if stop:
                return
    except KeyboardInterrupt:
        if run.processes is not None and not run.processes.stopping:
            raise  # the others go on, and what is left to do is done together
        run.seconds = time.perf_counter() - began
        _interrupted(run, plan, None if kept is None else kept.store)


def _steps(run: Run, plan: Plan) -> Iterator[int]:
    """Take the steps that are left, and yield the number of each."""
    _, key_steps = jr.split(plan.key)
    first = int(run.progress.step)
    if first >= plan.steps or _out_of_patience(run, plan):
        return
    under_way: collections.deque = collections.deque()
    for step in range(first + 1, plan.steps + 1):
        batch = _next(run, plan, step == first + 1)
        outcome, word = _update(run, plan, batch, key_steps)
        run.pending.append(outcome)
        under_way.append((run.progress.finite, word))
        if len(under_way) > LOOK_BACK:
            _look_at(run, plan, *under_way.popleft())
        yield step


def _update(run: Run, plan: Plan, batch: Batch, key: Any) -> tuple[dict[str, Any], Any]:
    """Take a step: its loss and metrics, and what the processes say to each other."""
    if run.processes is None:
        run.progress, outcome = update(run.progress, batch, key, plan.rule)
        return outcome, None
    run.progress, outcome, word = run.processes.update(run.progress, batch, key, plan.rule)
    return outcome, word


def _look_at(run: Run, plan: Plan, finite: Any, word: Any) -> None:
    """What is known by now of a step some steps ago."""
    if not finite:
        _fail(run, plan)
    if run.processes is not None and int(word) == STOP:
        run.processes.stopping = True
        raise KeyboardInterrupt


def _next(run: Run, plan: Plan, first: bool) -> Batch:
    """The next batch, checked. DataSourceError, with the run so far, where there is none."""
    if run.processes is not None:
        return run.processes.next(lambda: _taken(run, plan), first)
    try:
        return _taken(run, plan)
    except Exception as error:
        # Before anything ran there is nothing to keep, and the error is best as it is.
        if first:
            raise
        raise _no_data(run, plan, error) from error


def _taken(run: Run, plan: Plan) -> Batch:
    batch = plan.next_batch(run.stream.batches)
    return batch if is_shared(plan.rule.sharding) else place(batch, plan.rule.sharding)


def _no_data(run: Run, plan: Plan, why: Exception | str) -> DataSourceError:
    so_far = _result(run, return_best=False)
    step = so_far.step + 1
    return source_failed(f"train failed at step {step}", why, so_far, plan.place_of(step))


def _add_row(run: Run, plan: Plan) -> dict[str, Any]:
    """Evaluate, and add a row to the history."""
    _require_finite(run, plan)
    step = int(run.progress.step)
    row: dict[str, Any] = {"step": step}
    if plan.feed.per_epoch is not None:
        row["epoch"] = step / plan.feed.per_epoch
    row["seconds"] = run.seconds
    pending, run.pending = jax.device_get(run.pending), []
    for name in pending[0] if pending else ():
        row[f"train_{name}"] = float(np.mean([float(outcome[name]) for outcome in pending]))
    if plan.watch.valid is not None:
        average = averaged(run.progress)
        model = run.progress.model if average is None else average
        parts = plan.held_out(lambda: _result(run, return_best=False))
        figures = assess(model, parts, plan.rule.loss)
        row |= {f"valid_{name}": figure for name, figure in figures.items()}
        run.note(row["valid_loss"])
    run.history.append(row)
    return row


def _out_of_patience(run: Run, plan: Plan) -> bool:
    max_patience = plan.watch.max_patience
    return max_patience is not None and run.waited >= max_patience


def _write(run: Run, plan: Plan, store: AbstractStore) -> None:
    _require_finite(run, plan)
    store.write(run)


def _interrupted(run: Run, plan: Plan, store: AbstractStore | None) -> None:
    step = int(run.progress.step)
    if not run.history or run.history[-1]["step"] != step:
        _add_row(run, plan)
    run.history[-1]["interrupted"] = True
    # Checkpoint or not, nothing that is not finite is given back.
    _require_finite(run, plan)
    if store is not None:
        _write(run, plan, store)


def _require_finite(run: Run, plan: Plan) -> None:
    if not run.progress.finite:
        _fail(run, plan)


def _fail(run: Run, plan: Plan) -> None:
    if run.processes is not None:
        why, own = run.processes.failures()
        if why:
            raise _no_data(run, plan, why) from own
    step = int(run.progress.step) + 1
    result = _result(run, return_best=False)
    data = fault_of("the training data", plan.feed.data, result.model)
    raise NonFiniteLossError(
        f"the loss or its gradient is not finite at step {step} ({data}): lower the learning rate, "
        "clip the gradient (optax.clip_by_global_norm) or mend the data; `error.result` has "
        f"the model as it was after step {step - 1}",
        result,
    )


def _require_a_best(run: Run, plan: Plan) -> None:
    """NonFiniteLossError where the best validation loss decides, and none was finite."""
    if plan.watch.seeks_best and not math.isfinite(run.best_loss):
        raise no_best(plan, _result(run, return_best=False))


def _result(run: Run, return_best: bool) -> FitResult:
    progress = run.progress
    model, average = run.best if return_best else (progress.model, averaged(progress))
    return FitResult(
        local(model),
        list(run.history),
        local(progress.opt_state),
        int(progress.step),
        local(average),
    )
