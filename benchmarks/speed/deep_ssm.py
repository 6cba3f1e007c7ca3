"""A training step of deep state-space models, ours beside those of RNN-JAX.

    pip install --no-deps rnn-jax einops      (Python >= 3.12)

Four layers of LRU or S5 (width 128, as many complex states, gelu, then RNN-JAX's GLU mixer) at
(batch, time) = (8, 2048): forward and gradient of a loss of the mean output, and a gradient
descent update, compiled; medians of interleaved runs. Both sides are RNN-JAX's model; ours
has our cells in the place of its layers, with its weights copied, and must give its outputs.
"""

import sys
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import machine
from ..timing import medians
from .shared import rnn_jax, train_step


B, T, WIDTH, LAYERS = 8, 2048, 128, 4


class Ours(eqx.Module):
    """Our cell as a layer of RNN-JAX's model."""

    layer: rz.Recurrent
    nonlinearity: Any

    def __call__(self, xs):
        return self.nonlinearity(self.layer(xs))


def pair(z):
    return jnp.stack([z.real, z.imag])


def lru(theirs):
    cell = rz.cells.LRUCell(WIDTH, WIDTH, key=jr.key(0))
    return eqx.tree_at(
        lambda c: [c.nu_log, c.theta_log, c.gamma_log, c.B, c.C, c.D],
        cell,
        [
            jnp.asarray(theirs.nu_log),
            jnp.asarray(theirs.theta_log),
            theirs.gamma_log,
            pair(theirs.W_in),
            pair(theirs.W_out),
            theirs.W_skip,
        ],
    )


def s5(theirs):
    cell = rz.cells.S5Cell(WIDTH, WIDTH, state_size=WIDTH, conj_sym=False, key=jr.key(0))
    return eqx.tree_at(
        lambda c: [c.Lambda_re, c.Lambda_im, c.log_step, c.B, c.C, c.D],
        cell,
        [
            theirs.Lambda.real,
            theirs.Lambda.imag,
            jnp.full(WIDTH, jnp.log(theirs.Delta)),
            pair(theirs.W_in),
            pair(theirs.W_out),
            theirs.W_skip,
        ],
    )


# Their class, and how its weights are copied.
MODELS = {"lru": ("LinearRecurrentUnit", lru), "s5": ("SimplifiedStateSpaceLayer", s5)}


def models(name):
    class_name, copy = MODELS[name]
    layer = getattr(rnn_jax(f"ssm.{name}"), class_name)
    mixer = rnn_jax("ssm.mixers").GLUMixer
    whole = rnn_jax("ssm.models").DeepStateSpaceModelEncoder
    keys = jr.split(jr.key(0), LAYERS)
    layers = [layer(WIDTH, WIDTH, key=key) for key in keys]
    if name == "s5":  # as drawn, four layers of it overflow
        layers = [
            eqx.tree_at(lambda c: [c.W_in, c.W_skip], c, [c.W_in / WIDTH, c.W_skip / WIDTH])
            for c in layers
        ]
    mixers = [mixer(WIDTH, WIDTH, key=key) for key in keys]
    theirs = whole(WIDTH, layers, mixers, key=jr.key(1))
    ours = [Ours(rz.Recurrent(copy(layer)), layer.nonlinearity) for layer in layers]
    return eqx.tree_at(lambda m: m.layers, theirs, ours), theirs


def loss(model, xs):
    return jnp.mean(eqx.filter_vmap(model)(xs).mean(1) ** 2)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__)
    call.add_names(parser, "model", MODELS)
    options = parser.parse_args(arguments)
    made = {name: models(name) for name in options.model}
    print(machine(), f"(B, T, width, layers) = {(B, T, WIDTH, LAYERS)}")
    print(f"{'model':<7}{'ours ms':>9}{'RNN-JAX ms':>12}{'theirs / ours':>15}")
    xs = jr.normal(jr.key(2), (B, T, WIDTH))
    for name, (ours, theirs) in made.items():
        one, two = (eqx.filter_jit(model)(xs[0]) for model in (ours, theirs))
        error = float(jnp.linalg.norm(one - two) / jnp.linalg.norm(two))
        if not np.isfinite(error) or error > 1e-3:
            sys.exit(f"{name}: the outputs differ by {error:.1e}")
        steps = {"ours": train_step(loss, ours, xs), "theirs": train_step(loss, theirs, xs)}
        times = medians(steps, rounds=7)
        a, b = 1e3 * times["ours"], 1e3 * times["theirs"]
        print(f"{name:<7}{a:>9.0f}{b:>12.0f}{b / a:>15.2f}", flush=True)
