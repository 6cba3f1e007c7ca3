"""The reference as HTML, from the registry, the signatures and the docstrings.

python docs/reference.py            writes docs/reference/*.html
python docs/reference.py --check    exits with 1 if a file differs

Each page stands alone: no script, no style sheet or font from elsewhere. Signatures are read
from the source: the annotations of running objects print differently on each Python and JAX.
"""

import ast
import functools
import importlib
import inspect
import math
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import full_equations
import jax
import mathml
from reference_pages import (
    EXAMPLES,
    FAMILIES,
    FIRST,
    HELPERS,
    PAGES,
    PLAIN,
    ROOMS,
    START,
)

import rnn_zoo as rz
from rnn_zoo._common import notation as equations
from rnn_zoo._common.fixed import Fixed
from rnn_zoo.declared import AbstractDeclaredCell


HERE = Path(__file__).parent
OUT = HERE / "reference"
INPUT, HIDDEN, TIME = 3, 8, 20
TITLES = {**FAMILIES, **PAGES}


class Entry(NamedTuple):
    """A public object, its path (without `rz.`), and where it stands in the reference."""

    value: Any
    path: str
    page: str
    anchor: str
    cell: str | None

    @property
    def name(self) -> str:
        return self.path.split(".")[-1]


# --- what there is --------------------------------------------------------------------------------


def public() -> Iterator[tuple[str, Any]]:
    """(path, object) of every public name, the root first, then room by room."""
    yield from _offered(rz, "")
    for path, names in HELPERS.items():
        module = importlib.import_module(f"rnn_zoo.{path}")
        yield from ((f"{path}.{name}", getattr(module, name)) for name in names)


def _offered(module: types.ModuleType, path: str) -> Iterator[tuple[str, Any]]:
    shown = set(dir(module))
    order = [name for name in getattr(module, "__all__", vars(module)) if name in shown]
    values = [(path + name, getattr(module, name)) for name in order]
    yield from (row for row in values if callable(row[1]))
    for name, value in values:
        if inspect.ismodule(value):
            yield from _offered(value, f"{name}.")


def rooms() -> list[str]:
    """The paths of all rooms, each with a dot behind it; "" is the root."""
    return list(dict.fromkeys(path[: path.rfind(".") + 1] for path, _ in public()))


@functools.cache
def entries() -> dict[str, Entry]:
    """By path."""
    registered = {rz.cell_info(name).cls: name for name in rz.list_cells()}
    found = {}
    for path, value in public():
        cell = registered.get(value)
        page = rz.cell_info(cell).family if cell else _room(value)
        found[path] = Entry(value, path, page, cell or path, cell)
    return found


def _room(value: Any) -> str:
    if getattr(value, "__name__", "") in FIRST:
        return FIRST[value.__name__]
    if value.__module__ in _families():  # the state of a cell, beside it
        return _families()[value.__module__]
    rooms = [prefix for prefix in ROOMS if (value.__module__ + ".").startswith(prefix + ".")]
    if not rooms:
        raise ValueError(f"no page for {value!r} of {value.__module__}: give ROOMS a row")
    return ROOMS[max(rooms, key=len)]


@functools.cache
def _families() -> dict[str, str]:
    """The family of the cells of each file."""
    every = map(rz.cell_info, rz.list_cells())
    return {info.cls.__module__: info.family for info in every}


def on_page(page: str) -> list[Entry]:
    """Cells in the order of the registry, other classes, functions in the order of export."""
    here = {entry.anchor: entry for entry in entries().values() if entry.page == page}
    cells = [here.pop(name) for name in rz.list_cells() if name in here]
    rest = sorted(here.values(), key=lambda entry: _kind(entry.value))
    return cells + rest


def _kind(value: Any) -> int:
    if not inspect.isclass(value):
        return 2
    return 0 if value.__name__.startswith("Abstract") else 1


# --- the source -----------------------------------------------------------------------------------


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def source(value: Any) -> ast.ClassDef | ast.FunctionDef | None:
    """The definition of a class or function; None where it is not this library's."""
    if not value.__module__.startswith("rnn_zoo"):
        return None
    path = sys.modules[value.__module__].__file__
    assert path is not None
    nodes = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    named = [node for node in nodes if node.name == value.__name__]
    if named:
        return named[0]
    line = inspect.unwrap(value).__code__.co_firstlineno
    return next(node for node in nodes if node.lineno == line)


