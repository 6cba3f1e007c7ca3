"""The process of one build for `before_after`: it makes a program, and runs it when it is asked.

It has the folder of its build on the path. A request is a line of JSON, and so is an answer.
"""

import functools
import json
import os
import statistics
import sys
import time


# What JAX and others print goes to the other stream.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax.random as jr  # noqa: E402
import numpy as np  # noqa: E402

import rnn_zoo as rz  # noqa: E402


WIDTHS = {"mamba": 32, "rglru": 32, "s4d": 24, "lru": 24}  # on the board
MEMBERS, BATCH, TIME = 3, 32, 40
DEEP = {"lstm": (32, 256, 128), "lru": (32, 256, 128), "mamba": (32, 256, 64)}
LAYERS, STEPS = 6, 256
MADE = {}


def _of_layer(layer, run, xs, training):
    """A function without arguments: outputs, or the gradient of the mean of their squares."""
    arrays, rest = eqx.partition(layer, eqx.is_inexact_array)

    def forward(arrays, xs):
        return run(eqx.combine(arrays, rest), xs)

    def loss(arrays, xs):
        return jnp.mean(forward(arrays, xs) ** 2)

    program = jax.jit(jax.grad(loss) if training else forward)
    return lambda: program(arrays, xs)


def layer(cell, batch, length, inputs, hidden, training, *, engine="auto", method="auto"):
    made = rz.make_cell(cell, inputs, hidden, key=jr.key(0))
    xs = jr.normal(jr.key(1), (batch, length, inputs))

    def run(cell, xs):
        def outputs(xs):
            return rz.scan.unroll(cell, xs, engine=engine, method=method)[1]

        return jax.vmap(outputs)(xs)

    return _of_layer(made, run, xs, training)


def torch_layer(cell, batch, length, inputs, hidden, training):
    import torch

    peer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](inputs, hidden, batch_first=True)
    xs = torch.tensor(np.asarray(jr.normal(jr.key(1), (batch, length, inputs))))

    def forward():
        with torch.inference_mode():
            return np.asarray(peer(xs)[0].numpy())

    def step():
        peer.zero_grad()
        (peer(xs)[0] ** 2).mean().backward()
        return ()

    return step if training else forward


def equinox_layer(cell, batch, length, inputs, hidden, training):
    kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[cell]
    peer = kind(inputs, hidden, key=jr.key(0))
    xs = jr.normal(jr.key(1), (batch, length, inputs))
    start = (jnp.zeros(hidden), jnp.zeros(hidden)) if cell == "lstm" else jnp.zeros(hidden)

    def run(cell, xs):
        def body(state, x):
            state = cell(x, state)
            return state, state[0] if isinstance(state, tuple) else state

        return jax.vmap(lambda xs: jax.lax.scan(body, start, xs)[1])(xs)

    return _of_layer(peer, run, xs, training)


