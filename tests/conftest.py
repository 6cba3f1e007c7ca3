"""Settings that must stand before jax is imported. Import nothing of the package here."""

import itertools
import os
from importlib.metadata import version
from pathlib import Path

import pytest


# Compiling is most of what these tests do; unoptimised code compiles twice as fast, and the older
# generator of code, where XLA still has it, two to three times faster again.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_force_host_platform_device_count=2"]
if version("jax").startswith("0.10."):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax


# A second run takes a third less time. A folder for each worker: the files are not written at once,
# and half a file would be read as a broken one.
PROGRAMS = Path(__file__).parent.parent / ".pytest_cache" / "programs"
jax.config.update(
    "jax_compilation_cache_dir", str(PROGRAMS / os.environ.get("PYTEST_XDIST_WORKER", "main"))
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

TESTS = itertools.count(1)


@pytest.fixture(autouse=True)
def _room_for_programs():
    """Compiled programs are dropped now and then: few tests share any.

    JAX keeps up to 2048 lowered programs, and making another one looks through all that live: a
    third of the time of a long run. They also take memory maps, of which Linux grants 65530 to a
    process; the compiler crashes beyond.
    """
    yield
    if next(TESTS) % 64 == 0:
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter):
    """The score of the mutants, where they were run."""
    counts = {}
    for outcome in ("passed", "failed"):
        reports = terminalreporter.getreports(outcome)
        counts[outcome] = sum("test_mutant_is_killed" in report.nodeid for report in reports)
    if any(counts.values()):
        total = sum(counts.values())
        terminalreporter.write_line(f"mutants killed: {counts['passed']} of {total}")
