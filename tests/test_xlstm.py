"""Exponential gates with their stabiliser, and where these cells start."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, float64, noisy

import rnn_zoo as rz


KEY = jr.key(0)
NAMES = ["slstm", "mlstm"]


@pytest.mark.parametrize("name", NAMES)
def test_first_input_counts_in_full_however_small_its_gate(name):
    """Nothing is stored before it: sLSTM gives what is written, mLSTM the sum without a scale."""
    with float64() as dtype:
        cell = noisy(rz.make_cell(name, 3, 8, num_heads=2, dtype=dtype, key=KEY), 1)
        gates, bias = ("bias", cell.bias) if name == "slstm" else ("bias_gates", cell.bias_gates)
        i = slice(0, len(bias) // 4 if name == "slstm" else 2)
        low = rz.base.replace(cell, **{gates: bias.at[i].add(-20.0)})
        x = draw(2, (3,))
        state, y = low.step(low.init_state(), x)
        expected = cell.step(cell.init_state(), x)[1]
        if name == "slstm":
            np.testing.assert_allclose(state.n, 1.0, rtol=1e-12)
            np.testing.assert_allclose(y, expected, rtol=1e-12)
        else:
            weight = abs(np.sum(np.asarray(state.n) * _queries(low, x), 1))
            assert (weight < np.exp(-np.asarray(state.m))).all()
            rows = np.exp(np.asarray(state.m))[:, None]
            unscaled = np.einsum("hk,hkv->hv", _queries(low, x), state.C) * rows
            np.testing.assert_allclose(y, unscaled.ravel(), rtol=1e-12)


def _queries(cell, x):
    count = cell.num_heads * cell.key_size
    q = np.asarray(cell.weight_ih)[:count] @ np.asarray(x)
    return q.reshape(cell.num_heads, cell.key_size) / np.sqrt(cell.key_size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shift", [-60.0, 60.0])
def test_large_gates_give_finite_values_and_gradients(name, shift):
    cell = noisy(rz.make_cell(name, 3, 8, num_heads=2, key=KEY), 1)
    field = "bias" if name == "slstm" else "bias_gates"
    bias = getattr(cell, field)
    i = slice(0, len(bias) // 4 if name == "slstm" else 2)
    xs = draw(3, (40, 3))

    def loss(bias):
        shifted = rz.base.replace(cell, **{field: bias.at[i].add(shift)})
        return abs(rz.scan.unroll(shifted, xs)[1]).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(bias)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert value > 0


@pytest.mark.parametrize("name", NAMES)
def test_stabiliser_leaves_the_outputs_alone(name):
    """A state at another scale is the same one: what is stored times e^s, and m less s."""
    with float64() as dtype:
        cell = noisy(rz.make_cell(name, 3, 8, num_heads=2, dtype=dtype, key=KEY), 1)
        xs = draw(4, (6, 3))
        state, _ = rz.scan.unroll(cell, xs)
        s = np.linspace(-1.0, 2.0, state.m.size).reshape(state.m.shape)
        parts = {"m": state.m - s}
        for part in {"c", "n", "C"} & set(state._fields):
            leaf = getattr(state, part)
            parts[part] = leaf * np.exp(s).reshape(s.shape + (1,) * (leaf.ndim - s.ndim))
        one = rz.scan.unroll(cell, xs, state)[1]
        two = rz.scan.unroll(cell, xs, state._replace(**parts))[1]
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-13)


def test_starts_of_slstm():
    cell = rz.cells.SLSTMCell(50, 60, num_heads=3, key=KEY)
    np.testing.assert_array_equal(cell.weight_hh, np.zeros((4, 3, 20, 20)))
    assert abs(np.std(cell.weight_ih) - np.sqrt(2 / 250)) < 0.01
    i, f, z, o = np.split(np.asarray(cell.bias), 4)
    assert (i == 0).all()
    assert (z == 0).all()
    assert (o == 0).all()
    for head in np.split(f, 3):
        assert (np.diff(head) < 0).all()
        np.testing.assert_allclose(head[[0, -1]], [5.0, -7.0], rtol=1e-6)
    np.testing.assert_array_equal(rz.cells.SLSTMCell(3, 1, key=KEY).bias, [0.0, 5.0, 0.0, 0.0])


def test_starts_of_mlstm():
    cell = rz.cells.MLSTMCell(50, 64, key=KEY)
    assert (cell.num_heads, cell.key_size, cell.value_size) == (4, 8, 16)
    maps, gates = np.asarray(cell.weight_ih)[:-8], np.asarray(cell.weight_ih)[-8:]
    assert abs(np.std(maps) - np.sqrt(2 / 250)) < 0.01
    assert (gates == 0).all()
    i, f = np.split(np.asarray(cell.bias_gates), 2)
    assert 0 < abs(i).max() < 0.5
    np.testing.assert_allclose(f, [3.0, 4.0, 5.0, 6.0])


def test_starts_of_m2rnn():
    cell = rz.cells.M2RNNCell(5, 12, key=KEY)
    assert (cell.num_heads, cell.key_size, cell.value_size) == (4, 12, 3)
    np.testing.assert_array_equal(cell.weight_hh, np.stack([np.eye(3)] * 4))
    assert (np.asarray(cell.D) == 1).all()
    assert ((0 < cell.A_log) & (cell.A_log < np.log(16))).all()
    steps = jax.nn.softplus(cell.bias_dt)
    assert ((0.9e-3 < steps) & (steps < 0.11)).all()


def test_heads_have_to_divide_the_units():
    with pytest.raises(ValueError, match="num_heads to divide hidden_size=8, got 3"):
        rz.cells.SLSTMCell(2, 8, num_heads=3, key=KEY)


def test_states_start_empty():
    assert (rz.cells.SLSTMCell(2, 4, key=KEY).init_state().m == -1e30).all()
    C, n, m = rz.cells.MLSTMCell(2, 4, dtype=jnp.bfloat16, key=KEY).init_state()
    assert (C.dtype, n.dtype, m.dtype) == (jnp.float32,) * 3
    assert (m == np.float32(-1e30)).all()
