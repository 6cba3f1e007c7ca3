"""What stands on which page of the reference, and the examples; see `docs/room_pages.py`.

A cell needs no row here: it has a page of its own, and its example is made from the registry.
"""

FAMILIES = {
    "vanilla": ("Vanilla cells", "Elman units, their leaky and their independent kin."),
    "gated": ("Gated cells", "Gates decide what is kept: the LSTM and its descendants."),
    "antisymmetric": ("Antisymmetric cells", "Stable by an antisymmetric recurrent matrix."),
    "clockwork": ("Clockwork cells", "Blocks of units, each with a clock of its own."),
    "lipschitz": ("Lipschitz cells", "Stable by bounds on the spectra of both matrices."),
    "unitary": ("Unitary cells", "The recurrent matrix keeps norms: unitary or orthogonal."),
    "oscillatory": ("Oscillatory cells", "Networks of driven and damped oscillators."),
    "liquid": ("Liquid cells", "Continuous-time networks of ODEs and their closed forms."),
    "state-space": (
        "State-space cells",
        "Linear in the state, so they run in parallel over time; put them in a `Block`.",
    ),
    "matrix": (
        "Matrix-state cells",
        "Each head remembers in a matrix from keys to values: linear attention, the delta rules "
        "and their kin. Most are linear in the state and run in chunks of matrix products.",
    ),
    "reservoir": ("Reservoirs", "Random and fixed; only a linear readout learns."),
}

PAGES = {
    "evaluators": (
        "Contract, registry, evaluators",
        "What a cell is, cells by name, and the functions that run one over a sequence.",
    ),
    "parts": (
        "Parts of cells",
        "The states of cells by name, and what else their files offer. The cells themselves have "
        "a page each.",
    ),
    "spatial": (
        "Spatial cells",
        "States on a grid: convolutions in the place of matrices. They are made by their class, "
        "since an input size does not say what grid it is.",
    ),
    "wrappers": (
        "Cells around cells",
        "A cell in, a cell out: wrappers change one thing, networks of cells are cells.",
    ),
    "layers": (
        "Layers",
        "Cells over sequences. A layer is `f(xs, state=None, *, dt, mask, reset, key) -> ys`, and "
        "`f.scan(...)` gives `(state, ys)`.",
    ),
    "models": ("Models and readouts", "A stack of layers with what comes before and after it."),
    "training": (
        "Training and metrics",
        "Losses, training one model or many, models in files, scores.",
    ),
    "agents": (
        "Agents",
        "Environments, rollouts and their replays, and the losses of PPO, for any cell.",
    ),
    "data": ("Data", "Data sets that ship or are computed, and how to batch them."),
    "wiring": ("Wiring", "Neuron maps: which neuron feeds which, and with what sign."),
    "tools": (
        "Dynamics, pictures, interop, streaming",
        "To look into a trained network, to draw it, to bring one from elsewhere, to run it "
        "input by input.",
    ),
    "own": (
        "For your own cells",
        "What the cells of this library are built from: helpers of a step, the algebra of "
        "linear steps, initial values.",
    ),
}

