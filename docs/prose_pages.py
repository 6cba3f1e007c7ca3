"""The pages that are written by hand, with what they link to outside of their folder."""

import functools
import os
import re
import shutil
from pathlib import Path

import docstrings


LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def write(pages: Path, root: Path, folder: Path) -> list[str]:
    """Writes all pages of a folder, and gives their paths.

    A link that leaves the folder works in a checkout. Here what it leads to, a file of `root`, goes
    along under `files/`; a notebook has a page.
    """
    found = sorted(path for path in pages.rglob("*") if path.is_file())
    for path in found:
        aim = folder / path.relative_to(pages)
        aim.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            moved = functools.partial(_moved, source=path, page=aim, folders=(pages, root, folder))
            text = LINK.sub(moved, path.read_text(encoding="utf-8"))
            aim.write_text(docstrings.page_markdown(text))
        else:
            shutil.copyfile(path, aim)
    return [path.relative_to(pages).as_posix() for path in found if path.suffix == ".md"]


def _moved(link: re.Match[str], source: Path, page: Path, folders: tuple[Path, Path, Path]) -> str:
    """The link as it has to be on the site."""
    pages, root, folder = (each.resolve() for each in folders)
    target = (source.parent.resolve() / link["path"]).resolve()
    if target.is_relative_to(pages) or not target.exists():
        return link[0]  # what is not there, the build complains of
    inside = target.relative_to(root)
    if inside.parts[0] == "notebooks" and target.suffix in ("", ".ipynb"):
        aim = folder / (inside.with_suffix(".md") if target.suffix else inside / "index.md")
    elif target.is_dir():
        raise ValueError(f"{source.name} links to the folder {inside}: name a file of it")
    else:
        # As text: a page would want to be checked for links in its turn.
        name = f"{inside}.txt" if target.suffix in (".md", ".py", ".sh", ".toml") else str(inside)
        aim = folder / "files" / name
        aim.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, aim)
    anchor = "" if aim.suffix == ".txt" else link["anchor"] or ""
    return os.path.relpath(aim, page.parent.resolve()) + anchor
