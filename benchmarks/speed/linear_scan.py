"""h_t = a_t h_{t-1} + b_t: the recurrence of linear cells beside what JAX offers.

Forward, and gradient: states and both cotangents, from a given cotangent of the states.
"scan" is `vmap(lax.scan)`, "associative" `vmap(lax.associative_scan)`, both with plain autodiff.
Before timing all three are compared. "floor" is our time over that of moving the bytes that
have to move, at the rate of a large copy in the same run; below 1 the arrays fit a cache.
"memory" is the compiled program's temporary memory, ours over the better peer's.
"""

import functools
import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.recurrence import ALGORITHMS, solve
from rnn_zoo.linear import Diagonal

from .. import call
from ..tables import ROWS, machine, shown
from ..timing import medians


RESULTS = ROWS / "linear_scan.txt"
HEADING = (
    "batch,time,width  dtype      a         pass      ours ms  scan  associative  floor  memory"
)
SHAPES = [(8, 1024, 64), (8, 4096, 128), (4, 17984, 64), (1, 65536, 64)]


def scan(a, b):
    def step(h, at):
        h = (a if len(at) == 1 else at[1]) * h + at[0]
        return h, h

    return lax.scan(step, jnp.zeros_like(b[0]), (b,) if a.ndim == 1 else (b, a))[1]


def associative(a, b):
    def compose(earlier, later):
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    return lax.associative_scan(compose, (jnp.broadcast_to(a, b.shape), b))[1]


def ours(algorithm):
    flags = {"mask": None, "barrier": None, "algorithm": algorithm}
    return lambda a, b: solve(Diagonal(a), b, Way(b.shape[0]), **flags)


METHODS = {"ours": ours("loop"), "scan": scan, "associative": associative}


def programs(shape, dtype, varying, gradient):
    """Compiled functions of no argument, one for each method."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        x = rng.normal(size=shape)
        return jnp.asarray(x + 1j * rng.normal(size=shape) if dtype == jnp.complex64 else x, dtype)

    a = draw(*shape) if varying else draw(shape[-1])
    a, b, cotangent = 0.99 * a / jnp.abs(a), draw(*shape), draw(*shape)
    compiled = {}
    for name, method in METHODS.items():
        batched = jax.vmap(method, in_axes=(0 if varying else None, 0))

        def forward(a, b, cotangent, f=batched):
            return f(a, b)

        def backward(a, b, cotangent, f=batched):
            states, pull = jax.vjp(f, a, b)
            return states, pull(cotangent)

        compiled[name] = jax.jit(backward if gradient else forward).lower(a, b, cotangent).compile()
    return compiled, (a, b, cotangent)


def agree(results):
    first = jax.tree.leaves(results["ours"])
    for name, result in results.items():
        for x, y in zip(first, jax.tree.leaves(result)):
            error = float(jnp.linalg.norm((x - y).ravel()) / jnp.linalg.norm(y.ravel()))
            if error > 1e-4:
                sys.exit(f"{name} differs from ours by {error:.1e}")


def least_bytes(shape, dtype, varying, gradient):
    """What has to be read and written once: a, b, states; and the cotangents of all three."""
    passes = (8 if gradient else 3) if varying else (5 if gradient else 2)
    return passes * math.prod(shape) * jnp.dtype(dtype).itemsize


def copy_rate(size=2**25):
    """Bytes per second, read and written, moved by a copy that fits no cache."""
    x = jnp.ones(size, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / medians({"copy": lambda: copy(x)})["copy"]


def measure(shape, dtype, varying, gradient) -> tuple[str, dict[str, float]]:
    """A line, and the times of the peers over ours."""
    compiled, inputs = programs(shape, dtype, varying, gradient)
    agree({name: f(*inputs) for name, f in compiled.items()})
    seconds = medians({n: functools.partial(f, *inputs) for n, f in compiled.items()})
    ratios = {name: seconds[name] / seconds["ours"] for name in ("scan", "associative")}
    floor = least_bytes(shape, dtype, varying, gradient) / copy_rate()
    memory = {n: f.memory_analysis().temp_size_in_bytes for n, f in compiled.items()}
    peer = min(memory["scan"], memory["associative"])
    line = (
        f"{','.join(map(str, shape)):16}  {jnp.dtype(dtype).name:9}  "
        f"{'varying' if varying else 'constant':8}  {'gradient' if gradient else 'forward':8}  "
        f"{1e3 * seconds['ours']:7.2f}  {ratios['scan']:4.2f}  {ratios['associative']:11.2f}  "
        f"{seconds['ours'] / floor:5.2f}  {memory['ours'] / max(peer, 1):6.2f}"
    )
    return line, ratios


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, f"All shapes by the loop, 5 minutes, go to {shown(RESULTS)}.")
    parser.add_argument("shapes", nargs="*", help="batch,time,width; by default four of them")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="loop", help="which of ours")
    options = parser.parse_args(arguments)
    METHODS["ours"] = ours(options.algorithm)
    shapes = [tuple(map(int, text.split(","))) for text in options.shapes] or SHAPES
    lines = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"{machine()} algorithm: {options.algorithm}")
    say(HEADING)
    better, slower = [], []
    cases = itertools.product(shapes, (jnp.float32, jnp.complex64), (False, True), (False, True))
    for case in cases:
        line, ratios = measure(*case)
        say(line)
        better.append(min(ratios.values()))
        slower.append(ratios["associative"])
    for name, values in (("the better peer", better), ("associative_scan", slower)):
        mean = np.exp(np.mean(np.log(values)))
        say(f"geometric mean over {name}: {mean:.2f}, worst {min(values):.2f}")
    if shapes == SHAPES and options.algorithm == "loop":
        RESULTS.write_text("\n".join(lines) + "\n")
