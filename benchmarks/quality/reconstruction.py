"""Lorenz 63, reconstructed: piecewise linear networks become the system.

A network without inputs is trained on 20,000 samples, 0.02 time units apart, to say the next one,
and then runs alone. Its first three state variables are the observed ones; while it trains, what it
has there is drawn to the data:

- sparse: replaced at every eighth sample, in between the network runs alone (Mikhaeil et al. 2022);
- generalised: moved 0.15 of the way at every sample (Hess et al. 2023);
- full: replaced at every sample, which is to learn one step at a time.

Columns: the Lyapunov times until the error of a forecast passes 0.4
(`rz.metrics.valid_prediction_time`), the median over 20 starts and the range; of 40,000 samples of
a free run against as many of the system `rz.metrics.state_space_divergence` with 30 bins and
`rz.metrics.power_spectrum_distance`; the largest Lyapunov exponent of the network, by time unit
(the system: 0.906). The row `lorenz` is another stretch of the system. Sizes: alrnn 30 units, 10 of
them rectified; shallow_plrnn 3 with 50 inside. RAdam, 10,000 steps of 16 windows of 200 samples.
The data of alrnn have 5 % of noise while it trains, as with its authors; without it two of three
free runs left the attractor. A row takes about half a minute on 2 cores.
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
from ..tables import Kept


# Of the Lorenz system (Sprott, "Chaos and Time-Series Analysis", 2003).
STEP, LYAPUNOV = 0.02, 0.9056
TRAIN, WINDOW, LONG, WARM, AHEAD = 20_000, 200, 40_000, 100, 600
NOISE = {"alrnn": 0.05, "shallow_plrnn": 0.0}  # beside the deviation of the data
UPDATES, RATE = 10_000, 5e-3
CELLS = {
    "alrnn": {"hidden_size": 30, "rectified_units": 10},
    "shallow_plrnn": {"hidden_size": 3, "latent_size": 50},
}
FORCINGS = {
    "sparse": jnp.zeros(WINDOW).at[::8].set(1.0),
    "generalised": jnp.full(WINDOW, 0.15).at[0].set(1.0),
    "full": jnp.ones(WINDOW),
}
PLACES = [
    *(("alrnn", "sparse", seed) for seed in range(3)),
    *(("shallow_plrnn", "generalised", seed) for seed in range(3)),
    ("alrnn", "full", 0),
    ("shallow_plrnn", "full", 0),
    ("lorenz", "", 0),
]
KEPT = Kept("reconstruction", ("cell", "forcing", "seed"), PLACES)


class Forced(rz.AbstractCell):
    """A cell without inputs whose first state variables are the data, and are drawn to them.

    x is what was observed, and the share of the way to it.
    """

    cell: rz.AbstractCell
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def init_state(self):
        return self.cell.init_state()

    def constants(self):
        return self.cell.constants()

    def equation(self, c, state, x):
        data, share, seen = x[:-1], x[-1], state[: self.output_size]
        drawn = jnp.concatenate([seen + share * (data - seen), state[self.output_size :]])
        state, y = self.cell.advance(c, drawn, jnp.zeros(self.cell.input_size))
        return state, y[: self.output_size]


def forcing_loss(shares):
    def loss(model, batch, *, key=None):
        x = jnp.asarray(batch.x)
        drawn = jnp.broadcast_to(shares[:, None], (*x.shape[:-1], 1))
        said = rz.batch(rz.Recurrent(model))(jnp.concatenate([x, drawn], axis=-1))
        return jnp.mean((said - batch.y) ** 2)

    return loss


def system():
    """A part to train on and one to test on, by the mean and deviation of the first."""
    whole = rz.data.lorenz_series(1000 + TRAIN + 3 * LONG, h=STEP, substeps=4)[1000:]
    first = whole[:TRAIN]
    whole = ((whole - first.mean(axis=0)) / first.std(axis=0)).astype(np.float32)
    return whole[:TRAIN], whole[TRAIN:]


def trained(name, forcing, seed, series):
    options = dict(CELLS[name])
    key = jr.key(seed)
    cell = rz.make_cell(name, 1, options.pop("hidden_size"), key=key, **options)
    noise = np.random.default_rng(0).normal(size=series.shape).astype(np.float32)
    series = series + np.float32(NOISE[name]) * noise
    windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1, axis=0)[::10]
    windows = windows.swapaxes(1, 2)
    schedule = optax.exponential_decay(RATE, UPDATES, 0.02)
    result = rz.train.fit(
        Forced(cell, 4, 3),
        rz.data.Batch(windows[:, :-1], windows[:, 1:]),
        loss=forcing_loss(FORCINGS[forcing]),
        optimizer=optax.chain(optax.clip_by_global_norm(10.0), optax.radam(schedule)),
        steps=UPDATES,
        batch_size=16,
        key=key,
    )
    return result.model


@eqx.filter_jit
def free_run(model, warm, steps):
    """What follows `warm`, in which every sample is forced."""
    seen = jnp.concatenate([warm, jnp.ones((len(warm), 1))], axis=1)
    alone = jnp.zeros((steps - 1, 4))
    _, ys = rz.scan.unroll(model, jnp.concatenate([seen, alone]))
    return ys[len(warm) - 1 :]


def forecasts(model, series):
    """How long each of 20 forecasts holds."""
    for start in range(0, 20 * 1500, 1500):
        warm, target = np.split(series[start : start + WARM + AHEAD], [WARM])
        said = free_run(model, jnp.asarray(warm), AHEAD)
        yield float(
            rz.metrics.valid_prediction_time(said, target, step=STEP, lyapunov_exponent=LYAPUNOV)
        )


def exponent(model, series):
    state, _ = rz.scan.unroll(model, jnp.c_[series[:WARM], jnp.ones(WARM)])
    alone = jnp.zeros((20_000, 4))
    found = rz.dynamics.lyapunov_spectrum(model, alone, state, count=1, washout=1000)
    return float(found[0]) / STEP


def row(name, forcing, seed):
    began = time.process_time()
    series, test = system()
    made = {"cell": name, "forcing": forcing, "seed": seed}
    if name == "lorenz":
        run, held, rate, size = test[2 * LONG :], [], LYAPUNOV, ""
    else:
        model = trained(name, forcing, seed, series)
        run = free_run(model, jnp.asarray(test[:WARM]), LONG)
        held, rate = [*forecasts(model, test)], exponent(model, test)
        size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    target = test[WARM : WARM + LONG]
    return {
        **made,
        "lyapunov_times": f"{np.median(held):.2f}" if held else "",
        "range": f"{min(held):.2f} to {max(held):.2f}" if held else "",
        "divergence": f"{rz.metrics.state_space_divergence(run[:LONG], target):.3f}",
        "spectra": f"{rz.metrics.power_spectrum_distance(run[:LONG], target):.3f}",
        "exponent": f"{rate:.3f}",
        "parameters": size,
        "seconds": round(time.process_time() - began),
        "jax": jax.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "cell", [*CELLS, "lorenz"])
    cells = parser.parse_args(arguments).cell
    KEPT.fill([place for place in PLACES if place[0] in cells], row)
