"""How benchmarks are found and called: their names, their options, their help."""

import argparse
import ast
import difflib
import importlib
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .tables import FOLDER, Rows


ROOMS = {
    "speed": "Time and memory",
    "quality": "What is learned",
    "": "The repository itself",
}


class Benchmark(NamedTuple):
    """A file with a function `main(arguments)`."""

    room: str
    about: str

    def module(self, name: str) -> Any:
        return importlib.import_module(".".join(filter(None, ("benchmarks", self.room, name))))


def found() -> dict[str, Benchmark]:
    """All benchmarks by name; files are read rather than imported, since some need a peer."""
    names = {}
    for room in ROOMS:
        for path in sorted((FOLDER / room).glob("[a-z]*.py")):
            tree = ast.parse(path.read_text())
            if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
                names[path.stem] = Benchmark(room, (ast.get_docstring(tree) or "").split("\n")[0])
    return names


def listed() -> str:
    """One line for each benchmark."""
    names = found()
    width = max(map(len, names)) + 2
    lines = []
    for room, title in ROOMS.items():
        own = [f"  {n:<{width}}{b.about}" for n, b in names.items() if b.room == room]
        lines += ["", f"{title}:", *own]
    return "\n".join(lines[1:])


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """The type of an argument that is one of these names."""
    names = tuple(known)

    def name(text: str) -> str:
        if text in names:
            return text
        close = difflib.get_close_matches(text, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise argparse.ArgumentTypeError(f"unknown {text!r}: {hint}known are {', '.join(names)}")

    return name


def parser(module: str, *writes: Rows | str) -> argparse.ArgumentParser:
    """The parser of a benchmark, whose help is its docstring and says what is written."""
    told = [w if isinstance(w, str) else w.about() for w in writes]
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks {module.rpartition('.')[2]}",
        description=sys.modules[module].__doc__,
        epilog=textwrap.fill(" ".join(told) or "Figures are printed; no rows are written.", 96),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_names(parser: argparse.ArgumentParser, what: str, known: Iterable[str]) -> None:
    """Any number of names as positional arguments or behind an option; without them, all."""
    names = tuple(known)
    shown = f"some only, of: {', '.join(names)}"
    metavar = what.strip("-").upper()
    parser.add_argument(
        what, nargs="*", type=one_of(names), default=[*names], metavar=metavar, help=shown
    )


def need(module: str, command: str) -> Any:
    """A module that not everybody has, or the end of the program."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{module.split('.')[0]} is not installed ({error}): {command}")
