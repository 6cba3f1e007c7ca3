"""Networks whose heads keep a matrix, from the arrays of others' code.

The golden values are those of golden/make_fla.py and golden/make_transformers.py, in float64. Where
transformers is installed its models are also run as they are.
"""

import functools
import importlib.util
import json
import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import float64

from rnn_zoo import interop
from rnn_zoo.layers import MLSTMLargeBlock


GOLDEN = Path(__file__).parent / "golden"
FLA = np.load(GOLDEN / "fla.npz")
NETWORKS = np.load(GOLDEN / "matrix_blocks.npz")
TRANSFORMERS = np.load(GOLDEN / "transformers.npz")
MODELS = [k for k in TRANSFORMERS.files if "/" not in k and k != "version"]
LAYERS = [k for k in FLA.files if "about" not in k]
# What the arrays tell.
TOLD = ("expand_k", "expand_v", "head_dim", "expand", "state_size", "chunk_size", "num_kv_heads")
TOLD += ("use_short_conv", "conv_size", "conv_bias", "use_conv_bias", "use_bias", "use_gate")
TOLD += ("v_first", "num_hidden_layers", "decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim")
TOLD += ("num_householder", "use_forget_gate", "layer_idx")
TOLD += ("use_output_gate", "gate_low_rank_dim", "fuse_norm", "num_v_heads")


def values(file, name):
    """What a golden says, its arrays by name, inputs and outputs."""
    about, found, start = json.loads(str(file[f"{name}/about"])), {}, 0
    for key, shape in about.pop("shapes").items():
        stop = start + math.prod(shape)
        found[key] = file[name][start:stop].reshape(shape)
        start = stop
    arrays = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    return about | {"hidden": found.get("hidden")}, arrays, found["x"], found["y"]


def from_fla(name, arrays=None, **more):
    about, own, _, _ = values(FLA, name)
    options = {k: v for k, v in about["options"].items() if k not in TOLD} | more
    return interop.from_fla(name.split("/")[0], own if arrays is None else arrays, **options)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_fla(name):
    _, _, xs, ys = values(FLA, name)
    with float64():
        block = from_fla(name)
        assert not any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(block))
        # The first layer of RWKV-7 hands its values on behind its outputs.
        ours = eqx.filter_jit(block)(xs)[:, : ys.shape[1]]
        np.testing.assert_allclose(ours, ys, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in LAYERS if name.endswith("/0")])
def test_layers_of_fla_in_single_precision(name):
    _, _, xs, ys = values(FLA, name)
    ours = from_fla(name)(jnp.asarray(xs, "f"))[:, : ys.shape[1]]
    np.testing.assert_allclose(ours, ys, rtol=1e-5, atol=1e-5)


def without(name, *gone):
    return {k: v for k, v in values(FLA, name)[1].items() if not k.startswith(gone)}


def with_(name, **arrays):
    return values(FLA, name)[1] | {k.replace("__", "."): v for k, v in arrays.items()}


