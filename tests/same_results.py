"""What every cell, and a choice of models, gives on fixed inputs: for comparing two builds.

`tests/golden/make_steps.py` keeps the results of one build, `tests/test_same_results.py` holds
the present one to them, `python -m benchmarks house bits` compares two builds to the bit. It asks
for nothing but the names that a build keeps: `make_cell`, `list_cells`, `init_state`, `step`,
`rz.scan.unroll`, `rz.scan.trajectory`, the wrappers and layers. Parameters go by the names of
their fields, so a build may order them anew or keep other caches.
"""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz


I, H, T = 3, 8, 12
MASK = np.array([1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1], bool)
RESET = np.array([0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0], bool)
NOISE = 0.3
LARGEST, SKETCHED = 256, 64


@dataclasses.dataclass(frozen=True)
class Sample:
    """A cell with its options, or a model of which the outputs alone are compared."""

    id: str
    build: Callable[[], Any]
    default: bool = False
    model: bool = False


def named(*names: str) -> Any:
    """A public class or function by one of its names, at the root or in the room of this build."""
    rooms = ["", "cells", "linear", "graphs", "reservoir", "wrappers", "layers", "models", "wiring"]
    for room in rooms:
        found = vars(vars(rz).get(room, rz)) if room else vars(rz)
        for name in names:
            if name in found:  # `getattr` would warn of a name that has moved
                return found[name]
    raise AttributeError(f"rnn_zoo has no {names}")


def _cell(name: str, seed: int = 0, inputs: int = I, hidden: int = H, **options: Any) -> Any:
    return rz.make_cell(name, inputs, hidden, key=jr.key(seed), **options)


def _identity(z):
    return z


def _option(id: str, name: str, **options: Any) -> Sample:
    return Sample(f"{name}-{id}", lambda: _cell(name, **options))


def _map_of(kind: str, *sizes: int) -> Any:
    return named(kind)(I, *sizes)


OPTIONS = [
    _option("relu", "elman", activation=jax.nn.relu),
    _option("leak1", "leaky_elman", leak=1.0),
    _option("leaky", "esn", radius_of="leaky", bias_scaling=0.3, input_scaling=0.4),
    _option("ring", "esn", topology="ring"),
    _option(
        "1972",
        "wilson_cowan",
        leak=0.1,
        excitatory=6,
        refractory=1.0,
        gain=(1.0, 3.0),
        threshold=(2.0, 1.0),
    ),
    _option("bound.1", "indrnn", recurrent_range=(-0.1, 0.1)),
    _option("narrow", "lstmp", cell_size=3),
    _option("reset_before", "gru", reset_after=False),
    _option("eps.5", "antisymmetric", epsilon=0.5),
    _option("gamma.2", "gated_antisymmetric", gamma=0.2),
    _option("1-3", "clockwork", periods=(3, 1)),
    _option("rk2", "lipschitz", method="rk2"),
    _option("pairs", "lipschitz", beta=(0.6, 1.0), gamma=(0.3, 0.2), epsilon=0.4),
    _option("cayley", "exprnn", parametrisation="cayley"),
    _option("cayley-one", "exprnn", parametrisation="cayley", negative_ones=1),
    _option("imex", "cornn", scheme="imex", delta=0.5),
    _option("delta.3", "lem", delta=0.3),
    _option("alpha5", "unicornn", alpha=5.0),
    _option("pure", "cfc", mode="pure", backbone_units=7),
    _option("no_gate", "cfc", mode="no_gate", backbone_units=7),
    _option("no_backbone", "cfc", backbone_layers=0),
    _option(
        "two_layers",
        "cfc",
        backbone_layers=2,
        backbone_units=6,
        activation=jax.nn.relu,
        time_scale_factor=0.3,
    ),
    _option(
        "explicit",
        "ltc",
        constraint="explicit",
        ode_unfolds=2,
        input_mapping="linear",
        output_mapping=None,
    ),
    Sample("ltc-ncp", lambda: named("LTCCell")(I, _map_of("AutoNCPMap", 8, 2), key=jr.key(0))),
    _option("pure", "wired_cfc", mode="pure"),
    _option("own_synapses", "wired_cfc", mode="no_gate", fully_recurrent=False),
    Sample(
        "wired_cfc-random_map",
        lambda: named("WiredCfCCell")(
            I,
            _map_of("RandomMap", H),
            fully_recurrent=False,
            time_scale_factor=2.0,
            key=jr.key(0),
        ),
    ),
    _option("bound.5", "linear_indrnn", recurrent_range=(0.0, 0.5)),
    _option("bilinear", "s4d", discretisation="bilinear", state_size=4),
    _option("bilinear", "s5", discretisation="bilinear"),
    _option("blocks", "s5", blocks=2, state_size=12),
    _option("no-conj", "s5", conj_sym=False, blocks=2),
    _option("zoh", "mamba", discretisation="zoh", state_size=3, rank=2),
    _option("complex", "mamba", complex_eigenvalues=True),
    _option("im", "linoss", scheme="im"),
    # Angles near pi, where this cell holds its eigenvalues, magnify every rounding.
    _option("damped", "linoss", scheme="damped", state_size=7, max_phase=2.0),
    _option("blocks", "rglru", blocks=H),
    _option("start", "rglru", root_at_start=False),
    _option("complex", "rglru", blocks=2, complex_eigenvalues=True),
    _option("plain", "mingru", activation=_identity),
    *(
        _option("negative", name, negative_eigenvalues=True)
        for name in ("mingru", "minlstm", "rglru", "mamba")
    ),
]


