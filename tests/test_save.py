"""Models in files."""

import functools
import json
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from test_train import sign_task, train

import rnn_zoo as rz
from rnn_zoo import registry
from rnn_zoo.train import _format, load, save


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


def test_load_opens_the_model_of_a_checkpoint(tmp_path):
    data, checkpoints = sign_task(), rz.train.Checkpoints(tmp_path)
    wrong = rz.data.Batch(data.x, 1 - data.y)  # what gets worse, so that the best is not the last
    start = rz.SequenceModel(rz.LSTM(1, 3, key=KEY), 2, dropout=0.5, key=KEY)
    options = {"steps": 6, "eval_every": 2, "checkpoints": checkpoints}
    result = train(start, data, wrong, **options)
    for path in (tmp_path, tmp_path / "checkpoint.rzc"):
        assert same(load(path), result.model)
    assert same(load(tmp_path, like=start), result.model)
    best = min(result.history, key=lambda row: row["valid_loss"])["valid_loss"]
    found = rz.train.evaluate(load(tmp_path, which="best"), wrong, loss=rz.train.cross_entropy)
    assert found["loss"] == pytest.approx(best, rel=1e-5)
    with pytest.raises(ValueError, match="another model than expected"):
        load(tmp_path, like=rz.LSTM(2, 3, key=KEY))
    train(start, data, steps=2, checkpoints=checkpoints)
    with pytest.raises(ValueError, match='no best model.*which="last"'):
        load(tmp_path, which="best")
    with pytest.raises(FileNotFoundError, match="expected checkpoint.rzc in it"):
        load(tmp_path.parent)


def test_inference_flags_come_back(tmp_path):
    model = eqx.nn.inference_mode(model_for(dropout=0.5))
    save(tmp_path / "model.rz", model)
    assert load(tmp_path / "model.rz").dropout.inference is True


class Own(eqx.Module):
    """A class that a file does not name."""

    inner: rz.cells.GRUCell


class OwnCell(rz.AbstractCell):
    w: jax.Array
    input_size: int = eqx.field(static=True, default=2)
    output_size: int = eqx.field(static=True, default=2)

    def __init__(self, input_size=2, hidden_size=2, *, key):
        self.w = jr.normal(key, (2,))

    def init_state(self):
        return jnp.zeros(2)

    def equation(self, c, state, x):
        return self.w * state + x, state


def network(**options):
    cell = rz.cells.EchoStateCell(2, 5, key=KEY)
    return rz.EchoStateNetwork(cell, 1, **options)


def fitted(**options):
    xs = jr.normal(KEY, (30, 2))
    ys = xs[:, :1] if "pool" not in options else jnp.ones((1, 1))
    return network(**options).fit_readout(xs if "pool" not in options else [xs], ys)


class State(NamedTuple):
    h: jax.Array


def zeros_like(model):
    def zeros(leaf):
        return 0 * leaf if eqx.is_inexact_array(leaf) or isinstance(leaf, np.ndarray) else leaf

    return jax.tree.map(zeros, model)


