"""Tests of another copy of the package, in this process. Import nothing of the package here."""

import os
import sys
from pathlib import Path

import jax
import pytest


def run_tests(folder: Path, log: Path, arguments: list[str]) -> None:
    """Leave the process with pytest's status; `folder` holds the package, `log` gets the output."""
    with log.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.path.insert(0, str(folder))
    os.chdir(Path(__file__).parent)
    # Mutants share most of their compiled programs. Not for the whole suite: a long process that
    # keeps its programs runs out of memory maps.
    cache = Path(__file__).parent.parent / ".pytest_cache" / "mutants"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_XDIST_WORKER", None)
    sys.exit(int(pytest.main(arguments)))
