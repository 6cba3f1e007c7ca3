"""Linear cells over long sequences, whole, beside the plain scans of JAX.

LRU and S5 with their products before and behind the recurrence, inputs as wide as the cell,
forward and gradient (of the mean square of the outputs, in the parameters). "scan" is
`jax.lax.scan` of the cell's step, "associative" `jax.lax.associative_scan` of its maps of all
steps, both with plain autodiff. Medians of interleaved runs; outputs or gradients are compared
before. The last line has the geometric mean of the better peer's time over ours.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import rnn_zoo as rz

from ..tables import Table, versions
from .shared import cells_and_inputs, compared


CELLS = ("lru", "s5")
SHAPES = {
    "8x1024x64": (8, 1024, 64),
    "8x4096x128": (8, 4096, 128),
    "4x17984x64": (4, 17984, 64),
    "1x65536x64": (1, 65536, 64),
}
PASSES = ("forward", "gradient")
# The method, and the engine that runs it.
WAYS = {
    "ours": ("auto", "auto"),
    "scan": ("sequential", "scan"),
    "associative": ("parallel", "scan"),
}
TABLE = Table("linear_layers", ("jax", "cell", "shape", "pass"), ("rival", "ms", "of_ours"))


def function(cell, xs, way, gradient):
    method, engine = WAYS[way]

    def outputs(cell, xs):
        with rz.scan.engine(engine):
            return jax.vmap(lambda x: rz.scan.unroll(cell, x, method=method)[1])(xs)

    def loss(cell, xs):
        return jnp.mean(outputs(cell, xs) ** 2)

    compiled = eqx.filter_jit(eqx.filter_grad(loss) if gradient else outputs)
    return lambda: eqx.filter(compiled(cell, xs), eqx.is_array)


def main(arguments: list[str]) -> None:
    ratios = []
    asked = cells_and_inputs(__name__, TABLE, CELLS, SHAPES, arguments)
    for name, shape, cell, xs, rounds in asked:
        for which in PASSES:
            functions = {w: function(cell, xs, w, which == "gradient") for w in WAYS}
            times = compared(functions, rounds, f"{name}, {shape}, {which}")
            ratios.append(min(t for w, t in times.items() if w != "ours") / times["ours"])
            for way, seconds in times.items():
                key = versions()["jax"], name, shape, which
                TABLE.add(key, way, f"{1e3 * seconds:.2f}", f"{seconds / times['ours']:.2f}")
    print(f"better peer / ours, geometric mean {np.exp(np.mean(np.log(ratios))):.2f}")
    print(f"worst {min(ratios):.2f}")
    TABLE.write()