def _constant(value: Any) -> bool:
    return not inspect.isclass(value) and not inspect.isfunction(inspect.unwrap(value))


def constant_doc(entry: Entry) -> str:
    """The string below the assignment of a module's constant."""
    body = _tree(str(inspect.getsourcefile(type(entry.value)))).body
    for one, two in zip(body, body[1:]):
        if isinstance(one, ast.Assign) and _text(one.targets[0]) == entry.name:
            if isinstance(two, ast.Expr) and isinstance(two.value, ast.Constant):
                return inspect.cleandoc(str(two.value.value))
    raise ValueError(f"no docstring below the assignment of {entry.name}")


def signature(name: str, node: ast.ClassDef | ast.FunctionDef | None, value: Any = None) -> str:
    """As one line where it fits, else a line for each argument.

    `value` is the class itself where its fields may declare its constructor.
    """
    if node is None or (isinstance(node, ast.ClassDef) and node.name.startswith("Abstract")):
        return ""
    back = ""
    if isinstance(node, ast.ClassDef):
        made = _method(node, "__init__")
        if _is_declared(value):
            arguments = _declared(value, node)
        else:
            arguments = _arguments(made.args)[1:] if made else _fields(node)
    else:
        method = bool(node.args.args) and node.args.args[0].arg == "self"
        arguments = _arguments(node.args)[method:]
        back = f" -> {_text(node.returns)}" if node.returns else ""
    line = f"{name}({', '.join(arguments)}){back}"
    if len(line) <= 76 or not arguments:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){back}"


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    found = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return next(found, None)


def _arguments(args: ast.arguments) -> list[str]:
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    texts = [_argument(a, d) for a, d in zip(plain, defaults)]
    if args.vararg:
        texts.append("*" + _argument(args.vararg, None))
    elif args.kwonlyargs:
        texts.append("*")
    texts += [_argument(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults)]
    if args.kwarg:
        texts.append("**" + _argument(args.kwarg, None))
    return texts


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation:
        text += f": {_text(argument.annotation)}"
    if default is not None:
        text += f"{' = ' if argument.annotation else '='}{_text(default)}"
    return text


def _is_declared(value: Any) -> bool:
    """Whether the fields of this class declare its constructor."""
    derived = inspect.isclass(value) and issubclass(value, AbstractDeclaredCell)
    return derived and "__init__" in vars(value) and value is not AbstractDeclaredCell


GIVEN = {
    "input_size": "int",
    "hidden_size": "int",
    "use_bias": "bool",
    "dtype": "Any",
    "key": "PRNGKeyArray",
}


def _declared(value: Any, node: ast.ClassDef) -> list[str]:
    """The arguments of a constructor that the fields of a class declare."""
    fields = {_text(f.target): f for f in node.body if isinstance(f, ast.AnnAssign)}
    texts = []
    for name, parameter in inspect.signature(value).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        if name in GIVEN:
            text = f"{name}: {GIVEN[name]}"
            known = parameter.default is not inspect.Parameter.empty
            texts.append(f"{text} = {parameter.default!r}" if known else text)
        else:
            field = fields[name]
            annotation = re.sub(r"^ClassVar\[(.*)\]$", r"\1", _text(field.annotation))
            assert isinstance(field.value, ast.Call)
            texts.append(f"{name}: {annotation} = {_text(field.value.args[0])}")
    return texts


def _fields(node: ast.ClassDef) -> list[str]:
    texts = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and not _text(field.annotation).startswith("ClassVar"):
            text = f"{_text(field.target)}: {_text(field.annotation)}"
            value = field.value
            if isinstance(value, ast.Call):  # eqx.field(static=True, default=...)
                value = next((k.value for k in value.keywords if k.arg == "default"), None)
            texts.append(text + (f" = {_text(value)}" if value is not None else ""))
    return texts


