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


def test_a_masked_cell_is_the_cell_with_zeros():
    plain = replace(LSTM, weight_hh=LSTM.weight_hh * HALF)
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
    # Its equation reads the weight; the constants of the LSTM have it.
    path = "backbone[0].weight"
    cfc = Masked(rz.make_cell("cfc", I, 4, key=KEY), {path: lambda shape: np.zeros(shape, bool)})
    lost = eqx.tree_at(lambda c: c.dense.backbone[0].weight, cfc, replace_fn=lambda w: w + 1)
    assert_close(unroll(lost, XS), unroll(cfc, XS), 0)
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


def of_rates(name="elman", **options):
    model = rz.make_model(name, I, 2, hidden_size=5, key=KEY, **options)
    lengths = rz.lengths_to_mask(jnp.array([T, 2]), T)
    batch = rz.data.Batch(draw(2, (2, T, I)), jnp.zeros((2, T, 2)), mask=lengths)
    return model, batch if options else batch.__class__(batch.x, jnp.array([0, 1]), lengths)


def test_penalties_are_those_of_the_formula():
    model, batch = of_rates(pool=None)
    loss = rz.train.penalised(
        rz.train.mse, rz.train.rate_penalty(0.5), rz.train.weight_penalty(0.25, power=1)
    )
    value, metrics = loss(model, batch)
    plain, _ = rz.train.mse(model, batch)
    cell = model.layer.layers[0].cell
    runs = [unroll(cell, batch.x[0])[1], unroll(cell, batch.x[1, :2])[1]]
    ys = np.concatenate(runs)
    np.testing.assert_allclose(metrics["rates"], np.mean(ys**2), rtol=1e-6)
    weights = np.mean(np.abs(cell.weight_hh))
    np.testing.assert_allclose(metrics["weights"], weights, rtol=1e-6)
    np.testing.assert_allclose(metrics["data_loss"], plain, rtol=1e-6)
    np.testing.assert_allclose(value, plain + 0.5 * np.mean(ys**2) + 0.25 * weights, rtol=1e-6)
    head = rz.train.weight_penalty(1.0, where=lambda m: m.head.weight)
    value, _ = rz.train.penalised(rz.train.mse, head)(model, batch)
    np.testing.assert_allclose(value - plain, np.mean(model.head.weight**2), rtol=1e-5)


def test_penalties_in_a_training_of_a_model_that_pools():
    model, batch = of_rates()
    options = {"steps": 40, "batch_size": 2, "optimizer": optax.adam(1e-2), "key": KEY}

    def loss(strength):
        return rz.train.penalised(rz.train.cross_entropy, rz.train.rate_penalty(strength))

    assert loss(1.0) == loss(1.0)
    quiet, loud = (
        rz.train.fit(model, batch, batch, loss=loss(s), **options).history[-1] for s in (3.0, 0.0)
    )
    assert quiet["valid_rates"] < 0.5 * loud["valid_rates"]
    wrong = batch.__class__(batch.x, jnp.array([0, 7]), batch.mask)
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        rz.train.fit(model, wrong, loss=loss(1.0), **options)


def test_penalties_that_cannot_be(unchecked):
    with pytest.raises(TypeError, match="a PredictionLoss"):
        rz.train.penalised(lambda model, batch, *, key: 0.0)
    with pytest.raises(TypeError, match="rate_penalty"):
        rz.train.penalised(rz.train.mse, 0.1)
    with pytest.raises(ValueError, match="power"):
        rz.train.rate_penalty(0.1, power=3)
    with pytest.raises(ValueError, match="strength"):
        rz.train.weight_penalty(-0.1)
    model, batch = of_rates(pool=None)
    bare = replace(model, layer=rz.Recurrent(rz.cells.MinGRUCell(I, 5, key=KEY)))
    with pytest.raises(ValueError, match="no weight_hh"):
        rz.train.penalised(rz.train.mse, rz.train.weight_penalty(0.1))(bare, batch)
    with pytest.raises(TypeError, match="observes"):
        rz.train.penalised(rz.train.mse, rz.train.rate_penalty(0.1))(model.layer, batch)
