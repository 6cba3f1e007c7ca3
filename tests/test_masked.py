"""Weights that are not there, and what penalties of rates and weights add to a loss."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import I, T, assert_close, draw

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.scan import unroll
from rnn_zoo.wrappers import Masked


KEY = jr.key(0)
XS = draw(1, (T, I))
LSTM = rz.cells.LSTMCell(I, 5, key=KEY)
HALF = np.arange(100).reshape(20, 5) % 2 == 0
MASKED = Masked(LSTM, {"weight_hh": HALF})


def by_hand(cell, **weights):
    return replace(cell, **weights)


def test_a_masked_cell_is_the_cell_with_zeros():
    plain = by_hand(LSTM, weight_hh=LSTM.weight_hh * HALF)
    assert_close(unroll(MASKED, XS), unroll(plain, XS), 0)
    np.testing.assert_array_equal(MASKED.cell.weight_hh, plain.weight_hh)
    picked = Masked(LSTM, {lambda c: c.weight_hh: lambda shape: HALF.reshape(shape)})
    assert picked.paths == ("weight_hh",)
    assert_close(unroll(picked, XS), unroll(plain, XS), 0)


@pytest.mark.parametrize(("name", "path"), [("cfc", "backbone[0].weight"), ("gla", "weight_ih")])
def test_any_weight_of_any_cell(name, path):
    cell = rz.make_cell(name, I, 4, key=KEY)
    masked = Masked(cell, {path: lambda shape: np.zeros(shape, bool)})
    weight = masked.cell.backbone[0].weight if name == "cfc" else masked.cell.weight_ih
    assert not np.any(weight)
    assert_close(unroll(masked, XS), unroll(masked.cell, XS), 0)
    assert (masked.linear, masked.timed) == (cell.linear, cell.timed)


def test_a_masked_weight_stays_zero_under_decay_noise_and_momentum():
    optimizer = optax.chain(
        optax.add_noise(0.1, 0.5, jr.key(1)), optax.adamw(1e-2, weight_decay=0.1)
    )

    def loss(cell):
        return jnp.sum(unroll(cell, XS)[1] ** 2)

    @eqx.filter_jit
    def step(cell, state):
        gradient = eqx.filter_grad(loss)(cell)
        updates, state = optimizer.update(gradient, state, eqx.filter(cell, eqx.is_inexact_array))
        return eqx.apply_updates(cell, updates), state, gradient

    cell, state = MASKED, optimizer.init(eqx.filter(MASKED, eqx.is_inexact_array))
    for _ in range(3):
        cell, state, gradient = step(cell, state)
        assert not np.any(gradient.dense.weight_hh[~HALF])
        assert np.all(gradient.dense.weight_hh[HALF])
    assert not np.any(cell.cell.weight_hh[~HALF])
    assert np.all(cell.cell.weight_hh[HALF] != LSTM.weight_hh[HALF])
    np.testing.assert_array_equal(cell.masks[0], HALF)


def test_what_is_behind_a_mask_does_not_matter():
    spoilt = eqx.tree_at(
        lambda c: c.dense.weight_hh, MASKED, jnp.where(HALF, LSTM.weight_hh, jnp.nan)
    )
    assert_close(unroll(spoilt, XS), unroll(MASKED, XS), 0)
    gradient = eqx.filter_grad(lambda c: jnp.sum(unroll(c, XS)[1]))(spoilt)
    assert np.isfinite(gradient.dense.weight_hh).all()


def test_a_weight_that_is_fixed_is_masked_as_well():
    cell = rz.cells.EIRNNCell(I, 4, key=KEY)
    silent = np.array([True, False, True, True])
    masked = Masked(cell, {"signs": silent})
    np.testing.assert_array_equal(masked.cell.signs.value, cell.signs.value * silent)
    frozen = Masked(rz.Frozen(LSTM), {"fixed.weight_hh": HALF})
    around = rz.Frozen(MASKED)
    for one in (frozen, around):
        assert_close(unroll(one, XS), unroll(MASKED, XS), 0)
        assert not jax.tree.leaves(eqx.filter(one, eqx.is_inexact_array))


def test_a_masked_cell_is_kept_in_a_file_and_dropped_out(tmp_path):
    rz.train.save(tmp_path / "cell.rz", MASKED)
    again = rz.train.load(tmp_path / "cell.rz")
    assert again.paths == MASKED.paths
    assert_close(unroll(again, XS), unroll(MASKED, XS), 0)
    dropped = rz.VariationalDropout(MASKED, state_rate=0.4)
    same = rz.VariationalDropout(MASKED.cell, state_rate=0.4)
    assert_close(unroll(dropped, XS, key=KEY)[1], unroll(same, XS, key=KEY)[1], 0)


def test_masks_that_do_not_fit(unchecked):
    with pytest.raises(ValueError, match=r"for 4 equal blocks write jnp.tile\(mask, \(4, 1\)\)"):
        Masked(LSTM, {"weight_hh": np.ones((5, 5), bool)})
    with pytest.raises(ValueError, match=r"of its shape \(20, 5\), got shape \(5,\)"):
        Masked(LSTM, {"weight_hh": np.ones(5, bool)})
    with pytest.raises(TypeError, match="write mask != 0"):
        Masked(LSTM, {"weight_hh": np.ones((20, 5))})
    with pytest.raises(ValueError, match="did you mean 'weight_hh'"):
        Masked(LSTM, {"weights_hh": HALF})
    with pytest.raises(ValueError, match="picks one weight of LSTMCell"):
        Masked(LSTM, {lambda cell: cell: HALF})
    with pytest.raises(ValueError, match="one mask for a weight"):
        Masked(LSTM, {"weight_hh": HALF, ".weight_hh": HALF})
    with pytest.raises(ValueError, match="got none"):
        Masked(LSTM, {})
    with pytest.raises(TypeError, match="expected a cell"):
        Masked(rz.Bidirectional(LSTM, LSTM), {"weight_hh": HALF})
