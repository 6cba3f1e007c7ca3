"""The plane in which states vary most, and what several pictures draw in it."""

from typing import Any

import numpy as np

from ._axes import matplotlib_module


def both_parts(values: Any) -> np.ndarray:
    values = np.asarray(values)
    if not np.iscomplexobj(values):
        return values
    return np.concatenate([np.real(values), np.imag(values)], axis=-1)


def in_plane(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    flat = (flat @ onto).reshape(*values.shape[:2], 2)
    return flat, sizes[:2] ** 2 / np.sum(sizes**2), (points - centre) @ onto


def draw_lines(ax: Any, plane: np.ndarray, names: np.ndarray | None) -> None:
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


def label_plane(ax: Any, shares: np.ndarray) -> None:
    """Axes named by the share of the variance that each component holds."""
    for axis, share, number in zip((ax.xaxis, ax.yaxis), shares, (1, 2)):
        axis.set_label_text(f"component {number} ({share:.0%} of the variance)")
    ax.spines[["top", "right"]].set_visible(False)
