"""Eigenvalues in the plane, gradients over time."""

from typing import Any

import numpy as np

from ._axes import matplotlib_module, new_axes


def eigenvalues(values: Any, ax: Any = None, *, label: str | None = None) -> Any:
    """Eigenvalues in the complex plane with the unit circle, as `rz.dynamics.spectrum` gives them.

    `values`: complex, of any shape: one matrix or many. The legend says how many lie outside
    the circle, by more than rounding (1e-5). Returns the matplotlib axes. ValueError for
    no values or values that are not finite.
    """
    values = np.ravel(np.asarray(values))
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"expected finite eigenvalues, got {np.array2string(values, threshold=8)}")
    ax = new_axes(figsize=(4.8, 5.2)) if ax is None else ax
    if not any(line.get_gid() == "unit circle" for line in ax.lines):
        _unit_circle(ax)
    outside = int((np.abs(values) > 1 + 1e-5).sum())
    name = f"{label}: " if label else ""
    ax.plot(
        values.real,
        values.imag,
        "o",
        ms=5,
        alpha=max(0.15, min(0.8, 60 / values.size)),
        mew=0,
        label=f"{name}{outside} of {values.size} outside",
    )
    ax.set(xlabel="real part", ylabel="imaginary part")
    legend = ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)
    return ax


def _unit_circle(ax: Any) -> None:
    angles = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angles), np.sin(angles), color="#808080", lw=1, gid="unit circle")
    for line in (ax.axhline, ax.axvline):
        line(0, color="#808080", lw=0.5, alpha=0.5, gid="axis")
    ax.set_aspect("equal", adjustable="box")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib_module("ticker").MaxNLocator(5, steps=[1, 5, 10]))
    ax.spines[["top", "right"]].set_visible(False)


def gradient_lag(norms: Any, ax: Any = None, *, label: str | None = None) -> Any:
    """Gradient norm over the time lag, (lags,) from lag 0 on, as `rz.dynamics.gradient_norms`.

    The norm is on a logarithmic scale, where c^k is a straight line; a dashed line at 1 is
    what orthogonal steps keep. A norm that came out as zero is not drawn. Call it again
    with the same axes and another `label` to compare cells. Returns the matplotlib axes.
    ValueError for another shape.
    """
    norms = np.asarray(norms)
    if norms.ndim != 1:
        raise ValueError(f"expected norms of shape (lags,), got {norms.shape}")
    ax = new_axes() if ax is None else ax
    if not any(line.get_gid() == "one" for line in ax.lines):
        ax.axhline(1.0, color="#808080", lw=1, ls="--", gid="one")
        ax.set(xlabel="lag in steps", ylabel="gradient norm", yscale="log")
        ax.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    ax.plot(np.arange(len(norms)), np.where(norms > 0, norms, np.nan), lw=2, label=label)
    if label:
        ax.legend(frameon=False)
    return ax