def _modular() -> Any:
    cells = [_cell(name, 1, I + 2) for name in ("leaky_elman", "gru", "lstm")]
    wiring = np.roll(np.diag([0.7, -1.2, 0.9]), 1, axis=1)
    return rz.Modular(cells, wiring, message_size=2, key=jr.key(3))


def _message_passing() -> Any:
    edges = {"senders": np.array([0, 1, 2, 1]), "receivers": np.array([1, 2, 0, 0])}
    sizes = {"num_nodes": I, "message_size": 2}
    return rz.MessagePassing(_cell("lstm", inputs=3), **edges, **sizes, key=jr.key(3))


def _echo_state_network() -> Any:
    return rz.EchoStateNetwork(_cell("esn"), 2, include_input=True).layer


def _model(name: str, **options: Any) -> Any:
    return rz.make_model(name, I, 2, hidden_size=H, num_layers=2, key=jr.key(0), **options)


_DROPPED = {
    name: (lambda name=name: rz.VariationalDropout(_cell(name), input_rate=0.2, state_rate=0.4))
    for name in ("lstm", "leaky_elman", "cornn", "exprnn", "wilson_cowan", "antisymmetric")
}
MODELS = {
    **{f"dropped-{name}": build for name, build in _DROPPED.items()},
    "mixed_memory": lambda: rz.MixedMemory(_cell("lipschitz"), key=jr.key(1)),
    "strided": lambda: rz.Strided(_cell("gru"), 2),
    "strided-timed": lambda: rz.Strided(_cell("leaky_elman"), 2, 0.5),
    "zoneout": lambda: rz.Zoneout(_cell("lstm"), (0.3, 0.6)),
    "normed": lambda: rz.LayerNormed(_cell("lstm")),
    "normed-linear": lambda: rz.LayerNormed(_cell("lru")),
    "residual": lambda: rz.Residual(_cell("lem", inputs=H)),
    "learned": lambda: rz.LearnedInitialState(_cell("lru")),
    "frozen": lambda: rz.Frozen(_cell("hcornn")),
    "stacked": lambda: rz.Stacked([_cell("lstm"), _cell("leaky_elman", 1, H), _cell("lru", 2, H)]),
    "bidirectional": lambda: rz.Bidirectional(_cell("gru"), _cell("gru", 1)),
    "block": lambda: rz.Block(_cell("lru", inputs=I), key=jr.key(1)),
    "echo_state_network": _echo_state_network,
    "modular": _modular,
    "message_passing": _message_passing,
    "ncp": lambda: named("WiredElmanCell", "NCPCell")(_map_of("AutoNCPMap", 8, 2), key=jr.key(0)),
    "short_conv": lambda: named("ShortConv")(I, kernel_size=3, key=jr.key(0)),
    "stride_aware": lambda: named("StrideAwareCfC")(
        I, H, strides=(1, 3), backbone_units=7, key=jr.key(0)
    ),
    "parallel": lambda: named("Parallel")([_cell("leaky_elman"), _cell("lru", 1)]),
    "cascade": lambda: named("Cascade")([_cell("gru"), rz.Zoneout(_cell("esn", 1, H, 4), 0.3)]),
    "adopted": lambda: rz.adopt(eqx.nn.LSTMCell(I, H, key=jr.key(0))),
    "griffin_block": lambda: named("GriffinBlock")(I, key=jr.key(0)),
    "model-lstm": lambda: _model("lstm", bidirectional=True),
    "model-s5": lambda: _model("s5", pool=None),
    "model-mamba": lambda: _model("mamba", pool="mean"),
}

