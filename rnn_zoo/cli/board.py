"""`compare --all`: every cell on a fixed set of tasks with one budget of parameters and time.

For each cell and task: the width that comes nearest to the budget of parameters, three learning
rates times three seeds as one population, the rate chosen on the validation part, the figure of its
seeds on the test part. A run ends after its steps or its seconds; which of both is in the row.
Rows go to a CSV file; what stands there is not run again.
"""

import argparse
import csv
import functools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from .. import data, train
from ..data import NO_TARGET, Batch, Dataset
from ..models import SequenceModel, make_model
from ..registry import cell_info, list_cells
from ..viz._axes import matplotlib_module
from .recipes import fitting, loss_for


KEY, SEEDS, RATES = jr.key(0), 3, (1e-3, 3e-3, 1e-2)
PARAMETERS, WIDEST = 20_000, 256
SECONDS = 45.0


class Task(NamedTuple):
    """A data set, and how much training it gets."""

    load: Callable[[], Dataset]
    steps: int
    chance: float  # the figure without learning
    batch_size: int = 32
    per_step: bool = False


def _held_out(dataset: Dataset) -> Dataset:
    """With every fifth training sample as the validation part."""
    fifth = np.arange(len(dataset.train)) % 5 == 4
    train, valid = dataset.train[np.flatnonzero(~fifth)], dataset.train[np.flatnonzero(fifth)]
    return Dataset(train, valid, dataset.test, dataset.info)


def _last_answers(batch: Batch) -> Batch:
    """The label of a string as the target of its last step."""
    last = np.asarray(batch.mask).sum(axis=1) - 1
    steps = np.arange(batch.x.shape[1]) == last[:, None]
    labels = np.where(steps, np.asarray(batch.y)[:, None], NO_TARGET).astype(np.int32)
    return Batch(batch.x, jnp.asarray(labels), batch.mask)


def _longer(name: str) -> Dataset:
    """Answers at every step to learn from, the last one of longer strings to be judged by."""
    known = data.load(name, key=KEY, targets="steps", n_train=5000, n_valid=300, n_test=1)
    longer = data.load(name, key=KEY, n_train=1, n_valid=0, n_test=500).test
    return Dataset(known.train, known.valid, _last_answers(longer), known.info)


def _load(name: str, **options: Any) -> Callable[[], Dataset]:
    return functools.partial(data.load, name, key=KEY, **options)


def _mqar() -> Dataset:
    return data.load("mqar", key=KEY, encoding="one_hot", n_valid=300)


TASKS = {
    "japanese_vowels": Task(lambda: _held_out(data.load("japanese_vowels")), 600, 1 / 9),
    "permuted_digits": Task(lambda: _held_out(data.load("digits", permute=True)), 800, 0.1),
    "adding_100": Task(_load("adding", length=100, n_valid=300), 1500, 1 / 6),
    "copy_50": Task(_load("copy_memory", delay=50, n_valid=200), 1500, 0.9, per_step=True),
    "mackey_glass": Task(_load("mackey_glass"), 800, 1.0, per_step=True),
    "xor_events": Task(_load("bitstream_xor", n_train=10_000, n_test=2000), 1500, 0.5),
    "parity": Task(lambda: _longer("parity"), 1500, 0.5, per_step=True),
    "modular_arithmetic": Task(lambda: _longer("modular_arithmetic"), 1500, 0.2, per_step=True),
    "mqar_small": Task(_mqar, 1500, 1 / 32, per_step=True),
}


def prepare(options: argparse.Namespace) -> tuple:
    """Names are checked before anything runs."""
    tasks = options.tasks.split(",") if options.tasks else list(TASKS)
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise ValueError(f"unknown task {unknown[0]!r}; known are {', '.join(TASKS)}")
    cells = options.cells.split(",") if options.cells else list(list_cells())
    for cell in cells:
        cell_info(cell)
    return tasks, cells


