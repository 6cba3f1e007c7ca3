"""What `train` and `compare` share: data, a model and its training, from a few numbers."""

import dataclasses
import functools
import os
import sys
from typing import Any

import jax.random as jr
import optax

from .. import data, train
from ..data.batches import Batch
from ..data.dataset import Dataset
from ..models.sequence import make_model
from ..registry import cell_info


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A model and how it is trained."""

    cell: str = "gru"
    hidden_size: int = 64
    num_layers: int = 1
    bidirectional: bool = False
    pool: str = "last"
    dropout: float = 0.0
    noise: float = 0.0
    """Standard deviation of what is added to the inputs in training."""
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    steps: int = 1000
    batch_size: int = 32
    seed: int = 0


# Chosen on held-out thirds of the training part alone: `python -m benchmarks japanese_vowels`.
_JAPANESE_VOWELS = Recipe(
    hidden_size=32,
    bidirectional=True,
    pool="mean",
    dropout=0.4,
    noise=0.6,
    learning_rate=1e-2,
    weight_decay=0.1,
    steps=800,
)
_RECIPES = {
    "japanese_vowels": _JAPANESE_VOWELS,
    "adding": Recipe(hidden_size=32, steps=1500, batch_size=64),
}


def recipe_for(name: str, **given: Any) -> Recipe:
    """The recipe of a data set, with what was given (is not None) in place of its own."""
    given = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(_RECIPES.get(name, Recipe()), **given)
    if "num_layers" not in given and cell_info(recipe.cell).linear:
        # One linear recurrence sees no products of inputs at different times.
        recipe = dataclasses.replace(recipe, num_layers=2)
    return recipe


def load(name: str) -> Dataset:
    """A data set, the same one for every seed."""
    return data.load(name, key=jr.key(0))


def build(recipe: Recipe, dataset: Dataset) -> Any:
    """An untrained model for a data set; tokens are embedded in as many features as units."""
    tokens = dataset.train.x.ndim == 2
    return make_model(
        recipe.cell,
        dataset.info.input_size,
        dataset.info.output_size,
        hidden_size=recipe.hidden_size,
        num_layers=recipe.num_layers,
        bidirectional=recipe.bidirectional,
        pool=None if dataset.train.per_step else recipe.pool,
        dropout=recipe.dropout,
        embedding_size=recipe.hidden_size if tokens else None,
        key=jr.fold_in(jr.key(recipe.seed), 0),
    )


def fitting(model: Any, dataset: Dataset) -> Dataset:
    """The data without what this model has no use for, the time between steps."""
    if model.timed or dataset.train.dt is None:
        return dataset

    def untimed(part: Batch) -> Batch:
        return Batch(part.x, part.y, part.mask, None, part.reset)

    valid = None if dataset.valid is None else untimed(dataset.valid)
    return Dataset(untimed(dataset.train), valid, untimed(dataset.test), dataset.info)


def fit(recipe: Recipe, model: Any, dataset: Dataset, **options: Any) -> train.FitResult:
    """Train with gradient clipping, AdamW, warm-up and a cosine decay."""
    return train.fit(
        model,
        dataset.train,
        dataset.valid,
        loss=loss_for(dataset),
        optimizer=_optimizer(recipe.learning_rate, recipe.weight_decay, recipe.steps),
        key=jr.fold_in(jr.key(recipe.seed), 1),
        steps=recipe.steps,
        batch_size=min(recipe.batch_size, len(dataset.train)),
        eval_every=max(recipe.steps // 25, 1),
        augment=_add_noise(recipe.noise) if recipe.noise else None,
        **options,
    )


# Equal objects for equal numbers, so that the second seed does not compile anew.
@functools.cache
def _optimizer(learning_rate: float, weight_decay: float, steps: int):
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, max(steps // 10, 1), max(steps, 2)
    )
    adamw = optax.adamw(schedule, weight_decay=weight_decay)
    return optax.chain(optax.clip_by_global_norm(1.0), adamw)


@functools.cache
def _add_noise(deviation: float):
    def augment(batch: Batch, key: Any) -> Batch:
        x = batch.x + deviation * jr.normal(key, batch.x.shape, batch.x.dtype)
        return Batch(x, batch.y, batch.mask, batch.dt, batch.reset)

    return augment


def loss_for(dataset: Dataset) -> train.PredictionLoss:
    """Cross-entropy for classes, mean squared error for numbers."""
    return train.cross_entropy if dataset.info.task == "classification" else train.mse


def test_figure(model: Any, dataset: Dataset) -> tuple[str, float]:
    """The name and the value of what is measured on the test part."""
    figures = train.evaluate(model, dataset.test, loss=loss_for(dataset))
    if "accuracy" in figures:
        return "test_accuracy", figures["accuracy"]
    return "test_mse", figures["loss"]


def written(name: str, value: float) -> str:
    """A figure as `name=value`."""
    return f"{name}={value:.3f}" if name.endswith("accuracy") else f"{name}={value:.4g}"


def say(line: str) -> None:
    """Print a line at once; where nobody reads any more (`| head`), go on in silence."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def print_baselines(dataset: Dataset) -> None:
    """A line for each figure to hold the model against, behind the model's own."""
    for row in dataset.info.baselines:
        say(f"baseline {row.name}: {row.metric}={row.value:.4g} ({row.source})")
