"""Associative recall (MQAR) against the size of the state.

    python benchmarks/recall.py                   all rows
    python benchmarks/recall.py rglru 32          one of them

Every cell stands in two residual blocks behind a short convolution, which brings a key and its
value into one step, as in the models of Arora et al. (2023, arXiv:2312.04927); between the widths
of a cell nothing else changes. 16 tokens, 32 steps, 4 pairs: the small preset of 64 tokens and 64
steps takes these models longer than minutes on a CPU to learn. Two learning rates train as one
population until the steps end or one of them answers everything; the better one counts. Rows go to
benchmarks/recall.csv, what stands there is not run again; the picture goes to
benchmarks/recall.png. Seconds are processor time.
"""

import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.random as jr
import optax
from matplotlib.figure import Figure
from rates import accuracy, best_rate
from rows import read, write

import rnn_zoo as rz
from rnn_zoo.summary import count_numbers


RESULTS = Path(__file__).with_suffix(".csv")
KEY, RATES, STEPS, BATCH = jr.key(0), (3e-3, 1e-2), 5000, 64
DATA = {"vocabulary": 16, "length": 32, "n_pairs": 4}
WIDTHS = (8, 16, 32, 64)
CELLS = {
    "gru": {},
    "lstm": {},
    "mingru": {},
    "rglru": {},
    "lru": {},
    "s5": {},
    "mamba": {"state_size": 8},
}


def model(cell, options, width, vocabulary, key):
    keys = jr.split(key, 4)

    def block(key):
        key_conv, key_cell, key_block = jr.split(key, 3)
        parts = [rz.ShortConv(width, key=key_conv)]
        parts.append(rz.make_cell(cell, width, width, key=key_cell, **options))
        return rz.Block(rz.Stacked(parts), mix="none", key=key_block)

    embed = rz.Pointwise(eqx.nn.Linear(vocabulary, width, key=keys[0]), vocabulary, width)
    layers = rz.Stacked([embed, block(keys[1]), block(keys[2])])
    return rz.SequenceModel(layers, vocabulary, pool=None, key=keys[3])


def row(cell, width):
    data = rz.data.load("mqar", key=KEY, encoding="one_hot", n_train=50_000, n_valid=512, **DATA)
    began = time.process_time()
    (one,), rate, steps = best_rate(
        lambda key: model(cell, CELLS[cell], width, DATA["vocabulary"], key),
        data,
        RATES,
        1,
        optimizer=lambda learning_rate: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(learning_rate, weight_decay=0.1)
        ),
        steps=STEPS,
        batch_size=BATCH,
        evaluations=20,
        callback=lambda step, row: row["valid_accuracy"].max() > 0.998,
        key=KEY,
    )
    taken = time.process_time() - began
    return {
        "cell": cell,
        "width": width,
        "state": count_numbers(jax.eval_shape(one.layer.init_state)),
        "parameters": count_numbers(eqx.filter(one, eqx.is_inexact_array)),
        "rate": rate,
        "steps": steps,
        "accuracy": round(accuracy(one, data.test), 4),
        "seconds": round(taken),
        "jax": jax.__version__,
    }


def picture(rows):
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    for cell in CELLS:
        own = sorted((int(r["state"]), float(r["accuracy"])) for r in rows if r["cell"] == cell)
        if own:
            ax.plot(*zip(*own), "o-", label=cell)
    ax.axhline(1 / DATA["n_pairs"], color="grey", ls=":", label="one of the values seen")
    ax.set(xscale="log", xlabel="state (numbers)", ylabel="accuracy", ylim=(0, 1.02))
    ax.set_title("MQAR: 4 pairs of 16 tokens within 32 steps", fontsize=11)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


def main() -> None:
    rows = read(RESULTS)
    done = {(r["cell"], int(r["width"])) for r in rows}
    one = [(sys.argv[1], int(sys.argv[2]))] if len(sys.argv) > 2 else None
    for place in one or [(cell, width) for width in WIDTHS for cell in CELLS]:
        if place not in done:
            rows.append(row(*place))
            print(rows[-1], flush=True)
            write(RESULTS, rows)
    picture(rows)


if __name__ == "__main__":
    main()
