"""Hidden states over time."""

from typing import Any

import numpy as np

from ._axes import matplotlib_module, new_axes
from ._planes import both_parts, draw_lines, in_plane, label_plane


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
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
    ax.figure.colorbar(image, ax=ax, label="state", fraction=0.05, pad=0.02)
    return ax


def states_pca(states: Any, ax: Any = None, *, labels: Any = None, points: Any = None) -> Any:
    """States in the plane in which they vary most, by principal components.

    `states`: (time, units) of one sequence, or (samples, time, units) of several. One sequence is
    coloured by its step; several are lines, one colour for each label, with `labels` (samples,)
    integers. A dot marks each beginning. `points`, (points, units), are other states in the same
    plane, such as fixed points: crosses, which do not turn the plane.
    The axes' labels say what share of the variance each component holds. Complex states count with
    both parts. Returns the matplotlib axes. ValueError for other shapes, fewer than two units, or
    states that do not vary.
    """
    values = both_parts(np.asarray(states))
    if values.ndim not in (2, 3) or values.shape[-1] < 2:
        raise ValueError(
            "expected states of shape (time, units) or (samples, time, units) with at least two "
            f"units, got {np.shape(states)}"
        )
    single = values.ndim == 2
    values = values[None] if single else values
    names = None if labels is None else np.asarray(labels)
    if names is not None and names.shape != values.shape[:1]:
        raise ValueError(f"expected labels of shape ({len(values)},), got {names.shape}")
    crosses = both_parts(np.zeros((0, values.shape[-1])) if points is None else points)
    if crosses.ndim != 2 or crosses.shape[1] != values.shape[-1]:
        raise ValueError(
            f"expected points of shape (points, {np.shape(states)[-1]}), states like the others, "
            f"got {crosses.shape}"
        )
    plane, shares, crosses = in_plane(values, crosses)
    ax = new_axes(figsize=(4.8, 4.0)) if ax is None else ax
    if single:
        steps = np.arange(plane.shape[1])
        ax.plot(*plane[0].T, color="#b0b0b0", lw=0.8, zorder=1)
        points = ax.scatter(*plane[0].T, c=steps, cmap="viridis", s=12, zorder=2)
        ax.figure.colorbar(points, ax=ax, label="step", fraction=0.05, pad=0.02)
    else:
        draw_lines(ax, plane, names)
    ax.plot(*plane[:, 0].T, "o", ms=5, mfc="white", mec="black", ls="", zorder=3, gid="first")
    if points is not None:
        ax.plot(*crosses.T, "X", ms=8, mfc="#c4472f", mec="white", ls="", zorder=4, gid="points")
    label_plane(ax, shares)
    return ax
