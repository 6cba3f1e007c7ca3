"""Blocks around recurrent layers, and those of published models from the arrays of their code.

The golden values come from the authors' code, in float64.
"""

import functools
import json
import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import MASK, I, T, assert_close, draw, float64, noisy

import rnn_zoo as rz
from rnn_zoo import interop
from rnn_zoo.base import replace
from rnn_zoo.scan import unroll
from rnn_zoo.wrappers.held import hold


KEY = jr.key(0)
XS = jr.normal(jr.key(1), (T, I))
GOLDEN = np.load(Path(__file__).parent / "golden" / "blocks.npz")
NAMES = [name for name in GOLDEN.files if not name.endswith("/about")]


def values(name):
    """How a block was made, its arrays by name, inputs and outputs."""
    about, found, start = json.loads(str(GOLDEN[f"{name}/about"])), {}, 0
    for key, shape in about.pop("shapes").items():
        stop = start + math.prod(shape)
        found[key] = GOLDEN[name][start:stop].reshape(shape)
        start = stop
    arrays = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    return about, arrays, found["xs"], found["ys"]


def nested(arrays):
    tree = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


def load(name, arrays=None):
    about, own, _, _ = values(name)
    arrays = own if arrays is None else arrays
    if name.startswith("s5"):
        return interop.s5_block_from_arrays(
            nested(arrays),
            norm="batch" if about.get("batchnorm") else "layer",
            prenorm=about.get("prenorm", False),
            activation=about["activation"],
            conj_sym=about["conj_sym"],
            clip_eigs=about["clip_eigs"],
            discretisation=about["discretization"],
        )
    if name.startswith("lru"):
        return interop.lru_block_from_arrays(nested(arrays), **about)
    if name.startswith("mamba"):
        return interop.mamba_block_from_arrays(arrays)
    return interop.griffin_block_from_arrays(arrays)


@pytest.mark.parametrize("name", NAMES)
def test_published_blocks_equal_their_code(name):
    about, _, xs, ys = values(name)
    with float64():
        block = load(name)
        reset = np.array(about.get("positions", [1])) == 0
        options = {"reset": reset} if reset.any() else {}
        # The state of a document that has begun: whatever marks the beginning is gone.
        state = jax.tree.map(jnp.zeros_like, block.init_state()) if "inside" in name else None
        ours = eqx.filter_jit(lambda block: block(xs, state, **options))(block)
        np.testing.assert_allclose(ours, ys, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["s5/full_glu", "lru/layer", "mamba/rms", "griffin/real_inside"])
def test_every_array_of_a_block_is_read(name):
    about, arrays, xs, ys = values(name)
    at = "" if name[0] in "mg" else "params."
    with pytest.raises(ValueError, match=r"have .*extra too, which have no place here"):
        load(name, {**arrays, f"{at}extra": np.ones(2)})
    for gone in [k for k in arrays if k.endswith((".D", "scale", "norm.weight", ".w"))][:3]:
        with pytest.raises(ValueError, match=f"expected an array {gone.removeprefix(at)}, got"):
            load(name, {k: v for k, v in arrays.items() if k != gone})


def test_parts_by_their_prefix_and_in_torchs_form():
    _, arrays, _, _ = values("mamba/layer")
    with float64():
        whole = {f"backbone.layers.3.{k}": v for k, v in arrays.items()} | {"norm_f": np.ones(4)}
        block = interop.mamba_block_from_arrays(whole, prefix="backbone.layers.3.")
        assert eqx.tree_equal(block, load("mamba/layer"))
        mixer = interop.mamba_from_arrays(whole, prefix="backbone.layers.3.mixer.")
        assert eqx.tree_equal(mixer, block.layer)
        _, arrays, _, _ = values("griffin/complex_inside")
        torch = {
            k.replace("kernel", "weight"): v.T if k.endswith("kernel") else v
            for k, v in arrays.items()
        }
        block = interop.griffin_block_from_arrays(torch)
        assert eqx.tree_equal(block, load("griffin/complex_inside"))
        own = interop.rglru_block_from_arrays(arrays | {}, prefix="recurrent_block.")
        assert eqx.tree_equal(own, block.layers[0].layer)
        cell = interop.rglru_from_arrays(nested(arrays), prefix="recurrent_block.rg_lru.")
        assert eqx.tree_equal(cell, own.inner.layers[1].cell)
        _, arrays, _, _ = values("lru/batch")
        own = nested(arrays)["params"]["seq"]
        assert eqx.tree_equal(interop.lru_from_arrays(own), interop.lru_from_arrays(**own))
        assert eqx.tree_equal(interop.lru_from_arrays(own), load("lru/batch").layer.cell)


