#!/usr/bin/env bash
# torchrecurrent: the gate of FastGRNN is a tanh by default, so that it is negative half of the time.
#
# Versions: torchrecurrent 0.2.5, torch 2.13.0, numpy 2.3.5; Python 3.11 to 3.13.
# Behaviour: `FastGRNNCell(3, 4)` equals z = tanh(W x + U h + b) to rounding; the formula with
# z = sigmoid(...) is far off. Its argument `nonlinearity`, "tanh" by default, acts on the gate, and
# the candidate is a tanh whatever it says.
# Why it surprises: the paper (Kusupati et al. 2018, arXiv:1901.02358) and the package's own
# docstring have a sigmoid; a gate below 0 keeps a negative share of the state.
# Output seen:
#   gate sigmoid, as written: off by 2.6e+00
#   gate tanh: off by 2.2e-16
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torchrecurrent==0.2.5 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'END'
import numpy as np
import torch
import torchrecurrent

torch.manual_seed(0)
cell = torchrecurrent.FastGRNNCell(3, 4).double()
x, h = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 4, dtype=torch.float64)
with torch.no_grad():
    found = cell(x, h).numpy()
p = {name: value.detach().numpy() for name, value in cell.named_parameters()}
x, h = x.numpy(), h.numpy()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


both = x @ p["weight_ih"].T + h @ p["weight_hh"].T
of_gate, of_candidate = np.split(p["bias_ih"] + p["bias_hh"], 2)
candidate = np.tanh(both + of_candidate)
errors = []
for name, squash in (("sigmoid, as written", sigmoid), ("tanh", np.tanh)):
    z = squash(both + of_gate)
    new_h = (sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * candidate + z * h
    errors.append(np.abs(found - new_h).max())
    print(f"gate {name}: off by {errors[-1]:.1e}")
assert errors[0] > 1e-1 and errors[1] < 1e-12
END
