"""Docstrings and pages as Markdown for the site: code with links to its names, blocks set apart."""

import inspect
import re
import textwrap
import urllib.parse
from html import escape

import public_names

import rnn_zoo as rz


MARKS = re.compile(
    r"(?P<link>!?\[[^\]]*\]\([^)]*\))|`(?P<code>[^`]+)`|(?P<math>\$[^$]+\$)"
    r"|arXiv:(?P<arxiv>\d{4}\.\d{4,5})|doi:(?P<doi>10\.\d{4,}/[^\s,]*\w)"
)
LIST = re.compile(r"(?:^|\n)(?=- )")


def markdown(text: str, page: str = "") -> str:
    """A docstring: paragraphs, lists, indented code, displayed formulas."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if block.startswith("    "):
            blocks.append(_code(block, blocks))
            continue
        for i, piece in enumerate(re.split(r"\$\$(.+?)\$\$", block, flags=re.S)):
            if i % 2:
                blocks.append(f"$$\n{piece.strip()}\n$$")
            elif piece.strip(" .\n"):
                head, *items = LIST.split(piece.strip())
                blocks += [linked(part.strip(), page) for part in (head, "\n".join(items)) if part]
    return "\n\n".join(blocks)


def _code(block: str, blocks: list[str]) -> str:
    """As a fenced block, one with the block before where that is code, too."""
    code = textwrap.dedent(block).rstrip()
    if blocks and blocks[-1].startswith("```"):
        code = blocks.pop().removeprefix("```python\n").removesuffix("\n```") + f"\n\n{code}"
    return f"```python\n{code}\n```"


def linked(text: str, page: str = "") -> str:
    """Text in which code that names something public, and papers, are links."""
    return MARKS.sub(lambda mark: _mark(mark, page), text)


def _mark(mark: re.Match[str], page: str) -> str:
    if code := mark["code"]:
        if code in rz.list_cells():
            return f"[`{code}`][cell-{code}]"
        entry = public_names.meant(" ".join(code.split()), page)
        return f"[`{code}`][{entry.anchor}]" if entry else f"`{code}`"
    if number := mark["arxiv"]:
        return f"[arXiv:{number}](https://arxiv.org/abs/{number})"
    if number := mark["doi"]:
        return f"[doi:{escape(number)}](https://doi.org/{urllib.parse.quote(number)})"
    return mark[0]


def page_markdown(text: str) -> str:
    """A page of prose: its code linked, and lists set apart, as some Markdown needs it."""
    pieces = re.split(r"(^ *```.*?^ *```$)", text, flags=re.S | re.M)
    return "".join(piece if i % 2 else _prose(piece) for i, piece in enumerate(pieces))


def _prose(text: str) -> str:
    lines, before = [], ""
    for line in text.split("\n"):
        item = re.match(r"(?:[-*]|\d+\.) ", line)
        inside = re.match(r"(?:[-*]|\d+\.) |\s", before)
        if item and before.strip() and not inside:
            lines.append("")
        # A heading has an anchor of its own: a link in it would be in the contents, too.
        lines.append(line if line.startswith("#") else linked(line))
        before = line
    return "\n".join(lines)
