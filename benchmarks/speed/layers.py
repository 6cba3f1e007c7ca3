"""LSTM and GRU over sequences, beside what users would pick instead.

Peers: the Equinox cell in `lax.scan` under `vmap`, flax `nnx.RNN` (pip install flax), brainstate
(pip install brainstate; the LSTM), and torch (pip install torch); those that are installed take
part. Every peer gets the weights of our layer and has to give its outputs to 1e-4 before anything
is timed. "forward" returns all outputs; a training step is the forward pass, the gradient of their
mean square with respect to the parameters, and a gradient descent update.

The floor is what the matrix products alone take: those over all steps at once (of the inputs, of
the weight gradients) at the rate of one large product, those from step to step at the rate of a
chain of small ones, both rates measured in the same run.
"""

import functools
import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians


SHAPES = ((32, 256, 64, 128), (16, 113, 1, 128), (64, 50, 500, 500), (1, 1000, 32, 64))
GATES = {"lstm": 4, "gru": 3}
KEY = jr.key(0)
TABLE = Table(
    "layers",
    ("jax", "layer", "shape", "pass"),
    ("rival", "ms", "us_per_step", "of_ours", "of_floor", "compile_s", "memory_mb"),
)


class Rival(NamedTuple):
    """A forward pass and a training step, as functions of nothing; compile time and memory."""

    forward: Any
    training: Any
    seconds: tuple[float, float] = (0.0, 0.0)
    bytes: tuple[int, int] = (0, 0)


def descend(layer, grads):
    return eqx.apply_updates(layer, jax.tree.map(lambda g: -1e-6 * g, grads))


def rival(layer, run, xs) -> Rival:
    """A layer of JAX, `run(layer, xs)` its outputs."""
    arrays, rest = eqx.partition(layer, eqx.is_inexact_array)

    def forward(arrays, xs):
        return run(eqx.combine(arrays, rest), xs)

    def training(arrays, xs):
        return descend(arrays, jax.grad(lambda a: jnp.mean(forward(a, xs) ** 2))(arrays))

    programs, seconds, sizes = [], [], []
    for function in (forward, training):
        began = time.perf_counter()
        programs.append(jax.jit(function).lower(arrays, xs).compile())
        seconds.append(time.perf_counter() - began)
        sizes.append(programs[-1].memory_analysis().temp_size_in_bytes)
    calls = [functools.partial(program, arrays, xs) for program in programs]
    return Rival(*calls, tuple(seconds), tuple(sizes))


def ours(name, cell, xs):
    return rival(rz.Recurrent(cell), lambda layer, xs: eqx.filter_vmap(layer)(xs), xs)


def equinox(name, cell, xs):
    kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[name]
    peer = kind(cell.input_size, cell.output_size, key=KEY)
    where = lambda c: [c.weight_ih, c.weight_hh, c.bias]  # noqa: E731
    arrays = [cell.weight_ih, cell.weight_hh, cell.bias]
    if name == "gru":
        where = lambda c: [c.weight_ih, c.weight_hh, c.bias, c.bias_n]  # noqa: E731
        arrays.append(cell.bias_n)
    peer = eqx.tree_at(where, peer, arrays)

    return rival(peer, equinox_layer, xs)


def equinox_layer(cell, xs):
    """All outputs of an Equinox cell."""

    def one(xs):
        h = jnp.zeros(cell.hidden_size)
        pair = isinstance(cell, eqx.nn.LSTMCell)

        def body(state, x):
            state = cell(x, state)
            return state, state[0] if pair else state

        return lax.scan(body, (h, h) if pair else h, xs)[1]

    return jax.vmap(one)(xs)


def flax(name, cell, xs):
    from flax import nnx

    kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[name]
    made = kind(cell.input_size, cell.output_size, rngs=nnx.Rngs(0))
    fill_flax(name, made, cell)
    graph, state = nnx.split(nnx.RNN(made))
    return rival(state, lambda state, xs: nnx.merge(graph, state)(xs), xs)


def fill_flax(name, made, cell):
    """Our arrays in a flax cell: gates i, f, g, o and r, z, n are theirs too."""
    wi, wh, b = (np.asarray(a) for a in (cell.weight_ih, cell.weight_hh, cell.bias))
    made.dense_i.kernel[...] = jnp.asarray(wi.T)
    made.dense_h.kernel[...] = jnp.asarray(wh.T)
    if name == "lstm":
        made.dense_h.bias[...] = jnp.asarray(b)
        return
    made.dense_i.bias[...] = jnp.asarray(b)
    if getattr(made.dense_h, "bias", None) is not None:
        size = cell.output_size
        made.dense_h.bias[...] = jnp.zeros(3 * size).at[2 * size :].set(cell.bias_n)


