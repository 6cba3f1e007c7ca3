"""The figures of the house: how much ceremony a cell costs, and two builds side by side.

    python -m benchmarks house figures [PATH ...]     counts of one build or several
    python -m benchmarks house bits OLD NEW [CELL ...]    whether results are equal to the bit
    python -m benchmarks house times OLD NEW [CELL ... six]  tracing, compiling, running, in turn

A PATH holds a folder `rnn_zoo`. Counts come from the text alone, but for the names that stand
where a user sees them; those, and all results, come from a process of each build.
"""

import ast
import collections
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

from .call import one_of, parser


HERE = Path(__file__).resolve()
ROOT = HERE.parent.parent
FORMULA = ("step", "equation", "transition", "readout")
CONSTANTS = ("prepare", "constants")
FLAGS = ("timed", "linear", "stochastic", "recurrent_matrices", "ssm_parameters", "untimed_with")
MOST_ARGUMENTS = 6
SIX = ("six lstm layers", "six of equinox")
# What JAX may move from one release to the next; `jax.core.Tracer` alone is documented.
UNSTABLE = re.compile(
    r"jax\.interpreters|jax\.extend|jax\._src|\.ctx\b|get_bind_params|to_tangent_aval"
    r"|SymbolicZero|custom_derivatives|jax import core"
)


# --- counting the text ----------------------------------------------------------------------


def modules(path: Path) -> dict[str, tuple[str, ast.Module]]:
    """Text and tree of every file of the package, by its name there."""
    package = Path(path) / "rnn_zoo"
    found = {}
    for file in sorted(package.rglob("*.py")):
        text = file.read_text()
        found[str(file.relative_to(package))] = text, ast.parse(text)
    return found


def _lines(node: ast.AST, *, decorated: bool = True) -> int:
    above = getattr(node, "decorator_list", []) if decorated else []
    return node.end_lineno - min([node.lineno, *(d.lineno for d in above)]) + 1


def _docstring(node: ast.AST) -> int:
    return _lines(node.body[0]) if ast.get_docstring(node) else 0


def _functions(node: ast.AST) -> list:
    return [s for s in node.body if isinstance(s, ast.FunctionDef)]


def _used(cell: ast.ClassDef, names: tuple[str, ...]) -> set[str]:
    """The private methods that these methods call, and those that they call in turn."""
    methods = {f.name: f for f in _functions(cell)}
    todo, found = [n for n in names if n in methods], set()
    while todo:
        for node in ast.walk(methods[todo.pop()]):
            name = getattr(node, "attr", "")
            if name.startswith("_") and name in methods and name not in {*names, *found}:
                found.add(name)
                todo.append(name)
    return found


def cell_classes(trees: dict) -> list[ast.ClassDef]:
    """The concrete classes whose names end in Cell."""
    every = [c for _, tree in trees.values() for c in tree.body if isinstance(c, ast.ClassDef)]
    ends = [c for c in every if c.name.endswith("Cell") and not c.name.startswith("Abstract")]
    return [c for c in ends if c.bases or c.decorator_list]


def count_cell(cell: ast.ClassDef) -> collections.Counter:
    """Lines of a class by what they are for, blank lines between its parts left over."""
    count = collections.Counter(
        {
            # What registers a class stands above it.
            "lines": _lines(cell, decorated=False),
            "docstring": _docstring(cell),
            "flags": len(_flags(cell)),
        }
    )
    fields = [s for s in cell.body if isinstance(s, ast.AnnAssign | ast.Assign)]
    count["fields"] = sum(map(_lines, fields))
    helpers, for_constants = _used(cell, FORMULA), _used(cell, CONSTANTS)
    for function in _functions(cell):
        name, lines = function.name, _lines(function)
        if name == "__init__":
            count["constructor"] += lines
        elif name in CONSTANTS or name in for_constants - helpers:
            count["constants"] += lines
        elif name in FORMULA:
            count["formula"] += _lines(function, decorated=False)
        elif name in helpers:
            count["helpers"] += lines
        else:
            count["other methods"] += lines
    return count


def _flags(cell: ast.ClassDef) -> list[str]:
    names = [getattr(getattr(s, "target", None), "id", "") for s in cell.body]
    return [n for n in [*names, *(f.name for f in _functions(cell))] if n in FLAGS]


