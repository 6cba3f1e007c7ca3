"""Forecasts where half of the values are missing: Lorenz 63, one sample ahead.

Each value of x is missing with one probability, at random, in the training and in the test part
alike; what is to be forecast is complete. The models are those of `missing_values` in one
direction, with 32 units and 600 steps; "values of nought" reads the mean where a value is missing.
The figure is the root mean square error over the test series in deviations of the series, behind
the first 50 steps, the mean of three seeds, and of the worst one. A row takes about half a minute.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import Kept, versions
from .missing_values import MODELS, SEEDS


SHARES = (0.5, 0.0)
UNITS, STEPS, RATE, SKIPPED = 32, 600, 1e-2, 50


def mean(features, size, key):
    cell = rz.cells.GRUCell(features, size, key=key)
    return rz.Imputed(cell, fill="mean", mask=False, age=False)


CELLS = {**MODELS, "values of nought": mean}
PLACES = [(name, share) for share in SHARES for name in CELLS]
KEPT = Kept("missing_lorenz", ("model", "missing"), PLACES)


def error(name, share, seed):
    data = rz.data.load("lorenz", key=jr.key(seed))
    keys = jr.split(jr.fold_in(jr.key(seed), round(100 * share)))
    train, test = (
        rz.data.drop_values(p, share, key=k) for p, k in zip((data.train, data.test), keys)
    )
    key_cell, key_head, key_fit = jr.split(jr.key(seed), 3)
    inputs, outputs = data.info.input_size, data.info.output_size
    layer = rz.Recurrent(CELLS[name](inputs, UNITS, key_cell))
    model = rz.SequenceModel(layer, outputs, pool=None, key=key_head)
    schedule = optax.cosine_decay_schedule(RATE, STEPS, alpha=0.02)
    model = rz.train.fit(
        model,
        train,
        loss=rz.train.mse,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        key=key_fit,
        steps=STEPS,
        batch_size=32,
    ).model
    found = rz.batch(model)(test.x)[:, SKIPPED:]
    misfit = jnp.sqrt(jnp.mean((found - test.y[:, SKIPPED:]) ** 2))
    trained = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return float(misfit), sum(leaf.size for leaf in trained)


def row(name, share):
    began = time.process_time()
    found = [error(name, share, seed) for seed in range(SEEDS)]
    errors = [one for one, _ in found]
    return {
        "model": name,
        "missing": share,
        "error": round(float(np.mean(errors)), 4),
        "worst": round(max(errors), 4),
        "seeds": SEEDS,
        "parameters": found[0][1],
        "seconds": round(time.process_time() - began),
        **versions(),
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "model", CELLS)
    names = parser.parse_args(arguments).model
    KEPT.fill([place for place in PLACES if place[0] in names], row)
