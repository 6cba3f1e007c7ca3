"""What the environment does to a training step: allocators, XLA flags, both cores.

Each setting is a process of its own; the processes run in turn, three times each, and the table has
the medians over the time with nothing set. tcmalloc and jemalloc take part where their libraries
are found (Debian: libtcmalloc-minimal4, libjemalloc2). "two devices" splits the batch over two
devices of the host with `shard_map`, one for each core.
"""

import json
import os
import subprocess
import sys
from ctypes.util import find_library

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians


SHAPES = ((32, 256, 64, 128), (16, 113, 1, 128), (64, 50, 500, 500))
LAYERS = ("lstm", "gru", "lru")
TWO = "--xla_force_host_platform_device_count=2"
FOUND = {name: find_library(name) for name in ("tcmalloc_minimal", "jemalloc")}
SETTINGS = {
    "nothing": {},
    **{name: {"LD_PRELOAD": path} for name, path in FOUND.items() if path},
    "glibc, no mmap": {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=-1"},
    "one thread": {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"},
    "512 bit vectors": {"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"},
    "two devices": {"XLA_FLAGS": TWO},
}


TABLE = Table("settings", ("jax", "step"), ("rival", "ms", "of_nothing"))


def measure() -> None:
    """In a process of its own: the times of all layers and shapes, in ms, as JSON."""
    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    whole, split = PartitionSpec(), PartitionSpec("batch")

    def program(name, shape):
        B, T, I, H = shape
        cell = rz.make_cell(name, I, H, key=jr.key(0))
        arrays, rest = eqx.partition(rz.Recurrent(cell), eqx.is_inexact_array)
        xs = jr.normal(jr.key(1), (B, T, I))

        def step(arrays, xs):
            def loss(arrays):
                return jnp.mean(abs(eqx.filter_vmap(eqx.combine(arrays, rest))(xs)) ** 2)

            grads = jax.lax.pmean(jax.grad(loss)(arrays), "batch")
            return jax.tree.map(lambda p, g: p - 1e-3 * g, arrays, grads)

        step = jax.shard_map(
            step, mesh=mesh, in_specs=(whole, split), out_specs=whole, check_vma=False
        )
        arrays = jax.device_put(arrays, NamedSharding(mesh, whole))
        xs = jax.device_put(xs, NamedSharding(mesh, split))
        compiled = jax.jit(step).lower(arrays, xs).compile()
        return lambda: compiled(arrays, xs)

    programs = {f"{n} {'x'.join(map(str, s))}": program(n, s) for n in LAYERS for s in SHAPES}
    print(json.dumps({name: 1e3 * t for name, t in medians(programs, rounds=7).items()}))


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    parser.add_argument("--here", action="store_true", help="this process alone, as JSON")
    if parser.parse_args(arguments).here:
        measure()
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(3):
        for name, environment in SETTINGS.items():
            command = [sys.executable, "-m", "benchmarks", "settings", "--here"]
            made = subprocess.run(
                command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found[name].append(json.loads(made.stdout.splitlines()[-1]))
    for step in found["nothing"][0]:
        ms = {name: float(np.median([run[step] for run in runs])) for name, runs in found.items()}
        for name, value in ms.items():
            key = versions()["jax"], step
            TABLE.add(key, name, f"{value:.2f}", f"{value / ms['nothing']:.2f}")
    TABLE.write()
