"""Readouts: ridge regression in float64, its path of penalties, and rules that learn online."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo.reservoir import LeastMeanSquares, NormalEquations, RecursiveLeastSquares, ridge


def samples(seed=0, n=300, features=12, outputs=2):
    """Features whose scales span four decades, as a reservoir's principal components do."""
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(n, features)) * np.logspace(0, -4, features) + 0.5
    Y = R @ rng.normal(size=(features, outputs)) + 3 + 0.01 * rng.normal(size=(n, outputs))
    return R.astype(np.float32), Y.astype(np.float32)


def reference(R, Y, penalty, keep=slice(None)):
    """The normal equations about the means, in NumPy float64."""
    R, Y = np.float64(R[keep]), np.float64(Y[keep])
    r, y = R.mean(axis=0), Y.mean(axis=0)
    squares = (R - r).T @ (R - r) + penalty * np.eye(R.shape[1])
    W = np.linalg.solve(squares, (R - r).T @ (Y - y)).T
    return W, y - W @ r


def assert_readout(readout, expected, rtol=1e-5):
    for one, two in zip((readout.weight, readout.bias), expected):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol * np.abs(two).max())


@pytest.mark.parametrize("penalty", [1e-8, 1e-3, 10.0])
def test_ridge_equals_the_reference_where_float32_would_not(penalty):
    R, Y = samples()
    assert_readout(ridge(R, Y, penalty), reference(R, Y, penalty))
    assert ridge(R, Y, penalty).weight.dtype == jnp.float32


def test_float32_normal_equations_are_not_enough():
    R, Y = samples()
    centred = R - R.mean(axis=0)
    W = np.linalg.solve(centred.T @ centred + np.float32(1e-8) * np.eye(12), centred.T @ Y)
    expected, _ = reference(R, Y, 1e-8)
    assert np.abs(np.float32(W).T - expected).max() > 1e-3 * np.abs(expected).max()


def test_masked_samples_do_not_count_whatever_they_hold():
    R, Y = samples()
    keep = np.random.default_rng(1).random(len(R)) < 0.5
    R[~keep], Y[~keep] = np.nan, np.inf
    assert_readout(ridge(R, Y, 1e-4, mask=keep), reference(R, Y, 1e-4, keep))


def test_equations_add_up():
    R, Y = samples()
    parts = [NormalEquations.of(R[p], Y[p]) for p in (slice(0, 7), slice(7, 200), slice(200, 300))]
    together = parts[0] + parts[1] + parts[2]
    assert together.squares.dtype == jnp.float64
    assert_readout(together.solve(1e-4), reference(R, Y, 1e-4))


def test_a_path_is_one_readout_per_penalty():
    R, Y = samples()
    penalties = np.array([1e-8, 1e-4, 1.0])
    readouts = NormalEquations.of(R, Y).path(penalties)
    for i, penalty in enumerate(penalties):
        one = jax.tree.map(lambda a, i=i: a[i], readouts)
        assert_readout(one, reference(R, Y, float(penalty)), rtol=1e-4)
    said = eqx.filter_vmap(lambda readout: jax.vmap(readout)(R))(readouts)
    assert said.shape == (3, 300, 2)


def test_the_bias_is_not_penalised():
    R, Y = samples()
    readout = ridge(R, Y, 1e9)
    np.testing.assert_allclose(readout.weight, 0, atol=1e-5)
    np.testing.assert_allclose(readout.bias, Y.mean(axis=0), rtol=1e-4)


