"""The notebooks as pages, as they are stored, and a gallery of them."""

import re
from html import escape
from pathlib import Path
from typing import Any

import docstrings
import nbconvert
import nbformat


# Outputs have a class of their own, and are no indented code.
TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{%- block stream -%}
``` { .text .output }
{{ output.text | strip_ansi }}
```
{%- endblock stream -%}
{%- block data_text -%}
``` { .text .output }
{{ output.data['text/plain'] | strip_ansi }}
```
{%- endblock data_text -%}
"""


def write(notebooks: Path, folder: Path) -> None:
    """A page for each notebook of one folder, and `index.md`, into another."""
    folder.mkdir(parents=True)
    exporter = nbconvert.MarkdownExporter(raw_template=TEMPLATE)
    cards = []
    for path in sorted(notebooks.glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        text, resources = exporter.from_notebook_node(
            book, resources={"unique_key": path.stem, "output_files_dir": "pictures"}
        )
        pictures = {Path(name).name: data for name, data in resources["outputs"].items()}
        (folder / "pictures").mkdir(exist_ok=True)
        for name, data in pictures.items():
            (folder / "pictures" / name).write_bytes(data)
        download = f"\n\n[The notebook as a file]({path.name}){{download}}\n"
        text = re.sub(r"^(# .+)$", rf"\1{download}", text, count=1, flags=re.M)
        text = text.replace("](../docs/pages/", "](../")
        text = docstrings.page_markdown(text)
        (folder / f"{path.stem}.md").write_text(text)
        (folder / path.name).write_bytes(path.read_bytes())
        cards.append(_card(path.stem, text, list(pictures)))
    cards = "\n".join(cards)
    lead = "Each runs by itself, in minutes, on a laptop. They stand in the folder `notebooks`."
    (folder / "index.md").write_text(
        f'# Notebooks\n\n{lead}\n\n<div class="cards large">\n{cards}\n</div>\n'
    )


def _card(stem: str, text: str, pictures: list[Any]) -> str:
    """The title, the first sentence and the last picture."""
    title = re.search(r"^# (.+)$", text, re.M)
    lines = [block for block in re.split(r"\n{2,}", text) if re.match(r"[A-Z]", block)]
    if not title or not lines:
        raise ValueError(f"expected a title and a paragraph at the head of {stem}.ipynb")
    first = re.split(r"(?<=[.?:]) ", " ".join(lines[0].split()))[0].rstrip(":")
    plain = re.sub(r"\[([^\]]*)\]\S*|[`*]", r"\1", first)
    image = f'<img src="pictures/{pictures[-1]}" alt="" loading="lazy">' if pictures else ""
    return (
        f'<a class="card" href="{stem}.html">{image}<strong>{escape(title[1])}</strong>'
        f"<span>{escape(plain)}</span></a>"
    )
