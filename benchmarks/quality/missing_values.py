"""Accuracy where values are missing: Japanese Vowels, 0 to 90 % of them.

Each value of each frame is missing with one probability, at random, in the training and in the
test part alike; models of one seed see the same gaps. Every model has the recipe of `python -m
rnn_zoo train japanese_vowels` in 400 steps: both directions of 32 units, a mean over time. "forward
fill" reads the last value seen and nothing else, "forward fill, mask, age" also which values were
seen and when; "gru_d" is the cell of Che et al. 2018. A row is one model at one share, the mean of
three seeds; it takes some 10 seconds.
"""

import time

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

import rnn_zoo as rz
from rnn_zoo.cli import recipes

from .. import call
from ..tables import Kept, versions


SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9)
SEEDS = 3


def gru_d(features, size, key):
    return rz.cells.GRUDCell(features, size, key=key)


def filled(features, size, key):
    return rz.Imputed(rz.cells.GRUCell(features, size, key=key), mask=False, age=False)


def told(features, size, key):
    return rz.Imputed(rz.cells.GRUCell(3 * features, size, key=key))


MODELS = {"gru_d": gru_d, "forward fill": filled, "forward fill, mask, age": told}
PLACES = [(name, share) for share in SHARES for name in MODELS]
KEPT = Kept("missing_values", ("model", "missing"), PLACES)


def gappy(data, share, seed):
    """The data set with values missing in both parts, the same ones for every model."""
    keys = jr.split(jr.fold_in(jr.key(seed), round(100 * share)))
    parts = (rz.data.drop_values(p, share, key=k) for p, k in zip((data.train, data.test), keys))
    train, test = rz.data.standardise(*parts)
    return rz.data.Dataset(train, None, test, data.info)


def accuracy(name, share, seed):
    data = gappy(rz.data.load("japanese_vowels"), share, seed)
    recipe = recipes.recipe_for("japanese_vowels", steps=400, seed=seed)
    keys = jr.split(jr.key(seed), 3)
    inputs = data.info.input_size
    layers = (MODELS[name](inputs, recipe.hidden_size, k) for k in keys[:2])
    model = rz.SequenceModel(
        rz.Bidirectional(*layers),
        data.info.output_size,
        pool=recipe.pool,
        dropout=recipe.dropout,
        key=keys[2],
    )
    model = recipes.fit(recipe, model, data).model
    found = rz.train.evaluate(model, data.test, loss=rz.train.cross_entropy)
    trained = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return float(found["accuracy"]), sum(leaf.size for leaf in trained)


def row(name, share):
    began = time.process_time()
    found = [accuracy(name, share, seed) for seed in range(SEEDS)]
    scores = [score for score, _ in found]
    return {
        "model": name,
        "missing": share,
        "accuracy": round(float(np.mean(scores)), 4),
        "worst": round(min(scores), 4),
        "seeds": SEEDS,
        "parameters": found[0][1],
        "seconds": round(time.process_time() - began),
        **versions(),
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "model", MODELS)
    names = parser.parse_args(arguments).model
    KEPT.fill([place for place in PLACES if place[0] in names], row)
