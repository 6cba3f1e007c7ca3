"""Golden values of the networks around matrix cells, from the authors' own PyTorch code.

    pip install torch numpy einops
    git clone https://github.com/NX-AI/xlstm  # 032a6fb
    git clone https://github.com/BlinkDL/RWKV-LM  # 524481d
    git clone https://github.com/fla-org/flash-linear-attention  # bc3b101
    git clone https://github.com/open-lm-engine/lm-engine  # 36bad91
    python tests/golden/make_matrix_blocks.py FOLDER_OF_THE_FOUR

writes tests/golden/matrix_blocks.npz. Of each network: `x`, its inputs, `y`, its outputs, and
`p/NAME`, all parameters by the authors' names, drawn anew so that none stands at a 0 or 1 that
hides it. All is computed in float64. Of xLSTM and RWKV-7 these are two blocks and the norm behind
them, of the others one mixer, whose kernels for GPUs are replaced by the naive forms beside them.
"""

import __future__

import ast
import functools
import importlib
import math
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import einops
import numpy as np
import torch
import torch.nn.functional as F


# The casts in these files, which are to float32.
torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)

T, SIZE, HEADS, LAYERS = 9, 6, 2, 2
ROOT = Path(sys.argv[1])


def values(module: torch.nn.Module, run) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape))
        x = torch.randn(T, SIZE)
        y = run(x[None])[0]
    return {"x": x, "y": y} | {f"p/{name}": value for name, value in module.named_parameters()}


def defined(path: str, names: dict[str, Any], wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """The definitions of a file that are wanted, without what it imports: `names` has that."""
    tree = ast.parse((ROOT / path).read_text())
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and wanted(node)
    ]
    flags = __future__.annotations.compiler_flag
    exec(compile(ast.Module(found, []), path, "exec", flags), names)
    return names


def unit(z: torch.Tensor, dim: int = -1, p: float = 2.0) -> torch.Tensor:
    """Vectors of length 1, but for 1e-6 under the root, as ours."""
    return z / (z.square().sum(dim, keepdim=True) + 1e-6).sqrt()


# --- xLSTM ----------------------------------------------------------------------------------------


def package(name: str) -> None:
    """A package of which only the parts that are asked for run: what it exports needs a GPU."""
    module = types.ModuleType(name)
    module.__path__ = [str(ROOT / "xlstm" / name.replace(".", "/"))]
    sys.modules[name] = module


def part(name: str):
    return importlib.import_module(f"xlstm.{name}")


def stack(**blocks) -> dict[str, torch.Tensor]:
    module = part("xlstm_block_stack")
    config = module.xLSTMBlockStackConfig(
        **blocks, context_length=T, num_blocks=LAYERS, embedding_dim=SIZE
    )
    made = module.xLSTMBlockStack(config)
    for block in made.blocks:
        if "mlstm_block" in blocks:
            # The authors add 1e-6 to the denominator, which makes it depend on the stabiliser.
            cell = block.xlstm.mlstm_cell
            exact = cell.backend_fn
            cell.backend_fn = lambda exact=exact, **given: exact(**given, eps=0.0)
    return values(made, made)


def mlstm():
    layer = part("blocks.mlstm.layer").mLSTMLayerConfig(
        num_heads=HEADS, round_proj_up_to_multiple_of=1
    )
    return stack(mlstm_block=part("blocks.mlstm.block").mLSTMBlockConfig(mlstm=layer))


def slstm():
    layer = part("blocks.slstm.layer").sLSTMLayerConfig(num_heads=HEADS, backend="vanilla")
    feedforward = part("components.feedforward").FeedForwardConfig(
        proj_factor=4 / 3, round_proj_up_to_multiple_of=1
    )
    block = part("blocks.slstm.block").sLSTMBlockConfig(slstm=layer, feedforward=feedforward)
    return stack(slstm_block=block)


# --- RWKV-7 ---------------------------------------------------------------------------------------


