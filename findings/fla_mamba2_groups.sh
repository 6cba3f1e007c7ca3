#!/usr/bin/env bash
# fla: a Mamba2 layer of several groups gives other outputs for a sequence than step by step.
#
# Versions: flash-linear-attention 0.6.0, torch 2.13.0, transformers 5.24.0, triton 3.9.0, numpy 2.4.6;
# Python 3.11, on a CPU.
# Behaviour: with `n_groups=2` the forward pass of a whole sequence in PyTorch gives head h the B and
# C of group h mod 2 (`repeat`), a step from a cache gives it those of group h // 2, as the kernels
# and state-spaces/mamba do. With one group both agree.
# Why it surprises: the two paths are one layer, and a model that was trained with the kernels gives
# other outputs on a CPU.
# Output seen:
#   1 group: whole sequence and last step differ by less than 1e-6: True
#   2 groups: whole sequence and last step differ by less than 1e-6: False
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 triton==3.9.0 transformers==5.24.0 flash-linear-attention==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'END'
import torch
from fla.layers import Mamba2

agree = {}
for groups in (1, 2):
    torch.manual_seed(0)
    layer = Mamba2(
        hidden_size=8, head_dim=4, state_size=3, n_groups=groups, rmsnorm=False, conv_kernel=2
    )
    layer.act = torch.nn.functional.silu  # without its kernel, which needs a GPU
    x = torch.randn(1, 5, 8)
    with torch.no_grad():
        whole = layer.torch_forward(x)[0]
        _, conv, ssm = layer.torch_forward(x[:, :4], use_cache=True)
        cache = {"conv_state": conv, "recurrent_state": ssm}
        last = layer.torch_forward(x[:, 4:], last_state=cache)[0]
    agree[groups] = bool((whole[:, 4:] - last).abs().max() < 1e-6)
    name = f"{groups} group{'s' if groups > 1 else ''}"
    print(f"{name}: whole sequence and last step differ by less than 1e-6: {agree[groups]}")
assert agree == {1: True, 2: False}
END
