"""Tasks of neuroscience, trial by trial, and the environments of others."""

import types

import jax
import numpy as np
import pytest

from rnn_zoo import data


KEY = jax.random.key(0)
SMALL = {"n_train": 300, "n_valid": 3, "n_test": 5}


def trials(name, **options):
    sets = data.load(name, key=KEY, **SMALL, **options)
    assert len(sets.train) == 300
    return np.asarray(sets.train.x), np.asarray(sets.train.y), sets.info


def check_fixation(x, y, response):
    np.testing.assert_array_equal(x[:, :-response, 0], 1)
    np.testing.assert_array_equal(x[:, -response:, 0], 0)
    np.testing.assert_array_equal(y[:, :-response], 0)
    assert set(np.unique(y[:, -response:])) == {1, 2}
    assert (y[:, -response:] == y[:, -1:]).all()


def test_perceptual_decisions_are_for_the_stronger_input():
    x, y, info = trials("perceptual_decision", noise=0.0, coherences=(0.2, 0.4))
    assert (info.input_size, info.output_size) == (3, 3)
    check_fixation(x, y, 5)
    stronger = np.where(x[:, 0, 1] > x[:, 0, 2], 1, 2)
    np.testing.assert_array_equal(y[:, -1], stronger)
    np.testing.assert_allclose(x[:, :20, 1:].sum(axis=-1), 1, atol=1e-6)
    gaps = np.abs(x[:, 0, 1] - x[:, 0, 2])
    assert set(np.round(gaps, 5)) == {np.float32(0.2), np.float32(0.4)}
    np.testing.assert_array_equal(x[:, 20:, 1:], 0)
    noisy, _, _ = trials("perceptual_decision", noise=2.0)
    assert 1.9 < noisy[:, :20, 1:].std() < 2.1


def test_context_decisions_follow_the_cue():
    x, y, _ = trials("context_decision", noise=0.0)
    check_fixation(x, y, 5)
    context = x[:, 0, 3:].argmax(axis=-1)
    signal = x[np.arange(300), 0, 1 + context]
    np.testing.assert_array_equal(y[:, -1], np.where(signal > 0, 1, 2))
    np.testing.assert_array_equal(x[:, :-5, 3:].sum(axis=-1), 1)
    other = x[np.arange(300), 0, 2 - context]
    assert 0.4 < np.mean((other > 0) == (signal > 0)) < 0.6


def test_delayed_matches_compare_the_two_items():
    x, y, info = trials("delayed_match", noise=0.0, n_items=3)
    assert info.input_size == 4
    check_fixation(x, y, 5)
    first, second = x[:, 0, 1:].argmax(axis=-1), x[:, 25, 1:].argmax(axis=-1)
    np.testing.assert_array_equal(y[:, -1], np.where(first == second, 1, 2))
    np.testing.assert_array_equal(x[:, 5:25, 1:], 0)
    assert 0.4 < np.mean(first == second) < 0.6
    assert set(second[first == 0]) == {0, 1, 2}


def test_an_interval_is_measured_and_made_again():
    x, y, _ = trials("ready_set_go", shortest=4, longest=9, gain=1.5)
    ready, go = x[..., 0].argmax(axis=1), x[..., 1].argmax(axis=1)
    interval = go - ready
    assert (interval.min(), interval.max()) == (4, 9)
    np.testing.assert_array_equal(x.sum(axis=(1, 2)), 2)
    reached = (y[..., 0] >= 1).argmax(axis=1)
    np.testing.assert_array_equal(reached, go + np.ceil(1.5 * interval))
    np.testing.assert_array_equal(y[np.arange(300), go, 0], 0)
    half = y[np.arange(300), go + 3, 0]
    np.testing.assert_allclose(half, 3 / (1.5 * interval), rtol=1e-6)


class Environment:
    """What a task of neurogym offers to supervised training."""

    def __init__(self, real=False):
        self.rng, self.real = np.random.default_rng(0), real

    def seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def new_trial(self):
        steps = int(self.rng.integers(3, 6))
        self.ob = self.rng.standard_normal((steps, 2))
        self.gt = self.rng.standard_normal(steps) if self.real else np.arange(steps) % 3


def test_trials_of_an_environment_are_a_data_set():
    sets = data.from_trials(Environment, n_train=8, n_valid=2, n_test=4)
    assert (sets.info.input_size, sets.info.output_size) == (2, 3)
    assert sets.info.task == "classification"
    mask, y = np.asarray(sets.train.mask), np.asarray(sets.train.y)
    assert (y[mask] == np.concatenate([np.arange(n) % 3 for n in mask.sum(axis=1)])).all()
    assert (y[~mask] == data.NO_TARGET).all()
    again = data.from_trials(Environment, n_train=8, n_valid=2, n_test=4)
    np.testing.assert_array_equal(again.train.x, sets.train.x)
    assert (np.asarray(sets.test.x)[0, 0] != np.asarray(sets.train.x)[0, 0]).all()
    real = data.from_trials(lambda: Environment(real=True), n_train=4, n_valid=0, n_test=2)
    assert real.info.task == "regression"
    assert real.train.y.shape[-1] == 1

    class Wrapped:
        """As Gymnasium wraps what it makes."""

        def __init__(self):
            self.unwrapped = Environment()
            self.unwrapped.action_space = types.SimpleNamespace(n=7)

    wrapped = data.from_trials(Wrapped, n_train=8, n_valid=2, n_test=4).info
    assert (wrapped.name, wrapped.output_size) == ("Environment", 7)

    class Broken(Environment):
        def new_trial(self):
            self.ob, self.gt = np.zeros((3, 2)), np.zeros(2)

    with pytest.raises(ValueError, match="after new_trial"):
        data.from_trials(Broken)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's, of how neurogym registers tasks
def test_a_task_of_neurogym_is_a_data_set():
    neurogym = pytest.importorskip("neurogym")

    def make():
        return neurogym.make("PerceptualDecisionMaking-v0")

    sets = data.from_trials(make, n_train=8, n_valid=2, n_test=4)
    assert (sets.info.name, sets.info.task) == ("PerceptualDecisionMaking", "classification")
    assert (sets.info.input_size, sets.info.output_size) == (3, 3)
    again = data.from_trials(make, n_train=8, n_valid=2, n_test=4)
    np.testing.assert_array_equal(again.train.x, sets.train.x)


@pytest.mark.parametrize("options", [{"stimulus": 0}, {"delay": -1}, {"noise": -1.0}])
def test_bad_trials_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        data.perceptual_decision(key=KEY, **options)