def rwkv7():
    """Of the demo, which loads a model where it is imported, the definitions alone."""

    def wanted(node):
        # The plain operator is the longer of the two.
        plain = node.name == "RWKV7_OP" and len(node.body) > 1
        return plain or node.name in ("RWKV_Tmix_x070", "RWKV_CMix_x070", "Block", "RWKV")

    names = {
        "torch": torch,
        "nn": torch.nn,
        "F": types.SimpleNamespace(softplus=F.softplus, normalize=unit),
        "MyModule": torch.nn.Module,
        "MyFunction": lambda function: function,
        "HEAD_SIZE": SIZE // HEADS,
        "DTYPE": torch.float64,
        "D_DECAY_LORA": 2,
        "D_AAA_LORA": 2,
        "D_MV_LORA": 3,
        "D_GATE_LORA": 4,
    }
    names = defined("RWKV-LM/RWKV-v7/rwkv_v7_demo.py", names, wanted)
    args = types.SimpleNamespace(
        n_layer=LAYERS, n_embd=SIZE, head_size_a=SIZE // HEADS, vocab_size=1
    )
    model = names["RWKV"](args)
    model.emb = model.head = torch.nn.Identity()
    return values(model, model)


# --- heads that keep a matrix ---------------------------------------------------------------------


class Conv(torch.nn.Conv1d):
    """A causal convolution of each channel, behind it silu unless `activation` is None."""

    def __init__(self, hidden_size, kernel_size, bias=False, activation="silu", **ignored):
        options = {"padding": kernel_size - 1, "groups": hidden_size, "bias": bias}
        super().__init__(hidden_size, hidden_size, kernel_size, **options)
        self.act = (lambda y: y) if activation is None else F.silu

    def forward(self, x, **ignored):
        return self.act(super().forward(x.mT)[..., : x.shape[1]].mT), None


class Norm(torch.nn.RMSNorm):
    """An RMS norm, and where there is a gate its silu behind it."""

    def __init__(self, hidden_size, eps=1e-5, **ignored):
        super().__init__(hidden_size, eps)
        self.bias = None

    def forward(self, x, gate=None):
        y = super().forward(x)
        return y if gate is None else y * F.silu(gate)


def fla(name: str, **operators) -> Any:
    """A layer of flash-linear-attention."""

    def normed_map(x, norm, norm_bias, weight, bias):
        return F.linear(F.rms_norm(x, norm.shape, norm, 1e-5), weight, bias)

    names = {
        "torch": torch,
        "nn": torch.nn,
        "F": F,
        "math": math,
        "warnings": warnings,
        "rearrange": einops.rearrange,
        "swish": F.silu,
        "ShortConvolution": Conv,
        "RMSNorm": Norm,
        "FusedRMSNormGated": Norm,
        "rms_norm_linear": normed_map,
        "get_layer_cache": lambda *given: None,
        "update_layer_cache": lambda *given, **options: None,
        "unpad_hidden_states": lambda x, *given: (x, None, None),
        "repad_hidden_states": lambda x, *given: x,
    }
    path = f"flash-linear-attention/fla/layers/{name}.py"
    return defined(path, names | operators, lambda node: isinstance(node, ast.ClassDef))


def naive(path: str, wanted: str) -> Any:
    names = defined(path, {"torch": torch}, lambda node: node.name == wanted)
    return names[wanted]


def hgrn2():
    """The paper has no scale, so what the naive form puts on q is taken off before."""
    plain = naive("flash-linear-attention/fla/ops/gla/naive.py", "naive_recurrent_gla")

    def operator(q, k, v, gk, **ignored):
        return plain(q * q.shape[-1] ** 0.5, k, v, gk, None, True)

    made = fla("hgrn2", fused_recurrent_gla=operator)["HGRN2Attention"]
    layer = made(hidden_size=SIZE, num_heads=HEADS, expand_ratio=None)
    return values(layer, lambda x: layer(x)[0])


