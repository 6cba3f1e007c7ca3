"""A training step of linear cells: the linear engine, the loop, and jax.lax.scan.

A step is forward and gradient of a loss of the last output, and a gradient descent update,
compiled, at (batch, time, input, hidden) = (32, 256, 16, 128); medians of interleaved runs.
"engine" is `unroll` as it chooses by itself, "parallel" its form in log2(time) passes, "steps" the
loop over the steps that every cell takes, and "scan" is `jax.lax.scan` of the cell's step with
plain autodiff. "recurrences" counts the linear recurrences in the traced program of the first
column: one forward, one for the gradient. The gradients of all four are compared before.
"""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians
from .shared import train_step


B, T, I, H = 32, 256, 16, 128
KEY = jr.key(0)
TABLE = Table("linear_cells", ("jax", "cell"), ("rival", "ms", "of_engine", "recurrences"))
CELLS = ("sru", "qrnn", "rtu", "mingru", "lru", "lmu_linear")
# The method, and the engine that runs it.
WAYS = {
    "engine": ("auto", None),
    "parallel": ("parallel", None),
    "steps": ("sequential", None),
    "scan": ("sequential", "scan"),
}


def loss_of(way):
    method, engine = WAYS[way]

    def loss(cell, xs):
        with rz.scan.engine(engine) if engine else contextlib.nullcontext():
            ys = jax.vmap(lambda x: rz.scan.unroll(cell, x, method=method)[1])(xs)
        return jnp.mean(ys[:, -1] ** 2)

    return loss


def agree(cell, xs):
    """Whether all ways have one gradient."""
    grads = [eqx.filter_jit(eqx.filter_grad(loss_of(way)))(cell, xs) for way in WAYS]
    first, *others = [jax.tree.leaves(g) for g in grads]
    return all(
        np.allclose(a, b, rtol=1e-2, atol=1e-4 * float(jnp.abs(a).max()))
        for other in others
        for a, b in zip(first, other)
    )


def recurrences(cell, xs):
    """How many linear recurrences a gradient is made of."""
    arrays, rest = eqx.partition(cell, eqx.is_array)

    def loss(arrays):
        return loss_of("engine")(eqx.combine(arrays, rest), xs)

    return str(jax.make_jaxpr(jax.grad(loss))(arrays)).count("linear_recurrence[")


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "cell", CELLS)
    options = parser.parse_args(arguments)
    xs = jr.normal(jr.key(1), (B, T, I))
    for name in options.cell:
        cell = rz.make_cell(name, I, H, key=KEY)
        if not agree(cell, xs):
            raise SystemExit(f"{name}: the gradients differ, so there is nothing to compare")
        count = str(recurrences(cell, xs))
        times = medians({way: train_step(loss_of(way), cell, xs) for way in WAYS})
        for way, seconds in times.items():
            ratio = f"{seconds / times['engine']:.2f}"
            key = versions()["jax"], name
            TABLE.add(key, way, f"{1e3 * seconds:.2f}", ratio, count)
    TABLE.write()
