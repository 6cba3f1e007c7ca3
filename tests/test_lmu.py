"""Legendre memory units: what they remember, over any time, and in any precision."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg
from cases import float64
from numpy.polynomial import legendre

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.cells.legendre import delay, discretised, legendre as matrices
from rnn_zoo.linear import AffineMap, SharedDense
from rnn_zoo.scan import trajectory, unroll


def memory(order, theta, dtype=None):
    """One channel that remembers x itself."""
    options = {"order": order, "theta": theta, "memory_size": 1, "dtype": dtype}
    cell = rz.cells.LinearLMUCell(1, 1, key=jr.key(0), **options)
    return replace(cell, encoder=jnp.ones_like(cell.encoder))


def held(order, theta, dt):
    """[A, B] of a step with the input held, by one matrix exponential of SciPy."""
    A, B = matrices(order)
    whole = np.zeros((order + 1, order + 1))
    whole[:order, :order], whole[:order, order] = A / theta, B / theta
    return scipy.linalg.expm(whole * dt)[:order]


def test_the_window_is_read_off_the_polynomials():
    """A sine, half a step later than it came: the input is held over each step.

    The newest tenth of the window sees the stairs of what is held.
    """
    cell, t = memory(12, 40.0), np.arange(400.0)
    states, _ = trajectory(cell, np.sin(2 * np.pi * t / 60)[:, None])
    m, r = np.asarray(states[200:, 0]), np.linspace(0.1, 1, 19)
    read = m @ legendre.legvander(2 * r - 1, 11).T
    past = t[200:, None] - 40 * r
    assert abs(read - np.sin(2 * np.pi * (past + 0.5) / 60)).max() < 3e-3
    assert abs(read - np.sin(2 * np.pi * past / 60)).max() > 0.04


@pytest.mark.parametrize(("order", "theta"), [(1, 1e4), (5, 0.5), (12, 40.0), (64, 784.0)])
def test_any_time_is_the_matrix_exponential(order, theta):
    flow = delay(order, theta)
    np.testing.assert_allclose(flow.nominal, held(order, theta, 1.0), rtol=0, atol=1e-12)
    with float64() as dtype:
        both = jax.jit(lambda dt: discretised(dt, flow, dtype))
        end = flow.shortest * 2.0 ** len(flow.doubled)  # beyond it nothing is remembered
        for dt in (0.0, 0.3, 1.0, 2.7, 3 * theta, end, 1e6 * theta):
            A, B = both(jnp.asarray(dt))
            expected = held(order, theta, min(dt, 100 * theta))
            np.testing.assert_allclose(np.c_[A, B], expected, rtol=0, atol=3e-12)
            if dt == 0:
                np.testing.assert_array_equal(np.c_[A, B], np.eye(order, order + 1))
        for dt in (0.0, 0.3, 1.0, 2.7):
            slope = jax.jit(jax.jacfwd(lambda dt: discretised(dt, flow, dtype)[0]))(jnp.asarray(dt))
            expected = matrices(order)[0] / theta @ held(order, theta, dt)[:, :order]
            np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-9)


def test_two_half_steps_are_one():
    cell, x = memory(6, 10.0), jnp.array([0.7])
    start = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6)), jnp.float32)
    whole, _ = cell.step(start, x, 1.7)
    half, _ = cell.step(cell.step(start, x, 0.6)[0], x, 1.1)
    np.testing.assert_allclose(half, whole, atol=1e-6)


@pytest.mark.parametrize(("dt", "bound"), [(None, 1e-5), (0.37, 5e-5)])
def test_a_long_run_in_float32_is_that_in_float64(dt, bound):
    """At order 64 over 3,000 steps; of a nominal step, A and B were rounded once, from float64."""
    xs = np.random.default_rng(0).normal(size=(3000, 1)).astype(np.float32)
    with float64() as dtype:
        expected, _ = unroll(memory(64, 784.0, dtype), xs.astype(float), dt=dt)
        expected = np.asarray(expected)
    for method in ("sequential", "parallel"):
        ours, _ = unroll(memory(64, 784.0, jnp.float32), xs, dt=dt, method=method)
        assert abs(np.asarray(ours) - expected).max() < bound


def test_it_starts_as_the_paper_says():
    cell = rz.cells.LMUCell(48, 64, order=6, memory_size=8, key=jr.key(0))
    np.testing.assert_array_equal(cell.encoder_m, np.zeros((8, 48)))
    for weights, bound in [(cell.encoder_x, np.sqrt(3 / 48)), (cell.encoder_h, np.sqrt(3 / 64))]:
        assert 0.97 * bound < abs(np.asarray(weights)).max() <= bound
    for weights in (cell.weight_ih, cell.weight_hh, cell.weight_mh):
        std = np.sqrt(2 / sum(weights.shape))
        np.testing.assert_allclose(np.asarray(weights).std(), std, rtol=0.05)
    assert rz.cells.LinearLMUCell(3, 5, key=jr.key(0)).init_state().shape == (5, 8)


def test_dense_steps_compose():
    keys = jr.split(jr.key(0), 4)
    a, b = (AffineMap(SharedDense(jr.normal(k, (4, 4))), jr.normal(k, (3, 4))) for k in keys[:2])
    h = jr.normal(keys[2], (3, 4))
    np.testing.assert_allclose(b.compose(a).apply(h), b.apply(a.apply(h)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(a.apply(h)[1], a.linear.a @ h[1] + a.offset[1], rtol=1e-5)
    np.testing.assert_allclose(a.linear.transpose().apply(h), h @ a.linear.a, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(a.identity().apply(h), h)


def test_the_parallel_form_keeps_one_matrix_and_its_powers():
    """No array of a matrix for each step, with one dt for all."""
    cell = rz.cells.LinearLMUCell(2, 3, order=16, key=jr.key(0))
    xs = jnp.zeros((512, 2))
    for dt in (None, 0.5):
        run = jax.jit(lambda xs, dt=dt: unroll(cell, xs, dt=dt, method="parallel")[1])
        text = run.lower(xs).as_text()
        assert "512x16x16" not in text
        assert "256x16x16" not in text
