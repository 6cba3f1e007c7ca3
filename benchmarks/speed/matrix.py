"""Matrix states: chunks of matrix products beside a step after the other.

The recurrence alone, for each structure that cells have, with parts that are given. Forward, and
the gradient with respect to all parts; "steps" is `vmap(lax.scan)` of `Parts.apply` with plain
autodiff. Both are compared before timing. "memory" is the compiled program's temporary memory,
that of the chunks over that of the steps.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax

from rnn_zoo._engine import matrix_chunks
from rnn_zoo._engine.chunks import Way
from rnn_zoo.linear import Parts

from .. import call
from ..tables import ROWS, machine, shown
from ..timing import medians
from .linear_scan import agree


RESULTS = ROWS / "matrix.txt"
SHAPE = (4, 2048, 4, 64, 64)
HEADING = "structure      pass      chunks ms  steps ms  steps / chunks  memory"


def _parts(kind, shape, key):
    batch, time, heads, width, value = shape
    keys = jr.split(key, 6)

    def draw(i, size):
        return jr.normal(keys[i], (batch, time, heads, size))

    q, k, v = draw(0, width) / width**0.5, draw(1, width), draw(2, value)
    k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
    channel, beta = -0.1 * jax.nn.softplus(draw(3, width)), jax.nn.sigmoid(draw(4, 1))
    head = channel[..., :1]
    return {
        "sum": lambda: Parts(q, k, v),
        "head": lambda: Parts(q, k, v, head),
        "channel": lambda: Parts(q, k, v, channel),
        "delta": lambda: Parts(q, beta * k, v, a=k),
        "gated delta": lambda: Parts(q, beta * k, v, head, a=jnp.exp(head) * k),
        "channel delta": lambda: Parts(q, beta * k, v, channel, a=jnp.exp(channel) * k),
        "low rank": lambda: Parts(q, draw(5, width), v, channel, a=-k, b=beta * k),
    }[kind]()


KINDS = ("sum", "head", "channel", "delta", "gated delta", "channel delta", "low rank")


def _chunks(parts, start):
    way = Way(parts.q.shape[0])
    return matrix_chunks.run(parts, start, way, initial=start)[1]


def _steps(parts, start):
    def step(state, parts):
        state = parts.apply(state)
        return state, parts.read(state)

    return lax.scan(step, start, parts)[1]


def measure(kind, shape, gradient):
    _, _, heads, width, value = shape
    parts = jax.jit(lambda key: _parts(kind, shape, key))(jr.key(0))
    start = jnp.zeros((heads, width, value))
    weights = jr.normal(jr.key(1), parts.v.shape)
    compiled = {}
    for name, method in (("ours", _chunks), ("steps", _steps)):

        def forward(parts, method=method):
            return jax.vmap(lambda p: method(p, start))(parts)

        def loss(parts, forward=forward):
            return jnp.sum(forward(parts) * weights)

        function = jax.grad(loss) if gradient else forward
        compiled[name] = jax.jit(function).lower(parts).compile()
    agree({name: f(parts) for name, f in compiled.items()})
    seconds = medians({name: lambda f=f: f(parts) for name, f in compiled.items()})
    memory = {name: f.memory_analysis().temp_size_in_bytes for name, f in compiled.items()}
    return (
        f"{kind:13}  {'gradient' if gradient else 'forward':8}  {1e3 * seconds['ours']:9.1f}  "
        f"{1e3 * seconds['steps']:8.1f}  {seconds['steps'] / seconds['ours']:14.2f}  "
        f"{memory['ours'] / max(memory['steps'], 1):6.2f}"
    )


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, f"All structures, 3 minutes, go to {shown(RESULTS)}.")
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; by default all")
    parser.add_argument("--time", type=int, default=SHAPE[1], help="steps")
    options = parser.parse_args(arguments)
    shape = (SHAPE[0], options.time, *SHAPE[2:])
    lines = [f"{machine()} batch, time, heads, key, value: {shape}", HEADING]
    print("\n".join(lines))
    for kind in options.kinds or KINDS:
        for gradient in (False, True):
            lines.append(measure(kind, shape, gradient))
            print(lines[-1], flush=True)
    if not options.kinds and shape == SHAPE:
        RESULTS.write_text("\n".join(lines) + "\n")
