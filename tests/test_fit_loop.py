"""What people add to the loop: callbacks, averages, schedules; and losses that are not finite."""

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from test_train import ADAM, KEY, model_for, same, sign_task, train

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import (
    Checkpoints,
    NonFiniteLossError,
    cross_entropy,
    evaluate,
    fit_population,
    trainable,
)


def blind(model, batch, *, key=None):
    """A loss that is NaN in inference, where there is no key."""
    value, metrics = cross_entropy(model, batch, key=key)
    return (value if key is not None else value * jnp.nan), metrics


# Callbacks


def test_a_callback_sees_the_run_so_far():
    seen = []
    result = train(
        model_for(),
        sign_task(),
        steps=4,
        eval_every=2,
        callback=lambda step, row, result: seen.append((step, row, result)),
    )
    assert [step for step, *_ in seen] == [one.step for *_, one in seen] == [2, 4]
    assert seen[0][2].history[-1] is seen[0][1]
    half = train(model_for(), sign_task(), steps=2)
    assert same(seen[0][2].model, half.model)
    assert same(seen[0][2].opt_state, half.opt_state)
    assert same(seen[1][2].model, result.model)


class Caller:
    def __init__(self):
        self.calls = []

    def __call__(self, step, row):
        self.calls.append((step, row))

    def with_all(self, step, row, result):
        self.calls.append((step, row, result))


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (lambda calls: lambda step, row: calls.append((step, row)), 2),
        (lambda calls: lambda step, row, calls=calls: calls.append((step, row)), 2),
        (lambda calls: lambda *given: calls.append(given), 2),
        (lambda calls: lambda step, row, result, /: calls.append((step, row, result)), 3),
    ],
)
def test_callbacks_of_two_and_of_three(make, arguments):
    calls = []
    train(model_for(), sign_task(), steps=1, callback=make(calls))
    assert [len(call) for call in calls] == [arguments]


def test_callbacks_that_are_objects():
    caller = Caller()
    train(model_for(), sign_task(), steps=1, callback=caller)
    train(model_for(), sign_task(), steps=1, callback=caller.with_all)
    assert [len(call) for call in caller.calls] == [2, 3]


# The average of the parameters


EMA = optax.ema(0.8)


def test_the_average_is_optax_s_own():
    data, models = sign_task(), []
    result = train(
        model_for(),
        data,
        data,
        steps=6,
        eval_every=1,
        ema=EMA,
        callback=lambda step, row, result: models.append(result.model),
    )
    state, expected = EMA.init(eqx.filter(model_for(), trainable(model_for()))), None
    for model in models:
        expected, state = EMA.update(eqx.filter(model, trainable(model)), state)
    got = eqx.filter(result.ema_model, trainable(result.ema_model))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    plain = train(model_for(), data, steps=6)
    assert same(result.model, plain.model)
    assert plain.ema_model is None
    valid_loss = result.history[-1]["valid_loss"]
    assert valid_loss == evaluate(result.ema_model, data, loss=cross_entropy)["loss"]
    assert valid_loss != evaluate(result.model, data, loss=cross_entropy)["loss"]


def test_the_best_average_and_its_model_survive_a_checkpoint(tmp_path):
    data = sign_task()
    wrong = Batch(data.x, 1 - data.y)
    options = {"eval_every": 2, "max_patience": 3, "return_best": True, "ema": EMA}
    whole = train(model_for(), data, wrong, steps=60, **options)
    losses = [row["valid_loss"] for row in whole.history]
    assert evaluate(whole.ema_model, wrong, loss=cross_entropy)["loss"] == min(losses)
    checkpoints = Checkpoints(tmp_path, resume=True)
    train(model_for(), data, wrong, steps=whole.step - 2, checkpoints=checkpoints, **options)
    run = train(model_for(), data, wrong, steps=60, checkpoints=checkpoints, **options)
    assert same((run.model, run.ema_model), (whole.model, whole.ema_model))
    assert same(run.opt_state, whole.opt_state)
    del options["ema"]
    with pytest.raises(ValueError, match="average"):
        train(model_for(), data, wrong, steps=60, checkpoints=checkpoints, **options)


def test_an_average_over_segments():
    data = Batch(sign_task().x, np.zeros((64, 5), np.int32))
    result = train(model_for(None), data, steps=2, truncate=2, ema=EMA)
    assert not same(result.model, result.ema_model)


def test_a_number_is_no_average():
    with pytest.raises(TypeError, match=r"optax.ema\(0.999\), got 0.99"):
        train(model_for(), sign_task(), steps=1, ema=0.99)


# To go on


def test_a_schedule_goes_on():
    optimizer = optax.adam(optax.linear_schedule(1e-2, 0.0, 4))
    first = train(model_for(), sign_task(), steps=4, optimizer=optimizer)
    second = train(
        first.model, sign_task(), steps=2, optimizer=optimizer, opt_state=first.opt_state
    )
    assert same(second.model, first.model)  # the rate is 0 by now
    assert int(optax.tree.get(second.opt_state[0], "count")) == 6