def arguments(function: ast.FunctionDef) -> int:
    """How many arguments it takes, `self` and `cls` left out."""
    spec = function.args
    names = [a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return len([n for n in names if n not in ("self", "cls")]) + sum(
        a is not None for a in (spec.vararg, spec.kwarg)
    )


def long_lists(trees: dict) -> list[tuple[int, str]]:
    """The private functions with the most arguments: of a private name, or in a private file."""
    found = []
    for file, (_, tree) in trees.items():
        private_file = any(re.match(r"_(?!_)", part) for part in Path(file).parts)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            private = re.match(r"_(?!_)", node.name) or private_file
            if private and arguments(node) > MOST_ARGUMENTS:
                found.append((arguments(node), f"{file}:{node.name}"))
    return sorted(found, reverse=True)


def _comments(trees: dict) -> tuple[int, int]:
    lines = [line.strip() for text, _ in trees.values() for line in text.splitlines()]
    return sum(line.startswith("#") for line in lines), len(lines)


def _matching(trees: dict, pattern: str | re.Pattern) -> dict[str, int]:
    found = {f: len(re.findall(pattern, text)) for f, (text, _) in trees.items()}
    return {file: number for file, number in found.items() if number}


def figures(path: Path) -> tuple[dict[str, object], dict[str, list[str]]]:
    """The counts of a build by what they are, and the names behind some of them."""
    trees = modules(path)
    cells = cell_classes(trees)
    counts = [count_cell(cell) for cell in cells]
    total = sum(counts, collections.Counter())
    bare = [c["lines"] - c["docstring"] for c in counts]
    formula, lines = total["formula"], total["lines"]
    unstable, lists = _matching(trees, UNSTABLE), long_lists(trees)
    comments, every = _comments(trees)
    names = ask(path, "names")
    found = {"cell classes": len(cells)} | dict(total)
    found |= {
        "formula, % of lines": _share(formula, lines),
        "with its helpers, %": _share(formula + total["helpers"], lines),
        "with the constants too, %": _share(formula + total["helpers"] + total["constants"], lines),
        "formula, % without docstrings": _share(formula, lines - total["docstring"]),
        "median cell without docstring": statistics.median(bare),
        "names at the root": len(names["root"]),
        "of these, modules": len(names["modules"]),
        "of these, meant as rooms": len(names["rooms"]),
        "names at two public places": len(names["twice"]),
        "modules at the root": len([f for f in trees if "/" not in f]),
        "longest private argument list": lists[0][0] if lists else f"<= {MOST_ARGUMENTS}",
        f"private functions above {MOST_ARGUMENTS}": len(lists),
        "files that touch unstable JAX": len(unstable),
        "files with jax.core (Tracer)": len(_matching(trees, r"jax\.core|jax import core")),
        "assert ... is not None": sum(_matching(trees, r"assert .* is not None").values()),
        "self.prepare()": sum(_matching(trees, r"self\.prepare\(\)").values()),
        "prepare()": sum(_matching(trees, r"\.prepare\(\)").values()),
        "comment lines, %": _share(comments, every),
        **_style(path, trees),
    }
    details = {
        "private argument lists": [f"{n} {where}" for n, where in lists],
        "unstable JAX": [f"{f} ({n})" for f, n in unstable.items()],
        "twice": names["twice"],
        "root": names["root"],
        "cells (lines without docstring)": [
            f"{c.name} {b}" for c, b in sorted(zip(cells, bare), key=lambda pair: -pair[1])
        ],
    }
    return found, details


def _style(path: Path, trees: dict) -> dict[str, object]:
    """How the package is cut: files, functions, what of it is prose, how much of it tests."""
    texts = [text.splitlines() for text, _ in trees.values()]
    sizes = [len(lines) for lines in texts if len(lines) > 15]
    nodes = [node for _, tree in trees.values() for node in ast.walk(tree)]
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef)]
    bodies = [_lines(f, decorated=False) - _docstring(f) for f in functions]
    documented = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Module)]
    every, code = sum(map(len, texts)), sum(bool(s.strip()) for lines in texts for s in lines)
    tests = [f.read_text().splitlines() for f in (Path(path) / "tests").glob("*.py")]
    tested = sum(bool(line.strip()) for lines in tests for line in lines)
    return {
        "files": len(trees),
        "all lines": every,
        "file: median, p90, longest": _spread(sizes),
        "function: median, p90": _spread(bodies)[:2],
        "docstrings, % of lines": _share(sum(map(_docstring, documented)), every),
        "super()": len(re.findall(r"super\(\)", "".join(text for text, _ in trees.values()))),
        "test files, lines over package": (len(tests), round(tested / code, 2)),
    }


