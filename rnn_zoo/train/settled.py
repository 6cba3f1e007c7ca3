"""What a training run is told before it begins, and what it gives back.

One model and a population of models are told the same things; here they are checked once, and
their defaults are filled in.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jax.sharding import NamedSharding

from ..data.batches import Batch, on_host
from .feeds import Feed, Source, in_memory
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
    """`train` failed in the middle of a run; `result` is the run up to there."""

    result: FitResult

    def __init__(self, message: str, result: FitResult):
        self.args = (message,)
        self.result = result


class Watch(NamedTuple):
    """When a run is evaluated and on what, and who is told."""

    valid: Batch | None
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
        return self.callback(row["step"], row, *more) is True

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
    if rule.sharding is not None:
        _check_sharding(rule, rule.sharding, feed)
    if watch.valid is not None:
        check_batch(rule.loss, model, watch.valid)
    elif watch.seeks_best:
        raise ValueError("return_best and max_patience look at the validation loss: give valid")
    if watch.valid is not None:
        watch = watch._replace(valid=on_host(watch.valid))
    steps = length.total(feed.per_epoch)
    eval_every = at_least_one("eval_every", watch.eval_every, feed.per_epoch or steps)
    known = isinstance(feed, Feed) and in_memory(feed.data)
    later = None if known else BatchCheck(check, rule.loss)
    return Plan(rule, feed, watch, steps, eval_every, key, later)


def _check_sharding(rule: UpdateRule, sharding: NamedSharding, feed: Feed | Source) -> None:
    if rule.truncate is not None:
        raise ValueError("truncate runs on one device: leave out mesh or truncate")
    if isinstance(feed, Feed):
        require_parts(sharding, feed.batch_size, "a batch_size")


def _checked_feed(feed: Feed, check: Callable[[Batch], Any]) -> Feed:
    check(feed.data)
    samples = len(feed.data)
    if not 1 <= feed.batch_size <= samples:
        raise ValueError(
            f"expected batch_size from 1 to the {samples} samples of train, got {feed.batch_size}"
        )
    # Batches are gathered on the host, so the data are brought there once.
    return feed._replace(data=on_host(feed.data))


def no_best(plan: Plan, result: FitResult) -> NonFiniteLossError:
    """What is said where `return_best` or `max_patience` have no finite loss to go by."""
    data = fault_of("the validation data", plan.watch.valid)
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