def test_fits_run_under_jit_and_vmap_in_any_order():
    R, Y = samples()
    penalties = jnp.array([1e-6, 1e-2])

    def fit(penalty):
        return ridge(R, Y, penalty).weight

    expected = np.stack([reference(R, Y, float(p))[0] for p in penalties])
    for run in (jax.jit(jax.vmap(fit)), jax.vmap(jax.jit(fit)), jax.vmap(fit)):
        np.testing.assert_allclose(run(penalties), expected, rtol=1e-4, atol=1e-4)
    nested = jax.vmap(jax.vmap(jax.jit(fit)))(penalties[:, None])
    np.testing.assert_allclose(nested[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_a_derivative_needs_64_bits_everywhere():
    R, Y = samples(n=40, features=3)
    with pytest.raises(RuntimeError, match="enable_x64"):
        jax.grad(lambda R: ridge(R, jnp.asarray(Y), 1.0).weight.sum())(jnp.asarray(R))
    with float64() as dtype:
        R, Y = jnp.asarray(R, dtype), jnp.asarray(Y, dtype)

        def total(penalty):
            return ridge(R, Y, penalty).weight.sum()

        step = (total(1.0 + 1e-6) - total(1.0 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(total)(1.0), step, rtol=1e-6)


def test_principal_components_of_the_features():
    R, Y = samples()
    mean, vectors = NormalEquations.of(R, Y).principal()
    np.testing.assert_allclose(mean, R.mean(axis=0), rtol=1e-5)
    spread = ((R - R.mean(axis=0)) @ np.asarray(vectors)).var(axis=0)
    assert (np.diff(spread) <= 1e-12).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(12), atol=1e-5)


def learn(rule, R, Y):
    readout = rule.init(jnp.zeros((Y.shape[1], R.shape[1] + 1), R.dtype))
    return jax.lax.scan(lambda r, s: (rule.update(r, *s), r.predict(s[0])), readout, (R, Y))


def test_recursive_least_squares_is_ridge_regression():
    with float64() as dtype:
        R, Y = (jnp.asarray(a, dtype) for a in samples())
        readout, said = learn(RecursiveLeastSquares(ridge=0.3), R, Y)
        ones = np.concatenate([R, np.ones((len(R), 1))], axis=1)
        expected = np.linalg.solve(ones.T @ ones + 0.3 * np.eye(13), ones.T @ np.asarray(Y)).T
        np.testing.assert_allclose(readout.weight, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(said[0], 0)
        np.testing.assert_allclose(readout.linear()(R[0]), readout.predict(R[0]), rtol=1e-12)


def test_forgetting_weighs_samples_by_their_age():
    with float64() as dtype:
        R, Y = (jnp.asarray(a, dtype) for a in samples(n=50, features=3))
        readout, _ = learn(RecursiveLeastSquares(ridge=0.3, forgetting=0.9), R, Y)
        age = 0.9 ** np.arange(50)[::-1]
        ones = np.concatenate([R, np.ones((50, 1))], axis=1)
        squares = (ones * age[:, None]).T @ ones + 0.3 * 0.9**50 * np.eye(4)
        expected = np.linalg.solve(squares, (ones * age[:, None]).T @ np.asarray(Y)).T
        np.testing.assert_allclose(readout.weight, expected, rtol=1e-9)


def test_least_mean_squares_goes_down_the_gradient():
    with float64() as dtype:
        R, Y = (jnp.asarray(a, dtype) for a in samples(n=1, features=3))
        start = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4)))
        rule = LeastMeanSquares(0.05)
        ones = jnp.append(R[0], 1.0)
        slope = jax.grad(lambda W: 0.5 * jnp.sum((Y[0] - W @ ones) ** 2))(start)
        after = rule.update(rule.init(start), R[0], Y[0]).weight
        np.testing.assert_allclose(after, start - 0.05 * slope, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda R, Y: ridge(R, Y, 0.0), ValueError, "penalty above 0, got 0.0"),
        (lambda R, Y: ridge(R, Y, np.ones(1)), ValueError, "penalty as a scalar"),
        (lambda R, Y: NormalEquations.of(R, Y).path(1.0), ValueError, r"shape \(k,\)"),
        (lambda R, Y: ridge(R[None], Y, 1.0), ValueError, "flatten batch and time"),
        (lambda R, Y: ridge(R, Y[:-1], 1.0), ValueError, "samples"),
        (lambda R, Y: ridge(R, Y, 1.0, mask=np.ones(2, bool)), ValueError, "mask of shape"),
        (lambda R, Y: ridge(R, Y, 1.0, mask=np.ones(300)), TypeError, "dtype bool"),
        (lambda R, Y: jax.jit(lambda p: ridge(R, Y, p).bias)(-1.0), RuntimeError, "above 0"),
        (lambda R, Y: RecursiveLeastSquares(forgetting=1.5), ValueError, "forgetting"),
        (lambda R, Y: RecursiveLeastSquares(ridge=0.0), ValueError, "ridge"),
        (lambda R, Y: LeastMeanSquares(0.0), ValueError, "rate"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*samples())


def test_metrics_against_numpy():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2)) * [1.0, 5.0]
    said = y + rng.normal(size=(50, 2)) * [0.1, 1.0]
    expected = (((said - y) ** 2).mean(axis=0) / y.var(axis=0)).mean()
    np.testing.assert_allclose(rz.metrics.nmse(said, y), expected, rtol=1e-5)
    np.testing.assert_allclose(rz.metrics.nrmse(said, y), expected**0.5, rtol=1e-5)
    np.testing.assert_allclose(rz.metrics.nmse(np.full(9, 4.0), np.arange(9.0)), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="one shape"):
        rz.metrics.nmse(said, y[:-1])


def test_valid_prediction_time_ends_at_the_first_large_error():
    y = np.sin(np.arange(100) * 0.3)[:, None]
    said = y.copy()
    said[40] += 0.5 * np.sqrt(((y - y.mean()) ** 2).mean())
    time = rz.metrics.valid_prediction_time
    np.testing.assert_allclose(time(said, y, step=0.5, lyapunov_exponent=2.0), 40)
    np.testing.assert_allclose(time(said, y, threshold=0.6), 100)
    said[7] = np.nan
    np.testing.assert_allclose(time(said, y, threshold=0.6), 7)


def test_memory_capacity_is_bounded_by_the_units_and_full_for_a_linear_ring():
    key = jr.key(0)
    ring = {"topology": "ring", "leak": 1.0, "bias_scaling": 0.0}
    linear = rz.cells.EchoStateCell(1, 20, spectral_radius=0.9, input_scaling=0.01, key=key, **ring)
    by_lag = rz.metrics.memory_capacity(linear, key=key)
    assert by_lag.shape == (40,)
    # Jaeger's theorem: at most one input remembered for each unit; a linear ring reaches it, less
    # what float32 loses. Lags k and k + 20 share a unit with weights 1 and 0.9^20.
    assert 18.5 < by_lag.sum() < 20.2
    np.testing.assert_allclose(by_lag[:15], 1 - 0.9**40, atol=0.01)
    bent = rz.cells.EchoStateCell(1, 20, spectral_radius=0.9, input_scaling=3.0, key=key, **ring)
    assert rz.metrics.memory_capacity(bent, key=key).sum() < 0.7 * by_lag.sum()


def test_a_singular_problem_is_solved_all_the_same():
    R, Y = samples(n=100, features=40)
    R = np.concatenate([R, R[:, :20] + R[:, 20:]], axis=1).astype(np.float32)
    readout = ridge(R, Y, 1e-30)
    assert np.isfinite(readout.weight).all()
    said = R @ np.asarray(readout.weight).T + np.asarray(readout.bias)
    assert np.abs(said - Y).max() < 0.1
