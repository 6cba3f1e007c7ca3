"""Names that stood elsewhere once: they work for one release, with a warning."""

import importlib
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from .foreign_words import name_hint


def moved(module: str, names: Mapping[str, str], callers: int = 1) -> Callable[[str], Any]:
    """A module's `__getattr__` for names that moved: the old name to the new place.

    A place is a path behind `rnn_zoo`, "cells.LSTMCell", or the name of another package and what
    stands in it, "equinox.nn:Linear". Whoever asks for an old name gets a DeprecationWarning.
    What has no public place any more comes with what to write instead, behind a "; ". The warning
    is of the line that stands so many `callers` above this one, where the name is asked for.
    """

    def get(name: str) -> Any:
        if name not in names:
            message = f"module {module!r} has no attribute {name!r}{name_hint(name)}"
            raise AttributeError(message, name=name, obj=sys.modules[module])
        place, _, instead = names[name].partition("; ")
        package, _, path = place.rpartition(":")
        shown = f"{package}.{path}" if package else f"rnn_zoo.{place}"
        warnings.warn(
            f"{module}.{name} {instead or f'is {shown} now'}; the old name goes with the next "
            "release",
            DeprecationWarning,
            stacklevel=callers + 1,
        )
        value = importlib.import_module(package or "rnn_zoo")
        for part in path.split("."):
            value = getattr(value, part)
        return value

    return get


def moved_room(module: str, names: Mapping[str, str]) -> None:
    """Let `import module` and `from module import name` work where no file stands any more."""
    room = types.ModuleType(module, "This room is gone: its names warn and say where they are.")
    vars(room).update(__getattr__=moved(module, names), __all__=list(names))
    sys.modules[module] = room


def listing(module: str, *rooms: str) -> Callable[[], list[str]]:
    """A module's `__dir__`: what it offers, without the files of a package and what it imports.

    `rooms` are the files that are rooms themselves, and what a single file offers of others.
    """

    def names() -> list[str]:
        here = sys.modules[module]
        return sorted(
            name
            for name, value in vars(here).items()
            if not name.startswith("_") and (name in rooms or _is_offered(here, value))
        )

    return names


def _is_offered(module: types.ModuleType, value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return False
    return hasattr(module, "__path__") or getattr(value, "__module__", "") == module.__name__