def brainstate(name, cell, xs):
    import brainstate as peer

    if name == "gru":
        return None  # its GRU resets before the product: another function
    made = peer.nn.LSTMCell(cell.input_size, cell.output_size)
    # Gates in the order i, g, f, o, and 1 is added to f.
    kernel = jnp.concatenate([cell.weight_ih, cell.weight_hh], axis=1).T
    i, f, g, o = jnp.split(kernel, 4, axis=1)
    b_i, b_f, b_g, b_o = jnp.split(cell.bias, 4)
    weight, bias = jnp.concatenate([i, g, f, o], axis=1), jnp.concatenate([b_i, b_g, b_f - 1, b_o])
    made.W.weight.value = {"weight": weight, "bias": bias}
    states = made.states(peer.ParamState)

    def run(xs):
        made.init_state(len(xs))
        return peer.transform.for_loop(made.update, xs.swapaxes(0, 1)).swapaxes(0, 1)

    def step(xs):
        grads = peer.transform.grad(lambda: jnp.mean(run(xs) ** 2), states)()
        for path, grad in grads.items():
            new = jax.tree.map(lambda p, g: p - 1e-6 * g, states[path].value, grad)
            states[path].value = new

    forward, training = peer.transform.jit(run), peer.transform.jit(step)
    return Rival(lambda: forward(xs), lambda: training(xs) or made.W.weight.value)


def torch(name, cell, xs, device="cpu"):
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
    module.to(device)
    inputs = th.tensor(np.array(xs), device=device)
    optimizer = th.optim.SGD(module.parameters(), lr=1e-6)
    # A GPU runs behind the calls, and `jax.block_until_ready` does not know these tensors.
    settle = th.cuda.synchronize if device == "cuda" else lambda: None

    def forward():
        with th.no_grad():
            ys = module(inputs)[0]
        settle()
        return ys

    def step():
        optimizer.zero_grad()
        (module(inputs)[0] ** 2).mean().backward()
        optimizer.step()
        settle()

    return Rival(forward, step)


RIVALS = {"ours": ours, "equinox": equinox, "flax": flax, "brainstate": brainstate, "torch": torch}


def floors(gates, shape) -> tuple[float, float]:
    """Seconds that the products of the forward pass and of a training step take at least."""
    B, T, I, H = shape
    a, w = jnp.ones((B * T, I + H)), jnp.ones((I + H, gates * H))
    h, u = jnp.ones((B, H)), jnp.ones((H, gates * H))

    def chain(h, u):
        return lax.fori_loop(0, T, lambda _, h: 1e-3 * (h @ u)[:, :H], h)

    large, small = jax.jit(jnp.matmul), jax.jit(chain)
    seconds = medians({"large": lambda: large(a, w), "small": lambda: small(h, u)})
    of_all = 2 * B * T * (I + H) * gates * H / seconds["large"]  # operations a second
    chained = seconds["small"]
    inputs, states = (2 * B * T * n * gates * H / of_all for n in (I, H))
    return inputs + chained, 2 * inputs + states + 2 * chained


def measure(name, shape) -> list[str]:
    """One shape; names the peers that are missing."""
    B, T, I, H = shape
    cell = rz.make_cell(name, I, H, key=KEY)
    xs = jr.normal(jr.key(1), (B, T, I))
    made, missing = {}, []
    for who, make in RIVALS.items():
        try:
            peer = make(name, cell, xs)
        except ImportError:
            missing.append(who)
            continue
        if peer is not None:
            made[who] = peer
    expected = np.asarray(made["ours"].forward())
    for who, peer in made.items():
        np.testing.assert_allclose(np.asarray(peer.forward()), expected, atol=1e-4, err_msg=who)
    floor = floors(GATES[name], shape)
    for i, what in enumerate(("forward", "training")):
        seconds = medians({who: peer[i] for who, peer in made.items()})
        for who, peer in made.items():
            TABLE.add(
                (versions()["jax"], name, "x".join(map(str, shape)), what),
                who,
                f"{seconds[who] * 1e3:.2f}",
                f"{seconds[who] / T * 1e6:.2f}",
                f"{seconds[who] / seconds['ours']:.2f}",
                f"{seconds[who] / floor[i]:.2f}",
                f"{peer.seconds[i]:.2f}" if peer.seconds[i] else "",
                f"{peer.bytes[i] / 2**20:.1f}" if peer.bytes[i] else "",
            )
    return missing


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE, "The report draws benchmarks/rows/layers.png from them.")
    call.add_names(parser, "layer", GATES)
    missing = []
    for name in parser.parse_args(arguments).layer:
        for shape in SHAPES:
            missing = measure(name, shape)
    TABLE.write()
    print("not installed:", ", ".join(missing) or "none")
