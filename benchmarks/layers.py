"""LSTM and GRU over sequences, beside what users would pick instead.

    python benchmarks/layers.py               all shapes; peers that are installed take part
    python benchmarks/layers.py lstm          one of the two layers

Peers: the Equinox cell in `lax.scan` under `vmap`, flax `nnx.RNN` (pip install flax), and torch
(pip install torch). Every peer gets the weights of our layer and has to give its outputs to 1e-4
before anything is timed. "forward" returns all outputs; a training step is the forward pass, the
gradient of their mean square with respect to the parameters, and a gradient descent update.
Medians of interleaved runs in one process, in ms, and their time over ours. benchmarks/layers.txt
holds runs on both versions of jax.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from timing import machine, medians

import rnn_zoo as rz


SHAPES = ((32, 256, 64, 128), (16, 113, 1, 128), (64, 50, 500, 500), (1, 1000, 32, 64))
KEY = jr.key(0)


def descend(layer, grads):
    return eqx.apply_updates(layer, jax.tree.map(lambda g: -1e-6 * g, grads))


def pair(layer, run, xs):
    """Forward pass and training step of an Equinox layer, `run(layer, xs)` its outputs."""
    forward = eqx.filter_jit(run)

    @eqx.filter_jit
    def step(layer, xs):
        grads = eqx.filter_grad(lambda layer: jnp.mean(run(layer, xs) ** 2))(layer)
        return eqx.filter(descend(layer, grads), eqx.is_array)

    return lambda: forward(layer, xs), lambda: step(layer, xs)


def ours(name, cell, xs):
    return pair(rz.Recurrent(cell), lambda layer, xs: eqx.filter_vmap(layer)(xs), xs)


def equinox(name, cell, xs):
    kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[name]
    peer = kind(cell.input_size, cell.output_size, key=KEY)
    where = lambda c: [c.weight_ih, c.weight_hh, c.bias]  # noqa: E731
    arrays = [cell.weight_ih, cell.weight_hh, cell.bias]
    if name == "gru":
        where = lambda c: [c.weight_ih, c.weight_hh, c.bias, c.bias_n]  # noqa: E731
        arrays.append(cell.bias_n)
    peer = eqx.tree_at(where, peer, arrays)

    def run(peer, xs):
        def one(xs):
            h = jnp.zeros(cell.output_size)
            start = (h, h) if name == "lstm" else h

            def body(state, x):
                state = peer(x, state)
                return state, state[0] if name == "lstm" else state

            return lax.scan(body, start, xs)[1]

        return jax.vmap(one)(xs)

    return pair(peer, run, xs)


def flax(name, cell, xs):
    from flax import nnx

    kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[name]
    made = kind(cell.input_size, cell.output_size, rngs=nnx.Rngs(0))
    fill_flax(name, made, cell)
    graph, state = nnx.split(nnx.RNN(made))

    def run(state, xs):
        return nnx.merge(graph, state)(xs)

    return pair(state, run, xs)


def fill_flax(name, made, cell):
    """Our arrays in a flax cell: gates i, f, g, o and r, z, n are theirs too."""
    wi, wh, b = (np.asarray(a) for a in (cell.weight_ih, cell.weight_hh, cell.bias))
    if name == "lstm":
        made.dense_i.kernel[...] = jnp.asarray(wi.T)
        made.dense_h.kernel[...] = jnp.asarray(wh.T)
        made.dense_h.bias[...] = jnp.asarray(b)
        return
    made.dense_i.kernel[...] = jnp.asarray(wi.T)
    made.dense_i.bias[...] = jnp.asarray(b)
    made.dense_h.kernel[...] = jnp.asarray(wh.T)
    if getattr(made.dense_h, "bias", None) is not None:
        size = cell.output_size
        made.dense_h.bias[...] = jnp.zeros(3 * size).at[2 * size :].set(cell.bias_n)


def torch(name, cell, xs):
    import torch as th

    kind = {"lstm": th.nn.LSTM, "gru": th.nn.GRU}[name]
    module = kind(cell.input_size, cell.output_size, batch_first=True)
    tensors = [th.tensor(np.array(a)) for a in (cell.weight_ih, cell.weight_hh, cell.bias)]
    with th.no_grad():
        module.weight_ih_l0.copy_(tensors[0])
        module.weight_hh_l0.copy_(tensors[1])
        module.bias_ih_l0.copy_(tensors[2])
        module.bias_hh_l0.zero_()
        if name == "gru":
            module.bias_hh_l0[2 * cell.output_size :] = th.tensor(np.array(cell.bias_n))
    inputs = th.tensor(np.array(xs))
    optimizer = th.optim.SGD(module.parameters(), lr=1e-6)

    def forward():
        with th.no_grad():
            return module(inputs)[0]

    def step():
        optimizer.zero_grad()
        (module(inputs)[0] ** 2).mean().backward()
        optimizer.step()

    return forward, step


PEERS = {"equinox": equinox, "flax": flax, "torch": torch}


def rows(name, shape):
    B, T, I, H = shape
    cell = rz.make_cell(name, I, H, key=KEY)
    xs = jr.normal(jr.key(1), (B, T, I))
    made, missing = {"ours": ours(name, cell, xs)}, []
    for peer, make in PEERS.items():
        try:
            made[peer] = make(name, cell, xs)
        except ImportError:
            missing.append(peer)
    expected = np.asarray(made["ours"][0]())
    for peer, (forward, _) in made.items():
        np.testing.assert_allclose(np.asarray(forward()), expected, atol=1e-4, err_msg=peer)
    for what, place in (("forward", 0), ("training", 1)):
        seconds = medians({peer: pair[place] for peer, pair in made.items()}, rounds=9)
        figures = [f"ours {seconds['ours'] * 1e3:8.2f}"]
        for peer in list(made)[1:]:
            ratio = seconds[peer] / seconds["ours"]
            figures.append(f"{peer} {seconds[peer] * 1e3:8.2f} ({ratio:.2f})")
        print(f"{name:5}{shape!s:20}{what:9}", "  ".join(figures), flush=True)
    return missing


def main() -> None:
    print(machine())
    for name in sys.argv[1:] or ("lstm", "gru"):
        for shape in SHAPES:
            missing = rows(name, shape)
    print("not installed:", ", ".join(missing) or "none")


if __name__ == "__main__":
    main()
