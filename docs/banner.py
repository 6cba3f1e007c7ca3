"""The picture on top of README: what cells of nine kinds do with the same three pulses.

python docs/banner.py    writes docs/pages/pictures/cells.png
"""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import rnn_zoo as rz


PATH = Path(__file__).parent / "pages" / "pictures" / "cells.png"
REST, STEPS, UNITS = 200, 240, 24
PULSES = {20: 1.0, 90: -1.0, 150: 0.6}
CELLS = {
    "leaky_elman": {"leak": 0.1},
    "gru": {},
    "clockwork": {},
    "unitary": {},
    "cornn": {"delta": 0.15, "gamma": 2.0, "epsilon": 1.0},
    "lem": {"delta": 0.3},
    "lru": {},
    "linoss": {},
    "esn": {"spectral_radius": 1.1, "leak": 0.4, "bias_scaling": 0.1},
}


def outputs(name: str) -> np.ndarray:
    """(time, units), each unit divided by its largest number."""
    cell = rz.make_cell(name, 1, UNITS, key=jax.random.key(1), **CELLS[name])
    xs = np.zeros((REST + STEPS, 1), np.float32)
    for step, height in PULSES.items():
        xs[REST + step : REST + step + 4] = height
    ys = np.asarray(rz.scan.unroll(cell, xs)[1])[REST:]
    ys = ys - ys[0]  # where it rests
    return ys / np.maximum(abs(ys).max(axis=0), 1e-6)


def main() -> None:
    figure, axes = plt.subplots(3, 3, figsize=(10, 4.6), layout="constrained")
    for name, axis in zip(CELLS, axes.flat):
        ys = outputs(name)
        # Units that peak early stand on top.
        ys = ys[:, np.argsort((abs(ys) * np.arange(STEPS)[:, None]).sum(0) / abs(ys).sum(0))]
        axis.imshow(ys.T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(name, fontsize=9, family="monospace")
        axis.set(xticks=[*PULSES], xticklabels=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.savefig(PATH, dpi=110)


if __name__ == "__main__":
    main()
