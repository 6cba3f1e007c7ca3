"""Losses, the training loop, evaluation, checkpoints, truncated backpropagation."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import (
    Checkpoints,
    PredictionLoss,
    cross_entropy,
    evaluate,
    fit,
    mse,
    trainable,
)


KEY = jr.key(0)
ADAM = optax.adam(1e-2)  # one object, so that tests share compiled steps


def identity(x, state=None, *, dt=None, mask=None, reset=None, key=None):
    """A model whose predictions are its inputs."""
    return x


def model_for(pool="last", outputs=2, name="elman", **options):
    return rz.make_model(name, 1, outputs, hidden_size=4, pool=pool, key=KEY, **options)


def sign_task(samples=64, time=5):
    """Which sign has the first input?"""
    x = np.asarray(jr.normal(KEY, (samples, time, 1)))
    return Batch(x, (x[:, 0, 0] > 0).astype(np.int32))


def echo_task(samples=8, time=6):
    """Say each input again, with gaps at the end."""
    x = np.asarray(jr.normal(KEY, (samples, time, 1)))
    mask = np.arange(time) < np.arange(samples)[:, None] % time + 1
    return Batch(x, np.roll(x, 1, axis=1), mask)


def train(model, data, valid=None, loss=cross_entropy, **options):
    options = {"optimizer": ADAM, "key": jr.key(1), "batch_size": 16, **options}
    return fit(model, data, valid, loss=loss, **options)


def same(a, b):
    return bool(eqx.tree_equal(a, b))


def differ(a, b):
    return not same(eqx.filter(a, eqx.is_array), eqx.filter(b, eqx.is_array))


# Losses


def numpy_cross_entropy(logits, labels):
    logits = logits - logits.max(-1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0]


def test_losses_are_the_formulas():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3, 4)), rng.integers(0, 4, (6, 3))
    value, metrics = cross_entropy(identity, Batch(logits.astype(np.float32), labels))
    np.testing.assert_allclose(value, numpy_cross_entropy(logits, labels).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(-1) == labels).mean())
    targets = rng.normal(size=(6, 3, 4))
    value, _ = mse(identity, Batch(logits.astype(np.float32), targets.astype(np.float32)))
    np.testing.assert_allclose(value, ((logits - targets) ** 2).mean(), rtol=1e-5)


def test_more_losses_are_those_of_optax():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3, 4)).astype(np.float32), rng.integers(0, 4, (6, 3))
    mask = rng.random((6, 3)) < 0.5
    weights = np.array([0.5, 1.0, 2.0, 0.0])
    smooth = optax.smooth_labels(np.eye(4, dtype=np.float32)[labels], 0.1)
    each = np.asarray(optax.softmax_cross_entropy(logits, smooth))
    loss = rz.train.cross_entropy_with(class_weights=weights, label_smoothing=0.1)
    assert loss is rz.train.cross_entropy_with(class_weights=list(weights), label_smoothing=0.1)
    value, _ = loss(identity, Batch(logits, np.where(mask, labels, -1), mask))
    np.testing.assert_allclose(value, (each * weights[labels])[mask].mean(), rtol=1e-5)

    answers = rng.integers(0, 2, (6, 3, 4)).astype(np.float32)
    each = np.asarray(optax.sigmoid_binary_cross_entropy(logits, answers))
    right = (logits > 0) == (answers > 0.5)
    hidden = rng.random((6, 3, 4)) < 0.3
    data = Batch(logits, np.where(hidden, np.nan, answers).astype(np.float32), mask)
    value, metrics = rz.train.binary_cross_entropy(identity, data)
    seen = mask[..., None] & ~hidden
    np.testing.assert_allclose(value, each[seen].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], right[seen].mean(), rtol=1e-5)

    far = 3 * rng.normal(size=(6, 3, 4)).astype(np.float32)
    each = np.asarray(optax.huber_loss(logits, far, delta=0.7))
    value, _ = rz.train.huber(0.7)(identity, Batch(logits, far, mask))
    np.testing.assert_allclose(value, each[mask].mean(), rtol=1e-5)
    assert rz.train.huber() is rz.train.huber(1.0)


BAD_LOSSES = {
    "weights": (lambda: {"class_weights": [1.0, -1.0]}, "class_weights of at least 0"),
    "smoothing": (lambda: {"label_smoothing": 1.0}, r"label_smoothing in \[0, 1\)"),
}


@pytest.mark.parametrize("name", BAD_LOSSES)
def test_losses_that_are_none(name):
    options, message = BAD_LOSSES[name]
    with pytest.raises(ValueError, match=message):
        rz.train.cross_entropy_with(**options())


def test_losses_check_their_targets():
    data = Batch(np.zeros((4, 5, 1), np.float32), np.zeros(4, int))
    with pytest.raises(ValueError, match="class_weights for the model's 2 outputs, got 3"):
        evaluate(model_for(), data, loss=rz.train.cross_entropy_with(class_weights=[1, 1, 1]))
    data = Batch(np.zeros((4, 5, 1), np.float32), np.full((4, 2), 2.0, np.float32))
    with pytest.raises(ValueError, match="from 0 to 1, the probability of yes, got 2"):
        evaluate(model_for(), data, loss=rz.train.binary_cross_entropy)
    with pytest.raises(ValueError, match="delta above 0"):
        rz.train.huber(0.0)


def test_masked_steps_do_not_count_and_hide_anything():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3, 4)).astype(np.float32), rng.integers(0, 4, (6, 3))
    targets, mask = rng.normal(size=(6, 3, 4)).astype(np.float32), rng.random((6, 3)) < 0.5
    value, metrics = cross_entropy(identity, Batch(logits, np.where(mask, labels, -100), mask))
    expected = numpy_cross_entropy(logits, labels)[mask].mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    right = (logits.argmax(-1) == labels)[mask].mean()
    np.testing.assert_allclose(metrics["accuracy"], right, rtol=1e-6)
    targets[~mask] = np.nan
    value, _ = mse(identity, Batch(logits, targets, mask))
    np.testing.assert_allclose(value, ((logits - targets)[mask] ** 2).mean(), rtol=1e-5)


def test_nan_behind_a_mask_does_not_reach_the_gradient():
    data = echo_task()
    data = Batch(data.x, np.where(data.mask[..., None], data.y, np.nan), data.mask)
    model = model_for(None, 1)
    grads = eqx.filter_jit(eqx.filter_grad(lambda m: mse(m, data)[0]))(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_a_batch_of_hidden_steps_has_loss_zero():
    data = Batch(np.ones((2, 3, 4), np.float32), np.zeros((2, 3), int), np.zeros((2, 3), bool))
    assert cross_entropy(identity, data)[0] == 0


def test_16_bit_predictions_give_a_32_bit_loss():
    data = Batch(jnp.ones((2, 3, 4), jnp.bfloat16), np.zeros((2, 3), int))
    assert cross_entropy(identity, data)[0].dtype == jnp.float32
    assert mse(identity, Batch(data.x, data.x))[0].dtype == jnp.float32


@pytest.mark.parametrize(
    ("loss", "pool", "y", "message"),
    [
        (cross_entropy, "last", np.zeros((4, 5), int), "pool=None"),
        (cross_entropy, None, np.zeros(4, int), 'pool="last"'),
        (cross_entropy, "last", np.zeros(4, np.float32), "integer labels"),
        (cross_entropy, "last", np.array([0, 1, 2, 0]), "labels from 0 to 1.*got 2"),
        (cross_entropy, "last", np.array([0, 1, -100, 0]), "labels from 0 to 1.*got -100"),
        (mse, "last", np.zeros((4, 3), np.float32), r"\(1, 2\).*\(1, 3\)"),
        (mse, None, np.zeros((4, 2), np.float32), 'pool="last"'),
        (mse, "last", np.zeros((4, 5, 2), np.float32), "pool=None"),
    ],
)
def test_predictions_and_targets_that_do_not_fit(loss, pool, y, message):
    data = Batch(np.zeros((4, 5, 1), np.float32), y)
    with pytest.raises(ValueError, match=message):
        evaluate(model_for(pool), data, loss=loss)
    with pytest.raises(ValueError, match=message):
        train(model_for(pool), data, loss=loss, steps=1, batch_size=2)


def test_nothing_is_broadcast():
    data = Batch(np.zeros((4, 5, 1), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"y\[..., None\]"):
        evaluate(model_for(outputs=1), data, loss=mse)


# What trains


def test_frozen_parts_do_not_train():
    cell = rz.Frozen(rz.cells.ElmanCell(1, 4, key=KEY))
    model = rz.SequenceModel(rz.Recurrent(cell), 2, key=KEY)
    assert sum(jax.tree.leaves(trainable(model))) == 2
    result = train(model, sign_task(), steps=5, optimizer=optax.adamw(0.1, weight_decay=0.5))
    assert same(result.model.layer, model.layer)
    assert differ(result.model.head, model.head)


# The loop


def test_fit_learns():
    data = sign_task()
    result = train(model_for(), data, data, epochs=60, eval_every=80)
    assert [row["step"] for row in result.history] == [80, 160, 240]
    assert result.step == 240
    first, last = result.history[0], result.history[-1]
    assert last["epoch"] == 60
    assert last["seconds"] >= first["seconds"] > 0
    assert set(last) == {
        "step",
        "epoch",
        "seconds",
        *(f"{part}_{name}" for part in ("train", "valid") for name in ("loss", "accuracy")),
    }
    assert last["valid_accuracy"] > 0.9
    assert last["valid_loss"] == evaluate(result.model, data, loss=cross_entropy)["loss"]


def test_steps_are_compiled_once_even_over_two_runs():
    traces = []

    def loss(model, batch, *, key):
        traces.append(1)
        return cross_entropy(model, batch, key=key)[0]

    data = sign_task()
    first = train(model_for(), data, loss=loss, steps=6)
    before = len(traces)
    train(first.model, data, loss=loss, steps=6)
    assert len(traces) == before
    assert "train_loss" in first.history[-1]


def noisy(batch, key):
    return Batch(batch.x + 0.1 * jr.normal(key, batch.x.shape), batch.y)


def drawn_targets(batch, key):
    """One random number as the target of everything."""
    return eqx.tree_at(lambda b: b.y, batch, jnp.full_like(batch.y, jr.uniform(key)))


def told(predictions, batch):
    return mse.function(predictions, batch)[0], {"target": jnp.mean(batch.y)}


@pytest.mark.parametrize("truncate", [None, 2])
def test_every_step_draws_anew(truncate):
    data = Batch(np.zeros((8, 6, 1), np.float32), np.zeros((8, 6, 1), np.float32))
    options = {"loss": PredictionLoss(told), "batch_size": 4, "truncate": truncate}
    runs = [
        train(model_for(None, 1), data, steps=5, eval_every=1, augment=drawn_targets, **options)
        for _ in range(2)
    ]
    first, second = ([row["train_target"] for row in run.history] for run in runs)
    assert first == second
    assert len(set(first)) == 5


def test_the_loss_draws_anew():
    def loss(model, batch, *, key=None):
        value, _ = cross_entropy(model, batch, key=key)
        return value, {"draw": jnp.zeros(()) if key is None else jr.uniform(key)}

    history = train(model_for(), sign_task(), loss=loss, steps=5, eval_every=1).history
    assert len({row["train_draw"] for row in history}) == 5


@pytest.mark.parametrize("key", [jr.key(3), jr.PRNGKey(3)])
def test_typed_and_raw_keys_with_dropout_and_noise(key):
    model, data = model_for(dropout=0.2), sign_task()
    runs = [train(model, data, steps=5, key=key, augment=noisy) for _ in range(2)]
    assert same(runs[0].model, runs[1].model)
    assert differ(train(model, data, steps=5, key=key).model, runs[0].model)
    assert runs[0].model.dropout.inference is False


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(0, 1e-2, 5))),
        optax.chain(optax.adam(1e-2), optax.contrib.reduce_on_plateau()),
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
        optax.apply_if_finite(optax.sgd(0.1), 3),
        optax.lbfgs(memory_size=2),
    ],
)
def test_any_optimizer(optimizer):
    result = train(model_for(), sign_task(), steps=3, optimizer=optimizer)
    assert differ(result.model, model_for())


def test_each_epoch_leaves_out_another_remainder():
    # 7 samples in batches of 3: each epoch has two batches and leaves one sample out.
    seen = []

    def record(batch, key):
        jax.debug.callback(lambda y: seen.append(y.tolist()), batch.y)
        return batch

    x = np.zeros((7, 2, 1), np.float32)
    data = Batch(x, np.arange(7))
    train(model_for(outputs=7), data, epochs=6, batch_size=3, augment=record)
    jax.effects_barrier()
    epochs = [sum(seen[i : i + 2], []) for i in range(0, 12, 2)]
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) > 1


def test_lengths_cut_padding():
    shapes = set()

    def record(batch, key):
        shapes.add(batch.x.shape)
        return batch

    data = echo_task()
    train(
        model_for(None, 1), data, loss=mse, epochs=3, batch_size=1, lengths=(2, 6), augment=record
    )
    assert shapes == {(1, 2, 1), (1, 6, 1)}


def test_patience_and_the_best_model():
    data = sign_task()
    wrong = Batch(data.x, 1 - data.y)  # what is learnt makes this ever worse
    result = train(model_for(), data, wrong, steps=100, eval_every=5, max_patience=3)
    losses = [row["valid_loss"] for row in result.history]
    assert len(losses) == 3 + 1 + int(np.argmin(losses))
    assert result.step == 5 * len(losses) < 100
    best = train(
        model_for(), data, wrong, steps=100, eval_every=5, max_patience=3, return_best=True
    )
    assert evaluate(best.model, wrong, loss=cross_entropy)["loss"] == min(losses)
    assert losses[-1] > min(losses)


@pytest.mark.parametrize("truth", [bool, np.bool_, jnp.bool_], ids=["plain", "numpy", "jax"])
def test_a_callback_sees_rows_and_stops(truth):
    rows = []

    def callback(step, row):
        rows.append((step, row["train_loss"]))
        return truth(step == 6)

    result = train(model_for(), sign_task(), steps=20, eval_every=2, callback=callback)
    assert [step for step, _ in rows] == [2, 4, 6]
    assert result.step == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of steps and epochs"),
        ({"steps": 1, "epochs": 1}, "exactly one of steps and epochs"),
        ({"steps": 0}, "at least one step"),
        ({"steps": 1, "batch_size": 65}, "batch_size from 1 to the 64 samples"),
        ({"steps": 1, "eval_every": 0}, "eval_every of at least 1"),
        ({"steps": 1, "return_best": True}, "give valid"),
        ({"steps": 1, "max_patience": 1}, "give valid"),
        ({"steps": 1, "checkpoints": Checkpoints("x", 0)}, "every of Checkpoints of at least 1"),
        ({"steps": 1, "resume": True}, "need checkpoint_dir"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        train(model_for(), sign_task(), **options)


def test_data_that_are_no_batch():
    with pytest.raises(TypeError, match="rnn_zoo.data.Batch"):
        train(model_for(), (np.zeros((4, 5, 1)), np.zeros(4)), steps=1)


@pytest.mark.parametrize("steps", [6, 40])
def test_a_loss_that_is_not_finite_keeps_the_last_good_model(steps):
    optimizer = optax.sgd(0.1)

    def good(model, batch, *, key):
        # The bias of the head grows past 1 after the fourth step of size 0.3.
        return -3.0 * model.head.bias[0]

    def bad(model, batch, *, key):
        value = good(model, batch, key=key)
        return jnp.where(model.head.bias[0] > 1.0, jnp.nan, value)

    model = eqx.tree_at(lambda m: m.head.bias, model_for(), jnp.zeros(2))
    expected = train(model, sign_task(), loss=good, steps=4, optimizer=optimizer)
    with pytest.raises(rz.train.NonFiniteLossError, match="at step 5.*learning rate") as raised:
        train(model, sign_task(), loss=bad, steps=steps, optimizer=optimizer)
    assert isinstance(raised.value, FloatingPointError)
    assert raised.value.result.step == 4
    assert same(raised.value.result.model, expected.model)


def test_ctrl_c_keeps_what_there_is(tmp_path):
    def callback(step, row):
        if step == 4 and not row.get("interrupted"):
            raise KeyboardInterrupt

    data = sign_task()
    options = {"steps": 12, "eval_every": 4, "checkpoints": Checkpoints(tmp_path, resume=True)}
    result = train(model_for(), data, data, callback=callback, **options)
    assert result.step == 4
    assert result.history[-1]["interrupted"] is True
    resumed = train(model_for(), data, data, **options)
    assert same(resumed.model, train(model_for(), data, data, steps=12, eval_every=4).model)


def test_a_progress_bar_goes_to_stderr(capsys):
    train(model_for(), sign_task(), steps=2, show_progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err


def test_a_progress_bar_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"needs tqdm: pip install .*\[demo\]"):
        train(model_for(), sign_task(), steps=2, show_progress=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay_under_x64(dtype):
    with jax.enable_x64(True):
        model = rz.make_model("elman", 1, 2, hidden_size=4, dtype=dtype, key=jr.key(0))
        data = jax.tree.map(lambda a: a.astype("float64") if a.ndim > 2 else a, sign_task())
        result = train(model, data, data, steps=3)
        leaves = jax.tree.leaves(eqx.filter(result.model, eqx.is_inexact_array))
    assert {leaf.dtype.name for leaf in leaves} == {dtype}


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 3, 8, 256])
@pytest.mark.parametrize("per_step", [False, True])
def test_evaluation_is_exact_for_any_batch_size(per_step, batch_size):
    data = echo_task() if per_step else sign_task(8)
    model, loss = (model_for(None, 1), mse) if per_step else (model_for(), cross_entropy)
    expected = float(eqx.filter_jit(loss)(model, jax.tree.map(jnp.asarray, data))[0])
    found = evaluate(model, data, loss=loss, batch_size=batch_size)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)


def test_evaluation_is_in_inference_mode_and_passes_over_hidden_samples():
    data, model = echo_task(), model_for(None, 1, dropout=0.5)
    first = evaluate(model, data, loss=mse)
    assert first == evaluate(model, data, loss=mse)
    hidden = Batch(data.x[:2], data.y[:2] * np.nan, np.zeros((2, 6), bool))
    more = jax.tree.map(lambda a, b: np.concatenate([a, b]), data, hidden)
    np.testing.assert_allclose(evaluate(model, more, loss=mse, batch_size=1)["loss"], first["loss"])
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(model, hidden, loss=mse)


# Truncated backpropagation


SGD = optax.sgd(0.1)


def long_task(time=12):
    x = np.asarray(jr.normal(KEY, (4, time, 1)))
    return Batch(x, np.cumsum(x, axis=1), np.arange(time) < np.array([12, 9, 5, 12])[:, None])


def truncated(k, model=None, data=None, **options):
    options = {"optimizer": SGD, "steps": 3, **options}
    model = model_for(None, 1) if model is None else model
    data = long_task() if data is None else data
    return train(model, data, loss=mse, batch_size=4, truncate=k, **options)


@pytest.mark.parametrize("k", [12, 30])
def test_one_segment_is_full_backpropagation(k):
    cell = rz.LearnedInitialState(rz.cells.GRUCell(1, 4, key=KEY))
    model = rz.SequenceModel(rz.Recurrent(cell), 1, pool=None, key=KEY)
    one, full = truncated(k, model), truncated(None, model)
    for a, b in zip(jax.tree.leaves(one.model), jax.tree.leaves(full.model)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(one.history[-1]["train_loss"], full.history[-1]["train_loss"], 1e-5)


@pytest.mark.parametrize("k", [4, 5])
def test_segments_carry_the_state_and_update_each(k):
    model, data, state = model_for(None, 1), jax.tree.map(jnp.asarray, long_task()), None
    found = truncated(k, steps=1).model

    @eqx.filter_jit
    def descend(model, part, state):
        def objective(model):
            after, ys = rz.batch(model.scan)(part.x, state, mask=part.mask)
            return mse.function(ys, part)[0], after

        (_, state), grads = eqx.filter_value_and_grad(objective, has_aux=True)(model)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads)), state

    for part in np.split(np.arange(12), range(k, 12, k)):
        model, state = descend(model, jax.tree.map(lambda a, i=part: a[:, i], data), state)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(model)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_segments_of_padding_leave_the_model_alone():
    data = long_task()
    short = Batch(data.x, data.y, data.mask & (np.arange(12) < 4))
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    cut = Batch(data.x[:, :4], data.y[:, :4], short.mask[:, :4])
    one = truncated(4, data=short, optimizer=optimizer)
    assert same(one.model, truncated(4, data=cut, optimizer=optimizer).model)
    assert one.step == 3


def test_truncation_without_a_mask_pads_behind_one():
    data = long_task()
    whole = Batch(data.x, data.y)
    shown = Batch(data.x, data.y, np.ones((4, 12), bool))
    one, other = truncated(5, data=whole), truncated(5, data=shown)
    for a, b in zip(jax.tree.leaves(one.model), jax.tree.leaves(other.model)):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_truncation_needs():
    with pytest.raises(TypeError, match="PredictionLoss"):
        train(model_for(None), sign_task(), loss=lambda m, b, *, key: 0.0, steps=1, truncate=2)
    with pytest.raises(TypeError, match="target for every step"):
        train(model_for(), sign_task(), steps=1, truncate=2)
    with pytest.raises(TypeError, match="Bidirectional|Backward"):
        truncated(4, model_for(None, 1, bidirectional=True))
    with pytest.raises(ValueError, match="at least 1 step"):
        truncated(0)


# Checkpoints


def test_resuming_in_process_changes_no_bit(tmp_path):
    data, model = sign_task(), model_for(dropout=0.2)
    options = {"steps": 12, "eval_every": 3}

    def crash(step, row):
        if step == 9:
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="lights"):
        train(model, data, data, callback=crash, checkpoints=Checkpoints(tmp_path, 4), **options)
    resumed = train(model, data, data, checkpoints=Checkpoints(tmp_path, 4, True), **options)
    whole = train(model, data, data, steps=12, eval_every=3)
    assert same(resumed.model, whole.model)
    assert same(resumed.opt_state, whole.opt_state)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.rzc"]
    for row, expected in zip(resumed.history, whole.history, strict=True):
        assert {**row, "seconds": 0} == {**expected, "seconds": 0}


def test_resuming_keeps_the_best_model_and_the_patience(tmp_path):
    data = sign_task()
    wrong = Batch(data.x, 1 - data.y)
    options = {"eval_every": 2, "max_patience": 3, "return_best": True}
    whole = train(model_for(), data, wrong, steps=60, **options)
    stop = whole.step - 4
    checkpoints = Checkpoints(tmp_path, resume=True)
    train(model_for(), data, wrong, steps=stop, checkpoints=checkpoints, **options)
    for _ in range(2):  # the second time there is nothing left to do
        run = train(model_for(), data, wrong, steps=60, checkpoints=checkpoints, **options)
        assert run.step == whole.step
        assert same(run.model, whole.model)


def test_a_checkpoint_of_another_run(tmp_path):
    data = sign_task()
    train(model_for(), data, steps=2, checkpoints=Checkpoints(tmp_path))
    resume = {"steps": 4, "checkpoints": Checkpoints(tmp_path, resume=True)}
    with pytest.raises(ValueError, match="batch_size=16, not 8"):
        train(model_for(), data, batch_size=8, **resume)
    with pytest.raises(ValueError, match="a run with key="):
        train(model_for(), data, key=jr.key(9), **resume)
    with pytest.raises(ValueError, match="another model"):
        train(model_for(name="gru"), data, **resume)
    file = tmp_path / "checkpoint.rzc"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="truncated"):
        train(model_for(), data, **resume)


@pytest.mark.parametrize("other", [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adamw(1e-2)])
def test_a_checkpoint_of_another_optimizer(tmp_path, other):
    data = sign_task()
    train(model_for(), data, steps=2, checkpoints=Checkpoints(tmp_path))
    resume = {"steps": 4, "checkpoints": Checkpoints(tmp_path, resume=True)}
    with pytest.raises(ValueError, match="another optimizer, whose state is .ScaleByAdamState, E"):
        train(model_for(), data, optimizer=other, **resume)


def test_the_state_of_an_optimizer_of_another_form(tmp_path):
    def adam_for(shape):
        init = optax.adam(1e-2).init
        return optax.GradientTransformation(lambda p: (init(p), jnp.zeros(shape)), with_state(init))

    def with_state(init):
        def update(grads, state, params=None):
            updates, inner = optax.adam(1e-2).update(grads, state[0], params)
            return updates, (inner, state[1])

        return update

    options = {"steps": 2, "checkpoints": Checkpoints(tmp_path, resume=True)}
    train(model_for(), sign_task(), optimizer=adam_for((2,)), **options)
    with pytest.raises(ValueError, match=r"the state of another optimizer than expected.*\(2,\)"):
        train(model_for(), sign_task(), optimizer=adam_for((3,)), **options)


def test_a_run_that_must_go_on(tmp_path):
    must = {"checkpoints": Checkpoints(tmp_path, resume="must")}
    with pytest.raises(FileNotFoundError, match="has no checkpoint to go on from"):
        train(model_for(), sign_task(), steps=2, **must)
    train(model_for(), sign_task(), steps=2, checkpoints=Checkpoints(tmp_path))
    assert train(model_for(), sign_task(), steps=4, **must).step == 4


def test_checkpoints_that_mean_nothing(tmp_path, unchecked):
    for options, message in (
        ({"resume": "maybe"}, "got 'maybe'"),
        ({"keep": 0}, "keep of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            train(model_for(), sign_task(), steps=1, checkpoints=Checkpoints(tmp_path, **options))


def test_kept_checkpoints_without_orbax(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"leave it out .* pip install .*\[checkpoint\]"):
        train(model_for(), sign_task(), steps=1, checkpoints=Checkpoints(tmp_path, keep=2))


def test_a_folder_alone_is_no_checkpoints(tmp_path):
    with pytest.raises(TypeError, match="Checkpoints"):
        train(model_for(), sign_task(), steps=2, checkpoints=tmp_path)


def test_the_old_arguments_of_checkpoints_say_the_new_call(tmp_path):
    data, old = sign_task(), {"checkpoint_dir": str(tmp_path), "checkpoint_every": 2}
    said = re.escape(f"Checkpoints(directory={str(tmp_path)!r}, every=2, resume=False, keep=None)")
    with pytest.warns(DeprecationWarning, match=said):
        fit(model_for(), data, loss=cross_entropy, optimizer=ADAM, steps=4, key=KEY, **old)
    with pytest.warns(DeprecationWarning, match="resume=True"):
        resumed = train(model_for(), data, steps=6, resume=True, key=KEY, batch_size=32, **old)
    whole = train(model_for(), data, steps=6, key=KEY, batch_size=32)
    assert same(resumed.model, whole.model)
    with pytest.warns(DeprecationWarning, match="no resume any more"):
        train(model_for(), data, steps=2, resume=False)


SCRIPT = """
    import sys, jax, numpy as np, optax, rnn_zoo as rz
    x = np.asarray(jax.random.normal(jax.random.key(0), (64, 5, 1)))
    data = rz.data.Batch(x, (x[:, 0, 0] > 0).astype(np.int32))
    model = rz.make_model("elman", 1, 2, hidden_size=4, dropout=0.2, key=jax.random.key(0))
    def callback(step, row):
        print(step, flush=True)
        if step == int(sys.argv[2]):
            sys.stdin.read()
    result = rz.train.fit(
        model, data, loss=rz.train.cross_entropy, optimizer=optax.adam(1e-2), steps=60,
        eval_every=1, key=jax.random.key(1), callback=callback,
        checkpoints=rz.train.Checkpoints(sys.argv[1], every=4, resume=True))
    rz.train.save(sys.argv[1] + "/model.rz", result.model)
"""


def run_script(directory, stop):
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(directory), str(stop)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_resuming_after_kill_9_changes_no_bit(tmp_path):
    whole = run_script(tmp_path / "whole", -1)
    killed = run_script(tmp_path / "killed", 30)
    for line in killed.stdout:
        if line.strip() == "30":
            os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stdout.close()
    killed.stdin.close()
    resumed = run_script(tmp_path / "killed", -1)
    lines = resumed.communicate()[0].split(), whole.communicate()[0].split()
    assert (lines[0][0], lines[1][0]) == ("29", "1")
    one, other = (rz.train.load(tmp_path / d / "model.rz") for d in ("killed", "whole"))
    assert same(one, other)


# A loss of one's own


def test_a_prediction_loss_of_ones_own():
    def absolute(predictions, batch):
        return jnp.mean(jnp.abs(predictions - batch.y)), {"bias": jnp.mean(predictions)}

    data = echo_task()
    result = train(
        model_for(None, 1), data, data, loss=PredictionLoss(absolute), steps=2, batch_size=4
    )
    assert {"train_bias", "valid_bias"} <= set(result.history[-1])
