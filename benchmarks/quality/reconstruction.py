"""Lorenz 63, reconstructed from 5,000 samples: networks become the system.

A network is trained on 5,000 samples, 0.02 time units apart, with and without 5 % of noise on each,
to say the next one, and then runs alone:

- shallow_plrnn (3 units, 100 inside) and alrnn (30 units, 10 of them rectified) have no inputs.
  Their first three units are the observed ones, drawn 0.15 of the way to the data at every sample
  (Hess et al. 2023), or entirely at every eighth (Mikhaeil et al. 2022).
- gru, lem, lstm, lru, esn read the last forecast, drawn to the data: by 0.1 of the way where there
  is noise, entirely where there is none. The readout is linear in the outputs of the cell, for lru
  in their tanh, and in the squares. Where there is no noise it is fitted anew after training, as a
  reservoir's, by ridge regression in float64. Nothing else of esn is fitted, with noise neither.

Columns: the Lyapunov times until the error of a forecast passes 0.4 of the deviation
(`rz.metrics.valid_prediction_time`), the median over 20 starts and the range; the same where the
100 samples before the start have the noise too, and draw by 0.3 of the way; of 40,000 samples of a
free run against as many of the system `rz.metrics.state_space_divergence` with 30 bins and
`power_spectrum_distance`; the largest Lyapunov exponent of the network, by time unit (the system:
0.906). The row `lorenz` is another stretch of the system. A row takes about half a minute of one
core, and gru with noise a minute.
"""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz
from rnn_zoo.models import InputForced, StateForced
from rnn_zoo.train import TeacherForcing

from .. import call
from ..tables import Kept


# Of the Lorenz system (Sprott, "Chaos and Time-Series Analysis", 2003).
STEP, LYAPUNOV = 0.02, 0.9056
TRAIN, LONG, WARM, AHEAD, STARTS = 5_000, 40_000, 100, 800, 20
RIDGE = {0.0: 1e-11, 0.05: 1e-4}


class Training(NamedTuple):
    """The units of a network, and how it is trained."""

    units: int
    loss: TeacherForcing
    window: int = 50
    updates: int = 0
    rate: float = 3e-3


class Setting(NamedTuple):
    """How a network is made, and trained without noise and with it."""

    clean: Training
    noisy: Training
    options: dict[str, Any] = {}


LAST, NEAR = TeacherForcing(1.0), TeacherForcing(0.1)
SPARSE, GENERAL = TeacherForcing(1.0, every=8), TeacherForcing(0.15)
GATED = Setting(Training(64, LAST, 50, 1_500), Training(64, NEAR, 60, 3_000))
SETTINGS = {
    "gru": Setting(Training(100, LAST, 50, 1_500), Training(64, NEAR, 60, 5_000)),
    "lem": GATED,
    "lstm": GATED,
    "lru": GATED,
    "esn": Setting(
        Training(500, LAST),
        Training(500, LAST),
        {"spectral_radius": 0.9, "leak": 1.0, "input_scaling": 0.3, "bias_scaling": 2.0},
    ),
    "shallow_plrnn": Setting(*2 * (Training(3, GENERAL, 200, 5_000, 5e-3),), {"latent_size": 100}),
    "alrnn": Setting(*2 * (Training(30, SPARSE, 200, 3_000, 5e-3),), {"rectified_units": 10}),
}
AUTONOMOUS = ("shallow_plrnn", "alrnn")
NOISES = (0.0, 0.05)
PLACES = [*((cell, noise) for cell in SETTINGS for noise in NOISES), ("lorenz", 0.0)]
KEPT = Kept("reconstruction", ("cell", "noise"), PLACES)


class Squares(eqx.Module):
    """Linear in outputs and their squares; those of a linear cell are bent first, by tanh."""

    weight: jax.Array
    bias: jax.Array
    bent: bool = eqx.field(static=True)

    def features(self, y):
        y = jnp.tanh(y) if self.bent else y
        return jnp.concatenate([y, y**2])

    def __call__(self, y):
        return self.weight @ self.features(y) + self.bias


def system():
    """A part to train on and one to test on, by the mean and deviation of the first."""
    whole = rz.data.lorenz_series(1000 + TRAIN + 3 * LONG, h=STEP, substeps=5)[1000:]
    first = whole[:TRAIN]
    whole = (whole - first.mean(axis=0)) / first.std(axis=0)
    return whole[:TRAIN], whole[TRAIN:]


def noise_of(level, values, seed):
    return values + level * np.random.default_rng(seed).normal(size=values.shape)


