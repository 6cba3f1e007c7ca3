"""Associative recall (MQAR, the small preset) against the size of the state.

    python benchmarks/recall.py                   all rows, about two hours
    python benchmarks/recall.py rglru 32          one of them

Every cell stands in two blocks of Mamba, in the place of its state space: a short convolution in
front brings a key and its value into one step, a gate behind lets the key that is asked for choose
what is read. Without that gate most models name any one of the values seen, for as long as this.
Between the widths of a cell nothing else changes. Two seeds train as one population until the steps
end or one of them answers nearly everything; the figures are those of the better seed, which the
picture in benchmarks/recall.png shows, and of the other one. Rows go to benchmarks/recall.csv, what
stands there is not run again. Seconds are processor time.
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
KEY, SEEDS, RATE, STEPS, BATCH = jr.key(0), 2, 1e-2, 5000, 64
WIDTHS = (32, 64, 16)
CELLS = ("gru", "rglru", "lru", "mamba")
STATES = 8  # of each feature of Mamba


def model(cell, width, vocabulary, key):
    keys = jr.split(key, 4)

    def block(key):
        key_block, key_cell = jr.split(key)
        options = {"state_size": STATES} if cell == "mamba" else {}
        block = rz.MambaBlock(width, expand=1, key=key_block, **options)
        if cell != "mamba":
            own = rz.Recurrent(rz.make_cell(cell, width, width, key=key_cell))
            block = eqx.tree_at(lambda block: block.inner.layers[2], block, own)
        return rz.Block(block, mix="none", key=key)

    embed = rz.Pointwise(eqx.nn.Linear(vocabulary, width, key=keys[0]), vocabulary, width)
    layers = rz.Stacked([embed, block(keys[1]), block(keys[2])])
    return rz.SequenceModel(layers, vocabulary, pool=None, key=keys[3])


def row(cell, width):
    data = rz.data.load("mqar", key=KEY, encoding="one_hot", n_train=50_000, n_valid=512)
    began = time.process_time()
    members, rate, steps = best_rate(
        lambda key: model(cell, width, data.info.input_size, key),
        data,
        (RATE,),
        SEEDS,
        optimizer=lambda learning_rate: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(learning_rate, weight_decay=0.1)
        ),
        steps=STEPS,
        batch_size=BATCH,
        evaluations=20,
        callback=lambda step, row: row["valid_accuracy"].max() > 0.99,
        key=KEY,
    )
    taken = time.process_time() - began
    scores = [accuracy(member, data.test) for member in members]
    one = members[0]
    return {
        "cell": cell,
        "width": width,
        "state": count_numbers(jax.eval_shape(one.layer.init_state)),
        "parameters": count_numbers(eqx.filter(one, eqx.is_inexact_array)),
        "rate": rate,
        "steps": steps,
        "accuracy": round(max(scores), 4),
        "other": round(min(scores), 4),
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
    ax.axhline(1 / 4, color="grey", ls=":", label="one of the values seen")
    ax.set(
        xscale="log",
        xlabel="state (numbers)",
        ylabel="accuracy, better of two seeds",
        ylim=(0, 1.02),
    )
    ax.set_xticks([32, 64, 128, 256, 512], ["32", "64", "128", "256", "512"], minor=False)
    ax.minorticks_off()
    ax.set_title("MQAR: 4 pairs of 64 tokens within 64 steps", fontsize=11)
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
            new = row(*place)
            print(new, flush=True)
            # Read after measuring: another process may have added rows.
            write(RESULTS, [*read(RESULTS), new])
    picture(read(RESULTS))


if __name__ == "__main__":
    main()
