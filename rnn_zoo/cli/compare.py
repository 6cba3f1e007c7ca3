"""`compare`: several cells on one data set, with the same budget."""

import argparse
import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..summaries import count_numbers
from ..train.step import trainable
from ..viz._axes import matplotlib_module
from .recipes import (
    Recipe,
    build,
    fit,
    fitting,
    load,
    print_baselines,
    recipe_for,
    say,
    test_figure,
)
from .train import folder, recipe_names, write_csv


def prepare(options: argparse.Namespace) -> tuple:
    """Everything that a wrong option shows itself in: a recipe for each cell, and the data."""
    given = {name: value for name, value in vars(options).items() if name in recipe_names()}
    dataset = load(options.data)
    recipes = [recipe_for(options.data, **given, cell=cell) for cell in options.cells.split(",")]
    for recipe in recipes:
        eqx.filter_eval_shape(lambda r=recipe: build(r, dataset))
    return recipes, dataset, folder(options.out or f"runs/compare-{options.data}")


def run(options: argparse.Namespace, prepared: tuple) -> None:
    """Train each cell with each seed; a table, a CSV file, a picture."""
    recipes, dataset, out = prepared
    rows, histories = [], {}
    for recipe in recipes:
        runs = [_one(dataclasses.replace(recipe, seed=s), dataset) for s in range(options.seeds)]
        rows += [row for row, _ in runs]
        histories[recipe.cell] = [history for _, history in runs]
        write_csv(out / "compare.csv", rows)
        _print_row([row for row, _ in runs], heading=recipe is recipes[0])
    print_baselines(dataset)
    _picture(histories, dataset).savefig(out / "compare.png", dpi=150)


def _one(recipe: Recipe, dataset: Any) -> tuple[dict[str, Any], list[dict]]:
    model = build(recipe, dataset)
    dataset = fitting(model, dataset)
    result = fit(recipe, model, dataset, show_progress=True)
    name, value = test_figure(result.model, dataset)
    row = {
        "cell": recipe.cell,
        "seed": recipe.seed,
        "parameters": count_numbers(eqx.filter(model, trainable(model))),
        "state": count_numbers(jax.eval_shape(model.init_state)),
        name: value,
    }
    return {**row, "seconds": round(result.history[-1]["seconds"], 1)}, result.history


def _print_row(rows: list[dict], heading: bool) -> None:
    name = next(key for key in rows[0] if key.startswith("test_"))
    if heading:
        say(f"{'cell':<22}{'parameters':>11}{'state':>8}{name:>15}{'range':>24}{'seconds':>9}")
    values = [row[name] for row in rows]
    ends = f"{min(values):.3g} .. {max(values):.3g}"
    seconds = np.mean([row["seconds"] for row in rows])
    say(
        f"{rows[0]['cell']:<22}{rows[0]['parameters']:>11}{rows[0]['state']:>8}"
        f"{np.mean(values):>15.4g}{ends:>24}{seconds:>9.1f}"
    )


def _picture(histories: dict[str, list[list[dict]]], dataset: Any) -> Any:
    part = "train" if dataset.valid is None else "valid"
    figure = matplotlib_module("figure").Figure(figsize=(7.5, 4.5), layout="constrained")
    ax = figure.subplots()
    for i, (cell, runs) in enumerate(histories.items()):
        for j, history in enumerate(runs):
            curve = [(row["step"], row[f"{part}_loss"]) for row in history]
            ax.plot(*zip(*curve), color=f"C{i % 10}", lw=2, label=None if j else cell)
    for row in dataset.info.baselines:
        if row.metric == "mse":
            ax.axhline(row.value, color="grey", ls=":", label=row.name)
    ax.set(xlabel="step", ylabel=f"{part} loss", yscale="log", title=dataset.info.name)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return figure
