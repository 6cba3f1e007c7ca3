"""The documentation as a site that opens from disk: docs/_site/index.html.

python docs/build.py            warnings are errors
python docs/build.py --quick    with the pictures of the last build

It needs `pip install -e ".[docs]"`, and a network for two packages of npm the first time. What is
written by hand stands in `docs/pages`; the cells, the reference and the notebooks follow from the
library.
"""

import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import broken_links
import cell_pages
import cell_pictures
import jax
import katex
import mkdocs.commands.build
import notebook_pages
import prose_pages
import room_pages
import yaml
from mkdocs.config import load_config
from reference_pages import PAGES

import rnn_zoo as rz


HERE = Path(__file__).parent
BUILT, SITE = HERE / "_built", HERE / "_site"
SOURCES = BUILT / "pages"
# How the pages of a folder follow each other; others come behind, in the order of the alphabet.
ORDER = {
    "": ("index", "start", "which_cell", "faq", "published", "data_sets", "all_cells"),
    "howto": (
        "your_data",
        "training",
        "devices",
        "gpu",
        "long_sequences",
        "chunks",
        "irregular_time",
        "masks_resets",
        "streaming_deployment",
        "reservoirs",
        "online",
        "dynamics",
        "agents",
        "reconstruction",
        "own_cell",
        "networks",
    ),
    "from": ("torch", "keras", "flax_haiku", "ncps", "reservoirpy", "rnn_jax", "mamba_s5"),
}


def write_sources(quick: bool) -> list[str]:
    """Writes the Markdown and what it shows, and gives the pages that are written by hand."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    by_hand = prose_pages.write(HERE / "pages", HERE.parent, SOURCES)
    for path, text in {**cell_pages.files(), **room_pages.files()}.items():
        (SOURCES / path).parent.mkdir(parents=True, exist_ok=True)
        (SOURCES / path).write_text(text)
    notebook_pages.write(HERE.parent / "notebooks", SOURCES / "notebooks")
    draw_cells(quick)
    shutil.copytree(BUILT / "pictures", SOURCES / "cells" / "pictures")
    katex.fetch(BUILT / "packages")
    katex.ship(BUILT / "packages", SOURCES / "assets")
    shutil.copytree(HERE / "assets", SOURCES / "assets", dirs_exist_ok=True)
    return by_hand


def draw_cells(quick: bool) -> None:
    folder = BUILT / "pictures"
    if not quick:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in rz.list_cells():
        if not (folder / f"{name}_small.png").exists():
            cell_pictures.draw(name, folder)


def navigation(by_hand: list[str]) -> list[Any]:
    """The order of all pages."""

    def inside(folder: str) -> list[str]:
        names = {Path(p).stem: p for p in by_hand if Path(p).parent == Path(folder)}
        known = [name for name in ORDER.get(folder, ()) if name in names]
        return [names[name] for name in [*known, *sorted(set(names) - set(known))]]

    top = inside("")
    first = [page for page in top if Path(page).stem in ("index", "start", "which_cell")]
    families: dict[str, list[Any]] = {}
    for name in rz.list_cells():
        title = cell_pages.FAMILIES[rz.cell_info(name).family][0]
        families.setdefault(title, []).append({name: f"cells/{name}.md"})
    books = sorted(path.name for path in (SOURCES / "notebooks").glob("[0-9]*.md"))
    reference = ["reference/index.md", *(f"reference/{name}.md" for name in PAGES)]
    tabs = {
        "How to": inside("howto"),
        "Coming from": inside("from"),
        "Cells": ["cells/index.md", *({title: here} for title, here in families.items())],
        "Notebooks": ["notebooks/index.md", *(f"notebooks/{name}" for name in books)],
        "Reference": [*reference, "reference/equations.md"],
        "More": [page for page in top if page not in first],
    }
    # The home page has to stand at the top: that is where the name of the site leads.
    home = [{"Home": page} if page == "index.md" else page for page in first]
    return [*home, *({title: pages} for title, pages in tabs.items() if pages)]


def build(nav: list[Any]) -> None:
    """Runs mkdocs. `mkdocs.exceptions.Abort`, which ends the program, after any warning."""
    config = {"INHERIT": "../mkdocs.yml", "docs_dir": "pages", "site_dir": "../_site", "nav": nav}
    path = BUILT / "mkdocs.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    log = logging.getLogger("mkdocs")
    log.setLevel(logging.WARNING)
    log.addHandler(logging.StreamHandler(sys.stdout))
    settings = load_config(str(path), strict=True)
    settings.plugins.on_startup(command="build", dirty=False)
    mkdocs.commands.build.build(settings)
    # It is for servers: its links begin at the root.
    (SITE / "404.html").unlink()


def main() -> int:
    start = time.perf_counter()
    # The cells are small, and each program of theirs runs once.
    jax.config.update("jax_disable_most_optimizations", True)

    def say(what: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {what}", flush=True)

    by_hand = write_sources("--quick" in sys.argv)
    say("pages are written")
    build(navigation(by_hand))
    say("the site is built")
    katex.draw(BUILT / "packages", SITE)
    say("formulas are drawn")
    lines = broken_links.broken(SITE)
    print(*lines, sep="\n", end="\n" if lines else "")
    say(f"{len(list(SITE.rglob('*.html')))} pages, {len(lines)} broken links: {SITE}/index.html")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
