"""What a training run is told before it begins, and what it gives back.

One model and a population of models are told the same things; here they are checked once, and
their defaults are filled in.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from ..data.batches import Batch, on_host
from .feeds import Feed, Source, ends_of, held_out, in_memory, require_batches
from .losses import BatchCheck, check_batch, fault_of
from .placement import require_parts
from .step import UpdateRule, check_truncate


@dataclasses.dataclass(frozen=True, repr=False)
class FitResult:
    """What training gives.

    - `model`: the model after the last step, or the best one with `return_best`. It is not in
      inference mode.
    - `history`: a dict for each evaluation: step, epoch, seconds, train_loss and the training
      metrics (`train_accuracy`, ...; means over the steps since the row before),
      valid_loss and the validation metrics; `interrupted` where Ctrl-C ended the run.
    - `opt_state`: the optimiser's state after the last step; `step`: the number of steps done.
    - `ema_model`: with `ema`, the model with the averaged parameters, of the same moment as
      `model`; else None.

    Of a population, the arrays of `model` and of `opt_state` have the members on axis 0, and a
    figure of the history is an array with a number for each member.
    """

    model: Any
    history: list[dict[str, Any]]
    opt_state: Any
    step: int
    ema_model: Any = None

    def __repr__(self) -> str:
        arrays = jax.tree.leaves(eqx.filter(self.model, eqx.is_inexact_array))
        row = self.history[-1] if self.history else {}
        lines = [
            f"FitResult after {self.step} steps, {len(self.history)} rows of history",
            f"  model: {type(self.model).__name__}, {sum(a.size for a in arrays):,} numbers that "
            f"train{'' if self.ema_model is None else ', and their average in ema_model'}",
            f"  last row: {', '.join(f'{name}={_short(value)}' for name, value in row.items())}",
        ]
        return "\n".join(lines if row else lines[:-1])


def _short(value: Any) -> str:
    if np.ndim(value):
        return f"{np.size(value)} numbers"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class NonFiniteLossError(FloatingPointError):
    """A loss or its gradient became NaN or infinite; `result` is the run up to that step."""

    result: FitResult

    def __init__(self, message: str, result: FitResult):
        self.args = (message,)
        self.result = result


class DataSourceError(RuntimeError):
    """`train` or `valid` failed in the middle of a run; `result` is the run up to there."""

    result: FitResult

    def __init__(self, message: str, result: FitResult):
        self.args = (message,)
        self.result = result


def source_failed(
    what: str, error: Exception | str, result: FitResult, place: str = ""
) -> DataSourceError:
    """What is said where data ended or failed, `what` and at which `place`, after some steps."""
    why = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return DataSourceError(
        f"{what}: {why} ({place}`error.result` has the model as it was after step {result.step})",
        result,
    )


class Watch(NamedTuple):
    """When a run is evaluated and on what, and who is told."""

    valid: Any
    """A `Batch`, an iterable of them that begins anew each time, or None."""
    eval_every: int | None
    max_patience: int | None
    return_best: bool
    callback: Callable[..., Any] | None
    show_progress: bool

    def asks_to_stop(self, row: dict[str, Any], so_far: Callable[[], FitResult]) -> bool:
        """Tell the callback of a row of the history; True where it wants training to end."""
        if self.callback is None:
            return False
        more = (so_far(),) if _takes_result(self.callback) else ()
        answer = self.callback(row["step"], row, *more)
        # What a comparison with a metric of the row gives is NumPy's or JAX's truth.
        return bool(answer) if getattr(answer, "dtype", None) == np.bool_ else answer is True

    def ends(self) -> Batch | bool:
        """What two processes compare of the validation data; iterables are each one's own."""
        return ends_of(self.valid) if isinstance(self.valid, Batch) else self.valid is None

    @property
    def seeks_best(self) -> bool:
        """Whether something depends on which validation loss is the best."""
        return self.return_best or self.max_patience is not None


