"""The parser, and what a wrong argument ends with."""

import argparse
import functools
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import jax

from .._common.checks import one_like
from .._common.extras import missing
from ..data.catalogue import list_datasets
from ..registry import cell_info, list_cells
from ..train.settled import NonFiniteLossError
from . import compare, train
from .recipes import load, recipe_for, say


NO_FLAGS = ("command", "what", "all")
# What other programs call the arguments, and what belongs to the other command.
ARGUMENTS_ELSEWHERE = {
    **dict.fromkeys(("--lr", "--learning_rate"), ": it is --learning-rate here"),
    **dict.fromkeys(
        ("--epochs", "--epoch", "--iterations", "--max-steps"),
        ": training is counted in --steps, one batch each",
    ),
    **dict.fromkeys(("--dataset", "--task"), ": it is --data here"),
    **dict.fromkeys(("--model", "--arch"), ": it is --cell here"),
    **dict.fromkeys(("--units", "--hidden", "--hidden-dim"), ": it is --hidden-size here"),
    **dict.fromkeys(("--layers", "--depth"), ": it is --num-layers here"),
    **dict.fromkeys(("--output", "--save", "--output-dir"), ": it is --out, a folder"),
    "--cells": ": it is --cell, one name; `compare` takes several",
    "--seeds": ": it is --seed, one number; `compare` takes --seeds, how many",
    "--cell": ": it is --cells, names with commas; `train` takes one --cell",
    "--seed": ": it is --seeds, how many, from 0 on; `train` takes --seed, one number",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 2 for a wrong argument, which is explained in one line."""
    options = _parsed(argv)
    if options is None:
        return 2
    if options.command == "list":
        _list(options.what)
        return 0
    command = {"train": train, "compare": compare}[options.command]
    try:
        _check_extras()
        _join(options)
        _check_names(options)
        prepared = command.prepare(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        return _wrong(error, 2)
    try:
        command.run(options, prepared)
    except NonFiniteLossError as error:
        return _wrong(error, 1)
    return 0


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace | None:
    """What was typed; None, with help or a line that explains, where that is no command."""
    parser = _parser()
    options, unknown = parser.parse_known_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return None
    if unknown:
        _wrong(TypeError(_unknown(options, unknown[0].partition("=")[0])), 2)
        return None
    return options


def _unknown(options: argparse.Namespace, word: str) -> str:
    """What to say of an argument that a command does not take."""
    known = [f"--{name.replace('_', '-')}" for name in vars(options) if name not in NO_FLAGS]
    hint = ARGUMENTS_ELSEWHERE.get(word) or one_like(word, known) if known else ""
    return f"{options.command} takes no {word}{hint}"


def _check_extras() -> None:
    try:
        importlib.import_module("matplotlib.figure")
        importlib.import_module("tqdm")
    except ImportError as error:
        raise missing(f"the command line trains and draws ({error})", "demo", error) from error


def _join(options: argparse.Namespace) -> None:
    """Make this one of several processes, before JAX looks for its devices."""
    if options.command != "train":
        return
    coordinator, processes, process = options.coordinator, options.processes, options.process
    given = [coordinator, processes, process]
    if given == [None] * 3:
        return
    if coordinator == "auto" and processes is None and process is None:
        jax.distributed.initialize()
        return
    if None in given or coordinator == "auto" or not 0 <= process < processes:
        raise ValueError(
            "expected --coordinator host:port --processes 2 --process 0 (in the second one "
            "--process 1), or --coordinator auto alone where a cluster says the rest"
        )
    jax.distributed.initialize(coordinator, processes, process)


def _check_names(options: argparse.Namespace) -> None:
    if options.data not in list_datasets():
        load(options.data)  # says which names there are
    for cell in options.cells.split(",") if options.command == "compare" else [options.cell]:
        if cell is not None:
            cell_info(cell)
    _check_numbers(options)


def _check_numbers(options: argparse.Namespace) -> None:
    for name in ("steps", "batch_size", "seeds", "devices", "processes"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least 1, got {value}")
    for name in ("noise", "weight_decay", "learning_rate"):
        value = getattr(options, name, None)
        if value is not None and value < 0:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least 0, got {value}")


def _wrong(error: Exception, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def _version() -> str:
    return importlib.import_module(__name__.partition(".")[0]).__version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rnn_zoo",
        description="Train recurrent networks on data sets that are there, and see what there is.",
        epilog="A command with --help says what it takes. Begin with: python -m rnn_zoo train",
    )
    parser.add_argument("--version", action="version", version=f"rnn_zoo {_version()}")
    commands = parser.add_subparsers(dest="command")
    # Whole words only: --cell of `compare` would else be taken for its --cells.
    add = functools.partial(commands.add_parser, allow_abbrev=False)
    one = add("train", help="train one model, save it with a plot, print its figure")
    one.add_argument("--data", default="japanese_vowels", help="a name of `list data`")
    one.add_argument("--cell", help="a name of `list cells`")
    one.add_argument("--seed", type=int, help="of the weights and the order of the data")
    one.add_argument(
        "--devices", type=int, help="how many share each batch; by default 1, of processes all"
    )
    one.add_argument("--processes", type=int, help="how many run this command together")
    one.add_argument("--process", type=int, help="which of them this is, from 0")
    one.add_argument(
        "--coordinator", help="host:port of process 0, the same in all; auto on a cluster"
    )
    _add_recipe(one, "japanese_vowels")
    many = add("compare", help="train several cells with the same budget")
    many.add_argument("--data", default="adding", help="a name of `list data`")
    cells = "gru,lstm,lru,mingru"
    many.add_argument("--cells", default=cells, help=f"names, with commas; by default {cells}")
    many.add_argument("--seeds", type=int, default=1, help="how many")
    many.add_argument("--all", action=_Moved, nargs=0, help=argparse.SUPPRESS)
    _add_recipe(many, "adding")
    names = add("list", help="the cells or the data sets")
    names.add_argument("what", choices=("cells", "data"))
    return parser


class _Moved(argparse.Action):
    """The flag that the board had before it became a benchmark."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error("every cell is compared by a benchmark now: python -m benchmarks board --help")


def _add_recipe(parser: argparse.ArgumentParser, data: str) -> None:
    recipe = recipe_for(data)
    numbers = ("hidden_size", "num_layers", "dropout", "noise", "learning_rate", "weight_decay")
    for name in (*numbers, "steps", "batch_size"):
        value = getattr(recipe, name)
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(value), help=f"for {data} {value}")
    parser.add_argument("--bidirectional", action=argparse.BooleanOptionalAction)
    parser.add_argument("--pool", choices=("last", "mean"))
    parser.add_argument("--out", help="a folder for what is written, by default in runs/")


def _list(what: str) -> None:
    """A line for each, printed as soon as it is known: some data sets are made for it."""
    names = list_cells() if what == "cells" else list_datasets()
    widths = max(map(len, names)) + 2, len("classification") + 2
    for name in names:
        kind, text = _cell_row(name) if what == "cells" else _data_row(name)
        say(f"{name.ljust(widths[0])}{kind.ljust(widths[1])}{text}".rstrip())


def _cell_row(name: str) -> tuple[str, str]:
    info = cell_info(name)
    return info.family, info.equation + (f" (models: {info.block})" if info.block else "")


def _data_row(name: str) -> tuple[str, str]:
    try:
        info = load(name).info
    except (ImportError, OSError) as error:
        return "missing", str(error).splitlines()[0]
    return info.task, info.description
