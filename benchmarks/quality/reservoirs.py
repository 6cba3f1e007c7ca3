"""What echo state networks reach, with settings chosen on validation parts.

- mackey_glass: tau = 17, 2000 steps to train, 500 to choose, 2000 to test, 300 units; NRMSE one
  and ten steps ahead.
- narma10: 2000 / 500 / 2000 steps, 200 units; NMSE.
- laser: Santa Fe A, 2000 / 5000 / 3000 steps, 300 units; NMSE one step ahead.
- lorenz: closed loop. 4000 steps of 0.02 to train, 500 units and their squares; Lyapunov times
  until the error passes 0.4 (`rz.metrics.valid_prediction_time`), the median over 20 starts.
- japanese_vowels: 500 units, the last state; the settings are chosen on a third of the training
  part; accuracy.

A grid of settings is scored on the validation part, a mean over two draws of the reservoir; the
best setting is fitted anew with five other draws and judged on the test part: median, best and
worst. Each part begins with 100 steps that do not count. In float64.
All tasks take about 4 minutes on 2 cores.
"""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz
from rnn_zoo.train import grid

from .. import call
from ..tables import Kept


DRAWS = jnp.arange(2)
SEEDS = range(10, 15)
LYAPUNOV = 0.9056  # of the Lorenz system (Sprott, "Chaos and Time-Series Analysis", 2003)


def network(seed, size, inputs, outputs, options, **model):
    cell = rz.cells.EchoStateCell(inputs, size, key=jr.key(seed), **options)
    return rz.EchoStateNetwork(cell, outputs, **model)


def forecast(data, metric, size, washout=100, **model):
    """Score of settings on the validation part, and test figures of the best."""
    train, valid, test = data.train, data.valid, data.test

    def fitted(seed, ridge, options):
        made = network(seed, size, train.x.shape[-1], train.y.shape[-1], options, **model)
        return made.fit_readout(train.x, train.y, ridge=ridge, washout=washout)

    def error(on, seed, ridge, options):
        # Parts are `horizon` steps apart, so each starts anew, with a washout of its own.
        said = fitted(seed, ridge, options)(on.x[0])
        return metric(said[washout:], on.y[0, washout:])

    def score(seed, ridge, **options):
        return error(valid, seed, ridge, options)

    def judge(seed, ridge, **options):
        return error(test, seed, ridge, options)

    return score, judge


def series(name, **options):
    return rz.data.load(name, key=jr.key(0), length=None, **options)


def mackey_glass(horizon):
    axes = {
        "spectral_radius": [0.8, 0.99, 1.2],
        "leak": [0.7, 0.9, 1.0],
        "input_scaling": [0.1, 0.3, 1.0],
        "bias_scaling": [0.2, 1.0],
        "ridge": [1e-12, 1e-10, 1e-8],
    }
    return *forecast(series("mackey_glass", horizon=horizon), rz.metrics.nrmse, 300), axes


def narma10():
    axes = {
        "spectral_radius": [0.7, 0.8, 0.9, 0.99],
        "leak": [0.7, 0.9, 1.0],
        "input_scaling": [0.02, 0.1, 0.3],
        "bias_scaling": [0.1, 0.3, 1.0],
        "ridge": [1e-9, 1e-7, 1e-5, 1e-3],
    }
    return *forecast(series("narma10"), rz.metrics.nmse, 200), axes


def laser():
    axes = {
        "spectral_radius": [0.7, 0.8, 0.9, 1.0],
        "leak": [0.7, 0.9, 1.0],
        "input_scaling": [0.3, 1.0, 2.0],
        "bias_scaling": [0.2, 1.0],
        "ridge": [1e-7, 1e-5, 1e-3, 1e-1],
    }
    data = series("santafe_laser")
    return *forecast(data, rz.metrics.nmse, 300, include_input=True), axes


