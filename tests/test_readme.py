"""README, pages and CONTRIBUTING tell the truth: blocks run, links lead, tables are current."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import equation
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import references

import rnn_zoo as rz
from rnn_zoo import registry
from rnn_zoo.cells import gated


ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pages"
# test_fit_loop, test_processes and test_chunks run these.
ELSEWHERE = {"howto/training.md", "howto/devices.md", "howto/chunks.md"}
OPTIONAL = {"flax", "haiku", "jax2onnx", "ncps", "onnxruntime", "torch"}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def pages():
    """README and the pages that have blocks, by name."""
    found = {"README.md": ROOT / "README.md"}
    found |= {str(p.relative_to(FOLDER)): p for p in sorted(FOLDER.rglob("*.md"))}
    return found


def with_blocks():
    return [n for n, p in pages().items() if n not in ELSEWHERE and BLOCK.search(p.read_text())]


def imported(code):
    """The packages that a block needs."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("name", with_blocks())
def test_blocks_run_in_order(name, capsys, tmp_path, monkeypatch):
    """Each printed line is the one that the comment beside its print promises.

    A page whose first block needs what is not here is skipped, and so is a later block alone.
    """
    text = pages()[name].read_text()
    blocks = BLOCK.findall(text)
    for package in set(imported(blocks[0])) & OPTIONAL:
        pytest.importorskip(package, exc_type=ImportError)
    blocks = [block for block in blocks if all(map(find_spec, {*imported(block)} & OPTIONAL))]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    names = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    promised = re.findall(r"^print\(.*\)\s+# (.+)$", "\n".join(blocks), re.M)
    assert capsys.readouterr().out.splitlines() == promised


def anchors(text):
    """What a heading is called in a link."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name):
    """To a file and a heading that are there; the site takes no links to folders."""
    path = pages()[name]
    for target in LINK.findall(re.sub(r"`[^`]*`", "", path.read_text())):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        assert name == "README.md" or place.is_file(), target
        assert not anchor or anchor in anchors(place.read_text()), target


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_tables_are_current():
    command = [sys.executable, ROOT / "docs" / "tables.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, "run python docs/tables.py\n" + run.stderr


@pytest.fixture
def contributing(monkeypatch):
    """The Python blocks of the page; what they register is forgotten afterwards."""
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)


def test_the_new_cell_of_contributing_keeps_the_laws(contributing):
    """What its three places get fits together: reference, class with full equation, mutants."""
    reference, cell_class, rows = contributing[:3]
    of_tests, of_family = dict(vars(references)), dict(vars(gated))
    exec(reference, of_tests)
    exec(cell_class, of_family)
    mutants = eval(f"{{{rows}}}", {"EQUATION": "{}"})
    with jax.enable_x64(True):
        cell = rz.make_cell("mut3", 3, 5, forget_bias=0.7, key=jr.key(0))
        h, x = np.asarray(jr.normal(jr.key(1), (5,))), np.asarray(jr.normal(jr.key(2), (3,)))
        state, y = cell.step(jnp.asarray(h), jnp.asarray(x))
        expected, _ = of_tests["mut3"](cell, h, x, 1.0)
        in_full, _ = equation.step(rz.cell_info("mut3").full_equation, cell, h, x, 1.0, set())
    for other in (y, expected, in_full):
        np.testing.assert_allclose(state, other, rtol=1e-12, atol=1e-12)
    for file, old, new, _ in mutants.values():
        assert file == "cells/gated.py"
        assert cell_class.count(old) == 1
        assert old != new


def test_cells_of_your_own_run(contributing):
    names = {}
    for block in contributing[3:]:
        exec(block, names)
    assert names["ys"].shape == (20, 3)
    assert names["scores"].shape == (2,)
