"""How the recipe of `python -m rnn_zoo train` was chosen, and what it reaches.

`select` trains variants on two thirds of the training part (in file order, speaker by speaker, as
a session of recordings would fall) and validates on the third, all three ways, two seeds each; it
takes about 25 minutes on 2 cores. `test` trains the recipe with five seeds and judges them on the
official test part, in about 2 minutes.
"""

import dataclasses
import time

import jax
import numpy as np

import rnn_zoo as rz
from rnn_zoo.cli import recipes

from .. import call


VARIANTS = [
    {},
    {"steps": 400},
    {"steps": 400, "weight_decay": 0.01},
    {"steps": 400, "pool": "last"},
    {"steps": 400, "noise": 0.0},
    {"steps": 400, "noise": 1.0},
    {"steps": 400, "hidden_size": 64},
    {"steps": 400, "cell": "lstm"},
    {"steps": 400, "cell": "lru", "num_layers": 2},
    {"steps": 400, "bidirectional": False},
    {"weight_decay": 0.3},
    {"learning_rate": 2e-2},
    {"noise": 0.8},
]


def score(recipe, dataset):
    model = recipes.build(recipe, dataset)
    model = recipes.fit(recipe, model, dataset).model
    return rz.train.evaluate(model, dataset.test, loss=rz.train.cross_entropy)


def thirds(dataset):
    """The third of each training sample: every speaker's 30 utterances in blocks of 10."""
    y = np.asarray(dataset.train.y)
    fold = np.zeros(len(y), int)
    for speaker in range(9):
        fold[y == speaker] = np.arange(30) // 10
    return fold


def select():
    dataset = rz.data.load("japanese_vowels")
    fold = thirds(dataset)
    base = recipes.recipe_for("japanese_vowels")
    for variant in VARIANTS:
        results = []
        for held in range(3):
            part = rz.data.Dataset(
                dataset.train[np.flatnonzero(fold != held)],
                None,
                dataset.train[np.flatnonzero(fold == held)],
                dataset.info,
            )
            for seed in range(2):
                recipe = dataclasses.replace(base, seed=10 * held + seed, **variant)
                results.append(score(recipe, part))
        accuracy = np.mean([r["accuracy"] for r in results])
        loss = np.mean([r["loss"] for r in results])
        print(f"{variant or 'the recipe'}: accuracy {accuracy:.3f}, loss {loss:.3f}", flush=True)


def test():
    dataset = rz.data.load("japanese_vowels")
    print("jax", jax.__version__)
    accuracies = []
    for seed in range(5):
        began = time.perf_counter()
        recipe = recipes.recipe_for("japanese_vowels", seed=seed)
        accuracies.append(score(recipe, dataset)["accuracy"])
        seconds = time.perf_counter() - began
        print(f"seed {seed}: {accuracies[-1]:.3f} in {seconds:.0f} s", flush=True)
    print(f"mean {np.mean(accuracies):.4f}, worst {min(accuracies):.4f}")


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__)
    parser.add_argument("what", choices=("select", "test"))
    {"select": select, "test": test}[parser.parse_args(arguments).what]()