BAD_FLA = {
    "another layer": (
        lambda: interop.from_fla("GatedSlotAttention", {"q": 1}),
        ValueError,
        r"layer .*'GatedSlotAttention'",
    ),
    "an unknown option": (
        lambda: from_fla("GatedDeltaNet/0", head_dimension=4),
        TypeError,
        "has no option 'head_dimension': it takes num_heads, allow_neg_eigval, norm_eps, .*and the",
    ),
    "a default without a place": (
        lambda: from_fla("LinearAttention/0", feature_map="elementwise_product"),
        ValueError,
        "expected feature_map='elu', the only one with a block here, got 'elementwise_product'$",
    ),
    "the same unsaid": (
        lambda: interop.from_fla("LinearAttention", without("LinearAttention/0")),
        ValueError,
        "'elementwise_product', the default of LinearAttention",
    ),
    "a bounded gate": (
        lambda: from_fla("KimiDeltaAttention/0", lower_bound=-5.0),
        ValueError,
        "expected lower_bound=None",
    ),
    "a learned feature map": (
        lambda: from_fla(
            "LinearAttention/0", with_("LinearAttention/0", feature_map_q__layer1__weight=1)
        ),
        ValueError,
        "the arrays have feature_map_q.layer1.weight too, which have no place here",
    ),
    "no beta": (
        lambda: from_fla("DeltaNet/0", without("DeltaNet/0", "b_proj")),
        ValueError,
        "expected an array b_proj.weight, got q_proj.weight",
    ),
    "one convolution alone": (
        lambda: from_fla("DeltaNet/0", without("DeltaNet/0", "q_conv1d")),
        ValueError,
        "expected convolutions alike, .*got q_conv1d, k_conv1d, v_conv1d",
    ),
    "unknown heads": (
        lambda: from_fla("GatedLinearAttention/2", num_heads=None),
        ValueError,
        "expected num_heads, which a norm without weights .*do the 12 values",
    ),
    "other heads": (
        lambda: from_fla("GatedLinearAttention/0", num_heads=4),
        ValueError,
        "expected a num_heads that the arrays have, got 4 for 2 heads of values and 4 rows",
    ),
    "half a head": (
        lambda: from_fla("DeltaNet/0", with_("DeltaNet/0", k_proj__weight=np.ones((3, 8))) | {}),
        ValueError,
        "expected k_conv1d.weight of shape \\(3, 1, any\\)",
    ),
    "a gate of another size": (
        lambda: from_fla("DeltaNet/1", with_("DeltaNet/1", g_proj__weight=np.ones((3, 8)))),
        ValueError,
        r"expected g_proj.weight of shape \(12, 8\), got \(3, 8\)",
    ),
    "norm weights that are not said": (
        lambda: from_fla("GatedLinearAttention/2", elementwise_affine=True),
        ValueError,
        "expected an array g_norm_swish_gate.weight",
    ),
    "another gate": (
        lambda: from_fla("GatedLinearAttention/0", gate_fn="gelu"),
        ValueError,
        "gate_fn .*'gelu'",
    ),
    "groups": (
        lambda: interop.from_fla("Mamba2", without("Mamba2/0"), n_groups=4),
        ValueError,
        "give the num_groups that it was trained with",
    ),
    "a D of every channel": (
        lambda: interop.mamba2_from_arrays(with_("Mamba2/0", D=np.ones(16))),
        ValueError,
        r"expected D of shape \(4\), got \(16,\)",
    ),
    "Mamba-2 without a norm": (
        lambda: interop.mamba2_from_arrays(without("Mamba2/0", "norm")),
        ValueError,
        "expected an array norm.weight",
    ),
}


