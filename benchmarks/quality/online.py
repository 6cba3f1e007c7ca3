"""Learning online: a million steps, a recall beyond the truncation, cosines.

"stream": a model with one LRU cell of 8 units learns 1,000,000 steps, 10,000 at a time. Its memory,
the peak of the process in MiB, is that after the first 50,000 steps and at the end.

"recall": a bit is shown among 19 channels of noise, then there are 30 steps of silence, then the
bit is asked for. What is to be learned is what to write down when the bit is shown. Backpropagation
that is cut off after 10 steps never sees that moment with the answer: the gradient of the input
weights is zero, and what it reaches is what a random projection keeps. The same model, optimiser
and trials for both; the score is the share of right answers in 1000 trials, after training.

"cosines": between the gradient of a method and that of backpropagation through the whole sequence,
40 steps of noise, 8 units a layer, float64, weights as they are drawn. "rtrl" is exact, of stacks
as well; "snap1" keeps the units that a parameter touches itself.
"""

import resource

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions


STEPS, PART, EARLY = 1_000_000, 10_000, 50_000
CHANNELS, SILENCE, TRUNCATE, TRIALS = 20, 30, 10, 4000
PARTS = ("stream", "recall", "cosines")
STACKS = (("lstm", 1), ("gru", 1), ("elman", 1), ("lru", 2), ("mingru", 2), ("lstm", 2))
TABLE = Table("online", ("part", "jax"), ("who", "value", "about"))


def squares(y, target):
    """The squared error where there is a target; NaN says that there is none."""
    asked = ~jnp.isnan(target)
    return jnp.sum(jnp.where(asked, (y - jnp.where(asked, target, 0)) ** 2, 0))


def single(name, inputs, units):
    """A cell with a linear readout at every step."""
    cell = rz.make_cell(name, inputs, units, key=jr.key(0))
    return rz.SequenceModel(cell, 1, pool=None, key=jr.key(1))


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(steps=STEPS):
    """The peak after the first steps and at the end, and the mean losses there."""
    model = single("lru", 1, 8)
    learner = rz.train.OnlineLearner(model, squares, optax.adam(1e-3))
    now, told = learner.init(model), []
    for first in range(0, steps, PART):
        xs = jr.normal(jr.fold_in(jr.key(2), first), (PART, 1))
        now, losses = learner.run(now, xs, jnp.roll(xs, 3, axis=0).at[:3].set(jnp.nan))
        if first + PART in (EARLY, steps):
            told.append((first + PART, peak(), float(losses.mean())))
    return told


# --- recall beyond the truncation ---------------------------------------------------------------


def recall_trials(count, seed=0):
    """Inputs, targets, NaN where there is none, and where trials begin; in a row, (time, ...)."""
    rng, length = np.random.default_rng(seed), SILENCE + 2
    xs = np.zeros((count, length, CHANNELS), np.float32)
    xs[:, 0] = rng.standard_normal((count, CHANNELS))
    bits = rng.choice([-1.0, 1.0], count)
    xs[:, 0, 0] = bits
    ys = np.full((count, length, 1), np.nan, np.float32)
    ys[:, -1, 0] = bits
    begins = np.zeros((count, length), bool)
    begins[:, 0] = True
    return xs.reshape(-1, CHANNELS), ys.reshape(-1, 1), begins.reshape(-1)


def scored(model, trials=1000):
    """The share of right answers of a trained model."""
    xs, ys, begins = recall_trials(trials, seed=1)
    said = np.asarray(model(jnp.asarray(xs), reset=jnp.asarray(begins)))
    asked = ~np.isnan(ys)
    return float(np.mean(np.sign(said[asked]) == ys[asked]))


def recall_online(count):
    xs, ys, begins = recall_trials(count)
    model = single("lru", CHANNELS, 2)
    learner = rz.train.OnlineLearner(model, squares, optax.adam(2e-3))
    now, _ = learner.run(learner.init(model), xs, ys, reset=begins)
    return now.model


def recall_truncated(count, truncate=TRUNCATE):
    xs, ys, begins = recall_trials(count)
    batch = rz.data.Batch(xs[None], ys[None], reset=begins[None])
    result = rz.train.fit(
        single("lru", CHANNELS, 2),
        batch,
        loss=rz.train.mse,
        optimizer=optax.adam(2e-3),
        key=jr.key(0),
        steps=1,
        batch_size=1,
        truncate=truncate,
    )
    return result.model


# --- cosines ------------------------------------------------------------------------------------


def flat(tree):
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def cosine(name, layers, method):
    """That of the online gradient of a whole sequence with the one of backpropagation."""
    with jax.enable_x64(True):
        model = rz.make_model(
            name,
            3,
            2,
            hidden_size=8,
            num_layers=layers,
            pool=None,
            key=jr.key(0),
            dtype=jnp.float64,
        )
        xs, ys = (jr.normal(jr.key(k), (40, n), jnp.float64) for k, n in ((1, 3), (2, 2)))
        learner = rz.train.OnlineLearner(model, squares, optax.set_to_zero(), method=method)
        gradient, now, total = eqx.filter_jit(learner.gradient), learner.init(model), 0
        for x, y in zip(xs, ys):
            _, new, now = gradient(now, x, y)
            total = total + flat(new)
        loss = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum((m(xs) - ys) ** 2)))
        expected = flat(loss(model))
        return float(total @ expected / np.linalg.norm(total) / np.linalg.norm(expected))


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "part", PARTS)
    options = parser.parse_args(arguments)
    jax_version = versions()["jax"]
    if "stream" in options.part:
        for steps, memory, loss in stream():
            about = f"MiB at the peak; loss {loss:.4f}"
            TABLE.add(("stream", jax_version), f"{steps} steps", f"{memory:.0f}", about)
    if "recall" in options.part:
        told = f"right of 1, after {TRIALS} trials"
        TABLE.add(("recall", jax_version), "online", f"{scored(recall_online(TRIALS)):.3f}", told)
        share = scored(recall_truncated(TRIALS))
        TABLE.add(("recall", jax_version), f"truncated at {TRUNCATE}", f"{share:.3f}", told)
        whole = scored(recall_truncated(TRIALS, SILENCE + 2))
        TABLE.add(("recall", jax_version), "whole trials", f"{whole:.3f}", told)
    if "cosines" in options.part:
        for name, layers in STACKS:
            for method in ("rtrl", "snap1"):
                who = f"{name}, {layers} layer{'s' * (layers > 1)}, {method}"
                value = cosine(name, layers, method)
                TABLE.add(("cosines", jax_version), who, f"{value:.4f}", "with backpropagation")
    TABLE.write()
