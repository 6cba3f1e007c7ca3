"""The sections of `python -m benchmarks gpu`: see gpu.py."""

import functools
import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jax.experimental import rnn as cudnn_rnn

import rnn_zoo as rz
from rnn_zoo._engine import cudnn as cudnn_of_ours
from rnn_zoo._engine.recurrence import ALGORITHMS

from ..timing import sampled
from . import layers as peers, linear_scan


TOLERANCE = 1e-4
"""Of float32 after some tens of steps: about a thousand roundings."""
ROUGHLY = 2e-2
"""For layers at the precision of each: products with 10 bits of mantissa on some devices."""
BATCH, TIME, INPUTS, HIDDEN = 4, 32, 8, 32
SOME_CELLS = ("elman", "lru")
EVERY = (*ALGORITHMS, "kernel")
"""Of a diagonal recurrence. Where no device takes the kernel, it is interpreted."""
LAYERS = ((16, 1024, 768, 768), (32, 256, 64, 128))
# Batch, time, width; dtype; whether A changes from step to step.
RECURRENCES = (
    ((8, 4096, 128), "float32", True),
    ((8, 65536, 1536), "float32", True),
    ((8, 4096, 128), "complex64", True),
    ((8, 4096, 128), "complex64", False),
    ((8, 512, 128), "float32", True),
    ((1, 65536, 64), "float32", True),
    ((8, 128, 128), "float32", True),
)
SMALL_LAYERS = ((2, 8, 3, 4),)
SMALL_RECURRENCES = (((2, 40, 4), "float32", True),)


# --- cells ----------------------------------------------------------------------------------------


def cells(run: Any, until: float) -> None:
    """Every cell on the accelerator and on the host; one program each."""
    names = SOME_CELLS if run.small else rz.list_cells()
    run.right = dict.fromkeys(names, False)
    jobs = {name: functools.partial(both, name, run.device, run.host) for name in names}
    for name, made in run.compiled(jobs, until):
        where = ("cells", f"{BATCH}x{TIME}x{INPUTS}x{HIDDEN}", "forward and gradient", name)
        try:
            if isinstance(made, Exception):
                raise made
            there, here = (jax.device_get(program(*inputs)) for program, inputs in made)
        except Exception as error:
            run.fail(*where, error)
            continue
        errors = {part: difference(there[part], here[part]) for part in here}
        run.right[name] = max(errors.values()) <= TOLERANCE
        verdict = "right" if run.right[name] else f"WRONG: more than {TOLERANCE}"
        parts = ", ".join(f"{part} {error:.1e}" for part, error in errors.items())
        run.add(*where, error=f"{max(errors.values()):.1e}", note=f"{verdict}; {parts}")


def both(name: str, there: Any, here: Any) -> list[tuple[Any, tuple]]:
    """Programs of a cell and what they act on: as users run it there, step by step here.

    Everything is drawn on the host: decompositions of initial matrices differ between devices.
    """
    # The jobs of `Run.compiled` run in threads, and such settings hold for one thread.
    with jax.default_device(here), jax.default_matmul_precision("highest"):
        keys = jr.split(jr.key(0), 4)
        cell = rz.make_cell(name, INPUTS, HIDDEN, key=keys[0])
        arrays, rest = eqx.partition(cell, eqx.is_inexact_array)
        xs = jr.normal(keys[1], (BATCH, TIME, INPUTS))
        dt = jr.uniform(keys[2], (BATCH, TIME), minval=0.5, maxval=1.5) if cell.timed else None
        weights = jr.normal(keys[3], (BATCH, TIME, cell.output_size))

        def loss(arrays, xs, dt, weights, method):
            cell = eqx.combine(arrays, rest)
            ys = jax.vmap(lambda x, dt: rz.scan.unroll(cell, x, dt=dt, method=method)[1])(xs, dt)
            return jnp.vdot(weights, ys), ys

        def program(*inputs, method):
            slope = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            (_, ys), grads = slope(*inputs, method)
            return {"forward": ys, "gradient": grads}

        found = []
        for device, method in ((there, "auto"), (here, "sequential")):
            inputs = jax.device_put((arrays, xs, dt, weights), device)
            made = jax.jit(functools.partial(program, method=method)).lower(*inputs)
            found.append((made.compile(), inputs))
        return found


