"""Masks, resets and gaps mean what they say, in values and in gradients."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import (
    ALL,
    DEFAULTS,
    MASK,
    I,
    T,
    assert_close,
    build,
    ids,
    inputs,
    of_kinds,
    only,
    subject,
)

import rnn_zoo as rz
from rnn_zoo.scan import unroll
from rnn_zoo.testing import masking
from rnn_zoo.testing.masking import take


# A stochastic cell draws by position, so what is moved in time draws anew.
STEADY = [case for case in ALL if not case.stochastic]


@pytest.mark.parametrize(**ids(of_kinds(STEADY), kinds=True))
def test_gaps_equal_the_sequence_without_those_steps(case):
    masking.gaps_equal_the_sequence_without_those_steps(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(STEADY), kinds=True))
def test_padded_equals_unpadded(case):
    masking.padded_equals_unpadded(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(STEADY), kinds=True))
def test_resets_equal_separate_sequences(case):
    masking.resets_equal_separate_sequences(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_reset_acts_first_even_on_a_masked_step(case):
    masking.reset_acts_first_even_on_a_masked_step(subject(case))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_nan_in_masked_steps_reaches_no_gradient(case):
    masking.nan_in_masked_steps_reaches_no_gradient(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_nan_state_that_is_reset_at_once_reaches_no_gradient(case):
    masking.nan_state_that_is_reset_at_once_reaches_no_gradient(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(DEFAULTS), kinds=True))
def test_bidirectional_packed_equals_separate(case):
    forward, backward = build(case, seed=0), build(case, seed=1)
    layer = rz.Bidirectional(forward, backward)
    xs, _, keywords = inputs(forward)
    keywords = only(keywords, "dt")
    reset = jnp.zeros(T, bool).at[jnp.array([4, 6])].set(True)
    packed = layer(xs, reset=reset, **keywords)
    pieces = [slice(0, 4), slice(4, 6), slice(6, T)]
    cut = [jnp.asarray(np.asarray(xs)[piece]) for piece in pieces]
    separate = [layer(xs, **take(keywords, p)) for xs, p in zip(cut, pieces)]
    assert_close(packed, np.concatenate(separate), 1e-5)


@pytest.mark.parametrize(**ids(of_kinds(DEFAULTS), kinds=True))
def test_bidirectional_padded_equals_unpadded(case):
    layer = rz.Bidirectional(build(case, seed=0), build(case, seed=1))
    xs, _, keywords = inputs(layer)
    keywords = only(keywords, "dt")
    for pad in ((0, 3), (2, 0)):
        padded = jnp.pad(xs, (pad, (0, 0)), constant_values=jnp.nan)
        dt = {k: jnp.pad(v, pad, constant_values=jnp.nan) for k, v in keywords.items()}
        mask = jnp.pad(jnp.ones(T, bool), pad)
        final, ys = layer.scan(padded, mask=mask, **dt)
        expected, ys_expected = layer.scan(xs, **keywords)
        assert_close((final, np.asarray(ys)[np.asarray(mask)]), (expected, ys_expected), 1e-6)


def test_lengths_to_mask():
    mask = rz.lengths_to_mask(jnp.array([0, 2, 3]), 3)
    np.testing.assert_array_equal(mask, [[0, 0, 0], [1, 1, 0], [1, 1, 1]])
    assert mask.dtype == bool
    with pytest.raises(Exception, match="lengths must lie in"):
        rz.lengths_to_mask(jnp.array([4]), 3)
    with pytest.raises(TypeError, match="integer lengths"):
        rz.lengths_to_mask(jnp.array([1.0]), 3)


def test_elapsed():
    times = jnp.array([0.5, 1.0, 9.0, 2.5, 4.0])
    mask = jnp.array([True, True, False, True, True])
    np.testing.assert_allclose(rz.elapsed(times, mask), [1.0, 0.5, 1.0, 1.5, 1.5])
    np.testing.assert_allclose(rz.elapsed(times, mask, first=0.0)[0], 0.0)
    np.testing.assert_allclose(rz.elapsed(jnp.array([3, 4, 6])), [1, 1, 2])
    with pytest.raises(Exception, match="must not decrease"):
        rz.elapsed(times)
    with pytest.raises(ValueError, match="shape"):
        rz.elapsed(times[None])


def test_elapsed_carries_the_time_of_masked_steps_over():
    cell = rz.cells.LeakyElmanCell(I, 4, key=jr.key(0))
    times = jnp.cumsum(jr.uniform(jr.key(1), (T,)))
    xs, mask = jr.normal(jr.key(2), (T, I)), jnp.asarray(MASK)
    with_gaps = unroll(cell, xs, mask=mask, dt=rz.elapsed(times, mask))[1][MASK]
    without = unroll(cell, xs[MASK], dt=rz.elapsed(times[MASK]))[1]
    assert_close(with_gaps, without, 1e-6)


def test_elapsed_keeps_whole_seconds_and_64_bits():
    seconds = 1_700_000_000 + np.array([0, 1, 3])
    for times in (seconds, jnp.asarray(seconds), seconds.astype(np.float64)):
        np.testing.assert_array_equal(rz.elapsed(times), [1, 1, 2])
    padded = np.array([np.nan, 1.7e9, 1.7e9 + 0.25, np.nan])
    mask = np.array([False, True, True, False])
    np.testing.assert_allclose(rz.elapsed(padded, mask), [1, 1, 0.25, 1])