def _text(node: ast.expr | None) -> str:
    if node is None:
        return ""
    # Strings within are shapes and choices; the library writes them in double quotes.
    return ast.unparse(node).replace("'", '"')


# --- docstrings -----------------------------------------------------------------------------------

MARKS = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\$(?P<math>[^$]+)\$"
    r"|arXiv:(?P<arxiv>\d{4}\.\d{4,5})",
)


def prose(text: str, page: str) -> str:
    """A docstring: paragraphs, lists, indented code, formulas, code with links to its names."""
    html = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if block.startswith("    "):
            code = escape(textwrap.dedent(block).rstrip(), quote=False)
            if html and html[-1].endswith("</pre>"):
                html[-1] = html[-1].removesuffix("</code></pre>") + f"\n\n{code}</code></pre>"
            else:
                html.append(f"<pre><code>{code}</code></pre>")
            continue
        for i, piece in enumerate(re.split(r"\$\$(.+?)\$\$", block, flags=re.S)):
            if i % 2:
                html.append(mathml.display(piece))
            elif piece.strip(" .\n"):
                html.append(_paragraph(piece.strip(), page))
    return "\n".join(html)


def _paragraph(text: str, page: str) -> str:
    head, *items = re.split(r"(?:^|\n)- ", text)
    html = f"<p>{_line(head, page)}</p>" if head.strip() else ""
    if items:
        html += "<ul>" + "".join(f"<li>{_line(item, page)}</li>" for item in items) + "</ul>"
    return html


def _line(text: str, page: str) -> str:
    html, end = [], 0
    text = " ".join(text.split())
    for mark in MARKS.finditer(text):
        html.append(escape(text[end : mark.start()], quote=False))
        end = mark.end()
        if mark["code"]:
            html.append(_code(mark["code"], page))
        elif mark["bold"]:
            html.append(f"<strong>{escape(mark['bold'])}</strong>")
        elif mark["math"]:
            html.append(mathml.inline(mark["math"]))
        else:
            html.append(_arxiv(mark["arxiv"]))
    return "".join(html) + escape(text[end:], quote=False)


def _arxiv(number: str) -> str:
    return f'<a href="https://arxiv.org/abs/{number}">arXiv:{number}</a>'


def _code(code: str, page: str) -> str:
    shown = f"<code>{escape(code, quote=False)}</code>"
    entry = _meant(code.removeprefix("rnn_zoo.").removeprefix("rz."), page)
    return f'<a href="{_href(entry, page)}">{shown}</a>' if entry else shown


def _meant(code: str, page: str) -> Entry | None:
    """What `name`, `module.name` or `name(...)` means; None where that is not certain."""
    path = re.sub(r"\(.*\)$", "", code, flags=re.S)
    if path in entries():
        return entries()[path]
    found = [entries().get(room + path) for room in rooms()]
    found = [entry for entry in found if entry]
    here = [entry for entry in found if entry.page == page]
    if here:
        return here[0]
    # Names of helpers are plain words, such as `ring`, that mean other things elsewhere.
    found = [entry for entry in found if not entry.path.startswith(PLAIN)]
    return found[0] if len(found) == 1 else None


def _href(entry: Entry, page: str) -> str:
    return ("" if entry.page == page else f"{entry.page}.html") + f"#{entry.anchor}"


# --- sections -------------------------------------------------------------------------------------


def section(entry: Entry) -> str:
    """One public object."""
    node = None if _constant(entry.value) else source(entry.value)
    name = entry.name
    parts = [f'<section id="{entry.anchor}">']
    if entry.cell:
        parts.append(f'<span id="{entry.path}"></span>')
        parts.append(_cell_head(entry))
    else:
        parts.append(f"<h2><code>rz.{escape(entry.path)}</code></h2>")
    if _constant(entry.value):
        parts.append(prose(constant_doc(entry), entry.page))
    elif isinstance(node, ast.ClassDef):
        parts.append(prose(entry.value.__doc__ or "", entry.page))
        if call := _call(name, node, entry.value):
            parts.append(f"<h3>Made by</h3>{call}")
        parts += _class_rest(node, entry)
    else:
        parts.append(_call(name, node))
        parts.append(prose(entry.value.__doc__ or "", entry.page))
    if entry.cell:
        parts += _instance(entry)
    return "\n".join([*(part for part in parts if part), "</section>"])


