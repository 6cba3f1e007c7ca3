"""benchmarks/README.md and its picture, from the rows on file."""

import importlib
import itertools
from typing import NamedTuple

from . import call
from .tables import FOLDER, ROWS, read


class Part(NamedTuple):
    """A table of the page: ratios to the first rival, or the columns `keys` as they are."""

    title: str
    name: str
    keys: tuple[str, ...]
    value: str | None
    extra: dict[str, str] = {}
    """Further columns of the first rival, and their headings."""
    about: str = ""
    benchmark: bool = True
    """Whether `speed/` has a file of this name; others have their rows from the one before."""


COMPILING = {"tracing": "tracing", "compiling": "compiling"}
FLOOR = {"us_per_step": "us per step", "of_floor": "ours / floor", "memory_mb": "MB"}
REMAT = ("jax", "shape", "rival", "ms", "of_scan", "memory_mb", "memory_of_scan")
CELLS = "A training step at (32, 256, 16, 128)."
LINEAR = "A training step at (32, 256, 16, 128). Measured beside other work: read the ratios alone."
WHOLE = "Cells with their products, inputs as wide as the cell."
TORCH = "A training step at (32, 256, 16, 128), two threads, ours compiled, theirs in eager torch."
COUNT = {"recurrences": "linear recurrences"}
LIQUID = "The weights of ncps, (32, 128, 16), LTC with 6 unfolds."
SYNAPSES = "Temporary memory of the gradient of an LTC of 512 units, batch 32, 32 steps:"
RESERVOIRS = "The matrices of reservoirpy, 10 000 steps of one series."
SIX = "A training step of six layers."
NOTHING = "A training step, and its time over that with nothing set."
DEVICES = ("jax", "part", "case", "figure", "value", "asked")
SEVERAL = "Devices forced on one CPU; `asked` is the aim. Ratios of times need a machine at rest."
LAYERS = ("jax", "layer", "shape", "pass")
PASS = ("jax", "cell", "shape", "pass")
TWO = (
    "jax",
    "figure",
    "pass",
    "before",
    "after",
    "after_of_before",
    "peer",
    "after_of_peer",
    "asked",
)
TAKEN = {"taken": "abreast is taken"}
ABREAST = "Loops that are not linear, a batch in front of the other axes of a state or behind them."
BUILDS = "Milliseconds in two checkouts, the older first, and beside a peer; `asked` is the aim."
PARTS = (
    Part("LSTM and GRU layers", "layers", LAYERS, "ms", FLOOR),
    Part("Small cells", "cells", ("jax", "cell"), "ms", {"same": "same function"}, CELLS),
    Part("Beside torchrecurrent", "torch_cells", ("jax", "cell"), "ms", about=TORCH),
    Part("Linear cells", "linear_cells", ("jax", "cell"), "ms", COUNT, LINEAR),
    Part("Linear cells over long sequences", "linear_layers", PASS, "ms", about=WHOLE),
    Part("Samples in front and abreast", "abreast", PASS, "ms", TAKEN, ABREAST),
    Part("Liquid cells", "liquid", ("jax", "layer", "pass"), "ms", about=LIQUID),
    Part("", "synapses", ("jax", "synapses", "memory_mb"), None, about=SYNAPSES, benchmark=False),
    Part("Reservoirs", "echo_state", ("jax", "task", "units"), "seconds", about=RESERVOIRS),
    Part("Memory", "memory", REMAT, None),
    Part("Streaming", "streaming", ("jax", "input", "hidden"), "us_per_step"),
    Part("Compiling", "compiling", ("jax", "layer"), "seconds", COMPILING, SIX),
    Part("Environment", "settings", ("jax", "step"), "ms", about=NOTHING),
    Part("Before and after", "before_after", TWO, None, about=BUILDS, benchmark=False),
    Part("Several devices, large files", "devices", DEVICES, None, about=SEVERAL),
)
TOP = 8  # of the picture's panels
START, END = "<!-- tables: made by python -m benchmarks report -->", "<!-- end of tables -->"


def rows(name: str) -> list[dict[str, str]]:
    return read(ROWS / f"{name}.csv")


def wide(part: Part) -> list[str]:
    """One line for each key: our figures, and the time of every rival over ours."""
    _, name, keys, value, extra, *_ = part
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


def measured(name: str) -> str:
    made = {f"jax {r['jax']}, Python {r['python']}, {r['device']}, {r['date']}" for r in rows(name)}
    return "Measured with " + "; ".join(sorted(made)) + "."


def lines(part: Part) -> list[str]:
    """A part of the page, and an empty line behind it; nothing where nothing is measured."""
    if not rows(part.name):
        return []
    said = " ".join(filter(None, (part.about, measured(part.name) if part.title else "")))
    table = plain(part) if part.value is None else wide(part)
    found = [said, "", *table, ""]
    if part.title:
        found = [f"## {part.title}", "", *found]
    if part.name == "layers":
        found += ["![time over the floor](rows/layers.png)", ""]
    return found


def plain(part: Part) -> list[str]:
    columns = part.keys
    body = ["| " + " | ".join(row[c] for c in columns) + " |" for row in rows(part.name)]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *body]


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
        for part in (part for part in PARTS if part.benchmark):
            try:
                importlib.import_module(f".speed.{part.name}", __package__).main([])
            except SystemExit as missing:  # a table without its peer
                print(missing)
    path = FOLDER / "README.md"
    text = path.read_text()
    before, after = text[: text.index(START)], text[text.index(END) :]
    path.write_text("\n".join([before + START, "", *itertools.chain(*map(lines, PARTS)), after]))
    picture()
