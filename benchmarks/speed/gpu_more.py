"""More sections of `python -m benchmarks gpu`: evaluators, chunks, sizes, precision. See gpu.py."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz
from rnn_zoo._engine import cudnn
from rnn_zoo._engine.backends import SIZES, Size
from rnn_zoo.linear import Diagonal
from rnn_zoo.train.step import UpdateRule, start, take_step

from .gpu_sections import (
    BATCH,
    HIDDEN,
    INPUTS,
    ROUGHLY,
    SOME_CELLS,
    TIME,
    TOLERANCE,
    difference,
    timed,
    timing,
)


# What a cell may be off by, of its norm, where products have 10 bits of mantissa, and where what
# comes in has 8: some tens of steps of such roundings.
PRECISIONS = {"tf32": ("tensorfloat32", "float32", 2e-2), "bfloat16": ("highest", "bfloat16", 2e-2)}


class Way(NamedTuple):
    """A cell, and how it runs on the accelerator."""

    cell: str
    options: dict[str, Any]
    flags: bool = True
    """With a mask that has gaps, and a reset."""

    @property
    def label(self) -> str:
        said = [f"{name}={value}" for name, value in self.options.items()]
        return " ".join([self.cell, *said, *(["mask reset"] if self.flags else [])])


WAYS = (
    Way("gru", {"method": "sequential"}),
    Way("lstm", {"method": "sequential", "reverse": True}),
    Way("lstm", {"method": "cudnn"}, flags=False),
    Way("lru", {"method": "sequential"}),
    Way("lru", {"method": "parallel", "reverse": True}),
    Way("mingru", {"method": "parallel"}),
    Way("s5", {"method": "parallel"}),
    Way("unitary", {"method": "auto"}),
    Way("pd_ssm", {"method": "parallel"}),
    Way("mamba", {"method": "parallel"}),
    Way("gated_deltanet", {"method": "parallel"}),
    Way("mlstm", {"method": "parallel"}),
    Way("gru", {"method": rz.scan.Chunks(8)}),
    Way("gru", {"method": "sequential", "remat": 8}),
    Way("gru", {"engine": "scan"}),
    Way("lru", {"engine": "scan", "method": "parallel"}),
)
SMALL_WAYS = WAYS[:3]


# --- equality -------------------------------------------------------------------------------------


def evaluators(run: Any, until: float) -> None:
    """One cell of each kind by each evaluator, with gaps and resets, against the host's loop."""
    ways = SMALL_WAYS if run.small else [way for way in WAYS if way.cell in rz.list_cells()]
    ways = [way for way in ways if way.options.get("method") != "cudnn" or not cudnn.missing()]
    jobs = {way.label: functools.partial(_pair, run, way, "highest", "float32") for way in ways}
    _compare(run, "evaluators", jobs, until, TOLERANCE)


def precision(run: Any, until: float) -> None:
    """Every cell once more: products in TF32, and inputs of bfloat16, which a cell rounds its
    outputs to."""
    names = SOME_CELLS if run.small else rz.list_cells()
    for i, (what, (products, dtype, tolerance)) in enumerate(PRECISIONS.items()):
        now = time.monotonic()
        jobs = {
            name: functools.partial(_pair, run, Way(name, {}, False), products, dtype)
            for name in names
        }
        share = (until - now) / (len(PRECISIONS) - i)
        _compare(run, f"precision {what}", jobs, now + share, tolerance)


def _compare(run: Any, section: str, jobs: dict, until: float, tolerance: float) -> None:
    run.right |= {f"{section}: {name}": False for name in jobs}
    for name, made in run.compiled(jobs, until):
        where = (section, f"{BATCH}x{TIME}x{INPUTS}x{HIDDEN}", "forward and gradient", name)
        try:
            if isinstance(made, Exception):
                raise made
            there, here = (jax.device_get(program(*inputs)) for program, inputs in made)
            errors = {part: difference(there[part], here[part]) for part in here}
        except Exception as error:
            run.fail(*where, error)
            continue
        right = max(errors.values()) <= tolerance
        run.right[f"{section}: {name}"] = right
        verdict = "right" if right else f"WRONG: more than {tolerance}"
        parts = ", ".join(f"{part} {error:.1e}" for part, error in errors.items())
        run.add(*where, error=f"{max(errors.values()):.1e}", note=f"{verdict}; {parts}")


