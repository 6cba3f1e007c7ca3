"""LTC and CfC beside those of ncps in PyTorch.

    pip install torch ncps

LTC wired by AutoNCP(64, 8), input 16, batch 32, 128 steps, 6 unfolds; CfC of 64 units on the
same input. The weights are those of the ncps modules (`rz.interop.from_ncps`), and the outputs
are compared before anything is timed. A training step is forward, gradient of the mean square
of the outputs, and a gradient descent update. Medians of interleaved runs.

Then the temporary memory of our LTC gradient at 512 units, by the number of synapses.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians


I, B, T, UNITS = 16, 32, 128, 64
TABLE = Table("liquid", ("jax", "layer", "pass"), ("rival", "ms", "of_ours"))
SYNAPSES = Table("synapses", ("jax",), ("synapses", "memory_mb"))


def modules():
    from ncps.torch import LTC, CfC
    from ncps.wirings import AutoNCP, FullyConnected

    return {
        "LTC, AutoNCP(64, 8)": LTC(I, AutoNCP(UNITS, 8)),
        "LTC, dense": LTC(I, FullyConnected(UNITS)),
        "CfC": CfC(I, UNITS),
        "CfC, AutoNCP(64, 8)": CfC(I, AutoNCP(UNITS, 8)),
    }


def ours(module, xs):
    layer = rz.interop.from_ncps(module)
    forward = eqx.filter_jit(lambda layer, xs: eqx.filter_vmap(layer)(xs))

    @eqx.filter_jit
    def step(layer, xs):
        grads = eqx.filter_grad(lambda layer: jnp.mean(eqx.filter_vmap(layer)(xs) ** 2))(layer)
        return eqx.apply_updates(layer, jax.tree.map(lambda g: -1e-3 * g, grads))

    return {
        "forward": lambda: forward(layer, xs),
        "training step": lambda: eqx.filter(step(layer, xs), eqx.is_array),
    }


def theirs(module, xs):
    import torch

    xs = torch.tensor(np.array(xs))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-9)

    def forward():
        with torch.no_grad():
            return module(xs)[0].numpy()

    def step():
        optimizer.zero_grad()
        (module(xs)[0] ** 2).mean().backward()
        optimizer.step()
        return ()

    return {"forward": forward, "training step": step}


def memory():
    """LTC of 512 units, batch 32, 32 steps: temporary memory of the gradient."""
    for sparsity in (0.0, 0.5, 0.9, 0.97):
        wiring = rz.wiring.RandomMap(I, 512, 8, sparsity=sparsity)
        layer = rz.Recurrent(rz.cells.LTCCell(I, wiring, key=jax.random.key(0)))
        params, rest = eqx.partition(layer, eqx.is_inexact_array)

        def loss(params, xs, rest=rest):
            return jnp.mean(jax.vmap(eqx.combine(params, rest))(xs) ** 2)

        xs = jnp.zeros((32, 32, I))
        compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
        size = compiled.memory_analysis().temp_size_in_bytes / 1e6
        SYNAPSES.add((versions()["jax"],), str(wiring.synapse_count), f"{size:.1f}")
    SYNAPSES.write()


def main(arguments: list[str]) -> None:
    call.parser(__name__, TABLE, SYNAPSES).parse_args(arguments)
    call.need("ncps.torch", "pip install torch ncps")
    xs = jax.random.normal(jax.random.key(1), (B, T, I))
    for name, module in modules().items():
        one, two = ours(module, xs), theirs(module, xs)
        np.testing.assert_allclose(one["forward"](), two["forward"](), atol=1e-4)
        for part in one:
            times = medians({"ours": one[part], "ncps": two[part]}, rounds=7)
            for rival, seconds in times.items():
                of_ours = seconds / times["ours"]
                key = versions()["jax"], name, part
                TABLE.add(key, rival, f"{1e3 * seconds:.1f}", f"{of_ours:.2f}")
    TABLE.write()
    memory()