# Where the names of a module stand; the longest prefix counts. A registered cell has its own page.
ROOMS = {
    "rnn_zoo.base": "own",
    "rnn_zoo.declared": "own",
    "rnn_zoo.init": "own",
    "rnn_zoo.linear": "own",
    "rnn_zoo._common.activations": "own",
    "rnn_zoo._common.dtypes": "own",
    "rnn_zoo._common.fixed": "own",
    "rnn_zoo._common.times": "evaluators",
    "rnn_zoo.registry": "evaluators",
    "rnn_zoo.scan": "evaluators",
    "rnn_zoo._evaluators": "evaluators",
    "rnn_zoo._evaluators.foresight": "tools",
    "rnn_zoo._common.vectors": "tools",
    "rnn_zoo.wrappers": "wrappers",
    "rnn_zoo.graphs": "wrappers",
    "rnn_zoo.cells.discretise": "own",
    "rnn_zoo.cells.convolutional": "spatial",
    "rnn_zoo.cells": "parts",
    "rnn_zoo._common.dropout": "layers",
    "rnn_zoo.layers": "layers",
    "rnn_zoo.models": "models",
    "rnn_zoo.summaries": "models",
    "rnn_zoo.reservoir": "models",
    "rnn_zoo.rl": "agents",
    "rnn_zoo.train": "training",
    "rnn_zoo.metrics": "training",
    "rnn_zoo.data": "data",
    "rnn_zoo.wiring": "wiring",
    "rnn_zoo.dynamics": "tools",
    "rnn_zoo.viz": "tools",
    "rnn_zoo.interop": "tools",
    "rnn_zoo.streaming": "tools",
    "rnn_zoo.testing": "own",
}
FIRST = {"AbstractCell": "evaluators", "AbstractLinearCell": "evaluators"}

START = """\
import jax
import jax.numpy as jnp
import rnn_zoo as rz

key = jax.random.key(0)
xs = jax.random.normal(key, (20, 3))  # (time, input)
"""