def _call(name: str, node: ast.ClassDef | ast.FunctionDef, value: Any = None) -> str:
    text = signature(name, node, value)
    return f"<pre><code>{escape(text, quote=False)}</code></pre>" if text else ""


def _class_rest(node: ast.ClassDef, entry: Entry) -> list[str]:
    """What the constructor says, documented fields, documented methods."""
    parts, page = [], entry.page
    made = _method(node, "__init__")
    if made and (doc := ast.get_docstring(made)):
        parts.append(prose(doc, page))
    elif _is_declared(entry.value):
        parts.append(prose(entry.value.__init__.__doc__, page))
    fields = []
    for one, two in zip(node.body, node.body[1:]):
        if not isinstance(one, ast.AnnAssign) or not isinstance(two, ast.Expr):
            continue
        if isinstance(two.value, ast.Constant):
            text = _line(inspect.cleandoc(str(two.value.value)), page)
            fields.append(f"<li><code>{_text(one.target)}</code>: {text}</li>")
    if fields:
        parts.append(f"<ul>{''.join(fields)}</ul>")
    for method in node.body:
        if not isinstance(method, ast.FunctionDef) or not (doc := ast.get_docstring(method)):
            continue
        if method.name.startswith("_") and method.name != "__call__":
            continue
        if entry.cell and method.name in STEP:  # shown as a whole, further down
            continue
        parts.append(f"<h3><code>.{method.name}</code></h3>")
        kinds = [_text(decorator) for decorator in method.decorator_list]
        if "property" not in kinds:
            parts.append(_call(method.name, method))
        parts.append(prose(doc, page))
    return parts


def _cell_head(entry: Entry) -> str:
    assert entry.cell is not None
    info = rz.cell_info(entry.cell)
    flags = {
        "linear: runs in parallel over time": info.linear,
        "timed: takes dt": info.timed,
        "no dt": not info.timed,
        "stochastic: takes a key": info.stochastic,
        "complex state": info.complex_state,
    }
    marks = "".join(f'<span class="flag">{flag}</span>' for flag, on in flags.items() if on)
    return (
        f'<h2><code>{entry.cell}</code> <span class="class">{info.cls.__name__}</span></h2>\n'
        f"<p>{marks}</p>\n"
        f'<p class="paper">{_line(info.paper, entry.page)}</p>' + _also(info)
    )


def _also(info: rz.CellInfo) -> str:
    """Other published names, with the options that make the cell what they say."""
    if not info.covers:
        return ""
    parts = []
    for name, options in info.covers.items():
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        parts.append(escape(name) + (f" (<code>{escape(given)}</code>)" if given else ""))
    return f'\n<p class="also">Covers: {", ".join(parts)}.</p>'


@functools.cache
def _shapes(name: str) -> Any:
    """The cell with the shapes of its arrays in their place; building all cells takes long."""
    return eqx.filter_eval_shape(rz.make_cell, name, INPUT, HIDDEN, key=jax.random.key(0))


def _instance(entry: Entry) -> list[str]:
    assert entry.cell is not None
    cell = _shapes(entry.cell)
    rows, count = [], 0
    for path, symbol, shape, dtype, trained in parameters(cell):
        count += math.prod(shape) if trained else 0
        kind = "trained" if trained else "fixed"
        rows.append([f"<code>{path}</code>", escape(symbol), _shape(shape), dtype, kind])
    state = eqx.filter_eval_shape(lambda cell: cell.init_state(), cell)
    held = [
        [f"<code>{_path(path) or 'state'}</code>", _shape(leaf.shape), leaf.dtype.name]
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    ]
    sizes = f"for {INPUT} inputs and {HIDDEN} units"
    head = ["array", "shape", sizes, "dtype", ""]
    if not any(row[1] for row in rows):  # arrays of Equinox's own modules, without shape strings
        head, rows = [head[0], f"shape {sizes}", *head[3:]], [[row[0], *row[2:]] for row in rows]
    made = f"<h3>Parameters</h3>\n{_table(head, rows)}\n<p>Trained numbers: {count} {sizes}.</p>"
    kept = f"<h3>State</h3>\n{_table(['array', 'shape ' + sizes, 'dtype'], held)}"
    call = "step(state, x, dt=1.0)" if cell.timed else "step(state, x)"
    shapes = f"x is {_shape((cell.input_size,))}, y {_shape((cell.output_size,))}"
    kept += f"\n<p><code>{call} -&gt; (state, y)</code>: {shapes}.</p>"
    example = f"<h3>Example</h3>\n<pre><code>{escape(cell_example(entry.cell), False)}</code></pre>"
    return [_in_code(entry), _in_full(entry), made, kept, example]


