"""What elapsed times are worth: bit-stream events, and a sampling rate never seen in training.

    python benchmarks/irregular_time.py

XOR events: the parity of a bit stream told by its runs, whose lengths are the elapsed times
(`rz.data.load("bitstream_xor")`). Lorenz: the next observation of a system seen at irregular
times; tested at the rate of training and at half the gaps. Every model with the same budget;
models without time see the values alone. Rows go to benchmarks/irregular_time.csv, the picture
to docs/irregular_time.png.
"""

import csv
import sys
import time
from pathlib import Path

import equinox as eqx
import jax.random as jr
import optax

import rnn_zoo as rz


RESULTS = Path(__file__).with_suffix(".csv")
SIZE = 64
KEY = jr.key(0)


def cfc(inputs, key):
    return rz.CfCCell(inputs, SIZE, backbone_units=SIZE, key=key)


def mixed(cell):
    def make(inputs, key):
        keys = jr.split(key)
        return rz.MixedMemory(cell(inputs, keys[0]), key=keys[1])

    return make


MODELS = {
    "lstm, no time": lambda inputs, key: rz.LSTMCell(inputs, SIZE, key=key),
    "cfc": cfc,
    "mixed memory of cfc": mixed(cfc),
    "mixed memory of ltc": mixed(lambda inputs, key: rz.LTCCell(inputs, SIZE, key=key)),
}


def untimed(batch):
    return rz.data.Batch(batch.x, batch.y, batch.mask, None, batch.reset)


def train(name, data, loss, pool, steps, rate, seed=0):
    keys = jr.split(jr.fold_in(KEY, seed), 3)
    cell = MODELS[name](data.info.input_size, keys[0])
    model = rz.SequenceModel(rz.Recurrent(cell), data.info.output_size, pool=pool, key=keys[1])
    schedule = optax.cosine_decay_schedule(rate, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    result = rz.train.fit(
        model,
        data.train if model.timed else untimed(data.train),
        loss=loss,
        optimizer=optimizer,
        key=keys[2],
        steps=steps,
        batch_size=64,
        eval_every=max(steps // 10, 1),
        callback=lambda step, row: print(name, row, flush=True),
    )
    return result.model


def figure(model, part, loss):
    return rz.train.evaluate(model, part if model.timed else untimed(part), loss=loss)


def xor(name, steps=12_000):
    data = rz.data.load("bitstream_xor", key=jr.key(1))
    model = train(name, data, rz.train.cross_entropy, "last", steps, 5e-3)
    return {"xor": float(figure(model, data.test, rz.train.cross_entropy)["accuracy"])}


def lorenz(name, steps=2000):
    same = rz.data.load("lorenz_irregular", key=jr.key(1))
    finer = rz.data.load("lorenz_irregular", test_gap=0.05, key=jr.key(1))
    model = train(name, same, rz.train.mse, None, steps, 5e-3)
    parts = {"lorenz": same.test, "lorenz_finer": finer.test}
    return {k: float(figure(model, part, rz.train.mse)["loss"]) for k, part in parts.items()}


def main() -> None:
    done = {}
    if RESULTS.exists():
        with open(RESULTS, newline="") as file:
            done = {row["model"]: row for row in csv.DictReader(file)}
    for name in sys.argv[1:] or MODELS:
        if name not in done:
            began = time.process_time()
            row = {"model": name, **xor(name), **lorenz(name)}
            row["seconds"] = round(time.process_time() - began)
            done[name] = row
            with open(RESULTS, "w", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
                writer.writerows(done.values())


if __name__ == "__main__":
    main()
