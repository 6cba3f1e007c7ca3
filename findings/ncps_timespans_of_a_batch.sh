#!/usr/bin/env bash
# ncps: elapsed times of each sample run along the neurons where batch and neurons are equally many.
#
# Versions: ncps 1.0.1, torch 2.13.0, numpy 2.3.5; Python 3.11 to 3.13.
# Behaviour: `LTC` and `CfC` take `timespans` of (batch, time) beside inputs of (batch, time,
# features). With 3 samples and 5 neurons that is a RuntimeError about sizes; with 5 and 5 it runs,
# and gives other numbers than the same samples one by one: neuron j of every sample gets the time
# of sample j.
# Why it surprises: irregularly sampled batches are what these layers are for, the code indexes
# (batch, time), and whether it fails or is silently wrong depends on two sizes being equal.
# Output seen:
#   LTC, 3 samples, 5 neurons: RuntimeError
#   LTC, 5 samples, 5 neurons: runs, 0.22 from one by one
#   CfC, 3 samples, 5 neurons: RuntimeError
#   CfC, 5 samples, 5 neurons: runs, 0.05 from one by one
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ncps==1.0.1 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'END'
import torch
from ncps.torch import LTC, CfC

NEURONS, TIME = 5, 4
torch.manual_seed(0)
for kind in (LTC, CfC):
    for samples in (3, 5):
        layer = kind(2, NEURONS)
        xs, times = torch.randn(samples, TIME, 2), 0.5 + torch.rand(samples, TIME)
        with torch.no_grad():
            each = [layer(xs[i : i + 1], timespans=times[i : i + 1])[0] for i in range(samples)]
            try:
                error = float((layer(xs, timespans=times)[0] - torch.cat(each)).abs().max())
            except RuntimeError:
                error = None
        said = "RuntimeError" if error is None else f"runs, {error:.2f} from one by one"
        print(f"{kind.__name__}, {samples} samples, {NEURONS} neurons: {said}")
        assert error is None if samples != NEURONS else error > 0.01
END
