"""Echo state networks beside reservoirpy: one network, and a grid of settings.

    pip install reservoirpy

The task is the Mackey-Glass series, one step ahead, over 10 000 steps. Both libraries run the
same reservoir (reservoirpy draws it; its matrices go into our cell), which is checked before
anything is timed: equal states and equal readouts. `run` is the reservoir alone, `fit` runs it
and fits a ridge readout; the grid fits and scores 64 settings (8 radii, 8 leaks), here in one
`vmap` that is compiled anew, there in a loop. Medians of interleaved rounds; the ratio is
reservoirpy's time over ours. reservoirpy computes in float64 with sparse matrices, this library
in float32 with dense ones and fits in float64.
"""

import time

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz
from rnn_zoo._common.fixed import Fixed
from rnn_zoo.train import grid

from .. import call
from ..tables import Table, versions
from ..timing import medians


STEPS, WASHOUT, RIDGE = 10_000, 100, 1e-6
TABLE = Table("echo_state", ("jax", "task", "units"), ("rival", "seconds", "of_ours"))
SETTINGS = {"radius": np.linspace(0.5, 1.2, 8), "leak": np.linspace(0.3, 1.0, 8)}


def series():
    values = rz.data.mackey_glass_series(STEPS + 1001)
    values = ((values - values.mean()) / values.std())[:, None]
    return values[:STEPS], values[1 : STEPS + 1], values[STEPS:-1], values[STEPS + 1 :]


def nodes():
    return call.need("reservoirpy.nodes", "pip install reservoirpy")


def theirs(units, radius=0.9, leak=0.5):
    """A reservoir of theirs; equal seeds give equal matrices up to the radius."""
    return nodes().Reservoir(units, lr=leak, sr=radius, seed=0, rc_connectivity=0.1)


def ours(reservoir, radius=0.9, leak=0.5):
    """A cell with the matrices of an initialised reservoir of radius 0.9."""
    units, inputs = reservoir.Win.shape
    cell = rz.cells.EchoStateCell(inputs, units, spectral_radius=radius, leak=leak, key=jr.key(0))
    arrays = reservoir.W.toarray() / 0.9, reservoir.Win.toarray()
    return eqx.tree_at(
        lambda c: (c.weight_hh, c.weight_ih), cell, tuple(Fixed(jnp.float32(a)) for a in arrays)
    )


def agree(reservoir, cell, xs, ys):
    """The same states, and readouts that say the same."""
    theirs_states = reservoir.run(xs)
    states = rz.Recurrent(cell)(jnp.float32(xs))
    np.testing.assert_allclose(states, theirs_states, atol=2e-5)
    readout = nodes().Ridge(ridge=RIDGE).fit(theirs_states, ys, warmup=WASHOUT)
    network = rz.EchoStateNetwork(cell, 1).fit_readout(
        jnp.float32(xs), jnp.float32(ys), ridge=RIDGE, washout=WASHOUT
    )
    said = network(jnp.float32(xs))[WASHOUT:]
    np.testing.assert_allclose(said, readout.run(theirs_states)[WASHOUT:], atol=2e-3)


def single(units):
    xs, ys, _, _ = series()
    reservoir = theirs(units)
    reservoir.initialize(xs)
    cell = ours(reservoir)
    agree(reservoir, cell, xs[:2000], ys[:2000])
    model = theirs(units) >> nodes().Ridge(ridge=RIDGE)
    x, y = jnp.float32(xs), jnp.float32(ys)
    layer, network = rz.Recurrent(cell), rz.EchoStateNetwork(cell, 1)
    run = eqx.filter_jit(lambda layer, x: layer(x))
    tasks = {
        "run": {"ours": lambda: run(layer, x), "reservoirpy": lambda: reservoir.run(xs)},
        "fit": {
            "ours": lambda: network.fit_readout(x, y, ridge=RIDGE, washout=WASHOUT).readout.weight,
            "reservoirpy": lambda: model.fit(xs, ys, warmup=WASHOUT),
        },
    }
    for name, rivals in tasks.items():
        add(name, units, medians(rivals, rounds=7))


def add(task, units, seconds):
    for rival, taken in seconds.items():
        key = versions()["jax"], task, str(units)
        TABLE.add(key, rival, f"{taken:.3f}", f"{taken / seconds['ours']:.2f}")


def settings_grid(units):
    xs, ys, test_xs, test_ys = series()
    reservoir = theirs(units)
    reservoir.initialize(xs)
    x, y, test_x, test_y = (jnp.float32(a) for a in (xs, ys, test_xs, test_ys))

    def score(radius, leak):
        network = rz.EchoStateNetwork(ours(reservoir, radius, leak), 1)
        network = network.fit_readout(x, y, ridge=RIDGE, washout=WASHOUT)
        return rz.metrics.nrmse(network(test_x)[WASHOUT:], test_y[WASHOUT:])

    def loop():
        scores = np.zeros((8, 8))
        for place in np.ndindex(8, 8):
            setting = [values[i] for values, i in zip(SETTINGS.values(), place)]
            model = theirs(units, *setting) >> nodes().Ridge(ridge=RIDGE)
            said = model.fit(xs, ys, warmup=WASHOUT).run(test_xs)[WASHOUT:]
            error = np.mean((said - test_ys[WASHOUT:]) ** 2) / np.var(test_ys[WASHOUT:])
            scores[place] = np.sqrt(error)
        return scores

    seconds = {}
    for name, function in (
        ("warm up", lambda: grid(score, **SETTINGS).scores),
        ("ours", lambda: grid(score, **SETTINGS).scores),
        ("reservoirpy", loop),
    ):
        began = time.perf_counter()
        scores = function()
        seconds[name] = time.perf_counter() - began
    del seconds["warm up"]
    add("grid of 64 settings, with compiling", units, seconds)
    print(f"best NRMSE {scores.min():.2e}")


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    parser.add_argument("--units", type=int, nargs="*", default=[500, 1000], help="one network")
    parser.add_argument("--grid", type=int, nargs="*", default=[100, 200, 500], help="of the grid")
    options = parser.parse_args(arguments)
    nodes()
    for units in options.units:
        single(units)
    for units in options.grid:
        settings_grid(units)
    TABLE.write()
