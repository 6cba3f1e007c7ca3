"""Recurrent layers of PyTorch, Keras and Flax, their weights carried over; safetensors files.

The golden values need none of these libraries; where one is installed, its modules are also
read on the spot.
"""

import json
import sys
import types
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo.interop import (
    from_flax,
    from_keras,
    from_torch,
    load_safetensors,
    save_safetensors,
    to_torch,
)


GOLDEN = np.load(Path(__file__).parent / "golden" / "layers.npz")
XS, LENGTHS = GOLDEN["xs"], GOLDEN["lengths"]
MASK = np.arange(XS.shape[1]) < LENGTHS[:, None]
KEY = jr.key(0)


def names(library):
    return [k.split("/")[1] for k in GOLDEN.files if k.startswith(library) and k.endswith("about")]


def values(name):
    """What a module is, its arrays, its outputs and states."""
    about, found, start = json.loads(str(GOLDEN[f"{name}/about"])), {}, 0
    for key, shape in about.pop("shapes").items():
        stop = start + int(np.prod(shape))
        found[key] = GOLDEN[name][start:stop].reshape(shape)
        start = stop
    arrays = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    return about, arrays, found


def padded(xs=XS, mask=MASK):
    """NaN where there is no step."""
    return np.where(mask[..., None], xs, np.nan)


def close(ours, theirs, atol=1e-12):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def same(one, two):
    return bool(eqx.tree_equal(one, two))


# --- torch ----------------------------------------------------------------------------------------

LAYERS = [name for name in names("torch") if not name.endswith("_cell")]
CELLS = [name for name in names("torch") if name.endswith("_cell")]


def torch_module(name):
    """An object with the names that `from_torch` reads off a module of torch."""
    about, arrays, _ = values(f"torch/{name}")
    fields = {**about, "state_dict": lambda self: arrays, "__module__": "torch.nn"}
    return type(about["name"], (), fields)()


def in_torch_order(states):
    """(layers * directions, batch, size), one array for each part of a state."""
    cells = [s for row in states for s in (row if type(row) is tuple else (row,))]
    return [jnp.stack(parts) for parts in zip(*map(jax.tree.leaves, cells))]


@pytest.mark.parametrize("name", LAYERS)
def test_torch_layers(name):
    _, _, found = values(f"torch/{name}")
    with float64():
        layer = from_torch(torch_module(name))
        states, ys = rz.batch(layer.scan)(padded(), mask=MASK)
        close(ys, found["ys"])
        theirs = [found[k] for k in ("state0", "state1") if k in found]
        for ours, state in zip(in_torch_order(states), theirs, strict=True):
            close(ours, state)


