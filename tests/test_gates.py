"""What single gated cells promise beyond the laws of all: how they start, what they hold on to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import draw, noisy

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.scan import trajectory, unroll


KEY = jax.random.key(0)
I, H, T = 3, 5, 8


@pytest.mark.parametrize(
    ("name", "option", "rows"),
    [
        ("janet", "forget_bias", [1, 0]),
        ("ugrnn", "forget_bias", [1, 0]),
        ("indy_lstm", "forget_bias", [0, 1, 0, 0]),
        ("multiplicative_lstm", "forget_bias", [0, 1, 0, 0]),
        ("minimal_rnn", "update_bias", [1]),
        ("ran", "forget_bias", [0, 1]),
        ("star", "update_bias", [-1, 0]),
        ("rhn", "transform_bias", [0, -2]),
    ],
)
def test_a_gate_starts_where_it_is_told(name, option, rows):
    expected = np.repeat(rows, 4).astype(float)
    bias = rz.make_cell(name, I, 4, key=KEY).bias
    np.testing.assert_array_equal(bias, np.broadcast_to(expected, bias.shape))
    bias = rz.make_cell(name, I, 4, key=KEY, **{option: 3.0}).bias
    np.testing.assert_array_equal(bias, np.broadcast_to(np.where(expected, 3.0, 0.0), bias.shape))


def test_starts_of_the_papers():
    fast, grnn = (rz.make_cell(name, 100, 200, key=KEY) for name in ("fastrnn", "fastgrnn"))
    assert (fast.alpha[0], fast.beta[0], grnn.zeta[0], grnn.nu[0]) == (-3, 3, 1, -4)
    for cell in (fast, grnn):
        np.testing.assert_allclose(np.std(cell.weight_hh), 0.1, rtol=0.03)
        np.testing.assert_array_equal(cell.bias, 1)
    np.testing.assert_array_equal(rz.cells.BRCCell(I, H, key=KEY).weight_hh, 1)
    np.testing.assert_array_equal(rz.cells.CFNCell(I, 2, key=KEY).bias, [1, 1, -1, -1])
    u = jax.nn.sigmoid(rz.cells.URLSTMCell(2, 100, key=KEY).bias_gate)
    assert 0.01 <= u.min() < 0.05
    assert 0.95 < u.max() <= 0.99
    for size in (1, 2):
        np.testing.assert_array_equal(rz.cells.URLSTMCell(I, size, key=KEY).bias_gate, 0)
    for name, size in (("lstm", 100), ("lstmp", 200)):
        peep = abs(np.asarray(rz.make_cell(name, I, 100, peepholes=True, key=KEY).weight_peep))
        assert 0.95 < peep.max() * np.sqrt(size) <= 1


def test_lstms_without_peepholes_are_what_they_were():
    for name in ("lstm", "lstmp"):
        plain, seeing = (rz.make_cell(name, I, H, key=KEY, peepholes=p) for p in (False, True))
        assert plain.weight_peep is None
        blind = replace(seeing, weight_peep=jnp.zeros_like(seeing.weight_peep))
        xs = draw(1, (T, I))
        np.testing.assert_array_equal(unroll(plain, xs)[1], unroll(blind, xs)[1])
        assert not np.allclose(unroll(plain, xs)[1], unroll(seeing, xs)[1])


def test_coupled_gates_start_at_the_same_forgetting():
    cell = rz.cells.LSTMCell(I, H, coupled=True, forget_bias=2.0, key=KEY)
    assert cell.weight_ih.shape == (3 * H, I)
    assert cell.weight_hh.shape == (3 * H, H)
    np.testing.assert_array_equal(cell.bias, [*[-2.0] * H, *[0.0] * (2 * H)])
    assert rz.cells.LSTMCell(I, H, coupled=True, peepholes=True, key=KEY).weight_peep.size == 2 * H
    assert rz.list_cells(covers="cifg") == ("lstm",)


def test_janet_stays_below_its_bound_and_reaches_it_nearly():
    cell = rz.cells.JANETCell(1, 1, key=KEY)
    cell = replace(
        cell,
        weight_ih=jnp.array([[0.0], [9.0]]),
        weight_hh=jnp.zeros((2, 1)),
        bias=jnp.array([6.0, 0.0]),
    )
    ys = unroll(cell, jnp.ones((5000, 1)))[1]
    assert 2.7 < ys.max() <= np.e


def test_a_chaos_free_network_comes_to_rest():
    cell = noisy(rz.cells.CFNCell(I, H, key=KEY), 1, scale=2.0)
    state = 3 * draw(2, (H,))
    ys = unroll(cell, jnp.zeros((2000, I)), state)[1]
    np.testing.assert_allclose(ys[-1], 0, atol=0.02)
    assert (abs(np.asarray(ys[1:])) <= abs(np.asarray(ys[:-1]))).all()


def test_a_bistable_unit_keeps_its_side():
    cell = rz.cells.BRCCell(1, 1, key=KEY)
    for bias, held in ((3.0, True), (-3.0, False)):
        cell = replace(cell, bias=jnp.array([bias, 0.0]))
        for side in (1.0, -1.0):
            ys = unroll(cell, jnp.zeros((500, 1)), jnp.array([0.5 * side]))[1]
            assert (side * ys[-1, 0] > 0.5) == held


def test_low_ranks_are_products():
    cell = rz.cells.FastGRNNCell(I, H, rank_ih=2, rank_hh=4, key=KEY)
    assert cell.weight_ih.shape == (H, 2)
    assert cell.weight_hh_right.shape == (4, H)
    full = replace(
        cell,
        weight_ih=cell.weight_ih @ cell.weight_ih_right,
        weight_hh=cell.weight_hh @ cell.weight_hh_right,
        weight_ih_right=None,
        weight_hh_right=None,
    )
    xs = draw(1, (T, I))
    np.testing.assert_allclose(unroll(cell, xs)[1], unroll(full, xs)[1], atol=1e-6)


@pytest.mark.parametrize("delay", [1, 3])
def test_a_delayed_state_is_what_it_was(delay):
    cell = noisy(rz.cells.TauGRUCell(I, H, delay=delay, key=KEY), 1)
    states, ys = trajectory(cell, draw(1, (T, I)))
    for t in range(delay, T):
        np.testing.assert_array_equal(states.past[t], ys[t - delay : t])
    # What stands first in the past acts on the next step, and nothing else of the past does.
    state, x = jax.tree.map(lambda leaf: leaf[-1], states), draw(2, (I,))
    after = [
        cell.step(state._replace(past=state.past.at[row].add(1.0)), x)[1] for row in (0, delay - 1)
    ]
    unchanged = cell.step(state, x)[1]
    assert not np.allclose(after[0], unchanged)
    assert np.array_equal(after[1], unchanged) == (delay > 1)


def test_a_wrong_norm_is_named():
    with pytest.raises(ValueError, match="norm to be None or 'layer', got 'batch': batch norm"):
        rz.cells.LiGRUCell(I, H, norm="batch", key=KEY)
    with pytest.raises(ValueError, match="rank_hh to be an integer of at least 1, got 0"):
        rz.cells.FastGRNNCell(I, H, rank_hh=0, key=KEY)
