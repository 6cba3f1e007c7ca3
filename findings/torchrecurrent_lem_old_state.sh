#!/usr/bin/env bash
# torchrecurrent: LEM's output reads the slow state of the step before, not the new one.
#
# Versions: torchrecurrent 0.2.5, torch 2.13.0, numpy 2.3.5; Python 3.11 to 3.13.
# Behaviour: `LEMCell` equals the formula with W_ch c(t-1) to rounding; the one with c(t) is far off.
# Why it surprises: the paper (Rusch, Mishra, Erichson, Mahoney 2022, arXiv:2110.04744, eq. 3), its
# authors' code and the docstring of the layer in the package all have c(t): the scheme is implicit
# in that term, and h lags one step behind.
# Output seen:
#   with c(t), as written: off by 7.0e-01
#   with c(t-1): off by 0.0e+00
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
cell = torchrecurrent.LEMCell(3, 4).double()
x, h, c = (torch.randn(1, n, dtype=torch.float64) for n in (3, 4, 4))
with torch.no_grad():
    found = cell(x, (h, c))[0].numpy()
p = {name: value.detach().numpy() for name, value in cell.named_parameters()}
x, h, c = (a.numpy() for a in (x, h, c))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


i1, i2, ic, ih = np.split(x @ p["weight_ih"].T + p["bias_ih"], 4, axis=1)
h1, h2, hc = np.split(h @ p["weight_hh"].T + p["bias_hh"], 3, axis=1)
of_h, of_c = cell.dt * sigmoid(i1 + h1), cell.dt * sigmoid(i2 + h2)
new_c = (1 - of_c) * c + of_c * np.tanh(ic + hc)
errors = []
for name, z in (("c(t), as written", new_c), ("c(t-1)", c)):
    new_h = (1 - of_h) * h + of_h * np.tanh(ih + z @ p["weight_ch"].T + p["bias_ch"])
    errors.append(np.abs(found - new_h).max())
    print(f"with {name}: off by {errors[-1]:.1e}")
assert errors[0] > 1e-3 and errors[1] < 1e-12
END
