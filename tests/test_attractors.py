"""Measures of attractors, where the answer is known."""

import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz


KEY = jr.key(0)
MEASURES = {
    "state_space_divergence": {},
    "gaussian_mixture_divergence": {"key": KEY},
    "sliced_wasserstein": {"key": KEY},
    "power_spectrum_distance": {},
}


def some(seed, size=(300, 3)):
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("name", MEASURES)
def test_equal_series_have_no_distance(name):
    same = getattr(rz.metrics, name)(some(0), some(0), **MEASURES[name])
    assert abs(same) < 1e-5


def test_two_gaussians_of_known_divergence():
    """Between normal distributions at a distance r: r^2 / (2 variance)."""
    here = np.zeros((2, 10))
    there = here + np.arange(10) / 5
    found = rz.metrics.gaussian_mixture_divergence(
        there, here, variance=2.0, samples=20_000, key=KEY
    )
    np.testing.assert_allclose(found, np.sum(there[0] ** 2) / 4, rtol=0.03)


def test_a_mixture_by_hand():
    """The same mean over the same draws, with densities written out."""
    said, seen = some(1, (7, 2)), some(2, (5, 2))
    rng = np.random.default_rng(np.asarray(jr.key_data(KEY)))
    drawn = seen[rng.integers(5, size=50)]
    drawn = drawn + np.sqrt(0.5) * rng.normal(size=drawn.shape)

    def density(x, centres):
        return np.mean([np.exp(-np.sum((x - y) ** 2) / (2 * 0.5)) for y in centres])

    expected = np.mean([np.log(density(x, seen) / density(x, said)) for x in drawn])
    found = rz.metrics.gaussian_mixture_divergence(said, seen, variance=0.5, samples=50, key=KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    half = rz.metrics.gaussian_mixture_divergence(
        np.concatenate([said, np.full((7, 2), np.nan)]), seen, variance=0.5, samples=50, key=KEY
    )
    np.testing.assert_allclose(half, expected + np.log(2), rtol=1e-10)


def test_what_has_to_be_moved():
    one, other = some(3, (400, 1)), some(4, (300, 1)) * 2 + 1
    moved = rz.metrics.sliced_wasserstein(one + 0.7, one, projections=3, key=KEY)
    np.testing.assert_allclose(moved, 0.7)
    # By quantiles: all of 1200 equal shares of both.
    rows = np.repeat(np.sort(one, axis=0), 3), np.repeat(np.sort(other, axis=0), 4)
    found = rz.metrics.sliced_wasserstein(one, other, projections=2, key=KEY)
    np.testing.assert_allclose(found, np.mean(np.abs(rows[0] - rows[1])))
    # The mean of |cos| over a circle.
    points = np.zeros((2, 2))
    found = rz.metrics.sliced_wasserstein(points + [3.0, 4.0], points, projections=4000, key=KEY)
    np.testing.assert_allclose(found, 5 * 2 / np.pi, rtol=0.02)


def test_the_most_that_a_grid_can_say():
    """A target in four cells of 25, and a run in none."""
    target = np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 5.0], [5.0, 0.0]])
    counts = np.array([1.0] * 4 + [0.0] * 21) + 1e-5
    p, q = counts / (4 + 25e-5), 1e-5 / (4 + 25e-5)
    cap = np.sum(p * np.log(p / q))
    for far in (target + 50, np.full((4, 2), np.nan)):
        found = rz.metrics.state_space_divergence(far, target, bins=5)
        np.testing.assert_allclose(found, cap)


def test_runs_that_are_lost_are_far():
    lost = np.full((300, 3), np.nan)
    assert rz.metrics.gaussian_mixture_divergence(lost, some(0), key=KEY) == np.inf
    assert rz.metrics.sliced_wasserstein(lost, some(0), key=KEY) == np.inf
    assert rz.metrics.power_spectrum_distance(lost, some(0)) == 1


def test_spectra_by_hand():
    """Hellinger's distance of spectra that a Gaussian smooths, term by term."""
    one, other, width = some(5, (64, 1)), some(6, (64, 1)).cumsum(axis=0), 2.0

    def spectrum(values):
        power = np.abs(np.fft.rfft(values[:, 0] - values.mean())) ** 2
        reach = int(4 * width)
        smooth = np.zeros(len(power))
        for f in range(len(power)):
            for shift in range(-reach, reach + 1):
                if 0 <= f + shift < len(power):
                    smooth[f] += power[f + shift] * np.exp(-0.5 * (shift / width) ** 2)
        return smooth / smooth.sum()

    p, q = spectrum(one), spectrum(other)
    expected = np.sqrt(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2) / 2)
    found = rz.metrics.power_spectrum_distance(one, other, smoothing=width)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", MEASURES)
def test_targets_that_say_nothing_are_refused(name):
    measure, options = getattr(rz.metrics, name), MEASURES[name]
    with pytest.raises(ValueError, match="all finite, got 9 steps of which 8 are"):
        measure(np.ones((9, 2)), np.r_[np.ones((8, 2)), [[np.nan, 1]]], **options)
    with pytest.raises(ValueError, match="at least two steps"):
        measure(np.ones((1, 2)), np.ones((1, 2)), **options)
    with pytest.raises(ValueError, match="the same features, got 2 and 3"):
        measure(np.ones((9, 2)), np.ones((9, 3)), **options)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least 40 steps, twice the smoothing, got 39"):
        rz.metrics.power_spectrum_distance(some(0, (39, 1)), some(1, (39, 1)))
    with pytest.raises(ValueError, match="variance"):
        rz.metrics.gaussian_mixture_divergence(some(0), some(1), variance=0.0, key=KEY)
