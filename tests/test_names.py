"""The name space: what the package offers, each thing once, and that no old name is lost."""

import collections
import importlib
import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import pytest

import rnn_zoo as rz
from rnn_zoo._common import old_names


ROOT = Path(__file__).parent.parent
# All public names of release 0.2 at the root and in its rooms, but those of `rnn_zoo.base`.
OLD = (Path(__file__).parent / "golden" / "names_0_2.txt").read_text().split()
ROOMS = {name: getattr(rz, name) for name in dir(rz) if inspect.ismodule(getattr(rz, name))}
ROOMS["cells.discretise"] = rz.cells.discretise
TABLES = {
    "": old_names.ROOT,
    "cells": old_names.CELLS,
    "init": old_names.INIT,
    "interop": old_names.INTEROP,
    "layers": old_names.LAYERS,
    "models": old_names.MODELS,
    "scan": old_names.SCAN,
    "wiring": old_names.WIRING,
    **old_names.ROOMS,
}
# What the files of models and of checkpoints call themselves.
FORMATS = ("model", "checkpoint")
# Files at the root whose names stand at the root; the files themselves are no public places.
FILES = ("base", "registry", "streaming")


def offered():
    """(path, object) of every public name, the rooms among them."""
    yield from ((name, getattr(rz, name)) for name in dir(rz))
    for room, module in ROOMS.items():
        yield from ((f"{room}.{name}", getattr(module, name)) for name in dir(module))


