"""Golden values from PyTorch for RNN, LSTM and GRU: weights, inputs, outputs, final states.

    pip install torch numpy && python tests/golden/make_torch.py

writes tests/golden/torch.npz. Two layers, both directions, batch first.
"""

from pathlib import Path

import numpy as np
import torch


def main():
    torch.manual_seed(0)
    arrays = {"version": np.array(torch.__version__)}
    for name, make in [("rnn", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)]:
        module = make(3, 4, num_layers=2, bidirectional=True, batch_first=True).double()
        xs = torch.randn(2, 6, 3, dtype=torch.float64)
        ys, state = module(xs)
        arrays[f"{name}/xs"], arrays[f"{name}/ys"] = xs.numpy(), ys.detach().numpy()
        states = state if isinstance(state, tuple) else (state,)
        for i, part in enumerate(states):
            arrays[f"{name}/state{i}"] = part.detach().numpy()
        for key, value in module.state_dict().items():
            arrays[f"{name}/{key}"] = value.numpy()
    np.savez(Path(__file__).with_name("torch.npz"), **arrays)


main()
