"""Golden values from the authors' code for blocks of S5, LRU, Mamba and Griffin.

    pip install jax flax torch einops numpy "typeguard<3" jaxtyping
    git clone https://github.com/lindermanlab/S5
    git clone https://github.com/NicolasZucchet/minimal-LRU
    git clone https://github.com/state-spaces/mamba
    git clone https://github.com/google-deepmind/recurrentgemma
    python tests/golden/make_blocks.py FOLDER_OF_THE_FOUR

writes tests/golden/blocks.npz: for each block random arrays by their names there, one sequence and
the outputs, in float64, end to end. For Griffin two documents in one sequence, which begin at 0 and
at 5, and once more without a beginning.
"""

import functools
import json
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import traverse_util


jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)
# What the code says in single precision only.
torch.Tensor.float = torch.Tensor.double
HOME = Path(sys.argv[1])
H, P, T = 4, 3, 7
RNG = np.random.default_rng(0)


def random(tree, least=None):
    """Numbers for every array of a tree; variances stay positive."""

    def draw(path, array):
        name = jax.tree_util.keystr(path)
        values = 0.5 * RNG.normal(size=array.shape)
        if name.endswith("['var']"):
            values = RNG.uniform(0.5, 2.0, array.shape)
        if "Lambda_re" in name:
            values = -RNG.uniform(0.1, 1.0, array.shape)
        if "log" in name.lower() and "A_log" not in name:
            values = values - 1.0
        return values

    return jax.tree_util.tree_map_with_path(draw, tree)


def flax_block(module, xs):
    """Variables by name, and what the module gives for one sequence."""
    variables = jax.eval_shape(module.init, jax.random.key(0), xs)
    variables = random(variables)
    arrays = traverse_util.flatten_dict(variables, sep=".")
    return arrays, module.apply(variables, xs)


def s5_blocks():
    sys.path.insert(0, str(HOME / "S5"))
    jnp.DeviceArray = jax.Array  # a name of an older jax, in annotations
    from s5.layers import SequenceLayer
    from s5.ssm import init_S5SSM

    blocks = {
        "full_glu": ({"batchnorm": True, "prenorm": True}, {}),
        "half_glu1": ({"prenorm": False}, {"bidirectional": True, "discretization": "bilinear"}),
        "half_glu2": ({"batchnorm": True}, {"conj_sym": False, "clip_eigs": True}),
        "gelu": ({"prenorm": True}, {"bidirectional": True, "C_init": "complex_normal"}),
    }
    for activation, (options, ssm_options) in blocks.items():
        ssm = {"C_init": "lecun_normal", "discretization": "zoh", "conj_sym": True}
        ssm |= {"clip_eigs": False, "bidirectional": False, "dt_min": 0.001, "dt_max": 0.1}
        ssm |= ssm_options
        Lambda, V = jnp.ones(P), jnp.ones((P * (2 if ssm["conj_sym"] else 1), P), complex)
        make = init_S5SSM(H, P, Lambda, Lambda, V, V.T, **ssm)
        layer = functools.partial(SequenceLayer, make, 0.0, H, training=False)
        xs = RNG.normal(size=(T, H))
        arrays, ys = flax_block(layer(activation=activation, **options), xs)
        if ssm["clip_eigs"]:  # one that is to be clipped
            arrays["params.seq.Lambda_re"][0] = 0.3
            variables = traverse_util.unflatten_dict(arrays, sep=".")
            ys = layer(activation=activation, **options).apply(variables, xs)
        about = {"activation": activation, **options, **ssm}
        yield f"s5/{activation}", about, arrays, xs, ys


def lru_blocks():
    sys.path.insert(0, str(HOME / "minimal-LRU"))
    from lru.model import LRU, SequenceLayer

    for norm, prenorm in (("batch", True), ("layer", False)):
        lru = functools.partial(LRU, d_hidden=P, d_model=H)
        module = SequenceLayer(lru, H, norm=norm, prenorm=prenorm, training=False)
        xs = RNG.normal(size=(T, H))
        arrays, ys = flax_block(module, xs)
        yield f"lru/{norm}", {"norm": norm, "prenorm": prenorm}, arrays, xs, ys


