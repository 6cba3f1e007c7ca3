"""Every cell on ten tasks with one budget of parameters and time.

For each cell and task: the width that comes nearest to the budget of parameters, three learning
rates times three seeds as one population, the rate chosen on the validation part, the figure of its
seeds on the test part. A run ends after its steps or its seconds, looked at after each twentieth of
the steps; the row says how many steps were done. Seconds depend on the machine, so `--steps-of`
takes the steps of each run from another table: the same figures again.
"""

import argparse
import functools
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz
from rnn_zoo import data, train
from rnn_zoo.cli.recipes import fitting, loss_for, say
from rnn_zoo.data.dataset import Dataset
from rnn_zoo.models.sequence import SequenceModel
from rnn_zoo.summaries import count_numbers

from .. import call
from ..tables import PICTURES, ROWS, Kept, commit, read, shown
from .scores import MEMBERS, RATES, SEEDS, picture


PARAMETERS, WIDEST = 10_000, 256
SECONDS = 60.0


class Task(NamedTuple):
    """A data set, and how much training it gets."""

    load: Callable[[], Dataset]
    steps: int
    chance: float  # the figure without learning, or without memory
    batch_size: int = 32
    per_step: bool = False


def _key() -> Any:
    """Not a constant: importing this must not start jax, which then takes every core."""
    return jr.key(0)


def _held_out(dataset: Dataset) -> Dataset:
    """With every fifth training sample as the validation part."""
    fifth = np.arange(len(dataset.train)) % 5 == 4
    train, valid = dataset.train[np.flatnonzero(~fifth)], dataset.train[np.flatnonzero(fifth)]
    return Dataset(train, valid, dataset.test, dataset.info)


def _longer(name: str, **options: Any) -> Dataset:
    """Answers at every step to learn from, the last one of longer strings to be judged by."""
    sizes = {"n_train": 5000, "n_valid": 256, "n_test": 1}
    known = data.load(name, key=_key(), targets="steps", **sizes, **options)
    longer = data.load(name, key=_key(), n_train=1, n_valid=0, n_test=500, **options).test
    return Dataset(known.train, known.valid, data.ask_last(longer), known.info)


def _load(name: str, **options: Any) -> Callable[[], Dataset]:
    return lambda: data.load(name, key=_key(), **options)


EVENTS = {"length": 16, "n_train": 10_000, "n_valid": 256, "n_test": 2000}
ONE_HOT = {"encoding": "one_hot", "n_valid": 256}
TINY = {"vocabulary": 16, "length": 16, "n_pairs": 2}
TASKS = {
    "japanese_vowels": Task(lambda: _held_out(data.load("japanese_vowels")), 600, 1 / 9),
    "permuted_digits": Task(lambda: _held_out(data.load("digits", permute=True)), 800, 0.1),
    "adding_100": Task(_load("adding", length=100, n_valid=256), 1500, 1 / 6),
    "copy_50": Task(_load("copy_memory", delay=50, n_valid=256), 1500, 0.875, per_step=True),
    "mackey_glass": Task(_load("mackey_glass"), 800, 0.0204, per_step=True),
    # Without the times between events, counted.
    "xor_events": Task(_load("bitstream_xor", **EVENTS), 3000, 0.577),
    "parity": Task(lambda: _longer("parity"), 1500, 0.5, per_step=True),
    "modular_arithmetic": Task(
        lambda: _longer("modular_arithmetic", modulus=3), 2000, 1 / 3, per_step=True
    ),
    # One of the values seen, whatever is asked.
    "mqar_tiny": Task(_load("mqar", **ONE_HOT, **TINY), 3000, 1 / 2, per_step=True),
    "mqar_small": Task(_load("mqar", **ONE_HOT), 1500, 1 / 4, per_step=True),
}


class Job(NamedTuple):
    """One row that is to be measured."""

    task: str
    cell: str
    seconds: float
    steps: int | None = None  # end here, whatever the time

    @property
    def name(self) -> tuple[str, str]:
        return self.task, self.cell


PICTURE = PICTURES / "board.png"
KEPT = Kept("board", ("task", "cell"), itertools.product(TASKS, rz.list_cells()))


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT, f"The picture is {shown(PICTURE)}, or lies in --out.")
    call.add_names(parser, "task", TASKS)
    call.add_names(parser, "--cell", rz.list_cells())
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a run; 60 by default")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, a core each")
    parser.add_argument("--steps-of", type=Path, help="a table whose steps end the runs, not time")
    parser.add_argument("--out", type=Path, default=ROWS, help="another folder, measured anew")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"expected --jobs of at least 1, got {options.jobs}")
    if options.steps_of and not options.steps_of.exists():
        parser.error(f"there is no table {options.steps_of}")
    jobs = planned(options)
    if not jobs:
        parser.error(f"none of these runs is in {options.steps_of}")
    kept = Kept("board", KEPT.keys, KEPT.order)
    kept.path = options.out / "board.csv"
    missing = {*kept.missing([job.name for job in jobs])}
    for row in _measured([job for job in jobs if job.name in missing], options.jobs):
        say(", ".join(f"{k}={v}" for k, v in row.items()))
        kept.add(row)
    drawn = PICTURE if options.out == ROWS else options.out / PICTURE.name
    picture(kept.read()).savefig(drawn, dpi=110)


