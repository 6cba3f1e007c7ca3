"""Loops with samples side by side in memory, and in front.

LSTM, GRU and others, forward and gradient (of the mean square of the outputs, in the parameters),
compiled with one and with the other layout at sizes at which the library takes either. Medians of
interleaved runs; results are compared before.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import rnn_zoo as rz
from rnn_zoo._engine import backends

from ..tables import Table, versions
from .shared import cells_and_inputs, compared


CELLS = ("lstm", "gru", "lem", "elman")
SIZES = ((32, 256, 64, 128), (16, 113, 1, 128), (64, 50, 500, 500), (64, 64, 64, 128))
SHAPES = {"x".join(map(str, sizes)): sizes for sizes in (*SIZES, (32, 256, 16, 32))}
PASSES = ("forward", "gradient")
# Numbers of the matrices from which on samples lie side by side.
WAYS = {"in front": 1 << 60, "abreast": 0}
TABLE = Table("abreast", ("jax", "cell", "shape", "pass"), ("rival", "ms", "of_in_front", "taken"))


def lowered(cell, xs, numbers, gradient):
    """A program that has samples side by side from so many numbers on."""
    arrays, rest = eqx.partition(cell, eqx.is_inexact_array)

    def outputs(arrays, xs):
        cell = eqx.combine(arrays, rest)
        return jax.vmap(lambda x: rz.scan.unroll(cell, x)[1])(xs)

    def loss(arrays, xs):
        return jnp.mean(outputs(arrays, xs) ** 2)

    sizes, before = backends.SIZES["cpu"], backends.SIZES["cpu"]["abreast"]
    sizes["abreast"] = backends.Size(numbers, "this benchmark")
    jax.clear_caches()  # what was traced before has the other layout
    program = jax.jit(jax.grad(loss) if gradient else outputs).lower(arrays, xs)
    sizes["abreast"] = before
    return program, lambda program=program.compile(): program(arrays, xs)


def main(arguments: list[str]) -> None:
    usual = backends.tuned("abreast")
    asked = cells_and_inputs(__name__, TABLE, CELLS, SHAPES, arguments)
    for name, shape, cell, xs, rounds in asked:
        for which in PASSES:
            gradient = which == "gradient"
            made = {way: lowered(cell, xs, numbers, gradient) for way, numbers in WAYS.items()}
            own = lowered(cell, xs, usual, gradient)[0].as_text()
            taken = "yes" if own == made["abreast"][0].as_text() else "no"
            functions = {way: function for way, (_, function) in made.items()}
            times = compared(functions, rounds, f"{name}, {shape}, {which}")
            for way, seconds in times.items():
                key = versions()["jax"], name, shape, which
                ratio = f"{seconds / times['in front']:.2f}"
                TABLE.add(key, way, f"{1e3 * seconds:.2f}", ratio, taken)
    TABLE.write()
