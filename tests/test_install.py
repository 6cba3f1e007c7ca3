"""What a user gets: an import without side effects, and a wheel that is whole."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import rnn_zoo as rz
from rnn_zoo._common import extras


ROOT = Path(__file__).parents[1]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def python(code, **options):
    return run(sys.executable, "-c", code, **options)


def installed(*distributions):
    try:
        return all(version(name) for name in distributions)
    except PackageNotFoundError:
        return False


# `import rnn_zoo` alone reads few files: all names, and with them all rooms, are asked for.
EVERYTHING = "from rnn_zoo import *; import rnn_zoo"


# --- the import -----------------------------------------------------------------------------------


def test_import_prints_nothing():
    done = python(EVERYTHING)
    assert done.stdout == done.stderr == ""


def test_import_needs_the_core_dependencies_only():
    optional = ["flax", "keras", "matplotlib", "ncps", "networkx", "safetensors", "sklearn"]
    optional += ["torch", "tqdm"]
    # Asked for, not only loaded: `try: import torch` is slow for who has it. The dependencies come
    # first: what they ask for is not ours.
    code = f"""
import sys
import equinox, jax, jaxtyping, numpy, optax

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in {optional}:
            asked.append(name)

asked = []
sys.meta_path.insert(0, Watch())
{EVERYTHING}
print(asked)
"""
    assert python(code).stdout == "[]\n"


def test_import_sets_no_global_state():
    code = f"""
import os, sys, warnings
import equinox, jax, jaxtyping, numpy, optax

def state():
    return {{
        "jax.config": dict(jax.config.values),
        "os.environ": dict(os.environ),
        "warnings": list(warnings.filters),
        "numpy.errstate": numpy.geterr(),
        "numpy.printoptions": numpy.get_printoptions(),
        "sys.path": list(sys.path),
    }}

before = state()
{EVERYTHING}
after = state()
print([name for name in before if before[name] != after[name]])
"""
    assert python(code).stdout == "[]\n"


def test_import_starts_no_backend():
    # A platform nobody has: an array made on import would be an error, and a seized GPU elsewhere.
    python(f"{EVERYTHING}, rnn_zoo.cli.main", env=os.environ | {"JAX_PLATFORMS": "none"})


def test_import_reads_few_files():
    """What `import rnn_zoo` costs beside its dependencies: names are read when they are asked for.

    A count, since times differ from run to run. Asking for one cell does not read all rooms.
    """
    code = """
import sys
import equinox, optax
before = set(sys.modules)
import rnn_zoo
read = [set(sys.modules) - before]
rnn_zoo.make_cell
rnn_zoo.cell_info("gru")
read.append({name.split(".")[1] for name in sys.modules if name.startswith("rnn_zoo.")})
print(len(read[0]), sorted(read[1] & {"cli", "data", "interop", "layers", "train", "viz"}))
"""
    count, others = python(code).stdout.split(maxsplit=1)
    assert int(count) <= 10
    assert others == "[]\n"


def test_every_name_is_read_where_it_stands():
    """The tables of `rnn_zoo/__init__.py` say what its imports for checkers of types say."""
    source = (ROOT / "rnn_zoo" / "__init__.py").read_text()
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    files, rooms = {}, ()
    for line in block.body:
        names = tuple(alias.name for alias in line.names)
        assert names == tuple(alias.asname for alias in line.names)
        if line.module is None:
            rooms = names
        else:
            files[line.module] = names
    assert rz._ROOM_NAMES == rooms
    assert files == rz._FILES


@pytest.mark.slow
def test_every_name_can_be_the_first_that_is_asked_for():
    code = """
import os
import equinox, optax
import rnn_zoo as rz
names = [*rz._ROOM_NAMES, *rz._HIDDEN, *(names[0] for names in rz._FILES.values())]
wrong = []
for name in names:
    child = os.fork()
    if not child:
        done = 1
        try:
            getattr(rz, name)
            done = 0
        finally:
            os._exit(done)
    wrong += [name] if os.waitpid(child, 0)[1] else []
print(wrong)
"""
    assert python(code).stdout == "[]\n"


def test_what_to_install_is_true_for_a_checkout_and_for_a_package(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert extras.installing("plot") == 'pip install "rnn-zoo[plot]"'
    (tmp_path / "pyproject.toml").touch()
    assert extras.installing("plot") == f'pip install -e "{tmp_path}[plot]"'
    monkeypatch.chdir(tmp_path)
    assert extras.installing("plot") == 'pip install -e ".[plot]"'


def test_every_extra_that_a_message_names_is_there():
    with open(ROOT / "pyproject.toml", "rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    named = set()
    for path in (ROOT / "rnn_zoo").rglob("*.py"):
        text = path.read_text()
        named |= set(re.findall(r"missing\(\s*f?\"[^\"]*\",\s*\"(\w+)\"", text))
        assert "pip install" not in text or path.name in ("extras.py", "torch_layers.py"), path
    assert {"plot", "demo", "data", "wiring", "checkpoint"} <= named <= set(known)


# --- the wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    if installed("build", "hatchling"):
        tool = ["build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    else:
        tool = ["pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT]
    # From another folder, so that `build/` in the checkout is not taken for the tool.
    run(sys.executable, "-m", *tool, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_holds_the_package_types_and_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "rnn_zoo/py.typed" in names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rnn_zoo").rglob("*.py")}
    assert sources <= set(names)
    data = [n for n in names if n.startswith("rnn_zoo/_datasets/japanese_vowels")]
    assert any(n.endswith(".npz") for n in data)
    assert any(n.endswith("licenses/LICENSE") for n in names)


@pytest.mark.slow
def test_wheel_holds_nothing_else(wheel):
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    tops = {name.parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rnn_zoo"}
    assert [n for n in names if n.name.startswith(("test_", "conftest"))] == []
    assert [n for n in names if {"tests", "__pycache__"} & set(n.parts)] == []


@pytest.mark.slow
def test_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Not an environment of its own: the dependencies come from this one, the package from `site`.
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel)
    code = """
import json
import rnn_zoo as rz
rz.data.load("japanese_vowels")
print(json.dumps([rz.__file__, rz.list_cells()]))
"""
    env = os.environ | {"PYTHONPATH": str(site)}
    file, cells = json.loads(python(code, cwd=elsewhere, env=env).stdout)
    assert Path(file).is_relative_to(site)
    assert "lstm" in cells
