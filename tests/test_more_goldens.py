"""Further cells equal other people's code: the values of golden/make_more.py."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import arrays, float64, methods
from references import REFERENCES, relu

import rnn_zoo as rz
from rnn_zoo._common.fixed import Fixed
from rnn_zoo.base import replace


GOLDEN = np.load(Path(__file__).parent / "golden" / "more.npz")


@dataclasses.dataclass(frozen=True)
class Golden:
    """A row of the file: its cell, the options of `make_cell` and those of the reference."""

    id: str
    name: str | None = None
    options: dict = dataclasses.field(default_factory=dict)
    reference: dict = dataclasses.field(default_factory=dict)

    def __getitem__(self, part):
        return GOLDEN[f"{self.id}/{part}"]

    @property
    def cell(self):
        return self.name or self.id

    def named(self, folder):
        start = f"{self.id}/{folder}/"
        return {k.removeprefix(start): GOLDEN[k] for k in GOLDEN.files if k.startswith(start)}

    def state(self, side):
        """The parts of the state; none at the end where the other code does not give it."""
        return list(self.named(side).values())

    def times(self):
        return self["dt"] if f"{self.id}/dt" in GOLDEN.files else None


def both(id, name=None, **options):
    """Options that the reference has under the same names."""
    return Golden(id, name, options, options)


HIGHWAY = {"highway_bias": -1.0}
MIDPOINT = {"method": "midpoint"}
CELLS = [
    *map(Golden, ("janet", "ugrnn", "minimal_rnn", "ligru", "star", "cfn", "atr", "ran")),
    *map(Golden, ("multiplicative_lstm", "tau_gru", "brc", "nbrc", "fastrnn", "ur_lstm")),
    *map(Golden, ("indy_lstm", "rhn", "qrnn", "gru_d", "t_lstm", "phased_lstm", "plrnn")),
    *map(Golden, ("ei_rnn", "lowrank_rnn")),
    Golden("lstm", None, {"peepholes": True}),
    Golden("fastgrnn", None, {"rank_ih": 2, "rank_hh": 2}),
    both("sru", **HIGHWAY),
    both("sru_recurrent", "sru", **HIGHWAY, recurrent=True),
    Golden("rtu", None, {}, {"hidden": 6}),
    Golden("ode_rnn", None, MIDPOINT | {"substeps": 2, "width": 7}, MIDPOINT | {"substeps": 2}),
    both("gru_ode", **MIDPOINT, substeps=3),
    Golden(
        "gru_ode_minimal",
        "gru_ode",
        {"method": "euler", "substeps": 3, "minimal": True},
        {"method": "euler", "substeps": 3},
    ),
    Golden("lmu", None, {"order": 6, "theta": 9.0}, {"theta": 9.0}),
    Golden(
        "lmu_linear",
        None,
        {"order": 6, "memory_size": 1, "theta": 9.0, "encoder_activation": jax.nn.relu},
        {"theta": 9.0, "encoder_activation": relu},
    ),
    Golden("alrnn", None, {"rectified_units": 2}, {"rectified": 2}),
]
goldens = pytest.mark.parametrize("golden", CELLS, ids=lambda golden: golden.id)


def assert_equal(golden, state, ys, tolerance):
    """RTU's authors add 1e-8 to its factor of the input."""
    tolerance = max(tolerance, 1e-6) if golden.id == "rtu" else tolerance
    np.testing.assert_allclose(ys, golden["y"], rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(jax.tree.leaves(state), golden.state("end")):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@goldens
def test_reference_equals_other_code(golden):
    p, state, ys = types.SimpleNamespace(**golden.named("p")), golden.state("start"), []
    state = state[0] if len(state) == 1 else tuple(state)
    times = np.ones(len(golden["x"])) if golden.times() is None else golden.times()
    for x, dt in zip(golden["x"], times):
        state, y = REFERENCES[golden.cell](p, state, x, dt, **golden.reference)
        ys.append(y)
    assert_equal(golden, state, np.stack(ys), 1e-12)


def built(golden, dtype):
    sizes = golden["x"].shape[1], golden["y"].shape[1]
    cell = rz.make_cell(golden.cell, *sizes, dtype=dtype, key=jr.key(0), **golden.options)
    return filled(cell, golden, dtype)


def filled(cell, golden, dtype):
    """The cell with the parameters of the file, all of them."""
    given = {name: jnp.asarray(value, dtype) for name, value in golden.named("p").items()}
    ours = {k: v.shape for k, v in vars(arrays(cell)).items() if isinstance(v, np.ndarray)}
    assert {name: value.shape for name, value in given.items()} == ours
    fixed = {name: Fixed(given[name]) for name in given if isinstance(getattr(cell, name), Fixed)}
    return replace(cell, **given | fixed)


def run(cell, golden, dtype):
    """The final state and the outputs, in each of the ways in which the cell can run."""
    like = cell.init_state()
    start = [
        jnp.asarray(value, leaf.dtype)
        for value, leaf in zip(golden.state("start"), jax.tree.leaves(like), strict=True)
    ]
    state = jax.tree.unflatten(jax.tree.structure(like), start)
    xs = jnp.asarray(golden["x"], dtype).reshape(len(golden["x"]), -1)
    dt = None if golden.times() is None else jnp.asarray(golden.times(), dtype)
    return [rz.scan.unroll(cell, xs, state, dt=dt, method=method) for method in methods(cell)]


SINGLE = pytest.param(True, marks=pytest.mark.slow)


@pytest.mark.parametrize("single", [False, SINGLE], ids=["double", "single"])
@goldens
def test_cell_equals_other_code(golden, single):
    if golden.cell not in rz.list_cells():
        pytest.skip("the cell is not registered")
    if single:
        results, tolerance = run(built(golden, jnp.float32), golden, jnp.float32), 1e-5
    else:
        with float64() as dtype:
            results, tolerance = run(built(golden, dtype), golden, dtype), 1e-10
    for state, ys in results:
        assert_equal(golden, state, ys, tolerance)


@pytest.mark.parametrize("name", ["ConvLSTMCell", "ConvGRUCell"])
def test_spatial_cells_equal_other_code(name):
    golden = Golden({"ConvLSTMCell": "conv_lstm", "ConvGRUCell": "conv_gru"}[name])
    if not hasattr(rz.cells, name):
        pytest.skip("there are no spatial cells")
    options = {"peepholes": True} if name == "ConvLSTMCell" else {}
    with float64() as dtype:
        cell = getattr(rz.cells, name)(
            golden["x"].shape[1:], 4, dtype=dtype, key=jr.key(0), **options
        )
        for state, ys in run(filled(cell, golden, dtype), golden, dtype):
            assert_equal(golden, state, ys, 1e-10)


def test_qrnn_behind_a_delay_line_equals_the_authors_window_of_two():
    golden = Golden("qrnn_window", "qrnn")
    if not hasattr(rz.cells, "TappedDelayLine"):
        pytest.skip("there is no delay line")
    with float64() as dtype:
        size, outputs = golden["x"].shape[1], golden["y"].shape[1]
        line = rz.cells.TappedDelayLine(size, taps=2, dtype=dtype)
        cell = rz.make_cell("qrnn", 2 * size, outputs, dtype=dtype, key=jr.key(0))
        stacked = rz.Stacked([line, filled(cell, golden, dtype)])
        start = (line.init_state(), jnp.asarray(golden.state("start")[0]))
        (_, end), ys = rz.scan.unroll(stacked, jnp.asarray(golden["x"]), start)
    assert_equal(golden, end, ys, 1e-10)
