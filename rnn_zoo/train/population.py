"""Many models trained as one program: seeds, learning rates, any number that an optimiser takes."""

import collections
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree

from .._common.numbers import exactly
from ..data.batches import Batch, gather, orders
from .feeds import Source, feed_of
from .members import assess_members, member, over_members, population_size
from .progress_bar import ProgressBar
from .settled import FitResult, Length, Plan, Watch, checked_ema, make_plan, no_best, source_failed
from .step import LOOK_BACK, Progress, UpdateRule, averaged, choose, start, take_step


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
    batch_size: int | None = None,
    lengths: Sequence[int] | None = None,
    eval_every: int | None = None,
    max_patience: int | None = None,
    return_best: bool = False,
    augment: Callable[..., Any] | None = None,
    truncate: int | None = None,
    callback: Callable[..., Any] | None = None,
    show_progress: bool = False,
    opt_state: Any = None,
    ema: Any = None,
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
      result's `model`, `ema_model` and `opt_state` and the figures of its history
      (`rz.train.member`, `rz.train.ensemble`).
    - `train`: of an iterable of `Batch`es each batch is that of all members.
    - `key`: member i trains as it would alone with `jax.random.split(key, n)[i]`. It has its own
      order of a `Batch` of all the samples, its own best model and its own patience.
    - `optimizer`: an optax transformation for all members, or with `settings` a function that
      makes one.
    - `settings`: numbers (members,) by name, with which each member calls `optimizer`.
    - `opt_state`: that of a population, with the members on axis 0.
    - `callback`: is called once for all members.

    A member whose loss is not finite stays as it was before that step, and the others go on; the
    rows of the history say so under "finite". Training ends when no member goes on. Of a member
    without a finite validation loss the best model is the last one, and a warning says so;
    NonFiniteLossError where that is so of all. Ctrl-C stops, evaluates once more and returns what
    there is. A population writes no checkpoints.

    **Raises:** ValueError or TypeError for arguments and data that do not fit, before anything
    runs; DataSourceError where `train` or `valid` fails or ends later.
    """
    own = _check_settings(models, optimizer, settings)
    plan = make_plan(
        member(models, 0),
        UpdateRule(loss, optimizer, augment, truncate, checked_ema(ema)),
        feed_of(train, batch_size, lengths, epochs),
        Watch(valid, eval_every, max_patience, return_best, callback, show_progress),
        Length(steps, epochs),
        key,
    )
    with ProgressBar(show_progress, plan.steps, 0) as bar:
        members = _train(plan, _started(plan, models, own, opt_state), own, bar)
    if plan.watch.seeks_best:
        _require_a_best(members, plan)
    return _result(members, return_best)


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


class _Shared(NamedTuple):
    """A batch that all members are trained on."""

    batch: Batch


@dataclasses.dataclass
class _Members:
    """What changes while a population trains."""

    progress: Progress
    best: tuple[Any, Any]
    """The best models, and with `ema` those of the same moments with averaged parameters."""
    best_loss: np.ndarray
    waited: np.ndarray
    """Evaluations since the best one, of each member."""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pending: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Losses and metrics of the steps since the last row of the history."""
    step: int = 0
    """Steps that were taken by those that went on."""

    def now(self) -> tuple[Any, Any]:
        """The models as they are, and with `ema` those with averaged parameters."""
        return self.progress.model, averaged(self.progress)

    def active(self, max_patience: int | None) -> np.ndarray:
        """Who goes on: a member that is out of patience keeps its parameters."""
        if max_patience is None:
            return np.ones(len(self.waited), bool)
        return self.waited < max_patience


def _result(members: _Members, return_best: bool) -> FitResult:
    model, average = members.best if return_best else members.now()
    opt_state = members.progress.opt_state
    return FitResult(model, list(members.history), opt_state, members.step, average)


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
        members.best = _best(jnp.asarray(without), members.now(), members.best)


def _started(plan: Plan, models: Any, settings: dict[str, Array], opt_state: Any) -> _Members:
    """All members before the first step. ValueError for an optimiser's state of others."""
    rule, size = plan.rule, population_size(models)
    if opt_state is not None and any(
        jnp.shape(leaf)[:1] != (size,) for leaf in jax.tree.leaves(opt_state)
    ):
        raise ValueError(
            f"expected opt_state of the {size} members, on axis 0 of each array: give "
            "`result.opt_state` of a population of as many, or leave it out to start anew"
        )

    def one(model: Any, settings: dict[str, Array], opt_state: Any) -> Progress:
        return start(model, _made(rule.optimizer, settings), opt_state, rule.ema)

    progress = eqx.filter_vmap(one)(models, settings, opt_state)
    best = progress.model, averaged(progress)
    return _Members(progress, best, np.full(size, np.inf), np.zeros(size, int))


