"""Several checkpoints of a run by Orbax: what is kept, gone on from, passed over and refused."""

import re
import shutil

import jax
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from test_train import KEY, model_for, same, sign_task, train

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import Checkpoints


pytest.importorskip("orbax.checkpoint")
EMA = optax.ema(0.9)
OPTIONS = {"eval_every": 2, "ema": EMA}


def kept(folder, resume=True, every=2, keep=2):
    return Checkpoints(folder, every, resume, keep)


def steps_in(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_last_ones_are_kept_and_gone_on_from(tmp_path):
    data = sign_task()
    whole = train(model_for(dropout=0.2), data, data, steps=12, return_best=True, **OPTIONS)
    options = {**OPTIONS, "return_best": True}

    def crash(step, row):
        if step == 9:
            raise RuntimeError("the lights went out")

    more = {**options, "steps": 12, "eval_every": 1, "checkpoints": kept(tmp_path, False)}
    with pytest.raises(RuntimeError, match="lights"):
        train(model_for(dropout=0.2), data, data, callback=crash, **more)
    assert steps_in(tmp_path) == [6, 8]
    shutil.rmtree(tmp_path)
    train(model_for(dropout=0.2), data, data, steps=8, checkpoints=kept(tmp_path), **options)
    for _ in range(2):  # the second time there is nothing left to do
        resumed = train(
            model_for(dropout=0.2), data, data, steps=12, checkpoints=kept(tmp_path), **options
        )
        assert steps_in(tmp_path) == [10, 12]
        assert same(resumed.model, whole.model)
        assert same(resumed.ema_model, whole.ema_model)
        assert same(resumed.opt_state, whole.opt_state)
        for row, expected in zip(resumed.history, whole.history, strict=True):
            assert {**row, "seconds": 0} == {**expected, "seconds": 0}


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
@pytest.mark.parametrize("first", [True, False])
def test_another_number_of_devices_goes_on(tmp_path, first):
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    one, other = (mesh, None) if first else (None, mesh)
    data = sign_task()
    train(model_for(), data, steps=4, mesh=one, checkpoints=kept(tmp_path), **OPTIONS)
    resumed = train(model_for(), data, steps=8, mesh=other, checkpoints=kept(tmp_path), **OPTIONS)
    whole = train(model_for(), data, steps=8, mesh=other, **OPTIONS)
    for a, b in zip(jax.tree.leaves(resumed.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def break_step(folder, how):
    """Half a step, as a disk or a copy may leave it."""
    if how == "temporary":
        shutil.copytree(folder / "4", folder / "6.orbax-checkpoint-tmp")
        (folder / "6.orbax-checkpoint-tmp" / "header" / "metadata").unlink()
    if how == "header":
        shutil.rmtree(folder / "4" / "header")
    if how == "arrays":
        for path in (folder / "4" / "arrays").rglob("*"):
            if path.parent.name == "d":
                path.write_bytes(path.read_bytes()[:20])
    if how == "empty":
        shutil.rmtree(folder / "4")
        (folder / "4").mkdir()


# What Orbax had begun to read when one array failed is of no use to anybody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["temporary", "header", "arrays", "empty"])
def test_a_half_written_step_is_passed_over(tmp_path, how):
    data = sign_task()
    train(model_for(), data, steps=4, checkpoints=kept(tmp_path), **OPTIONS)
    break_step(tmp_path, how)
    options = {"steps": 8, "checkpoints": kept(tmp_path, "must"), **OPTIONS}
    if how == "temporary":
        resumed = train(model_for(), data, **options)
    else:
        with pytest.warns(UserWarning, match="/4 cannot be read and is passed over"):
            resumed = train(model_for(), data, **options)
        assert (tmp_path / "4.broken").exists()
    assert same(resumed.model, train(model_for(), data, steps=8, **OPTIONS).model)
    assert steps_in(tmp_path) == [6, 8]
    assert not list(tmp_path.glob("*tmp*"))


def test_when_none_is_whole(tmp_path):
    train(model_for(), sign_task(), steps=4, checkpoints=kept(tmp_path, keep=1), **OPTIONS)
    break_step(tmp_path, "header")
    with pytest.raises(ValueError, match=r"no checkpoint that can be read \(steps \[4\]\)"):
        with pytest.warns(UserWarning, match="passed over"):
            train(model_for(), sign_task(), steps=8, checkpoints=kept(tmp_path), **OPTIONS)


def test_what_is_refused(tmp_path):
    data, options = sign_task(), {"steps": 4, "checkpoints": kept(tmp_path)}
    with pytest.raises(FileNotFoundError, match="has no checkpoint to go on from"):
        train(model_for(), data, steps=4, checkpoints=kept(tmp_path, "must"))
    train(model_for(), data, **options)
    with pytest.raises(ValueError, match=re.escape("checkpoints of steps [2, 4]: resume=True")):
        train(model_for(), data, steps=4, checkpoints=kept(tmp_path, False))
    with pytest.raises(ValueError, match=r"another optimizer.*\(ScaleByAdamState.*\(EmptyState"):
        train(model_for(), data, optimizer=optax.sgd(0.1), **options)
    with pytest.raises(ValueError, match="another model"):
        train(model_for(name="gru"), data, **options)
    with pytest.raises(ValueError, match="batch_size=16, not 8"):
        train(model_for(), data, batch_size=8, **options)


def test_one_file_becomes_folders(tmp_path):
    data, options = sign_task(), {"steps": 4, **OPTIONS}
    train(model_for(), data, checkpoints=Checkpoints(tmp_path), **options)
    options["steps"] = 8
    resumed = train(model_for(), data, checkpoints=kept(tmp_path, "must"), **options)
    assert same(resumed.model, train(model_for(), data, **options).model)
    assert steps_in(tmp_path) == [6, 8]
    (tmp_path / "checkpoint.rzc").unlink()
    with pytest.raises(ValueError, match="written with keep: give keep"):
        train(model_for(), data, checkpoints=Checkpoints(tmp_path, resume=True), **options)


def test_a_source_goes_on_where_it_was(tmp_path):
    data = sign_task()
    parts = [data[start : start + 16] for start in range(0, 64, 16)]
    options = {"batch_size": None, **OPTIONS}
    whole = train(model_for(), parts, steps=6, **options)
    train(model_for(), parts, steps=3, checkpoints=kept(tmp_path, every=3), **options)
    resumed = train(model_for(), parts, steps=6, checkpoints=kept(tmp_path), **options)
    assert same(resumed.model, whole.model)


def test_all_kinds_of_arrays(tmp_path):
    """Keys, numbers of Python, 16 bits, and arrays of no number."""
    half = jax.numpy.arange(3, dtype=jax.numpy.bfloat16) / 3
    model = (model_for(), KEY, 3, 0.1, half, jax.numpy.zeros((0, 2)))

    def loss(model, batch, *, key=None):
        return rz.train.cross_entropy(model[0], batch, key=key)

    frozen = optax.masked(optax.adam(1e-2), lambda p: jax.tree.map(lambda a: a.size > 3, p))
    options = {"loss": loss, "optimizer": frozen}
    data = Batch(sign_task().x, sign_task().y)
    first = train(model, data, steps=2, checkpoints=kept(tmp_path), **options)
    found = train(model, data, steps=2, checkpoints=kept(tmp_path, "must"), **options)
    assert same(found.model, first.model)
    assert [type(leaf) for leaf in found.model[2:4]] == [int, float]


def test_load_opens_the_model_of_a_folder(tmp_path):
    data = sign_task()
    options = {"steps": 4, "return_best": True, "checkpoints": kept(tmp_path), **OPTIONS}
    result = train(model_for(dropout=0.2), data, data, **options)
    for path in (tmp_path, tmp_path / "4"):
        assert same(rz.train.load(path, which="best"), result.model)
    before = rz.train.load(tmp_path / "2")
    assert not same(before, result.model)
    assert same(rz.train.load(tmp_path / "2", like=result.model), before)
    assert steps_in(tmp_path) == [2, 4]
