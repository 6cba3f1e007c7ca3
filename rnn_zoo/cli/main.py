"""The parser, and what a wrong argument ends with."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import jax

from .._common.extras import missing
from ..data.catalogue import list_datasets
from ..registry import cell_info, list_cells
from ..train.settled import NonFiniteLossError
from . import compare, train
from .recipes import load, recipe_for, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 2 for a wrong argument, which is explained in one line."""
    options = _parser().parse_args(argv)
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
    for name, least in (("steps", 1), ("batch_size", 1), ("seeds", 1), ("devices", 1)):
        value = getattr(options, name, None)
        if value is not None and value < least:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least {least}")


def _wrong(error: Exception, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rnn_zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train", help="train one model, print its figure, save a plot")
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
    many = commands.add_parser("compare", help="train several cells with the same budget")
    many.add_argument("--data", default="adding", help="a name of `list data`")
    cells = "gru,lstm,lru,mingru"
    many.add_argument("--cells", default=cells, help=f"names, with commas; by default {cells}")
    many.add_argument("--seeds", type=int, default=1, help="how many")
    many.add_argument("--all", action=_Moved, nargs=0, help=argparse.SUPPRESS)
    _add_recipe(many, "adding")
    names = commands.add_parser("list", help="the cells or the data sets")
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
    if what == "cells":
        rows = [_cell_row(name) for name in list_cells()]
    else:
        rows = [_data_row(name) for name in list_datasets()]
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(3)]
    for row in rows:
        say("".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def _cell_row(name: str) -> tuple[str, str, str]:
    info = cell_info(name)
    return name, info.family, info.equation + (f" (models: {info.block})" if info.block else "")


def _data_row(name: str) -> tuple[str, str, str]:
    try:
        info = load(name).info
    except (ImportError, OSError) as error:
        return name, "missing", str(error).splitlines()[0]
    return name, info.task, info.description
