"""Time and temporary memory of a training step over a long sequence, LSTM.

"lax.scan" is plain autodiff of a scan over the same step; "ours" the layer; "sqrt" and the numbers
`rz.Recurrent(cell, remat=...)`. All gradients are compared first. Memory is what the compiled
gradient takes besides its inputs and outputs.
"""

import functools

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


SHAPES = ((8, 8192, 64, 256), (32, 256, 64, 128))
TABLE = Table("memory", ("jax", "shape"), ("rival", "ms", "of_scan", "memory_mb", "memory_of_scan"))


def scan(cell):
    def run(xs):
        return lax.scan(lambda state, x: cell.step(state, x), cell.init_state(), xs)[1]

    return run


RIVALS = {
    "lax.scan": scan,
    "ours": rz.Recurrent,
    "remat=sqrt": functools.partial(rz.Recurrent, remat="sqrt"),
    "remat=32": functools.partial(rz.Recurrent, remat=32),
}


def main(arguments: list[str]) -> None:
    call.parser(__name__, TABLE).parse_args(arguments)
    for shape in SHAPES:
        B, T, I, H = shape
        cell, xs = rz.make_cell("lstm", I, H, key=jr.key(0)), jr.normal(jr.key(1), (B, T, I))
        programs = {}
        for name, make in RIVALS.items():

            def loss(cell, xs, make=make):
                return jnp.mean(eqx.filter_vmap(make(cell))(xs) ** 2)

            programs[name] = jax.jit(jax.grad(loss)).lower(cell, xs).compile()
        calls = {name: functools.partial(f, cell, xs) for name, f in programs.items()}
        expected = calls["lax.scan"]()
        for name, run in calls.items():
            for one, two in zip(jax.tree.leaves(run()), jax.tree.leaves(expected)):
                scale = float(jnp.abs(two).max())
                np.testing.assert_allclose(one, two, atol=1e-4 * scale, err_msg=name)
        seconds = medians(calls, rounds=7)
        sizes = {n: f.memory_analysis().temp_size_in_bytes for n, f in programs.items()}
        for name in RIVALS:
            TABLE.add(
                (versions()["jax"], "x".join(map(str, shape))),
                name,
                f"{seconds[name] * 1e3:.1f}",
                f"{seconds[name] / seconds['lax.scan']:.2f}",
                f"{sizes[name] / 2**20:.1f}",
                f"{sizes[name] / sizes['lax.scan']:.2f}",
            )
    TABLE.write()
