"""benchmarks/README.md and its picture, from the rows on file."""

import importlib

from . import call
from .tables import FOLDER, ROWS, read


# What the page is made from, in its order.
TABLES = (
    *("layers", "cells", "liquid", "echo_state"),
    *("memory", "streaming", "compiling", "settings"),
)
TOP = 8  # of the picture's panels
START, END = "<!-- tables: made by python -m benchmarks report -->", "<!-- end of tables -->"


def rows(name: str) -> list[dict[str, str]]:
    return read(ROWS / f"{name}.csv")


def wide(name: str, keys: tuple[str, ...], value: str, extra: dict[str, str]) -> list[str]:
    """One line for each key: our figures, and the time of every rival over ours."""
    found = rows(name)
    rivals = list(dict.fromkeys(row["rival"] for row in found))
    lines: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in found:
        lines.setdefault(tuple(row[k] for k in keys), {})[row["rival"]] = row
    first, *others = rivals
    head = [*keys, f"{first}, {value}", *extra.values(), *(f"{r} / {first}" for r in others)]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key, line in lines.items():
        mine = line[first]
        ratios = [
            f"{float(line[r][value]) / float(mine[value]):.2f}" if r in line else "" for r in others
        ]
        table.append(
            "| " + " | ".join([*key, mine[value], *(mine[e] for e in extra), *ratios]) + " |"
        )
    return table


def about(name: str) -> str:
    made = {f"jax {r['jax']}, Python {r['python']}, {r['device']}, {r['date']}" for r in rows(name)}
    return "Measured with " + "; ".join(sorted(made)) + "."


def tables() -> list[str]:
    extra = {"us_per_step": "us per step", "of_floor": "ours / floor", "memory_mb": "MB"}
    return [
        "## LSTM and GRU layers",
        "",
        about("layers"),
        "",
        *wide("layers", ("jax", "layer", "shape", "pass"), "ms", extra),
        "",
        "![time over the floor](rows/layers.png)",
        "",
        "## Small cells",
        "",
        "A training step at (32, 256, 16, 128). " + about("cells"),
        "",
        *wide("cells", ("jax", "cell"), "ms", {"same": "same function"}),
        "",
        "## Liquid cells",
        "",
        "The weights of ncps, (32, 128, 16), LTC with 6 unfolds. " + about("liquid"),
        "",
        *wide("liquid", ("jax", "layer", "pass"), "ms", {}),
        "",
        "Temporary memory of the gradient of an LTC of 512 units, batch 32, 32 steps:",
        "",
        *plain("synapses", ("jax", "synapses", "memory_mb")),
        "",
        "## Reservoirs",
        "",
        "The matrices of reservoirpy, 10 000 steps of one series. " + about("echo_state"),
        "",
        *wide("echo_state", ("jax", "task", "units"), "seconds", {}),
        "",
        "## Memory",
        "",
        about("memory"),
        "",
        *plain("memory", ("jax", "shape", "rival", "ms", "of_scan", "memory_mb", "memory_of_scan")),
        "",
        "## Streaming",
        "",
        about("streaming"),
        "",
        *wide("streaming", ("jax", "input", "hidden"), "us_per_step", {}),
        "",
        "## Compiling",
        "",
        "A training step of six layers. " + about("compiling"),
        "",
        *wide(
            "compiling",
            ("jax", "layer"),
            "seconds",
            {"tracing": "tracing", "compiling": "compiling"},
        ),
        "",
        "## Environment",
        "",
        "A training step, and its time over that with nothing set. " + about("settings"),
        "",
        *wide("settings", ("jax", "step"), "ms", {}),
    ]


def plain(name: str, columns: tuple[str, ...]) -> list[str]:
    lines = ["| " + " | ".join(row[c] for c in columns) + " |" for row in rows(name)]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *lines]


def picture() -> None:
    """Time over the floor of every rival, one panel for each layer and pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = rows("layers")
    newest = max({row["jax"] for row in found}, key=lambda v: tuple(map(int, v.split(".")[:3])))
    found = [row for row in found if row["jax"] == newest]
    shapes = list(dict.fromkeys(row["shape"] for row in found))
    rivals = list(dict.fromkeys(row["rival"] for row in found))
    figure, axes = plt.subplots(2, 2, figsize=(11, 6), sharex=True, layout="constrained")
    for row, layer in zip(axes, ("lstm", "gru")):
        for ax, what in zip(row, ("forward", "training")):
            off = []  # bars that leave the panel
            for i, rival in enumerate(rivals):
                mine = {
                    r["shape"]: float(r["of_floor"])
                    for r in found
                    if (r["layer"], r["pass"], r["rival"]) == (layer, what, rival)
                }
                places = [j + 0.8 * (i + 0.5) / len(rivals) - 0.4 for j in range(len(shapes))]
                heights = [mine.get(shape, 0.0) for shape in shapes]
                off += [pair for pair in zip(places, heights) if pair[1] > TOP]
                ax.bar(places, heights, 0.8 / len(rivals), label=rival)
            ax.axhline(1.0, color="black", linewidth=0.8)
            ax.set_ylim(0, TOP)
            outside = {"ha": "center", "va": "top", "color": "white", "size": 7}
            for place, height in off:
                ax.annotate(f"{height:.0f}", (place, TOP), **outside)
            ax.set_title(f"{layer}, {what}")
            ax.set_xticks(range(len(shapes)), shapes)
    for ax in axes[:, 0]:
        ax.set_ylabel("time / floor")
    for ax in axes[-1]:
        ax.set_xlabel("batch x time x input x hidden")
    axes[0, 0].legend(ncols=len(rivals), fontsize="small")
    figure.suptitle(f"LSTM and GRU layers, jax {newest}: 1 is what the matrix products alone take")
    figure.savefig(ROWS / "layers.png", dpi=110)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, "It writes benchmarks/README.md and benchmarks/rows/layers.png.")
    parser.add_argument(
        "--measure", action="store_true", help="every table first; 30 minutes, and nothing beside"
    )
    if parser.parse_args(arguments).measure:
        for name in TABLES:
            try:
                importlib.import_module(f".speed.{name}", __package__).main([])
            except SystemExit as missing:  # a table without its peer
                print(missing)
    path = FOLDER / "README.md"
    text = path.read_text()
    before, after = text[: text.index(START)], text[text.index(END) :]
    path.write_text("\n".join([before + START, "", *tables(), "", after]))
    picture()