def difference(found: Any, expected: Any) -> float:
    """The largest norm of a difference over that of the array; infinite where one is not finite.

    An array far below the others is held to a thousandth of their norm: it may be what is left
    of large numbers that cancel.
    """
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected)))
    pairs = [(np.asarray(x, np.complex128), np.asarray(y, np.complex128)) for x, y in pairs]
    if not all(np.isfinite(x).all() and np.isfinite(y).all() for x, y in pairs):
        return math.inf
    whole = math.sqrt(sum(np.linalg.norm(y) ** 2 for _, y in pairs))
    tiny = np.finfo(float).tiny
    return max(
        float(np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-3 * whole, tiny)) for x, y in pairs
    )


# --- the linear recurrence ------------------------------------------------------------------------


def recurrence(run: Any, until: float) -> None:
    """Each algorithm and `lax.associative_scan`, and a copy beside them."""
    cases = SMALL_RECURRENCES if run.small else RECURRENCES
    for i, case in enumerate(cases):
        # A case may take half of what is left; the last one all of it.
        share = 1.0 if i == len(cases) - 1 else 0.5
        now = time.monotonic()
        try:
            one_recurrence(run, case, now + share * (until - now))
        except Exception as error:
            run.fail("recurrence", label_of(case), "", "", error)


def one_recurrence(run: Any, case: tuple, until: float) -> None:
    shape, dtype, varying = case
    label = label_of(case)
    methods: dict[str, Callable] = {name: linear_scan.ours(name) for name in EVERY}
    methods["lax.associative_scan"] = linear_scan.associative
    passes = {"forward": False, "gradient": True}
    seconds: dict[str, dict[str, float]] = {name: {} for name in methods}
    least = {what: linear_scan.least_bytes(shape, dtype, varying, passes[what]) for what in passes}
    reason = "no time left" if time.monotonic() >= until else ""
    if least["gradient"] > run.memory():
        reason = f"needs {least['gradient'] / 1e9:.1f} GB at least"
    if reason:
        for what, name in itertools.product(passes, methods):
            run.skip("recurrence", label, what, name, reason)
        return
    inputs = drawn(shape, dtype, varying)
    axes = (0 if varying else None, 0)
    jobs = {
        (what, name): functools.partial(compiled, jax.vmap(f, in_axes=axes), inputs, passes[what])
        for what in passes
        for name, f in methods.items()
    }
    programs = dict(run.compiled(jobs, until))
    for what in passes:
        ready = {}
        for name in methods:
            made, where = programs[what, name], ("recurrence", label, what, name)
            if isinstance(made, Exception):
                run.fail(*where, made)
            elif (needs := size(made)) > run.memory():
                run.skip(*where, f"needs {needs / 1e9:.1f} GB")
            else:
                ready[name] = functools.partial(made, *inputs)
        where = ("recurrence", label, what)
        if not ready:
            continue
        rate = linear_scan.copy_rate(copied(run))
        run.add("recurrence", label, what, "copy", gb_per_s=f"{rate / 1e9:.1f}", of_copy="1.00")
        now = time.monotonic()
        half = until if what == "gradient" else now + (until - now) / 2
        for name, (values, error) in timed(run, where, ready, TOLERANCE, half).items():
            median = float(np.median(values))
            moved = least[what] / median
            seconds[name][what] = median
            figures = {"gb_per_s": f"{moved / 1e9:.1f}", "of_copy": f"{moved / rate:.2f}"}
            run.add(*where, name, **figures, **timing(values, error))
    both_passes = {n: (s["forward"], s["gradient"]) for n, s in seconds.items() if len(s) == 2}
    run.recurrence[case] = {name: both_passes[name] for name in EVERY if name in both_passes}


def copied(run: Any) -> int:
    """Numbers in the array of a large copy: more than the caches hold."""
    if run.small:
        return 2**16
    return 2**25 if run.device.platform == "cpu" else 2**28


