"""Pictures of dynamical systems: fixed points, phase portraits, bifurcations."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._common.vectors import state_vector
from ..dynamics import FixedPoints
from ..dynamics.points import as_system
from ..dynamics.search import after
from ._axes import new_axes
from ._planes import both_parts, draw_lines, in_plane, label_plane


def fixed_points(points: FixedPoints, states: Any = None, ax: Any = None) -> Any:
    """Fixed points among the states, by principal components; stable ones are full.

    `points`: from `rz.dynamics.fixed_points`; `states` (time, n) or (samples, time, n), vectors of
    states whose plane is taken and which are drawn as thin lines, by default the points' own plane.
    A point without unstable directions is a dot, one with k of them a ring that names k, and the
    points of a continuous set are small dots. The states of an orbit belong together by a dashed
    line. Returns the matplotlib axes. ValueError for no points, or states of another size.
    """
    if not len(points):
        raise ValueError("expected at least one fixed point to draw, got none")
    size = points.vectors.shape[1]
    known = points.vectors[None] if states is None else both_parts(np.asarray(states))
    known = known[None] if known.ndim == 2 else known
    if known.ndim != 3 or known.shape[-1] != size:
        raise ValueError(
            f"expected states (time, {size}) or (samples, time, {size}), got {known.shape}"
        )
    runs, shares, places = in_plane(known, points.orbits.reshape(-1, size))
    places = places.reshape(*points.orbits.shape[:2], 2)
    ax = new_axes(figsize=(4.8, 4.2)) if ax is None else ax
    if states is not None:
        draw_lines(ax, runs, None)
    alone = np.array([np.sum(points.sets == one) == 1 for one in points.sets])
    for orbit in places[alone] if places.shape[1] > 1 else ():
        ax.plot(*np.concatenate([orbit, orbit[:1]]).T, "--", lw=0.8, color="#555555", zorder=3)
    ax.plot(*places[~alone].reshape(-1, 2).T, ".", ms=4, color="#1f6f50", ls="", zorder=4)
    for k in np.unique(points.unstable[alone]):
        chosen = places[alone & (points.unstable == k)].reshape(-1, 2)
        word = "stable" if k == 0 else f"{k} unstable"
        fill = "#1f6f50" if k == 0 else "white"
        edge = "white" if k == 0 else "#c4472f"
        ax.plot(*chosen.T, "o", ms=8, mfc=fill, mec=edge, ls="", zorder=5, label=word)
        for place in chosen if k else ():
            ax.annotate(str(k), place, ha="center", va="center", fontsize=6, zorder=6)
    label_plane(ax, shares)
    if alone.any():
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def phase_portrait(
    cell: Any,
    x: Any,
    points: FixedPoints | None = None,
    ax: Any = None,
    *,
    dt: float | None = None,
    low: float = -1.5,
    high: float = 1.5,
    through: Any = None,
    directions: Any = None,
) -> Any:
    """The flow F(h) - h of a step with the constant input `x` in a plane of states.

    `through` (n,), the origin by default, and `directions` (2, n), the first two numbers of the
    state by default, span the plane, from `low` to `high` in units of the directions; of a larger
    state, what leads out of the plane is not seen. `points` are drawn where the plane holds them,
    within 1e-3. Returns the matplotlib axes. ValueError for other shapes or fewer than two numbers
    in a state; errors of the cell as in `rz.dynamics.fixed_points`.
    """
    size = len(state_vector(cell.init_state()))
    base = np.zeros(size) if through is None else np.asarray(through, float)
    spans = np.eye(2, size) if directions is None else np.asarray(directions, float)
    if size < 2 or base.shape != (size,) or spans.shape != (2, size) or not low < high:
        raise ValueError(
            f"expected through ({size},), directions (2, {size}), two numbers or more in a state "
            f"and low < high, got {base.shape}, {spans.shape}, {low} and {high}"
        )
    side = np.linspace(low, high, 25)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    vectors = base + grid.reshape(-1, 2) @ spans
    system, starts = as_system(cell, x, jnp.asarray(vectors), dt)
    back = np.linalg.pinv(spans)
    flow = ((np.asarray(after(system, starts, 1)) - vectors) @ back).reshape(*grid.shape)
    ax = new_axes(figsize=(4.4, 4.4)) if ax is None else ax
    speed = np.linalg.norm(flow, axis=-1)
    shown = ax.streamplot(side, side, flow[..., 0], flow[..., 1], color=speed, linewidth=0.8)
    ax.figure.colorbar(shown.lines, ax=ax, label="speed", fraction=0.05, pad=0.02)
    if points is not None:
        inside = (points.vectors - base) @ back
        near = np.linalg.norm(base + inside @ spans - points.vectors, axis=1) < 1e-3
        for stable, fill in ((True, "#1f6f50"), (False, "white")):
            chosen = inside[near & (points.stable == stable)]
            ax.plot(*chosen.T, "o", ms=7, mfc=fill, mec="black", ls="", zorder=5)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    names = ("h[0]", "h[1]") if directions is None else ("first direction", "second direction")
    ax.set(xlabel=names[0], ylabel=names[1])
    return ax


def bifurcation(values: Any, outputs: Any, ax: Any = None, *, label: str = "parameter") -> Any:
    """Every output after the washout above the parameter it belongs to.

    `values` (values,) and `outputs` (values, steps, outputs), as `rz.dynamics.bifurcation` gives
    them; the first output is drawn. Returns the matplotlib axes. ValueError for other shapes.
    """
    values, outputs = np.asarray(values), np.asarray(outputs)
    if values.ndim != 1 or outputs.ndim != 3 or len(outputs) != len(values):
        raise ValueError(
            "expected values (values,) and outputs (values, steps, outputs), got "
            f"{values.shape} and {outputs.shape}"
        )
    ax = new_axes(figsize=(5.6, 3.6)) if ax is None else ax
    across = np.broadcast_to(values[:, None], outputs.shape[:2])
    ax.plot(across.ravel(), outputs[..., 0].ravel(), ",", color="#20435c", alpha=0.6)
    ax.set(xlabel=label, ylabel="output")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
