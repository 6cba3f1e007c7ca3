"""Many models trained as one program: seeds, learning rates, any number that an optimiser takes."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree

from .._common.numbers import exactly
from ..data.batches import Batch, gather, orders
from .feeds import Feed
from .members import assess_members, member, over_members, population_size
from .progress_bar import ProgressBar
from .settled import FitResult, Length, Plan, Watch, make_plan, no_best
from .step import Progress, UpdateRule, choose, start, take_step


Settings = Mapping[str, Any]


def fit_population(
    models: Any,
    train: Any,
    valid: Any = None,
    *,
    loss: Callable[..., Any],
    optimizer: Any,
    key: Any,
    settings: Settings | None = None,
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
) -> FitResult:
    """Train many models as one program, each as `fit` would train it alone.

        models = eqx.filter_vmap(make)(jax.random.split(key, 3))
        rates = {"learning_rate": [1e-3, 3e-3, 1e-2]}
        options = {"loss": rz.train.cross_entropy, "steps": 200, "key": key}
        found = rz.train.fit_population(
            models, train, valid, optimizer=optax.adam, settings=rates, **options
        )
        rz.train.member(found.model, 0)

    **Arguments** that `fit` does not have, or that mean something else here:

    - `models`: one module whose arrays have the members on axis 0; so have the arrays of the
      result's `model` and `opt_state` and the figures of its history (`rz.train.member`,
      `rz.train.ensemble`).
    - `key`: member i trains as it would alone with `jax.random.split(key, n)[i]`. It has its own
      order of the data, its own best model and its own patience.
    - `optimizer`: an optax transformation for all members, or with `settings` a function that
      makes one.
    - `settings`: numbers (members,) by name, with which each member calls `optimizer`.
    - `callback`: is called once for all members.

    A member whose loss is not finite stays as it was before that step, and the others go on; the
    rows of the history say so under "finite". Training ends when no member goes on. Of a member
    without a finite validation loss the best model is the last one, and a warning says so;
    NonFiniteLossError where that is so of all. Ctrl-C stops, evaluates once more and returns what
    there is. A population writes no checkpoints.

    **Raises:** ValueError or TypeError for arguments and data that do not fit, before anything
    runs.
    """
    own = _check_settings(models, optimizer, settings)
    plan = make_plan(
        member(models, 0),
        UpdateRule(loss, optimizer, augment, truncate),
        _feed(train, batch_size, lengths),
        Watch(valid, eval_every, max_patience, return_best, callback, show_progress),
        Length(steps, epochs),
        key,
    )
    with ProgressBar(show_progress, plan.steps, 0) as bar:
        members = _train(plan, models, own, bar)
    if plan.watch.seeks_best:
        _require_a_best(members, plan)
    return _result(members, return_best)


def _feed(train: Any, batch_size: int, lengths: Sequence[int] | None) -> Feed:
    if not isinstance(train, Batch):
        raise TypeError(f"expected train as a rnn_zoo.data.Batch, got {type(train).__name__}")
    return Feed(train, batch_size, lengths)


def _check_settings(models: Any, optimizer: Any, settings: Settings | None) -> dict[str, Array]:
    """The settings as arrays (members,)."""
    size = population_size(models)
    settings = {name: exactly(name, value) for name, value in (settings or {}).items()}
    for name, value in settings.items():
        if value.shape != (size,):
            raise ValueError(f"expected {name} of shape ({size},), got {value.shape}")
    if settings and (not callable(optimizer) or hasattr(optimizer, "update")):
        raise TypeError(
            "settings need an optimizer that takes them, such as optax.adam itself or "
            "lambda learning_rate: optax.chain(..., optax.adam(learning_rate))"
        )
    return settings


@dataclasses.dataclass
class _Members:
    """What changes while a population trains."""

    progress: Progress
    best_model: Any
    best_loss: np.ndarray
    waited: np.ndarray
    """Evaluations since the best one, of each member."""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pending: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Losses and metrics of the steps since the last row of the history."""

    def active(self, max_patience: int | None) -> np.ndarray:
        """Who goes on: a member that is out of patience keeps its parameters."""
        if max_patience is None:
            return np.ones(len(self.waited), bool)
        return self.waited < max_patience


def _result(members: _Members, return_best: bool) -> FitResult:
    progress, last = members.progress, members.history[-1]
    model = members.best_model if return_best else progress.model
    return FitResult(model, list(members.history), progress.opt_state, last["step"])


