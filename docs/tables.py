"""The README's tables, from the registry and the data sets.

python docs/tables.py            rewrites the tables between their markers in README.md
python docs/tables.py --check    exits with 1 if the README differs
"""

import re
import sys
from pathlib import Path

import jax

import rnn_zoo as rz


README = Path(__file__).parent.parent / "README.md"


def cells() -> str:
    lines = ["| name | class | equation | paper | linear | timed |", "|---|---|---|---|---|---|"]
    for name in rz.list_cells():
        info = rz.cell_info(name)
        flags = ["yes" if flag else "" for flag in (info.linear, info.timed)]
        paper = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", info.paper)
        row = [f"`{name}`", f"`{info.cls.__name__}`", f"`{info.equation}`", paper, *flags]
        lines.append("| " + " | ".join(cell.replace("|u|", "\\|u\\|") for cell in row) + " |")
    return "\n".join(lines)


def data() -> str:
    lines = ["| name | task | train / valid / test | what |", "|---|---|---|---|"]
    for name in rz.data.list_datasets():
        dataset = rz.data.load(name, key=jax.random.key(0))
        parts = (dataset.train, dataset.valid, dataset.test)
        sizes = " / ".join("-" if p is None else str(len(p)) for p in parts)
        info = dataset.info
        lines.append(f"| `{name}` | {info.task} | {sizes} | {info.description} |")
    return "\n".join(lines)


def main() -> int:
    old = README.read_text()
    new = old
    for name, make in {"cells": cells, "data": data}.items():
        start, end = f"<!-- {name}: made by docs/tables.py -->\n", f"<!-- end of {name} -->"
        before, rest = new.split(start)
        new = before + start + make() + "\n" + end + rest.split(end, 1)[1]
    if "--check" in sys.argv:
        return int(new != old)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
