"""Where parameters start."""

import jax
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


def test_orthogonal_matrices_are_factorised_one_by_one():
    """jaxlib 0.10.2 waits for ever where factorisations of batches run beside each other."""

    def draw(key):
        return rz.init.orthogonal(key, (8, 4), jnp.float32, blocks=2)

    keys = jr.split(KEY, 3)
    program = str(jax.make_jaxpr(jax.vmap(draw))(keys)).splitlines()
    factorised = [line for line in program if "qr" in line and "f32" in line]
    assert factorised
    assert not [line for line in factorised if "[3,4,4]" in line]
    np.testing.assert_array_equal(jax.vmap(draw)(keys), [draw(key) for key in keys])


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


# Of a cell with a matrix state: the parts of its rows.
RETNET = {"q": 8, "k": 8, "v": 40}


def test_matrix_cells_start_like_linear_layers():
    for name in ("linear_attention", "gla", "hgrn2", "mamba2"):
        cell = rz.make_cell(name, 25, 40, key=KEY)
        assert 0.19 < abs(np.asarray(cell.weight_ih)).max() <= 0.2
        bias = abs(np.asarray(cell.bias)).max()
        assert 0.18 < bias <= 0.2 if name == "linear_attention" else bias == 0
    gate = rz.make_cell("gla", 25, 40, key=KEY)
    assert 0.24 < abs(np.asarray(gate.weight_gate)).max() <= 0.25
    assert not np.asarray(gate.bias_gate).any()


def test_matrix_parts_of_retention_have_fans_of_their_own():
    cell = rz.cells.RetNetCell(100, 40, num_heads=4, key_size=2, key=KEY)
    ends = np.cumsum(list(RETNET.values()))[:-1]
    for part, rows in zip(np.split(np.asarray(cell.weight_ih), ends), RETNET.values()):
        bound = 2**-2.5 * np.sqrt(6 / (rows + 100))
        assert 0.98 * bound < abs(part).max() <= bound


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_matrix_rates_and_steps_of_mamba2(dtype):
    cell = rz.cells.Mamba2Cell(3, 4000, num_heads=2000, dtype=dtype, key=KEY)
    rates = np.exp(np.asarray(cell.A_log, np.float64))
    steps = np.log1p(np.exp(np.asarray(cell.bias_dt, np.float64)))
    loose = 0.02 if dtype == jnp.bfloat16 else 1e-5
    assert 1 - loose <= rates.min() < 1.1
    assert 15.8 < rates.max() <= 16 * (1 + loose)
    assert abs(rates.mean() - 8.5) < 0.4
    assert 0.001 * (1 - 2 * loose) <= steps.min() < 0.00103
    assert 0.097 < steps.max() <= 0.1 * (1 + 2 * loose)
    assert abs(np.log(steps).mean() - np.log(0.01)) < 0.1
    np.testing.assert_array_equal(cell.D, 1)
    steps = rz.cells.Mamba2Cell(3, 40, num_heads=40, step_range=(1e-6, 1e-6), key=KEY).bias_dt
    np.testing.assert_allclose(np.log1p(np.exp(np.asarray(steps, np.float64))), 1e-4, rtol=1e-3)
