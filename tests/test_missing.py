"""What is missing, NaN: a target that was not observed; anything else that is not finite is named.

And sums of a ridge, which keep their 64 bits on every road or are refused.
"""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import rnn_zoo as rz
from rnn_zoo.reservoir import LeastMeanSquares, NormalEquations, RecursiveLeastSquares, ridge


KEY = jr.key(0)
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(3, 40, 2)).astype(np.float32)
YS = np.stack([XS[..., 0] + 1, 0.5 * XS[..., 1], XS.sum(-1)], -1).astype(np.float32)
YS = np.roll(YS, 1, axis=1)
GAPS = YS.copy()
GAPS[RNG.random(YS.shape) < 0.3] = np.nan
GAPS[1, 5:9] = np.nan


def esn(outputs=3, **options):
    return rz.EchoStateNetwork(rz.cells.EchoStateCell(2, 12, key=KEY), outputs, **options)


def states(xs, mask=None):
    return np.float64(rz.batch(esn().layer)(xs, mask=mask))


def least_squares(R, Y, penalty):
    """Of each target over the samples that it was observed in, in NumPy float64."""
    weights, biases = [], []
    for y in np.float64(Y).T:
        keep = ~np.isnan(y)
        r, t = R[keep] - R[keep].mean(0), y[keep] - y[keep].mean()
        w = np.linalg.solve(r.T @ r + penalty * np.eye(R.shape[1]), r.T @ t)
        weights.append(w)
        biases.append(y[keep].mean() - w @ R[keep].mean(0))
    return np.stack(weights), np.stack(biases)


def assert_readout(readout, expected, rtol=2e-4):
    for one, two in zip((readout.weight, readout.bias), expected):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol * np.abs(two).max())


# --- ridge ----------------------------------------------------------------------------------------


def test_a_missing_target_leaves_its_step_out_for_its_output_alone():
    expected = least_squares(states(XS).reshape(-1, 12), GAPS.reshape(-1, 3), 1e-2)
    network = esn().fit_readout(XS, GAPS, ridge=1e-2)
    assert_readout(network.readout, expected)
    one, two = (esn().normal_equations(XS[p], GAPS[p]) for p in (slice(0, 1), slice(1, 3)))
    assert one.per_target
    assert_readout((one + two).solve(1e-2), expected)
    path = (two + one).path(np.array([1.0, 1e-2]))
    assert path.weight.shape == (2, 3, 12)
    assert_readout(jax.tree.map(lambda a: a[1], path), expected)
    # Some parts with gaps, some without.
    mixed = GAPS.copy()
    mixed[2] = YS[2]
    whole = esn().normal_equations(XS[2], YS[2])
    assert not whole.per_target
    both = sum([whole, esn().normal_equations(XS[:2], mixed[:2])])
    assert_readout(
        both.solve(1e-2), least_squares(states(XS).reshape(-1, 12), mixed.reshape(-1, 3), 1e-2)
    )


def test_a_step_without_any_target_is_a_masked_one_under_jit_too():
    ys = YS.copy()
    ys[:, 3:20] = np.nan
    R, Y = states(XS).reshape(-1, 12), ys.reshape(-1, 3)
    expected = least_squares(R, Y, 1e-2)

    def fit(xs, ys):
        return esn().fit_readout(xs, ys, ridge=1e-2).readout

    assert_readout(fit(XS, ys), expected)
    assert_readout(jax.jit(fit)(XS, ys), expected)
    assert_readout(ridge(R, Y, 1e-2), expected)
    with pytest.raises(RuntimeError, match="some of its targets and not all"):
        eqx.filter_jit(fit)(XS, GAPS)
    alone = jax.jit(lambda ys: esn(1).fit_readout(XS, ys, ridge=1e-2).readout)(GAPS[..., 1:2])
    assert_readout(alone, least_squares(R, GAPS[..., 1:2].reshape(-1, 1), 1e-2))


def test_a_pooled_readout_with_missing_targets():
    ys = np.where(np.eye(3, dtype=bool), np.nan, YS[:, 7])
    network = esn(pool="last").fit_readout(XS, ys, ridge=1e-2)
    assert_readout(network.readout, least_squares(states(XS)[:, -1], ys, 1e-2))


def test_sequences_of_different_length_come_as_a_list():
    lengths = (40, 7, 23)
    mask = np.arange(40) < np.array(lengths)[:, None]
    xs, ys = ([a[i, :n] for i, n in enumerate(lengths)] for a in (XS, YS))
    expected = esn().fit_readout(XS, YS, mask=mask, washout=3).readout
    assert_readout(esn().fit_readout(xs, ys, washout=3).readout, (expected.weight, expected.bias))
    space = esn(pool=rz.reservoir.ModelSpace(3), outputs=2)
    one = space.fit_readout(xs, [0, 1, 1], dt=[np.ones(n) for n in lengths])
    two = space.fit_readout(XS, np.array([0, 1, 1]), mask=mask)
    assert_readout(one.readout, (two.readout.weight, two.readout.bias), 1e-3)
    with pytest.raises(ValueError, match=r"ys as a list of arrays of \[40, 7, 23\] steps"):
        esn().fit_readout(xs, ys[::-1])


