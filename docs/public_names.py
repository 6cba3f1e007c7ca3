"""Every public name, where it is defined, and on which page of the site it stands."""

import functools
import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from reference_pages import FIRST, HELPERS, PLAIN, ROOMS

import rnn_zoo as rz


class Entry(NamedTuple):
    """A public object and its path, without `rz.`."""

    value: Any
    path: str
    page: str
    """The page on which it stands, without its ending, such as `reference/training`."""
    cell: str | None
    """The name under which it is registered, if it is."""

    @property
    def name(self) -> str:
        return self.path.split(".")[-1]

    @property
    def anchor(self) -> str:
        return f"rz.{self.path}"

    @property
    def defined(self) -> str:
        """The path of its definition, by which its source is found."""
        return f"{self.value.__module__}.{self.name}"


def public() -> Iterator[tuple[str, Any]]:
    """(path, object) of every public name, the root first, then room by room."""
    yield from _offered(rz, "")
    for path, names in HELPERS.items():
        module = importlib.import_module(f"rnn_zoo.{path}")
        yield from ((f"{path}.{name}", getattr(module, name)) for name in names)


def _offered(module: types.ModuleType, path: str) -> Iterator[tuple[str, Any]]:
    values = [(path + name, getattr(module, name)) for name in dir(module) if name[0] != "_"]
    yield from (row for row in values if callable(row[1]))
    for name, value in values:
        if inspect.ismodule(value):
            yield from _offered(value, f"{name}.")


@functools.cache
def rooms() -> tuple[str, ...]:
    """The paths of all rooms, each with a dot behind it; "" is the root."""
    return tuple(dict.fromkeys(path[: path.rfind(".") + 1] for path, _ in public()))


@functools.cache
def entries() -> dict[str, Entry]:
    """By path."""
    registered = {rz.cell_info(name).cls: name for name in rz.list_cells()}
    found = {}
    for path, value in public():
        cell = registered.get(value)
        page = f"cells/{cell}" if cell else f"reference/{_room(value)}"
        found[path] = Entry(value, path, page, cell)
    return found


def _room(value: Any) -> str:
    if getattr(value, "__name__", "") in FIRST:
        return FIRST[value.__name__]
    rooms = [prefix for prefix in ROOMS if _inside(value, prefix)]
    if not rooms:
        raise ValueError(f"no page for {value!r} of {value.__module__}: give ROOMS a row")
    return ROOMS[max(rooms, key=len)]


def on_page(page: str) -> list[Entry]:
    """The names of the root, then room by room; functions, classes, abstract classes."""
    here = [entry for entry in entries().values() if entry.page == page]
    prefixes = list(ROOMS)

    def place(entry: Entry) -> tuple[bool, int, int]:
        room = max((p for p in prefixes if _inside(entry.value, p)), key=len, default="")
        inner = "." in entry.path
        return inner, prefixes.index(room) if inner and room else 0, _kind(entry.value)

    return sorted(here, key=place)


def _inside(value: Any, prefix: str) -> bool:
    return (value.__module__ + ".").startswith(prefix + ".")


def _kind(value: Any) -> int:
    if not inspect.isclass(value):
        return 0
    return 2 if value.__name__.startswith("Abstract") else 1


def is_constant(value: Any) -> bool:
    return not inspect.isclass(value) and not inspect.isfunction(inspect.unwrap(value))


def meant(code: str, page: str = "") -> Entry | None:
    """What `name`, `module.name` or `name(...)` means; None where that is not certain."""
    path = code.split("(", 1)[0] if code.endswith(")") else code
    path = path.removeprefix("rnn_zoo.").removeprefix("rz.")
    if path in entries():
        return entries()[path]
    found = [entry for room in rooms() if (entry := entries().get(room + path))]
    here = [entry for entry in found if entry.page == page]
    if here:
        return here[0]
    # Names of helpers are plain words, such as `ring`, that mean other things elsewhere.
    found = [entry for entry in found if not entry.path.startswith(PLAIN)]
    return found[0] if len(found) == 1 else None
