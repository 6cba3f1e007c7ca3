"""The house rules that a machine can check."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import rnn_zoo as rz


PACKAGE = Path(rz.__file__).parent
RANKS = {
    name: rank
    for rank, names in enumerate(
        [
            ("linear",),
            ("_engine",),
            ("_common",),
            ("base",),
            ("declared", "init", "registry", "wiring"),
            ("cells",),
            ("wrappers",),
            ("_evaluators",),
            ("scan",),
            ("dynamics",),
            ("graphs",),
            ("layers",),
            ("interop",),
            ("models",),
            ("reservoir",),
            ("rl",),
            ("metrics", "streaming", "summaries", "testing"),
            ("data",),
            ("train",),
            ("viz",),
            ("cli",),
            ("__main__",),
        ]
    )
    for name in names
}


def modules():
    found = [rz]
    for info in pkgutil.walk_packages(rz.__path__, "rnn_zoo."):
        if not info.name.endswith("__main__"):
            found.append(importlib.import_module(info.name))
    return found


def module_classes():
    found = {}
    for module in modules():
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, eqx.Module):
                if value.__module__.startswith("rnn_zoo"):
                    found[value.__qualname__] = value
    return list(found.values())


def sources():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("cls", module_classes(), ids=lambda c: c.__name__)
def test_abstract_or_final(cls):
    abstract = bool(getattr(cls, "__abstractmethods__", ())) or bool(
        getattr(cls, "__abstractvars__", ())
    )
    assert cls.__name__.startswith("Abstract") == abstract
    for base in cls.__bases__:
        if base.__module__.startswith("rnn_zoo"):
            assert base.__name__.startswith("Abstract"), f"{cls} subclasses the final {base}"


@pytest.mark.parametrize("cls", module_classes(), ids=lambda c: c.__name__)
def test_no_concrete_method_is_overridden(cls):
    for name, member in vars(cls).items():
        if not callable(member) or name.startswith("__"):
            continue
        for base in cls.__mro__[1:]:
            inherited = vars(base).get(name)
            if inherited is not None and base.__module__.startswith("rnn_zoo"):
                assert getattr(inherited, "__isabstractmethod__", False), f"{cls}.{name}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = path.relative_to(PACKAGE).parts
    room = own[0].removesuffix(".py")
    if room == "__init__":
        return
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        if len(own) - node.level > 0:  # inside the same room
            continue
        targets = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
        for target in targets:
            assert RANKS[target] < RANKS[room] or target == room, f"{path}: {room} -> {target}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_source_rules(path):
    text = path.read_text()
    assert "from __future__ import annotations" not in text
    assert "super()" not in text
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert len(text.splitlines()) <= 400, "split this file by idea"
    if "cli" not in path.parts and path.name != "cli.py":
        assert not re.search(r"^\s*print\(", text, re.M)


@pytest.mark.parametrize("name", rz.list_cells())
def test_cell_docstrings_hold_equation_and_shapes(name):
    doc = rz.cell_info(name).cls.__doc__
    assert "$$" in doc
    assert re.search(r"\b(19|20)\d\d\b", doc), "the paper's year"
    assert "State" in doc


def test_public_names_are_documented():
    for name in dir(rz):
        value = getattr(rz, name)
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            assert inspect.getdoc(value), name


@pytest.mark.parametrize("name", rz.list_cells())
def test_registry_row_is_true(name):
    info = rz.cell_info(name)
    cell = rz.make_cell(name, 3, 8, key=jr.key(0))
    assert (info.linear, info.timed, info.stochastic) == (cell.linear, cell.timed, False)
    assert not cell.stochastic
    assert type(cell) is info.cls
    assert getattr(rz.cells, info.cls.__name__) is info.cls, "export it from rnn_zoo/cells"
    state = jax.tree.leaves(jax.eval_shape(cell.init_state))
    assert info.complex_state == any(jnp.issubdtype(s.dtype, jnp.complexfloating) for s in state)


def test_list_cells_filters():
    every = set(rz.list_cells())
    assert set(rz.list_cells(linear=True)) | set(rz.list_cells(linear=False)) == every
    assert set(rz.list_cells(timed=True)) == {n for n in every if rz.cell_info(n).timed}
    assert set(rz.list_cells(linear=True, timed=True)) <= set(rz.list_cells(linear=True))
    assert "lstm" not in rz.list_cells(linear=True)