def run(options: argparse.Namespace, prepared: tuple) -> None:
    """Fill the table row by row, then draw it."""
    tasks, cells = prepared
    out = Path(options.out or "runs/board")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "board.csv"
    rows = _read(path)
    done = {(row["task"], row["cell"]) for row in rows}
    for task in tasks:
        missing = [cell for cell in cells if (task, cell) not in done]
        dataset = TASKS[task].load() if missing else None
        for cell in missing:
            rows.append(measure(task, cell, dataset, options.seconds))
            print(", ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
            _write(path, rows)
    picture(_read(path)).savefig(out / "board.png", dpi=110)


def measure(name: str, cell: str, dataset: Any, seconds: float) -> dict[str, Any]:
    """One row of the table."""
    task = TASKS[name]
    make = _maker(cell, dataset, task)
    models = eqx.filter_vmap(make)(jr.split(KEY, SEEDS * len(RATES)))
    one = train.member(models, 0)
    dataset = fitting(one, dataset)
    began, stopped = time.perf_counter(), []

    def over(step: int, row: dict) -> bool:
        late = time.perf_counter() - began > seconds and step < task.steps
        stopped.extend([step] if late else [])
        return late

    result = train.fit(
        models,
        dataset.train,
        dataset.valid,
        loss=loss_for(dataset),
        optimizer=_optimizer,
        settings={"learning_rate": jnp.repeat(jnp.array(RATES), SEEDS)},
        steps=task.steps,
        batch_size=min(task.batch_size, len(dataset.train)),
        eval_every=max(task.steps // 20, 1),
        return_best=True,
        callback=over,
        population=SEEDS * len(RATES),
        key=KEY,
    )
    taken = time.perf_counter() - began
    losses = np.nanmin([row["valid_loss"] for row in result.history], axis=0)
    best = int(np.nanargmin(np.median(losses.reshape(len(RATES), SEEDS), axis=1)))
    members = [train.member(result.model, best * SEEDS + i) for i in range(SEEDS)]
    figures = [train.evaluate(m, dataset.test, loss=loss_for(dataset)) for m in members]
    figure = "accuracy" if "accuracy" in figures[0] else "loss"
    values = sorted(f[figure] for f in figures)
    return {
        "task": name,
        "cell": cell,
        "family": cell_info(cell).family,
        "hidden_size": dict(one.recipe)["hidden_size"],
        "layers": dict(one.recipe)["num_layers"],
        "parameters": _size(eqx.filter(one, eqx.is_inexact_array)),
        "state": _size(jax.eval_shape(one.layer.init_state)),
        "figure": figure if figure == "accuracy" else "mse",
        "median": f"{np.median(values):.4g}",
        "lowest": f"{values[0]:.4g}",
        "highest": f"{values[-1]:.4g}",
        "chance": f"{task.chance:.4g}",
        "learning_rate": RATES[best],
        "steps": stopped[0] if stopped else task.steps,
        "ended": "by time" if stopped else "by steps",
        "failed": int((~np.asarray(result.history[-1]["finite"])).sum()),
        "seconds": f"{taken:.1f}",
        "jax": jax.__version__,
        "commit": _commit(),
    }


def _maker(cell: str, dataset: Dataset, task: Task) -> Callable[[Any], SequenceModel]:
    """A model with about as many parameters as every other cell has."""
    layers = 2 if cell_info(cell).linear else 1

    def make(hidden_size: int, key: Any) -> SequenceModel:
        return make_model(
            cell,
            dataset.info.input_size,
            dataset.info.output_size,
            hidden_size=hidden_size,
            num_layers=layers,
            pool=None if task.per_step else "last",
            key=key,
        )

    def size(hidden_size: int) -> int:
        model = eqx.filter_eval_shape(make, hidden_size, KEY)
        return sum(
            int(np.prod(leaf.shape)) * (2 if jnp.iscomplexobj(leaf) else 1)
            for leaf in jax.tree.leaves(model)
            if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
        )

    # Cells divide their units into blocks and pairs: eighths fit all of them.
    widths = range(8, WIDEST + 1, 8)
    width = min(widths, key=lambda width: abs(size(width) - PARAMETERS))
    return functools.partial(make, width)


def _optimizer(learning_rate: Any) -> Any:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


def _size(tree: Any) -> int:
    return sum(
        int(np.prod(leaf.shape)) * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
        for leaf in jax.tree.leaves(tree)
    )


@functools.cache
def _commit() -> str:
    """The commit of the checkout that this file lies in, where it does."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def score(row: dict[str, Any]) -> float:
    """How much of the way from chance to a perfect answer, between 0 and 1.

    For an error the way is counted in powers of ten, down to a thousandth of chance.
    """
    median, chance = float(row["median"]), float(row["chance"])
    if row["figure"] == "accuracy":
        return max(0.0, (median - chance) / (1 - chance))
    return float(np.clip(-np.log10(max(median, 1e-12) / chance) / 3, 0, 1))


def picture(rows: list[dict[str, Any]]) -> Any:
    """Mean score over the tasks against seconds, a point for each cell, by family."""
    figure = matplotlib_module("figure").Figure(figsize=(9, 5.5), layout="constrained")
    ax = figure.subplots()
    families = list(dict.fromkeys(row["family"] for row in rows))
    for i, family in enumerate(families):
        cells = list(dict.fromkeys(row["cell"] for row in rows if row["family"] == family))
        for j, cell in enumerate(cells):
            own = [row for row in rows if row["cell"] == cell]
            place = np.mean([float(r["seconds"]) for r in own]), np.mean([score(r) for r in own])
            label = None if j else family
            ax.plot(*place, "o", color=f"C{i % 10}", mfc="none" if i > 9 else None, label=label)
            ax.annotate(cell, place, textcoords="offset points", xytext=(5, 3), fontsize=7)
    ax.set(
        xlabel="seconds a task, nine models at once",
        ylabel=f"mean score over {len({row['task'] for row in rows})} tasks",
        ylim=(0, 1.02),
    )
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