def _train(plan: Plan, members: _Members, settings: dict[str, Array], bar: ProgressBar) -> _Members:
    """Train all members for the steps of the plan."""
    watch = plan.watch
    key_order, key_steps = jax.vmap(jr.split, out_axes=1)(jr.split(plan.key, len(members.waited)))
    began = time.perf_counter()

    def add_row():
        row: dict[str, Any] = {"step": members.step}
        if plan.feed.per_epoch is not None:
            row["epoch"] = members.step / plan.feed.per_epoch
        row |= {"seconds": time.perf_counter() - began, **_figures(members, plan)}
        members.history.append(row)
        return row

    batches, under_way = _stream(plan, key_order), collections.deque()
    try:
        for step in range(1, plan.steps + 1):
            batch = _next(batches, plan, members)
            active = jnp.asarray(members.active(watch.max_patience))
            members.progress, outcome = _update(
                members.progress, batch, (key_steps, active, settings), plan.rule
            )
            members.pending.append(outcome)
            members.step = step
            under_way.append(members.progress.finite)
            if len(under_way) > LOOK_BACK:
                under_way.popleft().block_until_ready()
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
        members.step = int(np.max(members.progress.step))
        if not members.history or members.history[-1]["step"] != members.step:
            add_row()
        members.history[-1]["interrupted"] = True
    return members


def _next(batches: Iterator[_Shared | Batch], plan: Plan, members: _Members) -> _Shared | Batch:
    """The next batch. DataSourceError, with the run so far, where there is none."""
    try:
        return next(batches)
    except Exception as error:
        if not members.step:
            raise
        what, where = f"train failed at step {members.step + 1}", plan.place_of(members.step + 1)
        so_far = _result(members, return_best=False)
        raise source_failed(what, error, so_far, where) from error


def _made(optimizer: Any, settings: Mapping[str, Array]) -> Any:
    return optimizer(**settings) if settings else optimizer


def _stream(plan: Plan, keys: Array) -> Iterator[Any]:
    """Batches with members on axis 0, each in its own order; or those of all members."""
    feed = plan.feed
    if isinstance(feed, Source):
        stream = feed.open(None, 0, None, None).batches
        while True:
            yield _Shared(plan.next_batch(stream))
    epoch = 0
    while True:
        parts = [
            orders(len(feed.data), feed.batch_size, key=jr.fold_in(key, epoch), drop_last=True)
            for key in keys
        ]
        # One gather for all members, so that padding is cut to one length for all of them.
        together = (gather(feed.data, np.concatenate(part), feed.lengths) for part in zip(*parts))
        for _ in range(feed.per_epoch):
            yield _split(plan.next_batch(together), len(keys))
        epoch += 1


def _split(batch: Batch, members: int) -> Batch:
    return jax.tree.map(lambda a: a.reshape(members, -1, *a.shape[1:]), batch)


@eqx.filter_jit
def _update(
    progress: Progress, batch: Any, own: tuple[Array, Array, dict[str, Array]], rule: UpdateRule
) -> tuple[Progress, dict[str, Array]]:
    """One step of every member that is active, with its key and its settings."""
    shared = isinstance(batch, _Shared)

    def one(progress, own, *batches):
        key, active, settings = own
        rule_of = rule._replace(optimizer=_made(rule.optimizer, settings))
        on = batch.batch if shared else batches[0]
        after, outcome = take_step(progress, on, key, rule_of)
        return choose(active, after, progress), outcome

    return over_members(one)(progress, own, *(() if shared else (batch,)))


def _figures(members: _Members, plan: Plan) -> dict[str, np.ndarray]:
    """A row of the history: one number for each member."""
    pending, members.pending = jax.device_get(members.pending), []
    names = pending[0] if pending else ()
    row = {f"train_{name}": np.mean([o[name] for o in pending], axis=0) for name in names}
    row["finite"] = np.asarray(members.progress.finite)
    if plan.watch.valid is not None:
        model, average = members.now()
        parts = plan.held_out(lambda: _result(members, return_best=False))
        figures = assess_members(model if average is None else average, parts, plan.rule.loss)
        row |= {f"valid_{name}": values for name, values in figures.items()}
        better = row["valid_loss"] < members.best_loss
        members.best = _best(jnp.asarray(better), members.now(), members.best)
        members.best_loss = np.where(better, row["valid_loss"], members.best_loss)
        members.waited = np.where(better, 0, members.waited + 1)
    return row


@eqx.filter_jit
def _best(better: Array, new: PyTree, best: PyTree) -> PyTree:
    return eqx.filter_vmap(choose)(better, new, best)
