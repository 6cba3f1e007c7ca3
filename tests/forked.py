"""Tests of another copy of the package, in this process. Import nothing of the package here."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest


# What only some environments have: a mutant must die by tests that run everywhere.
EXTRAS = ("brainstate", "flax", "haiku", "jax2onnx", "keras", "ncps", "onnxruntime", "torch")


class _Without:
    """Nothing of `EXTRAS` is found. None in the place of a module would say so, too, but SciPy
    looks into what is imported already, and takes None for a module."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run_tests(folder: Path, log: Path, arguments: list[str]) -> None:
    """Leave the process with pytest's status; `folder` holds the package, `log` gets the output."""
    with log.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.meta_path.insert(0, _Without())
    sys.path.insert(0, str(folder))
    os.chdir(Path(__file__).parent)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.exit(int(pytest.main(arguments)))