@pytest.mark.parametrize("name", ["rnn", "lstm", "lstm_proj", "gru"])
def test_torch_layers_in_single_precision(name):
    layer = from_torch(torch_module(name))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(eqx.filter(layer, eqx.is_array))} == {
        "float32"
    }
    ys = rz.batch(layer)(padded().astype(np.float32), mask=MASK)
    close(ys, values(f"torch/{name}")[2]["ys"], atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_torch_cells(name):
    with float64():
        cell = from_torch(torch_module(name))
        ys = jax.vmap(lambda x: cell.step(cell.init_state(), x)[1])(jnp.asarray(XS[:, 0]))
        close(ys, values(f"torch/{name}")[2]["ys"])


def test_torch_options():
    layer = from_torch(torch_module("lstm"))
    assert (layer.dropout.rate, layer.dropout.inference) == (0.5, True)
    module = torch_module("lstm")
    module.training = True
    assert from_torch(module).stochastic
    # Torch never drops behind the last layer.
    module = torch_module("gru")
    module.num_layers, module.dropout = 1, 0.3
    assert from_torch(module).dropout is None
    assert from_torch(torch_module("rnn_relu")).layers[0].cell.activation == jax.nn.relu
    assert isinstance(
        from_torch(torch_module("lstm_proj")).layers[0].forward.cell, rz.cells.LSTMPCell
    )


def test_torch_state_dicts():
    arrays = values("torch/lstm")[1]
    larger = {f"body.lstm.{k}": v for k, v in arrays.items()} | {"head.weight": np.ones((2, 8))}
    one = from_torch(larger, prefix="body.lstm.", dropout=0.5)
    assert same(eqx.nn.inference_mode(one), from_torch(torch_module("lstm")))
    assert one.stochastic
    relu = from_torch(values("torch/rnn_relu")[1], nonlinearity="relu")
    assert same(relu, from_torch(torch_module("rnn_relu")))


def without(name, *gone):
    return {k: v for k, v in values(name)[1].items() if k not in gone}


BAD_TORCH = {
    "a linear map": (lambda: from_torch(eqx.nn.Linear(2, 2, key=KEY)), TypeError, "got Linear"),
    "no prefix": (
        lambda: from_torch({"a.lstm.weight_ih_l0": 1, "head.bias": 2}),
        ValueError,
        "got a.lstm.weight_ih_l0, head.bias: give prefix='a.lstm.'",
    ),
    "two prefixes": (
        lambda: from_torch({"a.weight_ih_l0": 1, "b.weight_ih": 2}),
        ValueError,
        "give prefix='a.' or 'b.'",
    ),
    "another prefix": (
        lambda: from_torch({"a.weight_ih_l0": 1}, prefix="c."),
        ValueError,
        "got no name that begins with 'c.': give prefix='a.'",
    ),
    "strange names": (
        lambda: from_torch(without("torch/lstm") | {"weight_ih_l0_original": np.ones(2)}),
        ValueError,
        "weight_ih_l0_original",
    ),
    "a weight missing": (
        lambda: from_torch(without("torch/lstm", "weight_hh_l1")),
        ValueError,
        "expected weight_ih_l1 and weight_hh_l1, .*not whole",
    ),
    "a bias missing": (
        lambda: from_torch(without("torch/gru", "bias_hh_l0_reverse")),
        ValueError,
        "bias_hh_l0_reverse or neither",
    ),
    "biases of two shapes": (
        lambda: from_torch(without("torch/gru") | {"bias_hh_l0": np.ones(1)}),
        ValueError,
        r"two biases of one shape, got \(12,\) and \(1,\)",
    ),
    "a layer missing": (
        lambda: from_torch(without("torch/rnn_relu", "weight_ih_l0", "weight_ih_l1")),
        ValueError,
        "expected the arrays of one RNN, LSTM or GRU of torch",
    ),
    "arrays left over": (
        lambda: from_torch(without("torch/rnn", "weight_ih_l1")),
        ValueError,
        "has weight_hh_l1, .* belong to no layer that is whole",
    ),
    "five blocks": (
        lambda: from_torch({"weight_ih": np.ones((10, 3)), "weight_hh": np.ones((10, 2))}),
        ValueError,
        r"1, 3 or 4 blocks .* of 2 rows, got shape \(10, 2\)",
    ),
    "shapes": (
        lambda: from_torch({"weight_ih": np.ones((8, 3)), "weight_hh": np.ones((6, 2))}),
        ValueError,
        r"expected weight_ih as f32\[6,3\] here, got f64\[8,3\]|f32\[8,3\]",
    ),
    "a vector": (
        lambda: from_torch({"weight_ih": np.ones(6), "weight_hh": np.ones((6, 2))}),
        ValueError,
        r"expected weight_ih as a matrix, got shape \(6,\)",
    ),
    "nonlinearity": (
        lambda: from_torch(values("torch/rnn")[1], nonlinearity="gelu"),
        ValueError,
        "'tanh' or 'relu', got 'gelu'",
    ),
    "options of a module": (
        lambda: from_torch(torch_module("rnn"), nonlinearity="relu"),
        TypeError,
        "a module tells them itself",
    ),
}


@pytest.mark.parametrize("case", BAD_TORCH)
def test_bad_torch(case):
    call, error, message = BAD_TORCH[case]
    with pytest.raises(error, match=message):
        call()


def fake_torch():
    """As much of torch as `to_torch` asks for: its modules keep what they are given."""

    class Module:
        def __init__(self, input_size, hidden_size, *, bias, dtype, device, **options):
            self.sizes, self.bias, self.device = (input_size, hidden_size), bias, device
            self.num_layers, self.dropout, self.training = 1, 0.0, True
            self.__dict__ |= options

        def to_empty(self, *, device):
            return self

        def load_state_dict(self, arrays):
            self.arrays = arrays

        def state_dict(self):
            return self.arrays

        def train(self, mode):
            self.training = mode
            return self

    kinds = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
    nn = types.SimpleNamespace(**{kind: type(kind, (Module,), {}) for kind in kinds})
    for kind in kinds:
        getattr(nn, kind).__module__ = "torch.nn"
    return types.SimpleNamespace(nn=nn, from_numpy=np.asarray, float32="float32")


TO_TORCH = {
    "rnn": lambda: rz.RNN(3, 4, num_layers=2, activation=jax.nn.relu, key=KEY),
    "lstm": lambda: rz.LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.2, key=KEY),
    "gru": lambda: rz.GRU(3, 4, use_bias=False, bidirectional=True, key=KEY),
    "lstmp": lambda: rz.layers.deep(rz.cells.LSTMPCell, 3, 4, num_layers=3, key=KEY),
    "cell": lambda: rz.cells.GRUCell(3, 4, key=KEY),
}


