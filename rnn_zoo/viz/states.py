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
    values = _both_parts(np.asarray(states))
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
    crosses = _both_parts(np.zeros((0, values.shape[-1])) if points is None else points)
    if crosses.ndim != 2 or crosses.shape[1] != values.shape[-1]:
        raise ValueError(
            f"expected points of shape (points, {np.shape(states)[-1]}), states like the others, "
            f"got {crosses.shape}"
        )
    plane, shares, crosses = _plane(values, crosses)
    ax = new_axes(figsize=(4.8, 4.0)) if ax is None else ax
    if single:
        steps = np.arange(plane.shape[1])
        ax.plot(*plane[0].T, color="#b0b0b0", lw=0.8, zorder=1)
        points = ax.scatter(*plane[0].T, c=steps, cmap="viridis", s=12, zorder=2)
        ax.figure.colorbar(points, ax=ax, label="step", fraction=0.05, pad=0.02)
    else:
        _lines(ax, plane, names)
    ax.plot(*plane[:, 0].T, "o", ms=5, mfc="white", mec="black", ls="", zorder=3, gid="first")
    if points is not None:
        ax.plot(*crosses.T, "X", ms=8, mfc="#c4472f", mec="white", ls="", zorder=4, gid="points")
    for axis, share, number in zip((ax.xaxis, ax.yaxis), shares, (1, 2)):
        axis.set_label_text(f"component {number} ({share:.0%} of the variance)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _both_parts(values: Any) -> np.ndarray:
    values = np.asarray(values)
    if not np.iscomplexobj(values):
        return values
    return np.concatenate([np.real(values), np.imag(values)], axis=-1)


def _plane(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (samples, time, 2), the shares of the variance, and where the points lie."""
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    centre = flat.mean(axis=0)
    flat = flat - centre
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    if len(sizes) < 2 or not np.isfinite(sizes).all() or not sizes[0] > 0:
        raise ValueError("expected finite states that vary, over at least two steps")
    # Signs are free; the largest weight counts as positive.
    peaks = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    onto = (directions * np.sign(peaks))[:2].T
    plane = (flat @ onto).reshape(*values.shape[:2], 2)
    return plane, sizes[:2] ** 2 / np.sum(sizes**2), (points - centre) @ onto


def _lines(ax: Any, plane: np.ndarray, names: np.ndarray | None) -> None:
    colours = matplotlib_module("pyplot").rcParams["axes.prop_cycle"].by_key()["color"]
    kinds = [None] if names is None else list(np.unique(names))
    alpha = max(0.2, min(0.9, 20 / len(plane)))
    for i, kind in enumerate(kinds):
        chosen = plane if names is None else plane[names == kind]
        for j, line in enumerate(chosen):
            label = f"label {kind}" if names is not None and j == 0 else None
            ax.plot(*line.T, color=colours[i % len(colours)], lw=1.2, alpha=alpha, label=label)
    if names is not None:
        for handle in ax.legend(frameon=False).legend_handles:
            handle.set_alpha(1.0)