def _pair(run: Any, way: Way, products: str, dtype: str) -> list[tuple[Any, tuple]]:
    """Programs and what they act on: as told on the accelerator, the loop in full on the host."""
    sides = (
        (run.device, way.options, products),
        (
            run.host,
            {"method": "sequential", "reverse": way.options.get("reverse", False)},
            "highest",
        ),
    )
    with jax.default_device(run.host):
        keys = jr.split(jr.key(0), 3)
        cell = rz.make_cell(way.cell, INPUTS, HIDDEN, key=keys[0])
        arrays, rest = eqx.partition(cell, eqx.is_inexact_array)
        xs = jr.normal(keys[1], (BATCH, TIME, INPUTS), dtype)
        weights = jr.normal(keys[2], (BATCH, TIME, cell.output_size))
    flags = {"mask": np.arange(TIME) % 5 != 3, "reset": np.arange(TIME) == TIME // 2}

    def program(arrays, xs, weights, options):
        def loss(arrays, xs):
            run_one = functools.partial(
                rz.scan.unroll,
                eqx.combine(arrays, rest),
                **options,
                **(flags if way.flags else {}),
            )
            ys = jax.vmap(lambda x: run_one(x)[1])(xs)
            return jnp.vdot(weights, ys.astype(weights.dtype)), ys

        (_, ys), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(arrays, xs)
        return {"forward": ys, "gradient": grads}

    found = []
    for device, options, asked in sides:
        inputs = jax.device_put((arrays, xs, weights), device)
        with jax.default_matmul_precision(asked):
            of = functools.partial(program, options=options)
            found.append((jax.jit(of).lower(*inputs).compile(), inputs))
    return found


# --- chunks of cells that are not linear ----------------------------------------------------------


CASES = (("gru", 32), ("lstm", 128))
LONG, SMALL_LONG = 65536, 96


def chunks(run: Any, until: float) -> None:
    """Networks that forget (level 0) and that keep one of two things (level 1), batches of 1 and
    64, against the loop and cuDNN."""
    cases = [(*case, level, batch) for batch in (1, 64) for case in CASES for level in (0, 1)]
    if run.small:
        cases = [("lstm", 4, 1, 2)]
    for i, case in enumerate(cases):
        now = time.monotonic()
        share = (until - now) / (len(cases) - i)
        name, size, level, batch = case
        label = f"{name}{size} level {level} batch {batch}"
        try:
            if share <= 0:
                raise TimeoutError
            _one_network(run, label, case, now + share)
        except Exception as error:
            run.fail("chunks", label, "", "", error)


def _one_network(run: Any, label: str, case: tuple, until: float) -> None:
    name, size, level, batch = case
    length = SMALL_LONG if run.small else LONG
    rng = np.random.default_rng(5)
    xs = rng.normal(size=(batch, length, 4)).astype(np.float32)
    xs[..., 0] = rng.choice([-1.0, 1.0], xs.shape[:2]) * (rng.random(xs.shape[:2]) < 0.002)
    xs[:, 0, 0] = 1.0  # before a first pulse, the unit that keeps them stands on a watershed
    cell = rz.make_cell(name, 4, size, key=jr.key(0))
    cell, xs = (latch(name, cell) if level else cell), jnp.asarray(xs)
    report = rz.scan.chunk_report(cell, xs[0], method=rz.scan.Chunks(16 if run.small else "auto"))
    said = f"level {int(report.level)}, passes {int(report.passes)}, reruns {int(report.reruns)}"
    methods: dict[str, Any] = {"loop": "sequential"}
    for steps in (16,) if run.small else (128, 256):
        methods[f"chunks of {steps}"] = rz.scan.Chunks(steps)
    if name == "lstm" and not cudnn.missing():
        methods["cudnn"] = "cudnn"
    for i, what in enumerate(("forward", "gradient")):
        jobs = {
            who: functools.partial(_network, cell, xs, method, what == "gradient")
            for who, method in methods.items()
        }
        ready = {}
        for who, made in run.compiled(jobs, until):
            if isinstance(made, Exception):
                run.fail("chunks", label, what, who, made)
            else:
                ready[who] = made
        now = time.monotonic()
        half = now + (until - now) / (2 - i)
        found = timed(run, ("chunks", label, what), ready, ROUGHLY, half)
        first = next(iter(found), "")
        for who, (values, error) in found.items():
            ratio = np.median(values) / np.median(found[first][0])
            note = said if who.startswith("chunks") else ""
            run.add(
                "chunks", label, what, who, of_ours=f"{ratio:.3f}", note=note,
                **timing(values, error),
            )  # fmt: skip


def _network(cell: Any, xs: Any, method: Any, gradient: bool) -> Callable:
    arrays, rest = eqx.partition(cell, eqx.is_inexact_array)

    def forward(arrays, xs):
        cell = eqx.combine(arrays, rest)
        return jax.vmap(lambda x: rz.scan.unroll(cell, x, method=method)[1])(xs)

    def backward(arrays, xs):
        return jax.grad(lambda a: jnp.mean(forward(a, xs) ** 2))(arrays)

    made = jax.jit(backward if gradient else forward).lower(arrays, xs).compile()
    return functools.partial(made, arrays, xs)


def latch(name: str, cell: Any) -> Any:
    """The cell with a first unit that keeps the sign of the last pulse of the first input, and that
    all others read."""
    size, gates = cell.output_size, {"gru": "rzn", "lstm": "ifgo"}[name]
    w, u, b = cell.weight_ih, cell.weight_hh, cell.bias
    open_gates = {"gru": {"r": 9.0, "z": -9.0}, "lstm": {"i": 9.0, "f": -9.0, "o": 9.0}}[name]
    for i, gate in enumerate(gates):
        row, held = i * size, gate in open_gates
        w = w.at[row].set(0.0).at[row, 0].set(0.0 if held else 9.0)
        u = u.at[row].set(0.0).at[row, 0].set(0.0 if held else 4.0)
        b = b.at[row].set(open_gates.get(gate, 0.0))
    return eqx.tree_at(lambda c: [c.weight_ih, c.weight_hh, c.bias], cell, [w, u, b])


# --- sizes ----------------------------------------------------------------------------------------


def sizes(run: Any, until: float) -> None:
    """Sizes of `rnn_zoo/_engine/backends.py`: each of some, all else as it is."""
    jobs = (
        ("kernel_steps", (16, 32, 64), functools.partial(_recurrence, "kernel")),
        ("block", (64, 256, 1024), functools.partial(_recurrence, "blocked")),
        ("chunk", (8, 16, 32), _training),
        ("matrix_chunk", (16, 32, 64, 128), functools.partial(_matrix, "mamba2")),
        ("channel_chunk", (16, 32, 64), functools.partial(_matrix, "gla")),
    )
    for i, (name, values, make) in enumerate(jobs[:2] if run.small else jobs):
        now = time.monotonic()
        share = (until - now) / (len(jobs) - i)
        try:
            if share <= 0:
                raise TimeoutError
            _one_size(run, name, values[:2] if run.small else values, make, now + share)
        except Exception as error:
            run.fail("sizes", name, "", "", error)


def _one_size(run: Any, name: str, values: tuple, make: Callable, until: float) -> None:
    where, ready = ("sizes", name, "forward and gradient"), {}
    own = SIZES.setdefault(jax.default_backend(), {})
    before = own.get(name)
    try:
        # One after the other: a size is read while a program is traced.
        for value in values:
            own[name] = Size(value, "tried here")
            try:
                ready[str(value)] = make(run)
            except Exception as error:
                run.fail(*where, str(value), error)
    finally:
        own.pop(name)
        if before is not None:
            own[name] = before
    found = timed(run, where, ready, None, until)
    for value, (seconds, error) in found.items():
        run.add(*where, value, **timing(seconds, error))
        run.sizes.setdefault(name, {})[int(value)] = float(np.median(seconds))


def _recurrence(algorithm: str, run: Any) -> Callable:
    from rnn_zoo._engine.chunks import Way as Over
    from rnn_zoo._engine.recurrence import solve

    shape = (2, 40, 4) if run.small else (8, 65536, 128)
    a = jr.uniform(jr.key(0), shape, minval=0.9, maxval=0.999)

    def loss(a, b):
        plain = {"mask": None, "barrier": None, "algorithm": algorithm}
        one = lambda a, b: solve(Diagonal(a), b, Over(shape[1]), **plain)  # noqa: E731
        return jnp.mean(jax.vmap(one)(a, b) ** 2)

    made = jax.jit(jax.grad(loss, (0, 1))).lower(a, a).compile()
    return functools.partial(made, a, a)


def _training(run: Any) -> Callable:
    cell = rz.make_cell("lstm", 64, 128, key=jr.key(0))
    return _network(cell, jr.normal(jr.key(1), (32, 256, 64)), "sequential", True)


def _matrix(name: str, run: Any) -> Callable:
    cell = rz.make_cell(name, 256, 256, key=jr.key(0))
    return _network(cell, jr.normal(jr.key(1), (8, 2048, 256)), "parallel", True)


# --- lower precision ------------------------------------------------------------------------------

TRAINED = (
    ("lstm", 64, 512, 256, 512),
    ("lru", 16, 4096, 256, 512),
    ("mamba2", 8, 2048, 256, 512),
)
SMALL_TRAINED = (("lstm", 2, 5, 3, 4),)


def lowered(run: Any, until: float) -> None:
    """An update of `fit(compute_dtype=)` with float32 and with bfloat16."""
    cases = SMALL_TRAINED if run.small else TRAINED
    for i, case in enumerate(cases):
        now = time.monotonic()
        share = now + (until - now) / (len(cases) - i)
        where = ("lowered", " ".join(map(str, case)), "training")
        dtypes = {"float32": None, "bfloat16": jnp.bfloat16}
        jobs = {who: functools.partial(_update, case, dtype) for who, dtype in dtypes.items()}
        ready = {}
        for who, made in run.compiled(jobs, share):
            if isinstance(made, Exception):
                run.fail(*where, who, made)
            else:
                ready[who] = made
        found = timed(run, where, ready, None, share)
        first = np.median(found["float32"][0]) if "float32" in found else np.nan
        for who, (values, error) in found.items():
            run.add(
                *where, who, of_ours=f"{np.median(values) / first:.2f}", **timing(values, error)
            )


def _update(case: tuple, dtype: Any) -> Callable:
    name, batch, length, inputs, hidden = case
    model = rz.make_model(name, inputs, 8, hidden_size=hidden, key=jr.key(0))
    rule = UpdateRule(rz.train.cross_entropy, optax.adam(1e-3), None, None, compute_dtype=dtype)
    progress = start(model, rule.optimizer)
    data = rz.data.Batch(
        jr.normal(jr.key(1), (batch, length, inputs)), jr.randint(jr.key(2), (batch,), 0, 8)
    )

    def run(progress, data):
        return eqx.filter(take_step(progress, data, jr.key(3), rule), eqx.is_array)

    return functools.partial(eqx.filter_jit(run).lower(progress, data).compile(), progress, data)


MORE = {
    "evaluators": (evaluators, 0.35),
    "chunks": (chunks, 0.5),
    "sizes": (sizes, 0.4),
    "lowered": (lowered, 0.35),
    "precision": (precision, 0.9),
}