def label_of(case: tuple) -> str:
    shape, dtype, varying = case
    return f"{'x'.join(map(str, shape))} {dtype} {'varying' if varying else 'constant'}"


def drawn(shape: tuple, dtype: str, varying: bool) -> tuple:
    """a of modulus 0.99, b and a cotangent, drawn where they are used."""

    @jax.jit
    def draw():
        keys = jr.split(jr.key(0), 3)
        a = jr.normal(keys[0], shape if varying else shape[-1:], dtype)
        return 0.99 * a / jnp.abs(a), *(jr.normal(key, shape, dtype) for key in keys[1:])

    return draw()


def compiled(f: Callable, inputs: tuple, gradient: bool) -> Any:
    def forward(a, b, cotangent):
        return f(a, b)

    def backward(a, b, cotangent):
        states, pull = jax.vjp(f, a, b)
        return states, pull(cotangent)

    return jax.jit(backward if gradient else forward).lower(*inputs).compile()


def size(program: Any) -> int:
    """Bytes that a compiled program takes in all."""
    parts = program.memory_analysis()
    names = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(parts, name, 0) for name in names)


# --- layers ---------------------------------------------------------------------------------------


def layers(run: Any, until: float) -> None:
    """LSTM and GRU of both sizes against others."""
    shapes = SMALL_LAYERS if run.small else LAYERS
    cuda = run.device.platform == "gpu" and "cuda" in run.device.client.platform_version.lower()
    makers = {"ours": peers.ours, "lax.scan": plain, "flax": peers.flax}
    makers["ours, cudnn"] = ours_by_cudnn
    makers["cudnn, jax.experimental.rnn"] = cudnn
    makers["cudnn, torch"] = functools.partial(peers.torch, device="cuda")
    cases = list(itertools.product(shapes, ("lstm", "gru")))
    jobs = {}
    for shape, name in cases:
        B, T, I, H = shape
        cell = rz.make_cell(name, I, H, key=jr.key(0))
        xs = jr.normal(jr.key(1), (B, T, I))
        for who, make in makers.items():
            missing = "cudnn" in who and not cuda and who != "ours, cudnn"
            jobs[shape, name, who] = functools.partial(
                (lambda *_: None) if missing else make, name, cell, xs
            )
    made = dict(run.compiled(jobs, until))
    for i, (shape, name) in enumerate(cases):
        now = time.monotonic()
        share = (until - now) / (len(cases) - i)
        these = {who: made[shape, name, who] for who in makers}
        one_layer(run, f"{name} {'x'.join(map(str, shape))}", these, now + share)


def one_layer(run: Any, case: str, made: Mapping[str, Any], until: float) -> None:
    for i, what in enumerate(("forward", "training")):
        where, ready = ("layers", case, what), {}
        for who, rival in made.items():
            if rival is None:
                run.skip(*where, who, "cuDNN is not here, or its layer is not in this library")
            elif isinstance(rival, ImportError):
                run.skip(*where, who, "not installed")
            elif isinstance(rival, Exception):
                run.fail(*where, who, rival)
            else:
                ready[who] = rival[i]
        # What training steps return has another structure with each rival.
        tolerance = ROUGHLY if what == "forward" else None
        now = time.monotonic()
        half = now + (until - now) / (2 - i)
        found = timed(run, where, ready, tolerance, half)
        ours = np.median(found["ours"][0]) if "ours" in found else math.nan
        for who, (values, error) in found.items():
            run.layers.setdefault(case, {}).setdefault(who, {})[what] = float(np.median(values))
            ratio = f"{np.median(values) / ours:.2f}"
            run.add(*where, who, of_ours=ratio, **timing(values, error))