# --- online ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [RecursiveLeastSquares(), LeastMeanSquares(0.05)])
def test_a_rule_learns_each_output_where_it_is_observed(rule):
    network, said = esn().fit_online(XS[0], GAPS[0], rule=rule)
    for i in range(3):
        keep = ~np.isnan(GAPS[0, :, i])
        readout = rule.init(jnp.zeros((1, 13)))
        for r, y in zip(states(XS[:1])[0][keep], GAPS[0, keep, i]):
            readout = rule.update(readout, jnp.asarray(r, jnp.float32), jnp.asarray([y]))
        np.testing.assert_allclose(network.readout.weight[i], readout.weight[0, :-1], atol=1e-4)
        np.testing.assert_allclose(network.readout.bias[i], readout.weight[0, -1], atol=1e-4)
    assert np.isfinite(said).all()
    ys = YS[0].copy()
    ys[10:] = np.nan
    short = esn().fit_online(XS[0, :10], YS[0, :10], rule=rule)[0].readout.weight
    np.testing.assert_allclose(esn().fit_online(XS[0], ys, rule=rule)[0].readout.weight, short)
    traced = jax.jit(lambda ys: esn().fit_online(XS[0], ys, rule=rule)[0].readout.weight)(ys)
    np.testing.assert_allclose(traced, short, atol=1e-5)
    network, said = esn(outputs=2).fit_force(GAPS[0, :, :2], rule=rule)
    assert all(np.isfinite(a).all() for a in (network.readout.weight, said))


def test_recursive_least_squares_on_a_constant_input_forgets_and_stays_finite():
    rule, steps = RecursiveLeastSquares(forgetting=0.99), 30_000
    r = jnp.array([0.3, -0.5, 0.2])
    ys = jnp.where(jnp.arange(steps) < 25_000, 1.0, -2.0)

    def body(readout, y):
        return rule.update(readout, r, y[None]), readout.predict(r)[0]

    last, said = jax.lax.scan(body, rule.init(jnp.zeros((1, 4))), ys)
    assert np.isfinite(np.asarray(last.memory)).all()
    # The mean of the targets with weights that fall by 0.99 a step.
    expected = -2 + 3 * 0.99 ** np.arange(0, 5000)
    np.testing.assert_allclose(said[25_000:], expected, atol=2e-3)
    # What comes after is learned as ever.
    xs = RNG.normal(size=(2000, 3)).astype(np.float32)
    targets = xs @ np.float32([1, 2, 3])
    last, _ = jax.lax.scan(lambda w, p: (rule.update(w, *p), None), last, (xs, targets[:, None]))
    np.testing.assert_allclose(last.weight, [[1, 2, 3, 0]], atol=1e-3)


# --- not finite, or nothing -----------------------------------------------------------------------


def spoiled(array, *at):
    array = array.copy()
    array[at] = np.nan
    return array


DT = np.ones((3, 40), np.float32)
PADDING = np.broadcast_to(np.arange(40) < 20, (3, 40))
BAD = {
    "input": (lambda: esn().fit_readout(spoiled(XS, 2, 5, 1), YS), "finite xs, got nan at sequence 2, step 5, feature 1"),
    "input of a pool": (lambda: esn(pool="mean").fit_readout(spoiled(XS, 2, 5, 1), YS[:, 0]), "sequence 2, step 5, feature 1"),
    "input of a space": (lambda: esn(pool=rz.reservoir.ModelSpace(3)).fit_readout(spoiled(XS, 2, 5, 1), YS[:, 0]), "sequence 2, step 5, feature 1"),
    "input online": (lambda: esn().fit_online(spoiled(XS[0], 5, 1), YS[0]), "finite xs, got nan at step 5, feature 1"),
    "time": (lambda: esn().fit_readout(XS, YS, dt=spoiled(DT, 1, 4)), "finite dt, got nan at sequence 1, step 4"),
    "infinite target": (lambda: esn().fit_readout(XS, np.where(YS > 1, np.inf, YS)), "finite targets, got inf.*NaN stands for a missing"),
    "infinite target online": (lambda: esn().fit_online(XS[0], np.full((40, 3), -np.inf)), "finite targets, got -inf at step 0"),
    "features": (lambda: ridge(spoiled(XS[0], 3, 1), YS[0], 1.0), "finite features, got nan at sample 3, feature 1"),
    "washout": (lambda: esn().fit_readout(XS, YS, washout=40), "one step to learn from, got none: of 40 steps a washout of 40"),
    "washout of the valid": (lambda: esn().fit_readout(XS, YS, washout=20, mask=PADDING), "got none"),
    "washout of a list": (lambda: esn().fit_readout(list(XS), list(YS), washout=99), "of 40 steps a washout of 99"),
    "mask": (lambda: esn().fit_readout(XS, YS, mask=np.zeros((3, 40), bool)), "one step to learn from"),
    "mask of a pool": (lambda: esn(pool="last").fit_readout(XS, YS[:, 0], mask=np.zeros((3, 40), bool)), "at least one sample"),
    "no target": (lambda: esn().fit_readout(XS, np.full_like(YS, np.nan)), "missing targets"),
    "no target of one output": (lambda: esn().fit_readout(XS, np.where([1, 0, 1], YS, np.nan)), "none for output 1"),
    "no sample": (lambda: NormalEquations.of(XS[0, :0], YS[0, :0]).solve(1.0), "at least one sample.*got none"),
    "states that grow": (lambda: grown().fit_readout(XS, YS), "features|readout is not finite"),
    "targets of fit": (lambda: fit(np.full_like(YS, np.nan)), "at least one target"),
    "infinite targets of fit": (lambda: fit(np.where(YS > 1, np.inf, YS)), "finite targets, got inf at sample 0"),
}  # fmt: skip