def _require_a_best(members: _Members, plan: Plan) -> None:
    """Say which members have no finite validation loss; NonFiniteLossError where none has one."""
    without = ~np.isfinite(members.best_loss)
    if without.all():
        raise no_best(plan, _result(members, return_best=False))
    if without.any():
        warnings.warn(
            f"no validation loss of members {np.flatnonzero(without).tolist()} was finite: the "
            "last model stands for their best one",
            stacklevel=3,
        )
        last = members.progress.model
        members.best_model = _best(jnp.asarray(without), last, members.best_model)


def _train(plan: Plan, models: Any, settings: dict[str, Array], bar: ProgressBar) -> _Members:
    """Train all members for the steps of the plan."""
    rule, watch, size = plan.rule, plan.watch, population_size(models)
    key_order, key_steps = jax.vmap(jr.split, out_axes=1)(jr.split(plan.key, size))
    first = eqx.filter_vmap(lambda model, own: start(model, _made(rule.optimizer, own)))
    progress = first(models, settings)
    members = _Members(progress, progress.model, np.full(size, np.inf), np.zeros(size, int))
    began, step = time.perf_counter(), 0

    def add_row():
        row = {"step": step, "epoch": step / plan.feed.per_epoch}
        row |= {"seconds": time.perf_counter() - began, **_figures(members, plan)}
        members.history.append(row)
        return row

    try:
        for step, batch in zip(range(1, plan.steps + 1), _stream(plan.feed, key_order)):
            active = jnp.asarray(members.active(watch.max_patience))
            members.progress, outcome = _update(
                members.progress, batch, key_steps, active, settings, rule
            )
            members.pending.append(outcome)
            stop = False
            if plan.evaluates_at(step):
                row = add_row()
                stop = watch.asks_to_stop(row, lambda: _result(members, return_best=False))
                stop |= not (row["finite"] & members.active(watch.max_patience)).any()
            bar.advance()
            if stop:
                break
    except KeyboardInterrupt:
        # A step that was cut off is not counted.
        step = int(np.max(members.progress.step))
        if not members.history or members.history[-1]["step"] != step:
            add_row()
        members.history[-1]["interrupted"] = True
    return members


def _made(optimizer: Any, settings: Mapping[str, Array]) -> Any:
    return optimizer(**settings) if settings else optimizer


def _stream(feed: Feed, keys: Array) -> Iterator[Batch]:
    """Batches with members on axis 0, each in its own order."""
    epoch = 0
    while True:
        parts = [
            orders(len(feed.data), feed.batch_size, key=jr.fold_in(key, epoch), drop_last=True)
            for key in keys
        ]
        for part in zip(*parts):
            # One gather for all members, so that padding is cut to one length for all of them.
            yield _split(gather(feed.data, np.concatenate(part), feed.lengths), len(part))
        epoch += 1


def _split(batch: Batch, members: int) -> Batch:
    return jax.tree.map(lambda a: a.reshape(members, -1, *a.shape[1:]), batch)


@eqx.filter_jit
def _update(
    progress: Progress,
    batch: Batch,
    keys: Array,
    active: Array,
    settings: dict[str, Array],
    rule: UpdateRule,
) -> tuple[Progress, dict[str, Array]]:
    """One step of every member that is active."""

    def one(progress, batch, key, active, settings):
        own = rule._replace(optimizer=_made(rule.optimizer, settings))
        after, outcome = take_step(progress, batch, key, own)
        return choose(active, after, progress), outcome

    return over_members(one)(progress, batch, keys, active, settings)


def _figures(members: _Members, plan: Plan) -> dict[str, np.ndarray]:
    """A row of the history: one number for each member."""
    pending, members.pending = jax.device_get(members.pending), []
    names = pending[0] if pending else ()
    row = {f"train_{name}": np.mean([o[name] for o in pending], axis=0) for name in names}
    row["finite"] = np.asarray(members.progress.finite)
    if plan.watch.valid is not None:
        figures = assess_members(members.progress.model, plan.watch.valid, plan.rule.loss, 256)
        row |= {f"valid_{name}": values for name, values in figures.items()}
        better = row["valid_loss"] < members.best_loss
        members.best_model = _best(jnp.asarray(better), members.progress.model, members.best_model)
        members.best_loss = np.where(better, row["valid_loss"], members.best_loss)
        members.waited = np.where(better, 0, members.waited + 1)
    return row


@eqx.filter_jit
def _best(better: Array, new: PyTree, best: PyTree) -> PyTree:
    return eqx.filter_vmap(choose)(better, new, best)