def made(name, units):
    """The untrained network, in float32."""
    key, inputs = jr.key(0), 1 if name in AUTONOMOUS else 3
    options = {"dtype": jnp.float32, **SETTINGS[name].options}
    cell = rz.make_cell(name, inputs, units, key=key, **options)
    if name in AUTONOMOUS:
        return StateForced(cell, 3)
    weight = jr.normal(key, (3, 2 * cell.output_size), jnp.float32) / 100
    return InputForced(cell, Squares(weight, jnp.zeros(3, jnp.float32), cell.linear))


def trained(name, noise, series):
    how = SETTINGS[name].noisy if noise else SETTINGS[name].clean
    model = made(name, how.units)
    if how.updates:
        cut = np.lib.stride_tricks.sliding_window_view(series, how.window + 1, axis=0)
        cut = cut.swapaxes(1, 2).astype(np.float32)
        rates = optax.cosine_decay_schedule(how.rate, how.updates, 0.01)
        model = rz.train.fit(
            model,
            rz.data.Batch(cut[:, :-1], cut[:, 1:]),
            loss=how.loss,
            optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rates)),
            steps=how.updates,
            batch_size=16 if name in AUTONOMOUS else 32,
            key=jr.key(1),
        ).model
    wide = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, model)
    if name in AUTONOMOUS or (noise and how.updates):
        return wide
    return with_readout(wide, jnp.asarray(series), RIDGE[noise])


def with_readout(model, series, ridge):
    """The network with the readout that says the next samples best."""
    _, ys = rz.scan.unroll(model.cell, series[:-1])
    features, changes = (
        np.asarray(values)[WARM:]
        for values in (jax.vmap(model.readout.features)(ys), np.diff(series, axis=0))
    )
    features = np.c_[features, np.ones(len(features))]
    gram = features.T @ features + ridge * len(features) * np.eye(features.shape[1])
    weight = jnp.asarray(np.linalg.solve(gram, features.T @ changes).T)
    readout = Squares(weight[:, :-1], weight[:, -1], model.readout.bent)
    return eqx.tree_at(lambda m: m.readout, model, readout)


@eqx.filter_jit
def forecasts(model, starts, targets, share):
    """How long each forecast holds."""

    def one(start, target):
        said = model.forecast(start, AHEAD, share=share)
        return rz.metrics.valid_prediction_time(said, target, step=STEP, lyapunov_exponent=LYAPUNOV)

    return jax.vmap(one)(starts, targets)


def exponent(model, series):
    state, _ = rz.scan.unroll(model, jnp.c_[series[:WARM], jnp.ones(WARM)])
    alone = jnp.zeros((10_000, 4))
    found = rz.dynamics.lyapunov_spectrum(model, alone, state, count=1, washout=1000)
    return float(found[0]) / STEP


def of_network(name, noise, series, test):
    """The free run of a trained network, and what its row says of it alone."""
    model = trained(name, noise, noise_of(noise, series, 0))
    parts = np.arange(STARTS) * 1500
    warm, targets = (
        np.stack([test[p + first : p + first + count] for p in parts])
        for first, count in ((0, WARM), (WARM, AHEAD))
    )
    held, doubtful = (
        np.asarray(forecasts(model, noise_of(level, warm, 1), targets, jnp.asarray(share)))
        for level, share in ((0.0, 1.0), (noise, 0.3))
    )
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return eqx.filter_jit(model.forecast)(jnp.asarray(test[:WARM]), LONG), {
        "lyapunov_times": f"{np.median(held):.2f}",
        "range": f"{held.min():.2f} to {held.max():.2f}",
        "from_noise": f"{np.median(doubtful):.2f}" if noise else "",
        "exponent": f"{exponent(model, test):.3f}",
        "parameters": sum(leaf.size for leaf in leaves),
    }


def row(name, noise):
    began = time.process_time()
    series, test = system()
    target = test[WARM : WARM + LONG]
    if name == "lorenz":
        run = test[2 * LONG :][:LONG]
        found = dict.fromkeys(("lyapunov_times", "range", "from_noise"), "")
        found |= {"exponent": LYAPUNOV, "parameters": ""}
    else:
        run, found = of_network(name, float(noise), series, test)
    return {
        "cell": name,
        "noise": noise,
        **{key: found[key] for key in ("lyapunov_times", "range", "from_noise")},
        "divergence": f"{rz.metrics.state_space_divergence(run, target):.3f}",
        "spectra": f"{rz.metrics.power_spectrum_distance(run, target):.3f}",
        **{key: found[key] for key in ("exponent", "parameters")},
        "seconds": round(time.process_time() - began),
        "jax": jax.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "cell", [*SETTINGS, "lorenz"])
    parser.add_argument("--noise", type=float, choices=NOISES, help="this level of noise only")
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    levels = NOISES if given.noise is None else (given.noise,)
    KEPT.fill([p for p in PLACES if p[0] in given.cell and p[1] in levels], row)
