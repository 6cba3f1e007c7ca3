"""The reference under docs/reference: current, complete, well formed, self-contained, true."""

import collections
import copy
import inspect
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html import unescape
from pathlib import Path

import pytest

import rnn_zoo as rz


ROOT = Path(__file__).parent.parent
PAGES = {
    path.name: path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.html"))
}
TREES = {
    name: ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    for name, text in PAGES.items()
}


@pytest.fixture(scope="module")
def mathml():
    sys.path.insert(0, str(ROOT / "docs"))
    yield __import__("mathml")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def full_equations(mathml):
    return __import__("full_equations")


def anchors(tree):
    return [element.get("id") for element in tree.iter() if element.get("id")]


def links():
    for name, tree in TREES.items():
        for element in tree.iter("a"):
            yield name, element.attrib["href"]


def exported(module=rz, path=""):
    """The path of every name that is offered, root and rooms; the rooms themselves are no names."""
    for name in dir(module):
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from exported(value, f"{path}{name}.")
        # A number, such as NO_TARGET, is explained where it is used.
        elif not isinstance(value, int):
            yield path + name


def examples():
    for page, tree in TREES.items():
        for i, element in enumerate(tree.iter("pre")):
            if (text := "".join(element.itertext())).startswith("import"):
                yield pytest.param(text, id=f"{page.removesuffix('.html')}-{i}")


def test_files_are_current():
    command = [sys.executable, ROOT / "docs" / "reference.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, f"run python docs/reference.py: {run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("name", rz.list_cells())
def test_every_cell_has_its_parts(name):
    info = rz.cell_info(name)
    section = TREES[f"{info.family}.html"].find(f".//section[@id='{name}']")
    assert section is not None
    headings = [heading.text for heading in section.iter("h3")]
    assert headings[0] == "Made by"
    assert headings[-4:] == ["The step in full", "Parameters", "State", "Example"]
    assert section.find(".//math") is not None
    text = "".join(section.itertext())
    assert f"{info.cls.__name__}(" in text
    assert ("takes dt" in text) == info.timed
    year = re.search(r"\b(?:19|20)\d\d\b", info.paper)
    assert year
    assert year[0] in text


def test_every_public_name_is_on_one_page():
    count = collections.Counter(anchor for tree in TREES.values() for anchor in anchors(tree))
    names = set(exported())
    assert len(names) > 200
    assert {name: count[name] for name in names if count[name] != 1} == {}


def test_anchors_are_unique_and_links_arrive():
    for tree in TREES.values():
        assert len(set(anchors(tree))) == len(anchors(tree))
    for page, href in links():
        if not href.startswith("https:"):
            target, _, anchor = href.partition("#")
            tree = TREES[target or page]
            assert not anchor or anchor in anchors(tree), f"{page}: {href}"


def test_nothing_is_loaded_from_elsewhere():
    """No script, no sheet, no picture; the one thing outside that may be named is a paper."""
    for page, tree in TREES.items():
        for element in tree.iter():
            assert element.tag not in {"script", "link", "img", "iframe", "object", "base"}, page
            assert not {"src", "srcset", "style", "onclick"} & set(element.attrib), page
        assert not re.search(r"url\(|@import|@font-face", PAGES[page])
    for page, href in links():
        if "//" in href:
            assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", href), f"{page}: {href}"
    assert sum(map(len, PAGES.values())) < 1_500_000


def test_no_mark_of_the_docstrings_is_left():
    for page, tree in copy.deepcopy(TREES).items():
        for code in [*tree.iter("pre"), *tree.iter("code"), *tree.iter("style")]:
            code.text = ""
        text = "".join(tree.itertext())
        assert not re.search(r"[`$\\]|\*\*", text), page


@pytest.mark.slow
@pytest.mark.parametrize("text", list(examples()))
def test_examples_run(text):
    exec(compile(unescape(text), "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("bad", [r"\unknown", r"\frac{a}", r"\begin{matrix}", "a}", "{a", '"'])
def test_unknown_latex_is_refused(mathml, bad):
    with pytest.raises(ValueError):
        mathml.inline(bad)


def test_latex_to_mathml(mathml):
    text = mathml.inline(r"h_{ih}' = \frac{1}{2} \hat x^2 - \mathrm{Re}\, y")
    assert text == (
        '<math><msub><mrow><mi>h</mi><mo lspace="0" rspace="0">′</mo></mrow>'
        "<mrow><mi>i</mi><mi>h</mi></mrow></msub><mo>=</mo>"
        "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>"
        '<msup><mover accent="true"><mi>x</mi><mo stretchy="false">^</mo></mover>'
        "<mn>2</mn></msup><mo>−</mo><mi>Re</mi>"
        '<mspace width="0.17em"/><mi>y</mi></math>'
    )
    assert mathml.display(r"a, \qquad b").count("<math") == 2


def test_full_equations_to_mathml(full_equations):
    text = (
        "f = sig(W_f x)   if gated\nf = 1 / 2   otherwise\ny' = f * y\n"
        "where W_f, b = weight; y = state"
    )
    table = ElementTree.fromstring(f"<div>{full_equations.html(text)}</div>")
    rows = ["".join(row.itertext()) for row in table.iter("tr")]
    assert rows == ["f=σ(Wfx)if gated", "f=1/2otherwise", "y′=f⊙y"]
    assert [code.text for code in table.iter("code")] == ["gated", "weight", "state"]
    assert full_equations.latex("A^T F^-1 exp(j theta_1) + 1e-5") == (
        r"A^\top \,F^{-1}\,\exp(j\,\theta _{1})+10^{-5}"
    )
    with pytest.raises(ValueError):
        full_equations.latex("W $ x")