BAD_ARRAYS = {
    "no statistics": (
        lambda: load("s5/full_glu", without("s5/full_glu", "batch_stats")),
        ValueError,
        "norm.mean and norm.var for norm='batch'",
    ),
    "statistics": (
        lambda: interop.lru_block_from_arrays(
            nested(values("lru/batch")[1]), norm="layer", prenorm=True
        ),
        ValueError,
        "expected a layer norm, got normalization.mean",
    ),
    "another activation": (
        lambda: interop.s5_block_from_arrays(
            nested(values("s5/gelu")[1]), norm="layer", prenorm=True
        ),
        ValueError,
        "expected an array out1.weight",
    ),
    "a prefix": (
        lambda: interop.mamba_block_from_arrays(values("mamba/rms")[1], prefix="layers.0."),
        ValueError,
        "names that begin with 'layers.0.', got norm.weight, .*give the prefix",
    ),
    "a list": (lambda: interop.mamba_from_arrays([1]), TypeError, "a mapping .*got list"),
    "a shape": (
        lambda: load("mamba/rms", values("mamba/rms")[1] | {"mixer.D": np.ones(3)}),
        ValueError,
        r"expected D as f32\[8\] here, got f32\[3\]",
    ),
    "both": (
        lambda: interop.lru_from_arrays({"nu_log": 1}, D=2),
        TypeError,
        "a mapping or keywords, got both: what is D",
    ),
    "half a direction": (
        lambda: load("s5/half_glu1", without("s5/half_glu1", "params.seq.C2")),
        ValueError,
        "expected an array seq.C2",
    ),
}


def without(name, gone):
    return {k: v for k, v in values(name)[1].items() if not k.startswith(gone)}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_of_blocks(case):
    call, error, message = BAD_ARRAYS[case]
    with pytest.raises(error, match=message):
        call()


# --- Blocks ---------------------------------------------------------------------------------------


def normed(norm, x, eps):
    if norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_and_their_eps(norm):
    block = rz.Block(rz.cells.LRUCell(I, I, key=KEY), norm=norm, eps=0.5, key=KEY)
    block = eqx.tree_at(lambda b: b.norm.weight, block, jnp.arange(1.0, I + 1))
    before = normed(norm, np.asarray(XS, float), 0.5) * np.arange(1.0, I + 1)
    zs = unroll(block.layer.cell, before)[1]
    np.testing.assert_allclose(block(XS), XS + jax.vmap(block.mix)(zs), rtol=1e-4, atol=1e-5)
    assert (norm == "rms") == (block.norm.bias is None)


def test_the_statistics_of_a_batch_norm_do_not_train():
    norm = rz.layers.FrozenBatchNorm(3, eps=0.1)
    mean, variance = np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.25, 1.0])
    fixed = [type(norm.mean)(jnp.asarray(v, jnp.float32)) for v in (mean, variance)]
    norm = eqx.tree_at(lambda n: (n.mean, n.variance), norm, fixed)
    x = np.array([3.0, -1.0, 0.0])
    np.testing.assert_allclose(
        norm(jnp.asarray(x, jnp.float32)), (x - mean) / np.sqrt(variance + 0.1), rtol=1e-6
    )
    trained = eqx.filter(norm, eqx.is_inexact_array)
    assert [a.shape for a in jax.tree.leaves(trained)] == [(3,), (3,)]
    block = rz.Block(rz.cells.LRUCell(I, I, key=KEY), norm="batch", key=KEY)
    labels = rz.train.ssm_labels(eqx.filter(block, eqx.is_inexact_array))
    assert (labels.norm.weight, labels.norm.bias) == ("ssm", "ssm")