def look_up(path):
    """What stands at a path behind `rz`, and the messages of the warnings on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = rz
        for part in path.split("."):
            value = getattr(value, part)
    assert all(warning.category is DeprecationWarning for warning in caught)
    return value, [str(warning.message) for warning in caught]


def texts():
    """What names things: the package, its documents, notebooks and benchmarks."""
    patterns = ("rnn_zoo/**/*.py", "*.md", "docs/*.py", "notebooks/*.ipynb", "benchmarks/**/*.*")
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        skipped = path.name in ("old_names.py", "CHANGELOG.md")
        if path.suffix in (".py", ".md", ".ipynb") and not skipped:
            yield path.relative_to(ROOT), path.read_text()


def test_names_in_texts_lead_somewhere():
    """Code, docstrings and messages name public things by the places where they stand now."""
    places = {}
    for path, text in texts():
        for found in re.findall(r"(?<![\w./])(?:rz|rnn_zoo)\.(\w+(?:\.\w+)*)", text):
            places.setdefault(found, path)
    assert len(places) > 100
    wrong = []
    for found, path in places.items():
        if found.split(".")[0] in ("cli", *FORMATS):
            continue
        try:
            wrong += [f"{path}: {message}" for message in look_up(found)[1]]
        except AttributeError:
            wrong.append(f"{path}: rz.{found}")
    assert wrong == []


def test_files_in_texts_are_there():
    rooms = "|".join(path.name for path in (ROOT / "rnn_zoo").iterdir() if path.is_dir())
    written = re.compile(rf"(?<![\w./])(?:rnn_zoo/)?(?:{rooms}|ssm|readout)/[\w/]*(?:\.py\b|(?=`))")
    missing = [
        f"{path}: {found}"
        for path, text in texts()
        for found in written.findall(text)
        if not (ROOT / "rnn_zoo" / found.removeprefix("rnn_zoo/")).exists()
    ]
    assert missing == []


def test_root_is_small():
    assert len(set(dir(rz)) - set(ROOMS)) <= 45


@pytest.mark.parametrize("module", [rz, *ROOMS.values()], ids=lambda m: m.__name__)
def test_a_listing_shows_what_is_offered(module):
    names = dir(module)
    assert names == sorted(set(names))
    assert not [name for name in names if name.startswith("_")]
    star = {}
    exec(f"from {module.__name__} import *", star)
    assert set(names) <= set(star)


def test_nothing_leaks():
    for path, value in offered():
        room = inspect.ismodule(value)
        home = value.__name__ if room else getattr(value, "__module__", "rnn_zoo")
        assert home.split(".")[0] == "rnn_zoo", f"{path} is of {home}: import it with an underscore"
        if inspect.isclass(value) or inspect.isfunction(value):
            assert not value.__name__.startswith("_"), path


def test_every_name_stands_once():
    places = collections.defaultdict(list)
    for path, value in offered():
        if not isinstance(value, int):  # equal numbers are one object
            places[id(value)].append(path)
    assert [paths for paths in places.values() if len(paths) > 1] == []


def test_no_two_files_have_one_name():
    """But the base of a room, and `cli/train.py`, the command that calls `rnn_zoo.train`."""
    root = Path(rz.__file__).parent
    files = [path for path in root.rglob("*.py") if not path.name.startswith("__")]
    stems = [path.stem.strip("_") for path in files] + [path.name for path in root.iterdir()]
    counts = collections.Counter(stems) - collections.Counter(["train"])
    assert {stem for stem, count in counts.items() if count > 1} <= {"base"}


def test_root_has_few_files():
    assert len(list(Path(rz.__file__).parent.glob("*.py"))) <= 12


@pytest.mark.parametrize("room", TABLES)
def test_moved_names_say_where_they_are(room):
    module = importlib.import_module(f"rnn_zoo.{room}".removesuffix("."))
    for name, row in TABLES[room].items():
        place, _, instead = row.partition("; ")
        package, _, path = place.rpartition(":")
        with pytest.warns(DeprecationWarning, match="the old name goes") as caught:
            value = getattr(module, name)
        (warning,) = caught
        new = importlib.import_module(package or "rnn_zoo")
        for part in path.split("."):
            assert part in dir(new) or instead, f"{place} is not public"
            new = getattr(new, part)
        assert value is new
        expected = instead or f"is {package or 'rnn_zoo'}.{path} now"
        assert str(warning.message).startswith(f"{module.__name__}.{name} {expected}; ")


@pytest.mark.parametrize("room", sorted({path.rpartition(".")[0] for path in OLD}))
def test_no_old_name_is_lost(room):
    public = dict(offered())
    for path in OLD:
        if path.rpartition(".")[0] != room:
            continue
        value, messages = look_up(path)
        if path in public:
            assert value is public[path]
            assert not messages
        elif path.split(".")[0] not in FILES:
            assert messages, f"{path} is no public name any more and does not warn"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            scope = {}
            exec(f"from rnn_zoo{room and '.'}{room} import {path.split('.')[-1]} as found", scope)
        if not inspect.ismodule(value):
            assert scope["found"] is value


@pytest.mark.parametrize(
    "statement",
    [
        "import rnn_zoo.ssm.discretise as found; found.zoh",
        "from rnn_zoo.readout import ridge",
        "from rnn_zoo import LSTMCell",
        "import rnn_zoo; rnn_zoo.readout.ridge",
    ],
)
def test_warnings_are_of_the_line_that_names(statement):
    """In a new process: nothing is imported before, and no checker of types stands between."""
    command = [sys.executable, "-W", "always::DeprecationWarning:__main__", "-c", statement]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "<string>:1: DeprecationWarning: rnn_zoo." in run.stderr


def test_the_plain_network_that_was_auto_ncp_is_made_for_one_release():
    key = jax.random.key(0)
    with pytest.warns(DeprecationWarning, match=r"rnn_zoo.cells.WiredElmanCell\(rnn_zoo.wiring"):
        cell = rz.AutoNCP(3, 8, 2, key=key)
    assert eqx.tree_equal(cell, rz.cells.WiredElmanCell(rz.wiring.AutoNCPMap(3, 8, 2), key=key))


def test_unknown_names_are_errors():
    for module in (rz, *ROOMS.values(), sys.modules["rnn_zoo.ssm"]):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018
