"""What the rows of the board say: a score, a pace, a picture."""

import collections
from typing import Any

import numpy as np


# What trains for one row, side by side.
SEEDS, RATES = 3, (1e-3, 3e-3, 1e-2)
MEMBERS = SEEDS * len(RATES)


def score(row: dict[str, Any]) -> float:
    """How much of the way from chance to a perfect answer, between 0 and 1.

    For an error the way is counted in powers of ten, down to a thousandth of chance.
    """
    median, chance = float(row["median"]), float(row["chance"])
    if row["figure"] == "accuracy":
        return max(0.0, (median - chance) / (1 - chance))
    return float(np.clip(-np.log10(max(median, 1e-12) / chance) / 3, 0, 1))


def pace(row: dict[str, Any]) -> float:
    """Seconds of 1000 training steps of one model, compiling included."""
    # The table has tenths of a second: a run that shows none took less than half of one.
    return 1000 * max(float(row["seconds"]), 0.05) / (int(row["steps"]) * MEMBERS)


def picture(rows: list[dict[str, Any]]) -> Any:
    """Mean score over the tasks against the pace, a point for each cell, by family.

    Over the tasks that every cell has, once there are some.
    """
    tasks = collections.Counter(row["task"] for row in rows)
    common = [task for task in tasks if tasks[task] == len({row["cell"] for row in rows})]
    rows = [row for row in rows if not common or row["task"] in common]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.autoscale(False)  # a single point has no scale of its own
    families = list(dict.fromkeys(row["family"] for row in rows))
    points = {}
    for i, family in enumerate(families):
        cells = list(dict.fromkeys(row["cell"] for row in rows if row["family"] == family))
        for j, cell in enumerate(cells):
            own = [row for row in rows if row["cell"] == cell]
            x = np.exp(np.mean([np.log(pace(row)) for row in own]))
            points[cell] = x, np.mean([score(row) for row in own])
            label = None if j else family
            ax.plot(*points[cell], "o", color=f"C{i % 10}", ms=5, label=label)
    paces = [x for x, _ in points.values()]
    ax.set(
        xlim=(min(paces) / 1.3, max(paces) * 1.3),
        xlabel="seconds for 1000 training steps, compiling included",
        ylabel=f"mean score over {len({row['task'] for row in rows})} tasks",
        ylim=(0, min(1.02, 1.3 * max(y for _, y in points.values()) + 0.01)),
    )
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    figure.draw_without_rendering()
    _name_points(ax, points)
    return figure


def _name_points(ax: Any, points: dict[str, tuple[float, float]]) -> None:
    """Names beside their points, each where it covers the fewest others."""
    size, scale = 7, ax.figure.dpi / 72
    places = {name: ax.transData.transform(place) / scale for name, place in points.items()}
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places.values()]
    for name, (x, y) in places.items():
        width = 0.6 * size * len(name)
        starts = [(x + 4, y - 3), (x - 4 - width, y - 3)]
        starts += [(x - width / 2 + s, y + t) for t in (5, -5 - size, 13) for s in (0, width / 2)]
        boxes = [(u, v, u + width, v + size) for u, v in starts]
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        offset = best[0] - x, best[1] - y
        ax.annotate(name, points[name], textcoords="offset points", xytext=offset, fontsize=size)


def _overlap(one: tuple, other: tuple) -> float:
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    return max(sides[0], 0.0) * max(sides[1], 0.0)
