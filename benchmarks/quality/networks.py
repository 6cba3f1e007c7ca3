"""Small trained networks that forget or keep track of a state.

Three seeds of most are trained as one population, and the weights of each go to a file of their
own in `benchmarks/networks/`, which the tests and `python -m benchmarks in_chunks` read. Number 0
has the lowest loss of the validation part, or of the training where there is none; the others are
kept apart: how many passes a run will take is foreseen by rules that were made without them.

All networks but three have 32 units. `parity`, `even_pairs`, `cycle_navigation` and
`modular_arithmetic` are regular languages, `s3` and `a5` products of permutations of three and of
five things; they answer at every step. `flip_flop` holds the bits that pulses set, `vowels` says
who spoke, `mackey_glass` and `lorenz` predict a series one step ahead.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import FOLDER


NETWORKS = FOLDER / "networks"
CE, MSE = rz.train.cross_entropy, rz.train.mse
SEEDS = 3
WEIGHTS = "Weights go to benchmarks/networks/, in the place of those that are there"
STRINGS = {"targets": "steps", "n_train": 8000, "n_valid": 200, "n_test": 1}
# Short strings first: the answers of long ones give no hint at the start.
GROWING = ((5, 800), (12, 800), (40, 6000))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained, by stages: the longest string or None, the steps, and of some the
    number of strings."""

    cell: str
    task: str
    rate: float
    stages: tuple[tuple, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss: Callable = CE
    hidden_size: int = 32
    pool: str | None = None
    members: int = SEEDS


FLIP_FLOP = {"n_train": 1000, "length": 60, "n_valid": 200, "n_test": 1}
RECIPES = {
    "parity gru": Recipe("gru", "parity", 3e-3, ((40, 700),), STRINGS),
    "parity lstm": Recipe("lstm", "parity", 3e-3, ((40, 1500),), STRINGS),
    "parity elman": Recipe("elman", "parity", 2e-3, ((40, 3000),), STRINGS),
    "s3 gru": Recipe("gru", "permutation_group", 4e-3, ((40, 3000),), STRINGS),
    "flip_flop gru": Recipe("gru", "n_bit_flip_flop", 3e-3, ((None, 2000),), FLIP_FLOP, MSE),
    "vowels gru": Recipe("gru", "japanese_vowels", 3e-3, ((None, 500),), pool="last"),
    "mackey_glass gru": Recipe("gru", "mackey_glass", 3e-3, ((None, 800),), loss=MSE),
    "lorenz lstm": Recipe("lstm", "lorenz", 3e-3, ((None, 800),), loss=MSE),
    "cycle_navigation lstm": Recipe(
        "lstm", "cycle_navigation", 1e-2, GROWING, STRINGS, hidden_size=64, members=2
    ),
    "even_pairs lstm": Recipe("lstm", "even_pairs", 3e-3, ((40, 1500),), STRINGS),
    "modular_arithmetic lstm": Recipe(
        "lstm",
        "modular_arithmetic",
        1e-2,
        ((39, 9000, 10_000), (39, 5000, 40_000)),
        STRINGS,
        hidden_size=64,
        members=2,
    ),
    "a5 gru": Recipe(
        "gru",
        "permutation_group",
        4e-3,
        ((2, 2500), (3, 2500), (5, 3000), (10, 3000), (40, 2000)),
        {**STRINGS, "group": "A5", "n_train": 20_000},
        hidden_size=96,
        members=1,
    ),
}


def load(place: str, longest: int | None = None, strings: int | None = None) -> rz.data.Dataset:
    """What a network is trained on."""
    recipe = RECIPES[place]
    options = {} if recipe.task == "japanese_vowels" else {"key": jr.key(1)}
    options |= recipe.options
    options |= {} if longest is None else {"lengths": (1, longest)}
    options |= {} if strings is None else {"n_train": strings}
    return rz.data.load(recipe.task, **options)


def train(place: str) -> list[Any]:
    """The members, the best of the validation part first."""
    recipe, models, losses = RECIPES[place], None, np.zeros(1)
    for longest, steps, *strings in recipe.stages:
        data = load(place, longest, *strings)
        sizes = data.info.input_size, data.info.output_size

        def make(key, sizes=sizes):
            options = {"hidden_size": recipe.hidden_size, "pool": recipe.pool}
            return rz.make_model(recipe.cell, *sizes, key=key, **options)

        if models is None:
            models = eqx.filter_vmap(make)(jr.split(jr.key(3), recipe.members))
        falling = optax.cosine_decay_schedule(recipe.rate, steps, alpha=0.1)
        result = rz.train.fit_population(
            models,
            data.train,
            data.valid,
            loss=recipe.loss,
            optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling)),
            key=jr.key(0),
            steps=steps,
            batch_size=64,
            eval_every=steps,
        )
        models, row = result.model, result.history[-1]
        losses = np.asarray(row.get("valid_loss", row["train_loss"]))
        print(place, longest, losses.round(4), row.get("valid_accuracy"), flush=True)
    order = np.argsort(losses, kind="stable")
    return [rz.train.member(models, int(i)) for i in order]


def path(place: str, number: int = 0):
    return NETWORKS / f"{place.replace(' ', '_')}_{number}.rz"


def network(place: str, number: int = 0) -> Any:
    """A trained network: a cell, and a head that reads it."""
    return rz.train.load(path(place, number))


def cell_of(model: Any) -> Any:
    """The cell of one of these models, which have one layer."""
    return model.layer.layers[0].cell


def long_inputs(place: str, length: int, seed: int = 5) -> tuple[jax.Array, np.ndarray | None]:
    """A long sequence of what a network was trained on, and where it is a string its answers.

    `rare flip_flop gru` is the flip-flop network where a pulse comes once in 2000 steps.
    """
    rng = np.random.default_rng(seed)
    if "flip_flop" in place:
        share = 0.0005 if place.startswith("rare") else 0.25
        pulse = rng.random((length, 3)) < share
        pulse[0] = True
        return jnp.asarray(rng.choice([-1.0, 1.0], (length, 3)) * pulse, jnp.float32), None
    recipe = RECIPES[place]
    if "targets" in recipe.options:
        # An expression has an odd number of symbols.
        long = length - (recipe.task == "modular_arithmetic" and length % 2 == 0)
        sizes = {"n_train": 1, "n_valid": 1, "n_test": 1, "test_lengths": (long, long)}
        test = rz.data.load(recipe.task, key=jr.key(seed), **{**recipe.options, **sizes}).test
        return jnp.asarray(test.x[0]), np.asarray(test.y[0])
    data = load(place)
    if data.test.mask is not None:  # utterances, one after the other
        order = rng.permutation(len(data.test.x))
        rows = np.asarray(data.test.x)[order][np.asarray(data.test.mask)[order]]
    else:  # windows of a series, in order
        rows = np.asarray(data.train.x).reshape(-1, data.train.x.shape[-1])
        rows = np.roll(rows, -int(rng.integers(len(rows))), axis=0)
    return jnp.asarray(np.resize(rows, (length, rows.shape[-1]))), None


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, f"{WEIGHTS}; no rows are written.")
    call.add_names(parser, "network", RECIPES)
    NETWORKS.mkdir(exist_ok=True)
    for place in parser.parse_args(arguments).network:
        began = time.process_time()
        for number, model in enumerate(train(place)):
            rz.train.save(path(place, number), model)
        print(place, f"{time.process_time() - began:.0f} s", flush=True)
