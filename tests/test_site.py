"""What the documentation site is made of: complete, each thing once, its links meant."""

import collections
import importlib
import inspect
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rnn_zoo as rz


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def folder():
    sys.path.insert(0, str(ROOT / "docs"))
    yield
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture
def site(folder):
    """A module of the folder `docs`, by its name."""
    return importlib.import_module


def exported(module=rz, path=""):
    """The path of every name that is offered, root and rooms; the rooms themselves are no names."""
    for name in dir(module):
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from exported(value, f"{path}{name}.")
        # A number, such as NO_TARGET, is explained where it is used.
        elif not isinstance(value, int):
            yield path + name


def anchors(text):
    return re.findall(r"\[\]\(\)\{#rz\.([\w.]+)\}", text)


def test_every_public_name_is_on_one_page(site):
    rooms = site("room_pages").files().values()
    cells = [entry.path for entry in site("public_names").entries().values() if entry.cell]
    count = collections.Counter([*cells, *(name for text in rooms for name in anchors(text))])
    names = set(exported())
    assert len(names) > 200
    assert {name: count[name] for name in names if count[name] != 1} == {}


@pytest.mark.parametrize("name", rz.list_cells())
def test_every_cell_has_its_parts(site, name):
    text, info = site("cell_pages").page(name), rz.cell_info(name)
    assert anchors(text) == [f"cells.{info.cls.__name__}"]
    for part in ("The step in full", "Parameters", "State", "Example"):
        assert f"\n## {part}\n" in text
    assert f"::: {info.cls.__module__}.{info.cls.__name__}\n" in text
    assert ("timed: takes dt" in text) == info.timed
    assert ("eigenvalues.png" in text) == info.linear
    assert f'href="{name}.html"' in site("cell_pages").index()
    assert re.search(r"\b(?:19|20)\d\d\b", info.paper)


def test_definitions_are_found_in_the_source(site):
    """By griffe, which reads the source without running it; constructors come from the fields."""
    griffe = pytest.importorskip("griffe")
    names = site("griffe_names").PublicNames()
    package = griffe.load("rnn_zoo", search_paths=[ROOT], extensions=griffe.load_extensions(names))
    lstm = package["cells.gated.LSTMCell"]
    parameters = [parameter.name for parameter in lstm.parameters]
    assert parameters == ["self", *inspect.signature(rz.cells.LSTMCell).parameters]
    assert "[`LSTMState(h, c)`][rz.cells.LSTMState]" in lstm.docstring.value
    for entry in site("public_names").entries().values():
        found = package[entry.defined.removeprefix("rnn_zoo.")]
        assert found.has_docstring, entry.path


@pytest.mark.slow
@pytest.mark.parametrize("name", rz.list_cells())
def test_examples_of_cells_run(site, name):
    run(site("cell_pages").example(name))


@pytest.mark.slow
def test_examples_of_rooms_run(site):
    rooms = site("room_pages")
    for name in rooms.EXAMPLES:
        run(rooms.page_example(name))


def run(text):
    exec(compile(text, "example", "exec"), {"__name__": "example"})


def test_docstrings_to_markdown(site):
    text = """A sum.

    $$a = b$$ of `rz.make_cell` and `mine`, arXiv:1234.56789:
    - one
      goes on
    - `lstm`

        x = 1

        y = 2
    """
    assert site("docstrings").markdown(text) == (
        "A sum.\n\n$$\na = b\n$$\n\nof [`rz.make_cell`][rz.make_cell] and `mine`, "
        "[arXiv:1234.56789](https://arxiv.org/abs/1234.56789):\n\n"
        "- one\n  goes on\n- [`lstm`][cell-lstm]\n\n```python\nx = 1\n\ny = 2\n```"
    )


def test_links_of_pages_that_leave_their_folder(site, tmp_path):
    for path in ("docs/pages/howto/a.md", "notebooks/b.ipynb", "c.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    page = tmp_path / "docs" / "pages" / "howto" / "a.md"
    page.write_text("[b](../../../notebooks/b.ipynb) [c](../../../c.py#L3) [a](a.md#top)\n")
    out = tmp_path / "out"
    assert site("prose_pages").write(tmp_path / "docs" / "pages", tmp_path, out) == ["howto/a.md"]
    text = (out / "howto" / "a.md").read_text()
    assert text == "[b](../notebooks/b.md) [c](../files/c.py.txt) [a](a.md#top)\n"
    assert (out / "files" / "c.py.txt").exists()


def test_broken_links_are_found(site, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">a</h1><a href="b.html#here">b</a> <a href="#top">a</a> <a href=".">.</a>'
        '<a href="https://example.org">e</a><img src="https://example.org/x.png"><a href="c.html">'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#top">a</a>')
    assert site("broken_links").broken(tmp_path) == [
        "a.html: loads https://example.org/x.png",
        "a.html: no anchor for b.html#here",
        "a.html: no file for .",
        "a.html: no file for c.html",
    ]


def test_full_equations_to_latex(site):
    full_equations = site("full_equations")
    text = (
        "f = sig(W_f x)   if gated\nf = 1 / 2   otherwise\ny' = f * y\n"
        "where W_f, b = weight; y = state"
    )
    table = ElementTree.fromstring(f"<div>{full_equations.html(text)}</div>")
    rows = ["".join(row.itertext()) for row in table.iter("tr")]
    assert rows == [
        r"\(f = \sigma(W_{f}\,x)\)if gated",
        r"\(f = 1/2\)otherwise",
        r"\(y' = f\odot y\)",
    ]
    assert [code.text for code in table.iter("code")] == ["gated", "weight", "state"]
    assert full_equations.latex("A^T F^-1 exp(j theta_1) + 1e-5") == (
        r"A^\top \,F^{-1}\,\exp(j\,\theta _{1})+10^{-5}"
    )
    with pytest.raises(ValueError):
        full_equations.latex("W $ x")


@pytest.mark.parametrize("name", rz.list_cells())
def test_full_equations_are_read(site, name):
    site("full_equations").html(rz.cell_info(name).full_equation)
