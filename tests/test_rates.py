"""Piecewise linear networks, and networks of rates: what the laws of all cells do not say."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import I, draw

import rnn_zoo as rz
from rnn_zoo.base import replace


KEY = jr.key(0)


def _weights(cell):
    return np.asarray(cell.constants().matrix)


def _trained(cell, steps):
    """After AdamW steps whose gradients and decay pull every synapse through zero."""
    optimizer = optax.adamw(0.05, weight_decay=1.0)
    xs = draw(1, (12, cell.input_size))
    params, static = eqx.partition(cell, eqx.is_inexact_array)

    def step(carry, _):
        params, memory = carry

        def loss(params):
            cell = eqx.combine(params, static)
            # Towards inhibition by all.
            return jnp.mean(rz.scan.unroll(cell, xs)[1] ** 2) + jnp.mean(cell.constants().matrix)

        updates, memory = optimizer.update(jax.grad(loss)(params), memory, params)
        return (optax.apply_updates(params, updates), memory), None

    start = params, optimizer.init(params)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, None, steps))(start)
    return eqx.combine(params, static)


@pytest.mark.parametrize("steps", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_synapse_changes_its_sign(steps):
    before = rz.cells.EIRNNCell(I, 10, key=KEY)
    after = _trained(before, steps)
    assert not np.allclose(before.weight_hh, after.weight_hh, atol=0.01)
    np.testing.assert_array_equal(after.signs.value, [1] * 8 + [-1] * 2)
    excited, inhibited = np.split(_weights(after), [8], axis=1)
    assert (excited >= 0).all()
    assert (inhibited <= 0).all()
    np.testing.assert_array_equal(np.diag(_weights(after)), 0)
    # The raw magnitudes did pass through zero, so that the signs are put to the test.
    assert (np.asarray(after.weight_hh) < 0).any()


def test_the_first_units_excite_and_both_kinds_balance():
    cell = rz.cells.EIRNNCell(I, 200, key=KEY)
    weights = _weights(cell)
    np.testing.assert_allclose(np.linalg.norm(weights, 2), 1, rtol=1e-5)
    excited, inhibited = np.split(weights, [160], axis=1)
    np.testing.assert_allclose(excited.sum(), -inhibited.sum(), rtol=0.05)
    for share, count in ((0.0, 0), (0.01, 1), (0.5, 5), (1.0, 10)):
        made = rz.cells.EIRNNCell(I, 10, excitatory=share, key=KEY)
        assert (made.signs.value > 0).sum() == count
        assert np.isfinite(made.weight_hh).all()
    with pytest.raises(ValueError, match="excitatory as a share"):
        rz.cells.EIRNNCell(I, 10, excitatory=1.5, key=KEY)


@pytest.mark.parametrize("dt", [0.25, 4.0])
def test_noise_alone_has_its_deviation_whatever_the_step(dt):
    cell = rz.cells.EIRNNCell(1, 400, noise=0.15, key=KEY)
    cell = replace(cell, weight_hh=jnp.zeros((400, 400)))
    assert cell.stochastic
    state, _ = rz.scan.unroll(cell, jnp.zeros((round(60 / dt), 1)), dt=dt, key=KEY)
    assert abs(np.std(state) - 0.15) < 0.015


def test_no_time_brings_no_noise():
    cell = rz.cells.EIRNNCell(1, 4, noise=0.15, key=KEY)
    state, x = jnp.ones(4), jnp.zeros(1)

    def step(dt):
        return cell.step(state, x, dt, key=KEY)[0]

    held, slope = jax.jit(lambda dt: jax.jvp(step, (dt,), (dt,)))(0.0)
    np.testing.assert_array_equal(held, state)
    assert np.isfinite(slope).all()


def test_clipping_keeps_the_shallow_network_bounded():
    def largest(clipped):
        cell = rz.cells.ShallowPLRNNCell(1, 8, clipped=clipped, key=KEY)
        wild = {"weight_1": 3.0 * cell.weight_1, "bias_2": 0.3 + 0 * cell.bias_2}
        cell = replace(cell, **wild, diagonal=jnp.full(8, 0.7))
        _, ys = rz.scan.unroll(cell, jnp.zeros((400, 1)))
        return np.abs(ys).max()

    cell = rz.cells.ShallowPLRNNCell(1, 8, key=KEY)
    bound = 0.3 * 3 * np.abs(cell.weight_1).sum(axis=1).max() / (1 - 0.7)
    assert largest(True) <= bound
    assert not largest(False) <= bound


@pytest.mark.parametrize("name", ["plrnn", "shallow_plrnn"])
def test_a_beyond_one_acts_as_one(name):
    cell = rz.make_cell(name, 1, 4, key=KEY)
    ends = np.array([-1.0, 1.0, -1.0, 1.0], np.float32)
    far, near = (replace(cell, diagonal=jnp.asarray(a)) for a in (3 * ends, ends))
    xs = draw(0, (5, 1))
    said, expected = (rz.scan.unroll(c, xs)[1] for c in (far, near))
    np.testing.assert_array_equal(said, expected)


def test_the_last_units_of_an_almost_linear_network_are_rectified():
    cell = rz.cells.ALRNNCell(1, 6, rectified_units=2, key=KEY)
    state, x = jnp.asarray(np.random.default_rng(0).normal(size=6)), jnp.zeros(1)

    def odd_part(state):
        """What a linear map would not have: f(s) + f(-s) - 2 f(0)."""
        pair = cell.step(state, x)[1] + cell.step(-state, x)[1]
        return np.abs(pair - 2 * cell.step(0 * state, x)[1]).max()

    assert odd_part(state.at[4:].set(0)) < 1e-6
    assert odd_part(state.at[:4].set(0)) > 1e-4
    assert rz.cells.ALRNNCell(1, 1, key=KEY).rectified_units == 1
    with pytest.raises(ValueError, match="from 1 to hidden_size=6"):
        rz.cells.ALRNNCell(1, 6, rectified_units=7, key=KEY)


def test_piecewise_linear_networks_start_as_their_authors_have_them():
    plain = rz.cells.PLRNNCell(2, 30, key=KEY)
    whole = np.asarray(plain.weight_hh) + np.diag(plain.diagonal)
    np.testing.assert_array_equal(np.diag(plain.weight_hh), 0)
    values = np.linalg.eigvalsh(whole)
    assert values.min() > 0
    np.testing.assert_allclose(values.max(), 1, rtol=1e-5)
    shallow = rz.cells.ShallowPLRNNCell(2, 30, latent_size=100, key=KEY)
    assert shallow.weight_1.shape == (30, 100)
    assert 0.09 < np.abs(shallow.bias_2).max() <= 0.1
    assert not np.asarray(rz.cells.ShallowPLRNNCell(2, 3, clipped=False, key=KEY).bias_2).any()
    almost = rz.cells.ALRNNCell(2, 60, key=KEY)
    np.testing.assert_allclose(np.std(almost.weight_hh), 0.01, rtol=0.05)


def test_a_low_rank_network_moves_in_few_dimensions():
    cell = rz.cells.LowRankRNNCell(1, 40, rank=2, key=KEY)
    assert cell.constants().matrix.shape == (2, 40)
    states, _ = rz.scan.trajectory(cell, draw(0, (50, 1)))
    assert np.linalg.matrix_rank(np.asarray(states), tol=1e-3) == 3  # two, and that of the input


def test_attractors_and_rhythms_are_told_apart():
    whole = rz.data.lorenz_series(12_500, h=0.02, substeps=2)[500:]
    here, there = whole[:6000], whole[6000:]
    assert rz.metrics.state_space_divergence(there, here, bins=10) < 0.2
    assert rz.metrics.state_space_divergence(here[::-1], here) < 1e-3
    still = np.repeat(here[:1], len(here), axis=0)
    for other in (still, np.full_like(here, np.nan), 1e30 * here, np.roll(here, 1, axis=1)):
        assert rz.metrics.state_space_divergence(other, here, bins=10) > 1
    assert rz.metrics.power_spectrum_distance(there, here) < 0.1
    assert rz.metrics.power_spectrum_distance(here[::-1], here) < 1e-6
    fast = np.random.default_rng(0).normal(size=here.shape)
    assert rz.metrics.power_spectrum_distance(fast, here) > 0.5
    for other in (still, np.full_like(here, np.nan)):
        assert rz.metrics.power_spectrum_distance(other, here) == 1
    # Two shares of one grid by hand: 3/4 ln 3/2 + 1/4 ln 1/2.
    two, one = np.array([[0.0], [0], [0], [1]]), np.array([[0.0], [0.1], [0.9], [1.0]])
    found = rz.metrics.state_space_divergence(one, two, bins=2, smoothing=0.0)
    np.testing.assert_allclose(found, 0.75 * np.log(1.5) + 0.25 * np.log(0.5))


@pytest.mark.parametrize("name", ["state_space_divergence", "power_spectrum_distance"])
def test_series_that_cannot_be_compared_are_named(name):
    measure = getattr(rz.metrics, name)
    with pytest.raises(ValueError, match="generated and target"):
        measure(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match=r"target of shape \(time, features\)"):
        measure(np.zeros((9, 2)), np.zeros(9))