def delta_product():
    plain = naive(
        "flash-linear-attention/fla/ops/gated_delta_product/naive.py",
        "naive_recurrent_gated_delta_product",
    )

    def operator(q, k, v, g, beta, num_householder, **ignored):
        q = unit(q) * q.shape[-1] ** -0.5
        return plain(q, unit(k), v, g, beta, None, None, num_householder=num_householder)

    made = fla("gated_deltaproduct", chunk_gated_delta_product=operator)["GatedDeltaProduct"]
    layer = made(hidden_size=SIZE, num_heads=HEADS, head_dim=2, expand_v=2, num_householder=2)
    return values(layer, lambda x: layer(x)[0])


def m2rnn():
    """`clip_gradients` clips only cotangents, so forward it is nothing."""

    def wanted(node):
        return node.name in ("SoftplusDecayGate", "m2rnn_torch", "_m2rnn_function", "M2RNN")

    names = {
        "torch": torch,
        "nn": torch.nn,
        "F": F,
        "math": math,
        "partial": functools.partial,
        "DTensor": (),
        "DTensorModule": torch.nn.Module,
        "ParameterizedLinear": lambda *sizes, bias, std: torch.nn.Linear(*sizes, bias=bias),
        "DepthwiseCausalConvolution": lambda hidden_size, kernel_size, **ignored: Conv(
            hidden_size, kernel_size
        ),
        "get_normalization_function": lambda name, size: Norm(size),
        "_get_std_for_linear": lambda **ignored: None,
        "is_glu": lambda name: False,
        "silu": F.silu,
        "tanh": torch.tanh,
        "clip_gradients": lambda z, bound: z,
        "divide_if_divisible": lambda one, other: one // other,
        "is_kernel_allowed": lambda kernel: False,
        "Kernel": types.SimpleNamespace(m2rnn=None),
        "resolve_attention_and_position_info": lambda info, position: (info, position),
        "ProcessGroupManager": types.SimpleNamespace(is_context_parallel_enabled=lambda: False),
    }
    for mark in ("initialized", "mup_learning_rate", "no_weight_decay"):
        names[f"mark_parameter_as_{mark}"] = lambda parameter: None
    folder = "lm-engine/lm_engine/modeling_utils/"
    for file in (
        "softplus_decay_gate/module.py",
        "sequence_mixer_blocks/m2rnn/op.py",
        "sequence_mixer_blocks/m2rnn/module.py",
    ):
        names = defined(folder + file, names, wanted)
    heads = {f"num_{part}_heads": HEADS for part in ("q", "k", "v", "f", "g", "weight")}
    config = types.SimpleNamespace(
        **heads,
        k_head_dim=4,
        v_head_dim=3,
        use_residual=True,
        kernel_size=4,
        activation_function="silu",
        add_bias=False,
        gradient_clipping=None,
        normalization_function="rmsnorm",
        A_init_min=1,
        A_init_max=16,
        dt_init_min=0.001,
        dt_init_max=0.1,
        dt_init_floor=1e-4,
    )
    rest = ("initializer_range", "m_width", "init_method", "num_layers", "layer_idx")
    layer = names["M2RNN"](
        SIZE,
        SIZE,
        config,
        **dict.fromkeys(rest),
        use_depth_scaled_init=False,
        use_padding_free_transformer=False,
    )
    info = types.SimpleNamespace(
        attention_mask=None,
        cu_seqlens=None,
        max_seqlen=None,
        get_linear_attention_mask=lambda cache: None,
    )
    return values(layer, lambda x: layer(x, attention_mask_info=info))


NETWORKS = (mlstm, slstm, rwkv7, hgrn2, delta_product, m2rnn)


def main() -> None:
    for name in ("xlstm", "xlstm.blocks", "xlstm.blocks.mlstm", "xlstm.blocks.slstm"):
        package(name)
    arrays = {}
    for seed, network in enumerate(NETWORKS):
        torch.manual_seed(seed)
        for name, value in network().items():
            arrays[f"{network.__name__}/{name}"] = value.detach().numpy()
    np.savez_compressed(Path(__file__).with_name("matrix_blocks.npz"), **arrays)


main()
