"""Models in files."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo.train import load, save


KEY = jr.key(0)


def model_for(name="gru", hidden_size=3, **options):
    return rz.make_model(name, 2, 4, hidden_size=hidden_size, key=KEY, **options)


def same(a, b):
    return bool(eqx.tree_equal(a, b))


def as_bfloat16(model):
    return jax.tree.map(lambda a: a.astype(jnp.bfloat16) if eqx.is_inexact_array(a) else a, model)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gru", {"bidirectional": True, "pool": "mean"}),
        ("lstm", {"num_layers": 2, "dropout": 0.2, "pool": None}),
        ("lru", {"num_layers": 2, "bidirectional": True, "dropout": 0.1}),
        ("leaky_elman", {"dtype": jnp.float32}),
        ("elman", {"dtype": np.dtype("float32"), "dropout": 0.5}),
    ],
)
def test_a_file_knows_how_its_model_is_built(tmp_path, name, options):
    model = model_for(name, **options)
    save(tmp_path / "model.rz", model)
    loaded = load(str(tmp_path / "model.rz"))
    assert same(loaded, model)
    assert [p.name for p in tmp_path.iterdir()] == ["model.rz"]
    save(tmp_path / "again.rz", loaded)
    assert (tmp_path / "again.rz").read_bytes() == (tmp_path / "model.rz").read_bytes()


def test_inference_flags_come_back(tmp_path):
    model = eqx.nn.inference_mode(model_for(dropout=0.5))
    save(tmp_path / "model.rz", model)
    assert load(tmp_path / "model.rz").dropout.inference is True


@pytest.mark.parametrize(
    "model",
    [
        rz.Frozen(rz.cells.LRUCell(2, 3, key=KEY)),
        model_for("elman", activation=jnp.sin),
        eqx.tree_at(lambda m: m.head, model_for(), eqx.nn.Linear(3, 7, key=KEY)),
        eqx.tree_at(lambda m: m.layer, model_for(), rz.Recurrent(rz.cells.GRUCell(2, 3, key=KEY))),
        as_bfloat16(model_for()),
        {"a key": jr.key(3), "a number": 2.5},
    ],
)
def test_anything_else_is_loaded_with_like(tmp_path, model):
    path = tmp_path / "model.rz"
    save(path, model)
    with pytest.raises(ValueError, match=r"load\(path, like=model\)"):
        load(path)
    blank = jax.tree.map(lambda a: jnp.zeros_like(a) if eqx.is_inexact_array(a) else a, model)
    assert same(load(path, like=blank), model)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (model_for(hidden_size=5), r"weight_ih of shape \(9, 2\) and dtype float32 where .*15"),
        (model_for("lstm"), r"weight_ih of shape \(9, 2\) .* \(12, 2\)"),
        (model_for(num_layers=2), "only the model has|where"),
        (as_bfloat16(model_for()), "float32 where .* bfloat16"),
        (model_for(dropout=0.1), "where .*dropout"),
    ],
)
def test_a_model_that_is_not_like_it(tmp_path, like, message):
    save(tmp_path / "model.rz", model_for())
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "model.rz", like=like)


def test_more_or_fewer_arrays(tmp_path):
    path = tmp_path / "arrays.rz"
    save(path, [jnp.ones(2), jnp.ones(3)])
    with pytest.raises(ValueError, match=r"only the file has \[1\]"):
        load(path, like=[jnp.ones(2)])
    with pytest.raises(ValueError, match=r"only the model has \[2\]"):
        load(path, like=[jnp.ones(2), jnp.ones(3), jnp.ones(4)])


def test_double_precision_says_so(tmp_path):
    with jax.enable_x64(True):
        model = rz.make_model("elman", 2, 4, hidden_size=3, key=jr.key(0))
        save(tmp_path / "model.rz", model)
        assert same(load(tmp_path / "model.rz"), model)
    with pytest.raises(ValueError, match="x64"):
        load(tmp_path / "model.rz")


def test_files_that_are_not_whole_or_not_ours(tmp_path):
    path = tmp_path / "model.rz"
    save(path, model_for())
    whole = path.read_bytes()
    header, _, payload = whole.partition(b"\n")

    def fails(content, message):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(path)

    fails(whole[:-1], "truncated")
    fails(whole + b"0", "added to")
    fails(whole[:20], "not a rnn_zoo.model file")
    fails(b"", "not a rnn_zoo.model file")
    fails(b"\x93NUMPY" + payload, "not a rnn_zoo.model file")
    fails(b"[1, 2]\n" + payload, "not a rnn_zoo.model file")
    fails(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], "damaged")
    fails(whole.replace(b'"pool": "last"', b'"pool": "mean"'), "damaged")
    newer = json.dumps({**json.loads(header), "version": 99}).encode()
    fails(newer + b"\n" + payload, "version 99 .* update rnn-zoo")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load(path)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.rz"
    save(path, model_for())
    before = path.read_bytes()

    def power_cut(descriptor):
        raise OSError("no power")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", power_cut)
        with pytest.raises(OSError, match="no power"):
            save(path, model_for("lstm"))
    assert path.read_bytes() == before
    save(path, model_for("lstm"))
    assert [p.name for p in tmp_path.iterdir()] == ["model.rz"]
