"""A process of one build, for `house.py`: reads requests from stdin and answers each on a line."""

import ast
import inspect
import json
import os
import statistics
import sys
import time
import types


# What a library prints is not an answer.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import rnn_zoo as rz


HIDDEN, BATCH, TIME = 32, 8, 64
DEEP = {"layers": 6, "hidden": 128, "batch": 32, "time": 256}
RUNS = 15
PROGRAMS = {}


def names() -> dict[str, list[str]]:
    """What is public at the root, and which objects stand at more than one public place."""
    root = [name for name in dir(rz) if not name.startswith("_")]
    modules = [n for n in root if isinstance(vars(rz).get(n), types.ModuleType)]
    rooms = [n for n in modules if n in _exported(rz)]
    places = {}
    for place, module in [("", rz), *((room, vars(rz)[room]) for room in rooms)]:
        for name in _exported(module):
            value = vars(module).get(name)
            if callable(value):
                places.setdefault(id(value), []).append(f"{place}.{name}".lstrip("."))
    twice = [" = ".join(where) for where in places.values() if len(where) > 1]
    return {"root": root, "modules": modules, "rooms": rooms, "twice": sorted(twice)}


def _exported(module) -> list[str]:
    """The public names that a module defines, or passes on as `import name as name`."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    found = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [a.asname for a in node.names if a.asname == a.name]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def results(sample: str) -> dict:
    import same_results

    found = [s for s in same_results.SAMPLES if s.id == sample]
    if not found:
        return {"error": f"no sample {sample}"}
    try:
        arrays = same_results.results(found[0])
    except Exception as error:  # the other build goes on
        return {"error": repr(error)[:500]}
    return {n: [a.dtype.str, list(a.shape), a.tobytes().hex()] for n, a in arrays.items()}


def training_step(cell: str):
    """A step of adam for a model of this cell, and its arguments."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    import optax

    adam = optax.adam(1e-3)
    if cell.startswith("six"):
        layers, forward, xs = _deep(cell)
        arrays, rest = eqx.partition(layers, eqx.is_inexact_array)
    else:
        model = rz.make_model(cell, 3, 2, hidden_size=HIDDEN, num_layers=2, key=jr.key(0))
        xs = jr.normal(jr.key(1), (BATCH, TIME, 3))
        arrays, rest = eqx.partition(model, eqx.is_inexact_array)
        forward = eqx.filter_vmap

    def step(arrays, moments, xs):
        def loss(arrays):
            model = eqx.combine(arrays, rest)
            return jnp.mean(forward(model)(xs) ** 2)

        value, gradient = jax.value_and_grad(loss)(arrays)
        updates, moments = adam.update(gradient, moments, arrays)
        return optax.apply_updates(arrays, updates), moments, value

    return step, (arrays, adam.init(arrays), xs)


def _deep(which: str):
    """Six layers of LSTM, each of which reads the one before, by this library or by Equinox."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    hidden = DEEP["hidden"]
    xs = jr.normal(jr.key(1), (DEEP["batch"], DEEP["time"], hidden))
    keys = jr.split(jr.key(0), DEEP["layers"])
    if which == "six lstm layers":
        layers = rz.Stacked([rz.make_cell("lstm", hidden, hidden, key=k) for k in keys])
        return layers, eqx.filter_vmap, xs

    def run(layers, xs):
        for cell in layers:

            def body(state, x, cell=cell):
                state = cell(x, state)
                return state, state[0]

            start = jnp.zeros(hidden), jnp.zeros(hidden)
            xs = jax.lax.scan(body, start, xs)[1]
        return xs

    cells = [eqx.nn.LSTMCell(hidden, hidden, key=k) for k in keys]
    return cells, lambda layers: lambda xs: jax.vmap(lambda xs: run(layers, xs))(xs), xs


def times(cell: str) -> dict[str, float]:
    """Seconds to trace and lower, and to compile, with nothing in JAX's caches."""
    import jax

    step, given = training_step(cell)
    jax.block_until_ready(given)
    jax.clear_caches()
    began = time.perf_counter()
    lowered = jax.jit(step).lower(*given)
    traced = time.perf_counter()
    program = lowered.compile()
    ended = time.perf_counter()
    PROGRAMS.clear()
    PROGRAMS[cell] = program, given
    return {"trace": traced - began, "compile": ended - traced, "both": ended - began}


def run(cell: str) -> float:
    """Seconds of a step of the program that `times` compiled last; the median of some."""
    import jax

    program, given = PROGRAMS[cell]
    seconds = []
    for _ in range(3 if cell.startswith("six") else RUNS):
        began = time.perf_counter()
        jax.block_until_ready(program(*given))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def answer(what: str, *words: str):
    if what == "samples":
        import same_results

        return [sample.id for sample in same_results.SAMPLES]
    if what == "cells":
        return list(rz.list_cells())
    return {"names": names, "results": results, "times": times, "run": run}[what](*words)


for line in sys.stdin:
    ANSWERS.write(json.dumps(answer(*json.loads(line))) + "\n")
    ANSWERS.flush()
