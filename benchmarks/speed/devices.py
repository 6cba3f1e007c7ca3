"""Several devices against one, and data in files: traffic, memory, time.

- `time`: a gradient of `make_model(NAME)` over one sequence, with an output per step. For each
  length the compiled program says how many bytes one device sends and receives in collectives
  (which must not grow with the length) and how much memory a device needs; then both programs run
  once, after a run that is not timed. Gradients are compared with each other, and each with the one
  of one device in 64 bits.
- `long`: a training step of two LRU layers on 16,777,216 steps, 8 devices against one.
- `batch`: `fit` with its batch over two devices, against one.
- `files`: `fit` on a mapped file of 4 GB; set BENCHMARK_FILES to a folder on a disk with room.

Devices that the machine lacks are forced on its CPU: what is measured there is the work, not the
speed of several devices.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnn_zoo as rz

from .. import call
from ..tables import Table, machine


INPUTS = 4
PARTS = ("time", "long", "batch", "files")
ROWS = Table("devices", ("jax", "part", "case"), ("figure", "value", "asked"))
COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|"
    r"collective-broadcast)(-start)?\("
)
BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}


def traffic(program: str) -> dict[str, int]:
    """Bytes of the results of the collectives of a compiled program, by kind.

    ValueError for a collective inside a loop, whose bytes are not known from the text.
    """
    total: dict[str, int] = {}
    found: dict[str, list[tuple[str, int]]] = {}
    calls: dict[str, set[str]] = {}
    bodies: set[str] = set()
    place = ""
    for line in program.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            place = line.replace("ENTRY", "").split()[0]
            found[place], calls[place] = [], set()
        if place:
            calls[place].update(re.findall(r"=(%[\w.-]+)", line))
            bodies.update(re.findall(r"body=(%[\w.-]+)", line))
        if match := COLLECTIVE.search(line):
            found[place].append((match[2], _bytes(match[1])))
    looped: set[str] = set()
    while bodies:
        body = bodies.pop()
        looped.add(body)
        bodies |= calls.get(body, set()) - looped
    for place, kinds in found.items():
        if kinds and place in looped:
            raise ValueError(f"expected collectives outside of loops, got {kinds} in {place}")
        for kind, size in kinds:
            total[kind] = total.get(kind, 0) + size
    return total


def _bytes(types: str) -> int:
    """The size of a type, or of a tuple of them, in the text of a program."""
    size = 0
    for name, shape in re.findall(r"(\w+)\[([\d,]*)\]", types):
        bits = BITS.get(name) or int(re.sub(r"\D", "", name))
        size += bits // 8 * int(np.prod([int(n) for n in shape.split(",") if n], dtype=int))
    return size


def compiled(model: Any, length: int, devices: int) -> tuple[Any, Any]:
    """The gradient of a squared error on so many devices, and the mesh; without an array."""
    axes = {"axis_types": (AxisType.Auto,), "devices": jax.devices()[:devices]}
    mesh = jax.make_mesh((devices,), ("time",), **axes)
    params, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(params, xs, targets):
        return jnp.mean((eqx.combine(params, rest)(xs) - targets) ** 2)

    with jax.set_mesh(mesh):
        spread = NamedSharding(mesh, PartitionSpec("time"))
        dtype = jax.dtypes.canonicalize_dtype(float)
        of = [jax.ShapeDtypeStruct((length, n), dtype, sharding=spread) for n in (INPUTS, 1)]
        whole = NamedSharding(mesh, PartitionSpec())
        like = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), params
        )
        return jax.jit(jax.value_and_grad(loss)).lower(like, *of).compile(), mesh


def megabytes(program: Any) -> float:
    """What one device needs for a program: arguments, results and all between."""
    sizes = program.memory_analysis()
    parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    return sum(getattr(sizes, part) for part in parts) / 2**20


def run(program: Any, mesh: Any, model: Any, length: int) -> tuple[Any, float]:
    """The gradient, and the seconds that it took the second time."""
    rng = np.random.default_rng(0)
    dtype = jax.dtypes.canonicalize_dtype(float)
    arrays = [rng.standard_normal((length, n), np.float32).astype(dtype) for n in (INPUTS, 1)]
    arrays = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("time")))
    params = eqx.filter(model, eqx.is_inexact_array)
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    jax.block_until_ready(program(params, *arrays))
    began = time.perf_counter()
    _, gradient = jax.block_until_ready(program(params, *arrays))
    return jax.device_get(gradient), time.perf_counter() - began


def difference(one: Any, two: Any) -> float:
    """The largest difference of two gradients, by the largest entry of each array."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs)


def add(part: str, case: str, figure: str, value: float, asked: str = "") -> None:
    text = f"{value:.0f}" if figure.startswith("bytes") else f"{value:.3g}"
    ROWS.add((jax.__version__, part, case), figure, text, asked)
    ROWS.write()  # a part takes minutes, and what was measured stays