def board(cell):
    """A step of adam of some models of two layers at once, as the board trains them."""
    import optax

    @eqx.filter_jit
    @eqx.filter_vmap
    def make(key):
        return rz.make_model(cell, 3, 2, hidden_size=WIDTHS[cell], num_layers=2, key=key)

    arrays, rest = eqx.partition(make(jr.split(jr.key(0), MEMBERS)), eqx.is_inexact_array)
    xs = jr.normal(jr.key(1), (BATCH, TIME, 3))
    mask = jnp.arange(TIME) < jr.randint(jr.key(2), (BATCH, 1), TIME // 2, TIME + 1)
    adam = optax.adam(1e-3)

    def step(arrays, moments):
        def loss(arrays):
            return jnp.mean(rz.batch(eqx.combine(arrays, rest))(xs, mask=mask) ** 2)

        updates, moments = adam.update(jax.grad(loss)(arrays), moments, arrays)
        return optax.apply_updates(arrays, updates), moments

    moments = jax.vmap(adam.init)(arrays)
    program = jax.jit(jax.vmap(step))
    return lambda: program(arrays, moments)


def ltc(training):
    cell = rz.cells.LTCCell(16, rz.wiring.AutoNCPMap(16, 64, 8, seed=1), key=jr.key(0))
    xs = jr.normal(jr.key(1), (32, 128, 16))
    return _of_layer(rz.Recurrent(cell), lambda layer, xs: rz.batch(layer)(xs), xs, training)


def stream(inputs, hidden):
    made = rz.Stream(rz.Recurrent(rz.make_cell("lstm", inputs, hidden, key=jr.key(0))))
    xs = list(np.asarray(jr.normal(jr.key(1), (STEPS, inputs))))

    def run():
        state = made.init_state()
        for x in xs:
            state, _ = made.step(state, x)
        return state

    return run


def torch_stream(inputs, hidden):
    import torch

    peer = torch.nn.LSTMCell(inputs, hidden)
    xs = [torch.tensor(x)[None] for x in np.asarray(jr.normal(jr.key(1), (STEPS, inputs)))]

    @torch.inference_mode()
    def run():
        state = torch.zeros(1, hidden), torch.zeros(1, hidden)
        for x in xs:
            state = peer(x, state)
        return ()

    return run


def compiling(which):
    """CPU seconds, of all threads, to trace and compile a training step of six layers, with
    nothing in JAX's caches."""
    batch, length, size = DEEP[which]
    xs, keys = jnp.zeros((batch, length, size)), jr.split(jr.key(0), LAYERS)
    if which == "mamba":
        layers = [rz.Block(rz.layers.MambaBlock(size, key=k), mix="none", key=k) for k in keys]
    else:
        layers = [rz.Recurrent(rz.make_cell(which, size, size, key=k)) for k in keys]
    return functools.partial(_compile, layers, lambda layer, xs: jax.vmap(layer)(xs), xs)


def equinox_compiling(which):
    batch, length, size = DEEP[which]

    def run(cell, xs):
        def body(state, x):
            state = cell(x, state)
            return state, state[0]

        start = jnp.zeros(size), jnp.zeros(size)
        return jax.vmap(lambda xs: jax.lax.scan(body, start, xs)[1])(xs)

    layers = [eqx.nn.LSTMCell(size, size, key=k) for k in jr.split(jr.key(0), LAYERS)]
    return functools.partial(_compile, layers, run, jnp.zeros((batch, length, size)))


def _compile(layers, run, xs):
    arrays, rest = eqx.partition(layers, eqx.is_inexact_array)

    def loss(arrays, xs):
        for layer in eqx.combine(arrays, rest):
            xs = run(layer, xs)
        return jnp.mean(xs**2)

    jax.clear_caches()
    began = time.process_time()
    jax.jit(jax.grad(loss)).lower(arrays, xs).compile()
    return time.process_time() - began


KINDS = {
    "layer": layer,
    "torch layer": torch_layer,
    "equinox layer": equinox_layer,
    "board": board,
    "ltc": ltc,
    "stream": stream,
    "torch stream": torch_stream,
    "compiling": compiling,
    "equinox compiling": equinox_compiling,
}


def prepare(kind, arguments, options):
    """Makes a program and runs it once; the answer says what is wrong where that fails."""
    MADE.clear()
    try:
        MADE[kind] = KINDS[kind](*arguments, **options)
        if not kind.endswith("compiling"):
            jax.block_until_ready(MADE[kind]())
    except Exception as error:  # a peer that is not installed, an option that a build lacks
        return repr(error)[:200]
    return ""


def run(kind):
    """Milliseconds of a call, the median of some where it is short."""
    if kind.endswith("compiling"):
        return 1e3 * MADE[kind]()
    seconds = []
    while sum(seconds) < 0.06 and len(seconds) < 9:
        began = time.perf_counter()
        jax.block_until_ready(MADE[kind]())
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


for line in sys.stdin:
    what, *given = json.loads(line)
    ANSWERS.write(json.dumps({"prepare": prepare, "run": run}[what](*given)) + "\n")
    ANSWERS.flush()
