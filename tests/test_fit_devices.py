"""Batches over devices: the run of one device, one reduction a step, and what does not fit."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from test_train import ADAM, KEY, echo_task, model_for, same, sign_task, train

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import Checkpoints, DataSourceError, PredictionLoss, cross_entropy, fit, mse
from rnn_zoo.train.placement import place, replicate, sharding_of
from rnn_zoo.train.step import UpdateRule, start, update


MESH = Mesh(np.array(jax.devices()[:2]), ("data",))
pytestmark = pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")


def close(a, b, tolerance=1e-6):
    a, b = (jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) for tree in (a, b))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


SGD = optax.sgd(0.1, momentum=0.9)


@pytest.mark.parametrize(
    "mesh",
    [
        MESH,
        jax.make_mesh((2,), ("data",), devices=jax.devices()[:2]),
        NamedSharding(MESH, P("data")),
        pytest.param(
            Mesh(np.array(jax.devices()[:2]).reshape(2, 1), ("data", "other")),
            marks=pytest.mark.slow,
        ),
        pytest.param(Mesh(np.array(jax.devices()[:1]), ("data",)), marks=pytest.mark.slow),
    ],
    ids=["auto", "default", "sharding", "two axes", "one device"],
)
def test_two_devices_give_the_run_of_one(mesh):
    data = sign_task()
    options = {"steps": 6, "eval_every": 3, "optimizer": SGD}
    one = train(model_for(dropout=0.3), data, data, **options)
    two = train(model_for(dropout=0.3), data, data, mesh=mesh, **options)
    close(one.model, two.model)
    for row, expected in zip(two.history, one.history, strict=True):
        close({**row, "seconds": 0.0}, {**expected, "seconds": 0.0})
        for name in ("train_loss", "valid_loss", "train_accuracy"):
            assert row[name] == pytest.approx(expected[name], abs=1e-6)


def test_in_64_bits():
    with jax.enable_x64(True):
        data = jax.tree.map(np.asarray, sign_task())
        data = Batch(data.x.astype(np.float64), data.y)
        model = rz.make_model("gru", 1, 2, hidden_size=4, key=KEY, dtype=jnp.float64)
        one, two = (train(model, data, steps=4, mesh=mesh, eval_every=4) for mesh in (None, MESH))
        assert two.model.head.weight.dtype == jnp.float64
        close(one.model, two.model, 1e-12)


def test_parts_are_weighed_by_their_targets():
    data = echo_task(16)
    # All targets of the second half, and so of a device, are hidden.
    hidden = Batch(data.x, data.y, data.mask & (np.arange(16) < 8)[:, None])
    for task in (data, hidden):
        one, two = (
            train(model_for(None, 1), task, loss=mse, steps=3, optimizer=SGD, mesh=mesh)
            for mesh in (None, MESH)
        )
        close(one.model, two.model)


def test_a_loss_of_ones_own_and_augmented_data():
    def augment(batch, key):
        return Batch(batch.x + 0.1 * jr.normal(key, batch.x.shape), batch.y)

    def own(model, batch, *, key):
        logits = jax.vmap(model)(batch.x)[:, 0]
        return jnp.mean(jnp.square(logits - batch.y)), {"mean": jnp.mean(logits)}

    one, two = (
        train(model_for(), sign_task(), loss=own, steps=3, optimizer=SGD, augment=augment, mesh=m)
        for m in (None, MESH)
    )
    close(one.model, two.model)
    assert one.history[-1]["train_mean"] == pytest.approx(two.history[-1]["train_mean"], abs=1e-6)


def test_sources_averages_and_checkpoints_over_devices(tmp_path):
    data = sign_task()
    parts = [data[i : i + 16] for i in range(0, 64, 16)]
    options = {"batch_size": None, "mesh": MESH, "ema": optax.ema(0.9)}
    whole = train(model_for(), parts, steps=6, **options)
    train(model_for(), parts, steps=3, checkpoints=Checkpoints(tmp_path), **options)
    resume = Checkpoints(tmp_path, resume=True)
    resumed = train(model_for(), parts, steps=6, checkpoints=resume, **options)
    assert same(resumed.ema_model, whole.ema_model)
    # On another number of devices.
    train(model_for(), parts, steps=3, checkpoints=Checkpoints(tmp_path), **options)
    options["mesh"] = None
    other = train(model_for(), parts, steps=6, checkpoints=resume, **options)
    close(other.model, whole.model, 1e-5)


COLLECTIVE = r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("


@pytest.mark.parametrize(
    "name",
    ["gru", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lstm", "lru", "mamba"))],
)
def test_one_reduction_a_step(name):
    model = rz.make_model(name, 3, 2, hidden_size=4, key=KEY)
    sharding = sharding_of(MESH)
    x = np.zeros((8, 12, 3), np.float32)
    batch = place(Batch(x, np.zeros(8, np.int32)), sharding)
    rule = UpdateRule(cross_entropy, ADAM, None, None, None, sharding)
    progress = replicate(start(model, ADAM), sharding)
    program = update.lower(progress, batch, KEY, rule).compile().compiled.as_text()
    assert re.findall(COLLECTIVE, program) == ["all-reduce"]


def test_the_step_over_devices_is_compiled_once():
    traces, after = [], []

    def count(predictions, batch):
        traces.append(predictions.shape)
        return cross_entropy.function(predictions, batch)

    counting = PredictionLoss(count)
    for seed in (1, 2):
        train(model_for(), sign_task(), loss=counting, steps=5, mesh=MESH, key=jr.key(seed))
        after.append(traces.count((8, 2)))  # the part of a device
    assert after == [1, 1]


@pytest.mark.parametrize("name", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_truncated_backpropagation_over_devices(name):
    data = echo_task(16, 7)
    # Segments of three steps: the last one is padded, and one device has no target in it.
    ends = np.where(np.arange(16) < 8, 7, 3)
    data = Batch(data.x, data.y, data.mask & (np.arange(7) < ends[:, None]))
    model = rz.make_model(name, 1, 1, hidden_size=4, pool=None, dropout=0.3, num_layers=2, key=KEY)
    options = {"loss": mse, "steps": 3, "optimizer": SGD, "batch_size": 16, "truncate": 3}
    one, two = (train(model, data, data, mesh=mesh, **options) for mesh in (None, MESH))
    close(one.model, two.model)
    for row, expected in zip(two.history, one.history, strict=True):
        close({**row, "seconds": 0.0}, {**expected, "seconds": 0.0})


def test_one_reduction_a_segment():
    sharding = sharding_of(MESH)
    model = rz.make_model("gru", 3, 1, hidden_size=4, pool=None, key=KEY)
    x = np.zeros((8, 12, 3), np.float32)
    batch = place(Batch(x, x[..., :1]), sharding)
    rule = UpdateRule(mse, ADAM, None, 4, None, sharding)
    progress = replicate(start(model, ADAM), sharding)
    program = update.lower(progress, batch, KEY, rule).compile().compiled.as_text()
    places = [line for line in program.splitlines() if re.search(COLLECTIVE, line)]
    # The other one is the targets of each segment, counted before the first.
    assert sorted("/while/" in line for line in places) == [False, True]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 15}, ValueError, "2 devices share equally, got 15: .* are 14 and 16"),
        ({"batch_size": 1}, ValueError, "got 1: multiples of 2 do, the nearest are 2"),
        ({"mesh": 2}, TypeError, r"jax.sharding.Mesh, jax.make_mesh\(\(2,\), \('data',\)\).*got 2"),
        ({"mesh": NamedSharding(MESH, P())}, ValueError, "of the samples alone"),
        ({"mesh": NamedSharding(MESH, P(None, "data"))}, ValueError, "of the samples alone"),
    ],
)
def test_what_does_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        train(model_for(), sign_task(), steps=1, **{"mesh": MESH, **options})


def test_a_batch_of_a_source_that_does_not_fit():
    data = sign_task()
    options = {"loss": cross_entropy, "optimizer": ADAM, "key": KEY, "steps": 2, "mesh": MESH}
    with pytest.raises(DataSourceError, match="at step 2: .*got 9: .* 8 and 10"):
        fit(model_for(), [data[:16], data[:9]], **options)
