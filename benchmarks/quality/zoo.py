"""Every cell on the adding problem and permuted digits with one budget of steps.

The tasks are the adding problem over 200 steps and permuted digits for all cells, and the adding
problem over 500 steps for cells made for long memory and others. `python docs/tables.py` writes
the tables of the pages from the rows. Seconds are processor time of training, with compiling and
validation, since the machine may be shared. The first two tasks take about an hour together, the
last one another.
"""

import dataclasses
import time
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import optax

import rnn_zoo as rz
from rnn_zoo.summaries import count_numbers

from .. import call
from ..tables import Kept


SOLVED = 0.02
"""Test error on the adding problem from which it counts as solved; a constant gives 0.1667."""
LONGEST = 300.0
"""Seconds after which a run of the first two tasks ends."""

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
        "parameters": count_numbers(eqx.filter(model, rz.train.trainable(model))),
        "steps": result.step,
        "seconds": seconds,
        "options": " ".join(f"{name}={value}" for name, value in task.options.items()),
        "jax": jax.__version__,
    }


# What makes a task, and its cells.
TASKS = {
    "adding_200": (adding_200, rz.list_cells()),
    "permuted_digits": (digits, rz.list_cells()),
    "adding_500": (adding_500, tuple(MEMORY)),
}
PLACES = [(task, cell) for task, (_, cells) in TASKS.items() for cell in cells]
KEPT = Kept("zoo", ("task", "cell"), PLACES)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "task", TASKS)
    call.add_names(parser, "--cell", rz.list_cells())
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of a run at most")
    options = parser.parse_args(arguments)

    def row(name: str, cell: str) -> dict[str, Any]:
        task = TASKS[name][0](cell)
        return run(dataclasses.replace(task, seconds=min(task.seconds, options.seconds)), cell)

    KEPT.fill([p for p in PLACES if p[0] in options.task and p[1] in options.cell], row)