def apart(devices: int, part: str, *arguments: Any) -> dict[str, float]:
    """A part of `devices_parts` in a process of its own, with so many devices."""
    flag = "--xla_force_host_platform_device_count="
    flags = re.sub(rf"{flag}\d+", "", os.environ.get("XLA_FLAGS", ""))
    environment = {**os.environ, "XLA_FLAGS": f"{flags} {flag}{devices}"}
    command = [sys.executable, "-m", "benchmarks.speed.devices_parts"]
    command += [json.dumps(a) for a in (part, *arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def long(options: Any) -> None:
    case = f"lru, width 32, 2 layers, {options.long} steps"
    one, all_of = (apart(n, "long", options.long, 32) for n in (1, 8))
    add("long", case, "GiB, 8 devices", all_of["gib"], "<= 7.45")
    add("long", case, "GiB, one device", one["gib"])
    add("long", case, "seconds, one device", one["seconds"])
    add("long", case, "8 devices / one, time", all_of["seconds"] / one["seconds"], "<= 1.5")


def batch(options: Any) -> None:
    for name in ("gru", "lstm", "lru", "mamba"):
        # In turn, so that what else the machine does falls on both.
        pairs = [[apart(n, "batch", name)["ms"] for n in (1, 2)] for _ in range(options.rounds)]
        one, two = (min(column) for column in zip(*pairs))
        case = f"{name}, 64x200x32x128"
        add("batch", case, "ms, one device", one)
        add("batch", case, "2 devices / one, time", two / one, "<= 0.75" if name == "gru" else "")


def files(options: Any) -> None:
    case = f"gru, 64x200x32x128, {options.gigabytes:g} GB"
    found = apart(1, "files", "gru", options.gigabytes)
    add("files", case, "GiB, peak", found["gib"], "<= 1.4")
    add("files", case, "ms, whole file", found["ms"])
    add("files", case, "speed, file / memory", found["memory_ms"] / found["mapped_ms"], ">= 0.9")


def over_time(options: Any) -> None:
    def make(mesh_axis):
        sizes = {"hidden_size": options.width, "num_layers": options.layers}
        return rz.make_model(
            options.name, INPUTS, 1, pool=None, mesh_axis=mesh_axis, key=jr.key(0), **sizes
        )

    for length in options.time:
        case = f"{options.name}, width {options.width}, {options.devices} devices, {length} steps"
        case += ", 64 bits" if options.float64 else ""
        spread, whole = make("time"), make(None)
        program, mesh = compiled(spread, length, options.devices)
        alone, one = compiled(whole, length, 1)
        least, most = megabytes(program), megabytes(alone)
        add("time", case, "bytes in collectives", sum(traffic(program.as_text()).values()))
        add("time", case, "MB of a device", least)
        add("time", case, "MB of a device / of one alone", least / most, "<= 0.167")
        expected, seconds = run(alone, one, whole, length)
        found, of_all = run(program, mesh, spread, length)
        add("time", case, "gradients apart", difference(expected, found), "<= 1e-6")
        if not options.float64:
            exact = in_64_bits(whole, length)
            add("time", case, "gradient of one off 64 bits", difference(exact, expected))
            add("time", case, "gradient of all off 64 bits", difference(exact, found))
        add("time", case, "all / one, time", of_all / seconds)


def in_64_bits(model: Any, length: int) -> Any:
    """The gradient of one device for the same numbers."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, model)
        return run(*compiled(wide, length, 1), wide, length)[0]


def main(arguments: list[str]) -> int:
    parser = call.parser(__name__, ROWS)
    call.add_names(parser, "parts", PARTS)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--time", type=int, nargs="+", default=[2**16, 2**20], help="steps")
    parser.add_argument("--name", default="lru", help="of a linear cell")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--float64", action="store_true", help="gradients equal to rounding")
    parser.add_argument("--long", type=int, default=2**24, help="steps of the long run")
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of the file")
    parser.add_argument("--rounds", type=int, default=2, help="of each program of `batch`")
    parser.add_argument("--out", type=Path, default=ROWS.path, help="the file of the rows")
    options = parser.parse_args(arguments)
    ROWS.path = options.out
    jax.config.update("jax_enable_x64", options.float64)
    print(machine())
    if "time" in options.parts and jax.device_count() < options.devices:
        if jax.default_backend() != "cpu":
            parser.error(f"there are {jax.device_count()} devices, asked for {options.devices}")
        flag = f"--xla_force_host_platform_device_count={options.devices}"
        if flag in os.environ.get("XLA_FLAGS", ""):
            parser.error("the CPU was not split into devices")
        environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}
        command = [sys.executable, "-m", "benchmarks", "devices", *arguments]
        return subprocess.run(command, env=environment).returncode
    for part in options.parts:
        {"time": over_time, "long": long, "batch": batch, "files": files}[part](options)
    return 0
