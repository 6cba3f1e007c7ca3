"""Where parameters start."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz


KEY = jr.key(0)


@pytest.mark.parametrize("name", ["elman", "leaky_elman", "lstm", "gru", "mgu"])
def test_recurrent_blocks_are_orthogonal_and_differ(name):
    weights = rz.make_cell(name, 3, 16, key=KEY).weight_hh
    blocks = np.asarray(weights).reshape(-1, 16, 16)
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(16), atol=1e-5)
    for i in range(len(blocks)):
        for j in range(i):
            assert not np.allclose(blocks[i], blocks[j])


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "mgu", "mingru", "minlstm"])
def test_input_blocks_are_glorot_uniform(name):
    weights = np.asarray(rz.make_cell(name, 40, 60, key=KEY).weight_ih)
    bound = np.sqrt(6 / (40 + 60))
    assert abs(weights).max() <= bound
    assert abs(weights).max() > 0.97 * bound
    assert abs(weights.std() - bound / np.sqrt(3)) < 0.02 * bound


@pytest.mark.parametrize(("name", "start"), [("lstm", 4), ("mgu", 0), ("minlstm", 0)])
def test_forget_bias_is_the_forget_gates(name, start):
    bias = np.asarray(rz.make_cell(name, 3, 4, key=KEY).bias)
    expected = np.zeros_like(bias)
    expected[start : start + 4] = 1.0
    np.testing.assert_array_equal(bias, expected)
    other = rz.make_cell(name, 3, 4, forget_bias=-2.0, key=KEY).bias
    np.testing.assert_array_equal(other, -2.0 * expected)


def test_lstmp_starts_like_an_lstm_of_its_cell_size():
    cell = rz.cells.LSTMPCell(40, 60, cell_size=90, forget_bias=2.0, key=KEY)
    np.testing.assert_array_equal(cell.bias, np.repeat([0.0, 2.0, 0.0, 0.0], 90))
    for weights, fans in [(cell.weight_ih, 130), (cell.weight_hh, 150), (cell.weight_hr, 150)]:
        assert 0.97 * np.sqrt(6 / fans) < abs(np.asarray(weights)).max() <= np.sqrt(6 / fans)
    assert rz.cells.LSTMPCell(3, 4, key=KEY).cell_size == 8


def test_lstm_forget_gate_at_zero_is_sigmoid_of_one():
    cell = rz.cells.LSTMCell(3, 4, key=KEY)
    state, _ = cell.step(rz.cells.LSTMState(jnp.zeros(4), jnp.ones(4)), jnp.zeros(3))
    np.testing.assert_allclose(state.c, 1 / (1 + np.exp(-1.0)) * np.ones(4), rtol=1e-6)


def test_indrnn_range():
    weights = np.asarray(rz.cells.IndRNNCell(3, 500, recurrent_range=(0.8, 0.9), key=KEY).weight_hh)
    assert weights.min() >= 0.8
    assert weights.max() <= 0.9
    assert weights.std() > 0.02


def test_lru_ring():
    cell = rz.cells.LRUCell(3, 4000, r_min=0.5, r_max=0.9, max_phase=1.0, key=KEY)
    modulus, phase = np.exp(-np.exp(cell.nu_log)), np.exp(cell.theta_log)
    assert modulus.min() >= 0.499
    assert modulus.max() <= 0.901
    assert phase.max() <= 1.0
    # Uniform by area: |lambda|^2 is uniform on [r_min^2, r_max^2].
    np.testing.assert_allclose(np.mean(modulus**2), (0.25 + 0.81) / 2, atol=0.01)
    np.testing.assert_allclose(np.mean(phase), 0.5, atol=0.02)
    np.testing.assert_allclose(np.exp(cell.gamma_log), np.sqrt(1 - modulus**2), rtol=1e-4)


def test_lru_is_stable_and_finite_on_the_whole_disk():
    cell = rz.cells.LRUCell(3, 4000, key=KEY)
    modulus = np.exp(-np.exp(np.asarray(cell.nu_log)))
    assert modulus.max() < 1
    for leaf in (cell.nu_log, cell.theta_log, cell.gamma_log):
        assert np.isfinite(leaf).all()


def test_lru_projections():
    cell = rz.cells.LRUCell(50, 60, key=KEY)
    np.testing.assert_allclose(np.std(cell.B), 1 / np.sqrt(2 * 50), rtol=0.05)
    np.testing.assert_allclose(np.std(cell.C), 1 / np.sqrt(60), rtol=0.05)
    np.testing.assert_allclose(np.std(cell.D), 1 / np.sqrt(50), rtol=0.05)
    assert not np.allclose(cell.B[0], cell.B[1])
