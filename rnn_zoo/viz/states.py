"""Hidden states over time."""

from typing import Any

import numpy as np

from ._axes import matplotlib_module, new_axes


def states_heatmap(states: Any, ax: Any = None) -> Any:
    """The states of one sequence, (time, units), time from left to right.

    Units are sorted by their mean; the colours are symmetric around zero. Complex states are
    shown by their real part. Returns the matplotlib axes. ValueError for another shape.
    """
    values = np.real(np.asarray(states))
    if values.ndim != 2:
        raise ValueError(f"expected states of shape (time, units), got {values.shape}")
    ax = new_axes() if ax is None else ax
    order = np.argsort(-values.mean(axis=0), kind="stable")
    limit = np.abs(values).max(initial=0.0) or 1.0
    image = ax.imshow(
        values[:, order].T,
        aspect="auto",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    ax.set(xlabel="step", ylabel="unit, sorted by its mean")
    ax.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
    ax.figure.colorbar(image, ax=ax, label="state", fraction=0.05, pad=0.02)
    return ax