def planned(options: argparse.Namespace) -> list[Job]:
    """A run for each task and cell, of those in the table of `--steps-of` where there is one."""
    jobs = [Job(task, cell, options.seconds) for task in options.task for cell in options.cell]
    if not options.steps_of:
        return jobs
    steps = {(row["task"], row["cell"]): int(row["steps"]) for row in read(options.steps_of)}
    return [job._replace(steps=steps[job.name]) for job in jobs if job.name in steps]


def _measured(jobs: list[Job], workers: int) -> Iterator[dict[str, Any]]:
    """The rows as they come, from this process or from several, each on a core of its own."""
    if workers == 1:
        yield from map(measure, jobs)
        return
    context = multiprocessing.get_context("spawn")
    turn = context.Value("i", 0)
    with ProcessPoolExecutor(workers, context, _take_a_core, (turn,)) as pool:
        for done in as_completed([pool.submit(measure, job) for job in jobs]):
            yield done.result()


def _take_a_core(turn: Any) -> None:
    """Where cores can be taken; elsewhere the workers share them.

    Before jax looks how many there are: threads that share a core cost a third of the time.
    """
    with turn.get_lock():
        mine, turn.value = turn.value, turn.value + 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[mine % len(cores)]})


@functools.lru_cache(maxsize=1)
def _dataset(task: str) -> Dataset:
    return TASKS[task].load()


def _clock() -> float:
    """Seconds: of the processor where it does the work, so that other processes do not count."""
    on_cpu = jax.default_backend() == "cpu"
    return time.process_time() if on_cpu else time.perf_counter()


def measure(job: Job) -> dict[str, Any]:
    """One row of the table."""
    task, dataset = TASKS[job.task], _dataset(job.task)
    models = eqx.filter_jit(eqx.filter_vmap(_maker(job.cell, dataset, task)))(
        jr.split(_key(), MEMBERS)
    )
    one = train.member(models, 0)
    dataset = fitting(one, dataset)
    began = _clock()
    result = _fit(models, dataset, job)
    taken = _clock() - began
    best, figure, values = _judged(result, dataset)
    jax.clear_caches()  # no two rows share a program, and hundreds of them fill the memory
    return {
        "task": job.task,
        "cell": job.cell,
        "family": rz.cell_info(job.cell).family,
        "hidden_size": dict(one.recipe)["hidden_size"],
        "layers": dict(one.recipe)["num_layers"],
        "parameters": count_numbers(eqx.filter(one, eqx.is_inexact_array)),
        "state": count_numbers(jax.eval_shape(one.layer.init_state)),
        "figure": figure,
        "median": f"{np.median(values):.4g}",
        "lowest": f"{values[0]:.4g}",
        "highest": f"{values[-1]:.4g}",
        "chance": f"{task.chance:.4g}",
        "learning_rate": RATES[best],
        "steps": result.step,
        "of_steps": task.steps,
        "failed": int((~np.asarray(result.history[-1]["finite"])).sum()),
        "seconds": f"{taken:.1f}",
        "cap": "" if job.steps else f"{job.seconds:g}",
        "jax": jax.__version__,
        "commit": commit(),
    }


def _fit(models: Any, dataset: Dataset, job: Job) -> train.FitResult:
    """The population trained until its steps or its seconds end."""
    task, began = TASKS[job.task], _clock()
    return train.fit_population(
        models,
        dataset.train,
        dataset.valid,
        loss=loss_for(dataset),
        optimizer=_optimizer,
        settings={"learning_rate": jnp.repeat(jnp.array(RATES), SEEDS)},
        steps=job.steps or task.steps,
        batch_size=min(task.batch_size, len(dataset.train)),
        eval_every=max(task.steps // 20, 1),
        return_best=True,
        callback=lambda step, row: job.steps is None and _clock() - began > job.seconds,
        key=_key(),
    )


def _judged(result: train.FitResult, dataset: Dataset) -> tuple[int, str, list[float]]:
    """The rate chosen on the validation part; what its seeds reach on the test part, in order."""
    losses = np.nanmin([row["valid_loss"] for row in result.history], axis=0)
    best = int(np.nanargmin(np.median(losses.reshape(len(RATES), SEEDS), axis=1)))
    members = [train.member(result.model, best * SEEDS + i) for i in range(SEEDS)]
    figures = [
        train.evaluate(m, dataset.test, loss=loss_for(dataset), batch_size=500) for m in members
    ]
    figure = "accuracy" if "accuracy" in figures[0] else "loss"
    return best, figure.replace("loss", "mse"), sorted(f[figure] for f in figures)


def _maker(cell: str, dataset: Dataset, task: Task) -> Callable[[Any], SequenceModel]:
    """A model with about as many parameters as every other cell has."""
    layers = 2 if rz.cell_info(cell).linear else 1

    def make(hidden_size: int, key: Any) -> SequenceModel:
        return rz.make_model(
            cell,
            dataset.info.input_size,
            dataset.info.output_size,
            hidden_size=hidden_size,
            num_layers=layers,
            pool=None if task.per_step else "last",
            key=key,
        )

    def size(hidden_size: int) -> int:
        return count_numbers(eqx.filter(eqx.filter_eval_shape(make, hidden_size, _key()), _trains))

    # Cells divide their units into blocks and pairs: eighths fit all of them.
    widths = range(8, WIDEST + 1, 8)
    width = min(widths, key=lambda width: abs(size(width) - PARAMETERS))
    return functools.partial(make, width)


def _optimizer(learning_rate: Any) -> Any:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


def _trains(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