EXAMPLES = {
    "evaluators": """\
cell = rz.make_cell("leaky_elman", 3, 8, key=key)
dt = jnp.linspace(0.5, 1.5, 20)
state, ys = rz.scan.unroll(cell, xs, dt=dt)
half, first = rz.scan.unroll(cell, xs[:10], dt=dt[:10])
_, rest = rz.scan.unroll(cell, xs[10:], half, dt=dt[10:])  # chunks give what the whole gives
assert jnp.allclose(ys[10:], rest, atol=1e-5)
assert "lru" in rz.list_cells(linear=True)
""",
    "spatial": """\
grid, centre = jnp.arange(8.0), 2.0 + 0.2 * jnp.arange(20.0)[:, None]
side = jnp.exp(-((grid - centre) ** 2) / 2)  # a blob that moves along a diagonal
frames = (side[:, :, None] * side[:, None, :])[:, None]  # (time, channels, height, width)
cell = rz.cells.ConvLSTMCell((1, 8, 8), 4, key=key)
state, ys = rz.layers.Framewise(cell).scan(frames)
assert ys.shape == (20, 4, 8, 8)
_, flat = rz.scan.unroll(cell, frames.reshape(20, 64))  # the same, laid flat
assert jnp.allclose(flat, ys.reshape(20, -1))
""",
    "wrappers": """\
cell = rz.LayerNormed(rz.Residual(rz.cells.GRUCell(3, 3, key=key)))
slow = rz.Strided(rz.cells.CfCCell(3, 8, key=key), 4)
_, ys = rz.scan.unroll(cell, xs)
_, zs = rz.scan.unroll(slow, xs)
assert ys.shape == (20, 3) and zs.shape == (20, 8)
""",
    "layers": """\
layer = rz.Stacked([rz.cells.GRUCell(3, 8, key=key), rz.cells.LSTMCell(8, 5, key=key)])
ys = layer(xs, mask=jnp.arange(20) < 15)  # the last five steps do not happen
state, first = layer.scan(xs[:10])
state, rest = layer.scan(xs[10:], state)
many = rz.batch(layer)(jnp.stack([xs, xs]))  # (batch, time, input)
assert ys.shape == (20, 5) and many.shape == (2, 20, 5)
""",
    "models": """\
model = rz.make_model("s5", 3, 4, hidden_size=8, num_layers=2, pool="mean", key=key)
assert model(xs).shape == (4,)

network = rz.EchoStateNetwork(rz.cells.EchoStateCell(3, 50, key=key), 1)
network = network.fit_readout(xs[None], xs[None, :, :1], ridge=1e-6, washout=5)
assert network(xs).shape == (20, 1)
""",
    "training": """\
import equinox as eqx
import optax

data = rz.data.load("adding", key=key, length=20, n_train=64).train
model = rz.make_model("gru", data.x.shape[-1], 1, hidden_size=8, key=key)
result = rz.train.fit(
    model,
    data,
    loss=rz.train.mse,
    optimizer=optax.adam(1e-2),
    steps=10,
    batch_size=16,
    key=key,
)
assert result.step == 10

models = eqx.filter_vmap(
    lambda key: rz.make_model("gru", data.x.shape[-1], 1, hidden_size=8, key=key)
)(jax.random.split(key, 3))
found = rz.train.fit_population(
    models,
    data,
    loss=rz.train.mse,
    optimizer=optax.adam,
    settings={"learning_rate": [1e-3, 3e-3, 1e-2]},
    steps=10,
    batch_size=16,
    key=key,
)
mean, spread = rz.train.ensemble(found.model, data)
assert mean.shape == data.y.shape

solver = rz.load_pretrained("parity")  # is the number of ones so far odd?
bits = jax.nn.one_hot(jnp.array([1, 1, 0, 1]), 2)
assert solver(bits).argmax(axis=-1).tolist() == [1, 0, 0, 1]
""",
    "agents": """\
environment = rz.rl.RepeatPrevious(4)
network = rz.make_cell("mingru", environment.observation_size, 16, key=key)
policy = rz.rl.ActorCritic(network, environment.actions, key=key)
runner = rz.rl.start(policy, environment, 8, key=key)
runner, seen = rz.rl.rollout(policy, environment, runner, 20, key=key)
assert jnp.allclose(rz.rl.replay(policy, seen).value, seen.value, atol=1e-6)
advantage = rz.rl.gae(seen.reward, seen.value, seen.done, seen.last_value)
loss, parts = rz.rl.ppo_loss(policy, seen, advantage)
""",
    "data": """\
dataset = rz.data.load("japanese_vowels")
print(dataset.info.description)
for batch in rz.data.batches(dataset.train, 32, key=key):
    print(batch.x.shape, batch.y.shape, batch.mask.shape)
""",
    "wiring": """\
wiring = rz.wiring.AutoNCPMap(3, units=12, output_size=2)
layer = rz.LTC(3, wiring, key=key)
assert layer(xs).shape == (20, 2)
print(wiring.synapse_count)
""",
    "tools": """\
cell = rz.make_cell("exprnn", 3, 8, key=key)
jacobians = rz.dynamics.jacobians(cell, xs)
norms = rz.dynamics.gradient_norms(cell, xs)  # by lag
assert jacobians.shape == (20, 8, 8)

stream = rz.Stream(cell)
state = stream.init_state()
for x in xs:
    state, y = stream.step(state, x)

mine = rz.adopt(lambda h, x: jnp.tanh(0.9 * h + x), input_size=3, init_state=jnp.zeros(3))
assert rz.Recurrent(mine)(xs).shape == (20, 3)
""",
    "own": """\
import equinox as eqx


class Decay(rz.AbstractCell):
    w: jax.Array
    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=3)

    def init_state(self):
        return jnp.zeros(3)

    def step(self, state, x):
        h = jnp.tanh(self.w * state + x)
        return h, h


state, ys = rz.scan.unroll(Decay(jnp.full(3, 0.9)), xs)
""",
}

# Of the files that are no rooms, what a cell of one's own may need.
HELPERS = {
    "base": ("StateMatrix", "replace"),
    "declared": (
        "AbstractDeclaredCell",
        "Given",
        "drawn",
        "drawn_from",
        "computed",
        "filled",
        "option",
        "derived",
        "positive",
        "non_negative",
        "one_of",
        "said",
        "at_least_one",
    ),
}
# Rooms whose names are plain words, such as `ring`, that mean other things elsewhere.
PLAIN = ("base.", "declared.", "init.", "cells.discretise.", "linear.")
