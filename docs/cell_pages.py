"""A page for each registered cell, and one index of them by family."""

import functools
import inspect
import math
import re
import typing
from collections.abc import Iterator
from html import escape
from typing import Any

import docstrings
import equinox as eqx
import full_equations
import jax
import public_names
import room_pages
import tables
from reference_pages import FAMILIES, START

import rnn_zoo as rz
from rnn_zoo._common.fixed import Fixed


INPUT, HIDDEN, TIME = 3, 8, 20
STEP = ("constants", "transition", "readout", "equation", "step", "init_state", "parts", "output")
# What a sentence of a docstring begins with that says when the cell serves.
SERVES = re.compile(r"(?:For|The cell is for|The safe first choice)\b")


def files() -> dict[str, str]:
    """The Markdown of every page, by its path."""
    pages = {f"cells/{name}.md": page(name) for name in rz.list_cells()}
    return {"cells/index.md": index(), **pages}


# --- one cell -------------------------------------------------------------------------------------


def page(name: str) -> str:
    info = rz.cell_info(name)
    (entry,) = [e for e in public_names.entries().values() if e.cell == name]
    hidden = "".join(f', "!^{method}$"' for method in STEP)
    options = f'      show_root_toc_entry: true\n      filters: ["!^_"{hidden}]\n'
    parts = [
        f"# {name} {{#cell-{name} data-toc-label='{name}'}}",
        _head(info),
        _when(info),
        _pictures(info),
        room_pages.section(entry, 2, options),
        "## The step in full",
        full_equations.html(info.full_equation) if info.full_equation else "",
        "[How it is read.](../reference/equations.md)" if info.full_equation else "",
        *_arrays(name),
        *_board(name),
        f"## Example\n\n```python\n{example(name)}```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(info: rz.CellInfo) -> str:
    title = FAMILIES[info.family][0]
    marks = [f"[{title}](index.md#{info.family}){{.mark}}"]
    marks += [f'<span class="mark">{text}</span>' for text in flags(info)]
    lines = [" ".join(marks), docstrings.linked(info.paper) + "."]
    if info.covers:
        others = (_other(name, options) for name, options in info.covers.items())
        lines.append(f"Also: {'; '.join(others)}.")
    return "\n\n".join(lines)


def flags(info: rz.CellInfo) -> list[str]:
    said = {
        "linear: parallel over time": info.linear,
        "timed: takes dt": info.timed,
        "stochastic: takes a key": info.stochastic,
        "complex state": info.complex_state,
    }
    return [text for text, on in said.items() if on]


def _other(name: str, options: typing.Mapping[str, Any]) -> str:
    given = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name} is `{given}`" if given else name


def _when(info: rz.CellInfo) -> str:
    """One paragraph: what the docstring says of it, what kind of cell it is, what it solved."""
    text = re.sub(r"\$\$.+?\$\$", ". ", inspect.getdoc(info.cls) or "", flags=re.S)
    sentences = re.split(r"(?<=[.;]) (?=[A-Z])", " ".join(text.split()))
    said = [sentence for sentence in sentences if SERVES.match(sentence)]
    if info.linear:
        said.append("Long sequences train in parallel over time.")
    if info.timed:
        said.append("Samples may be irregular in time.")
    solved = [tables.BOARD[task] for task, row in _rows(name=info.name).items() if _solved(row)]
    if solved:
        said.append(f"On the [board](#on-the-board) it solves {', '.join(solved)}.")
    text = docstrings.linked(" ".join(said), f"cells/{info.name}")
    return f'!!! tip "When to use it"\n\n    {text}' if said else ""


def _pictures(info: rz.CellInfo) -> str:
    """What `cell_pictures` draws."""
    drawn = {
        "pulse": "What a pulse at one input does to the outputs, before training.",
        "gradient": "How much gradient reaches the state some steps before.",
    }
    if info.linear:
        drawn["eigenvalues"] = "Eigenvalues of one step, in the unit circle."
    figures = "\n".join(
        f'<figure><img src="pictures/{info.name}_{kind}.png" alt="{text}" loading="lazy">'
        f"<figcaption>{text}</figcaption></figure>"
        for kind, text in drawn.items()
    )
    return f'<div class="pictures">\n{figures}\n</div>'


# --- arrays ---------------------------------------------------------------------------------------


@functools.cache
def _shapes(name: str) -> Any:
    """The cell with the shapes of its arrays in their place; building all cells takes long."""
    return eqx.filter_eval_shape(rz.make_cell, name, INPUT, HIDDEN, key=jax.random.key(0))


def _arrays(name: str) -> list[str]:
    """The tables of the parameters and of the state."""
    cell = _shapes(name)
    rows, count = [], 0
    for path, symbols, shape, dtype, trained in parameters(cell):
        count += math.prod(shape) if trained else 0
        rows.append([f"`{path}`", symbols, _shape(shape), dtype, "trained" if trained else "fixed"])
    state = eqx.filter_eval_shape(lambda cell: cell.init_state(), cell)
    held = [
        [f"`{_path(path) or 'state'}`", _shape(leaf.shape), leaf.dtype.name]
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    ]
    sizes = f"for {INPUT} inputs and {HIDDEN} units"
    call = "step(state, x, dt=1.0)" if cell.timed else "step(state, x)"
    x, y = _shape((cell.input_size,)), _shape((cell.output_size,))
    return [
        "## Parameters",
        _table(["array", "shape", sizes, "dtype", ""], rows),
        f"Trained numbers: {count} {sizes}.",
        "## State",
        _table(["array", sizes, "dtype"], held),
        f"`{call} -> (state, y)`: x is {x}, y is {y}.",
    ]


