"""Networks around matrix cells equal their authors' code: golden/make_matrix_blocks.py."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, draw, float64

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.layers import (
    Elementwise,
    HandingBlock,
    HeadsBlock,
    MLSTMBlock,
    Pointwise,
    RWKV7ChannelMix,
    RWKV7TimeMix,
    SLSTMBlock,
)


KEY = jr.key(0)
GOLDEN = np.load(Path(__file__).parent / "golden" / "matrix_blocks.npz")
NAMES = ["mlstm", "slstm", "rwkv7"]
SIZE, LAYERS = 6, 2
OPTIONS = {
    "mlstm": {"num_heads": 2},
    "slstm": {"num_heads": 2},
    "rwkv7": {"num_heads": 2, "rank": 2, "value_rank": 3, "gate_rank": 4},
}


def network(name, dtype=None):
    """The layers behind the first map of x, two blocks and a norm: the shapes of their arrays."""
    sizes = {"hidden_size": SIZE, "num_layers": LAYERS, **OPTIONS[name]}
    model = eqx.filter_eval_shape(
        lambda: rz.make_model(name, SIZE, 2, dtype=dtype, key=KEY, **sizes)
    )
    return rz.Stacked(model.layer.layers[1:])


def filled(name, dtype):
    """With every parameter drawn, so that none stands at a 0 or 1 that hides it."""
    draws = np.random.default_rng(0)

    def array(leaf):
        return jnp.asarray(0.5 * draws.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(array, network(name, dtype))


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
    blocks = {"mlstm": mlstm, "slstm": slstm, "rwkv7": rwkv7}[name](layers, arrays)
    last = layers[-1].function
    if name == "rwkv7":
        last = replace(last, norm=affine_norm(last.norm, arrays, "ln_out"))
    else:
        last = norm(last, arrays, "post_blocks_norm")
    assert not arrays.left
    return rz.Stacked([*blocks, replace(layers[-1], function=last)])


def affine_norm(part, arrays, at):
    return put(part, weight=arrays(f"{at}.weight"), bias=arrays(f"{at}.bias"))


def rwkv7(layers, arrays):
    first = affine_norm(layers[0].function, arrays, "blocks.0.ln0")
    made = [replace(layers[0], function=first)]
    for i in range(LAYERS):
        time, channel = layers[1 + 2 * i : 3 + 2 * i]
        at = f"blocks.{i}"
        own = affine_norm(time.norm, arrays, f"{at}.ln1")
        made.append(replace(time, norm=own, layer=time_mix(time.layer, arrays, f"{at}.att")))
        block = channel.layer
        shift = block.layer.inner.layers[0]
        shift = replace(shift, cell=put(shift.cell, mix=arrays(f"{at}.ffn.x_k")[0]))
        maps = {f"weight_{part[0]}": arrays(f"{at}.ffn.{part}.weight") for part in ("key", "value")}
        mixer = put(replace(block.layer, inner=rz.Stacked([shift])), **maps)
        own = affine_norm(block.norm, arrays, f"{at}.ln2")
        made.append(replace(channel, layer=replace(block, norm=own, layer=mixer)))
        # Of the blocks behind the first they make this norm and do not use it.
        arrays.left = {k: v for k, v in arrays.left.items() if ".ln0." not in k}
    return made


def time_mix(mixer, arrays, at):
    shift, maps, leading = mixer.inner.layers
    mix = np.concatenate([arrays(f"{at}.x_{part}")[0] for part in "rwkvag"])
    shift = replace(shift, layer=replace(shift.layer, cell=put(shift.layer.cell, mix=mix)))
    names = {"weight_r": "receptance", "weight_k": "key", "weight_v": "value"}
    given = {field: arrays(f"{at}.{name}.weight") for field, name in names.items()}
    given |= {f"down_{part}": arrays(f"{at}.{part}1").T for part in "wag"}
    value = {"down_v": arrays(f"{at}.v1").T, "up_v": arrays(f"{at}.v2").T}
    value["bias_v"] = arrays(f"{at}.v0").ravel()
    if not mixer.first:  # which makes them too
        given |= value
    maps = replace(maps, function=put(maps.function, **given))
    given = {f"weight_{part}": arrays(f"{at}.{part}2").T for part in "wa"}
    given |= {f"bias_{part}": arrays(f"{at}.{part}0").ravel() for part in "wa"}
    given |= {name: arrays(f"{at}.{name}").ravel() for name in ("k_k", "k_a")}
    cell = put(leading.layer.cell, **given)
    leading = replace(leading, layer=replace(leading.layer, cell=cell))
    mixer = put(
        replace(mixer, inner=rz.Stacked([shift, maps, leading])),
        norm_weight=arrays(f"{at}.ln_x.weight"),
        norm_bias=arrays(f"{at}.ln_x.bias"),
        bonus=arrays(f"{at}.r_k"),
        weight_g=arrays(f"{at}.g2").T,
    )
    out = put(mixer.project_out, weight=arrays(f"{at}.output.weight"))
    return replace(mixer, project_out=out)


run = eqx.filter_jit(lambda network, xs, **options: network.scan(xs, **options))


@pytest.mark.parametrize("name", NAMES)
def test_networks_equal_their_authors(name):
    with float64() as dtype:
        _, ys = run(load(name, dtype), jnp.asarray(GOLDEN[f"{name}/x"]))
        np.testing.assert_allclose(ys, GOLDEN[f"{name}/y"], rtol=1e-9, atol=1e-10)


HEADS = {
    "hgrn2": {},
    "delta_product": {"width": 8, "num_products": 2},
    "m2rnn": {"key_size": 4},
}


def heads(name, dtype, arrays):
    """The block with the arrays of the file, its rows in the order of theirs."""
    options = {"num_heads": 2, "dtype": dtype, "key": KEY, **HEADS[name]}
    block = eqx.filter_eval_shape(lambda: HeadsBlock(name, SIZE, **options))
    *before, cell = block.inner.layers
    own = {"A_log": "A_log", "bias_dt": "dt_bias"} if name == "delta_product" else {}
    if name == "hgrn2":
        rows, convs = ("q_proj", "f_proj", "i_proj"), ()
    elif name == "delta_product":
        rows = [f"{part}_proj" for part in "qkvbag"]
        convs = ("q_conv1d", "k_conv1d", "v_conv1d")
    else:
        rows, convs = ["input_projection"], ["conv1d"]
        own = {"D": "D", "weight_hh": "state_weight", "A_log": "decay_gate.A_log"}
        own["bias_dt"] = "decay_gate.dt_bias"
    cell = replace(cell, cell=put(cell.cell, **{k: arrays(v) for k, v in own.items()}))
    if before:
        conv, silu = before[0].layer.layers
        weight = np.concatenate([arrays(f"{part}.weight") for part in convs])[:, 0, ::-1].T
        conv = rz.Stacked([replace(conv, cell=put(conv.cell, weight=weight)), silu])
        before = [replace(before[0], layer=conv)]
    weight = np.concatenate([arrays(f"{part}.weight") for part in rows])
    last = "output_projection" if name == "m2rnn" else "o_proj"
    norm = "o_norm" if name == "delta_product" else "g_norm"
    return replace(
        block,
        project_in=put(block.project_in, weight=weight),
        inner=rz.Stacked([*before, cell]),
        norm=put(block.norm, weight=arrays(f"{norm}.weight")),
        project_out=put(block.project_out, weight=arrays(f"{last}.weight")),
    )


@pytest.mark.parametrize("name", HEADS)
def test_blocks_of_heads_equal_their_authors(name):
    with float64() as dtype:
        arrays = Arrays(name)
        block = heads(name, dtype, arrays)
        assert not arrays.left
        _, ys = run(block, jnp.asarray(GOLDEN[f"{name}/x"]))
        np.testing.assert_allclose(ys, GOLDEN[f"{name}/y"], rtol=1e-9, atol=1e-10)


MASK = np.array([0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 0], bool)
RESET = np.isin(np.arange(len(MASK)), [2, 7])


@pytest.mark.parametrize("name", NAMES)
def test_gaps_and_documents_of_networks(name):
    """What is masked is not seen, not even its NaN, and what is before a reset is forgotten."""
    with float64() as dtype:
        made = filled(name, dtype)
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
    made, xs = filled(name, jnp.float32), draw(2, (7, SIZE), jnp.float32)
    final, whole = run(made, xs)
    state, first = run(made, xs[:3])
    step = eqx.filter_jit(lambda state, x: made.step(state, x))
    outputs = list(np.asarray(first))
    for x in xs[3:]:
        state, y = step(state, x)
        outputs.append(y)
    assert_close((state, np.stack(outputs)), (final, whole), 2e-5)


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

    def both():
        return rz.make_model(name, 3, 2, hidden_size=SIZE, bidirectional=True, key=KEY)(xs)

    assert eqx.filter_eval_shape(both).shape == (2,)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_networks_at_zero_are_finite(name):
    loss = eqx.filter_jit(eqx.filter_grad(lambda made, xs: jnp.sum(made(xs) ** 2)))
    for leaf in jax.tree.leaves(loss(filled(name, jnp.float32), jnp.zeros((5, SIZE)))):
        assert np.isfinite(leaf).all()


def test_values_of_the_first_layer_are_handed_on_as_they_are():
    """Dropout acts on what is added to x, not on them."""
    double = Pointwise(Elementwise(lambda x: jnp.concatenate([x, 2 * x])), SIZE, 2 * SIZE)
    half = Pointwise(Elementwise(lambda x: x[:SIZE] + x[SIZE:]), 2 * SIZE, SIZE)
    blocks = [HandingBlock(layer, dropout=0.9) for layer in (double, half)]
    xs = draw(5, (4, SIZE), jnp.float32)
    centred = jax.vmap(eqx.nn.LayerNorm(SIZE))(xs)
    ys = rz.Stacked(blocks)(xs, key=KEY)
    np.testing.assert_allclose(ys[:, SIZE:], 2 * centred, rtol=1e-5, atol=1e-6)
    quiet = eqx.nn.inference_mode(rz.Stacked(blocks))(xs)
    hs = xs + centred
    expected = hs + jax.vmap(eqx.nn.LayerNorm(SIZE))(hs) + 2 * centred
    np.testing.assert_allclose(quiet[:, :SIZE], expected, rtol=1e-4, atol=1e-5)


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


def test_rwkv7_starts_as_its_code_does():
    size, depth = 64, 3
    along, within = np.arange(size) / (size - 1), np.arange(size) - 31.5
    zigzag = within * abs(within) / 31.5**2
    for index in (0, 2):
        mixer = RWKV7TimeMix(size, place=(index, depth), key=KEY)
        shift, maps, leading = mixer.inner.layers
        left = 1 - index / depth
        expected = 1 - (np.arange(size) / size) ** (np.array([[2, 9, 7, 7, 9, 2]]).T / 10 * left)
        np.testing.assert_allclose(shift.layer.cell.mix, expected, atol=1e-5)
        cell = leading.layer.cell
        assert (cell.num_heads, cell.weight_w.shape) == (1, (64, 32))
        decays = -5.5 + 6 * along ** (1 + (index / 2) ** 0.3) + 2.5 * zigzag
        np.testing.assert_allclose(cell.bias_w, decays, atol=1e-5)
        np.testing.assert_allclose(mixer.norm_weight, ((index + 1) / 3) ** 0.7, rtol=1e-6)
        assert (mixer.input_size, mixer.output_size) == ((64, 128) if index == 0 else (128, 64))
    bias = np.asarray(maps.function.bias_v)
    np.testing.assert_allclose(bias[[0, -1]], [0.93, 0.53], rtol=1e-5)
    assert not np.asarray(mixer.project_out.weight).any()
    np.testing.assert_allclose(mixer.weight_g.T @ mixer.weight_g, 0.01 * np.eye(32), atol=1e-5)
    channel = RWKV7ChannelMix(size, place=(2, 3), key=KEY)
    mix = channel.inner.layers[0].cell.mix[0]
    np.testing.assert_allclose(mix, 1 - (np.arange(size) / size) ** (1 / 81), atol=1e-5)
    assert channel.weight_k.shape == (256, 64)


BAD = {
    "nothing handed": (lambda: HandingBlock(rz.cells.GRUCell(3, 3, key=KEY)), "handed features"),
    "block_size": (lambda: MLSTMBlock(5, block_size=4, key=KEY), "divide the 10 inner features"),
    "heads": (lambda: SLSTMBlock(5, num_heads=2, key=KEY), "num_heads to divide"),
    "place": (lambda: SLSTMBlock(5, place=(2, 2), key=KEY), r"0 <= index < count.*\(2, 2\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_blocks(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
