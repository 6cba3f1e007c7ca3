#!/usr/bin/env bash
# ncps: a CfC over `FullyConnected(8, 2)` has 8 outputs, an LTC over the same wiring has 2.
#
# Versions: ncps 1.0.1, torch 2.13.0, numpy 2.3.5; Python 3.11 to 3.13.
# Behaviour: the wiring says `output_dim == 2`. `LTC` gives 2 numbers a step, `CfC` gives 8 and says
# itself that its `output_size` is 2. Over `AutoNCP(8, 2)` both give 2.
# Why it surprises: the two layers take the same wirings for the same purpose. A head of
# `layer.output_size` inputs fails behind the CfC alone.
# Output seen:
#   LTC: output_size 2, outputs 2
#   CfC: output_size 2, outputs 8
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ncps==1.0.1 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'END'
import torch
from ncps.torch import LTC, CfC
from ncps.wirings import AutoNCP, FullyConnected

widths = {}
for kind in (LTC, CfC):
    layer = kind(3, FullyConnected(8, 2))
    widths[kind] = layer(torch.randn(1, 4, 3))[0].shape[-1]
    print(f"{kind.__name__}: output_size {layer.output_size}, outputs {widths[kind]}")
    assert layer.output_size == 2
    assert kind(3, AutoNCP(8, 2))(torch.randn(1, 4, 3))[0].shape[-1] == 2
assert widths == {LTC: 2, CfC: 8}
END