def test_a_state_of_another_optimizer():
    sgd = train(model_for(), sign_task(), steps=1, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="opt_state as this optimizer makes it"):
        train(model_for(), sign_task(), steps=1, opt_state=sgd.opt_state)
    other = train(model_for(name="gru"), sign_task(), steps=1)
    with pytest.raises(ValueError, match="opt_state as this optimizer makes it"):
        train(model_for(), sign_task(), steps=1, opt_state=other.opt_state)


# Validation losses that are not finite


@pytest.mark.parametrize("options", [{"return_best": True}, {"max_patience": 2}])
def test_no_finite_validation_loss(options):
    data = sign_task()
    with pytest.raises(NonFiniteLossError, match="no validation loss was finite up to") as raised:
        train(model_for(), data, data, blind, steps=6, eval_every=1, **options)
    result = raised.value.result
    assert result.step == (2 if "max_patience" in options else 6)
    assert "the validation data are finite" in str(raised.value)
    assert same(result.model, train(model_for(), data, steps=result.step).model)


def test_nothing_depends_on_the_validation_loss():
    data = sign_task()
    result = train(model_for(), data, data, blind, steps=2, eval_every=1)
    assert all(math.isnan(row["valid_loss"]) for row in result.history)
    assert result.step == 2


def test_data_that_make_the_validation_loss_not_finite():
    data = sign_task()
    x = np.array(data.x)
    x[3, 2] = np.nan
    message = "in the validation data: .*nan at sample 3, step 2"
    with pytest.raises(NonFiniteLossError, match=message):
        train(model_for(), data, Batch(x, data.y), steps=2, return_best=True)


def test_a_single_nan_is_no_best_one():
    data, seen = sign_task(), []
    options = {"steps": 12, "eval_every": 2}
    plain = train(model_for(), data, data, **options)
    worse, better = (row["valid_loss"] for row in plain.history[-2:])

    def now_and_then(model, batch, *, key=None):
        value, metrics = cross_entropy(model, batch, key=key)
        hidden = (key is None) & (value < (worse + better) / 2)
        return jnp.where(hidden, jnp.nan, value), metrics

    result = train(
        model_for(),
        data,
        data,
        now_and_then,
        return_best=True,
        callback=lambda step, row: seen.append(row["valid_loss"]),
        **options,
    )
    finite = [loss for loss in seen if not math.isnan(loss)]
    assert len(finite) == 5
    assert math.isnan(seen[-1])
    assert evaluate(result.model, data, loss=cross_entropy)["loss"] == min(finite)


def population():
    return eqx.filter_vmap(model_of)(jr.split(KEY, 2))


def model_of(key):
    return rz.make_model("elman", 1, 2, hidden_size=4, key=key)


def test_a_population_without_a_finite_validation_loss():
    data = sign_task()
    options = {"optimizer": ADAM, "key": jr.key(1), "steps": 2, "return_best": True}
    with pytest.raises(NonFiniteLossError, match="no validation loss was finite"):
        fit_population(population(), data, data, loss=blind, **options)

    def half_blind(model, batch, *, key=None):
        value, metrics = cross_entropy(model, batch, key=key)
        blinded = model.head.weight[0, 0] > 0
        return jnp.where(blinded & (key is None), jnp.nan, value), metrics

    weight = population().head.weight
    weight = weight.at[:, 0, 0].set(jnp.array([-1.0, 1.0]))
    models = eqx.tree_at(lambda m: m.head.weight, population(), weight)
    with pytest.warns(UserWarning, match=r"members \[1\] was finite"):
        best = fit_population(models, data, data, loss=half_blind, **options)
    last = fit_population(models, data, data, loss=half_blind, **{**options, "return_best": False})
    assert same(best.model.head.weight[1], last.model.head.weight[1])


# What a result says of itself


def test_a_result_is_a_few_lines():
    result = train(model_for(), sign_task(), steps=4, eval_every=2, ema=EMA)
    lines = repr(result).splitlines()
    assert lines[0] == "FitResult after 4 steps, 2 rows of history"
    assert re.fullmatch(
        r"  model: \w+, \d+ numbers that train, and their average in ema_model", lines[1]
    )
    assert lines[2].startswith("  last row: step=4, epoch=1, seconds=")
    assert len(lines) == 3


# The page


class Writer:
    """What TensorBoard's and W&B's callbacks of the page call, where these are not installed."""

    rows: list = []

    def __init__(self, folder=None):
        pass

    def add_scalar(self, name, value, step):
        self.rows.append((name, float(value), step))

    def log(self, row, step):
        self.rows.append((row, step))

    def close(self):
        pass

    finish = close


def test_the_page_runs(capsys, monkeypatch):
    """Each printed line is the one that the comment beside its print promises."""
    page = (Path(__file__).parent.parent / "docs" / "pages" / "howto" / "training.md").read_text()
    board = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "tensorboardX", board)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: Writer()))
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(block, "training.md", "exec"), names)
    promised = re.findall(r"^print\(.*\)\s+# (.+)$", page, re.M)
    said = capsys.readouterr().out.splitlines()
    shown = [line for line in said if "ScaleByAdamState" in line]
    assert [line for line in said if line not in shown] == promised
    assert shown == [f"{step} valid_loss True ScaleByAdamState" for step in (10, 20)]
    assert ("valid_loss", 20) in {(row[0], row[-1]) for row in Writer.rows if len(row) == 3}
    assert [row[-1] for row in Writer.rows if len(row) == 2] == [10, 20]