def parameters(cell: Any) -> Iterator[tuple[str, str, tuple[int, ...], str, bool]]:
    """(path, shape in the words of its annotation, shape, dtype, trained?) of every array."""
    leaves = jax.tree_util.tree_leaves_with_path(cell, is_leaf=lambda x: isinstance(x, Fixed))
    for path, leaf in leaves:
        fixed = isinstance(leaf, Fixed)
        value = eqx.filter_eval_shape(lambda fixed: fixed.value, leaf) if fixed else leaf
        if isinstance(value, jax.ShapeDtypeStruct):
            trained = not fixed and jax.numpy.issubdtype(value.dtype, jax.numpy.inexact)
            shape = tuple(value.shape)
            yield _path(path), _symbols(cell, path), shape, value.dtype.name, bool(trained)


def _symbols(cell: Any, path: Any) -> str:
    owner = cell
    for key in path[:-1]:
        owner = getattr(owner, key.name) if hasattr(key, "name") else owner[key.idx]
    annotations = getattr(type(owner), "__annotations__", {})
    annotation = annotations.get(getattr(path[-1], "name", ""))
    for each in (annotation, *typing.get_args(annotation)):
        for kind in (each, *typing.get_args(each)):
            if dims := getattr(kind, "dim_str", ""):
                return _shape(tuple(dims.split()))
    return ""


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path).removeprefix(".")


def _shape(shape: tuple[Any, ...]) -> str:
    return "(" + ", ".join(map(str, shape)).replace("*", r"\*") + "," * (len(shape) == 1) + ")"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- the board and the example --------------------------------------------------------------------


@functools.cache
def _rows(name: str) -> dict[str, dict[str, str]]:
    """The rows of the board, by task."""
    rows = tables.rows_of("board")
    return {task: rows[task, name] for task in tables.BOARD if (task, name) in rows}


def _solved(row: dict[str, str]) -> bool:
    return tables.place(row).startswith("**")


def _board(name: str) -> list[str]:
    rows = _rows(name)
    if not rows:
        return []
    cells = [
        [
            tables.BOARD[task],
            tables.place(row),
            f"{float(row['lowest']):.3g} to {float(row['highest']):.3g}",
            row["figure"],
            row["hidden_size"],
            row["parameters"],
            f"{float(row['seconds']):.0f} s",
        ]
        for task, row in rows.items()
    ]
    head = ["task", "median of 3 seeds", "range", "", "units", "parameters", "training"]
    return [
        "## On the board",
        _table(head, cells),
        "Bold: the task counts as solved. †: time ran out before half of the steps. "
        f"All cells side by side: {BOARD_PAGE}.",
    ]


BOARD_PAGE = "[Which cell](../which_cell.md)"


@functools.cache
def example(name: str) -> str:
    """A program that makes a registered cell and runs it over a sequence."""
    info = rz.cell_info(name)
    options = ", dt=jnp.linspace(0.5, 1.5, 20)" if info.timed else ""
    options += ', method="parallel"' if info.linear else ""
    lines = START if info.timed else START.replace("import jax.numpy as jnp\n", "")
    return (
        f"{lines}cell = rz.make_cell({name!r}, {INPUT}, {HIDDEN}, key=key)\n".replace("'", '"')
        + f"state, ys = rz.scan.unroll(cell, xs{options})\n"
        + f"assert ys.shape == ({TIME}, {_shapes(name).output_size})\n"
    )


# --- the index ------------------------------------------------------------------------------------


@functools.cache
def index() -> str:
    lead = (
        "A cell is one sample at one time step; `rz.Recurrent` makes a layer of it, "
        "`rz.make_model` a model. The small pictures show what a pulse at one input does to the "
        f"outputs before training. {BOARD_PAGE} compares them."
    )
    parts = ["# Cells", docstrings.linked(lead)]
    for family, (title, lead) in FAMILIES.items():
        here = [info for info in map(rz.cell_info, rz.list_cells()) if info.family == family]
        cards = "\n".join(map(_card, here))
        parts.append(f"## {title} {{#{family}}}\n\n{docstrings.linked(lead)}")
        parts.append(f'<div class="cards">\n{cards}\n</div>')
    return "\n\n".join(parts) + "\n"


def _card(info: rz.CellInfo) -> str:
    marks = " ".join(text.split(":")[0] for text in flags(info))
    return (
        f'<a class="card" href="{info.name}.html">'
        f'<img src="pictures/{info.name}_small.png" alt="" loading="lazy">'
        f"<strong>{info.name}</strong><span>{escape(re.sub(r', arXiv.*', '', info.paper))}</span>"
        f"<em>{marks}</em></a>"
    )
