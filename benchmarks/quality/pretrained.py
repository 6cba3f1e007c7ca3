"""Small trained models that the package carries, each made anew by this command.

A model goes to `rnn_zoo/_pretrained/NAME.rz`, and beside it its card, `NAME.json`: what it was
trained on, its figures with the spread within which another machine finds them, its hash, and the
versions that it was made with. `rz.load_pretrained(NAME)` opens it. A training takes at most four
minutes of one core; `--cards` trains nothing, and writes the cards of what is there anew.
"""

import dataclasses
import hashlib
import json
import time
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz
from rnn_zoo.cli import recipes
from rnn_zoo.summaries import count_numbers

from .. import call
from ..tables import ROOT, versions
from . import formal_languages
from .rates import accuracy


FOLDER = ROOT / "rnn_zoo" / "_pretrained"
CE, MSE = rz.train.cross_entropy, rz.train.mse
KEY = jr.key(0)
AHEAD, WARM = 1000, 200
LORENZ_STEP, LYAPUNOV = 0.02, 0.9056  # the exponent: Sprott, "Chaos and Time-Series Analysis", 2003
# Longest string, steps: by short strings first, since the last answers of long ones give no hint.
CURRICULUM = ((5, 1500), (12, 1500), (24, 1500), (40, 4000))
# Bits, steps, learning rate: the same of streams of bits.
XOR_CURRICULUM = ((8, 2500, 4e-3), (16, 3000, 3e-3), (32, 5000, 1.5e-3))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is made and what is measured of it.

    - `figures(model)`: numbers by what they are; `spread`: how far another machine may be off.
    """

    about: str
    use: str
    data: str
    test: str
    make: Callable[[], Any]
    figures: Callable[[Any], dict[str, float]]
    spread: dict[str, float]


# --- rules of strings ---------------------------------------------------------------------------


def solver(task: str, curriculum: Sequence[tuple[int, int]]) -> Callable[[], Any]:
    def make():
        model = None
        for longest, steps in curriculum:
            data = strings(task, longest)
            sizes = data.info.input_size, data.info.output_size
            model = model or rz.make_model("gru", *sizes, hidden_size=32, pool=None, key=KEY)
            model = fitted(model, data.train, CE, steps, 5e-3)
        return model

    return make


def strings(task: str, longest: int) -> rz.data.Dataset:
    lengths = {"lengths": (1, longest), "n_train": 20_000, "n_valid": 1, "n_test": 1}
    return rz.data.load(task, key=jr.key(longest), targets="steps", **lengths)


def longer_strings(task: str) -> Callable[[Any], dict[str, float]]:
    def figures(model):
        _, test = formal_languages.load(task)
        return {"accuracy": accuracy(model, test)}

    return figures


def fitted(model, train, loss, steps, rate, batch_size=64):
    """Gradient clipping, Adam, and a rate that falls to a twentieth."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.05)),
    )
    return rz.train.fit(
        model,
        train,
        loss=loss,
        optimizer=optimizer,
        key=KEY,
        steps=steps,
        batch_size=batch_size,
        eval_every=max(steps // 5, 1),
        callback=lambda step, row: print(row, flush=True),
    ).model


# --- bits told by the times that they last ------------------------------------------------------


def xor_events():
    model = rz.make_model("cfc", 1, 2, hidden_size=48, num_layers=2, backbone_units=48, key=KEY)
    for length, steps, rate in XOR_CURRICULUM:
        data = rz.data.load("bitstream_xor", length=length, key=jr.key(length), n_train=50_000)
        model = fitted(model, data.train, CE, steps, rate, batch_size=128)
    return model


def xor_figures(model):
    test = rz.data.load("bitstream_xor", key=jr.key(32), n_train=1, n_valid=1, n_test=10_000).test
    return {"accuracy": rz.train.evaluate(model, test, loss=CE)["accuracy"]}


# --- chaotic series, run on from their own outputs ----------------------------------------------


def standard(series):
    """(time, features) in the unit of its first 4000 steps."""
    series = series.reshape(len(series), -1)
    return ((series - series[:4000].mean(axis=0)) / series[:4000].std(axis=0)).astype(np.float32)


def mackey_glass_whole():
    return standard(rz.data.mackey_glass_series(16_000)[1000:])


def lorenz_whole():
    return standard(rz.data.lorenz_series(14_000, h=LORENZ_STEP, substeps=4)[1000:])


MACKEY_GLASS = {"spectral_radius": 1.1, "leak": 0.5, "input_scaling": 0.3, "bias_scaling": 0.5}
LORENZ = {"spectral_radius": 0.9, "leak": 1.0, "input_scaling": 0.3, "bias_scaling": 2.0}


def surrogate(whole: Callable, size: int, ridge: float, options: dict) -> Callable[[], Any]:
    def make():
        series = jnp.asarray(whole()[:4001])
        features = series.shape[1]
        cell = rz.cells.EchoStateCell(features, size, key=jr.key(12), **options)
        network = rz.EchoStateNetwork(cell, features, features=rz.reservoir.half_squares)
        return network.fit_readout(series[:-1], series[1:], ridge=ridge, washout=100)

    return make


def stretches(whole):
    """Twenty pieces of what was not trained on: what is read, and what follows."""
    starts = 4100 + np.arange(20) * (len(whole) - 4100 - WARM - AHEAD) // 20
    return jnp.asarray(np.stack([whole[s : s + WARM + AHEAD] for s in starts]))


def run_on(model, pieces):
    run = rz.Autoregressive(model)
    return eqx.filter_jit(jax.vmap(lambda piece: run(piece[:WARM], AHEAD)))(pieces)


def mackey_glass_figures(model):
    pieces = stretches(mackey_glass_whole())
    apart = run_on(model, pieces)[:, 83] - pieces[:, WARM + 83]
    return {"nrmse_84_steps_ahead": float(jnp.sqrt(jnp.mean(apart**2) / jnp.var(pieces)))}


def lorenz_figures(model):
    pieces = stretches(lorenz_whole())

    def held(said, piece):
        return rz.metrics.valid_prediction_time(
            said, piece[WARM:], step=LORENZ_STEP, lyapunov_exponent=LYAPUNOV
        )

    return {"lyapunov_times": float(jnp.median(jax.vmap(held)(run_on(model, pieces), pieces)))}


# --- recorded data ------------------------------------------------------------------------------


def vowels():
    data = rz.data.load("japanese_vowels")
    recipe = recipes.recipe_for("japanese_vowels")
    return recipes.fit(recipe, recipes.build(recipe, data), data).model


def vowels_figures(model):
    test = rz.data.load("japanese_vowels").test
    return {"accuracy": rz.train.evaluate(model, test, loss=CE)["accuracy"]}


def shakespeare():
    data = rz.data.load("shakespeare", length=64, stride=32)
    size = data.info.input_size
    model = rz.make_model("gru", size, size, hidden_size=192, embedding_size=48, pool=None, key=KEY)
    return fitted(model, data.train, CE, 2400, 6e-3, batch_size=32)


def shakespeare_figures(model):
    test = rz.data.load("shakespeare", length=512).test
    return {"nats_per_character": rz.train.evaluate(model, test, loss=CE, batch_size=16)["loss"]}


LOOP = "rz.Autoregressive(model)(xs, steps) runs on from xs (time, {}), standardised as in training"
SERIES = "the first 4000 of {}, in units of their mean and deviation"
PIECES = "20 pieces of what follows: 200 steps are read, and the next 1000 said"
STRINGS = (
    'rz.data.load("{}", targets="steps", lengths=(1, n), n_train=20000, key=jax.random.key(n))'
)
LONGER = "1000 strings of 41 to 256 symbols, the last answer of each"
RECIPES = {
    "parity": Recipe(
        "Says after every bit whether the ones so far are odd in number.",
        "model(xs) of one-hot bits (time, 2) gives two logits a step",
        STRINGS.format("parity") + ", n = 40",
        LONGER,
        solver("parity", CURRICULUM[-1:]),
        longer_strings("parity"),
        {"accuracy": 0.005},
    ),
    "cycle_navigation": Recipe(
        "Says after every move where on a ring of five places it has led.",
        "model(xs) of one-hot moves (time, 3) gives five logits a step",
        STRINGS.format("cycle_navigation") + ", n = 5, 12, 24, 40 in turn",
        LONGER,
        solver("cycle_navigation", CURRICULUM),
        longer_strings("cycle_navigation"),
        {"accuracy": 0.005},
    ),
    "xor_events": Recipe(
        "Says whether a stream of bits has an odd number of ones, from its runs and their times.",
        "model(xs, dt=dt, mask=mask) of bits (time, 1) and times (time,) gives two logits",
        'rz.data.load("bitstream_xor", length=n, key=jax.random.key(n)), n = 8, 16, 32 in turn',
        "10000 other streams of 2 to 32 bits",
        xor_events,
        xor_figures,
        {"accuracy": 0.005},
    ),
    "mackey_glass": Recipe(
        "Runs the Mackey-Glass series (tau = 17) on: a reservoir with a fitted readout.",
        LOOP.format(1),
        SERIES.format("rz.data.mackey_glass_series(16000)[1000:]"),
        PIECES + "; the error 84 steps ahead in units of the deviation",
        surrogate(mackey_glass_whole, 250, 1e-7, MACKEY_GLASS),
        mackey_glass_figures,
        {"nrmse_84_steps_ahead": 0.004},
    ),
    "lorenz": Recipe(
        "Runs the Lorenz system on, a step every 0.02: a reservoir with a fitted readout.",
        LOOP.format(3),
        SERIES.format("rz.data.lorenz_series(14000, h=0.02, substeps=4)[1000:]"),
        PIECES + "; the median of the times for which the error stays below 0.4",
        surrogate(lorenz_whole, 300, 1e-9, LORENZ),
        lorenz_figures,
        {"lyapunov_times": 2.0},
    ),
    "japanese_vowels": Recipe(
        "Says which of nine speakers uttered a vowel.",
        "model(xs, mask=mask) of (time, 12) gives nine logits",
        'rz.data.load("japanese_vowels"), the train part',
        "its test part, 370 utterances",
        vowels,
        vowels_figures,
        {"accuracy": 0.006},
    ),
    "shakespeare": Recipe(
        "Says the next character of a play.",
        "model(tokens) of (time,) integers gives a logit for each character; rz.Autoregressive("
        "model, feedback=rz.models.Sample(0.7)) writes",
        'rz.data.load("shakespeare", length=64, stride=32), the train part: six plays',
        'Julius Caesar: the test part of rz.data.load("shakespeare", length=512)',
        shakespeare,
        shakespeare_figures,
        {"nats_per_character": 0.01},
    ),
}


def write_card(name: str, seconds: int) -> None:
    """What is to know of a model that is there, measured now."""
    recipe, about, path = RECIPES[name], versions(), FOLDER / f"{name}.rz"
    content, model = path.read_bytes(), rz.train.load(path)
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = recipe.figures(model)
    told = {
        "name": name,
        **{part: getattr(recipe, part) for part in ("about", "use", "data", "test")},
        "figures": {what: round(value, 5) for what, value in found.items()},
        "spread": recipe.spread,
        "command": f"python -m benchmarks pretrained {name}",
        "seconds": seconds,
        "numbers": count_numbers(eqx.filter(model, eqx.is_array)),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {
            "rnn-zoo": package["version"],
            "jax": about["jax"],
            "equinox": eqx.__version__,
            "python": about["python"],
        },
    }
    path.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    print(name, told["figures"], f"{len(content)} bytes", flush=True)


def make(name: str) -> None:
    """Train a model, and write it with its card."""
    began = time.process_time()
    model = eqx.nn.inference_mode(RECIPES[name].make())
    seconds = round(time.process_time() - began)
    FOLDER.mkdir(exist_ok=True)
    rz.train.save(FOLDER / f"{name}.rz", model)
    write_card(name, seconds)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__)
    parser.add_argument("--cards", action="store_true", help="measure what is there; train nothing")
    call.add_names(parser, "name", RECIPES)
    options = parser.parse_args(arguments)
    for name in options.name:
        if options.cards:
            write_card(name, json.loads((FOLDER / f"{name}.json").read_text())["seconds"])
        else:
            make(name)
