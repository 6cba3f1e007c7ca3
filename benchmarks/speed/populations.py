"""What sixteen models cost when they train as one program.

The time of `fit_population` with 16 models over that of `fit` with one, a GRU on Japanese Vowels,
with everything compiled before, in turn, medians of five; data, steps and optimiser are the same.
"""

import equinox as eqx
import jax.random as jr
import optax

import rnn_zoo as rz

from .. import call
from ..tables import machine
from ..timing import medians


SIZE, STEPS, KEY = 16, 60, jr.key(0)


def make(key):
    return rz.make_model("gru", 12, 9, hidden_size=32, key=key)


def main(arguments: list[str]) -> None:
    call.parser(__name__).parse_args(arguments)
    data = rz.data.load("japanese_vowels")
    options = {"loss": rz.train.cross_entropy, "optimizer": optax.adam(3e-3), "steps": STEPS}
    one, many = make(KEY), eqx.filter_vmap(make)(jr.split(KEY, SIZE))

    def train(fit, model):
        result = fit(model, data.train, key=KEY, eval_every=STEPS, **options)
        return eqx.filter(result.model, eqx.is_array)

    seconds = medians(
        {
            "one": lambda: train(rz.train.fit, one),
            "population": lambda: train(rz.train.fit_population, many),
        },
        rounds=5,
    )
    print(machine())
    ratio = seconds["population"] / seconds["one"]
    print(f"one {seconds['one']:.2f} s, {SIZE} {seconds['population']:.2f} s: {ratio:.1f} times")
