"""RNN, LSTM and GRU equal PyTorch's: two layers, both directions, outputs and final states."""

from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo.base import replace


GOLDEN = np.load(Path(__file__).parent / "golden" / "torch.npz")
H = 4


def weights(name, layer, suffix):
    """Our fields from PyTorch's arrays, by the formulas of its documentation."""
    get = {k: GOLDEN[f"{name}/{k}_l{layer}{suffix}"] for k in ("weight_ih", "weight_hh")}
    b_ih, b_hh = (GOLDEN[f"{name}/{k}_l{layer}{suffix}"] for k in ("bias_ih", "bias_hh"))
    if name == "gru":  # the candidate's recurrent bias stands inside the reset gate
        bias = b_ih + np.concatenate([b_hh[: 2 * H], np.zeros(H)])
        get |= {"bias": bias, "bias_n": b_hh[2 * H :]}
    else:
        get["bias"] = b_ih + b_hh
    return {k: jnp.asarray(v) for k, v in get.items()}


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_equals_torch(name):
    cls = {"rnn": rz.cells.ElmanCell, "lstm": rz.cells.LSTMCell, "gru": rz.cells.GRUCell}[name]
    with float64():
        layers = []
        for k, size in [(0, 3), (1, 2 * H)]:
            cells = [
                replace(cls(size, H, key=jr.key(0)), **weights(name, k, suffix))
                for suffix in ("", "_reverse")
            ]
            layers.append(rz.Bidirectional(*cells))
        stack = rz.Stacked(layers)
        states, ys = rz.batch(stack.scan)(GOLDEN[f"{name}/xs"])
        np.testing.assert_allclose(ys, GOLDEN[f"{name}/ys"], rtol=1e-12, atol=1e-12)
        parts = 2 if name == "lstm" else 1
        for i in range(parts):
            ours = [d[i] if parts > 1 else d for layer in states for d in layer]
            theirs = GOLDEN[f"{name}/state{i}"]
            np.testing.assert_allclose(jnp.stack(ours), theirs, rtol=1e-12, atol=1e-12)
