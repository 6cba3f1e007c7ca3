"""Golden values of whole layers of fla, flash-linear-attention, by the names of their arrays.

    pip install torch transformers einops numpy
    git clone https://github.com/fla-org/flash-linear-attention  # 0.5.2, commit bc3b101
    python tests/golden/make_fla.py FOLDER_OF_IT

writes tests/golden/fla.npz: for each layer its options, random arrays by their names there, one
sequence and the outputs, in float64. No Triton: the forward pass is that of the layer's own file,
and in the place of each kernel stands the naive form that fla has beside it, or a line of PyTorch
where it has none.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


# The casts of the naive forms, which are all of these.
torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)
HOME = Path(sys.argv[1])
T, SIZE = 9, 8


# --- what stands in the place of kernels ----------------------------------------------------------


def package(name: str, **parts):
    """A package by its name alone, with what its `__init__` would load from kernels."""
    module = types.ModuleType(name)
    module.__path__ = [str(HOME.joinpath(*name.split(".")))]
    vars(module).update(parts)
    sys.modules[name] = module
    if "." in name:
        parent, own = name.rsplit(".", 1)
        if parent not in sys.modules:
            package(parent)
        setattr(sys.modules[parent], own, module)


def naive(path: str):
    """fla's naive form of this place; its package is found without its `__init__`."""
    folder = path.rsplit(".", 2)[0]
    if folder not in sys.modules:
        package(folder)
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def unit(x):
    """What `use_qk_l2norm_in_kernel` does (fla.modules.l2norm)."""
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def heads_like(x, v):
    """q and k once for each head of v."""
    return x.repeat_interleave(v.shape[2] // x.shape[2], 2)


class Norm(nn.Module):
    """RMSNorm, and FusedRMSNormGated where it is called with a gate."""

    def __init__(
        self, hidden_size, elementwise_affine=True, eps=1e-5, activation="swish", dtype=None
    ):
        super().__init__()
        self.eps, self.gate = eps, torch.sigmoid if activation == "sigmoid" else F.silu
        weight = nn.Parameter(torch.ones(hidden_size)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.register_parameter("bias", None)

    def forward(self, x, g=None):
        x = F.rms_norm(x, x.shape[-1:], self.weight, self.eps)
        return x if g is None else x * self.gate(g)


class GatedGroups(nn.Module):
    """RMSNormGated with the gate before the norm."""

    def __init__(self, hidden_size, eps, group_size, norm_before_gate):
        super().__init__()
        assert not norm_before_gate
        self.eps, self.size, self.weight = eps, group_size, nn.Parameter(torch.ones(hidden_size))

    def forward(self, x, z):
        x = (x * F.silu(z)).unflatten(-1, (-1, self.size))
        return F.rms_norm(x, x.shape[-1:], None, self.eps).flatten(-2) * self.weight


class Groups(nn.GroupNorm):
    """GroupNorm over the last axis."""

    def __init__(self, num_groups, hidden_size, elementwise_affine, eps, bias):
        super().__init__(num_groups, hidden_size, eps, elementwise_affine)

    def forward(self, x):
        return super().forward(x.flatten(0, -2)).reshape(x.shape)


class Conv(nn.Conv1d):
    def __init__(self, hidden_size, kernel_size, bias=False, activation="silu"):
        padding = kernel_size - 1
        super().__init__(
            hidden_size, hidden_size, kernel_size, groups=hidden_size, bias=bias, padding=padding
        )
        self.activation, self.backend = activation, None

    def forward(self, x, cache=None, output_final_state=False, cu_seqlens=None):
        y = super().forward(x.mT)[..., : x.shape[1]].mT
        return F.silu(y) if self.activation else y, None


def causal_conv1d(x, weight, bias, activation, backend):
    y = F.conv1d(x.mT, weight[:, None], bias, padding=weight.shape[1] - 1, groups=weight.shape[0])
    return F.silu(y[..., : x.shape[1]].mT), None


class Rotary(nn.Module):
    """The frequencies of RotaryEmbedding and its reference for turning."""

    def __init__(self, dim):
        super().__init__()
        self.frequencies = 10000.0 ** -(torch.arange(0, dim, 2) / dim)

    def forward(self, q, k, **places):
        angle = torch.outer(torch.arange(q.shape[1]).double(), self.frequencies)[:, None]
        cos, sin = angle.cos().tile(2), angle.sin().tile(2)

        def turned(x):
            first, second = x.chunk(2, -1)
            return x * cos + torch.cat([-second, first], -1) * sin

        return turned(q), turned(k)


def gla(q, k, v, gk=None, g=None, **_):
    form = naive("fla.ops.gla.naive.naive_recurrent_gla")
    return form(q, k, v, gk if g is None else g)


def linear_attention(q, k, v, normalize, **_):
    form = naive("fla.ops.linear_attn.naive.naive_recurrent_linear_attn")
    return form(q, k, v, normalize=normalize)


def retention(q, k, v, **_):
    form = naive("fla.ops.retention.naive.naive_retention")
    return form(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2), None


def delta_rule(q, k, v, beta, use_qk_l2norm_in_kernel, **_):
    assert use_qk_l2norm_in_kernel
    form = naive("fla.ops.delta_rule.naive.delta_rule_recurrence")
    parts = (x.transpose(1, 2) for x in (unit(q), unit(k), v, beta))
    return form(*parts)[0].transpose(1, 2), None


def gated_delta_rule(q, k, v, g, beta, A_log=None, dt_bias=None, allow_neg_eigval=False, **_):
    """GatedDeltaNet leaves its gates to the kernel, GatedDeltaProduct brings them."""
    form = naive("fla.ops.gated_delta_rule.naive.naive_recurrent_gated_delta_rule")
    q, k = (heads_like(unit(x), v) for x in (q, k))
    if A_log is not None:
        g, beta = -A_log.exp() * F.softplus(g + dt_bias), beta.sigmoid() * (1 + allow_neg_eigval)
    return form(q, k, v, beta, torch.zeros_like(beta) if g is None else g)


def kda(q, k, v, g, beta, A_log, dt_bias, allow_neg_eigval, lower_bound, **_):
    assert lower_bound is None
    form = naive("fla.ops.kda.naive.naive_recurrent_kda")
    g = -A_log.exp()[:, None] * F.softplus(g + dt_bias.view(g.shape[-2:]))
    return form(unit(q), unit(k), v, g, beta.sigmoid() * (1 + allow_neg_eigval))


def rwkv7(r, w, k, v, kk, a, **_):
    """The general form of diagonal plus low rank, which scales its queries."""
    form = naive("fla.ops.generalized_delta_rule.dplr.naive.dplr_recurrence")
    parts = r * r.shape[-1] ** 0.5, k, v, -kk, kk * a, w
    return form(*(x.transpose(1, 2) for x in parts))[0].transpose(1, 2), None


def token_shift(x, *_, **__):
    return F.pad(x, (0, 0, 1, -1)) - x, None


def gate_output_correction(o, r, k, r_k, v, g):
    return (o + ((r * k * r_k).sum(-1, keepdim=True) * v).flatten(-2)) * g


def rms_norm_linear(x, norm_weight, norm_bias, linear_weight, linear_bias, eps=1e-5):
    return F.linear(F.rms_norm(x, x.shape[-1:], norm_weight, eps), linear_weight, linear_bias)


def kernels(form, *parts):
    """One form for all kernels of a recurrence."""
    kinds = ("chunk", "fused_chunk", "fused_recurrent", "parallel")
    return {f"{kind}_{part}": form for part in parts for kind in kinds}


def install():
    package("fla")
    package("fla.layers")
    norms = {"RMSNorm": Norm, "FusedRMSNormGated": Norm, "GroupNorm": Groups, "LayerNorm": None}
    package("fla.modules", ShortConvolution=Conv, **norms)
    package("fla.modules.convolution", causal_conv1d=causal_conv1d, causal_conv1d_update=None)
    package("fla.modules.layernorm", rms_norm_linear=rms_norm_linear)
    package("fla.modules.layernorm_gated", RMSNormGated=GatedGroups)
    package("fla.modules.l2norm", l2_norm=unit)
    package("fla.modules.rotary", RotaryEmbedding=Rotary)
    package("fla.modules.token_shift", token_shift=token_shift)
    package("fla.modules.activations", ACT2FN={"silu": F.silu, "swish": F.silu}, swish=F.silu)
    feature_maps = ("DPFPFeatureMap", "HadamardFeatureMap", "HedgehogFeatureMap", "T2RFeatureMap")
    package("fla.modules.feature_map", **dict.fromkeys(feature_maps, nn.Identity))
    package(
        "fla.layers.utils",
        get_layer_cache=lambda layer, cache: None,
        update_layer_cache=lambda *_, **__: None,
        unpad_hidden_states=lambda x, *_: (x, None, None),
        repad_hidden_states=lambda x, *_: x,
    )
    package("fla.ops.utils.index", prepare_lens_from_mask=None)
    package("fla.ops.gla", **kernels(gla, "gla"))
    package("fla.ops.linear_attn", **kernels(linear_attention, "linear_attn"))
    package("fla.ops.retention", **kernels(retention, "retention"))
    package("fla.ops.delta_rule", **kernels(delta_rule, "delta_rule"))
    package("fla.ops.gated_delta_rule", **kernels(gated_delta_rule, "gated_delta_rule"))
    package("fla.ops.gated_delta_product", **kernels(None, "gated_delta_product"))
    package("fla.ops.kda", **kernels(kda, "kda"))
    package("fla.ops.rwkv6", **kernels(None, "rwkv6"))
    package("fla.ops.rwkv7", chunk_rwkv7=None, fused_mul_recurrent_rwkv7=rwkv7)
    shifted = lambda x, delta, *mixes: [x + delta * mix for mix in mixes]  # noqa: E731
    package("fla.ops.rwkv7.fused_addcmul", fused_addcmul_rwkv7=shifted)
    package("fla.ops.rwkv7.fused_k_update", fused_k_rwkv7=lambda k, a, ka: k * (1 + (a - 1) * ka))
    package("fla.ops.rwkv7.gate_output_correction", gate_output_correction=gate_output_correction)


# --- the layers -----------------------------------------------------------------------------------

HEADS = {"num_heads": 2, "expand_k": 0.5, "expand_v": 1.5}
WIDE = {"num_heads": 2, "head_dim": 4, "expand_v": 1.5}
RWKV = {"head_dim": 4, "num_hidden_layers": 2, "fuse_norm": True}
RWKV |= {"decay_low_rank_dim": 2, "gate_low_rank_dim": 3, "a_low_rank_dim": 2}
LAYERS = {
    "linear_attn.LinearAttention": [
        HEADS | {"feature_map": "elu", "norm_eps": 0.01},
        HEADS | {"feature_map": "elu", "do_feature_map_norm": True, "elementwise_affine": False},
    ],
    "gla.GatedLinearAttention": [
        HEADS | {"gate_low_rank_dim": 3},
        HEADS
        | {"num_heads": 4, "num_kv_heads": 2, "use_short_conv": True, "conv_bias": True}
        | {"expand_k": 1.0, "use_output_gate": False, "gate_logit_normalizer": 8, "norm_eps": 0.01},
        HEADS | {"elementwise_affine": False, "fuse_norm": False},
    ],
    "multiscale_retention.MultiScaleRetention": [
        HEADS | {"expand_k": 1.0},
        HEADS | {"num_heads": 4, "num_kv_heads": 2, "expand_k": 2.0, "norm_eps": 0.01},
    ],
    "delta_net.DeltaNet": [
        HEADS,
        HEADS
        | {"use_gate": True, "use_short_conv": False, "allow_neg_eigval": True, "norm_eps": 0.01},
    ],
    "gated_deltanet.GatedDeltaNet": [
        WIDE,
        WIDE
        | {"num_v_heads": 4, "use_gate": False, "allow_neg_eigval": True, "conv_bias": True}
        | {"norm_eps": 0.01, "conv_size": 2},
    ],
    "kda.KimiDeltaAttention": [
        WIDE,
        WIDE | {"num_v_heads": 4, "allow_neg_eigval": True, "norm_eps": 0.01},
    ],
    "mamba2.Mamba2": [
        {"head_dim": 4, "state_size": 3, "chunk_size": 4},
        {"head_dim": 4, "state_size": 3, "chunk_size": 4, "use_conv_bias": False}
        | {"use_bias": True, "norm_eps": 0.01},
    ],
    "hgrn2.HGRN2Attention": [
        {"expand_ratio": 4, "layer_idx": 0},
        {"expand_ratio": 4, "layer_idx": 1, "lower_bound": 0.25}
        | {"use_short_conv": True, "conv_bias": True},
    ],
    "gated_deltaproduct.GatedDeltaProduct": [
        WIDE,
        WIDE
        | {
            "num_v_heads": 4,
            "num_householder": 3,
            "use_forget_gate": False,
            "allow_neg_eigval": False,
        }
        | {"use_output_gate": False, "norm_eps": 0.01},
    ],
    "rwkv7.RWKV7Attention": [
        RWKV | {"layer_idx": 0},
        RWKV | {"layer_idx": 1, "v_low_rank_dim": 3, "norm_eps": 0.01, "v_first": True},
    ],
}
AT_CALL = ("lower_bound", "v_first")


def run(place: str, options: dict) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Random arrays by name, a sequence and the outputs of a layer."""
    file, name = place.split(".")
    kind = getattr(importlib.import_module(f"fla.layers.{file}"), name)
    layer = kind(hidden_size=SIZE, **{k: v for k, v in options.items() if k not in AT_CALL}).eval()
    arrays = {}
    with torch.no_grad():
        for key, value in layer.state_dict().items():
            value = value.double()
            arrays[key] = value.copy_(value + 0.3 * torch.randn(value.shape))
        layer.double().load_state_dict(arrays)
        x = torch.randn(1, T, SIZE)
        called = {k: torch.tensor(v) for k, v in options.items() if k in AT_CALL}
        if "v_first" in called:  # read behind x here
            called["v_first"] = torch.randn(1, T, SIZE)
        y = layer(x, **called)[0]
        x = torch.cat([x, *[called[k] for k in called if k == "v_first"]], -1)
    return arrays, x[0], y[0]


def main() -> None:
    install()
    found = {}
    for place, cases in LAYERS.items():
        for number, options in enumerate(cases):
            torch.manual_seed(number)
            arrays, x, y = run(place, options)
            assert y.dtype == torch.float64, place
            assert y.isfinite().all(), place
            parts = {f"p/{k}": v for k, v in arrays.items()} | {"x": x, "y": y}
            about = {"options": options, "shapes": {k: [*v.shape] for k, v in parts.items()}}
            name = f"{place.split('.')[1]}/{number}"
            found[f"{name}/about"] = np.array(json.dumps(about))
            found[name] = np.concatenate([v.numpy().reshape(-1) for v in parts.values()])
    np.savez_compressed(Path(__file__).with_name("fla.npz"), **found)


main()