@pytest.mark.parametrize("name", TO_TORCH)
def test_to_torch_and_back(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    layer = TO_TORCH[name]()
    shaken = jax.tree.map(lambda a: a + 0.1 if eqx.is_inexact_array(a) else a, layer)
    module = to_torch(shaken)
    assert same(from_torch(module), shaken)
    assert module.sizes == (3, 8 if name == "lstmp" else 4)
    if name == "lstm":
        assert (module.num_layers, module.bidirectional, module.dropout) == (2, True, 0.2)
        assert not to_torch(eqx.nn.inference_mode(layer)).training
        assert to_torch(layer, batch_first=True).batch_first


def test_to_torch_fills_missing_biases(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    with_bias, without_bias = (rz.cells.GRUCell(4, 4, use_bias=b, key=KEY) for b in (True, False))
    module = to_torch(rz.Stacked([with_bias, without_bias]))
    assert module.bias
    np.testing.assert_array_equal(module.arrays["bias_ih_l1"], np.zeros(12))
    assert set(to_torch(without_bias).arrays) == {"weight_ih", "weight_hh"}


def gru(hidden=4, **options):
    return rz.cells.GRUCell(4, hidden, key=KEY, **options)


BAD_TO_TORCH = {
    "another cell": (
        lambda: rz.Recurrent(rz.cells.MGUCell(3, 4, key=KEY)),
        TypeError,
        "got MGUCell",
    ),
    "a wrapped cell": (lambda: rz.Zoneout(gru(), 0.1), TypeError, "got Zoneout"),
    "a model": (lambda: rz.make_model("gru", 3, 2, key=KEY), TypeError, "got SequenceModel"),
    "a linear map": (
        lambda: rz.Stacked([gru(), rz.layers.pointwise.linear(4, 2, key=KEY)]),
        TypeError,
        "got Pointwise: torch has no module for it",
    ),
    "two kinds": (
        lambda: rz.Stacked([gru(), rz.cells.LSTMCell(4, 4, key=KEY)]),
        ValueError,
        "layers of one kind .*got GRUCell, LSTMCell",
    ),
    "two sizes": (lambda: rz.Stacked([gru(4), gru(5)]), ValueError, "one size.* got 4, 5"),
    "one and two directions": (
        lambda: rz.Stacked([gru(), rz.Bidirectional(gru(), gru())]),
        ValueError,
        "in the same directions",
    ),
    "reset before": (lambda: gru(reset_after=False), ValueError, "reset_after=False"),
    "peepholes": (
        lambda: rz.Recurrent(rz.cells.LSTMCell(3, 4, peepholes=True, key=KEY)),
        ValueError,
        "without peepholes",
    ),
    "coupled gates": (
        lambda: rz.Recurrent(rz.cells.LSTMCell(3, 4, coupled=True, key=KEY)),
        ValueError,
        "with a forget gate",
    ),
    "activation": (
        lambda: rz.cells.ElmanCell(3, 4, activation=jnp.sin, key=KEY),
        ValueError,
        "jnp.tanh or jax.nn.relu.* got activation=.*sin",
    ),
    "a projected cell": (
        lambda: rz.cells.LSTMPCell(3, 4, key=KEY),
        TypeError,
        r"give rz.Recurrent",
    ),
    "a sum": (
        lambda: rz.Bidirectional(gru(), gru(), merge="sum"),
        ValueError,
        "side by side, as torch's, got merge='sum'",
    ),
    "a wide projection": (
        lambda: rz.Recurrent(rz.cells.LSTMPCell(3, 4, cell_size=4, key=KEY)),
        ValueError,
        "fewer outputs than cells in an LSTMP, got 4 and 4",
    ),
}


@pytest.mark.parametrize("case", BAD_TO_TORCH)
def test_bad_to_torch(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    make, error, message = BAD_TO_TORCH[case]
    with pytest.raises(error, match=message):
        to_torch(make())


def test_to_torch_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        to_torch(gru())


def test_torch_modules_with_code_of_their_own():
    module = torch_module("lstm")
    base = type(module)
    base.forward = lambda self, x: x
    base.extra_repr = base.flatten_parameters = lambda self: ""
    harmless = type("MyLSTM", (base,), {"extra_repr": lambda self: "mine", "more": tanh})
    assert same(from_torch(harmless()), from_torch(module))
    for own, instance, names in (
        ({"forward": tanh}, {}, "got MyLSTM with its own forward, whose code"),
        ({"flatten_parameters": tanh}, {}, "its own flatten_parameters"),
        ({"__call__": tanh}, {"forward": tanh}, "its own __call__, forward"),
    ):
        one = type("MyLSTM", (base,), own)()
        vars(one).update(instance)
        with pytest.raises(TypeError, match=f"{names}.*from_torch"):
            from_torch(one)
    # A class of that name from elsewhere.
    with pytest.raises(TypeError, match="expected one of RNN, .*got LSTM"):
        from_torch(type("LSTM", (), {"state_dict": base.state_dict})())


WEIGHTS = {
    "parametrizations.weight_hh_l0.original0": ({}, "parametrize.remove_parametrizations"),
    "weight_hh_l0_g": ({"weight_hh_l0_v": 1}, "remove_weight_norm"),
    "weight_hh_l0_orig": ({"weight_hh_l0_u": 1, "weight_hh_l0_v": 1}, "remove_spectral_norm"),
    "weight_hh_l0_orig ": ({"weight_hh_l0_mask": 1}, "prune.remove"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_computed_weights_of_torch_name_their_mend(name):
    others, undo = WEIGHTS[name]
    arrays = without("torch/lstm", "weight_hh_l0") | {name.strip(): 1, **others}
    message = rf"got {name.strip()}, .*torch.nn.utils.{undo}\(module, 'weight_hh_l0'\)"
    with pytest.raises(ValueError, match=message):
        from_torch(arrays)
    with pytest.raises(ValueError, match=message):
        from_torch({f"a.{k}": v for k, v in arrays.items()}, prefix="a.")


def test_torch_modules_have_no_code_of_their_own():
    module = torch_module("lstm")
    module._forward_hooks, module._forward_pre_hooks = {}, {}
    module.named_modules = lambda: [("", module)]
    from_torch(module)
    module._forward_hooks = {0: print}
    with pytest.raises(TypeError, match="without forward hooks, got some on the module"):
        from_torch(module)


def test_real_torch_modules_with_code_of_their_own():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4)
    undone = torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with pytest.raises(ValueError, match="remove_parametrizations"):
        from_torch(undone)
    torch.nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    close(from_torch(module).layers[0].cell.weight_hh, module.weight_hh_l0.detach(), atol=1e-7)
    handle = module.register_forward_hook(lambda module, given, got: got)
    with pytest.raises(TypeError, match="without forward hooks, got some on the module"):
        from_torch(module)
    handle.remove()
    assert from_torch(module).output_size == 4


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {}),
        ("RNN", {"nonlinearity": "relu", "bias": False}),
        ("LSTM", {"dropout": 0.3}),
        ("LSTM", {"proj_size": 3, "bias": False}),
        ("GRU", {}),
    ],
)
def test_a_torch_module_of_two_bidirectional_layers(kind, options):
    torch = pytest.importorskip("torch")
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: PLC0415

    def run(module):
        packed = pack_padded_sequence(torch.tensor(xs), LENGTHS, batch_first=True)
        return pad_packed_sequence(module(packed)[0], batch_first=True)[0].detach().numpy()

    xs = XS.astype(np.float32)
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(
        3, 8, num_layers=2, bidirectional=True, batch_first=True, **options
    ).eval()
    layer = from_torch(module)
    close(rz.batch(layer)(xs), module(torch.tensor(xs))[0].detach().numpy(), atol=1e-6)
    close(rz.batch(layer)(padded(xs), mask=MASK), run(module), atol=1e-6)
    before = torch.get_rng_state()
    back = to_torch(layer, batch_first=True)
    assert torch.equal(before, torch.get_rng_state()), "torch's generator has moved"
    close(run(back), run(module), atol=1e-6)
    assert same(from_torch(back), layer)
    assert back.dropout == module.dropout
    assert back.training == (not module.dropout), "without dropout there is no mode to carry"


def test_torch_dtypes_and_cells():
    torch = pytest.importorskip("torch")
    half = torch.nn.GRU(3, 4).bfloat16()
    layer = from_torch(half)
    assert layer.layers[0].cell.weight_hh.dtype == jnp.bfloat16
    assert to_torch(layer).weight_hh_l0.dtype == torch.bfloat16
    assert torch.equal(to_torch(layer).weight_hh_l0, half.weight_hh_l0)
    with float64():
        assert to_torch(from_torch(torch.nn.LSTM(3, 4).double())).bias_ih_l0.dtype == torch.float64
    x = torch.randn(1, 3)
    for kind in (torch.nn.RNNCell, torch.nn.LSTMCell, torch.nn.GRUCell):
        module = kind(3, 4)
        cell = from_torch(module)
        theirs = module(x)
        theirs = theirs if isinstance(theirs, torch.Tensor) else theirs[0]
        close(
            cell.step(cell.init_state(), jnp.asarray(x[0].numpy()))[1],
            theirs[0].detach(),
            atol=1e-6,
        )
        assert same(from_torch(to_torch(cell)), cell)


# --- Keras ----------------------------------------------------------------------------------------


def tanh(x):
    """A function whose name alone is read."""


def named(name, module="jax.nn"):
    function = types.FunctionType(tanh.__code__, {}, name)
    function.__module__ = module
    return function


def keras_cell(kind, arrays, activation="tanh", gate="sigmoid", **fields):
    fields |= {"activation": staticmethod(named(activation)), "__module__": "keras.src"}
    fields |= {"get_weights": lambda self: arrays}
    if kind != "SimpleRNN":
        fields["recurrent_activation"] = staticmethod(named(gate))
    return type(f"{kind}Cell", (), fields)()


def keras_layer(kind, arrays, *, backwards=False, **fields):
    """An object with the names that `from_keras` reads off a layer of Keras."""
    cell = keras_cell(kind, arrays, **fields)
    layer = {"cell": cell, "go_backwards": backwards, "get_weights": lambda self: arrays}
    layer["__module__"] = "keras.src"
    return type(kind, (), layer)()


def keras_both(kind, arrays, merge_mode="concat", **fields):
    half = len(arrays) // 2
    one = keras_layer(kind, arrays[:half], **fields)
    two = keras_layer(kind, arrays[half:], backwards=True, **fields)
    both = {"forward_layer": one, "backward_layer": two, "merge_mode": merge_mode}
    both["__module__"] = "keras.src"
    return type("Bidirectional", (), both | {"get_weights": lambda self: arrays})()


KERAS = {"simple": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}


@pytest.mark.parametrize("name", names("keras"))
def test_keras_layers(name):
    _, arrays, found = values(f"keras/{name}")
    arrays, kind = list(arrays.values()), KERAS[name.split("_")[0]]
    after = "before" not in name
    fields = {"activation": "relu"} if "relu" in name else {}
    fields |= {"reset_after": after} if kind == "GRU" else {}
    make = keras_both if name.endswith("both") else keras_layer
    with float64():
        layer = from_keras(make(kind, arrays, **fields))
        close(rz.batch(layer)(padded(), mask=MASK), found["ys"], atol=1e-6)
        if "relu" not in name:
            assert same(from_keras(arrays, reset_after=after), layer)


def test_keras_stacks_and_cells():
    both, one = (list(values(f"keras/{name}")[1].values()) for name in ("lstm_both", "gru"))
    wide = [np.concatenate([one[0]] * 3)[:8], *one[1:]]
    stack = from_keras([keras_both("LSTM", both), keras_layer("GRU", wide)])
    assert isinstance(stack, rz.Stacked)
    assert (stack.input_size, stack.output_size) == (3, 4)
    assert same(from_keras(keras_cell("GRU", one)), from_keras(one).cell)


def test_keras_layers_with_code_of_their_own():
    arrays = list(values("keras/lstm")[1].values())
    both = list(values("keras/gru_both")[1].values())
    layer, two = keras_layer("LSTM", arrays), keras_both("GRU", both)
    for one in (layer, layer.cell, two):
        type(one).call = type(one).get_config = lambda self, x: x
        other = type("Mine", (type(one),), {"get_config": tanh})
        assert same(from_keras(other()), from_keras(one))
        other.call = lambda self, x: 2 * x
        with pytest.raises(TypeError, match="got Mine with its own call, .*rz.adopt"):
            from_keras(other())
    class_ = type("Mine", (type(layer.cell),), {"call": tanh})
    with pytest.raises(TypeError, match="expected LSTMCell as .*got Mine with its own call"):
        from_keras(type("RNN", (type(layer),), {"cell": class_(), "__module__": "keras"})())
    type(layer.cell).activation = staticmethod(named("tanh", "mine"))
    with pytest.raises(ValueError, match="got tanh of mine and sigmoid of jax.nn"):
        from_keras(layer)


def test_keras_sums_stacks_and_states():
    both = list(values("keras/gru_both")[1].values())
    layer, apart = (from_keras(keras_both("GRU", both, merge_mode=m)) for m in ("sum", "concat"))
    ys = apart(XS[0])
    np.testing.assert_allclose(layer(XS[0]), ys[:, :4] + ys[:, 4:], atol=1e-6)
    one = list(values("keras/gru")[1].values())
    two = [np.ones((4, 8)), np.ones((2, 8)), np.ones(8)]
    cells = [keras_cell("GRU", one), keras_cell("LSTM", two)]
    stack = type("StackedRNNCells", (), {"cells": cells, "__module__": "keras"})()
    rnn = type("RNN", (type(keras_layer("GRU", one)),), {"cell": stack, "__module__": "keras"})()
    expected = rz.Stacked([from_keras(one), from_keras(two)])
    assert same(from_keras(rnn).cell.layers, expected.layers)
    assert same(from_keras([*one, *two], stacked=True), from_keras(rnn))
    rnn = keras_layer("GRU", one)
    rnn.stateful = True
    with pytest.raises(ValueError, match="expected stateful=False"):
        from_keras(rnn)
    rnn.stateful, rnn.return_sequences = False, False
    assert same(from_keras([rnn]).layers[0], from_keras(rnn))
    with pytest.raises(ValueError, match="of all layers but the last, got False of layer 0"):
        from_keras([rnn, rnn])


def test_arrays_that_may_be_two_directions_or_two_cells():
    square = [np.full((4, 12), 0.1), np.full((4, 12), -0.2), np.full((2, 12), 0.3)]
    second = [-array for array in square]
    with pytest.raises(ValueError, match="stacked=False for both directions .*two cells"):
        from_keras(square + second)
    both = from_keras(square + second, stacked=False)
    assert same(both, rz.Bidirectional(from_keras(square).cell, from_keras(second).cell))
    above = from_keras(square + second, stacked=True)
    assert above.output_size == 4
    three = from_keras([*square[:2], *second[:2], *square[:2]], stacked=True)
    assert len(three.cell.layers) == 3
    with pytest.raises(ValueError, match="each reads the units of the one before"):
        from_keras([np.ones((3, 8)), np.ones((2, 8)), np.ones((3, 8)), U], stacked=True)


W, U = np.ones((3, 8)), np.ones((2, 8))
BAD_KERAS = {
    "another layer": (lambda: eqx.nn.Linear(2, 2, key=KEY), TypeError, "one of SimpleRNN.* Linear"),
    "not built": (lambda: keras_layer("LSTM", []), ValueError, "no weights yet: build"),
    "activation": (
        lambda: keras_layer("LSTM", [W, U], activation="relu"),
        ValueError,
        "expected the activation tanh, and sigmoid for the gates, got relu of jax.nn and sigmoid",
    ),
    "gates": (
        lambda: keras_layer("GRU", [W, U], gate="hard_sigmoid"),
        ValueError,
        "got tanh of jax.nn and hard_sigmoid",
    ),
    "backwards": (
        lambda: keras_layer("LSTM", [W, U], backwards=True),
        ValueError,
        r"go_backwards=False, got True.*rz.layers.Backward",
    ),
    "a mean": (
        lambda: keras_both("LSTM", [W, U, W, U], "ave"),
        ValueError,
        "expected merge_mode='concat' or 'sum', got 'ave'",
    ),
    "other cells": (
        lambda: type("RNN", (), vars(keras_layer("MyLSTM", [W, U]).__class__) | {})(),
        TypeError,
        "got one of MyLSTMCell",
    ),
    "nothing": (list, ValueError, "got 0 arrays"),
    "many arrays": (lambda: [W] * 5, ValueError, "got 5 arrays"),
    "two layers": (lambda: [W, U, U, U], ValueError, "two directions of equal shapes"),
    "vectors": (lambda: [W[0], U], ValueError, r"got shapes \(8,\) and \(2, 8\)"),
    "two blocks": (lambda: [W, np.ones((4, 8))], ValueError, r"1, 3 or 4 blocks.*\(4, 8\)"),
    "a bias of a GRU": (
        lambda: [np.ones((3, 6)), np.ones((2, 6)), np.ones((1, 6))],
        ValueError,
        r"the bias of a GRU as \(6,\) or \(2, 6\), got \(1, 6\)",
    ),
    "a bias": (lambda: [W, U, np.ones(7)], ValueError, r"expected bias as f32\[8\] here"),
}


@pytest.mark.parametrize("case", BAD_KERAS)
def test_bad_keras(case):
    make, error, message = BAD_KERAS[case]
    with pytest.raises(error, match=message):
        from_keras(make())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_layers_made_on_the_spot(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    layers, xs = keras.layers, XS.astype(np.float32)
    for make, options in (
        (layers.SimpleRNN, {"activation": "relu"}),
        (layers.LSTM, {"dropout": 0.2}),
        (layers.GRU, {}),
        (layers.GRU, {"reset_after": False}),
    ):
        parts = [
            layers.Bidirectional(make(4, return_sequences=True, **options)),
            make(5, return_sequences=True, **options),
        ]
        model = keras.Sequential([keras.Input(XS.shape[1:]), *parts])
        close(rz.batch(from_keras(parts))(xs), np.asarray(model(xs)), atol=1e-5)


# --- Flax -----------------------------------------------------------------------------------------


def nested(arrays):
    tree = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


@pytest.mark.parametrize("name", names("flax"))
def test_flax_layers(name):
    _, arrays, found = values(f"flax/{name}")
    with float64():
        layer = from_flax({"params": nested(arrays)})
        close(rz.batch(layer)(padded(), mask=MASK), found["ys"])
        assert isinstance(layer, rz.Bidirectional if name.endswith("both") else rz.Recurrent)
        if not name.endswith("both"):
            cell = nested(arrays)["cell"]
            assert same(from_flax(cell), layer.cell)
            assert same(from_flax(packed(cell)), packed_cell(layer.cell))


def packed(cell):
    """The same parameters in the form of nnx, whose GRU has one bias."""
    if set(cell) == {"i", "h"}:
        return {"dense_i": cell["i"], "dense_h": cell["h"]}
    gates = "ifgo" if "ii" in cell else "rzn"
    sides = {
        f"dense_{side}": {"kernel": np.hstack([cell[side + g]["kernel"] for g in gates])}
        for side in "ih"
    }
    side = "h" if gates == "ifgo" else "i"
    sides[f"dense_{side}"]["bias"] = np.hstack([cell[side + g]["bias"] for g in gates])
    return sides


def packed_cell(cell):
    if isinstance(cell, rz.cells.GRUCell):
        return eqx.tree_at(lambda c: c.bias_n, cell, jnp.zeros_like(cell.bias_n))
    return cell


def nnx_module(kind, tree, **fields):
    """An object with the names that `from_flax` reads off a module of nnx."""
    flax = {"__module__": "flax.nnx"}
    parts = {k: type("Linear", (), v | flax)() for k, v in packed(tree).items()}
    functions = {"activation_fn": named("tanh"), "gate_fn": named("sigmoid")} | fields
    functions = {k: f and staticmethod(f) if callable(f) else f for k, f in functions.items()}
    return type(kind, (), functions | parts | flax)()


def test_flax_modules():
    tree = nested(values("flax/gru")[1])["cell"]
    module = nnx_module("GRUCell", tree)
    assert same(from_flax(module), from_flax(packed(tree)))
    flax = {"__module__": "flax.nnx"}
    rnn = type("RNN", (), {"cell": module, "reverse": False} | flax)()
    assert same(from_flax([rnn]), rz.Stacked([from_flax(module)]))
    simple = nested(values("flax/simple")[1])["cell"]
    relu = nnx_module("SimpleCell", simple, activation_fn=named("relu"), gate_fn=None)
    assert same(from_flax(relu), from_flax(simple, activation=jax.nn.relu))
    for fields, message in (
        ({"activation_fn": named("gelu")}, "expected activation_fn tanh and gate_fn sigmoid"),
        ({"gate_fn": named("tanh")}, "got tanh of jax.nn and tanh"),
        ({"activation_fn": named("tanh", "mine")}, "got tanh of mine"),
        ({"dtype": jnp.bfloat16, "param_dtype": jnp.float32}, r"set cell.dtype = None"),
        ({"carry_init": named("ones")}, r"carry_init=ones of jax.nn: .*LearnedInitialState"),
        ({"promote_dtype": named("promote")}, "expected promote_dtype of flax"),
    ):
        with pytest.raises(ValueError, match=message):
            from_flax(nnx_module("GRUCell", tree, **fields))
    with pytest.raises(ValueError, match="without residual"):
        from_flax(nnx_module("SimpleCell", simple, gate_fn=None, residual=True))
    with pytest.raises(ValueError, match=r"reverse=True: take rz.layers.Backward"):
        from_flax(type("RNN", (), {"cell": module, "reverse": True} | flax)())

    type(module).__call__ = lambda self, carry, x: (carry, x)
    for one in (module, rnn):
        other = type("Mine", (type(one),), {"__call__": lambda self, x: x})
        type(one).__call__ = lambda self, x: x
        with pytest.raises(TypeError, match="got Mine with its own __call__, .*rz.adopt"):
            from_flax(other())
    with pytest.raises(TypeError, match="expected one of LSTMCell, .*got Strange"):
        from_flax(type("Strange", (), {"dense_i": 1})())
    both = {"forward_rnn": rnn, "backward_rnn": rnn} | flax
    layer = from_flax(type("Bidirectional", (), both | {"merge_fn": np.add})())
    assert (layer.merge, layer.output_size) == ("sum", 4)
    with pytest.raises(ValueError, match="concatenates or adds, got merge_fn=add of mine"):
        from_flax(
            type("Bidirectional", (), both | {"merge_fn": staticmethod(named("add", "mine"))})()
        )


def linear(rows, columns):
    return {"kernel": np.ones((rows, columns))}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Dense_0": {}}, "got the names Dense_0: give the part of the tree"),
        (np.ones(3), "got the names none"),
        ({"i": np.ones(3), "h": {}}, "expected kernels in a cell of Flax"),
        ({"if": {}, "in": {}, "hf": {}, "hn": {}}, "got the names hf, hn, if, in"),
        ({"dense_i": linear(3, 4), "dense_h": linear(2, 4)}, "an MGUCell of Flax has no form"),
        ({"dense_i": linear(3, 6), "dense_h": linear(2, 8)}, r"expected weight_ih as f32\[8,3\]"),
    ],
)
def test_bad_flax(params, message):
    with pytest.raises(ValueError, match=message):
        from_flax(params)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_flax_modules_made_on_the_spot():
    pytest.importorskip("flax")
    from flax import linen, nnx  # noqa: PLC0415

    xs = XS.astype(np.float32)
    for name in ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"):
        make = getattr(nnx, name)
        one, two = (nnx.RNN(make(3, 4, rngs=nnx.Rngs(seed))) for seed in (0, 1))
        module = nnx.Bidirectional(one, two)
        ours = rz.batch(from_flax(module))
        close(ours(xs), module(xs), atol=1e-6)
        assert same(from_flax(nnx.state(module)), from_flax(module))
        rnn = linen.RNN(getattr(linen, name)(4))
        variables = rnn.init(KEY, xs)
        close(rz.batch(from_flax(variables))(xs), rnn.apply(variables, xs), atol=1e-6)


