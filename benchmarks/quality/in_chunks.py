"""Non-linear cells in chunks side by side: the steps in a row that are left.

Two kinds of networks, both in single precision:

- trained ones with 32 units, on one sequence of 65,536 steps in chunks of 128: `parity` and `s3`
  are state trackers (is the number of ones odd; the product of permutations of three things),
  `flip_flop` holds bits that pulses set, `rare` is the same network where a pulse comes once in
  2000 steps, in chunks of 256, `mackey_glass` and `lorenz` predict a series;
- every cell that is not linear, as it is drawn, with 16 units on 8192 steps of normal numbers, in
  chunks of 128.

Columns: the level that ended it and the passes (`rz.scan.Report`), the chunks that ran one after
the other in the end, the branches, how many times fewer steps in a row than the loop, the largest
difference of an output from the loop's, the error that the report estimates, and the level and the
passes that `rz.dynamics.parallel_plan` foresaw. A network trains in one to four minutes on 2 cores.
"""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import Kept


LONG, DRAWN = 65_536, 8192


CE, MSE = rz.train.cross_entropy, rz.train.mse
SMALL = {"n_valid": 200, "n_test": 200}
BITS = {"targets": "steps", "n_train": 4000, **SMALL}
TRAINED = {
    "parity gru": ("gru", "parity", CE, 700, 3e-3, BITS),
    "parity lstm": ("lstm", "parity", CE, 700, 3e-3, BITS),
    "parity elman": ("elman", "parity", CE, 900, 2e-3, BITS),
    "s3 gru": ("gru", "permutation_group", CE, 3000, 4e-3, {**BITS, "n_train": 8000}),
    "flip_flop gru": (
        "gru",
        "n_bit_flip_flop",
        MSE,
        700,
        3e-3,
        {"n_train": 1000, "length": 60, **SMALL},
    ),
    "mackey_glass gru": ("gru", "mackey_glass", MSE, 800, 3e-3, {}),
    "lorenz lstm": ("lstm", "lorenz", MSE, 800, 3e-3, {}),
}
SAME = {"rare flip_flop gru": "flip_flop gru"}


@functools.cache
def network(place):
    """A cell that was trained with a head which reads every step."""
    name, task, loss, steps, rate, options = TRAINED[SAME.get(place, place)]
    data = rz.data.load(task, key=jr.key(1), **options)
    cell = rz.make_cell(name, data.info.input_size, 32, key=jr.key(3))
    model = rz.SequenceModel(cell, data.info.output_size, pool=None, key=jr.key(4))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    fitted = rz.train.fit(
        model, data.train, loss=loss, optimizer=optimizer, key=jr.key(0), steps=steps, batch_size=64
    )
    return fitted.model.layer.cell


def inputs(place, size):
    """A long sequence of what the network was trained on."""
    rng = np.random.default_rng(5)
    task = place.split()[0]
    if task == "rare":
        pulse = rng.random((LONG, size)) < 0.0005
        pulse[0] = True
        return rng.choice([-1.0, 1.0], pulse.shape) * pulse
    if task == "flip_flop":
        return rng.choice([-1.0, 1.0], (LONG, size)) * (rng.random((LONG, size)) < 0.25)
    if task in ("parity", "s3"):
        return np.eye(size)[rng.integers(0, size, LONG)]
    whole = rz.data.load(task, key=jr.key(1)).train.x
    rows = np.asarray(whole).reshape(-1, size)
    return np.resize(rows, (LONG, size))


def row(place):
    if " " in place:
        cell, size = network(place), 256 if place in SAME else 128
        xs = jnp.asarray(inputs(place, cell.input_size), jnp.float32)
    else:
        cell, size = rz.make_cell(place, 4, 16, key=jr.key(0)), 128
        xs = jr.normal(jr.key(5), (DRAWN, 4))
    options = rz.scan.Chunks(size)
    foreseen = rz.dynamics.parallel_plan(cell, xs, chunks=options)
    report = rz.scan.chunk_report(cell, xs, method=options)
    one, two = (rz.scan.unroll(cell, xs, method=m)[1] for m in ("sequential", options))
    return {
        "network": place,
        "steps": len(xs),
        "chunk": size,
        "level": int(report.level),
        "passes": int(report.passes),
        "reruns": int(report.reruns),
        "branches": int(report.branches),
        "fewer": f"{len(xs) / int(report.steps_in_a_row):.1f}",
        "apart": f"{float(jnp.max(jnp.abs(one - two))):.1e}",
        "estimated": f"{float(report.error):.1e}",
        "level_foreseen": foreseen.level,
        "passes_foreseen": foreseen.passes,
        "jax": jax.__version__,
    }


def refuses(name):
    """Whether a cell is linear, or has a form of its own that is parallel over time."""
    cell = rz.make_cell(name, 4, 16, key=jr.key(0))
    return cell.linear or rz.base.runs_in_chunks(cell) or cell.stochastic


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "network", PLACES)
    wanted = parser.parse_args(arguments).network
    KEPT.fill([(place,) for place in wanted if " " in place or not refuses(place)], row)


PLACES = [*TRAINED, *SAME, *rz.list_cells(linear=False)]
KEPT = Kept("in_chunks", ("network",), [(place,) for place in PLACES])