@pytest.mark.parametrize("case", BAD_FLA)
def test_bad_arrays_of_fla(case):
    call, error, message = BAD_FLA[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", [name for name in LAYERS if name.endswith("/0")])
def test_every_array_of_fla_is_read(name):
    """One that is missing is named, or what it would be part of is no longer whole."""
    arrays = values(FLA, name)[1]
    assert len({from_fla(name, {f"a.{k}": v for k, v in arrays.items()}, prefix="a.").input_size})
    with pytest.raises(ValueError, match="the arrays have extra too"):
        from_fla(name, arrays | {"extra": np.ones(2)})
    # Biases, and the gate of a layer whose norm has the same name without one.
    optional = ["g_proj.1.bias", "conv1d.bias"]
    optional += ["g_proj.weight"] if name.startswith("GatedDelta") else []
    for gone in set(arrays) - set(optional):
        with pytest.raises(ValueError, match="expected "):
            from_fla(name, without(name, gone))


# --- transformers ---------------------------------------------------------------------------------


def run(model, tokens):
    """The outputs of the layers, and the logits."""
    hidden = model.layers(jax.vmap(model.embedding)(tokens))
    return hidden, None if model.head is None else jax.vmap(model.head)(hidden)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_transformers(name):
    about, arrays, tokens, logits = values(TRANSFORMERS, name)
    model = interop.from_transformers(arrays, about["config"])
    ours = eqx.filter_jit(run)(model, tokens.astype(int))
    np.testing.assert_allclose(ours[0], about["hidden"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], logits, rtol=1e-5, atol=1e-5)
    with float64():
        ours = run(interop.from_transformers(arrays, about["config"]), tokens.astype(int))
        np.testing.assert_allclose(ours[1], logits, rtol=1e-5, atol=1e-5)


def given(name, config=None, **options):
    """`from_transformers` of a golden with another config."""
    about, arrays, _, _ = values(TRANSFORMERS, name)
    return interop.from_transformers(arrays, about["config"] | (config or {}), **options)


def test_parts_of_models_of_transformers():
    about, arrays, _, _ = values(TRANSFORMERS, "mamba2")
    model = given("mamba2")
    named = {f"a.{k}": v for k, v in arrays.items()} | {"b": np.ones(2)}
    assert eqx.tree_equal(model, interop.from_transformers(named, about["config"], prefix="a."))
    block = interop.mamba2_block_from_arrays(
        {k: v for k, v in arrays.items() if ".layers.1." in k},
        prefix="backbone.layers.1.",
        num_groups=2,
        eps=0.01,
    )
    assert eqx.tree_equal(block, model.layers.layers[1])
    inside = {k.removeprefix("backbone."): v for k, v in arrays.items() if "lm_head" not in k}
    base = interop.from_transformers(inside, about["config"])
    assert base.head is None
    assert eqx.tree_equal(base.layers, model.layers)
    # A file leaves tied weights out.
    about, arrays, _, _ = values(TRANSFORMERS, "recurrent_gemma")
    whole = given("recurrent_gemma")
    del arrays["lm_head.weight"]
    assert eqx.tree_equal(whole, interop.from_transformers(arrays, about["config"]))
    np.testing.assert_array_equal(whole.embedding.weight, 2.828125 * whole.head.weight)


BAD_TRANSFORMERS = {
    "no config": (
        lambda: interop.from_transformers(values(TRANSFORMERS, "mamba")[1]),
        TypeError,
        "expected the config of a state dict",
    ),
    "another model": (
        lambda: given("mamba", {"model_type": "falcon_mamba"}),
        ValueError,
        "a model_type of mamba, mamba2, recurrent_gemma, xlstm, got 'falcon_mamba'",
    ),
    "no model": (
        lambda: interop.from_transformers(np.ones(3)),
        TypeError,
        "expected one of MambaForCausalLM, .* or a state dict, got ndarray",
    ),
    "bounded steps": (
        lambda: given("mamba2", {"time_step_limit": [0.01, 1.0]}),
        ValueError,
        r"expected time_step_limit=\(0.0, inf\) in the config, .*got \(0.01, 1.0\)",
    ),
    "attention": (
        lambda: given("recurrent_gemma", {"block_types": ["recurrent", "attention"]}),
        ValueError,
        r"expected block_types=\('recurrent',\)",
    ),
    "fused maps": (
        lambda: given("xlstm", {"weight_mode": "fused"}),
        ValueError,
        "expected weight_mode='single'",
    ),
    "other groups": (
        lambda: given("mamba2", {"n_groups": 3}),
        ValueError,
        "give the num_groups that it was trained with",
    ),
    "no head": (
        lambda: interop.from_transformers(
            {k: v for k, v in values(TRANSFORMERS, "mamba2")[1].items() if "lm_head" not in k},
            values(TRANSFORMERS, "mamba2")[0]["config"],
        ),
        ValueError,
        "expected an array lm_head.weight, as tie_word_embeddings is False",
    ),
    "a layer in between": (
        lambda: interop.from_transformers(
            {k: v for k, v in values(TRANSFORMERS, "mamba")[1].items() if ".layers.0." not in k},
            {"model_type": "mamba"},
        ),
        ValueError,
        "expected backbone.layers.0 and more, each of 8 features",
    ),
    "one array too many": (
        lambda: interop.from_transformers(
            values(TRANSFORMERS, "mamba")[1] | {"backbone.layers.0.mixer.b": np.ones(2)},
            values(TRANSFORMERS, "mamba")[0]["config"],
        ),
        ValueError,
        "the arrays have backbone.layers.0.mixer.b too",
    ),
}


@pytest.mark.parametrize("case", BAD_TRANSFORMERS)
def test_bad_models_of_transformers(case):
    call, error, message = BAD_TRANSFORMERS[case]
    with pytest.raises(error, match=message):
        call()


@functools.cache
def maker():
    """The script of the golden values."""
    spec = importlib.util.spec_from_file_location("golden", GOLDEN / "make_transformers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_installed_transformers(name):
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    model, _ = maker().make(name)
    tokens = np.random.default_rng(0).integers(11, size=7)
    with torch.no_grad():
        theirs = model(torch.tensor(tokens)[None])
    ours = eqx.filter_jit(run)(interop.from_transformers(model), tokens)
    np.testing.assert_allclose(ours[1], theirs.logits[0].numpy(), rtol=1e-5, atol=1e-5)
    base = interop.from_transformers(model.base_model)
    np.testing.assert_array_equal(eqx.filter_jit(run)(base, tokens)[0], ours[0])
    with pytest.raises(TypeError, match="config and prefix describe a state dict"):
        interop.from_transformers(model, model.config)
    part = next(iter(getattr(model.base_model, "layers", None) or model.base_model.blocks))
    part.register_forward_hook(lambda *_: None)
    with pytest.raises(TypeError, match="a module without forward hooks"):
        interop.from_transformers(model)
    own = type("Own", (type(model),), {"forward": lambda self, x: x})(model.config)
    with pytest.raises(TypeError, match=r"got Own with its own forward.*model.config\)"):
        interop.from_transformers(own)


# --- xLSTM and RWKV-7 -----------------------------------------------------------------------------


def network(name):
    start = f"{name}/p/"
    return {k.removeprefix(start): NETWORKS[k] for k in NETWORKS.files if k.startswith(start)}


def in_the_order_of_cuda(arrays):
    """What a layer with that backend keeps of the same weights."""
    for name in [name for name in arrays if "slstm_cell." in name]:
        if name.endswith("kernel_"):
            heads, rows, units = arrays[name].shape
            kernel = arrays[name].reshape(heads, 4, units, units)
            arrays[name] = kernel.transpose(0, 3, 1, 2).reshape(heads, units, rows)
        else:
            arrays[name] = arrays[name].reshape(4, 2, -1).swapaxes(0, 1).ravel()
    return arrays


@pytest.mark.parametrize("name", ["mlstm", "slstm"])
def test_xlstm(name):
    xs, ys, arrays = NETWORKS[f"{name}/x"], NETWORKS[f"{name}/y"], network(name)
    with float64():
        stack = interop.xlstm_from_arrays(arrays)
        np.testing.assert_allclose(eqx.filter_jit(stack)(xs), ys, rtol=1e-9, atol=1e-10)
        other = interop.xlstm_from_arrays(in_the_order_of_cuda(dict(arrays)))
        assert eqx.tree_equal(stack, other)
        part = {f"a.{k}": v for k, v in arrays.items()}
        last = interop.xlstm_block_from_arrays(
            {k: v for k, v in part.items() if "blocks.1." in k}, prefix="a.blocks.1."
        )
        last = last.layers if name == "slstm" else (last,)
        assert eqx.tree_equal(tuple(last), stack.layers[-1 - len(last) : -1])
    with pytest.raises(ValueError, match="the arrays have blocks.0.xlstm.proj.bias too"):
        interop.xlstm_from_arrays(arrays | {"blocks.0.xlstm.proj.bias": np.ones(2)})
    for gone in arrays:
        if gone != "post_blocks_norm.weight":
            with pytest.raises(ValueError, match="expected "):
                interop.xlstm_from_arrays({k: v for k, v in arrays.items() if k != gone})
    with pytest.raises(ValueError, match="expected arrays below blocks.0: give the prefix"):
        interop.xlstm_from_arrays({"layers.0.norm": np.ones(2)})


def test_bad_arrays_of_xlstm():
    arrays = network("slstm")
    kernel = "blocks.0.xlstm.slstm_cell._recurrent_kernel_"
    with pytest.raises(ValueError, match=r"of shape \(2, 12, 3\) or \(2, 3, 12\), got \(2, 6, 6\)"):
        interop.xlstm_from_arrays(arrays | {kernel: arrays[kernel].reshape(2, 6, 6)})
    arrays, name = network("mlstm"), "blocks.0.xlstm.proj_up.weight"
    with pytest.raises(ValueError, match="of 2 wide rows, wide a multiple of the size 6"):
        interop.xlstm_from_arrays(arrays | {"blocks.0.xlstm.q_proj.weight": np.ones((12, 12))})
    with pytest.raises(ValueError, match="igate.weight of shape"):
        interop.xlstm_from_arrays(arrays | {name: np.ones((23, 6))})


def test_rwkv7():
    xs, ys, arrays = NETWORKS["rwkv7/x"], NETWORKS["rwkv7/y"], network("rwkv7")
    unused = ("blocks.0.att.v", "blocks.1.ln0")
    used = {k: v for k, v in arrays.items() if not k.startswith(unused) or "value" in k}
    with float64():
        layers = interop.rwkv7_from_arrays({f"a.{k}": v for k, v in arrays.items()}, prefix="a.")
        np.testing.assert_allclose(eqx.filter_jit(layers)(xs), ys, rtol=1e-9, atol=1e-10)
        assert eqx.tree_equal(layers, interop.rwkv7_from_arrays(used))
    with pytest.raises(ValueError, match="the arrays have emb.weight too"):
        interop.rwkv7_from_arrays(arrays | {"emb.weight": np.ones((3, 6))})
    other = {"blocks.1.att.a1": np.ones((6, 1)), "blocks.1.att.a2": np.ones((1, 6))}
    with pytest.raises(ValueError, match="one rank for the maps to w and to a, got 2 and 1"):
        interop.rwkv7_from_arrays(arrays | other)
    with pytest.raises(ValueError, match="expected arrays below blocks.0: give the prefix"):
        interop.rwkv7_from_arrays({"a.b": np.ones(2)})
    for gone in list(used)[::4]:
        with pytest.raises(ValueError, match="expected "):
            interop.rwkv7_from_arrays({k: v for k, v in used.items() if k != gone})


def test_xlstm_large_starts_as_its_code_does():
    block = MLSTMLargeBlock(64, num_heads=2, place=(1, 4), key=jax.random.key(0))
    capped, cell = block.inner.layers
    assert (cell.cell.key_size, cell.cell.value_size, cell.cell.bias_gates) == (16, 32, None)
    np.testing.assert_array_equal(capped.function.bias, [-10, -10, 3, 6])
    rows = cell.input_size
    assert not np.asarray(block.project_in.weight[rows - 4 : rows]).any()
    assert 0.9 < np.std(block.project_in.weight[: rows - 4]) / np.sqrt(2 / 320) < 1.1
    assert 0.9 < np.std(block.project_out.weight) / (2 / 4 / 8) < 1.1
    with pytest.raises(ValueError, match="expected a gate_soft_cap above 0, got 0.0"):
        MLSTMLargeBlock(64, gate_soft_cap=0.0, key=jax.random.key(0))


def test_xlstm_large_streams_and_forgets_at_a_reset():
    about, arrays, _, _ = values(TRANSFORMERS, "xlstm")
    layers = interop.from_transformers(arrays, about["config"]).layers
    xs = jax.random.normal(jax.random.key(1), (7, 8))
    reset = jnp.arange(7) == 3
    mask = jnp.arange(7) != 1
    ys = eqx.filter_jit(lambda: layers(xs, mask=mask, reset=reset))()
    np.testing.assert_allclose(ys[3:], layers(xs[3:]), rtol=1e-4, atol=1e-5)
    state, first = layers.scan(xs[jnp.array([0, 2])])
    np.testing.assert_allclose(ys[jnp.array([0, 2])], first, rtol=1e-4, atol=1e-5)
    state, y = layers.step(layers.init_state(), xs[3])
    _, y = layers.step(state, xs[4])
    np.testing.assert_allclose(ys[4], y, rtol=1e-4, atol=1e-5)