def grown():
    return rz.EchoStateNetwork(
        rz.cells.EchoStateCell(2, 12, key=KEY), 3, features=lambda r: jnp.exp(1e4 * r)
    )


def fit(ys, xs=XS, **options):
    model = rz.make_model("elman", 2, 3, hidden_size=4, pool=None, key=KEY)
    data = rz.data.Batch(xs, ys)
    return rz.train.fit(
        model,
        data,
        loss=rz.train.mse,
        optimizer=optax.sgd(0.1),
        key=KEY,
        steps=2,
        batch_size=3,
        **options,
    )


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learned_from_is_named(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_values_behind_a_mask_may_be_anything():
    xs, ys = spoiled(XS, 0, 25), np.where(PADDING[..., None], YS, np.inf)
    network = esn().fit_readout(xs, ys, mask=PADDING, washout=2)
    expected = esn().fit_readout(XS, YS, mask=PADDING, washout=2)
    assert_readout(network.readout, (expected.readout.weight, expected.readout.bias))


def test_no_step_to_learn_from_is_a_runtime_error_where_the_mask_is_traced():
    fitted = eqx.filter_jit(lambda mask: esn().fit_readout(XS, YS, mask=mask).readout.bias)
    assert np.isfinite(fitted(PADDING)).all()
    with pytest.raises(RuntimeError, match="at least one sample"):
        fitted(np.zeros((3, 40), bool))


def test_a_loss_that_is_not_finite_names_the_data():
    with pytest.raises(rz.train.NonFiniteLossError, match="got nan at sample 1, step 2, feature 0"):
        fit(YS, spoiled(XS, 1, 2, 0))
    with pytest.raises(rz.train.NonFiniteLossError, match="the training data are finite"):
        fit(np.float32(1e30) * YS)


# --- losses and measures --------------------------------------------------------------------------


def test_mse_is_a_mean_over_the_targets_that_were_observed():
    model = rz.make_model("elman", 2, 3, hidden_size=4, pool=None, key=KEY)
    mask = np.broadcast_to(np.arange(40) < 30, (3, 40))
    said = np.float64(rz.batch(model)(XS, mask=mask))
    keep = ~np.isnan(GAPS) & mask[..., None]
    expected = ((said - GAPS)[keep] ** 2).mean()
    data = rz.data.Batch(XS, GAPS, mask)
    np.testing.assert_allclose(rz.train.mse(model, data)[0], expected, rtol=1e-5)
    # Whatever the size of the batches, since they are weighted by what was observed in them.
    for size in (1, 2, 3):
        found = rz.train.evaluate(model, data, loss=rz.train.mse, batch_size=size)
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    one = rz.make_model("elman", 2, 3, hidden_size=4, key=KEY)
    pooled = rz.data.Batch(XS, GAPS[:, 0])
    keep = ~np.isnan(GAPS[:, 0])
    expected = ((np.float64(rz.batch(one)(XS)) - GAPS[:, 0])[keep] ** 2).mean()
    for size in (1, 2):
        found = rz.train.evaluate(one, pooled, loss=rz.train.mse, batch_size=size)
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    slope = eqx.filter_grad(lambda m: rz.train.mse(m, data)[0])(model)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(slope))
    assert np.isfinite(fit(GAPS).history[-1]["train_loss"])
    assert np.isfinite(fit(GAPS, truncate=7).history[-1]["train_loss"])