# --- safetensors ----------------------------------------------------------------------------------


def model(name="lstm", **options):
    return rz.make_model(name, 2, 4, hidden_size=3, num_layers=2, key=KEY, **options)


def as_bfloat16(tree):
    return jax.tree.map(lambda a: a.astype(jnp.bfloat16) if eqx.is_inexact_array(a) else a, tree)


@pytest.mark.parametrize(
    "make",
    [
        lambda: model(bidirectional=True, dropout=0.3),
        lambda: as_bfloat16(model("lru")),
        lambda: rz.make_cell("hcornn", 2, 3, key=KEY),
        lambda: rz.scan.unroll(rz.cells.LRUCell(2, 3, key=KEY), jnp.ones((4, 2)))[0],
        lambda: {
            "a": jnp.arange(3),
            "b": [jnp.array(2.5), np.ones((0, 3))],
            "c": jnp.ones(2, bool),
        },
    ],
)
def test_safetensors_and_back(tmp_path, make):
    pytest.importorskip("safetensors")
    tree, path = make(), tmp_path / "model.safetensors"
    save_safetensors(tree, path)
    like = {np.ndarray: np.zeros_like, bool: bool}
    blank = jax.tree.map(lambda a: like.get(type(a), jnp.zeros_like)(a), tree)
    assert same(load_safetensors(blank, str(path)), tree)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_state_of_any_cell_goes_through_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    path, kinds, rng = tmp_path / "state.safetensors", set(), np.random.default_rng(0)

    def drawn(leaf):
        parts = rng.standard_normal((2, *leaf.shape))
        return (parts[0] + 1j * parts[1] if leaf.dtype.kind == "c" else parts[0]).astype(leaf.dtype)

    for name in rz.list_cells():
        like = eqx.filter_eval_shape(
            lambda name=name: rz.make_cell(name, 2, 4, key=KEY).init_state()
        )
        kinds |= {leaf.dtype.name for leaf in jax.tree.leaves(like)}
        state = jax.tree.map(drawn, like)
        save_safetensors(state, path)
        found = load_safetensors(like, path)
        assert jax.tree.structure(found) == jax.tree.structure(state)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), found, state)), name
    assert "complex64" in kinds


