"""Networks around matrix cells equal their authors' code: golden/make_matrix_blocks.py."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, draw, float64, noisy

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.layers import MLSTMBlock, SLSTMBlock


KEY = jr.key(0)
GOLDEN = np.load(Path(__file__).parent / "golden" / "matrix_blocks.npz")
NAMES = ["mlstm", "slstm"]
SIZE, LAYERS = 6, 2
OPTIONS = {"num_heads": 2}


def network(name, dtype=None, **options):
    """The layers behind the first map of x, two blocks and a norm."""
    given = OPTIONS | options
    model = rz.make_model(
        name, SIZE, 2, hidden_size=SIZE, num_layers=LAYERS, dtype=dtype, key=KEY, **given
    )
    return rz.Stacked(model.layer.layers[1:])


class Arrays:
    """Those of a part of the file; every one of them has to be read."""

    def __init__(self, name):
        start = f"{name}/p/"
        self.left = {k.removeprefix(start): GOLDEN[k] for k in GOLDEN.files if k.startswith(start)}

    def __call__(self, name):
        return self.left.pop(name)


def put(part, **arrays):
    """Arrays in the place of those of a part, of the same shapes."""
    given = {}
    for name, value in arrays.items():
        old = getattr(part, name)
        assert old.shape == value.shape, name
        given[name] = jnp.asarray(value, old.dtype)
    return replace(part, **given)


def convolution(conv, arrays, at):
    weight = arrays(f"{at}.conv.weight")[:, 0, ::-1].T
    cell = put(conv.layers[0].cell, weight=weight, bias=arrays(f"{at}.conv.bias"))
    return replace(conv, layers=(replace(conv.layers[0], cell=cell), conv.layers[1]))


def norm(part, arrays, at, bias=False, more=1.0):
    given = {"bias": arrays(f"{at}.bias")} if bias else {}
    assert bias or part.bias is None
    return put(part, weight=more + arrays(f"{at}.weight"), **given)


def mlstm(layers, arrays):
    made = []
    for i, block in enumerate(layers[:-1]):
        at = f"blocks.{i}.xlstm"
        mixer = block.layer
        beside, features, leading = mixer.inner.layers
        conv = convolution(beside.layers[0], arrays, f"{at}.conv1d")
        beside = replace(beside, layers=(conv, beside.layers[1]))
        gates = [arrays(f"{at}.mlstm_cell.{gate}gate.weight") for gate in "if"]
        maps = {f"weight_{part}": arrays(f"{at}.{part}_proj.weight") for part in "qkv"}
        maps["weight_gates"] = np.concatenate(gates)
        features = replace(features, function=put(features.function, **maps))
        biases = np.concatenate([arrays(f"{at}.mlstm_cell.{gate}gate.bias") for gate in "if"])
        cell = put(leading.layer.cell, bias_gates=biases)
        leading = replace(leading, layer=replace(leading.layer, cell=cell))
        mixer = put(
            replace(mixer, inner=rz.Stacked([beside, features, leading])),
            norm_weight=1 + arrays(f"{at}.mlstm_cell.outnorm.weight"),
            skip=arrays(f"{at}.learnable_skip"),
        )
        mixer = replace(
            mixer,
            project_in=put(mixer.project_in, weight=arrays(f"{at}.proj_up.weight")),
            project_out=put(mixer.project_out, weight=arrays(f"{at}.proj_down.weight")),
        )
        own = norm(block.norm, arrays, f"{at}_norm")
        made.append(replace(block, norm=own, layer=mixer))
    return made


def slstm(layers, arrays):
    made = []
    for i in range(LAYERS):
        block, perceptron = layers[2 * i : 2 * i + 2]
        at = f"blocks.{i}.xlstm"
        beside, gates, cell = block.layer.inner.layers
        conv = convolution(beside.layers[0], arrays, f"{at}.conv1d")
        beside = replace(beside, layers=(conv, beside.layers[1]))
        # Their step calls the first rows those of f and hands them on as those of i.
        maps = np.stack([arrays(f"{at}.{gate}gate.weight") for gate in "fizo"])
        gates = replace(gates, function=put(gates.function, weight=maps))
        kernel = arrays(f"{at}.slstm_cell._recurrent_kernel_").reshape(2, 4, 3, 3)
        bias = arrays(f"{at}.slstm_cell._bias_")
        cell = replace(cell, cell=put(cell.cell, weight_hh=kernel.swapaxes(0, 1), bias=bias))
        weight = 1 + arrays(f"{at}.group_norm.weight")
        mixer = put(
            replace(block.layer, inner=rz.Stacked([beside, gates, cell])), norm_weight=weight
        )
        made.append(replace(block, norm=norm(block.norm, arrays, f"{at}_norm"), layer=mixer))
        made.append(feedforward(perceptron, arrays, f"blocks.{i}.ffn"))
    return made


def feedforward(block, arrays, at):
    function = block.layer.function
    gate, value = np.split(arrays(f"{at}.proj_up.weight"), 2)
    function = replace(
        function,
        gate=put(function.gate, weight=gate),
        value=put(function.value, weight=value),
        output=put(function.output, weight=arrays(f"{at}.proj_down.weight")),
    )
    layer = replace(block.layer, function=function)
    return replace(block, norm=norm(block.norm, arrays, f"{at}_norm"), layer=layer)


def load(name, dtype):
    arrays, layers = Arrays(name), network(name, dtype).layers
    blocks = {"mlstm": mlstm, "slstm": slstm}[name](layers, arrays)
    last = replace(layers[-1], function=norm(layers[-1].function, arrays, "post_blocks_norm"))
    assert not arrays.left
    return rz.Stacked([*blocks, last])


run = eqx.filter_jit(lambda network, xs, **options: network.scan(xs, **options))


@pytest.mark.parametrize("name", NAMES)
def test_networks_equal_their_authors(name):
    with float64() as dtype:
        _, ys = run(load(name, dtype), jnp.asarray(GOLDEN[f"{name}/x"]))
        np.testing.assert_allclose(ys, GOLDEN[f"{name}/y"], rtol=1e-9, atol=1e-10)


MASK = np.array([0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 0], bool)
RESET = np.isin(np.arange(len(MASK)), [2, 7])


@pytest.mark.parametrize("name", NAMES)
def test_gaps_and_documents_of_networks(name):
    """What is masked is not seen, not even its NaN, and what is before a reset is forgotten."""
    with float64() as dtype:
        made = noisy(network(name, dtype), 3)
        xs = draw(1, (len(MASK), SIZE))
        broken = jnp.where(MASK[:, None], xs, jnp.nan)
        broken = broken.at[1].set(jnp.inf)
        reset = jnp.asarray(RESET & MASK)
        _, ys = run(made, broken, mask=jnp.asarray(MASK), reset=reset)
        assert not np.asarray(ys)[~MASK].any()
        xs, seen = np.asarray(xs), np.arange(len(MASK))
        for start, stop in ((2, 7), (7, 13)):
            own = (seen >= start) & (seen < stop) & MASK
            _, alone = run(made, jnp.asarray(xs[own]))
            np.testing.assert_allclose(np.asarray(ys)[own], alone, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_networks_stream(name):
    made, xs = noisy(network(name), 3), draw(2, (7, SIZE), jnp.float32)
    final, whole = run(made, xs)
    state, first = run(made, xs[:3])
    state, second = run(made, xs[3:], state=state)
    assert_close((state, jnp.concatenate([first, second])), (final, whole), 2e-5)
    step = eqx.filter_jit(lambda state, x: made.step(state, x))
    state, outputs = made.init_state(), []
    for x in xs:
        state, y = step(state, x)
        outputs.append(y)
    assert_close((state, jnp.stack(outputs)), (final, whole), 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_networks_by_name(name, tmp_path):
    model = rz.make_model(name, 3, 2, hidden_size=SIZE, dropout=0.2, key=KEY)
    xs = draw(3, (5, 3), jnp.float32)
    assert model.stochastic
    assert eqx.filter_eval_shape(lambda model: model(xs, key=KEY), model).shape == (2,)
    rz.train.save(tmp_path / name, model)
    assert eqx.tree_equal(rz.train.load(tmp_path / name), model)
    for option in ("input_map", "place"):
        with pytest.raises(TypeError, match=f"no option '{option}'.*"):
            rz.make_model(name, 3, 2, key=KEY, **{option: (0, 1)})
    both = rz.make_model(name, 3, 2, hidden_size=SIZE, bidirectional=True, key=KEY)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(model):
        return jnp.sum(model(jnp.zeros((5, 3))) ** 2)

    for leaf in jax.tree.leaves(gradient(both)):
        assert np.isfinite(leaf).all()


def test_xlstm_starts_as_its_code_does():
    block = MLSTMBlock(64, place=(1, 4), key=KEY)
    features = block.inner.layers[1].function
    assert features.weight_q.shape == (32, 4, 4)
    for weight in (block.project_in.weight, features.weight_k, features.weight_v):
        assert 0.9 < np.std(weight) / np.sqrt(2 / 320) < 1.1
    assert 0.9 < np.std(block.project_out.weight) / (2 / 4 / 8) < 1.1
    assert not np.asarray(features.weight_gates).any()
    assert block.inner.layers[2].layer.cell.key_size == 32
    for index, power in ((0, 0.3), (3, 1.6)):
        cell = SLSTMBlock(20, place=(index, 4), key=KEY).inner.layers[2].cell
        forget = 5 - 12 * (np.arange(5) / 4) ** power
        expected = np.concatenate([np.zeros(20), np.tile(forget, 4), np.zeros(40)])
        np.testing.assert_allclose(cell.bias, expected, atol=1e-6)
    layers = rz.make_model("slstm", 3, 2, hidden_size=48, num_layers=3, key=KEY).layer.layers
    assert 0.9 < np.std(layers[2].layer.function.output.weight) / (2 / 3 / np.sqrt(48)) < 1.1
    assert layers[2].layer.function.gate.weight.shape == (64, 48)


BAD = {
    "block_size": (lambda: MLSTMBlock(5, block_size=4, key=KEY), "divide the 10 inner features"),
    "heads": (lambda: SLSTMBlock(5, num_heads=2, key=KEY), "num_heads to divide"),
    "place": (lambda: SLSTMBlock(5, place=(2, 2), key=KEY), r"0 <= index < count.*\(2, 2\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_blocks(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
