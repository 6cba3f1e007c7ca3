"""What a model says beside what is true."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics import accuracy_by_length as by_length
from ._axes import matplotlib_module, new_axes


def prediction(
    predicted: Any,
    target: Any,
    ax: Any = None,
    *,
    step: float = 1.0,
    unit: str = "steps",
    start: float | None = None,
    spread: Any = None,
) -> Any:
    """A prediction over its target, (time,) each, or one feature of (time, 1).

    `step` is the time between two samples in `unit`. A dashed line at `start` says from where on
    the model runs on its own outputs; `spread` (time,) is drawn as a band of plus and minus so
    much, such as the standard deviation of an ensemble. Returns the matplotlib axes. ValueError for
    shapes that differ.
    """
    predicted, target = (
        _curve(name, a) for name, a in (("prediction", predicted), ("target", target))
    )
    if predicted.shape != target.shape:
        raise ValueError(
            f"expected prediction and target of one shape, got {predicted.shape}, {target.shape}"
        )
    ax = new_axes(figsize=(6.4, 3.0)) if ax is None else ax
    times = step * np.arange(len(target))
    ax.plot(times, target, color="#404040", lw=2.5, alpha=0.6, label="target")
    ax.plot(times, predicted, color="#c4472f", lw=1.3, label="prediction")
    if spread is not None:
        width = _curve("spread", spread)
        if width.shape != target.shape:
            raise ValueError(f"expected spread of shape {target.shape}, got {width.shape}")
        ax.fill_between(
            times, predicted - width, predicted + width, color="#c4472f", alpha=0.2, lw=0
        )
    if start is not None:
        ax.axvline(start, color="black", lw=1, ls="--", label="on its own")
    ax.set(xlabel=f"time in {unit}", ylabel="value")
    ax.margins(x=0)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return ax


def _curve(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"expected {name} of shape (time,), got {values.shape}: draw one feature, [:, 0]"
        )
    return values


def confusion_matrix(
    predicted: Any, labels: Any, ax: Any = None, *, names: Sequence[str] | None = None
) -> Any:
    """How often each class is taken for each: true classes down, predicted ones across.

    `predicted`, `labels`: (samples,) integers from 0 on; `names` of the classes. Cells hold counts;
    colours are shares of a row, so that rare classes are seen. Returns the matplotlib axes.
    ValueError for shapes that differ, negative labels or too few names.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != labels.shape or not labels.size:
        raise ValueError(
            "expected predictions and labels of shape (samples,), got "
            f"{predicted.shape}, {labels.shape}"
        )
    if min(predicted.min(), labels.min()) < 0:
        raise ValueError("expected classes from 0 on, got a negative one")
    size = 1 + max(predicted.max(), labels.max())
    if names is not None and len(names) < size:
        raise ValueError(f"expected {size} names, got {len(names)}")
    names = [str(i) for i in range(size)] if names is None else list(names)
    size = len(names)
    counts = np.zeros((size, size), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = min(10.0, 1.8 + 0.36 * size)
        ax = new_axes(figsize=(side + 0.8, side))
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=colour, size=8)
    turn = 0 if max(map(len, names)) <= 3 else 90
    ax.set_xticks(range(size), names, rotation=turn)
    ax.set_yticks(range(size), names)
    right = np.trace(counts) / counts.sum()
    ax.set(xlabel="predicted class", ylabel="true class", title=f"accuracy {right:.3f}")
    ax.figure.colorbar(image, ax=ax, label="share of the true class", fraction=0.046, pad=0.03)
    return ax


def accuracy_by_length(
    right: Any,
    lengths: Any,
    edges: Any,
    ax: Any = None,
    *,
    label: str | None = None,
    trained: float | None = None,
    chance: float | None = None,
) -> Any:
    """Accuracy against length, as `rz.metrics.accuracy_by_length` counts it.

    A line through the middle of each bin; what lies beyond `trained`, the longest training length,
    is shaded, `chance` is a dashed line. Call it again with the same axes and another `label` to
    compare models. Returns the matplotlib axes. ValueError as in the metric.
    """
    shares, _ = by_length(right, lengths, edges)
    edges = np.asarray(edges, np.float64)
    ax = new_axes() if ax is None else ax
    fresh = not any(line.get_gid() == "share" for line in ax.lines)
    ax.plot((edges[:-1] + edges[1:]) / 2, shares, "o-", ms=4, label=label, gid="share")
    if fresh and chance is not None:
        ax.axhline(chance, color="#808080", lw=1, ls="--", label="chance")
    if fresh and trained is not None:
        ax.axvspan(trained, edges[-1], color="#f0b429", alpha=0.15, lw=0, label="not trained on")
    ax.set(xlabel="length in steps", ylabel="accuracy", ylim=(0, 1.03), xlim=(edges[0], edges[-1]))
    ax.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if label or chance is not None or trained is not None:
        ax.legend(frameon=False, loc="lower left")
    return ax
