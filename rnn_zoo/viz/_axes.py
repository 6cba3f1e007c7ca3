"""The one place where matplotlib is imported."""

import importlib
from typing import Any

from .._common.extras import missing


def matplotlib_module(name: str) -> Any:
    """A module of matplotlib. ImportError that names the extra where it is missing."""
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ImportError as error:
        raise missing("plots need matplotlib", "plot", error) from error


def new_axes(columns: int = 1, **options: Any) -> Any:
    """Axes of a new figure: one, or an array of several side by side."""
    _, axes = matplotlib_module("pyplot").subplots(1, columns, layout="constrained", **options)
    return axes
