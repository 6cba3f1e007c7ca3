"""Settings that must stand before jax is imported. Import nothing of the package here."""

import functools
import gc
import itertools
import os
import zlib
from importlib.metadata import version
from pathlib import Path

import jaxtyping
import pytest


# Compiling is most of what these tests do; unoptimised code compiles twice as fast, and the older
# generator of code, where XLA still has it, two to three times faster again.
DEVICES = os.environ.get("DEVICES", "2")
FLAGS = [
    "--xla_backend_optimization_level=0",
    f"--xla_force_host_platform_device_count={DEVICES}",
]
if version("jax").startswith("0.10."):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax


# JAX makes an MLIR context for each program that it lowers, which costs more than lowering a small
# one, and the more the more of them live. One for all gives the same text; it is JAX's own affair,
# so without it the tests are only slower.
try:
    from jax._src.interpreters import mlir

    make_context = mlir.make_ir_context
    shared_context = functools.cache(make_context)
    forget_context = shared_context.cache_clear

    def _context():
        # A program that is lowered while another one is has to have its own.
        try:
            within = mlir.ir.Context.current is not None
        except ValueError:
            within = False
        return make_context() if within else shared_context()

    mlir.make_ir_context = _context
except (ImportError, AttributeError):
    forget_context = int

# A second run takes a third less time, and one worker takes what the other has compiled. Half a
# file, which another process is writing, is read as a broken one: JAX compiles as without it.
PROGRAMS = Path(__file__).parent.parent / ".pytest_cache" / "programs"
jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

MAPS = Path("/proc/self/maps")
# A compiled program takes four memory maps, of which Linux grants 65530 to a process (the compiler
# crashes beyond), and with what belongs to it about half a megabyte.
MOST_MAPS = 10_000
TESTS = itertools.count(1)

# Where shapes are the point. The other tests call the same functions with the same shapes, and
# there the checker would only take time. CHECK_SHAPES=all checks them too, as CI does once.
CHECKED = {
    "test_affine",
    "test_blocks",
    "test_equations",
    "test_inputs",
    "test_layers",
    "test_liquid",
    "test_modular",
    "test_ssm",
    "test_states",
    "test_train",
    "test_wrappers",
}
DISABLED = jaxtyping.config.jaxtyping_disable  # by JAXTYPING_DISABLE
CHECK_ALL = os.environ.get("CHECK_SHAPES") == "all"


def pytest_collection_modifyitems(config, items):
    """The laws of one cell run one after the other, and share what is compiled for it.

    PART=1/3 runs the laws of every third cell and every third other test; 2/3 and 3/3 the rest.
    """
    # The part is of these tests, not of those that they start in another process.
    number, of = map(int, os.environ.pop("PART", "1/1").split("/"))
    found = [(item, getattr(item, "callspec", None)) for item in items]
    cases = [(item, spec.params.get("case") if spec else None) for item, spec in found]
    names = {getattr(case, "name", None) for _, case in cases} - {None}
    cells, left_out = {}, []
    for (item, spec), (_, case) in zip(found, cases):
        # A cell and its options, or a wrapper; where only a name is given, that of a cell.
        cell = getattr(case, "name", None) or getattr(case, "id", None)
        name = spec.params.get("name") if spec and cell is None else None
        cell = name if isinstance(name, str) and name in names else cell
        if zlib.crc32((cell or item.nodeid).encode()) % of == number % of:
            cells.setdefault(cell, []).append(item)
        else:
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    others = cells.pop(None, [])
    items[:] = [item for laws in cells.values() for item in laws] + others


def pytest_collection_finish():
    """What is loaded now stays: the collector of garbage need not look through it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_runtest_setup(item):
    checked = CHECK_ALL or item.module.__name__ in CHECKED
    jaxtyping.config.update("jaxtyping_disable", DISABLED or not checked)


@pytest.fixture
def unchecked():
    """The package as users have it: an argument of a wrong type meets its own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _room_for_programs():
    """Compiled programs are dropped when there are many; their maps tell, where they are listed."""
    yield
    count = next(TESTS)
    if MAPS.exists():
        many = count % 16 == 0 and MAPS.read_bytes().count(b"\n") > MOST_MAPS
    else:
        many = count % 256 == 0
    if many:
        jax.clear_caches()
        forget_context()


def pytest_terminal_summary(terminalreporter):
    """The score of the mutants, where they were run."""
    counts = {}
    for outcome in ("passed", "failed"):
        reports = terminalreporter.getreports(outcome)
        counts[outcome] = sum("test_mutant_is_killed" in report.nodeid for report in reports)
    if any(counts.values()):
        total = sum(counts.values())
        terminalreporter.write_line(f"mutants killed: {counts['passed']} of {total}")