def test_safetensors_names_and_shapes_without_memory(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "model.safetensors"
    save_safetensors(model(bidirectional=True), path)
    found = library.load_file(path)
    assert found["layer.layers.1.backward.cell.weight_ih"].shape == (12, 6)
    assert found["head.weight"].dtype == np.float32
    shapes = eqx.filter_eval_shape(lambda: model(bidirectional=True))
    assert same(load_safetensors(shapes, path), model(bidirectional=True))


def test_a_state_dict_of_torch_in_a_file(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {k: v.astype(np.float32) for k, v in values("torch/gru")[1].items()}
    library.save_file(arrays, tmp_path / "gru.safetensors")
    layer = from_torch(library.load_file(tmp_path / "gru.safetensors"))
    assert same(layer, from_torch(arrays))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model("gru"), r"no layer.layers.0.cell.bias_n; .*weight_hh as float32\[12, 3\] "),
        (
            lambda: rz.make_model("lstm", 2, 4, hidden_size=3, key=KEY),
            "has layer.layers.1.cell.bias, which the model has not; .*layers.1.cell.weight_hh",
        ),
        (lambda: as_bfloat16(model()), r"head.bias as float32\[4\] where bfloat16\[4\] should be"),
    ],
)
def test_safetensors_of_another_model(tmp_path, make, message):
    pytest.importorskip("safetensors")
    save_safetensors(model(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_safetensors(make(), tmp_path / "model.safetensors")


def test_safetensors_in_double_precision(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    with float64():
        wide = rz.make_cell("elman", 2, 3, key=jr.key(0))
        save_safetensors(wide, path)
        assert same(load_safetensors(wide, path), wide)
    with pytest.raises(ValueError, match="x64 was enabled for one of them only"):
        load_safetensors(rz.make_cell("elman", 2, 3, key=KEY), path)


def test_what_safetensors_cannot_hold(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "model.safetensors"
    for tree, error, message in (
        ({"z": np.ones(2, complex)}, TypeError, r"got complex128\[2\] at z: .*imaginary"),
        ([jr.key(0)], TypeError, "got keys at 0: keep jax.random.key_data"),
        ({"a": {"b": jnp.ones(2)}, "a.b": jnp.ones(2)}, ValueError, "got two at a.b"),
    ):
        with pytest.raises(error, match=message):
            save_safetensors(tree, path)
    assert not path.exists()
    path.write_bytes(library.save({"a": np.ones(3)})[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_safetensors({"a": np.ones(3)}, path)
    path.write_bytes(library.save({"a": np.ones(2, jnp.float8_e4m3fn)}))
    with pytest.raises(ValueError, match="of the kinds .* got F8_E4M3?"):
        load_safetensors({"a": np.ones(2)}, path)


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (save_safetensors, load_safetensors):
        with pytest.raises(ImportError, match=r"pip install .*\[safetensors\]"):
            call(model(), tmp_path / "model.safetensors")