def test_measures_leave_out_what_was_not_observed():
    said = YS + 0.1 * XS[..., :1]
    keep = ~np.isnan(GAPS)
    errors = [((said - GAPS)[..., i][keep[..., i]] ** 2).mean() for i in range(3)]
    spread = [GAPS[..., i][keep[..., i]].var() for i in range(3)]
    expected = np.mean(np.divide(errors, spread))
    np.testing.assert_allclose(rz.metrics.nmse(said, GAPS), expected, rtol=1e-5)
    never = np.concatenate([GAPS, np.full_like(GAPS[..., :1], np.nan)], -1)
    more = np.concatenate([said, said[..., :1]], -1)
    np.testing.assert_allclose(rz.metrics.nmse(more, never), expected, rtol=1e-5)
    target = YS[0].copy()
    forecast = target.copy()
    forecast[20, 1] += 10
    assert rz.metrics.valid_prediction_time(forecast, target) == 20
    target[20, 1] = np.nan
    assert rz.metrics.valid_prediction_time(forecast, target) == 40


# --- sums in 64 bits ------------------------------------------------------------------------------


def narrow():
    """Samples for which float32 sums give another ridge: features that almost agree."""
    rng = np.random.default_rng(1)
    R = rng.normal(size=(400, 1)) + 1e-3 * rng.normal(size=(400, 6)) + 5
    Y = R @ rng.normal(size=(6, 2)) + 0.01 * rng.normal(size=(400, 2))
    return R.astype(np.float32), Y.astype(np.float32)


def saved(equations, tmp_path):
    rz.train.save(tmp_path / "sums.rz", equations)
    return rz.train.load(tmp_path / "sums.rz", equations)


def safetensors(equations, tmp_path):
    pytest.importorskip("safetensors")
    rz.interop.save_safetensors(equations, tmp_path / "sums.safetensors")
    return rz.interop.load_safetensors(equations, tmp_path / "sums.safetensors")


ROADS = {
    "pickle": lambda equations, _: pickle.loads(pickle.dumps(equations)),
    "deepcopy": lambda equations, _: copy.deepcopy(equations),
    "save": saved,
    "safetensors": safetensors,
    "device_get": lambda equations, _: jax.device_get(equations),
}


@pytest.mark.parametrize("road", ROADS)
def test_normal_equations_keep_their_64_bits(road, tmp_path):
    R, Y = narrow()
    equations = NormalEquations.of(R, Y)
    expected = equations.solve(1e-6)
    after = ROADS[road](equations, tmp_path)
    for one, two in zip(jax.tree.leaves(after), jax.tree.leaves(equations)):
        assert one.dtype == np.float64
        np.testing.assert_array_equal(one, two)
    assert_readout(after.solve(1e-6), (expected.weight, expected.bias), 1e-6)
    doubled = sum([after, after]).solve(2e-6)
    assert_readout(doubled, (expected.weight, expected.bias), 1e-4)


def test_normal_equations_that_lost_their_64_bits_are_refused():
    R, Y = narrow()
    parts = [NormalEquations.of(R[p], Y[p]) for p in (slice(200), slice(200, 400))]
    expected = NormalEquations.of(R, Y).solve(1e-6)
    cut = jax.tree.map(lambda a, b: jnp.asarray(np.asarray(a) + np.asarray(b), jnp.float32), *parts)
    for call in (lambda: cut.solve(1e-6), lambda: cut.path(np.ones(1)), lambda: parts[0] + cut):
        with pytest.raises(ValueError, match="in float64, got float32: they were cut down"):
            call()
    stack = jax.vmap(NormalEquations.of)(R.reshape(2, 200, 6), Y.reshape(2, 200, 2))
    with pytest.raises(ValueError, match=r"got a stack of \(2,\): map over it"):
        stack.solve(1e-6)
    each = jax.vmap(lambda one: one.solve(1e-6).weight)(stack)
    np.testing.assert_allclose(each[0], parts[0].solve(1e-6).weight, rtol=1e-4)
    summed = jax.tree.map(lambda a: np.asarray(a).sum(0), stack)
    assert_readout(summed.solve(1e-6), (expected.weight, expected.bias), 1e-4)


def test_64_bits_of_numpy_reach_the_sums():
    R, Y = map(np.float64, narrow())
    R[:, 0] = R[:, 1] + 1e-8 * np.random.default_rng(2).normal(size=400)  # lost in float32
    Y[:, 0] = 1e8 * (R[:, 0] - R[:, 1])
    R, Y = R - R.mean(0), Y - Y.mean(0)
    sums = NormalEquations.of(R, Y)
    for found, expected in ((sums.squares, R.T @ R), (sums.products, R.T @ Y)):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