def bare_package(repository, *path):
    """A package by its name alone: what its `__init__` loads (kernels, samplers) is not needed."""
    package = types.ModuleType(".".join(path))
    package.__path__ = [str(HOME.joinpath(repository, *path))]
    sys.modules[package.__name__] = package


def mamba_blocks():
    bare_package("mamba", "mamba_ssm")
    bare_package("mamba", "mamba_ssm", "modules")
    triton = types.ModuleType("mamba_ssm.ops.triton.layer_norm")
    triton.RMSNorm, triton.layer_norm_fn, triton._layer_norm_fwd = torch.nn.RMSNorm, None, None
    triton.rms_norm_fn = None
    sys.modules[triton.__name__] = triton
    from mamba_ssm.modules import mamba_simple
    from mamba_ssm.modules.block import Block
    from mamba_ssm.ops.selective_scan_interface import selective_scan_ref

    mamba_simple.selective_scan_fn = selective_scan_ref
    kinds = {
        "rms": (functools.partial(torch.nn.RMSNorm, eps=1e-5), {}),
        "layer": (torch.nn.LayerNorm, {"bias": True, "conv_bias": False, "d_conv": 2}),
    }
    for name, (norm, options) in kinds.items():
        mixer = functools.partial(mamba_simple.Mamba, d_state=P, **options)
        block = Block(H, mixer, torch.nn.Identity, norm).double()
        with torch.no_grad():
            for parameter in block.parameters():
                parameter += torch.tensor(0.3 * RNG.normal(size=parameter.shape))
            xs = RNG.normal(size=(T, H))
            ys, residual = block(torch.tensor(xs)[None])
        arrays = {k: v.detach().numpy() for k, v in block.state_dict().items()}
        yield f"mamba/{name}", {}, arrays, xs, (ys + residual)[0].numpy()


def griffin_blocks():
    bare_package("recurrentgemma", "recurrentgemma")
    bare_package("recurrentgemma", "recurrentgemma", "jax")
    from recurrentgemma import common
    from recurrentgemma.jax import modules, scan

    scan.pallas.get_acc_dtype = lambda x, h0, dtype: x.dtype
    documents = [*range(5), *range(T - 5)]
    # From 1: the middle of a document, where no step is its first.
    for name, real, places in (
        ("real", True, documents),
        ("complex", False, documents),
        ("real_inside", True, [*range(1, T + 1)]),
        ("complex_inside", False, [*range(1, T + 1)]),
    ):
        module = modules.ResidualBlock(
            width=H,
            mlp_expanded_width=6,
            num_heads=2,
            attention_window_size=1,
            temporal_block_type=common.TemporalBlockType.RECURRENT,
            lru_width=8,
            lru_only_real=real,
            scan_type=common.ScanType.LINEAR_NATIVE,
        )
        xs, positions = jnp.array(RNG.normal(size=(1, T, H))), jnp.array([places])
        variables = random(jax.eval_shape(module.init, jax.random.key(0), xs, positions))
        ys = module.apply(variables, xs, positions)[0][0]
        arrays = traverse_util.flatten_dict(variables["params"], sep=".")
        yield f"griffin/{name}", {"positions": positions[0].tolist()}, arrays, xs[0], ys


def main():
    kept = {}
    for made in (s5_blocks, lru_blocks, mamba_blocks, griffin_blocks):
        for name, about, arrays, xs, ys in made():
            found = {f"p/{k}": np.asarray(v) for k, v in arrays.items()}
            found |= {"xs": np.asarray(xs), "ys": np.asarray(ys)}
            assert all(v.dtype == np.float64 for v in found.values()), name
            assert np.isfinite(found["ys"]).all(), name
            about["shapes"] = {k: v.shape for k, v in found.items()}
            kept[f"{name}/about"] = np.array(json.dumps(about))
            kept[name] = np.concatenate([v.reshape(-1) for v in found.values()])
    np.savez_compressed(Path(__file__).with_name("blocks.npz"), **kept)


main()
