"""The training loop."""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.random as jr
import numpy as np

from ..data import batches
from ..data.batches import Batch
from .checkpoint import Run, read_run, write_run
from .evaluate import assess
from .losses import check_batch, fault_of
from .population import check_population, member, train_population
from .step import check_truncate, start, update


# How many steps may be under way before the oldest one's loss is looked at: looking at once
# would make the device wait for the host at every step.
_LOOK_BACK = 8


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What training gives.

    - `model`: after the last step, or the best one with `return_best`; not in inference mode.
    - `history`: a dict per evaluation: step, epoch, seconds, train_loss and the training
      metrics (`train_accuracy`, ...; means over the steps since the row before),
      valid_loss and the validation metrics; `interrupted` where Ctrl-C ended it.
    - `opt_state`: the optimiser's state; `step`: the number of steps done.
    """

    model: Any
    history: list[dict[str, Any]]
    opt_state: Any
    step: int


class NonFiniteLossError(FloatingPointError):
    """The loss or its gradient became NaN or infinite; `result` is the run up to that step."""

    result: FitResult

    def __init__(self, message: str, result: FitResult):
        self.args = (message,)
        self.result = result


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What does not change while `fit` runs, checked and with its defaults."""

    train: Batch
    valid: Batch | None
    loss: Any
    optimizer: Any
    augment: Callable | None
    truncate: int | None
    steps: int
    per_epoch: int
    batch_size: int
    lengths: Sequence[int] | None
    eval_every: int
    max_patience: int | None
    checkpoint_every: int
    directory: Path | None

    def update(self, progress, batch, key):
        settings = self.loss, self.optimizer, self.augment, self.truncate
        return update(progress, batch, key, *settings)

    def settings(self, key: Any) -> dict:
        """What a checkpoint must agree on, because the order of the data depends on it."""
        return {
            "key": np.asarray(jr.key_data(key)).tolist(),
            "batch_size": self.batch_size,
            "samples": len(self.train),
        }


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
    batch_size: int = 32,
    lengths: Sequence[int] | None = None,
    eval_every: int | None = None,
    max_patience: int | None = None,
    return_best: bool = False,
    augment: Callable[..., Any] | None = None,
    truncate: int | None = None,
    callback: Callable[..., Any] | None = None,
    show_progress: bool = False,
    checkpoint_dir: Any = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    population: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train a model: `fit(model, train, valid, loss=cross_entropy, optimizer=..., key=...)`.

    **Arguments:**

    - `model`: any Equinox module; what `trainable` names is trained.
    - `train`, `valid`: `rnn_zoo.data.Batch`es with all the samples.
    - `loss(model, batch, *, key)`: a scalar, or (scalar, dict of scalars).
    - `optimizer`: any optax transformation.
    - `key`: order of the data and randomness of each step depend on it, the epoch and the
      step alone.
    - `steps` or `epochs`: exactly one. An epoch is as many full batches as there are; what
      remains of its permutation is left out, other samples in each epoch.
    - `lengths`: batches of padded samples are cut to the smallest of these that fits
      (`rnn_zoo.data.batches`).
    - `eval_every`: steps between rows of the history; by default an epoch.
    - `max_patience`: stop after so many evaluations without a better validation loss.
    - `return_best`: give back the model with the best validation loss.
    - `augment(batch, key) -> batch`: applied inside the jitted step, to training data only.
    - `truncate`: truncated backpropagation through time: each batch is run in segments of so
      many steps with an update after each, state carried on; a schedule counts segments.
      Needs a `PredictionLoss`, a target per step and a model that can step.
    - `callback(step, row)`: called with each row; training stops when it returns True.
    - `show_progress`: a progress bar on stderr (needs tqdm).
    - `checkpoint_dir`, `checkpoint_every`: where and how often (in steps; by default
      `eval_every`) to write `checkpoint.rzc`; `resume`: go on from it if it is there, to the
      bit as if there had been no interruption.

    - `population`: train so many models as one program. `model` has the members on axis 0 of its
      arrays: `eqx.filter_vmap(make)(jax.random.split(key, n))`; so have the model, the optimiser's
      state and the figures of the history that come back (`rz.train.member`, `ensemble`). Member
      i trains as it would alone with `jax.random.split(key, n)[i]`: its own order of the data, its
      own best model and patience. A member whose loss is not finite stays as it was before; rows
      say so under "finite". No checkpoints are written.
    - `settings`: numbers (population,) by name for an `optimizer` that is a function of them, such
      as `optimizer=optax.adam, settings={"learning_rate": rates}`.

    The step is compiled for these very `loss`, `optimizer` and `augment` objects: give the same
    ones again and the next run does not compile.

    Ctrl-C stops, evaluates once more, writes a checkpoint and returns what there is.

    **Raises:** NonFiniteLossError at the first step whose loss or gradient is not finite;
    ValueError or TypeError for arguments and data that do not fit, before anything runs.
    """
    own = {}
    if population is not None:
        own = check_population(model, population, optimizer, settings)
        if checkpoint_dir is not None:
            raise ValueError("a population writes no checkpoints: leave out checkpoint_dir")
    elif settings is not None:
        raise ValueError("settings are those of a population: give population=")
    example = model if population is None else member(model, 0)
    check_batch(loss, example, train)
    if valid is None and (return_best or max_patience is not None):
        raise ValueError("return_best and max_patience look at the validation loss: give valid")
    if valid is not None:
        check_batch(loss, example, valid)
    if truncate is not None:
        check_truncate(example, loss, train, truncate, key)
    per_epoch = _batches_per_epoch(len(train), batch_size)
    total = _total_steps(steps, epochs, per_epoch)
    eval_every = _positive("eval_every", eval_every, per_epoch)
    if checkpoint_dir is None and (resume or checkpoint_every is not None):
        raise ValueError("resume and checkpoint_every need checkpoint_dir")
    plan = _Plan(
        # Batches are gathered on the host, so the data are brought there once.
        train=jax.tree.map(np.asarray, train),
        valid=jax.tree.map(np.asarray, valid),
        loss=loss,
        optimizer=optimizer,
        augment=augment,
        truncate=truncate,
        steps=total,
        per_epoch=per_epoch,
        batch_size=batch_size,
        lengths=lengths,
        eval_every=eval_every,
        max_patience=max_patience,
        checkpoint_every=_positive("checkpoint_every", checkpoint_every, eval_every),
        directory=None if checkpoint_dir is None else Path(checkpoint_dir),
    )
    if population is not None:
        with _Bar(show_progress, total, 0) as bar:
            members = train_population(plan, model, key, own, callback, bar)
        progress = members.progress
        trained = members.best_model if return_best else progress.model
        return FitResult(trained, members.history, progress.opt_state, members.history[-1]["step"])
    run = Run(start(model, optimizer), model)
    if resume and plan.directory is not None:
        run = read_run(plan.directory, run, plan.settings(key))
    with _Bar(show_progress, total, int(run.progress.step)) as bar:
        _train(run, plan, key, callback, bar)
    return _result(run, return_best)


def _batches_per_epoch(samples: int, batch_size: int) -> int:
    if not 1 <= batch_size <= samples:
        raise ValueError(
            f"expected batch_size from 1 to the {samples} samples of train, got {batch_size}"
        )
    return samples // batch_size


def _total_steps(steps: int | None, epochs: int | None, per_epoch: int) -> int:
    if (steps is None) == (epochs is None):
        raise ValueError(f"expected exactly one of steps and epochs, got {steps=}, {epochs=}")
    total = steps if epochs is None else epochs * per_epoch
    if total is None or total < 1:
        raise ValueError(f"expected at least one step or epoch, got {steps=}, {epochs=}")
    return total


def _positive(name: str, given: int | None, default: int) -> int:
    value = default if given is None else given
    if value < 1:
        raise ValueError(f"expected {name} of at least 1, got {value}")
    return value


def _train(run: Run, plan: _Plan, key: Any, callback: Callable | None, bar: "_Bar") -> None:
    began = time.perf_counter() - run.seconds
    try:
        for step in _steps(run, plan, key):
            run.seconds = time.perf_counter() - began
            stop = False
            if step % plan.eval_every == 0 or step == plan.steps:
                row = _add_row(run, plan)
                bar.show(row)
                stop = callback is not None and callback(step, row) is True
                stop |= _out_of_patience(run, plan)
            bar.advance()
            last = stop or step == plan.steps
            if plan.directory and (last or step % plan.checkpoint_every == 0):
                _write(run, plan, key)
            if stop:
                return
    except KeyboardInterrupt:
        run.seconds = time.perf_counter() - began
        _interrupted(run, plan, key)


def _steps(run: Run, plan: _Plan, key: Any) -> Iterator[int]:
    """Take the steps that are left, and yield the number of each."""
    key_order, key_steps = jr.split(key)
    first = int(run.progress.step)
    if first >= plan.steps or _out_of_patience(run, plan):
        return
    under_way: collections.deque = collections.deque()
    for step, batch in zip(range(first + 1, plan.steps + 1), _stream(plan, key_order, first)):
        run.progress, outcome = plan.update(run.progress, batch, key_steps)
        run.pending.append(outcome)
        under_way.append(run.progress.finite)
        if len(under_way) > _LOOK_BACK and not under_way.popleft():
            _fail(run, plan)
        yield step


def _stream(plan: _Plan, key: Any, first: int) -> Iterator[Batch]:
    """Batches without end, after the `first` ones."""
    epoch, skip = divmod(first, plan.per_epoch)
    while True:
        order = batches(
            plan.train,
            plan.batch_size,
            key=jr.fold_in(key, epoch),
            drop_last=True,
            lengths=plan.lengths,
        )
        for i, batch in enumerate(order):
            if i >= skip:
                yield batch
        epoch, skip = epoch + 1, 0


def _add_row(run: Run, plan: _Plan) -> dict[str, Any]:
    """Evaluate, and add a row to the history."""
    _require_finite(run, plan)
    step = int(run.progress.step)
    row = {"step": step, "epoch": step / plan.per_epoch, "seconds": run.seconds}
    pending, run.pending = jax.device_get(run.pending), []
    for name in pending[0] if pending else ():
        row[f"train_{name}"] = float(np.mean([float(outcome[name]) for outcome in pending]))
    if plan.valid is not None:
        figures = assess(run.progress.model, plan.valid, plan.loss, 256)
        row |= {f"valid_{name}": figure for name, figure in figures.items()}
        _note_best(run, row["valid_loss"])
    run.history.append(row)
    return row


def _note_best(run: Run, valid_loss: float) -> None:
    if valid_loss < run.best_loss:
        run.best_model, run.best_loss, run.waited = run.progress.model, valid_loss, 0
    else:
        run.waited += 1


def _out_of_patience(run: Run, plan: _Plan) -> bool:
    return plan.max_patience is not None and run.waited >= plan.max_patience


def _write(run: Run, plan: _Plan, key: Any) -> None:
    _require_finite(run, plan)
    if plan.directory is not None:
        write_run(plan.directory, run, plan.settings(key))


def _interrupted(run: Run, plan: _Plan, key: Any) -> None:
    step = int(run.progress.step)
    if not run.history or run.history[-1]["step"] != step:
        _add_row(run, plan)
    run.history[-1]["interrupted"] = True
    _write(run, plan, key)


def _require_finite(run: Run, plan: _Plan) -> None:
    if not run.progress.finite:
        _fail(run, plan)


def _fail(run: Run, plan: _Plan) -> None:
    step = int(run.progress.step) + 1
    fault = fault_of(plan.train)
    data = "the training data are finite" if fault is None else fault
    raise NonFiniteLossError(
        f"the loss or its gradient is not finite at step {step} ({data}): lower the learning rate, "
        "clip the gradient (optax.clip_by_global_norm) or mend the data; `error.result` has "
        f"the model as it was after step {step - 1}",
        _result(run, return_best=False),
    )


def _result(run: Run, return_best: bool) -> FitResult:
    progress = run.progress
    best = return_best and math.isfinite(run.best_loss)
    model = run.best_model if best else progress.model
    return FitResult(model, run.history, progress.opt_state, int(progress.step))


class _Bar:
    """A progress bar, or nothing."""

    def __init__(self, show: bool, steps: int, done: int):
        self.bar = _tqdm()(total=steps, initial=done, unit="step") if show else None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def show(self, row: dict[str, Any]) -> None:
        if self.bar is not None:
            figures = {k: f"{v:.4g}" for k, v in row.items() if k.startswith(("train", "valid"))}
            self.bar.set_postfix(figures)


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError('show_progress needs tqdm: pip install "rnn-zoo[demo]"') from error
    return tqdm
