"""What elapsed times are worth: bit-stream events, and another sampling rate.

XOR events: the parity of a bit stream told by its runs, whose lengths are the elapsed times
(`rz.data.load("bitstream_xor")`). Lorenz: the next observation of a system seen at irregular
times, 0.1 apart in the mean; tested at that rate, at half and at twice the gaps. Every model
has the same budget; models without time see the values alone.
"""

import time

import jax.random as jr
import optax

import rnn_zoo as rz

from .. import call
from ..tables import PICTURES, Kept, shown


SIZE = 64
KEY = jr.key(0)
GAPS = (0.05, 0.1, 0.2)
# Bits, steps, learning rate: short streams first, since the parity of long ones gives no hint.
CURRICULUM = ((8, 4000, 4e-3), (16, 5000, 3e-3), (32, 12_000, 1e-3))


def cfc(inputs, key):
    return rz.cells.CfCCell(inputs, SIZE, backbone_units=SIZE, key=key)


def lstm(inputs, key):
    return rz.cells.LSTMCell(inputs, SIZE, key=key)


def mixed_ltc(inputs, key):
    """Fewer neurons: six unfolds make a step of it dear."""
    wiring = rz.wiring.AutoNCPMap(inputs, SIZE // 2, SIZE // 4)
    keys = jr.split(key)
    return rz.MixedMemory(rz.cells.LTCCell(inputs, wiring, key=keys[0]), key=keys[1])


MODELS = {"lstm, no time": lstm, "cfc": cfc, "mixed memory of ltc": mixed_ltc}
KEPT = Kept("irregular_time", ("model",), zip(MODELS))
PICTURE = PICTURES / "irregular_time.png"


def build(name, data, pool):
    """Two layers of a cell."""
    keys = jr.split(KEY, 3)
    first = MODELS[name](data.info.input_size, keys[0])
    second = MODELS[name](first.output_size, keys[1])
    stack = rz.Stacked([first, second])
    return rz.SequenceModel(stack, data.info.output_size, pool=pool, key=keys[2])


def untimed(batch):
    return rz.data.Batch(batch.x, batch.y, batch.mask, None, batch.reset)


def train(model, name, data, loss, budget):
    """Under a budget of (steps, learning rate, batch size)."""
    steps, rate, batch_size = budget
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.05)),
    )
    result = rz.train.fit(
        model,
        data.train if model.timed else untimed(data.train),
        loss=loss,
        optimizer=optimizer,
        key=KEY,
        steps=steps,
        batch_size=batch_size,
        eval_every=max(steps // 5, 1),
        callback=lambda step, row: print(name, data.info.name, row, flush=True),
    )
    return result.model


def figure(model, part, loss):
    return rz.train.evaluate(model, part if model.timed else untimed(part), loss=loss)


def xor(name):
    model = None
    for length, steps, rate in CURRICULUM:
        data = rz.data.load("bitstream_xor", length=length, key=jr.key(length))
        model = build(name, data, "last") if model is None else model
        model = train(model, name, data, rz.train.cross_entropy, (steps, rate, 128))
        accuracy = figure(model, data.test, rz.train.cross_entropy)["accuracy"]
        print(name, length, "bits", float(accuracy), flush=True)
    return {"xor": float(accuracy)}


def lorenz(name):
    data = {gap: rz.data.load("lorenz_irregular", test_gap=gap, key=jr.key(1)) for gap in GAPS}
    model = build(name, data[0.1], None)
    model = train(model, name, data[0.1], rz.train.mse, (1500, 5e-3, 64))
    errors = {gap: figure(model, data[gap].test, rz.train.mse)["loss"] for gap in GAPS}
    return {f"lorenz_{gap}": float(value) for gap, value in errors.items()}


def picture(rows):
    """Error on the Lorenz system against the mean gap between observations."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, 4), layout="constrained")
    ax = drawing.subplots()
    for row in rows:
        errors = [float(row[f"lorenz_{gap}"]) for gap in GAPS]
        ax.plot(GAPS, errors, "o-", label=row["model"])
    ax.axvline(0.1, color="grey", ls=":", label="mean gap in training")
    ax.set(xlabel="mean gap between test observations (units of time)", xscale="log")
    ax.set(ylabel="mean squared error of the next observation", yscale="log")
    ax.set_xticks(GAPS, [str(gap) for gap in GAPS])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    drawing.savefig(PICTURE, dpi=120)


def row(name):
    began = time.process_time()
    figures = {"model": name, **xor(name), **lorenz(name)}
    return {**figures, "seconds": round(time.process_time() - began)}


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT, f"The picture is {shown(PICTURE)}.")
    call.add_names(parser, "model", MODELS)
    KEPT.fill([(name,) for name in parser.parse_args(arguments).model], row)
    picture(KEPT.read())
