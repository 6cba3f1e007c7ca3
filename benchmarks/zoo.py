"""Every cell on the same tasks with the same budget: the rows of the README's tables.

    python benchmarks/zoo.py zoo        adding (200 steps) and permuted digits, all cells
    python benchmarks/zoo.py memory     adding (500 steps), cells made for long memory and others
    python benchmarks/zoo.py zoo lstm cornn      some cells only
    python benchmarks/zoo.py memory --seconds 200 elman      with less time

Rows go to benchmarks/zoo.csv; what stands there is not run again, so a run that was ended
goes on, and a row to be measured anew is deleted first. `python docs/tables.py` writes the
README from that file. Seconds are processor time of training, with compiling and
validation, since the machine may be shared; `zoo` and `memory` take about an hour each.
"""

import csv
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import optax

import rnn_zoo as rz


RESULTS = Path(__file__).with_suffix(".csv")
SOLVED = 0.02
"""Test error on the adding problem from which it counts as solved; a constant gives 0.1667."""
LONGEST = 300.0
"""Seconds after which a run of `zoo` ends."""

# The step size of a cell that integrates an equation in time belongs to the length of the task.
TIME_SCALES = {
    "antisymmetric": {"epsilon": 0.1},
    "gated_antisymmetric": {"epsilon": 0.5},
    "lipschitz": {"epsilon": 0.1},
    "cornn": {"delta": 0.06, "gamma": 66.0, "epsilon": 15.0},
    "hcornn": {"delta": 0.06, "gamma": (60.0, 72.0), "epsilon": (12.0, 18.0)},
    "unicornn": {"delta": 0.1},
}
MEMORY = {
    "elman": {"learning_rate": 1e-3},
    "lstm": {"learning_rate": 5e-3},
    "cornn": {"learning_rate": 2e-2, "delta": 0.06, "gamma": 66.0, "epsilon": 15.0},
    "lem": {"learning_rate": 5e-3, "delta": 0.2},
    "unitary": {"learning_rate": 3e-3},
    "exprnn": {"learning_rate": 2e-3},
}


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set and the budget that every cell has on it."""

    name: str
    data: rz.data.Dataset
    loss: Any
    steps: int
    batch_size: int
    optimizer: Any
    options: dict[str, Any]
    seconds: float = float("inf")
    enough: float = 0.0


def adding_200(cell: str) -> Task:
    data = rz.data.load("adding", length=200, key=jr.key(0))
    options = TIME_SCALES.get(cell, {})
    optimizer = decaying(3e-3, 6000)
    return Task("adding_200", data, rz.train.mse, 6000, 32, optimizer, options, LONGEST, 0.005)


def digits(cell: str) -> Task:
    data = rz.data.load("digits", permute=True, key=jr.key(0))
    options = TIME_SCALES.get(cell, {})
    loss = rz.train.cross_entropy
    optimizer = decaying(3e-3, 2000)
    return Task("permuted_digits", data, loss, 2000, 32, optimizer, options, LONGEST)


def adding_500(cell: str) -> Task:
    options = dict(MEMORY[cell])
    rate = options.pop("learning_rate")
    data = rz.data.load("adding", length=500, n_train=40_000, key=jr.key(0))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    return Task("adding_500", data, rz.train.mse, 40_000, 50, optimizer, options, 600.0, 0.005)


def decaying(rate: float, steps: int) -> Any:
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))


def run(task: Task, cell: str) -> dict[str, Any]:
    """Train one cell on one task; its row."""
    info = task.data.info
    layers = 2 if rz.cell_info(cell).linear else 1
    model = rz.make_model(
        cell,
        info.input_size,
        info.output_size,
        hidden_size=64,
        num_layers=layers,
        key=jr.key(1),
        **task.options,
    )

    began = time.process_time()

    def ended(step: int, row: dict) -> bool:
        print(cell, task.name, {k: round(float(v), 5) for k, v in row.items()}, flush=True)
        over = time.process_time() - began > task.seconds
        return over or row.get("valid_loss", 1.0) < task.enough

    result = rz.train.fit(
        model,
        task.data.train,
        task.data.valid,
        loss=task.loss,
        optimizer=task.optimizer,
        key=jr.key(2),
        steps=task.steps,
        batch_size=task.batch_size,
        eval_every=200,
        callback=ended,
    )
    seconds = round(time.process_time() - began)
    figures = rz.train.evaluate(result.model, task.data.test, loss=task.loss)
    return {
        "task": task.name,
        "cell": cell,
        "figure": round(float(figures.get("accuracy", figures["loss"])), 5),
        "parameters": count(model),
        "steps": result.step,
        "seconds": seconds,
        "options": " ".join(f"{name}={value}" for name, value in task.options.items()),
        "jax": jax.__version__,
    }


def count(model: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, rz.train.trainable(model))))


def rows() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def add(row: dict[str, Any]) -> None:
    new = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


SUITES = {"zoo": (adding_200, digits), "memory": (adding_500,)}


def main() -> None:
    suite, *cells = sys.argv[1:] or ["zoo"]
    limit = float("inf")
    if "--seconds" in cells:
        where = cells.index("--seconds")
        limit = float(cells[where + 1])
        del cells[where : where + 2]
    cells = cells or (rz.list_cells() if suite == "zoo" else tuple(MEMORY))
    for make in SUITES[suite]:
        for cell in cells:
            task = make(cell)
            if (task.name, cell) not in {(row["task"], row["cell"]) for row in rows()}:
                add(run(dataclasses.replace(task, seconds=min(task.seconds, limit)), cell))


if __name__ == "__main__":
    main()
