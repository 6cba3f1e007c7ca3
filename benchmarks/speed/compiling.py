"""Seconds to trace and to compile the training step of a model of six layers.

LSTM or GRU, (batch, time, hidden) = (32, 256, 128), each layer reads the one before; peers as in
`layers.py`. Medians of five, in turn, with nothing in jax's caches.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from .layers import GATES, equinox_layer


B, T, H, LAYERS, ROUNDS = 32, 256, 128, 6, 5
TABLE = Table(
    "compiling", ("jax", "layer"), ("rival", "seconds", "of_ours", "tracing", "compiling")
)


def ours(name):
    layers = [rz.Recurrent(rz.make_cell(name, H, H, key=jr.key(i))) for i in range(LAYERS)]
    return layers, lambda layer, xs: eqx.filter_vmap(layer)(xs)


def equinox(name):
    kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[name]
    return [kind(H, H, key=jr.key(i)) for i in range(LAYERS)], equinox_layer


def flax(name):
    from flax import nnx

    kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[name]
    parts = [nnx.split(nnx.RNN(kind(H, H, rngs=nnx.Rngs(i)))) for i in range(LAYERS)]
    return [state for _, state in parts], lambda state, xs: nnx.merge(parts[0][0], state)(xs)


def seconds(layers, run) -> tuple[float, float]:
    arrays, rest = eqx.partition(layers, eqx.is_inexact_array)

    def step(arrays, xs):
        def loss(arrays):
            ys = xs
            for layer in eqx.combine(arrays, rest):
                ys = run(layer, ys)
            return jnp.mean(ys**2)

        return jax.tree.map(lambda p, g: p - 1e-3 * g, arrays, jax.grad(loss)(arrays))

    jax.clear_caches()
    began = time.perf_counter()
    traced = jax.jit(step).lower(arrays, jnp.zeros((B, T, H)))
    lowered = time.perf_counter()
    traced.compile()
    return lowered - began, time.perf_counter() - lowered


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "layer", GATES)
    for name in parser.parse_args(arguments).layer:
        made = {}
        for who, make in {"ours": ours, "equinox": equinox, "flax": flax}.items():
            try:
                made[who] = make(name)
            except ImportError:
                print(who, "is not installed")
        runs = {who: [] for who in made}
        for _ in range(ROUNDS):
            for who, (layers, run) in made.items():
                runs[who].append(seconds(layers, run))
        parts = {who: np.median(found, axis=0) for who, found in runs.items()}
        for who, (tracing, compiling) in parts.items():
            figures = tracing + compiling, (tracing + compiling) / sum(parts["ours"])
            key = versions()["jax"], name
            TABLE.add(key, who, *(f"{x:.2f}" for x in (*figures, tracing, compiling)))
    TABLE.write()
