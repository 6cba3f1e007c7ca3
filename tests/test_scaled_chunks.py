"""The mLSTM in chunks equals its steps: values and gradients, also where something is broken."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, float64, noisy

import rnn_zoo as rz
from rnn_zoo.base import check_parts
from rnn_zoo.linear import Scaled


METHODS = ("sequential", "parallel")
TIME = 150  # more than two chunks, and no multiple of one


def build(dtype, scale=1.0, **options):
    cell = rz.cells.MLSTMCell(3, 6, num_heads=2, key_size=4, dtype=dtype, key=jr.key(0), **options)
    cell = noisy(cell, 1, scale)
    return rz.base.replace(cell, bias_gates=cell.bias_gates.at[:2].add(-4.0))  # m falls below 0


def given(cell, time=TIME, flags=True):
    """xs, a state that something is stored in, and the flags."""
    rng = np.random.default_rng(2)
    xs = jnp.asarray(rng.normal(size=(time, 3)), cell.weight_ih.dtype)
    state, _ = rz.scan.unroll(cell, xs[:7], method="sequential")
    mask, reset = rng.random(time) > 0.2, rng.random(time) > 0.97
    return xs, state, {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)} if flags else {}


def run(cell, xs, state, method, **keywords):
    return rz.scan.unroll(cell, xs, state, method=method, **keywords)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("flags", [False, True])
def test_chunks_equal_the_steps(flags, reverse):
    with float64() as dtype:
        cell = build(dtype)
        xs, state, keywords = given(cell, flags=flags)
        ways = (run(cell, xs, state, m, reverse=reverse, **keywords) for m in METHODS)
        assert_close(*ways, 1e-11)
        keywords |= {"reverse": reverse}
        ways = (rz.scan.trajectory(cell, xs, state, method=m, **keywords) for m in METHODS)
        assert_close(*ways, 1e-11)


@pytest.mark.parametrize("time", [1, 2, 5, 64, 65])
def test_chunks_of_any_length_from_the_first_state(time):
    with float64() as dtype:
        cell = build(dtype)
        xs = given(cell, time + 7)[0][:time]
        assert_close(*(run(cell, xs, cell.init_state(), m) for m in METHODS), 1e-11)


@pytest.mark.parametrize("flags", [False, True])
def test_gradients_of_chunks_equal_those_of_the_steps(flags):
    """Of parameters, inputs and states, through outputs and all parts of the final state."""
    with float64() as dtype:
        cell = build(dtype)
        xs, state, keywords = given(cell, flags=flags)
        weights = np.random.default_rng(3).normal(size=(TIME, 6))

        def loss(whole, method):
            final, ys = run(*whole, method, **keywords)
            return (weights * ys).sum() + sum(jnp.sin(leaf).sum() for leaf in final)

        found = (eqx.filter_grad(loss)((cell, xs, state), m) for m in METHODS)
        assert_close(*found, 1e-9)


@pytest.mark.parametrize("shift", [-30.0, 30.0])
def test_strong_gates_in_single_precision(shift):
    """As accurate as the steps, where a gate weighs e^30 and where it weighs e^-30."""
    with float64() as dtype:
        exact = build(dtype, scale=3.0)
        bias = exact.bias_gates + np.array([shift, shift, -3.0, -3.0])
        exact = rz.base.replace(exact, bias_gates=bias)
        xs, state, _ = given(exact, flags=False)
        expected = np.asarray(run(exact, xs, state, "sequential")[1])
    cell, xs, state = jax.tree.map(lambda a: a.astype(jnp.float32), (exact, xs, state))
    found = [np.asarray(run(cell, xs, state, m)[1], np.float64) for m in METHODS]
    errors = [np.abs(ys - expected).max() for ys in found]
    assert errors[1] <= 3 * errors[0] + 1e-7 * np.abs(expected).max()


def test_what_is_not_finite_ends_at_a_reset():
    cell = build(jnp.float32)
    xs, state, _ = given(cell, flags=False)
    reset = np.zeros(TIME, bool)
    reset[[20, 90]] = True
    broken = state._replace(n=state.n.at[1, 2].set(jnp.nan))
    _, ys = run(cell, xs, broken, "parallel", reset=jnp.asarray(reset))
    expected = run(cell, xs, broken, "sequential", reset=jnp.asarray(reset))[1]
    np.testing.assert_allclose(ys, expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(ys[:20]).any()
    assert np.isfinite(ys[20:]).all()
    spoilt = xs.at[75, 1].set(jnp.nan)
    for state, ys in (run(cell, spoilt, state, m, reset=jnp.asarray(reset)) for m in METHODS):
        assert np.isfinite(ys[:75]).all()
        assert np.isnan(ys[75:90]).all()
        assert np.isfinite(ys[90:]).all()
        assert np.isfinite(state.C).all()


def test_nan_that_is_reset_at_once_meets_no_gradient():
    cell = build(jnp.float32)
    xs, state, _ = given(cell, 12)
    broken = state._replace(C=jnp.full_like(state.C, jnp.nan))
    reset = jnp.arange(12) == 0

    def loss(cell):
        return run(cell, xs, broken, "parallel", reset=reset)[1].sum()

    gradients = jax.tree.leaves(eqx.filter_grad(loss)(cell))
    assert all(np.isfinite(leaf).all() for leaf in gradients)


@pytest.mark.parametrize("wrap", [rz.Frozen, rz.LearnedInitialState, rz.LayerNormed])
def test_wrappers_that_leave_the_state_alone_run_in_chunks(wrap):
    with float64() as dtype:
        cell = build(dtype)
        xs, state, keywords = given(cell)
        cell = wrap(cell)
        if wrap is rz.LearnedInitialState:  # one that something is stored in
            cell = rz.base.replace(cell, initial=state)
            state = None
        ways = [run(cell, xs, state, m, **keywords) for m in METHODS]
        assert_close(*ways, 1e-10)


def test_gate_that_is_shut_writes_nothing():
    """An input gate of exactly 0, also where nothing is stored."""
    with float64() as dtype:
        cell = build(dtype)
        xs, _, _ = given(cell, 12)
        shut = rz.base.replace(cell, bias_gates=cell.bias_gates.at[:2].set(-jnp.inf))
        final, ys = run(shut, xs, cell.init_state(), "parallel")
        np.testing.assert_array_equal(ys, np.zeros_like(ys))
        np.testing.assert_array_equal(final.C, np.zeros_like(final.C))


def test_sequential_alone_in_the_plain_engine():
    cell = build(jnp.float32)
    xs, state, keywords = given(cell)
    plain = run(cell, xs, state, "parallel", engine="scan", **keywords)
    assert_close(plain, run(cell, xs, state, "parallel", **keywords), 1e-4)


def test_parts_that_do_not_fit_are_named():
    cell = build(jnp.float32)
    parts, state = cell.parts(None, jnp.ones(3)), cell.init_state()
    with pytest.raises(ValueError, match=r"log_write of shape \(2,\), got \(2, 1\)"):
        check_parts(cell, parts._replace(log_write=jnp.ones((2, 1))), state)
    with pytest.raises(ValueError, match=r"a state \(C, n, m\)"):
        check_parts(cell, parts, state.C)
    with pytest.raises(TypeError, match=r"rz\.linear\.Scaled"):
        check_parts(cell, tuple(parts), state)
    assert isinstance(parts, Scaled)
