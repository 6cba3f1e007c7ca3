"""What `devices` measures in processes of their own: `python -m benchmarks.speed.devices_parts`.

Each part prints one line of JSON. How many devices there are, and the peak of the memory, belong to
a process.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import rnn_zoo as rz


CHUNK = 8192
"""Steps of a device that are differentiated at once, in the long run."""
SHAPE = (64, 200, 32, 128)
"""Batch, time, inputs and units of the parts that train with `fit`."""


def peak() -> float:
    """The most memory that the process had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def long(steps: int, width: int) -> dict[str, float]:
    """A training step on one sequence over all devices, in chunks of them all.

    The state goes from chunk to chunk, and each chunk is computed again in the gradient, so that
    memory holds the data, a state for each chunk and what one chunk needs.
    """
    devices = jax.device_count()
    mesh = jax.make_mesh((devices,), ("time",), axis_types=(AxisType.Auto,))
    axis = "time" if devices > 1 else None
    sizes = {"hidden_size": width, "num_layers": 2}
    model = rz.make_model("lru", 4, 1, pool=None, mesh_axis=axis, key=jr.key(0), **sizes)
    optimizer = optax.adam(1e-3)

    def loss(model, xs, targets):
        @jax.checkpoint
        def one(state, at):
            state, ys = model.scan(at[0], state)
            return state, jnp.sum((ys - at[1]) ** 2)

        return jnp.sum(jax.lax.scan(one, model.init_state(), (xs, targets))[1]) / targets.size

    @eqx.filter_jit
    def step(model, opt_state, xs, targets):
        value, grads = eqx.filter_value_and_grad(loss)(model, xs, targets)
        updates, opt_state = optimizer.update(grads, opt_state)
        return eqx.apply_updates(model, updates), opt_state, value

    rng, chunk = np.random.default_rng(0), CHUNK * devices
    with jax.set_mesh(mesh):
        of_chunks = NamedSharding(mesh, P(None, "time"))
        shapes = [(steps // chunk, chunk, features) for features in (4, 1)]
        xs, targets = (rng.standard_normal(shape, np.float32) for shape in shapes)
        xs, targets = jax.device_put((xs, targets), of_chunks)
        state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        model, state = eqx.filter_shard((model, state), NamedSharding(mesh, P()))
        # Compiling is not timed.
        program = step.lower(model, state, xs, targets).compile()
        began = time.perf_counter()
        value = float(program(model, state, xs, targets)[2])
    return {"seconds": time.perf_counter() - began, "gib": peak(), "loss": value}


def _fitted(name: str, data: rz.data.Batch, mesh: Any, steps: int) -> float:
    """Milliseconds of a step of `fit`, the least of three runs after one that compiles."""
    batch, _, inputs, units = SHAPE
    model = rz.make_model(name, inputs, 10, hidden_size=units, key=jr.key(0))
    options = {"loss": rz.train.cross_entropy, "optimizer": optax.adam(1e-3), "key": jr.key(0)}
    options |= {"batch_size": batch, "mesh": mesh}
    rz.train.fit(model, data, steps=2, **options)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        rz.train.fit(model, data, steps=steps, **options)
        times.append((time.perf_counter() - began) / steps * 1e3)
    return min(times)


def _drawn(samples: int) -> rz.data.Batch:
    rng, (_, steps, inputs, _) = np.random.default_rng(0), SHAPE
    x = rng.standard_normal((samples, steps, inputs), np.float32)
    return rz.data.Batch(x, rng.integers(0, 10, samples).astype(np.int32))


def batch(name: str) -> dict[str, float]:
    """A step of `fit`, its batch over all devices."""
    devices = jax.device_count()
    mesh = jax.make_mesh((devices,), ("data",)) if devices > 1 else None
    return {"ms": _fitted(name, _drawn(8 * SHAPE[0]), mesh, 15)}


def files(name: str, gigabytes: float) -> dict[str, float]:
    """`fit` on a mapped file, the peak of the process, and its speed beside that in memory on a
    part that fits."""
    _, steps, inputs, _ = SHAPE
    samples = int(gigabytes * 1e9 / (4 * steps * inputs))
    few, rng = 16 * SHAPE[0], np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FILES")) as folder:
        path = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(path, "w+", np.float32, (samples, steps, inputs))
        for start in range(0, samples, few):
            part = x[start : start + few]
            part[:] = rng.standard_normal(part.shape, np.float32)
            x.flush()
        del x, part
        y = rng.integers(0, 10, samples).astype(np.int32)
        # Writing took memory too, of which the kernel keeps the peak: begin to count anew.
        Path("/proc/self/clear_refs").write_text("5")
        x = np.load(path, mmap_mode="r")
        whole = _fitted(name, rz.data.Batch(x, y), None, 40)
        most = peak_now()
        part = rz.data.Batch(x[:few], y[:few])
        memory = rz.data.Batch(np.array(x[:few]), y[:few])
        times = [(_fitted(name, part, None, 15), _fitted(name, memory, None, 15)) for _ in "12"]
    mapped, held = (min(column) for column in zip(*times))
    return {"ms": whole, "gib": most, "mapped_ms": mapped, "memory_ms": held}


def peak_now() -> float:
    """The most memory since the peak was cleared, in GiB."""
    text = Path("/proc/self/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    part, *arguments = map(json.loads, sys.argv[1:])
    print(json.dumps({"long": long, "batch": batch, "files": files}[part](*arguments)))
