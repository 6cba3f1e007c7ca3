"""One sequence of a million steps: forward, and a training step in bounded memory.

Two LRU layers and a head per step. The sequence is cut into chunks, the state goes from one
to the next, and each chunk is computed again in the gradient (`jax.checkpoint`), so memory
holds the data, one state per chunk and what one chunk needs. Printed is the peak of the
process, data and compiler included; first the gradient is compared with that of the whole
sequence at 8192 steps. The longest measured: --time 16777216 --width 32.
"""

import resource
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import machine


INPUTS = 4
CHUNK = 16_384


def cut(array, chunk):
    return array.reshape(-1, chunk, *array.shape[1:])


def loss(model, xs, targets, chunk):
    """Mean squared error over all steps."""

    @jax.checkpoint
    def one(state, at):
        state, ys = model.scan(at[0], state)
        return state, jnp.sum((ys - at[1]) ** 2)

    chunks = cut(xs, chunk), cut(targets, chunk)
    return jnp.sum(jax.lax.scan(one, model.init_state(), chunks)[1]) / targets.size


@eqx.filter_jit
def forward(model, xs, targets):
    return loss(model, xs, targets, CHUNK)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__)
    parser.add_argument("--time", type=int, default=2**20, help="steps, a multiple of 16384")
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args(arguments)
    print(machine(), f"{options.time} steps, width {options.width}")
    model = rz.make_model(
        "lru", INPUTS, 1, hidden_size=options.width, num_layers=2, pool=None, key=jr.key(0)
    )
    optimizer = optax.adam(1e-3)

    @eqx.filter_jit
    def gradient(model, xs, targets, chunk):
        return eqx.filter_grad(loss)(model, xs, targets, chunk)

    @eqx.filter_jit
    def train_step(model, opt_state, xs, targets):
        value, grads = eqx.filter_value_and_grad(loss)(model, xs, targets, CHUNK)
        updates, opt_state = optimizer.update(grads, opt_state)
        return eqx.apply_updates(model, updates), opt_state, value

    rng = np.random.default_rng(0)
    short = [jnp.asarray(rng.normal(size=(8192, n)), jnp.float32) for n in (INPUTS, 1)]
    whole, chunked = (jax.tree.leaves(gradient(model, *short, n)) for n in (8192, 1024))
    for one, two in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)

    xs, targets = (
        jnp.asarray(rng.standard_normal((options.time, n), dtype=np.float32)) for n in (INPUTS, 1)
    )
    opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    for name, run in (
        ("forward", lambda: forward(model, xs, targets)),
        ("training step", lambda: train_step(model, opt_state, xs, targets)[2]),
    ):
        began = time.perf_counter()
        value = float(run())
        seconds = time.perf_counter() - began
        gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name:<14}{seconds:>8.1f} s  peak {gigabytes:.2f} GiB  loss {value:.4f}", flush=True
        )