def _spread(sizes: list[int]) -> tuple[int, int, int]:
    ordered = sorted(sizes)
    return ordered[len(ordered) // 2], ordered[int(0.9 * len(ordered))], ordered[-1]


def _share(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)


def print_figures(paths: list[str]) -> None:
    counted = [figures(Path(path)) for path in paths]
    columns = [found for found, _ in counted]
    for row in columns[0]:
        print(f"{row:34s}", *(f"{found.get(row, 0)!s:>16}" for found in columns))
    for path, (_, details) in zip(paths, counted):
        for what, names in details.items():
            print(f"\n{path}: {what}\n    " + ", ".join(names))


# --- two builds -----------------------------------------------------------------------------


def _worker(path: Path) -> subprocess.Popen:
    """A process of one build that answers requests, a line of JSON each."""
    parts = [str(Path(path).resolve()), str(ROOT / "tests"), str(HERE.parent)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(parts),
        "PYTHONWARNINGS": "ignore",
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, str(HERE.parent / "house_worker.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env=environment)


def _request(worker: subprocess.Popen, *words: str):
    worker.stdin.write(json.dumps(words) + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit(f"the process of a build ended at {words}")
    return json.loads(answer)


def ask(path: Path, *words: str):
    """One answer of a build."""
    with _worker(path) as worker:
        answer = _request(worker, *words)
        worker.stdin.close()
    return answer


def compare_bits(old: str, new: str, chosen: list[str]) -> int:
    """Prints what differs, and by how much; the number of samples that do."""
    with _worker(old) as one, _worker(new) as two:
        samples = chosen or _request(one, "samples")
        differ = 0
        for sample in samples:
            answers = [_request(worker, "results", sample) for worker in (one, two)]
            worst = _differences(*answers)
            differ += bool(worst)
            print(f"{sample:28s}", "equal" if not worst else "DIFFERS", flush=True)
            for line in worst:
                print("   ", line, flush=True)
        one.stdin.close()
        two.stdin.close()
    print(f"{len(samples) - differ} of {len(samples)} are equal to the bit")
    return differ


def _differences(one: dict, two: dict) -> list[str]:
    import numpy as np

    lines = [f"{name}: {value}" for a in (one, two) for name, value in a.items() if name == "error"]
    lines += [f"{name} in one build alone" for name in sorted(set(one) ^ set(two))]
    for name in sorted(set(one) & set(two) - {"error"}):
        if one[name] == two[name]:
            continue
        (kind, shape, a), (other, size, b) = one[name], two[name]
        if (kind, shape) != (other, size):
            lines.append(f"{name}: {kind}{shape} and {other}{size}")
            continue
        a, b = (np.frombuffer(bytes.fromhex(text), kind) for text in (a, b))
        if not np.issubdtype(a.dtype, np.inexact):
            lines.append(f"{name}: {np.sum(a != b)} of {a.size} values")
            continue
        real = np.float64 if a.dtype in (np.float64, np.complex128) else np.float32
        unit = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(real))
        gap = np.abs(a - b)
        relative = np.linalg.norm(gap) / max(np.linalg.norm(a), 1e-30)
        lines.append(
            f"{name}: {np.sum(gap != 0)} of {a.size} values, at most {np.max(gap / unit):.0f} ulp, "
            f"{relative:.1e} of the norm"
        )
    return lines


def _rows(chosen: list[str]) -> list[str]:
    """The name "six" stands for six layers of LSTM, and as many of Equinox beside them."""
    return [row for name in chosen for row in (SIX if name == "six" else (name,))]


def compare_times(old: str, new: str, chosen: list[str], repeats: int = 3) -> None:
    """Prints what each cell takes, and the geometric means of new over old.

    Tracing and compiling: medians, of CPU time; a step of the program: the fastest.
    """
    parts = ("trace", "compile", "both", "run")
    ratios = {part: [] for part in parts}
    print(f"{'':20s}", *(f"{part + ' old':>13}{'new':>9}{'ratio':>7}" for part in parts))
    with _worker(old) as one, _worker(new) as two:
        workers = (one, two)
        for worker in workers:
            _request(worker, "times", "elman")  # the first program pays for what is loaded late
        for cell in _rows(chosen or [*_request(one, "cells"), "six"]):
            seen = ([], [])
            for turn in range(repeats):
                for which in (0, 1) if turn % 2 == 0 else (1, 0):
                    seen[which].append(_request(workers[which], "times", cell))
            for turn in range(2 * repeats):
                for which in (0, 1) if turn % 2 == 0 else (1, 0):
                    seen[which].append({"run": _request(workers[which], "run", cell)})
            row = []
            for part in parts:
                middle = min if part == "run" else statistics.median
                a, b = (middle(s[part] for s in found if part in s) for found in seen)
                if cell != "six of equinox":
                    ratios[part].append(b / a)
                row.append(f"{1e3 * a:11.2f}ms{1e3 * b:9.2f}{b / a:7.3f}")
            print(f"{cell:20s}", *row, flush=True)
        one.stdin.close()
        two.stdin.close()
    means = {part: statistics.geometric_mean(values) for part, values in ratios.items()}
    print("geometric means of new / old:", *(f"{part} {mean:.3f}" for part, mean in means.items()))


def main(arguments: list[str]) -> int:
    options = parser(__name__)
    options.add_argument("what", type=one_of(("figures", "bits", "times")))
    options.add_argument("paths", nargs="*", help="builds, and behind OLD NEW the cells to compare")
    given = options.parse_args(arguments)
    if given.what == "figures":
        print_figures(given.paths or [str(ROOT)])
        return 0
    if len(given.paths) < 2:
        options.error(f"{given.what} compares two builds: give the folders OLD and NEW")
    old, new, *cells = given.paths
    if given.what == "bits":
        return min(compare_bits(old, new, cells), 1)
    compare_times(old, new, cells)
    return 0
