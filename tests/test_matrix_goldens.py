"""Cells with a matrix state equal their authors' code: the values of golden/make_matrix.py."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64, methods
from references_matrix import MATRIX_REFERENCES, mlstm_unstabilised

import rnn_zoo as rz
from rnn_zoo.base import replace


GOLDEN = np.load(Path(__file__).parent / "golden" / "matrix.npz")
NO_MAP = {"input_map": False}
HEADS = {"num_heads": 4, "key_size": 4}
LOW_RANK = {"rank": 2}
EPS = 1e-10 * 4**0.5


@dataclasses.dataclass(frozen=True)
class Golden:
    """A cell of the file: its options for `make_cell`, and those of its reference."""

    name: str
    options: dict = dataclasses.field(default_factory=dict)
    reference: dict = dataclasses.field(default_factory=dict)

    def __getitem__(self, part):
        return GOLDEN[f"{self.name}/{part}"]

    def parameters(self):
        start = f"{self.name}/p/"
        return {k.removeprefix(start): GOLDEN[k] for k in GOLDEN.files if k.startswith(start)}


CELLS = [
    Golden("linear_attention", NO_MAP | HEADS | {"eps": EPS}, {"eps": EPS}),
    Golden("retnet", NO_MAP | HEADS),
    Golden("gla", NO_MAP | HEADS | LOW_RANK),
    Golden("hgrn2", NO_MAP | HEADS | {"lower_bound": 0.25}, {"lower_bound": 0.25}),
    Golden("mamba2", NO_MAP | HEADS | {"num_groups": 2}, {"groups": 2}),
    Golden("deltanet", NO_MAP | HEADS),
    Golden("gated_deltanet", NO_MAP | HEADS | {"negative_eigenvalues": True}, {"negative": True}),
    Golden("kda", NO_MAP | HEADS | LOW_RANK),
    Golden("delta_product", NO_MAP | HEADS | {"num_products": 3}, {"products": 3}),
    Golden("rwkv7", NO_MAP | HEADS | LOW_RANK),
    Golden("mlstm", NO_MAP | HEADS),
    Golden("slstm", {"num_heads": 2}),
    Golden("m2rnn", NO_MAP | HEADS),
    Golden("pd_ssm", {"state_size": 7, "num_matrices": 3}),
]
goldens = pytest.mark.parametrize("golden", CELLS, ids=lambda golden: golden.name)


def empty_mlstm():
    return np.zeros((4, 4, 3)), np.zeros((4, 4)), np.full(4, -1e30)


def first_state(golden):
    """Of mlstm the authors begin at m = 0 and we at -1e30, both with nothing stored."""
    return empty_mlstm() if golden.name == "mlstm" else golden["start"]


def last_state(golden, state):
    """As the file has it: of mlstm without its scale; None where the authors give no state."""
    if golden.name == "mlstm":
        C, n, m = state
        return np.concatenate([C, n[..., None]], -1) * np.exp(m)[:, None, None]
    if golden.name == "slstm":
        return np.stack(state)
    return state if golden["end"].size else None


def assert_equal(golden, state, ys, tolerance):
    np.testing.assert_allclose(ys, golden["y"], rtol=tolerance, atol=tolerance)
    state = last_state(golden, state)
    if state is not None:
        np.testing.assert_allclose(state, golden["end"], rtol=tolerance, atol=tolerance)


@goldens
def test_reference_equals_the_authors(golden):
    p, state, ys = types.SimpleNamespace(**golden.parameters()), first_state(golden), []
    for x in golden["x"]:
        state, y = MATRIX_REFERENCES[golden.name](p, state, x, 1.0, **golden.reference)
        ys.append(y)
    assert_equal(golden, state, np.stack(ys), 1e-12)


def test_stabilised_mlstm_equals_its_equation():
    p = types.SimpleNamespace()
    state = empty_mlstm()
    plain = state[:2]
    for x in GOLDEN["mlstm/x"]:
        state, y = MATRIX_REFERENCES["mlstm"](p, state, x, 1.0)
        plain, plain_y = mlstm_unstabilised(p, plain, x, 1.0)
        np.testing.assert_allclose(y, plain_y, rtol=1e-12, atol=1e-12)


def built(golden, dtype):
    """The cell with the parameters of the file."""
    cell = rz.make_cell(
        golden.name,
        golden["x"].shape[1],
        golden["y"].shape[1],
        dtype=dtype,
        key=jr.key(0),
        **golden.options,
    )
    given = {name: jnp.asarray(value, dtype) for name, value in golden.parameters().items()}
    for name, value in given.items():
        assert getattr(cell, name).shape == value.shape, name
    zero = {"bias", "bias_gates"} - set(given)
    given |= {
        name: jnp.zeros_like(getattr(cell, name))
        for name in zero
        if getattr(cell, name, None) is not None
    }
    return replace(cell, **given)


def run(golden, dtype):
    """The final state and the outputs, in each of the ways in which the cell can run."""
    cell = built(golden, dtype)
    like, leaves = cell.init_state(), first_state(golden)
    leaves = [leaves] if len(jax.tree.leaves(like)) == 1 else list(leaves)
    start = [jnp.asarray(v, leaf.dtype) for v, leaf in zip(leaves, jax.tree.leaves(like))]
    state = jax.tree.unflatten(jax.tree.structure(like), start)
    xs = jnp.asarray(golden["x"], dtype)
    return [rz.scan.unroll(cell, xs, state, method=method) for method in methods(cell)]


@goldens
def test_cell_equals_the_authors(golden):
    with float64() as dtype:
        for state, ys in run(golden, dtype):
            assert_equal(golden, state, ys, 1e-10)


@goldens
def test_cell_in_single_precision_equals_the_authors(golden):
    for state, ys in run(golden, jnp.float32):
        assert_equal(golden, state, ys, 1e-5)
