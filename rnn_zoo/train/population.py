"""Many models trained as one program: seeds, learning rates, any number that an optimiser takes.

A population is a module whose arrays have the members on axis 0, as `eqx.filter_vmap(make)(keys)`
gives it.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree

from .._common.numbers import exactly
from ..data import batches
from ..data.batches import Batch, gather, orders
from .losses import count_targets, predict
from .step import Progress, choose, split_loss, start, take_step


Settings = Mapping[str, Any]


def member(population: Any, index: int) -> Any:
    """One model of a population. IndexError where there is none of this number."""
    size = population_size(population)
    if not -size <= index < size:
        raise IndexError(f"expected a member from 0 to {size - 1}, got {index}")
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, population)


def ensemble(
    population: Any, batch: Batch, *, transform: Callable = lambda predictions: predictions
) -> tuple[Array, Array]:
    """The mean and the standard deviation of what the members say of a batch, in inference mode.

    `transform` is applied to each member's predictions first: `jax.nn.softmax` for classes, whose
    probabilities are what one averages.
    """
    population_size(population)
    models = eqx.nn.inference_mode(population)
    said = eqx.filter_vmap(lambda model: transform(predict(model, batch)))(models)
    return jnp.mean(said, axis=0), jnp.std(said, axis=0)


def population_size(population: Any) -> int:
    """How many members there are. ValueError where arrays do not agree on it."""
    arrays = [leaf for leaf in jax.tree.leaves(population) if eqx.is_array(leaf)]
    sizes = {leaf.shape[:1] for leaf in arrays}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "expected a population, arrays with the members on axis 0: make one by "
            "eqx.filter_vmap(make)(jax.random.split(key, n))"
        )
    return sizes.pop()[0]


def check_population(
    model: Any, population: int, optimizer: Any, settings: Settings | None
) -> dict[str, Array]:
    """The settings as arrays (population,)."""
    size = population_size(model)
    if size != population:
        raise ValueError(f"expected a model of {population} members, got {size}")
    settings = {name: exactly(name, value) for name, value in (settings or {}).items()}
    for name, value in settings.items():
        if value.shape != (population,):
            raise ValueError(f"expected {name} of shape ({population},), got {value.shape}")
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
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pending: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def active(self, max_patience: int | None) -> np.ndarray:
        """Who goes on: a member that is out of patience keeps its parameters."""
        if max_patience is None:
            return np.ones(len(self.waited), bool)
        return self.waited < max_patience


def train_population(
    plan: Any,
    models: Any,
    key: Any,
    settings: dict[str, Array],
    callback: Callable | None,
    bar: Any,
) -> _Members:
    """Train all members for the steps of the plan; each as it would be alone with its own key."""
    size = population_size(models)
    key_order, key_steps = jax.vmap(jr.split, out_axes=1)(jr.split(key, size))
    first = eqx.filter_vmap(lambda model, own: start(model, _made(plan.optimizer, own)))
    progress = first(models, settings)
    members = _Members(progress, progress.model, np.full(size, np.inf), np.zeros(size, int))
    began, step = time.perf_counter(), 0

    def add_row():
        row = {"step": step, "epoch": step / plan.per_epoch}
        row |= {"seconds": time.perf_counter() - began, **_figures(members, plan)}
        members.history.append(row)
        return row

    try:
        for step, batch in zip(range(1, plan.steps + 1), _stream(plan, key_order)):
            active = jnp.asarray(members.active(plan.max_patience))
            members.progress, outcome = _update(
                members.progress,
                batch,
                key_steps,
                active,
                settings,
                plan.loss,
                plan.optimizer,
                plan.augment,
                plan.truncate,
            )
            members.pending.append(outcome)
            stop = False
            if step % plan.eval_every == 0 or step == plan.steps:
                row = add_row()
                stop = callback is not None and callback(step, row) is True
                stop |= not (row["finite"] & members.active(plan.max_patience)).any()
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


def _stream(plan: Any, keys: Array) -> Iterator[Batch]:
    """Batches with members on axis 0, each in its own order."""
    epoch = 0
    while True:
        parts = [
            orders(len(plan.train), plan.batch_size, key=jr.fold_in(key, epoch), drop_last=True)
            for key in keys
        ]
        for part in zip(*parts):
            yield _split(gather(plan.train, np.concatenate(part), plan.lengths), len(part))
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
    loss: Callable,
    optimizer: Any,
    augment: Callable | None,
    truncate: int | None,
) -> tuple[Progress, dict[str, Array]]:
    """One step of every member that is active."""

    def one(progress, batch, key, active, settings):
        made = _made(optimizer, settings)
        after, outcome = take_step(progress, batch, key, loss, made, augment, truncate)
        return choose(active, after, progress), outcome

    return _over_members(one)(progress, batch, keys, active, settings)


def _over_members(function: Callable) -> Callable:
    """The function for every member of its arguments: at once, or on a CPU in turn.

    XLA has no fast product of stacked matrices there, so that 16 GRUs at once take twice as long as
    one after the other.
    """
    if jax.default_backend() != "cpu":
        return eqx.filter_vmap(function)

    def in_turn(*arguments):
        arrays, static = eqx.partition(arguments, eqx.is_array)
        others = []

        def one(arrays):
            results, other = eqx.partition(function(*eqx.combine(arrays, static)), eqx.is_array)
            others.append(other)
            return results

        return eqx.combine(jax.lax.map(one, arrays), others[0])

    return in_turn


def _figures(members: _Members, plan: Any) -> dict[str, np.ndarray]:
    """A row of the history: one number for each member."""
    pending, members.pending = jax.device_get(members.pending), []
    names = pending[0] if pending else ()
    row = {f"train_{name}": np.mean([o[name] for o in pending], axis=0) for name in names}
    row["finite"] = np.asarray(members.progress.finite)
    if plan.valid is not None:
        figures = assess_members(members.progress.model, plan.valid, plan.loss, 256)
        row |= {f"valid_{name}": values for name, values in figures.items()}
        better = row["valid_loss"] < members.best_loss
        members.best_model = _best(jnp.asarray(better), members.progress.model, members.best_model)
        members.best_loss = np.where(better, row["valid_loss"], members.best_loss)
        members.waited = np.where(better, 0, members.waited + 1)
    return row


@eqx.filter_jit
def _best(better: Array, new: PyTree, best: PyTree) -> PyTree:
    return eqx.filter_vmap(choose)(better, new, best)


def assess_members(
    population: Any, data: Batch, loss: Callable, batch_size: int
) -> dict[str, np.ndarray]:
    """`evaluate` of every member."""
    models = eqx.nn.inference_mode(population)
    outcomes = [_assess(models, part, loss) for part in batches(data, batch_size)]
    parts = [(outcome, float(weight)) for outcome, weight in jax.device_get(outcomes) if weight]
    if not parts:
        raise ValueError("there is nothing to evaluate: no step of any sample is valid")
    total = sum(weight for _, weight in parts)
    names = sorted(parts[0][0], key=lambda name: name != "loss")
    weights = np.array([weight for _, weight in parts]) / total
    return {name: weights @ np.stack([outcome[name] for outcome, _ in parts]) for name in names}


@eqx.filter_jit
def _assess(models: Any, batch: Batch, loss: Callable):
    def one(model):
        value, metrics = split_loss(loss(model, batch, key=None))
        return {"loss": value, **metrics}

    return _over_members(one)(models), count_targets(batch)