def _takes_result(callback: Callable[..., Any]) -> bool:
    """Whether a callback has three parameters that must be given: defaults are its own affair."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except ValueError:  # of some functions in C
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(required) == 3


class Length(NamedTuple):
    """How long a run is, in steps or in epochs: exactly one of them is given."""

    steps: int | None
    epochs: int | None

    def total(self, per_epoch: int | None) -> int:
        """The steps of the whole run. ValueError for both, neither, or none to take, and for epochs
        of unknown length."""
        steps, epochs = self
        if (steps is None) == (epochs is None):
            raise ValueError(f"expected exactly one of steps and epochs, got {steps=}, {epochs=}")
        if epochs is not None and per_epoch is None:
            raise ValueError(
                f"{epochs=} need a train that says how many batches a pass has (len): give steps"
            )
        total = steps if epochs is None else epochs * (per_epoch or 0)
        if total is None or total < 1:
            raise ValueError(f"expected at least one step or epoch, got {steps=}, {epochs=}")
        return total


@dataclasses.dataclass(frozen=True)
class Plan:
    """What does not change while training runs, checked and with its defaults."""

    rule: UpdateRule
    feed: Any
    """A `Feed` or a `Source`."""
    watch: Watch
    steps: int
    eval_every: int
    key: Any
    check: BatchCheck | None
    """Of batches that could not be checked before."""
    check_valid: BatchCheck
    """The same of the validation data."""

    def place_of(self, step: int) -> str:
        """The batch of a step in words; nothing where the length of an epoch is not known."""
        if self.feed.per_epoch is None:
            return ""
        epoch, number = divmod(step - 1, self.feed.per_epoch)
        return f"batch {number + 1} of epoch {epoch + 1}; "

    def next_batch(self, parts: Iterator[Batch]) -> Batch:
        """The next batch to train on, checked."""
        batch = next(parts)
        if self.check is not None:
            self.check(batch)
        if self.rule.sharding is not None:
            require_parts(self.rule.sharding, len(batch), "a batch of train", own=True)
        return batch

    def held_out(self, so_far: Callable[[], FitResult]) -> Iterator[Batch]:
        """The batches of the validation data. DataSourceError, with the run so far, where they
        cannot be read."""
        sharding, number = self.rule.sharding, 1
        parts = held_out("valid", self.watch.valid, self.check_valid, 256, sharding)
        while True:
            try:
                batch = next(parts)
            except StopIteration:
                return
            except Exception as error:
                result = so_far()
                what = f"valid failed after step {result.step}, at its batch {number}"
                raise source_failed(what, error, result) from error
            yield batch
            number += 1

    def evaluates_at(self, step: int) -> bool:
        """Whether a row of the history is due after this step."""
        return step % self.eval_every == 0 or step == self.steps

    def settings(self) -> dict:
        """What a checkpoint must agree on, because the order of the data depends on it."""
        return {
            "key": np.asarray(jr.key_data(self.key)).tolist(),
            **self.feed.settings(),
        }


def make_plan(
    model: Any, rule: UpdateRule, feed: Feed | Source, watch: Watch, length: Length, key: Any
) -> Plan:
    """The plan for a model, one member where there are many.

    ValueError or TypeError for arguments and data that do not fit, before anything runs.
    """

    def check(batch: Batch) -> tuple[int, ...] | None:
        shape = check_batch(rule.loss, model, batch)
        check_truncate(model, rule, batch, key)
        return shape

    if isinstance(feed, Feed):
        feed = _checked_feed(feed, check)
    if rule.sharding is not None and isinstance(feed, Feed):
        require_parts(rule.sharding, feed.batch_size, "a batch_size")
    if watch.valid is None and watch.seeks_best:
        raise ValueError("return_best and max_patience look at the validation loss: give valid")
    check_valid = BatchCheck(functools.partial(check_batch, rule.loss, model), rule.loss)
    watch = watch._replace(valid=_checked_valid(watch.valid, check_valid))
    steps = length.total(feed.per_epoch)
    eval_every = at_least_one("eval_every", watch.eval_every, feed.per_epoch or steps)
    known = isinstance(feed, Feed) and in_memory(feed.data)
    later = None if known else BatchCheck(check, rule.loss)
    return Plan(rule, feed, watch, steps, eval_every, key, later, check_valid)


def _checked_valid(valid: Any, check: BatchCheck) -> Any:
    """The validation data on the host, as far as they can be checked before anything runs."""
    if isinstance(valid, Batch):
        check(valid)
        return on_host(valid)
    if valid is None:
        return None
    require_batches("valid", valid)
    if isinstance(valid, Iterator):
        raise ValueError(
            "valid is gone through at each evaluation, and cannot begin again, as an iterator or "
            "a generator: give a Batch, a list of them, or what iter() begins anew each time"
        )
    if isinstance(valid, Sequence):
        for batch in valid:
            check(batch)
        if not valid:
            raise ValueError("valid gave no batch")
    return valid


def _checked_feed(feed: Feed, check: Callable[[Batch], Any]) -> Feed:
    check(feed.data)
    samples = len(feed.data)
    if not 1 <= feed.batch_size <= samples:
        raise ValueError(
            f"expected batch_size from 1 to the {samples} samples of train, got {feed.batch_size}"
        )
    # Batches are gathered on the host, so the data are brought there once.
    return feed._replace(data=on_host(feed.data))


def checked_ema(ema: Any) -> Any:
    """An average as it was given. TypeError for anything but a transformation."""
    if ema is not None and not hasattr(ema, "update"):
        raise TypeError(f"expected ema as an optax transformation, optax.ema(0.999), got {ema!r}")
    return ema


def no_best(plan: Plan, result: FitResult) -> NonFiniteLossError:
    """What is said where `return_best` or `max_patience` have no finite loss to go by."""
    data = fault_of("the validation data", plan.watch.valid, result.model)
    return NonFiniteLossError(
        f"no validation loss was finite up to step {result.step} ({data}), so that no model is "
        "the best: mend valid or the loss, or leave out return_best and max_patience; "
        "`error.result` has the last model",
        result,
    )


def at_least_one(name: str, given: int | None, default: int) -> int:
    """The number given, or the default for None. ValueError below 1."""
    value = default if given is None else given
    if value < 1:
        raise ValueError(f"expected {name} of at least 1, got {value}")
    return value