DEFAULTS = [Sample(name, lambda name=name: _cell(name), default=True) for name in rz.list_cells()]
SAMPLES = [
    *DEFAULTS,
    *OPTIONS,
    *(Sample(f"model:{name}", build, model=True) for name, build in MODELS.items()),
]


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)


def _is_fixed(node: Any) -> bool:
    return type(node).__name__ == "Fixed"


def parameters(module: Any) -> dict[str, np.ndarray]:
    """The arrays of a module by the path of their fields; fixed ones by their values."""
    found = jax.tree_util.tree_flatten_with_path(module, is_leaf=_is_fixed)[0]
    values = [(path, leaf.value if _is_fixed(leaf) else leaf) for path, leaf in found]
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in values if eqx.is_array(v)}


def noisy(module: Any) -> Any:
    """Noise on every parameter, by the name of its field, so that no zero hides a mistake."""

    def shake(path, leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        field = jax.tree_util.keystr(path).split(".")[-1]
        noise = NOISE * _draw(field, leaf.shape)
        return jnp.asarray(np.asarray(leaf, np.float64) + noise, leaf.dtype)

    return jax.tree_util.tree_map_with_path(shake, module)


def random_state(cell: Any) -> Any:
    """A state like the initial one, away from zero; counters stay."""

    def shift(path, leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        name = jax.tree_util.keystr(path)
        noise = _draw(name, leaf.shape)
        if jnp.iscomplexobj(leaf):
            noise = noise + 1j * _draw(name + "imag", leaf.shape)
        return jnp.asarray(np.asarray(leaf) + 0.5 * noise, leaf.dtype)

    return jax.tree_util.tree_map_with_path(shift, cell.init_state())


@dataclasses.dataclass(frozen=True)
class Run:
    """A module with what it is run on; `flags` are mask and reset, `time` is dt, if any."""

    module: Any
    xs: jax.Array
    state: Any
    flags: dict[str, Any]
    time: dict[str, Any]
    chance: dict[str, Any]


def prepare_run(module: Any) -> Run:
    """The module with noise on its parameters, and its inputs."""
    xs = jnp.asarray(_draw("xs", (T, module.input_size)), jnp.float32)
    dt = 0.2 + 1.6 * np.random.default_rng(7).uniform(size=T)
    time = {"dt": jnp.asarray(dt, jnp.float32)} if module.timed else {}
    chance = {"key": jr.key(5)} if module.stochastic else {}
    flags = {"mask": jnp.asarray(MASK), "reset": jnp.asarray(RESET)}
    state = None if hasattr(module, "scan") else random_state(module)
    return Run(noisy(module), xs, state, flags, time, chance)


def _squares(tree: Any) -> Any:
    arrays = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return sum(jnp.sum(jnp.abs(a) ** 2) for a in arrays)


def _gradient(run: Run, method: str) -> Any:
    """Of the sum of squares of outputs and state, by parameters, inputs, state and time."""
    state, others = eqx.partition(run.state, eqx.is_inexact_array)

    def loss(chosen):
        cell, xs, state, time = chosen
        state = eqx.combine(state, others)
        keywords = {**run.flags, **time, **run.chance}
        return _squares(rz.scan.unroll(cell, xs, state, **keywords, method=method))

    gradients = eqx.filter_grad(loss)((run.module, run.xs, state, run.time))
    names = ("cell", "xs", "state", "time")
    return dict(zip(names, gradients))


def cell_results(run: Run, brief: bool = False) -> dict[str, Any]:
    """A step, and all evaluators; `brief` leaves out what others imply."""
    cell, xs, state = run.module, run.xs, run.state
    first = (run.time["dt"][3],) if run.time else ()
    everything = {**run.flags, **run.time, **run.chance}
    found = {
        "step": cell.step(state, xs[0], *first, **run.chance),
        "trajectory": rz.scan.trajectory(cell, xs, state, method="sequential", **everything),
        "reverse": rz.scan.unroll(cell, xs, state, reverse=True, method="sequential", **everything),
        "gradient": _gradient(run, "sequential"),
    }
    if not brief:
        found["whole"] = rz.scan.unroll(cell, xs, method="sequential", **run.chance)
    if cell.linear:
        parallel = {"method": "parallel", **everything}
        found["parallel"] = rz.scan.trajectory(cell, xs, state, **parallel)
    if cell.linear and not brief:
        found |= {
            "parallel-reverse": rz.scan.unroll(cell, xs, state, reverse=True, **parallel),
            "parallel-gradient": _gradient(run, "parallel"),
        }
    return found


def other_ways(run: Run) -> dict[str, Any]:
    """The same by other ways: compiled, over a batch, in segments, by the plain forms of JAX."""
    cell, xs, state = run.module, run.xs, run.state
    first = (run.time["dt"][3],) if run.time else ()
    everything = {**run.flags, **run.time, **run.chance}

    def one(xs):
        return rz.scan.unroll(cell, xs, state, **everything)

    step = eqx.filter_jit(lambda cell, *given: cell.step(*given, **run.chance))
    return {
        "compiled-step": step(cell, state, xs[0], *first),
        "batch": eqx.filter_jit(eqx.filter_vmap(one))(jnp.stack([xs, xs[::-1]])),
        "segments": rz.scan.unroll(cell, xs, state, remat=4, **everything),
        "plain": rz.scan.unroll(cell, xs, state, engine="scan", **everything),
    }


def model_results(run: Run, brief: bool = False) -> dict[str, Any]:
    """The outputs of a layer, or of a cell over a sequence, and how they move with the inputs."""

    def outputs(xs):
        if hasattr(run.module, "scan"):
            return run.module(xs, **run.flags, **run.time, **run.chance)
        keywords = {**run.flags, **run.time, **run.chance}
        return rz.scan.unroll(run.module, xs, run.state, **keywords)[1]

    def loss(xs):
        ys = outputs(xs)
        return _squares(ys), ys

    gradient, ys = jax.grad(loss, has_aux=True)(run.xs)
    return {"outputs": ys, "gradient": gradient}


def sketch(array: np.ndarray) -> np.ndarray:
    """A small array as it is, of a large one so many sums with random signs."""
    if array.size <= LARGEST:
        return array
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(SKETCHED, array.size))
    wide = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
    return (signs @ wide.ravel()).astype(array.dtype)


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of results by their paths."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p): np.asarray(a) for p, a in found if eqx.is_array(a)}


def starts(cell: Any) -> dict[str, np.ndarray]:
    """The parameters of a new cell and its first state."""
    first = named_arrays(cell.init_state())
    found = {f"parameters{k}": v for k, v in parameters(cell).items()}
    return found | {f"initial{k}": v for k, v in first.items()}


def results(
    sample: Sample, *, together: bool = False, brief: bool = False
) -> dict[str, np.ndarray]:
    """All that is compared of a sample, by name: parameters, initial state, results.

    `together` compiles one program of all, which takes less time than one of each; without it a
    default cell also runs in `other_ways`.
    """
    module = sample.build()
    run = prepare_run(module)
    given = {} if sample.model else starts(module)
    compute = model_results if sample.model else cell_results
    arrays, rest = eqx.partition(vars(run), eqx.is_array)

    def of_arrays(arrays):
        return compute(Run(**eqx.combine(arrays, rest)), brief)

    found = jax.jit(of_arrays)(arrays) if together else of_arrays(arrays)
    if sample.default and not together:
        found |= other_ways(run)
    return given | named_arrays(found)
