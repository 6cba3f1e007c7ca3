"""A population trains each member as it would train alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import assert_close

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import cross_entropy, ensemble, fit, fit_population, member, mse
from rnn_zoo.train.progress_bar import ProgressBar


N, KEY = 3, jr.key(5)
KEYS = jr.split(KEY, N)
ADAM = optax.adam(1e-2)


def make(key):
    return rz.make_model("gru", 1, 2, hidden_size=4, dropout=0.3, key=key)


def task(samples=40, time=6, seed=0):
    x = np.asarray(jr.normal(jr.key(seed), (samples, time, 1)))
    mask = np.arange(time) < np.arange(samples)[:, None] % (time - 2) + 3
    return Batch(x, (x[:, 0, 0] > 0).astype(np.int32), mask)


def population():
    return eqx.filter_vmap(make)(KEYS)


def noisy(batch, key):
    return eqx.tree_at(lambda b: b.x, batch, batch.x + 0.1 * jr.normal(key, batch.x.shape))


def test_members_are_single_runs():
    options = {"loss": cross_entropy, "optimizer": ADAM, "steps": 12, "batch_size": 8}
    options |= {"augment": noisy, "eval_every": 4, "return_best": True, "lengths": (4, 6)}
    together = fit_population(population(), task(), task(seed=1), key=KEY, **options)
    assert together.step == 12
    for i, key in enumerate(KEYS):
        alone = fit(make(key), task(), task(seed=1), key=key, **options)
        # Cut to the longest sample of any member, not of its own batch: equal but for rounding.
        assert_close(member(together.model, i), alone.model, 1e-5)
        assert_close(member(together.opt_state, i), alone.opt_state, 1e-5)
        for both, one in zip(together.history, alone.history):
            for name in set(one) - {"seconds", "step", "epoch"}:
                np.testing.assert_allclose(both[name][i], one[name], rtol=1e-4, err_msg=name)
    leaves = [jax.tree.leaves(eqx.filter(member(together.model, i), eqx.is_array)) for i in (0, 1)]
    assert any((a != b).any() for a, b in zip(*leaves))


def test_averages_and_going_on():
    options = {"loss": cross_entropy, "optimizer": ADAM, "batch_size": 8, "eval_every": 3}
    options |= {"ema": optax.ema(0.9), "return_best": True}
    first = fit_population(population(), task(), task(seed=1), key=KEY, steps=6, **options)
    again = {"key": jr.key(6), "steps": 3, **options}
    second = fit_population(first.model, task(), task(seed=1), opt_state=first.opt_state, **again)
    for i in range(N):
        alone = fit(make(KEYS[i]), task(), task(seed=1), key=KEYS[i], steps=6, **options)
        assert_close(member(first.ema_model, i), alone.ema_model, 1e-5)
        assert first.history[-1]["valid_loss"][i] == pytest.approx(
            alone.history[-1]["valid_loss"], rel=1e-4
        )
        more = again | {"key": jr.split(again["key"], N)[i], "opt_state": alone.opt_state}
        alone = fit(alone.model, task(), task(seed=1), **more)
        assert_close(member(second.model, i), alone.model, 1e-5)
        assert_close(member(second.opt_state, i), alone.opt_state, 1e-5)
    assert first.ema_model is not None
    with pytest.raises(TypeError, match="ema as an optax transformation"):
        fit_population(population(), task(), key=KEY, steps=1, **options | {"ema": 0.9})


def test_a_state_of_other_members():
    options = {"loss": cross_entropy, "optimizer": ADAM, "batch_size": 8, "key": KEY, "steps": 1}
    alone = fit(make(KEY), task(), **options)
    with pytest.raises(ValueError, match="opt_state of the 3 members, on axis 0 of each array"):
        fit_population(population(), task(), opt_state=alone.opt_state, **options)
    found = fit_population(population(), task(), **options)
    options["optimizer"] = optax.sgd(0.1, momentum=0.9)
    with pytest.raises(ValueError, match="expected opt_state as this optimizer makes it"):
        fit_population(population(), task(), opt_state=found.opt_state, **options)


def test_learning_rates_side_by_side():
    rates = np.array([1e-3, 1e-2, 1e-1], np.float32)
    options = {"loss": cross_entropy, "steps": 5, "batch_size": 8}
    together = fit_population(
        population(),
        task(),
        key=KEY,
        optimizer=optax.adam,
        settings={"learning_rate": rates},
        **options,
    )
    for i, key in enumerate(KEYS):
        alone = fit(make(key), task(), key=key, optimizer=optax.adam(rates[i]), **options)
        assert_close(member(together.model, i), alone.model, 1e-5)


def test_truncated_backpropagation_of_a_population():
    def stepping(key):
        return rz.make_model("elman", 1, 1, hidden_size=3, pool=None, key=key)

    x = np.asarray(jr.normal(KEY, (8, 6, 1)))
    options = {"loss": mse, "optimizer": ADAM, "steps": 3, "batch_size": 4, "truncate": 2}
    models = eqx.filter_vmap(stepping)(KEYS)
    together = fit_population(models, Batch(x, np.roll(x, 1, axis=1)), key=KEY, **options)
    for i, key in enumerate(KEYS):
        alone = fit(stepping(key), Batch(x, np.roll(x, 1, axis=1)), key=key, **options)
        assert_close(member(together.model, i), alone.model, 1e-5)


@pytest.mark.slow
def test_patience_is_each_member_s_own():
    options = {"loss": cross_entropy, "optimizer": optax.adam(0.1), "batch_size": 8}
    options |= {"steps": 60, "eval_every": 2, "max_patience": 2}
    together = fit_population(population(), task(), task(seed=1), key=KEY, **options)
    ends = []
    for i, key in enumerate(KEYS):
        alone = fit(make(key), task(), task(seed=1), key=key, **options)
        ends.append(alone.step)
        np.testing.assert_allclose(
            together.history[-1]["valid_loss"][i], alone.history[-1]["valid_loss"], rtol=1e-3
        )
    assert len(set(ends)) > 1
    assert together.step == max(ends)


def test_one_member_that_fails_does_not_stop_the_others():
    rates = [1e-2, 1e30, 1e-2]
    options = {"loss": mse, "steps": 8, "batch_size": 8, "eval_every": 2}
    x = np.asarray(jr.normal(KEY, (16, 5, 1)))
    models = eqx.filter_vmap(
        lambda key: rz.make_model("lem", 1, 1, hidden_size=3, pool=None, key=key)
    )(KEYS)
    result = fit_population(
        models,
        Batch(x, x),
        key=KEY,
        optimizer=optax.sgd,
        settings={"learning_rate": rates},
        **options,
    )
    assert result.history[-1]["finite"].tolist() == [True, False, True]
    assert result.step == 8
    for leaf in jax.tree.leaves(eqx.filter(result.model, eqx.is_inexact_array)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("at", [3, 4])
def test_ctrl_c_keeps_what_there_is(at):
    """Behind an evaluation or between two of them."""
    options = {"loss": cross_entropy, "optimizer": ADAM, "batch_size": 8, "key": KEY}
    options |= {"eval_every": 4}

    class Bar(ProgressBar):
        """Where a signal may come: after any step."""

        def __init__(self, *_):
            super().__init__(False, 12, 0)
            self.steps = 0

        def advance(self):
            self.steps += 1
            if self.steps == at:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnn_zoo.train.population.ProgressBar", Bar)
        result = fit_population(population(), task(), task(), steps=12, **options)
    assert (result.step, len(result.history)) == (at, 1)
    assert result.history[-1]["interrupted"] is True
    whole = fit_population(population(), task(), task(), steps=at, **options)
    assert_close(result.model, whole.model, 0)


def test_an_ensemble_is_the_mean_of_its_members():
    models, batch = population(), task(5)
    mean, spread = ensemble(models, batch, transform=jax.nn.softmax)
    said = [
        jax.nn.softmax(rz.batch(eqx.nn.inference_mode(make(key)))(batch.x, mask=batch.mask))
        for key in KEYS
    ]
    np.testing.assert_allclose(mean, np.mean(said, axis=0), atol=1e-6)
    np.testing.assert_allclose(spread, np.std(said, axis=0), atol=1e-6)


def test_what_is_no_population():
    options = {"loss": cross_entropy, "steps": 2, "batch_size": 8, "key": KEY}
    with pytest.raises(ValueError, match="with the members on axis 0: make one by"):
        fit_population(make(KEY), task(), optimizer=ADAM, **options)
    with pytest.raises(ValueError, match=r"expected learning_rate of shape \(3,\), got \(2,\)"):
        fit_population(
            population(),
            task(),
            optimizer=optax.adam,
            settings={"learning_rate": [1e-3, 1e-2]},
            **options,
        )
    with pytest.raises(TypeError, match="settings need an optimizer that takes them"):
        fit_population(
            population(),
            task(),
            optimizer=ADAM,
            settings={"learning_rate": jnp.ones(3)},
            **options,
        )
    with pytest.raises(IndexError, match="expected a member from 0 to 2, got 3"):
        member(population(), 3)


# The call of the release before


def test_the_old_call_of_a_population_says_the_new_one():
    options = {"loss": cross_entropy, "steps": 3, "batch_size": 8, "key": KEY}
    options |= {"optimizer": optax.adam, "settings": {"learning_rate": [1e-3, 1e-2, 1e-1]}}
    new = fit_population(population(), task(), task(seed=1), **options)
    with pytest.warns(DeprecationWarning, match=r"fit_population\(models, \.\.\.\)"):
        old = fit(population(), task(), task(seed=1), population=N, **options)
    with pytest.warns(DeprecationWarning, match="fit_population"):
        named = fit(model=population(), train=task(), valid=task(seed=1), population=N, **options)
    for result in (old, named):
        assert_close(result.model, new.model, 0)
        assert_close(result.opt_state, new.opt_state, 0)
        for one, other in zip(result.history, new.history, strict=True):
            del one["seconds"]
            assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore:fit.model:DeprecationWarning")
def test_the_old_call_of_what_is_no_population():
    options = {"loss": cross_entropy, "steps": 2, "batch_size": 8, "key": KEY, "optimizer": ADAM}
    with pytest.raises(ValueError, match="with the members on axis 0: make one by"):
        fit(make(KEY), task(), population=3, **options)
    with pytest.raises(ValueError, match="expected a model of 4 members, got 3"):
        fit(population(), task(), population=4, **options)
    with pytest.raises(ValueError, match="settings are those of a population"):
        fit(make(KEY), task(), settings={}, **options)
    with pytest.raises(ValueError, match="writes no checkpoints"):
        fit(population(), task(), population=3, checkpoint_dir="x", **options)