@pytest.mark.parametrize("mix", ["glu", "half_glu1", "half_glu2", "gelu", "mlp"])
def test_exact_gelu(mix):
    cell = rz.cells.LRUCell(I, I, key=KEY)
    exact, close = (rz.Block(cell, mix=mix, exact_gelu=e, key=KEY) for e in (True, False))
    z = jnp.linspace(-3, 3, I)
    inner = np.asarray(exact.mix.hidden(z)) if mix == "mlp" else z
    gelu = inner * 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in inner]))
    found = exact.mix(z) if mix == "gelu" else exact.mix.inner(z)
    np.testing.assert_allclose(found, gelu, rtol=1e-5, atol=1e-6)
    assert not np.allclose(exact.mix(z), close.mix(z), atol=1e-6)


@pytest.mark.parametrize("mix", ["glu", "mlp", "half_glu2"])
@pytest.mark.parametrize("broadcast", [False, True])
def test_dropout_before_the_last_map(mix, broadcast):
    options = {"mix_dropout": 0.5, "broadcast_dropout": broadcast, "key": KEY}
    block = noisy(rz.Block(rz.cells.LRUCell(I, I, key=KEY), mix=mix, **options), 3)
    zs = np.asarray(unroll(block.layer.cell, jax.vmap(block.norm)(XS))[1])
    inner = np.asarray(jax.vmap(block.mix.inner)(zs))
    keys = jr.split(KEY, T)
    # The third of a step's keys; of a sequence with one draw, that of its first step.
    draws = [jr.bernoulli(jr.split(k, 3)[2], 0.5, inner[0].shape) for k in keys]
    keep = np.stack(draws[:1] * T if broadcast else draws)
    expected = XS + jax.vmap(block.mix.outer)(zs, np.where(keep, inner / 0.5, 0.0))
    np.testing.assert_allclose(block(XS, key=keys), expected, rtol=1e-4, atol=1e-5)


def both_dropouts(broadcast):
    cell = rz.cells.LRUCell(I, I, key=KEY)
    options = {"dropout": 0.3, "mix_dropout": 0.4, "broadcast_dropout": broadcast}
    return noisy(rz.Block(cell, norm="rms", **options, key=KEY), 3)


@pytest.mark.parametrize("broadcast", [False, True])
def test_steps_of_a_block_that_drops_twice_equal_its_scan(broadcast):
    block, reset = both_dropouts(broadcast), np.arange(T) == 5
    keys = jr.split(jr.key(2), T)
    final, ys = block.scan(XS, reset=reset, key=keys)
    state, outputs = block.init_state(), []
    for t in range(T):
        state = block.init_state() if reset[t] else state
        state, y = block.step(state, XS[t], key=keys[t])
        outputs.append(y)
    assert_close((final, ys), (state, jnp.stack(outputs)), 1e-5)
    quiet = eqx.nn.inference_mode(block)
    assert_close(quiet.scan(XS[4:], quiet.scan(XS[:4])[0])[1], quiet(XS)[4:], 1e-5)
    if broadcast:
        assert not np.array_equal(final[1].keep, final[2].keep)


def test_the_draws_of_a_block_that_drops_once_stay():
    """What a seed gave before the second dropout came: two keys of each step's."""
    block = rz.Block(rz.cells.LRUCell(I, I, key=KEY), mix="none", dropout=0.5, key=KEY)
    keys = jr.split(KEY, T)
    zs = eqx.nn.inference_mode(block)(XS) - XS
    keep = np.stack([jr.bernoulli(jr.split(k)[1], 0.5, (I,)) for k in keys])
    np.testing.assert_allclose(block(XS, key=keys) - XS, 2 * zs * keep, rtol=1e-4, atol=1e-5)