TOLD = {
    "layer": lambda: rz.Frozen(rz.Recurrent(rz.cells.LRUCell(2, 3, key=KEY))),
    "function": lambda: model_for("elman", activation=jnp.sin),
    "partial": lambda: model_for("elman", activation=functools.partial(jax.nn.elu, alpha=0.3)),
    "another head": lambda: eqx.tree_at(
        lambda m: m.head, model_for(), eqx.nn.Linear(3, 7, key=KEY)
    ),
    "wiring": lambda: rz.LTC(2, rz.wiring.AutoNCPMap(2, 8, 3), key=KEY),
    "bfloat16": lambda: as_bfloat16(model_for()),
    "containers": lambda: {"key": jr.key(3), "number": 2.5, "rest": [np.ones(2), (True, None)]},
    "state": lambda: rz.scan.unroll(rz.cells.LRUCell(2, 3, key=KEY), jnp.ones((4, 2)))[0],
    "equinox": lambda: eqx.nn.Sequential([eqx.nn.Linear(2, 3, key=KEY), eqx.nn.Lambda(jnp.tanh)]),
    "reservoir": lambda: fitted(features=rz.reservoir.half_squares),
    "unfitted": network,
    "model space": lambda: fitted(pool=rz.reservoir.ModelSpace(3)),
    "members": lambda: eqx.filter_vmap(lambda key: rz.make_model("gru", 2, 1, key=key))(
        jr.split(KEY, 2)
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_file_says_what_its_tree_is_made_of(tmp_path, name):
    model, path = TOLD[name](), tmp_path / "model.rz"
    save(path, model)
    loaded = load(path)
    assert same(loaded, model)
    assert jax.tree.map(type, loaded) == jax.tree.map(type, model)
    assert same(load(path, like=zeros_like(model)), model)


def test_a_registered_cell_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    rz.register("mine", family="own", paper="none", equation="h' = w h + x")(OwnCell)
    model = rz.Recurrent(OwnCell(key=KEY))
    save(tmp_path / "model.rz", model)
    assert same(load(tmp_path / "model.rz"), model)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="import the module that registers it"):
        load(tmp_path / "model.rz")


def test_a_fitted_network_is_loaded_into_one_that_is_not(tmp_path):
    for name, options in {
        "reservoir": {"features": rz.reservoir.half_squares},
        "model space": {"pool": rz.reservoir.ModelSpace(3)},
    }.items():
        save(tmp_path / "model.rz", {"net": TOLD[name]()})
        assert same(load(tmp_path / "model.rz", {"net": network(**options)}), {"net": TOLD[name]()})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: {"x": Own(rz.cells.GRUCell(2, 3, key=KEY))}, r"\['x'\] is test_save\.Own"),
        (
            lambda: model_for("elman", activation=lambda x: 2 * x),
            r"layer\.layers\[0\]\.cell\.activation is test_save\.<lambda>",
        ),
        (lambda: State(jnp.ones(2)), "it is test_save.State"),
    ],
)
def test_what_a_file_cannot_say_it_says_at_once(tmp_path, make, said):
    model, path = make(), tmp_path / "model.rz"
    with pytest.warns(UserWarning, match=said):
        save(path, model)
    with pytest.raises(ValueError, match=r"load\(path, like=model\)"):
        load(path)
    assert same(load(path, like=zeros_like(model)), model)
    save(path, model, recipe=False)  # asked for, so without a word


@pytest.mark.parametrize(
    "structure",
    [
        {"fields": [["os", "PathLike"], {}]},
        {"fields": [["rnn_zoo.train.save", "save"], {}]},
        {"fields": [["rnn_zoo.train.save", "Path"], {}]},
        {"fields": [["rnn_zoo.train.keeping", "Checkpoints"], {"directory": "x"}]},
        {"fields": [["rnn_zoo.gone", "Cell"], {}]},
        {"fields": [["", "gone"], {}]},
        {"fields": [["rnn_zoo.cells.gated", "GRUCell"], {"gone": 1}]},
        {"name": ["os", "system"]},
        {"name": ["rnn_zoo.train.save", "os.system"]},
        {"name": ["rnn_zoo.train.save", "save"]},
        {"name": ["jax.numpy", "save"]},
        {"name": ["rnn_zoo.reservoir.network", "eqx.tree_serialise_leaves"]},
        {"portable": ["jax.numpy", "save", {"tuple": ["file"]}, {"tuple": []}]},
    ],
)
def test_a_file_runs_no_code_of_others(tmp_path, structure):
    """Names of other packages are not looked up, nor what does more than compute."""
    path, header = tmp_path / "model.rz", {"format": "rnn_zoo.model", "version": 1}
    header |= {"recipe": None, "leaves": [], "structure": structure}
    _format.write(path, header, b"")
    with pytest.raises(ValueError, match=r"names what is not here .*load\(path, like=model\)"):
        load(path)


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
