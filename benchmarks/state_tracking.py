"""Which cells learn a rule: parity and modular arithmetic on strings longer than in training.

    python benchmarks/state_tracking.py                  all rows, about 40 minutes on 2 cores
    python benchmarks/state_tracking.py parity lstm      one task, or one cell of it

Strings of up to 40 symbols to train on, with a target at every step; the test asks for the last
answer of strings of 41 to 256. Each cell trains three seeds with each of two learning rates as
one population; the rate with the best validation loss counts. Rows go to
benchmarks/state_tracking.csv; what stands there is not run again. A figure is the accuracy of the
best seed, and of the median one.
"""

import csv
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz


RESULTS = Path(__file__).with_suffix(".csv")
KEY, SEEDS, RATES, STEPS, BATCH = jr.key(0), 3, (3e-3, 1e-2), 2500, 64
TASKS = ("parity", "modular_arithmetic")
# By name: the cell, its options, and how many layers.
CELLS = {
    "elman": ("elman", {}, 1),
    "lstm": ("lstm", {}, 1),
    "gru": ("gru", {}, 1),
    "mingru": ("mingru", {}, 2),
    "mingru, negative": ("mingru", {"negative_eigenvalues": True}, 2),
    "mamba": ("mamba", {"step_range": (0.1, 1.0)}, 2),
    "mamba, negative": ("mamba", {"step_range": (0.1, 1.0), "negative_eigenvalues": True}, 2),
    "rglru": ("rglru", {}, 2),
    "rglru, negative": ("rglru", {"negative_eigenvalues": True}, 2),
    "lru": ("lru", {}, 2),
    "s5": ("s5", {}, 2),
}


def last_only(batch):
    """Labels of strings as targets of their last step."""
    lengths = np.asarray(batch.mask.sum(axis=1))
    steps = np.arange(batch.mask.shape[1]) == lengths[:, None] - 1
    labels = np.where(steps, np.asarray(batch.y)[:, None], rz.data.NO_TARGET)
    return rz.data.Batch(batch.x, labels.astype(np.int32), batch.mask)


def row(task, name):
    cell, options, layers = CELLS[name]
    data = rz.data.load(task, key=KEY, targets="steps", n_valid=500, n_test=1)
    test = last_only(rz.data.load(task, key=KEY, n_train=1, n_valid=0, n_test=1000).test)
    sizes = data.info.input_size, data.info.output_size

    def make(key):
        return rz.make_model(
            cell, *sizes, hidden_size=64, num_layers=layers, pool=None, key=key, **options
        )

    members = SEEDS * len(RATES)
    models = eqx.filter_vmap(make)(jr.split(KEY, members))
    began = time.process_time()
    result = rz.train.fit(
        models,
        data.train,
        data.valid,
        loss=rz.train.cross_entropy,
        optimizer=lambda learning_rate: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(learning_rate)
        ),
        settings={"learning_rate": jnp.repeat(jnp.array(RATES), SEEDS)},
        steps=STEPS,
        batch_size=BATCH,
        eval_every=STEPS // 10,
        return_best=True,
        population=members,
        key=KEY,
    )
    losses = np.min([r["valid_loss"] for r in result.history], axis=0).reshape(len(RATES), SEEDS)
    rate = int(np.argmin(np.nanmin(losses, axis=1)))
    chosen = [rz.train.member(result.model, rate * SEEDS + i) for i in range(SEEDS)]
    scores = [rz.train.evaluate(m, test, loss=rz.train.cross_entropy)["accuracy"] for m in chosen]
    known = [
        rz.train.evaluate(m, data.valid, loss=rz.train.cross_entropy)["accuracy"] for m in chosen
    ]
    one = rz.train.member(models, 0)
    return {
        "task": task,
        "cell": name,
        "layers": layers,
        "parameters": sum(a.size for a in jax.tree.leaves(eqx.filter(one, eqx.is_inexact_array))),
        "state": sum(a.size for a in jax.tree.leaves(jax.eval_shape(one.layer.init_state))),
        "rate": RATES[rate],
        "known_lengths": round(max(known), 4),
        "longer_best": round(max(scores), 4),
        "longer_median": round(float(np.median(scores)), 4),
        "seconds": round(time.process_time() - began),
        "jax": jax.__version__,
    }


def main() -> None:
    rows = []
    if RESULTS.exists():
        with open(RESULTS, newline="") as file:
            rows = list(csv.DictReader(file))
    done = {(r["task"], r["cell"]) for r in rows}
    tasks = sys.argv[1:2] or TASKS
    for task in tasks:
        for name in [" ".join(sys.argv[2:])] if sys.argv[2:] else CELLS:
            if (task, name) not in done:
                rows.append(row(task, name))
                print(rows[-1], flush=True)
                with open(RESULTS, "w", newline="") as file:
                    writer = csv.DictWriter(file, list(rows[-1]))
                    writer.writeheader()
                    writer.writerows(rows)


if __name__ == "__main__":
    main()
