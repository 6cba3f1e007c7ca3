"""The tables of README and pages, from the registry, the data sets and the rows of benchmarks.

python docs/tables.py            rewrites the tables between their markers
python docs/tables.py --check    exits with 1 if a page differs
"""

import html
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

import rnn_zoo as rz


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from reference_pages import FAMILIES

from benchmarks.quality.scores import pace, score
from benchmarks.tables import ROWS, read


PAGES = ROOT / "docs" / "pages"


ELSEWHERE = {
    "digits": "GRU 0.844, LSTM 0.863, 64 units (measured with Equinox)",
    "permuted_digits": "GRU 0.72, LSTM 0.74 (measured with Equinox)",
    "mnist1d": "MLP 0.68, CNN 0.94, GRU 0.91 "
    "([arXiv:2011.14439](https://arxiv.org/abs/2011.14439)); GRU 0.980 (measured with Equinox)",
    "copy_1000": "without memory 0.125; LSTM does not learn it "
    "([arXiv:1511.06464](https://arxiv.org/abs/1511.06464))",
}


RESERVOIRS = {
    "mackey_glass_1": (
        "Mackey-Glass, one step: NRMSE",
        "ESN 300: 1e-4 (measured with reservoirpy)",
    ),
    "mackey_glass_10": (
        "Mackey-Glass, ten steps: NRMSE",
        "ESN 300: 6.4e-4 (measured with reservoirpy)",
    ),
    "narma10": (
        "NARMA10: NMSE",
        "ESN 200: 0.067 (measured with reservoirpy), 0.04 (Rodan & Tino 2011)",
    ),
    "laser": (
        "Santa Fe laser, one step: NMSE",
        "ESN 300: 0.0030, chosen on the test part (measured with reservoirpy); "
        "ESN 200: about 0.008 (Rodan & Tino 2011)",
    ),
    "lorenz": ("Lorenz, closed loop: Lyapunov times", "13 and more are reported"),
    "japanese_vowels": (
        "Japanese Vowels: accuracy",
        "ESN 500: 0.990 (measured with reservoirpy)",
    ),
}


BOARD = {
    "japanese_vowels": "Japanese Vowels",
    "permuted_digits": "permuted digits",
    "adding_100": "adding, T = 100",
    "copy_50": "copy, lag 50",
    "mackey_glass": "Mackey-Glass",
    "xor_events": "XOR events",
    "parity": "parity, longer",
    "modular_arithmetic": "modular arithmetic, longer",
    "mqar_tiny": "MQAR, 2 of 16",
    "mqar_small": "MQAR, 4 of 64",
}


def families() -> str:
    lines = ["| family | what they are | cells |", "|---|---|---|"]
    for family, (title, what) in FAMILIES.items():
        anchor = title.lower().replace(" ", "-")
        names = ", ".join(f"`{name}`" for name in _of(family))
        lines.append(f"| [{title}](docs/pages/all_cells.md#{anchor}) | {plain(what)} | {names} |")
    return "\n".join(lines)


def cells() -> str:
    lines = []
    for family, (title, what) in FAMILIES.items():
        lines += [f"## {title}", "", plain(what), ""]
        lines += ["| name | class | equation | paper | linear | timed |", "|---" * 6 + "|"]
        lines += [*map(_row, _of(family)), ""]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Markdown of the few tags that a family's text has."""
    return re.sub(r"</?code>", "`", text)


def _of(family: str) -> list[str]:
    return [name for name in rz.list_cells() if rz.cell_info(name).family == family]


def _row(name: str) -> str:
    info = rz.cell_info(name)
    flags = ["yes" if flag else "" for flag in (info.linear, info.timed)]
    paper = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", info.paper)
    made = f"`{info.cls.__name__}`" + (f", models `{info.block}`" if info.block else "")
    made += "".join(f"; {_other(*row)}" for row in info.covers.items())
    return "| " + " | ".join([f"`{name}`", made, code(info.equation), paper, *flags]) + " |"


def code(text: str) -> str:
    """A bar would end the column, and readers of Markdown do not agree on how to escape it."""
    if "|" not in text:
        return f"`{text}`"
    return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"


def _other(name: str, options: Mapping[str, Any]) -> str:
    """A published name that a cell has with these options."""
    given = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}: `{given}`" if given else name


def data() -> str:
    lines = ["| name | task | train / valid / test | what |", "|---|---|---|---|"]
    for name in rz.data.list_datasets():
        dataset = rz.data.load(name, key=jax.random.key(0))
        parts = (dataset.train, dataset.valid, dataset.test)
        sizes = " / ".join("-" if p is None else str(len(p)) for p in parts)
        info = dataset.info
        lines.append(f"| `{name}` | {info.task} | {sizes} | {info.description} |")
    return "\n".join(lines)