def lorenz():
    """Closed loop; the score is negative, since low is good."""
    step, warm, ahead = 0.02, 200, 1200
    whole = rz.data.lorenz_series(60_000, h=step, substeps=4)[1000:]
    whole = (whole - whole[:4000].mean(axis=0)) / whole[:4000].std(axis=0)
    train = jnp.asarray(whole[:4001])

    def starts(first, count):
        places = first + np.arange(count) * 1300
        return jnp.asarray(np.stack([whole[p : p + warm + ahead] for p in places]))

    def held(seed, ridge, options, stretches):
        made = network(seed, 500, 3, 3, options, features=rz.reservoir.half_squares)
        made = made.fit_readout(train[:-1], train[1:], ridge=ridge, washout=100)
        run = rz.Autoregressive(made)

        def one(stretch):
            said = run(stretch[:warm], ahead)
            return rz.metrics.valid_prediction_time(
                said, stretch[warm:], step=step, lyapunov_exponent=LYAPUNOV
            )

        return jnp.median(jax.vmap(one)(stretches))

    chosen_on, tested_on = starts(4100, 6), starts(30_000, 20)

    def score(seed, ridge, **options):
        return -held(seed, ridge, options, chosen_on)

    def judge(seed, ridge, **options):
        return held(seed, ridge, options, tested_on)

    axes = {
        "spectral_radius": [0.6, 0.9, 1.2],
        "leak": [0.8, 1.0],
        "input_scaling": [0.1, 0.2, 0.3, 0.5],
        "bias_scaling": [0.5, 1.0, 2.0],
        "ridge": [1e-12, 1e-11, 1e-10, 1e-9],
    }
    return score, judge, axes


def japanese_vowels():
    data = rz.data.load("japanese_vowels")
    train, test = data.train, data.test
    # Every third utterance is held out; speakers follow one another in the file.
    held = np.arange(len(train)) % 3 == 2
    parts = [jax.tree.map(lambda a, keep=keep: a[keep], train) for keep in (~held, held)]

    def accuracy(fit, on, seed, ridge, options):
        made = network(seed, 500, 12, 9, options, pool="last")
        made = made.fit_readout(fit.x, fit.y, mask=fit.mask, ridge=ridge)
        return jnp.mean(rz.batch(made)(on.x, mask=on.mask).argmax(-1) == on.y)

    def score(seed, ridge, **options):
        return -accuracy(*parts, seed, ridge, options)

    def judge(seed, ridge, **options):
        return accuracy(train, test, seed, ridge, options)

    axes = {
        "spectral_radius": [0.7, 0.9, 1.1],
        "leak": [0.05, 0.1, 0.3],
        "input_scaling": [0.03, 0.1, 0.3],
        "bias_scaling": [0.0, 0.3],
        "ridge": [1e-4, 1e-2, 1.0],
    }
    return score, judge, axes


TASKS = {
    "mackey_glass_1": lambda: mackey_glass(1),
    "mackey_glass_10": lambda: mackey_glass(10),
    "narma10": narma10,
    "laser": laser,
    "lorenz": lorenz,
    "japanese_vowels": japanese_vowels,
}


def row(task):
    score, judge, axes = TASKS[task]()
    began = time.process_time()

    def mean_score(**settings):
        return jnp.mean(jax.vmap(lambda seed: score(seed, **settings))(DRAWS))

    # Two axes at once are some tens of reservoirs; the penalties share a run in any case.
    found = grid(mean_score, in_turn=tuple(axes)[:-2], **axes)
    best = found.best()
    judged = jax.jit(lambda seed: judge(seed, **best))
    figures = np.array([float(judged(seed)) for seed in SEEDS])
    return {
        "task": task,
        "median": f"{np.median(figures):.3g}",
        "range": f"{figures.min():.3g} to {figures.max():.3g}",
        "validation_score": f"{np.nanmin(found.scores):.3g}",
        "settings": " ".join(f"{name}={value:g}" for name, value in best.items()),
        "settings_tried": found.scores.size,
        "seconds": round(time.process_time() - began),
        "jax": jax.__version__,
    }


KEPT = Kept("reservoirs", ("task",), zip(TASKS))


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "task", TASKS)
    tasks = parser.parse_args(arguments).task
    jax.config.update("jax_enable_x64", True)
    KEPT.fill([(task,) for task in tasks], row)