def plain(name: str, cell: Any, xs: Any) -> Any:
    """`lax.scan` over time of a step for the whole batch, with one product for all gates."""

    def run(arrays, xs):
        w, u, b, b_n = (None if a is None else a.T for a in arrays)
        size = u.shape[0]
        h = jnp.zeros((len(xs), size))

        def lstm(state, x):
            h, c = state
            i, f, g, o = jnp.split(x @ w + h @ u + b, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h, x):
            from_x, from_h = x @ w + b, h @ u
            gates = jax.nn.sigmoid(from_x + from_h)
            r, z = gates[:, :size], gates[:, size : 2 * size]
            n = jnp.tanh(from_x[:, 2 * size :] + r * (from_h[:, 2 * size :] + b_n))
            h = (1 - z) * n + z * h
            return h, h

        step, state = (lstm, (h, h)) if name == "lstm" else (gru, h)
        return lax.scan(step, state, xs.swapaxes(0, 1))[1].swapaxes(0, 1)

    return peers.rival((*weights_of(cell), getattr(cell, "bias_n", None)), run, xs)


def ours_by_cudnn(name: str, cell: Any, xs: Any) -> Any:
    """Our layer with `method="cudnn"`; the GRU has none."""
    if name == "gru" or cudnn_of_ours.missing():
        return None
    layer = rz.Recurrent(cell, method="cudnn")
    return peers.rival(layer, lambda layer, xs: eqx.filter_vmap(layer)(xs), xs)


def cudnn(name: str, cell: Any, xs: Any) -> Any:
    """The LSTM of `jax.experimental.rnn`; it has no GRU."""
    if name == "gru":
        return None
    B, T, I = xs.shape
    H = cell.output_size

    def run(weights, xs):
        zeros, lengths = jnp.zeros((1, B, H)), jnp.full(B, T, jnp.int32)
        return cudnn_rnn.lstm(xs, zeros, zeros, weights, lengths, I, H, 1, 0.0, False)[0]

    return peers.rival(packed(cell), run, xs)


def packed(cell: Any) -> Any:
    """An LSTM's arrays as the one that cuDNN reads: both matrices, then a bias for each."""
    w, u, b = weights_of(cell)
    return jnp.concatenate([w.ravel(), u.ravel(), b, jnp.zeros_like(b)])


def weights_of(cell: Any) -> tuple:
    return cell.weight_ih, cell.weight_hh, cell.bias


# --- timing ---------------------------------------------------------------------------------------


def timed(
    run: Any, where: tuple, functions: dict, tolerance: float | None, until: float
) -> dict[str, tuple[list[float], float | None]]:
    """Seconds of each call, in turn, and how far the results lie from those of the first.

    A function that fails, or is further off than the tolerance, gets a row that says so.
    """
    first, errors, slowest = None, {}, 0.0
    for name, function in list(functions.items()):
        try:
            if time.monotonic() >= until:
                raise TimeoutError
            began = time.monotonic()
            result = jax.block_until_ready(function())
            slowest = max(slowest, time.monotonic() - began)
            part = None if tolerance is None else probe(result)
            del result
            first = part if first is None else first
            errors[name] = None if tolerance is None else difference(part, first)
            if tolerance is not None and errors[name] > tolerance:
                raise ArithmeticError(f"{errors[name]:.1e} from {next(iter(errors))}")
        except Exception as error:
            errors.pop(name, None)
            run.fail(*where, name, error)
    ready = {name: functions[name] for name in errors}
    if not ready:
        return {}
    budget = max(0.0, until - time.monotonic())
    rounds = 2 if run.small else 9
    found = sampled(ready, rounds, budget, twice=slowest < 0.2)
    return {name: (values, errors[name]) for name, values in found.items()}


def probe(result: Any) -> list:
    """Some steps of each array, on the host: whole results of several methods may find no room."""
    found = []
    for leaf in jax.tree.leaves(result):
        steps = leaf if leaf.ndim < 2 else leaf[:, :: max(1, leaf.shape[1] // 64)]
        found.append(np.asarray(steps.cpu() if hasattr(steps, "cpu") else steps))
    return found


def timing(values: list[float], error: float | None) -> dict[str, str]:
    shown = "" if error is None else f"{error:.1e}"
    return {"ms": f"{1e3 * np.median(values):.3f}", "calls": str(len(values)), "error": shown}


SECTIONS = {"cells": (cells, 0.45), "recurrence": (recurrence, 0.55), "layers": (layers, 0.5)}
"""In the order of their worth, with the share of the time left that each may take."""
