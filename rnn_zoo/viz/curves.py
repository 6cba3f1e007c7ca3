"""What happened during training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._axes import new_axes


def training_curves(history: Sequence[dict[str, Any]], axes: Any = None) -> Any:
    """Loss and metrics of a history of `fit` over the steps, one axes for each.

    `axes`: as many matplotlib axes as there are figures (loss first); by default new ones.
    Training is drawn light, validation and test, where the rows have them, on top of it. Returns
    the array of axes. ValueError for an empty history or too few axes.
    """
    names = _figures(history)
    axes = np.atleast_1d(np.asarray(new_axes(len(names)) if axes is None else axes, dtype=object))
    if len(axes) < len(names):
        raise ValueError(f"expected {len(names)} axes, one each for {names}, got {len(axes)}")
    for name, ax in zip(names, axes):
        for part, color in (("train", "#7fa7d9"), ("valid", "#c4472f"), ("test", "#5b5b5b")):
            rows = [row for row in history if f"{part}_{name}" in row]
            if rows:
                steps = [row["step"] for row in rows]
                ax.plot(
                    steps, [row[f"{part}_{name}"] for row in rows], label=part, lw=2, color=color
                )
        ax.set(xlabel="step", ylabel=name)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    if all(row.get("train_loss", 1) > 0 for row in history):
        axes[0].set_yscale("log")
    return axes


def _figures(history: Sequence[dict[str, Any]]) -> list[str]:
    if not history:
        raise ValueError("expected at least one row of history, got none")
    names = [key.split("_", 1)[1] for row in history for key in row if "_" in key]
    return sorted(set(names), key=lambda name: (name != "loss", name))