BAD_BLOCKS = {
    "norm": ({"norm": "group"}, "norm to be one of .*batch.*got 'group'"),
    "eps": ({"eps": -1.0}, "eps of at least 0, got -1.0"),
    "no map": ({"mix": "gelu", "mix_dropout": 0.2}, "mix='gelu' has none: give dropout alone"),
    "rate": ({"mix_dropout": 1.5}, r"dropout in \[0, 1\), got 1.5"),
}


@pytest.mark.parametrize("case", BAD_BLOCKS)
def test_bad_blocks(case):
    options, message = BAD_BLOCKS[case]
    with pytest.raises(ValueError, match=message):
        rz.Block(rz.cells.LRUCell(I, I, key=KEY), **options, key=KEY)


def test_a_layer_of_ones_own_needs_no_constants():
    class Double(rz.layers.AbstractLayer):
        input_size: int = 2
        output_size: int = 2
        timed: bool = False
        stochastic: bool = False

        def init_state(self):
            return ()

        def directions(self, before=()):
            return ((0, 2, False),)

        def scan(self, xs, state=None, *, dt=None, mask=None, reset=None, key=None):
            return (), 2 * jnp.asarray(xs)

    stack = rz.Stacked([Double(), rz.cells.GRUCell(2, 3, key=KEY)])
    assert_close(hold(stack)(jnp.ones((4, 2))), stack(jnp.ones((4, 2))), 1e-6)


# --- Both directions ------------------------------------------------------------------------------


def make_sum():
    return rz.Bidirectional(
        rz.cells.GRUCell(I, 4, key=KEY), rz.cells.LRUCell(I, 4, key=KEY), merge="sum"
    )


def test_the_sum_of_both_directions():
    layer = make_sum()
    mask = jnp.asarray(MASK)
    reset = jnp.zeros(T, bool).at[4].set(True)
    for options in ({}, {"mask": mask}, {"reset": reset}):
        (f, b), ys = layer.scan(XS, **options)
        apart = rz.Bidirectional(layer.forward.cell, layer.backward.cell)
        (f_apart, b_apart), both = apart.scan(XS, **options)
        assert_close((f, b), (f_apart, b_apart), 1e-6)
        np.testing.assert_allclose(ys, both[:, :4] + both[:, 4:], atol=1e-6)
    assert (layer.output_size, apart.output_size) == (4, 8)
    assert layer.directions() == ((0, 4, False), (0, 4, True))
    assert "-> 4 " in rz.summary(layer).splitlines()[2]
    half = layer(XS.astype(jnp.bfloat16))
    wide = layer(XS.astype(jnp.bfloat16).astype(jnp.float32))
    assert_close(half, wide.astype(jnp.bfloat16), 0)


def test_the_sum_in_models_and_files(tmp_path):
    model = rz.SequenceModel(rz.Stacked([make_sum()]), 2, key=KEY)
    ys = make_sum()(XS)
    expected = model.head(jnp.concatenate([ys[-1], ys[0]]))
    np.testing.assert_allclose(model(XS), expected, atol=1e-6)
    rz.train.save(tmp_path / "model", model)
    assert eqx.tree_equal(rz.train.load(tmp_path / "model", like=model), model)
    program = interop.to_stablehlo(model)
    np.testing.assert_allclose(program.call(XS[None])[0], model(XS), atol=1e-5)
    with pytest.raises(ValueError, match='one output_size for merge="sum", got 4 and 5'):
        rz.Bidirectional(
            rz.cells.GRUCell(I, 4, key=KEY), rz.cells.GRUCell(I, 5, key=KEY), merge="sum"
        )
    with pytest.raises(ValueError, match="merge to be one of .*got 'mul'"):
        rz.Bidirectional(
            rz.cells.GRUCell(I, 4, key=KEY), rz.cells.GRUCell(I, 4, key=KEY), merge="mul"
        )


# --- Mamba and Griffin ----------------------------------------------------------------------------


def numbers(tree):
    trained = eqx.filter(tree, lambda a: hasattr(a, "dtype"))
    return sum(math.prod(a.shape) for a in jax.tree.leaves(trained))


