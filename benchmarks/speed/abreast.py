"""Loops with samples side by side in memory, and in front.

LSTM, GRU and others, forward and gradient (of the mean square of the outputs, in the parameters),
compiled with one and with the other layout at sizes at which the library takes either. Medians of
interleaved runs; results are compared before.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

import rnn_zoo as rz
from rnn_zoo._engine import backends

from .. import call
from ..tables import Table, versions
from ..timing import medians
from .linear_layers import agree


CELLS = ("lstm", "gru", "lem", "elman")
SHAPES = {
    "32x256x64x128": (32, 256, 64, 128),
    "16x113x1x128": (16, 113, 1, 128),
    "64x50x500x500": (64, 50, 500, 500),
    "128x64x64x128": (128, 64, 64, 128),
    "32x256x16x32": (32, 256, 16, 32),
}
PASSES = ("forward", "gradient")
# Numbers of the matrices from which on samples lie side by side.
WAYS = {"in front": 1 << 60, "abreast": 0}
TABLE = Table("abreast", ("jax", "cell", "shape", "pass"), ("rival", "ms", "of_in_front", "taken"))


def function(cell, xs, way, gradient):
    """A compiled program without arguments."""
    arrays, rest = eqx.partition(cell, eqx.is_inexact_array)

    def outputs(arrays, xs):
        cell = eqx.combine(arrays, rest)
        return jax.vmap(lambda x: rz.scan.unroll(cell, x)[1])(xs)

    def loss(arrays, xs):
        return jnp.mean(outputs(arrays, xs) ** 2)

    sizes, before = backends.SIZES["cpu"], backends.SIZES["cpu"]["abreast"]
    sizes["abreast"] = backends.Size(WAYS[way], "this benchmark")
    jax.clear_caches()  # what was traced before has the other layout
    program = jax.jit(jax.grad(loss) if gradient else outputs).lower(arrays, xs).compile()
    sizes["abreast"] = before
    return lambda: program(arrays, xs)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "cell", CELLS)
    call.add_names(parser, "--shape", SHAPES)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    for name in options.cell:
        for shape in options.shape:
            batch, time, width, hidden = SHAPES[shape]
            cell = rz.make_cell(name, width, hidden, key=jr.key(0))
            xs = jr.normal(jr.key(1), (batch, time, width))
            matrices = [a for a in jax.tree.leaves(cell) if eqx.is_array(a) and a.ndim == 2]
            large = sum(a.size for a in matrices) >= backends.tuned("abreast") and batch <= 64
            for which in PASSES:
                functions = {w: function(cell, xs, w, which == "gradient") for w in WAYS}
                if not agree(functions):
                    raise SystemExit(f"{name}, {shape}, {which}: the results differ")
                times = medians(functions, options.rounds)
                for way, seconds in times.items():
                    key = versions()["jax"], name, shape, which
                    ratio = f"{seconds / times['in front']:.2f}"
                    TABLE.add(key, way, f"{1e3 * seconds:.2f}", ratio, "yes" if large else "no")
    TABLE.write()
