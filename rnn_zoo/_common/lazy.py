"""Names of a package whose files are read when a name is first asked for."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Names(NamedTuple):
    """What a package that reads its files late puts into its own `__init__`."""

    get: Callable[[str], Any]
    """Its `__getattr__`."""
    listing: Callable[[], list[str]]
    """Its `__dir__`."""
    offered: list[str]
    """Its `__all__`: `import *` reads all files, as it must."""


def lazily(
    package: str,
    files: Mapping[str, tuple[str, ...]],
    rooms: tuple[str, ...],
    hidden: tuple[str, ...],
    other: Callable[[str], Any],
) -> Names:
    """The names that stand in `files`, by the path of the file in the package, and the rooms.

    `hidden` are files that can be asked for by name and that no list shows. What is none of these
    goes to `other`, a `__getattr__` that knows older names or says that there is no such name.
    """
    places = {name: file for file, names in files.items() for name in names}
    modules = {*rooms, *hidden}

    def get(name: str) -> Any:
        if name in modules:  # the import itself makes it an attribute of the package
            return importlib.import_module(f"{package}.{name}")
        if name not in places:
            return other(name)
        value = getattr(importlib.import_module(f"{package}.{places[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    offered = [*rooms, *places]
    return Names(get, lambda: sorted(offered), offered)