def test_mamba_has_the_size_of_its_code():
    make = functools.partial(rz.layers.MambaBlock, key=KEY)
    block = eqx.filter_eval_shape(lambda: make(768))
    assert block.inner.layers[2].cell.weight_dt.shape == (1536, 48)
    assert numbers(block) == 3_770_880
    assert make(17).inner.layers[2].cell.weight_dt.shape == (34, 2)
    biased = make(3, use_bias=True, conv_bias=False)
    assert (biased.project_in.bias.shape, biased.project_out.bias.shape) == ((12,), (3,))
    assert biased.inner.layers[0].cell.bias is None


def test_a_model_named_mamba_is_mamba(tmp_path):
    options = {"hidden_size": 6, "num_layers": 2, "state_size": 3, "expand": 1, "kernel_size": 2}
    model = noisy(rz.make_model("mamba", I, 2, pool=None, key=KEY, **options), 4)
    first, *blocks, last = model.layer.layers
    hs = jax.vmap(first.function)(XS)
    for block in blocks:
        assert isinstance(block.layer, rz.layers.MambaBlock)
        hs = hs + block.layer(normed("rms", np.asarray(hs), 1e-5) * block.norm.weight)
    hs = normed("rms", np.asarray(hs), 1e-5) * last.function.weight
    np.testing.assert_allclose(model(XS), jax.vmap(model.head)(hs), rtol=1e-4, atol=1e-5)
    mask = jnp.asarray(MASK)
    assert_close(model(XS, mask=mask)[MASK], model(XS[MASK]), 1e-5)
    state, outputs = model.init_state(), []
    for x in XS:
        state, y = model.step(state, x)
        outputs.append(y)
    assert_close(jnp.stack(outputs), model(XS), 1e-5)
    rz.train.save(tmp_path / "mamba", model)
    assert eqx.tree_equal(rz.train.load(tmp_path / "mamba"), model)
    assert isinstance(rz.make_cell("mamba", I, 4, key=KEY), rz.cells.MambaCell)
    with pytest.raises(TypeError, match="no option 'input_map'.*kernel_size"):
        rz.make_model("mamba", I, 2, input_map=False, key=KEY)


def test_mamba_in_both_directions_adds_them():
    model = rz.Mamba(I, 4, bidirectional=True, key=KEY)
    block = model.layers[1]
    assert (block.layer.merge, block.layer.output_size) == ("sum", 4)
    assert model(XS).shape == (T, 4)
    one, four = (rz.Mamba(I, 4, num_layers=n, key=KEY).layers[1] for n in (1, 4))
    bound = 1 / math.sqrt(8)
    assert bound / 2 < jnp.abs(one.layer.project_out.weight).max() <= bound
    assert bound / 4 < jnp.abs(four.layer.project_out.weight).max() <= bound / 2


def test_griffins_block_streams_and_forgets():
    block = noisy(rz.layers.GriffinBlock(I, width=4, blocks=2, key=KEY), 3)
    whole = block(XS, reset=jnp.arange(T) == 5)
    assert_close(whole, jnp.concatenate([block(XS[:5]), block(XS[5:])]), 1e-5)
    state, first = block.scan(XS[:3])
    assert_close(jnp.concatenate([first, block.scan(XS[3:], state)[1]]), block(XS), 1e-5)
    with pytest.raises(TypeError, match="no physical time"):
        block(XS, dt=1.0)


@pytest.mark.parametrize(("name", "options"), [("s4d", {"state_size": 4}), ("rglru", {})])
def test_cells_without_an_input_map_read_their_channels(name, options):
    bare = noisy(rz.make_cell(name, 4, 4, input_map=False, key=KEY, **options), 3)
    mapped = replace(bare, weight_ih=jnp.eye(4), bias=jnp.zeros(4))
    xs = draw(1, (T, 4), jnp.float32)
    assert (bare.weight_ih, bare.bias) == (None, None)
    assert_close(unroll(bare, xs), unroll(mapped, xs), 1e-6)
    with pytest.raises(ValueError, match="equal to hidden_size without input_map, got 3 and 4"):
        rz.make_cell(name, 3, 4, input_map=False, key=KEY, **options)
