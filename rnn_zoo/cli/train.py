"""`train`: one model on one data set."""

import argparse
import csv
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from .. import train, viz
from ..data.dataset import Dataset
from ..train.placement import require_parts
from ..viz._axes import matplotlib_module
from .recipes import (
    build,
    fit,
    fitting,
    load,
    loss_for,
    print_baselines,
    recipe_for,
    say,
    test_figure,
    written,
)


def prepare(options: argparse.Namespace) -> tuple:
    """Everything that a wrong option shows itself in."""
    given = {name: value for name, value in vars(options).items() if name in recipe_names()}
    recipe = recipe_for(options.data, **given)
    dataset = load(options.data)
    model = build(recipe, dataset)
    mesh = _mesh(options.devices, min(recipe.batch_size, len(dataset.train)))
    out = folder(options.out or f"runs/{options.data}-{recipe.cell}")
    return recipe, model, fitting(model, dataset), mesh, out


def folder(name: str) -> Path:
    """Where a command writes, made before it trains: an OSError now rather than then."""
    path = Path(name)
    if not jax.process_index():
        path.mkdir(parents=True, exist_ok=True)
    return path


def _mesh(devices: int | None, batch_size: int) -> Mesh | None:
    """A mesh of the first devices; None for one."""
    there = jax.devices()
    if devices is None:
        devices = len(there) if jax.process_count() > 1 else 1
    if devices > len(there):
        raise ValueError(
            f"expected --devices of at most {len(there)}, the devices that JAX sees here, got "
            f"{devices}; on a CPU XLA_FLAGS=--xla_force_host_platform_device_count={devices} makes "
            "as many"
        )
    if devices == 1:
        return None
    mesh = Mesh(np.array(there[:devices]), ("data",))
    require_parts(NamedSharding(mesh, P("data")), batch_size, "--batch-size")
    return mesh


def recipe_names() -> tuple[str, ...]:
    """The options that are a matter of the recipe."""
    return tuple(recipe_for("").__dataclass_fields__)


def run(options: argparse.Namespace, prepared: tuple) -> None:
    """Train, write model, history and picture, and print the figure of the test part."""
    recipe, model, dataset, mesh, out = prepared
    watch = _watch_test(dataset) if dataset.valid is None else None
    result = fit(recipe, model, dataset, show_progress=True, mesh=mesh, callback=watch)
    if jax.process_index():
        return  # process 0 has the same result
    name, value = test_figure(result.model, dataset)
    model, history, plot = (out / name for name in ("model.rz", "history.csv", "training.png"))
    # Written before anything is printed: who reads the first lines only must not lose the model.
    train.save(model, result.model)
    write_csv(history, result.history)
    figure = picture(result, dataset, f"{recipe.cell} on {options.data}", name, value)
    figure.savefig(plot, dpi=150)
    say(written(name, value))
    for path in (model, history, plot):
        say(f"wrote {path}")
    print_baselines(dataset)


def _watch_test(dataset: Dataset) -> Any:
    """For data without a validation part, which train on all there is: the figures of the test
    part go into each row of the history, for the picture. Nothing is chosen by them."""

    def watch(step: int, row: dict[str, Any], so_far: train.FitResult) -> None:
        if not jax.process_index():
            figures = train.evaluate(so_far.model, dataset.test, loss=loss_for(dataset))
            row |= {f"test_{name}": figure for name, figure in figures.items()}

    return watch


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of equal kind, with a heading."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def picture(result: train.FitResult, dataset: Dataset, title: str, name: str, value: float) -> Any:
    """The curves with the figure of the test part, and the hidden states over a test sequence."""
    curves = 1 + ("train_accuracy" in result.history[-1])
    figure = matplotlib_module("figure").Figure(
        figsize=(4.2 * curves + 5.2, 4.0), layout="constrained"
    )
    axes = figure.subplots(1, curves + 1, width_ratios=[1.0] * curves + [1.25])
    ax = viz.training_curves(result.history, axes[:curves])[-1]
    ax.axhline(value, color="black", ls=":", label=written(name, value).replace("_", " "))
    ax.legend(frameon=False)
    model = eqx.nn.inference_mode(result.model)
    sample = dataset.test[0]
    steps = _valid_steps(sample)
    dt = None if sample.dt is None else sample.dt[steps]
    seen = sample.x[steps] if model.encoder is None else jax.vmap(model.encoder)(sample.x[steps])
    ax = viz.states_heatmap(model.layer(seen, dt=dt), axes[-1])
    ax.set_title(_said(model(sample.x[steps], dt=dt), sample, dataset))
    figure.suptitle(title, fontweight="bold")
    return figure


def _valid_steps(sample: Any) -> np.ndarray:
    """At most the first 200 valid steps: more would not be seen apart."""
    mask = np.ones(len(sample.x), bool) if sample.mask is None else np.asarray(sample.mask)
    return np.flatnonzero(mask)[:200]


def _said(prediction: Any, sample: Any, dataset: Dataset) -> str:
    if np.ndim(prediction) == 2:
        return "hidden states over the start of the test sequence"
    if dataset.info.task == "classification":
        return f"hidden states, true class {int(sample.y)}, predicted {int(prediction.argmax())}"
    return f"hidden states, true {float(sample.y[0]):.3f}, predicted {float(prediction[0]):.3f}"
