"""Names that stood elsewhere once: they work for one release, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` for names that moved: the old name to the new place.

    A place is a path behind `rnn_zoo`, "cells.LSTMCell", or the name of another package and what
    stands in it, "equinox.nn:Linear". Whoever asks for an old name gets a DeprecationWarning.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = names[name]
        package, _, path = place.rpartition(":")
        shown = f"{package}.{path}" if package else f"rnn_zoo.{place}"
        warnings.warn(
            f"{module}.{name} is {shown} now; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        value = importlib.import_module(package or "rnn_zoo")
        for part in path.split("."):
            value = getattr(value, part)
        return value

    return get
