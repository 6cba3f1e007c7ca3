"""Non-linear cells in chunks side by side: the steps in a row that are left.

Three kinds of networks, all in single precision:

- trained ones (`python -m benchmarks networks`), on one sequence of 65,536 steps in chunks of 128:
  `parity`, `s3`, `a5`, `even_pairs`, `cycle_navigation` and `modular_arithmetic` keep track of a
  state, `flip_flop` holds bits that pulses set, `rare` is the same network where a pulse comes once
  in 2000 steps, in chunks of 256, `vowels`, `mackey_glass` and `lorenz` forget;
- sixteen of those, with a number: other seeds on other inputs, kept apart to see what
  `rz.dynamics.parallel_plan` is worth;
- every cell that is not linear, as it is drawn, with 16 units on 8192 steps of normal numbers, in
  chunks of 128.

Columns: the level that ended it and the passes (`rz.scan.Report`), the chunks that ran one after
the other in the end, the branches, how many times fewer steps in a row than the loop, the largest
difference of an output from the loop's, the error that the report estimates, the level and the
passes that `rz.dynamics.parallel_plan` foresaw, and for strings the share of right answers: of all
steps of the long one in chunks, and the last ones of 1000 strings of 41 to 256 symbols.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Kept
from . import networks
from .rates import accuracy


LONG, DRAWN = 65_536, 8192
RARE = "rare flip_flop gru"
APART = [
    f"{place}, {number}"
    for place in (
        "parity gru",
        "parity lstm",
        "parity elman",
        "s3 gru",
        "flip_flop gru",
        "vowels gru",
        "mackey_glass gru",
        "lorenz lstm",
    )
    for number in (1, 2)
]


def strings(place):
    """1000 strings of 41 symbols and more with their last answers, or None."""
    recipe = networks.RECIPES.get(place)
    if recipe is None or "targets" not in recipe.options:
        return None
    sizes = {"n_train": 1, "n_valid": 0, "n_test": 1000, "targets": "last"}
    data = rz.data.load(recipe.task, key=jr.key(0), **{**recipe.options, **sizes})
    return rz.data.ask_last(data.test)


def trained(place):
    """A network, its long inputs, their answers or None, and the steps of a chunk."""
    name, _, number = place.partition(", ")
    model = networks.network("flip_flop gru" if name == RARE else name, int(number or 0))
    xs, answers = networks.long_inputs(name, LONG, seed=6 if number else 5)
    return model, xs, answers, 256 if name == RARE else 128


def row(place):
    answers, told = None, {"right": "", "right_to_256": ""}
    if " " in place:
        model, xs, answers, size = trained(place)
        cell = networks.cell_of(model)
    else:
        model, size = None, 128
        cell = rz.make_cell(place, 4, 16, key=jr.key(0))
        xs = jr.normal(jr.key(5), (DRAWN, 4))
    options = rz.scan.Chunks(size)
    foreseen = rz.dynamics.parallel_plan(cell, xs, chunks=options)
    report = rz.scan.chunk_report(cell, xs, method=options)
    one, two = (rz.scan.unroll(cell, xs, method=m)[1] for m in ("sequential", options))
    if answers is not None:
        said, asked = np.asarray(jax.vmap(model.head)(two)).argmax(-1), answers >= 0
        told["right"] = round(float((said == answers)[asked].mean()), 5)
    if (shorter := strings(place)) is not None:
        told["right_to_256"] = round(accuracy(model, shorter), 5)
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
        **told,
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


PLACES = [*networks.RECIPES, RARE, *APART, *rz.list_cells(linear=False)]
KEPT = Kept("in_chunks", ("network",), [(place,) for place in PLACES])
