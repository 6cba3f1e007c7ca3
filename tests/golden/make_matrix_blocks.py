"""Golden values of the networks around matrix cells, from the authors' own PyTorch code.

    pip install torch numpy
    git clone https://github.com/NX-AI/xlstm  # 032a6fb
    git clone https://github.com/BlinkDL/RWKV-LM  # 524481d
    python tests/golden/make_matrix_blocks.py FOLDER_OF_THE_TWO

writes tests/golden/matrix_blocks.npz. Of each network: `x`, its inputs, `y`, its outputs, and
`p/NAME`, all parameters by the authors' names, drawn anew so that none stands at a 0 or 1 that
hides it. All is computed in float64. A stack is two blocks and the norm behind them.
"""

import ast
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


# The casts in these files, which are to float32.
torch.float = torch.float64
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
    """Of the demo, which loads a model where it is imported, the definitions alone.

    Keys have length 1 here as they have there but for 1e-6 under the root.
    """
    wanted = ("RWKV_Tmix_x070", "RWKV_CMix_x070", "Block", "RWKV")
    found = []
    for node in ast.walk(ast.parse((ROOT / "RWKV-LM/RWKV-v7/rwkv_v7_demo.py").read_text())):
        if isinstance(node, ast.ClassDef) and node.name in wanted:
            found.append(node)
        # The plain one is the longer.
        if isinstance(node, ast.FunctionDef) and node.name == "RWKV7_OP" and len(node.body) > 1:
            found.append(node)

    def unit(z, dim, p):
        return z / (z.square().sum(dim, keepdim=True) + 1e-6).sqrt()

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
    exec(compile(ast.Module(found, []), "rwkv_v7_demo.py", "exec"), names)
    args = types.SimpleNamespace(
        n_layer=LAYERS, n_embd=SIZE, head_size_a=SIZE // HEADS, vocab_size=1
    )
    model = names["RWKV"](args)
    model.emb = model.head = torch.nn.Identity()
    return values(model, model)


NETWORKS = (mlstm, slstm, rwkv7)


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
