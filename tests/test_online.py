"""Gradients without a past equal those of backpropagation through time."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import draw, float64

import rnn_zoo as rz


sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.quality.online import CHANNELS, recall_online, recall_truncated, scored, single


KEY = jr.key(0)
T = 9
# A recurrence of each number on itself, or of pairs: parameters influence one unit, or two.
DEFAULT = ["indrnn", "mingru", "lru", "elman"]
ALONE = ["sru", "qrnn", "rglru", "s5", "s4d", "rtu", "linoss", "minlstm", "mamba", "linear_indrnn"]
OTHERS = ["lmu_linear", "gla", "deltanet", "unicornn", "lstm"]
EACH = [*DEFAULT, *(pytest.param(name, marks=pytest.mark.slow) for name in ALONE + OTHERS)]


def squares(y, target):
    return jnp.sum((y - target) ** 2)


def stream(cell):
    """Inputs with a gap, NaN under the mask, a reset, and times for who takes them."""
    xs = draw(0, (T, cell.input_size), jnp.float64).at[3].set(jnp.nan)
    targets = draw(1, (T, cell.output_size), jnp.float64)
    keywords = {"mask": jnp.arange(T) != 3, "reset": jnp.arange(T) == 5}
    if cell.timed:
        keywords["dt"] = jr.uniform(KEY, (T,), jnp.float64, 0.5, 1.5)
    return xs, targets, keywords


def flat(tree):
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def both(cell, method):
    """The gradient of the whole stream's loss: summed step by step, and backward through time."""
    xs, targets, keywords = stream(cell)
    learner = rz.train.OnlineLearner(cell, squares, optax.set_to_zero(), method=method)
    gradient = eqx.filter_jit(learner.gradient)
    now, total = learner.init(cell), 0
    for t in range(T):
        at = {name: part[t] for name, part in keywords.items()}
        _, new, now = gradient(now, xs[t], targets[t], **at)
        total = total + flat(new)

    def loss(cell):
        _, ys = rz.scan.unroll(cell, xs, method="sequential", **keywords)
        return jnp.sum(jnp.where(keywords["mask"][:, None], (ys - targets) ** 2, 0))

    return learner, total, flat(eqx.filter_jit(eqx.filter_grad(loss))(cell))


@pytest.mark.parametrize("name", EACH)
def test_rtrl_equals_backpropagation(name):
    with float64():
        cell = rz.make_cell(name, 3, 4, key=KEY, dtype=jnp.float64)
        learner, found, expected = both(cell, "rtrl")
        assert learner.exact
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_snap1_is_exact_where_units_are_alone():
    with float64():
        cell = rz.make_cell("mingru", 3, 4, key=KEY, dtype=jnp.float64)
        learner, found, expected = both(cell, "snap1")
        assert learner.exact
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        dense = rz.make_cell("elman", 3, 4, key=KEY, dtype=jnp.float64)
        learner, found, expected = both(dense, "snap1")
        assert not learner.exact
        assert 0.8 < found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) < 0.999


def test_a_model_with_two_layers_is_exact_as_well():
    with float64():
        model = rz.make_model(
            "lru", 2, 1, hidden_size=3, num_layers=2, pool=None, key=KEY, dtype=jnp.float64
        )
        learner, found, expected = both_of_a_model(model)
        assert learner.exact
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def both_of_a_model(model):
    xs, targets = draw(0, (T, 2), jnp.float64), draw(1, (T, 1), jnp.float64)
    learner = rz.train.OnlineLearner(model, squares, optax.set_to_zero())
    gradient, now, total = eqx.filter_jit(learner.gradient), learner.init(model), 0
    for t in range(T):
        _, new, now = gradient(now, xs[t], targets[t])
        total = total + flat(new)
    expected = eqx.filter_grad(lambda m: jnp.sum((m(xs) - targets) ** 2))(model)
    return learner, total, flat(expected)


def test_a_stream_in_parts_is_one_stream():
    cell = rz.cells.LRUCell(2, 2, key=KEY)
    learner = rz.train.OnlineLearner(cell, squares, optax.adam(1e-2))
    xs, targets = draw(0, (30, 2)), draw(1, (30, 2))
    whole, losses = learner.run(learner.init(cell), xs, targets)
    first, before = learner.run(learner.init(cell), xs[:15], targets[:15])
    last, after = learner.run(first, xs[15:], targets[15:])
    np.testing.assert_allclose(np.concatenate([before, after]), losses, rtol=1e-5)
    np.testing.assert_allclose(flat(last.model), flat(whole.model), rtol=1e-5, atol=1e-6)
    one, value = learner.step(learner.init(cell), xs[0], targets[0])
    np.testing.assert_allclose(value, losses[0], rtol=1e-6)
    assert (flat(one.model) != flat(cell)).any()


def test_what_cannot_learn_online():
    cell = rz.cells.ElmanCell(2, 3, key=KEY)
    with pytest.raises(ValueError, match="rtrl"):
        rz.train.OnlineLearner(cell, squares, optax.sgd(0.1), method="bptt")
    with pytest.raises(TypeError, match="is random"):
        rz.train.OnlineLearner(rz.Zoneout(cell, 0.1), squares, optax.sgd(0.1))
    large = rz.cells.ElmanCell(2, 1000, key=KEY)
    with pytest.raises(ValueError, match="smaller model"):
        rz.train.OnlineLearner(large, squares, optax.sgd(0.1))


@pytest.mark.slow
def test_what_is_written_down_long_before_it_is_asked_for_is_learned_online_alone():
    """Cut off after 10 steps of 32, the answer gives no gradient to what wrote the bit down."""
    model = single("lru", CHANNELS, 2)
    truncated = recall_truncated(1500)
    np.testing.assert_array_equal(truncated.layer.cell.B, model.layer.cell.B)
    assert scored(truncated) < 0.85
    assert scored(recall_online(1500)) > 0.97
