"""Systems that are drawn to data while they learn, against loops in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import draw, float64

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.models import EncodedStart, InputForced, StateForced
from rnn_zoo.train import MultipleShooting, TeacherForcing, product_growth, segments


KEY = jr.key(0)
SEEN, UNITS, TIME = 2, 4, 9


def shallow(readout=False):
    cell = rz.cells.ShallowPLRNNCell(1, UNITS, latent_size=6, key=KEY)
    return StateForced(cell, SEEN, readout=readout, key=jr.key(1))


def observations(samples=3, time=TIME, size=SEEN):
    series = np.asarray(draw(5, (samples, time + 1, size)))
    return Batch(series[:, :-1], series[:, 1:])


def array(leaf):
    return np.asarray(leaf, np.float64)


def numpy_loss(model, batch, shares):
    """The mean squared error of forced forecasts of a `shallow` model, step by step."""
    p = model.cell
    a = np.clip(array(p.diagonal), -1, 1)
    observed = np.eye(SEEN, UNITS) if model.weight is None else array(model.weight)
    shift = np.zeros(SEEN) if model.bias is None else array(model.bias)
    errors = []
    for x, y in zip(array(batch.x), array(batch.y)):
        z = np.zeros(UNITS)
        for share, now, later in zip(shares, x, y):
            z = z + share * np.linalg.pinv(observed) @ (now - observed @ z - shift)
            u = array(p.weight_2) @ z
            v = np.maximum(u + array(p.bias_2), 0) - np.maximum(u, 0)
            z = a * z + array(p.weight_1) @ v + array(p.bias)
            errors.append((observed @ z + shift - later) ** 2)
    return np.mean(errors)


@pytest.mark.parametrize("readout", [False, True], ids=["first_units", "readout"])
@pytest.mark.parametrize(
    ("alpha", "every"), [(0.0, 1), (0.3, 1), (1.0, 1), (1.0, 3)], ids=lambda v: str(v)
)
def test_forced_forecasts_are_those_of_a_loop(readout, alpha, every):
    model, batch = shallow(readout), observations()
    shares = np.where(np.arange(TIME) % every == 0, alpha, 0.0)
    shares[0] = 1
    value, metrics = TeacherForcing(alpha, every)(model, batch)
    np.testing.assert_allclose(value, numpy_loss(model, batch, shares), rtol=2e-5)
    assert metrics["alpha"] == np.float32(alpha)


def test_gradients_are_those_of_finite_differences():
    with float64():
        model, batch = shallow(True), jax.tree.map(array, observations())
        shares = np.array([1.0] + [0.3] * (TIME - 1))
        slopes = eqx.filter_jit(eqx.filter_grad(lambda m: TeacherForcing(0.3)(m, batch)[0]))(model)
        for where in (lambda m: m.cell.weight_1, lambda m: m.weight, lambda m: m.bias):
            leaf, entry = array(where(model)), (0,) * where(model).ndim
            ends = []
            for shift in (1e-5, -1e-5):
                moved = leaf.copy()
                moved[entry] += shift
                ends.append(numpy_loss(eqx.tree_at(where, model, moved), batch, shares))
            np.testing.assert_allclose(where(slopes)[entry], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_what_is_not_observed_draws_to_nothing():
    model, batch = shallow(), observations(1)
    x = np.asarray(batch.x).copy()
    x[0, 4:] = np.nan
    value, _ = TeacherForcing(1.0)(model, Batch(x, batch.y))
    shares = np.where(np.arange(TIME) < 4, 1.0, 0.0)
    np.testing.assert_allclose(value, numpy_loss(model, batch, shares), rtol=2e-5)


def test_forcing_of_inputs_lies_between_next_samples_and_a_closed_loop():
    cell, batch = rz.cells.GRUCell(SEEN, 5, key=KEY), observations()
    model = InputForced(cell, key=jr.key(1))
    ys = rz.batch(rz.Recurrent(cell))(batch.x)
    said = batch.x + ys @ model.readout.weight.T + model.readout.bias
    value, _ = TeacherForcing(1.0)(model, batch)
    np.testing.assert_allclose(value, np.mean((said - batch.y) ** 2), rtol=1e-5)

    alone = InputForced(cell, model.readout, skip=False)
    free = TeacherForcing(0.0)(alone, batch)[0]
    errors = []
    step = eqx.filter_jit(cell.step)
    for x, y in zip(batch.x, batch.y):
        state, seen = cell.init_state(), jnp.asarray(x[0])
        for later in y:
            state, out = step(state, seen)
            seen = model.readout(out)
            errors.append((seen - later) ** 2)
    np.testing.assert_allclose(free, np.mean(errors), rtol=1e-5)


def test_a_forecast_goes_on_where_the_data_end():
    model, xs = shallow(), observations(1).x[0]
    inputs = np.zeros((TIME + 6, SEEN + 1), np.float32)
    for share in (1.0, 0.3):
        inputs[:TIME, :SEEN], inputs[0, SEEN], inputs[1:TIME, SEEN] = xs, 1, share
        _, ys = rz.scan.unroll(model, inputs)
        np.testing.assert_allclose(model.forecast(xs, 7, share=share), ys[TIME - 1 :], rtol=1e-6)


def test_the_encoder_gives_the_state_before_the_first_forecast():
    model = EncodedStart(shallow(), 3, width=0, key=KEY)
    batch = observations(1)
    weight = np.zeros((UNITS, 3 * SEEN), np.float32)
    weight[:, :4] = np.eye(4)
    model = eqx.tree_at(lambda m: m.encoder.layers[0].weight, model, weight)
    model = eqx.tree_at(lambda m: m.encoder.layers[0].bias, model, np.full(4, 0.5, np.float32))
    start = np.ravel(batch.x[0, :2]) + 0.5
    np.testing.assert_allclose(model.start(batch.x[0]), start, rtol=1e-6)
    xs = jnp.asarray(batch.x[0])
    shares = jnp.array([1.0] + [0.2] * (TIME - 3))[:, None]
    _, said = rz.scan.unroll(model.model, jnp.concatenate([xs[2:], shares], axis=1), start)
    value, _ = TeacherForcing(0.2)(model, batch)
    np.testing.assert_allclose(value, np.mean((said - batch.y[0, 2:]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(
        model.forecast(xs, 4), model.model.forecast(xs[2:], 4, start), rtol=1e-6
    )


def linear(matrix):
    step = rz.adopt(
        lambda h, x: jnp.asarray(matrix, jnp.float32) @ h + 0 * x[0],
        input_size=1,
        init_state=jnp.zeros(len(matrix)),
    )
    return StateForced(step, 2)


def test_the_adaptive_share_holds_the_growth():
    matrix = np.array([[1.1, 0.9, 0.0], [0.0, 1.3, 0.2], [0.1, 0.0, 0.4]])
    model, batch = linear(matrix), observations()
    growth = np.linalg.norm(np.linalg.matrix_power(matrix, TIME), 2) ** (1 / TIME)
    np.testing.assert_allclose(product_growth(model, batch.x[0]), growth, rtol=1e-5)
    _, metrics = TeacherForcing("adaptive")(model, batch)
    np.testing.assert_allclose(metrics["alpha"], 1 - 1 / growth, rtol=1e-4)
    assert TeacherForcing("adaptive")(linear(matrix / 4), batch)[1]["alpha"] == 0


def test_a_schedule_is_one_of_steps():
    schedule = optax.linear_schedule(1.0, 0.0, 4)
    options = {"optimizer": optax.sgd(0.01), "steps": 3, "batch_size": 3, "key": KEY}
    batch = observations()
    result = rz.train.fit(
        shallow(), batch, batch, loss=TeacherForcing(schedule), eval_every=1, **options
    )
    np.testing.assert_allclose([row["train_alpha"] for row in result.history], [1.0, 0.75, 0.5])
    assert {row["valid_alpha"] for row in result.history} == {0.0}


def test_segments_that_follow_one_another():
    model = shallow()
    xs = np.asarray(model.forecast(observations(1).x[0], 26))
    made, batch = segments(model, xs, 5)
    assert batch.x.shape == (5, 6, SEEN)
    np.testing.assert_array_equal(batch.x[1:, 0], batch.x[:-1, -1])
    np.testing.assert_allclose(made.starts[:, :SEEN], batch.x[:, 0], rtol=1e-6)
    # Along the true states there is nothing to learn.
    state, _ = rz.scan.unroll(model, np.c_[observations(1).x[0], np.ones(TIME)])
    states, _ = rz.scan.trajectory(model, np.zeros((25, SEEN + 1)), state)
    starts = np.concatenate([np.asarray(state)[None], states])[:-1:5]
    true = eqx.tree_at(lambda m: m.starts, made, jnp.asarray(starts))
    value, metrics = MultipleShooting(3.0)(true, batch)
    np.testing.assert_allclose([value, metrics["gap"]], 0, atol=1e-10)
    # The last start, off by one in one of four entries, is one gap of four.
    off = eqx.tree_at(lambda m: m.starts, true, true.starts.at[4, 2].add(1))
    _, metrics = MultipleShooting()(off, batch)
    np.testing.assert_allclose(metrics["gap"], 1 / 4 / 4, rtol=1e-5)
    options = {"optimizer": optax.adam(0.02), "steps": 40, "batch_size": 5, "key": KEY}
    moved = eqx.tree_at(lambda m: m.starts, true, true.starts + 0.3)
    result = rz.train.fit(moved, batch, loss=MultipleShooting(), **options)
    before, after = (MultipleShooting()(m, batch)[0] for m in (moved, result.model))
    assert after < 0.2 * before


@pytest.mark.parametrize("name", ["lstm", "lru", "cfc"])
def test_any_cell_can_be_forced(name):
    """Two arrays, complex numbers, a physical time."""
    batch = observations(2, size=3)
    cell = rz.make_cell(name, 3, 4, key=KEY)
    for model in (InputForced(cell, key=KEY), StateForced(cell, 3, readout=True, key=KEY)):
        value, slopes = eqx.filter_jit(
            eqx.filter_value_and_grad(lambda m: TeacherForcing(0.5)(m, batch)[0])
        )(model)
        assert np.isfinite(value)
        assert optax.tree.norm(slopes) > 0
        assert model.forecast(batch.x[0], 5).shape == (5, 3)


def test_wrong_uses_are_named():
    model, batch = shallow(), observations()
    for alpha in (-0.1, 1.1, "adapt"):
        with pytest.raises(ValueError, match='from 0 to 1, a schedule or "adaptive"'):
            TeacherForcing(alpha)
    with pytest.raises(ValueError, match="every"):
        TeacherForcing(1.0, 0)
    with pytest.raises(TypeError, match="StateForced, InputForced or EncodedStart, got GRUCell"):
        TeacherForcing()(rz.cells.GRUCell(2, 3, key=KEY), batch)
    with pytest.raises(TypeError, match="without mask and reset"):
        TeacherForcing()(model, Batch(batch.x, batch.y, np.ones((3, TIME), bool)))
    with pytest.raises(ValueError, match=r"x of shape \(samples, time, 2\)"):
        TeacherForcing()(model, observations(size=3))
    with pytest.raises(ValueError, match="observed of at most 4"):
        StateForced(model.cell, 5)
    with pytest.raises(ValueError, match="key, which draws the readout"):
        StateForced(model.cell, 2, readout=True)
    with pytest.raises(ValueError, match=r"gives \(3,\), what the cell reads, got \(4,\)"):
        InputForced(rz.cells.GRUCell(3, 4, key=KEY), lambda y: y)
    with pytest.raises(TypeError, match="the model that rz.train.segments makes"):
        MultipleShooting()(model, batch)
    with pytest.raises(ValueError, match="at least 21 steps"):
        segments(model, np.zeros((20, 2)), 10)
    with pytest.raises(ValueError, match=r"xs of shape \(time, 2\) with at least 1 steps"):
        model.forecast(np.zeros((0, 2)), 3)
    with pytest.raises(TypeError, match="StateForced or an InputForced, got GRUCell"):
        EncodedStart(rz.cells.GRUCell(2, 3, key=KEY), key=KEY)
