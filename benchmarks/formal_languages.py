"""Which cells learn a rule, on strings longer than in training.

    python benchmarks/formal_languages.py                  all rows, about four hours
    python benchmarks/formal_languages.py parity lstm      one task, or one cell of it

Strings of up to 40 symbols to train on, of 41 to 256 to test with. Parity and modular arithmetic
have a target at every step in training and are asked for the last answer in the test; reverse and
duplicate string are asked for every symbol of the answer. Each cell trains three seeds with each of
two learning rates as one population; the rate with the best validation loss counts. Rows go to
benchmarks/formal_languages.csv; what stands there is not run again. A figure is the accuracy of the
best seed, and of the median one; seconds are processor time.
"""

import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax
from rates import accuracy, best_rate
from rows import read, write

import rnn_zoo as rz
from rnn_zoo.summary import count_numbers


RESULTS = Path(__file__).with_suffix(".csv")
KEY, SEEDS, RATES, BATCH = jr.key(0), 3, (3e-3, 1e-2), 64
# The table of products takes longer: more steps, and a rate that falls to a tenth.
LAST = {"modular_arithmetic": 0.1}
STEPS = {
    "modular_arithmetic": 6000,
    "modular_arithmetic: lstm": 12_000,
    "modular_arithmetic: elman, 256 units": 12_000,
}
# Mamba holds hidden_size times state_size numbers a layer: on a CPU it has to be small.
MAMBA = {"hidden_size": 32, "state_size": 4, "step_range": (0.1, 1.0)}
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
}
SAYING = ("elman", "lstm", "lru")
TASKS = {
    "parity": tuple(name for name in CELLS if "units" not in name),
    "modular_arithmetic": (
        *("elman", "elman, 256 units", "lstm", "gru", "mingru", "mingru, negative", "mamba", "lru"),
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
    longer = rz.data.load(task, key=KEY, n_train=1, n_valid=0, n_test=1000).test
    return data, rz.data.ask_last(longer)


def row(task, name):
    cell, options, layers = CELLS[name]
    data, test = load(task)
    steps = STEPS.get(f"{task}: {name}", STEPS.get(task, 2500))

    def optimizer(learning_rate):
        rate = optax.linear_schedule(learning_rate, learning_rate * LAST.get(task, 1.0), steps)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    sizes = data.info.input_size, data.info.output_size

    def make(key):
        chosen = {"hidden_size": 64, **options}
        if cell == "mamba":  # the cell, without the convolution and the gate of its block
            key_layers, key_head = jr.split(key)
            layers_of = {"num_layers": layers, "key": key_layers}
            width = chosen.pop("hidden_size")
            deep = rz.layers.deep(rz.cells.MambaCell, sizes[0], width, **layers_of, **chosen)
            return rz.SequenceModel(deep, sizes[1], pool=None, key=key_head)
        return rz.make_model(cell, *sizes, num_layers=layers, pool=None, key=key, **chosen)

    began = time.process_time()
    chosen, rate, _ = best_rate(
        make,
        data,
        RATES,
        SEEDS,
        optimizer=optimizer,
        steps=steps,
        batch_size=BATCH,
        evaluations=10,
        key=KEY,
    )
    scores = [accuracy(one, test) for one in chosen]
    return {
        "task": task,
        "cell": name,
        "layers": layers,
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


def main() -> None:
    task, name = "".join(sys.argv[1:2]), " ".join(sys.argv[2:])
    places = [(task, name) for task, cells in TASKS.items() for name in cells]
    asked = [place for place in places if task in ("", place[0]) and name in ("", place[1])]
    if not asked:
        sys.exit(f"there is no row {task} {name}; rows are {places}")
    for place in asked:
        if place not in {(r["task"], r["cell"]) for r in read(RESULTS)}:
            new = row(*place)
            print(new, flush=True)
            # Read after measuring: another process may have added rows.
            rows = [*read(RESULTS), new]
            write(RESULTS, sorted(rows, key=lambda r: places.index((r["task"], r["cell"]))))


if __name__ == "__main__":
    main()