STEP = ("constants", "transition", "readout", "equation", "step")


def _in_code(entry: Entry) -> str:
    """The constants and the formula, as they stand in the class."""
    methods = [vars(entry.value)[name] for name in STEP if name in vars(entry.value)]
    here = [m for m in methods if inspect.isfunction(m) and m.__module__ == entry.value.__module__]
    code = "\n".join(textwrap.dedent(inspect.getsource(method)) for method in here)
    return f"<h3>The step in code</h3>\n<pre><code>{escape(code, quote=False)}</code></pre>"


def _in_full(entry: Entry) -> str:
    """The equation that the tests compute, where it is complete."""
    assert entry.cell is not None
    html = full_equations.html(rz.cell_info(entry.cell).full_equation)
    how = '<p class="also"><a href="index.html#notation">How to read it.</a></p>'
    return f"<h3>The step in full</h3>\n{html}\n{how}"


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
    if not hasattr(path[-1], "name"):
        return ""
    node = source(type(owner))
    for field in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(field, ast.AnnAssign) and _text(field.target) == path[-1].name:
            return _shape_text(field.annotation)
    return ""


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path).removeprefix(".")


def _shape_text(annotation: ast.expr) -> str:
    """The shape string of a jaxtyping annotation, None aside."""
    found = re.search(r'\w+\[\w+, " ?([^"]*)"\]', _text(annotation))
    axes = found[1].split() if found else []
    return f"({', '.join(axes)}{',' * (len(axes) == 1)})" if found else ""


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _table(head: list[str], rows: list[list[str]]) -> str:
    columns = "".join(f"<th>{name}</th>" for name in head)
    lines = "\n".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{columns}</tr>\n{lines}\n</table></div>'


@functools.cache
def cell_example(name: str) -> str:
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


# --- pages ----------------------------------------------------------------------------------------


def page_example(name: str) -> str:
    """The program of a page, its imports in front."""
    lines = EXAMPLES[name].splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = "\n".join(line for line in lines if line not in imports).lstrip("\n")
    above = "".join(f"{line}\n" for line in imports)
    gap = "\n\n" if rest.startswith("class ") else "\n"
    first, then = START.split("import rnn_zoo as rz\n")
    return f"{first}{above}import rnn_zoo as rz\n{then}{gap}{rest}\n"


def page(name: str) -> str:
    """The HTML of one family or group."""
    title, lead = TITLES[name]
    here = on_page(name)
    body = [f"<h1>{title}</h1>", f"<p>{lead}</p>"]
    if name in EXAMPLES:
        text = page_example(name)
        body.append(f"<pre><code>{escape(text, quote=False)}</code></pre>")
    body += map(section, here)
    return _html(name, title, [(e.anchor, e.cell or e.name) for e in here], body)


