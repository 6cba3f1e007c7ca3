"""README and CONTRIBUTING tell the truth: their Python blocks run, their tables are current."""

import re
import subprocess
import sys
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
README = (ROOT / "README.md").read_text()


def test_blocks_run_in_order(capsys):
    """Each printed line is the one that the comment beside its print promises."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 5
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    promised = re.findall(r"^print\(.*\)\s+# (.+)$", README, re.M)
    assert capsys.readouterr().out.splitlines() == promised


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
