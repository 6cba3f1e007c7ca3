"""Eigenvalues in the plane; gradients, kernels and time constants over time."""

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


def kernels(
    response: Any, ax: Any = None, *, step: float = 1.0, unit: str = "steps", start: int = 0
) -> Any:
    """What an input does to the outputs, lag by lag: `rz.dynamics.impulse_response`.

    `response`: (lags, outputs, inputs), or (lags, curves); one line for each pair. `step` is the
    time between two lags in `unit`; `start` the first lag to draw, 1 to leave out what passes
    straight through and dwarfs the rest. The thick line is the root mean square over all pairs.
    Returns the matplotlib axes. ValueError for another shape, or a start that leaves nothing.
    """
    values = np.asarray(response)
    if values.ndim not in (2, 3) or not values.size:
        raise ValueError(
            f"expected a response of shape (lags, outputs, inputs) or (lags, curves), "
            f"got {values.shape}"
        )
    if not 0 <= start < len(values):
        raise ValueError(f"expected start from 0 to {len(values) - 1}, got {start}")
    values = values.reshape(len(values), -1)[start:]
    ax = new_axes() if ax is None else ax
    lags = step * np.arange(start, start + len(values))
    many = values.shape[1] > 1
    alpha = max(0.15, min(0.8, 12 / values.shape[1]))
    ax.axhline(0.0, color="#808080", lw=0.8, gid="zero")
    ax.plot(lags, values, lw=1, alpha=alpha)
    if many:
        size = np.sqrt(np.mean(values**2, axis=1))
        ax.plot(lags, size, color="black", lw=2, label=f"root mean square of {values.shape[1]}")
        ax.legend(frameon=False)
    ax.set(xlabel=f"lag in {unit}", ylabel="response of the output")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def time_constants(
    values: Any, ax: Any = None, *, unit: str = "steps", label: str | None = None
) -> Any:
    """How long modes remember, longest first, on a logarithmic scale.

    `values`: as `rz.dynamics.time_constants` gives them, of any shape, in `unit`. Infinite ones and
    zeros are not drawn; the legend counts them. Call it again with the same axes and another
    `label` to compare cells. Returns the matplotlib axes. ValueError for negative values or none.
    """
    values = np.sort(np.ravel(np.asarray(values, np.float64)))[::-1]
    if not values.size or not (values >= 0).all():
        raise ValueError(
            f"expected time constants of at least 0, got {np.array2string(values, threshold=8)}"
        )
    ax = new_axes() if ax is None else ax
    drawn = np.isfinite(values) & (values > 0)
    counts = {"infinite": int(np.isinf(values).sum()), "zero": int((values == 0).sum())}
    left_out = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    text = ": ".join(part for part in (label, left_out) if part)
    ranks = np.arange(1, len(values) + 1)
    ax.plot(ranks[drawn], values[drawn], "o", ms=4, mew=0, label=text or None)
    ax.set(xlabel="mode, longest memory first", ylabel=f"time constant in {unit}", yscale="log")
    ax.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
    ax.grid(alpha=0.3, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    if text:
        ax.legend(frameon=False)
    return ax