def index() -> str:
    """The first page: the cells by family, the other pages, every name."""
    rows = []
    for name in rz.list_cells():
        info = rz.cell_info(name)
        rows.append(
            [
                f'<a href="{info.family}.html#{name}"><code>{name}</code></a>',
                f'<a href="{info.family}.html">{info.family}</a>',
                _line(info.paper, ""),
                "yes" if info.linear else "",
                "yes" if info.timed else "",
                "yes" if info.complex_state else "",
            ]
        )
    groups = "".join(
        f'<li><a href="{name}.html">{title}</a>: {lead}</li>'
        for name, (title, lead) in PAGES.items()
    )
    body = [
        "<h1>rnn_zoo: reference</h1>",
        "<p>Every cell by family, with its equation, parameters, state and paper, and every "
        "public name. A cell is one sample at one time step; <code>rz.Recurrent(cell)</code> "
        "makes a layer of it, <code>rz.make_model(name, ...)</code> a model. In the examples "
        "<code>rz</code> is <code>rnn_zoo</code>.</p>",
        '<section id="cells"><h2>Cells</h2>',
        _table(["name", "family", "paper", "linear", "timed", "complex state"], rows),
        "<p>Linear: h' = A h + b with A and b from x and dt alone, so that a sequence runs in "
        "parallel over time. Timed: the step takes dt, elapsed time in units of the cell's nominal "
        "step. No registered cell is stochastic as it is made by default. Cells read vectors; for "
        'tokens, <a href="models.html#SequenceModel"><code>rz.SequenceModel</code></a> takes an '
        "embedding.</p></section>",
        '<section id="notation"><h2>Steps in full</h2>',
        "<p>Every cell shows its whole step, which <code>rz.cell_info(name).full_equation</code> "
        "holds as plain text; the tests compute it and compare it with the cell. In formulas, "
        "⊙ stands for <code>*</code> and σ for <code>sig</code>.</p>",
        f"{prose(equations.__doc__ or '', '')}</section>",
        f'<section id="other"><h2>Everything else</h2><ul>{groups}</ul></section>',
        '<section id="names"><h2>All names</h2><p>What is typed every day stands at the root, all '
        f"else in its room, at one place each.</p>{''.join(map(_names, rooms()))}</section>",
    ]
    contents = [
        ("cells", "Cells"),
        ("notation", "Steps in full"),
        ("other", "Everything else"),
        ("names", "All names"),
    ]
    return _html("index", "reference", contents, body)


def _names(room: str) -> str:
    """The names of one room, in the order of the alphabet."""
    here = [entry for path, entry in entries().items() if path == room + entry.name]
    items = "".join(
        f'<li><a href="{_href(entry, "")}"><code>rz.{entry.path}</code></a></li>'
        for entry in sorted(here, key=lambda entry: entry.path.lower())
    )
    title = f"<code>rz.{room[:-1]}</code>" if room else "The root"
    return f'<h3>{title}</h3><ul class="index">{items}</ul>'


def _html(name: str, title: str, contents: list[tuple[str, str]], body: list[str]) -> str:
    links = [("index", "Index"), *((n, t.removesuffix(" cells")) for n, (t, _) in FAMILIES.items())]
    links += [(n, t) for n, (t, _) in PAGES.items()]
    pages = "\n".join(
        f'<a href="{n}.html"{" aria-current=" + chr(34) + "page" + chr(34) if n == name else ""}>'
        f"{t}</a>"
        for n, t in links
    )
    here = "\n".join(f'<a href="#{anchor}">{escape(text)}</a>' for anchor, text in contents)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>rnn_zoo: {title}</title>
<style>
{(HERE / "reference.css").read_text()}</style>
</head>
<body>
<nav class="pages" aria-label="Pages">
{pages}
</nav>
<div class="frame">
<nav class="contents" aria-label="On this page"><div>
<p>On this page</p>
{here}
</div></nav>
<main>
{chr(10).join(body)}
</main>
</div>
</body>
</html>
"""


def files() -> dict[str, str]:
    """The text of every file, by its name."""
    makers: dict[str, Callable[[], str]] = {"index": index}
    makers |= {name: functools.partial(page, name) for name in TITLES}
    return {f"{name}.html": make() for name, make in makers.items()}


def main() -> int:
    families = {rz.cell_info(name).family for name in rz.list_cells()}
    if families != set(FAMILIES):
        raise ValueError(f"FAMILIES and the registry differ in {families ^ set(FAMILIES)}")
    new = files()
    old = {path.name: path.read_text() for path in OUT.glob("*.html")}
    if "--check" in sys.argv:
        print(*sorted(name for name in {*new, *old} if new.get(name) != old.get(name)))
        return int(new != old)
    OUT.mkdir(exist_ok=True)
    for name in set(old) - set(new):
        (OUT / name).unlink()
    for name, text in new.items():
        (OUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
