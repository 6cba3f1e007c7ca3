"""Associative recall (MQAR) against the size of the state.

Every cell stands in two blocks of Mamba, in the place of its state space: a short convolution in
front brings a key and its value into one step, a gate behind lets the key that is asked for choose
what is read. Without that gate most models name any one of the values seen, for as long as this.
Between the widths of a cell nothing else changes. `small` is the preset of `rz.data.load("mqar")`,
64 tokens and 64 steps; `tiny` is easier and quicker, 16 tokens and 32 steps. Four pairs are to be
remembered in both. `published` has the data and the training of `small` for the cells that keep a
matrix, each in two blocks of its own paper, as `rz.make_model` builds them. The seeds train as one
population until the steps end or one of them answers nearly everything; the figures are those of
the best seed, which the picture shows, and of the median one. Seconds are processor time; all rows
take about four hours.
"""

import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax
from matplotlib.figure import Figure

import rnn_zoo as rz
from rnn_zoo.summaries import count_numbers

from .. import call
from ..tables import PICTURES, Kept, shown
from .rates import accuracy, best_rate


class Setting(NamedTuple):
    data: dict
    cells: tuple[str, ...]
    widths: tuple[int, ...]
    seeds: dict[str, int] | int  # of each cell, one where it is not named
    steps: int
    evaluations: int
    enough: float
    title: str


PICTURE = PICTURES / "recall.png"
KEY, RATE, BATCH = jr.key(0), 1e-2, 64
STATES = 8  # of each feature of Mamba
# With the authors' keys of 128 the state of Mamba-2 would be ten times that of all others.
# Gated DeltaNet has keys of 4 at this width, in heads of 8, unless it is told.
OPTIONS = {"mamba2": {"key_size": 16}, "gated_deltanet": {"num_heads": 2, "key_size": 16}}
# Where the steps are fewer, their rate falls to a tenth.
STEPS = {"gated_deltanet": 2000}
SETTINGS = {
    "tiny": Setting(
        {"vocabulary": 16, "length": 32, "n_pairs": 4},
        ("gru", "lstm", "mingru", "rglru", "lru", "s5", "mamba"),
        (4, 8, 16, 32),
        seeds=4,
        steps=3000,
        evaluations=12,
        enough=0.998,
        title="16 tokens, 32 steps\nbest of four seeds",
    ),
    "small": Setting(
        {},
        ("gru", "rglru", "lru", "mamba"),
        (16, 32, 64),
        seeds=2,
        steps=5000,
        evaluations=20,
        enough=0.99,
        title="64 tokens, 64 steps (the small preset)\nbest of two seeds",
    ),
    "published": Setting(
        {},
        ("deltanet", "gated_deltanet", "mamba2", "mlstm", "gla", "rwkv7"),
        (32,),
        seeds={},
        steps=5000,
        evaluations=20,
        enough=0.99,
        title="the small preset,\nblocks of the cells' own papers",
    ),
}
CELLS = tuple(dict.fromkeys(cell for setting in SETTINGS.values() for cell in setting.cells))


def model(cell, width, vocabulary, key):
    if cell in SETTINGS["published"].cells:
        given = {"hidden_size": width, "num_layers": 2, **OPTIONS.get(cell, {})}
        return rz.make_model(cell, vocabulary, vocabulary, pool=None, key=key, **given)
    keys = jr.split(key, 4)

    def block(key):
        key_block, key_cell = jr.split(key)
        options = {"state_size": STATES} if cell == "mamba" else {}
        block = rz.layers.MambaBlock(width, expand=1, key=key_block, **options)
        if cell != "mamba":
            own = rz.Recurrent(rz.make_cell(cell, width, width, key=key_cell))
            block = eqx.tree_at(lambda block: block.inner.layers[2], block, own)
        return rz.Block(block, mix="none", key=key)

    embed = rz.layers.Pointwise(eqx.nn.Linear(vocabulary, width, key=keys[0]), vocabulary, width)
    layers = rz.Stacked([embed, block(keys[1]), block(keys[2])])
    return rz.SequenceModel(layers, vocabulary, pool=None, key=keys[3])


def row(name, cell, width):
    setting = SETTINGS[name]
    seeds = setting.seeds if isinstance(setting.seeds, int) else setting.seeds.get(cell, 1)
    most = STEPS.get(cell, setting.steps)
    last = 0.1 if cell in STEPS else 1.0
    data = rz.data.load(
        "mqar", key=KEY, encoding="one_hot", n_train=50_000, n_valid=512, **setting.data
    )
    began = time.process_time()
    members, rate, steps = best_rate(
        lambda key: model(cell, width, data.info.input_size, key),
        data,
        (RATE,),
        seeds,
        optimizer=lambda learning_rate: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(
                optax.linear_schedule(learning_rate, last * learning_rate, most), weight_decay=0.1
            ),
        ),
        steps=most,
        batch_size=BATCH,
        eval_every=most // setting.evaluations,
        callback=lambda step, row: row["valid_accuracy"].max() > setting.enough,
        key=KEY,
    )
    taken = time.process_time() - began
    scores = [accuracy(member, data.test) for member in members]
    one = members[0]
    return {
        "setting": name,
        "cell": cell,
        "width": width,
        "state": count_numbers(jax.eval_shape(one.layer.init_state)),
        "parameters": count_numbers(eqx.filter(one, eqx.is_inexact_array)),
        "rate": rate,
        "seeds": seeds,
        "steps": steps,
        "accuracy": round(max(scores), 4),
        "median": round(float(np.median(scores)), 4),
        "seconds": round(taken),
        "jax": jax.__version__,
    }


def picture(rows):
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    axes = figure.subplots(1, len(SETTINGS), sharey=True)
    # Ten colours, then squares for dots.
    looks = {cell: (f"C{i}", "os"[i // 10]) for i, cell in enumerate(CELLS)}
    for ax, (name, setting) in zip(axes, SETTINGS.items()):
        for cell in setting.cells:
            own = [r for r in rows if (r["setting"], r["cell"]) == (name, cell)]
            points = sorted((int(r["state"]), float(r["accuracy"])) for r in own)
            if points:
                colour, marker = looks[cell]
                ax.plot(*zip(*points), ls="-", color=colour, marker=marker, label=cell)
        ax.axhline(1 / 4, color="grey", ls=":", label="one of the values seen")
        ax.set_title(setting.title, fontsize=11)
        ax.set(xscale="log", xlabel="state (numbers)", xlim=(28, 3000), ylim=(0, 1.02))
        ticks = [2**i for i in range(5, 12)]
        ax.set_xticks(ticks, [str(n) for n in ticks], minor=False)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy")
    shown_cells = {
        label: line
        for ax in axes
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*shown_cells.values()], [*shown_cells], loc="outside right", frameon=False)
    figure.suptitle("MQAR, four pairs: accuracy against the size of the state", fontsize=12)
    figure.savefig(PICTURE, dpi=100)


PLACES = [
    (name, cell, width)
    for name, setting in SETTINGS.items()
    for width in setting.widths
    for cell in setting.cells
]
KEPT = Kept("recall", ("setting", "cell", "width"), PLACES)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT, f"The picture is {shown(PICTURE)}.")
    call.add_names(parser, "setting", SETTINGS)
    call.add_names(parser, "--cell", CELLS)
    parser.add_argument("--width", nargs="*", type=int, help="some only")
    options = parser.parse_args(arguments)
    chosen = [
        (setting, cell, width)
        for setting, cell, width in PLACES
        if setting in options.setting and cell in options.cell
        if not options.width or width in options.width
    ]
    KEPT.fill(chosen, row)
    picture(KEPT.read())
