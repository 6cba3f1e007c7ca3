"""Which cells learn a rule, on strings longer than in training.

Strings of up to 40 symbols to train on, of 41 to 256 to test with. Reverse and duplicate string are
asked for every symbol of the answer; the other tasks have a target at every step in training and
are asked for the last answer in the test. Cells that keep a matrix stand in the blocks of their
papers, as `rz.make_model` builds them, and train for 400 steps, for the sake of a CPU. Each cell
trains three seeds with each of two learning rates as one population; the rate with the best
validation loss counts. A figure is the accuracy of the best seed, and of the median one; seconds
are processor time. All rows take about four hours.
"""

import time

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz
from rnn_zoo.summaries import count_numbers

from .. import call
from ..tables import Kept
from .rates import accuracy, best_rate


KEY, SEEDS, RATES, BATCH = jr.key(0), 3, (3e-3, 1e-2), 64
# The table of products takes longer: more steps, and a rate that falls to a tenth.
LAST = {"modular_arithmetic": 0.1}
STEPS = {
    "modular_arithmetic": 6000,
    "modular_arithmetic: lstm": 12_000,
    "modular_arithmetic: elman, 256 units": 12_000,
    # Enough for the lengths in training, and what a CPU does in minutes.
    "parity: deltanet": 400,
    "parity: deltanet, negative": 400,
    "parity: mlstm": 400,
    "parity: slstm": 400,
    "parity: pd_ssm": 400,
    "permutation_group": 400,
}
# Mamba holds hidden_size times state_size numbers a layer: on a CPU it has to be small.
MAMBA = {"hidden_size": 32, "state_size": 4, "step_range": (0.1, 1.0)}
# Of cells with a matrix state, whose blocks are small here, for the CPU.
MATRIX = {"hidden_size": 16, "num_heads": 2}
PRODUCTS = {**MATRIX, "negative_eigenvalues": True}
# By name: the cell, its options, and how many layers.
CELLS = {
    "elman": ("elman", {}, 1),
    "elman, 256 units": ("elman", {"hidden_size": 256}, 1),
    "lstm": ("lstm", {}, 1),
    "gru": ("gru", {}, 1),
    "mingru": ("mingru", {}, 2),
    "mingru, negative": ("mingru", {"negative_eigenvalues": True}, 2),
    "mamba": ("mamba", MAMBA, 2),
    "mamba, negative": ("mamba", {**MAMBA, "negative_eigenvalues": True}, 2),
    "mamba, complex": ("mamba", {**MAMBA, "complex_eigenvalues": True}, 2),
    "rglru": ("rglru", {}, 2),
    "rglru, negative": ("rglru", {"negative_eigenvalues": True}, 2),
    "rglru, complex": ("rglru", {"complex_eigenvalues": True}, 2),
    "lru": ("lru", {}, 2),
    "s5": ("s5", {}, 2),
    "deltanet": ("deltanet", MATRIX, 1),
    "deltanet, negative": ("deltanet", {**MATRIX, "negative_eigenvalues": True}, 1),
    "mlstm": ("mlstm", MATRIX, 1),
    "slstm": ("slstm", MATRIX, 1),
    "delta_product, 1 factor": ("delta_product", {**PRODUCTS, "num_products": 1}, 1),
    "delta_product, 2 factors": ("delta_product", {**PRODUCTS, "num_products": 2}, 1),
    "pd_ssm": ("pd_ssm", {"hidden_size": 32, "state_size": 16}, 1),
}
# Named with their tasks below: all others do parity.
OTHERS = ("elman, 256 units", "delta_product, 1 factor", "delta_product, 2 factors")
SAYING = ("elman", "lstm", "lru")
TASKS = {
    "parity": tuple(name for name in CELLS if name not in OTHERS),
    "permutation_group": ("slstm", *OTHERS[1:]),
    "even_pairs": ("pd_ssm",),
    "cycle_navigation": ("pd_ssm",),
    "modular_arithmetic": (
        *(
            "elman",
            "elman, 256 units",
            "lstm",
            "gru",
            "mingru",
            "mingru, negative",
            "mamba",
            "lru",
            "pd_ssm",
        ),
    ),
    "reverse_string": SAYING,
    "duplicate_string": SAYING,
}


def load(task):
    """The data, and the longer strings."""
    if TASKS[task] == SAYING:
        data = rz.data.load(task, key=KEY, n_valid=500)
        return data, data.test
    data = rz.data.load(task, key=KEY, targets="steps", n_valid=500, n_test=1)
    longer = rz.data.load(task, key=KEY, targets="last", n_train=1, n_valid=0, n_test=1000).test
    return data, rz.data.ask_last(longer)


def model(name, data, key):
    cell, options, layers = CELLS[name]
    sizes = data.info.input_size, data.info.output_size
    chosen = {"hidden_size": 64, **options}
    if cell == "mamba":  # the cell, without the convolution and the gate of its block
        key_layers, key_head = jr.split(key)
        layers_of = {"num_layers": layers, "key": key_layers}
        width = chosen.pop("hidden_size")
        deep = rz.layers.deep(rz.cells.MambaCell, sizes[0], width, **layers_of, **chosen)
        return rz.SequenceModel(deep, sizes[1], pool=None, key=key_head)
    return rz.make_model(cell, *sizes, num_layers=layers, pool=None, key=key, **chosen)


def row(task, name):
    data, test = load(task)
    steps = STEPS.get(f"{task}: {name}", STEPS.get(task, 2500))

    def optimizer(learning_rate):
        rate = optax.linear_schedule(learning_rate, learning_rate * LAST.get(task, 1.0), steps)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    began = time.process_time()
    chosen, rate, _ = best_rate(
        lambda key: model(name, data, key),
        data,
        RATES,
        SEEDS,
        optimizer=optimizer,
        steps=steps,
        batch_size=BATCH,
        eval_every=steps // 10,
        key=KEY,
    )
    scores = [accuracy(one, test) for one in chosen]
    return {
        "task": task,
        "cell": name,
        "layers": CELLS[name][2],
        "parameters": count_numbers(eqx.filter(chosen[0], eqx.is_inexact_array)),
        "state": count_numbers(jax.eval_shape(chosen[0].layer.init_state)),
        "steps": steps,
        "rate": rate,
        "known_lengths": round(max(accuracy(one, data.valid) for one in chosen), 4),
        "longer_best": round(max(scores), 4),
        "longer_median": round(float(np.median(scores)), 4),
        "seconds": round(time.process_time() - began),
        "jax": jax.__version__,
    }


PLACES = [(task, name) for task, cells in TASKS.items() for name in cells]
KEPT = Kept("formal_languages", ("task", "cell"), PLACES)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "task", TASKS)
    call.add_names(parser, "--cell", CELLS)
    options = parser.parse_args(arguments)
    KEPT.fill([p for p in PLACES if p[0] in options.task and p[1] in options.cell], row)