def rows_of(name: str) -> dict[tuple[str, str], dict[str, str]]:
    """By task and cell."""
    return {(row["task"], row["cell"]): row for row in read(ROWS / f"{name}.csv")}


def zoo() -> str:
    rows = rows_of("zoo")
    lines = [
        "| cell | adding, 200 steps: error | seconds | permuted digits: accuracy | seconds "
        "| parameters | options |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in rz.list_cells():
        if ("adding_200", name) not in rows or ("permuted_digits", name) not in rows:
            continue
        one, two = rows["adding_200", name], rows["permuted_digits", name]
        cells = [f"`{name}`", error(one), one["seconds"], f"{float(two['figure']):.3f}"]
        cells += [two["seconds"], one["parameters"], one["options"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory() -> str:
    lines = ["| cell | error | training steps | seconds | parameters | options |"]
    lines.append("|---|---|---|---|---|---|")
    for (task, name), row in rows_of("zoo").items():
        if task == "adding_500":
            cells = [f"`{name}`", error(row), row["steps"], row["seconds"]]
            lines.append("| " + " | ".join([*cells, row["parameters"], row["options"]]) + " |")
    return "\n".join(lines)


def irregular() -> str:
    lines = [
        "| model | XOR events: accuracy | Lorenz: error | at half the gaps | at twice | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in read(ROWS / "irregular_time.csv"):
        errors = [f"{float(row[name]):.2g}" for name in ("lorenz_0.1", "lorenz_0.05", "lorenz_0.2")]
        cells = [row["model"], f"{float(row['xor']):.3f}", *errors, row["seconds"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missing() -> str:
    """Japanese Vowels, and below it the forecasts of Lorenz 63."""
    vowels = _by_share("missing_values", "accuracy", "{:.3f}")
    lorenz = _by_share("missing_lorenz", "error", "{:.4f}")
    about = (
        "Lorenz 63, one sample ahead, `python -m benchmarks missing_lorenz`: the root mean square "
        "error in\ndeviations of the series, GRUs in one direction."
    )
    return f"{vowels}\n\n{about}\n\n{lorenz}"


def _by_share(name: str, figure: str, shown: str) -> str:
    rows = read(ROWS / f"{name}.csv")
    shares = sorted({row["missing"] for row in rows}, key=float)
    lines = ["| missing | " + " | ".join(f"{float(share):.0%}" for share in shares) + " |"]
    lines.append("|---" * (1 + len(shares)) + "|")
    found = {(row["model"], row["missing"]): shown.format(float(row[figure])) for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = [found.get((model, share), "") for share in shares]
        lines.append("| " + " | ".join([model, *cells]) + " |")
    return "\n".join(lines)


def state_spaces() -> str:
    lines = ["| task | cell | accuracy | parameters | steps | seconds | measured elsewhere |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in read(ROWS / "state_spaces.csv"):
        cells = [row["task"], f"`{row['cell']}`", f"{float(row['accuracy']):.3f}"]
        cells += [row["parameters"], row["steps"], row["seconds"], ELSEWHERE[row["task"]]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reservoirs() -> str:
    lines = [
        "| task | median | range | settings tried | seconds | published or measured elsewhere |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for row in read(ROWS / "reservoirs.csv"):
        what, published = RESERVOIRS[row["task"]]
        cells = [
            what,
            row["median"],
            row["range"],
            row["settings_tried"],
            row["seconds"],
            published,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def leaderboard() -> str:
    rows = rows_of("board")
    heads = "cell", *BOARD.values(), "score", "1000 steps", "parameters", "state"
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in rz.list_cells():
        own = [rows[task, name] for task in BOARD if (task, name) in rows]
        figures = [place(rows[task, name]) if (task, name) in rows else "" for task in BOARD]
        if own:
            mean = sum(map(score, own)) / len(own)
            seconds = sum(map(pace, own)) / len(own)
            figures.append(f"{mean:.2f}" if len(own) == len(BOARD) else "")
            sizes = [between(row[size] for row in own) for size in ("parameters", "state")]
            lines.append(f"| `{name}` | {' | '.join([*figures, f'{seconds:.0f} s', *sizes])} |")
    return "\n".join(lines)


def between(numbers: Iterable[str]) -> str:
    """The smallest and the largest."""
    low, *_, high = sorted([*map(int, numbers)] * 2)
    return str(low) if low == high else f"{low}-{high}"


def place(row: dict[str, str]) -> str:
    """A figure of the board: bold where the task counts as solved, † where time ran out early."""
    median, chance = float(row["median"]), float(row["chance"])
    accuracy = row["figure"] == "accuracy"
    solved = score(row) >= 0.9 if accuracy else median <= chance / 50
    text = f"{median:.3f}" if accuracy else f"{median:.2g}"
    early = 2 * int(row["steps"]) < int(row["of_steps"])
    return (f"**{text}**" if solved else text) + ("†" if early else "")


def languages() -> str:
    rows = rows_of("formal_languages")
    heads = "task", "cell", "state", "parameters", "up to 40", "longer: best", "median", "seconds"
    lines = ["| " + " | ".join(heads) + " |"]
    lines.append("|---" * 8 + "|")
    names = "state", "parameters", "known_lengths", "longer_best", "longer_median", "seconds"
    for (task, cell), row in rows.items():
        lines.append("| " + " | ".join([task, cell, *(row[name] for name in names)]) + " |")
    return "\n".join(lines)


def in_chunks() -> str:
    """Trained networks, and below them how well their passes were foreseen."""
    heads = "network", "level", "passes", "times fewer steps in a row", "apart from the loop"
    lines = [f"| {' | '.join((*heads, 'passes foreseen'))} |", "|---" * 6 + "|"]
    rows = [row for row in read(ROWS / "in_chunks.csv") if " " in row["network"]]
    for row in rows:
        if "," not in row["network"]:
            passes = row["passes"] + (f" and {row['reruns']} chunks" if int(row["reruns"]) else "")
            cells = [row["network"], row["level"], passes, row["fewer"], row["apart"]]
            lines.append(f"| {' | '.join([*cells, row['passes_foreseen']])} |")
    apart = [row for row in rows if "," in row["network"]]
    off = [abs(int(row["passes"]) - int(row["passes_foreseen"])) for row in apart]
    right = sum(each <= 1 for each in off), sum(each == 0 for each in off)
    told = (
        f"For {right[0]} of {len(off)} networks of other seeds, on other inputs, the passes "
        f"foreseen are right within one, for {right[1]} exactly."
    )
    return "\n".join([*lines, "", told])


def long_strings() -> str:
    """What an LSTM says of strings, short and long."""
    lines = [
        "| task | 41 to 256 symbols | 65,536 symbols, in chunks | times fewer steps in a row |"
    ]
    lines.append("|---" * 4 + "|")
    for row in read(ROWS / "in_chunks.csv"):
        task, _, cell = row["network"].partition(" ")
        if cell == "lstm" and row["right"]:
            figures = [f"{100 * float(row[name]):.1f}" for name in ("right_to_256", "right")]
            lines.append(f"| {' | '.join([task.replace('_', ' '), *figures, row['fewer']])} |")
    return "\n".join(lines)


def reconstructions() -> str:
    heads = ["cell", "noise", "Lyapunov times", "range", "from noise", "divergence", "spectra"]
    heads += ["exponent", "parameters", "seconds"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in read(ROWS / "reconstruction.csv"):
        own = row["cell"] == "lorenz"
        named = ["the system itself", ""] if own else [f"`{row['cell']}`", row["noise"]]
        figures = ("lyapunov_times", "range", "from_noise", "divergence", "spectra", "exponent")
        sizes = ["", ""] if own else [row["parameters"], row["seconds"]]
        lines.append("| " + " | ".join([*named, *(row[name] for name in figures), *sizes]) + " |")
    return "\n".join(lines)


def error(row: dict[str, str]) -> str:
    figure = f"{float(row['figure']):.2g}"
    return f"**{figure}**" if float(row["figure"]) < 0.02 else figure


TABLES = {
    ROOT / "README.md": {"families": families},
    PAGES / "all_cells.md": {"cells": cells},
    PAGES / "data_sets.md": {"data": data},
    PAGES / "which_cell.md": {"board": leaderboard},
    PAGES / "howto" / "chunks.md": {"in_chunks": in_chunks, "long_strings": long_strings},
    PAGES / "published.md": {
        "zoo": zoo,
        "memory": memory,
        "irregular": irregular,
        "missing": missing,
        "state_spaces": state_spaces,
        "reservoirs": reservoirs,
        "reconstructions": reconstructions,
        "languages": languages,
    },
}


def main() -> int:
    differs = False
    for path, tables in TABLES.items():
        old = new = path.read_text()
        for name, make in tables.items():
            start, end = f"<!-- {name}: made by docs/tables.py -->\n", f"<!-- end of {name} -->"
            before, rest = new.split(start)
            new = before + start + make() + "\n" + end + rest.split(end, 1)[1]
        differs |= new != old
        if "--check" not in sys.argv:
            path.write_text(new)
    return int(differs and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
