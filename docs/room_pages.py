"""The pages of the reference but for the cells, and the list of all names."""

import docstrings
import public_names
from public_names import Entry
from reference_pages import EXAMPLES, PAGES, START

import rnn_zoo as rz
from rnn_zoo._common import notation


def files() -> dict[str, str]:
    """The Markdown of every page, by its path."""
    families = {rz.cell_info(name).family for name in rz.list_cells()}
    from reference_pages import FAMILIES

    if families != set(FAMILIES):
        raise ValueError(f"FAMILIES and the registry differ in {families ^ set(FAMILIES)}")
    pages = {f"reference/{name}.md": page(name) for name in PAGES}
    return {"reference/index.md": index(), "reference/equations.md": equations(), **pages}


def page(name: str) -> str:
    title, lead = PAGES[name]
    parts = [f"# {title}", docstrings.linked(lead)]
    here = public_names.on_page(f"reference/{name}")
    if not here:
        raise ValueError(f"no public name stands on the page {name!r}")
    parts.append(", ".join(f"[`{entry.path}`][{entry.anchor}]" for entry in here))
    if name in EXAMPLES:
        parts.append(f"```python\n{page_example(name)}```")
    return "\n\n".join([*parts, *map(section, here)]) + "\n"


def section(entry: Entry, level: int = 2, options: str = "") -> str:
    """One public object, by mkdocstrings."""
    return (
        f"[](){{#{entry.anchor}}}\n\n::: {entry.defined}\n    options:\n"
        f"      heading: {entry.anchor}\n      toc_label: {entry.path}\n"
        f"      heading_level: {level}\n{options}"
    )


def page_example(name: str) -> str:
    """The program of a page, its imports in front."""
    lines = EXAMPLES[name].splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = "\n".join(line for line in lines if line not in imports).lstrip("\n")
    above = "".join(f"{line}\n" for line in imports)
    gap = "\n\n" if rest.startswith("class ") else "\n"
    first, then = START.split("import rnn_zoo as rz\n")
    return f"{first}{above}import rnn_zoo as rz\n{then}{gap}{rest}\n"


def index() -> str:
    """The pages, then every name: what is typed every day first, then room by room."""
    groups = [
        f"- [{title}]({name}.md): {docstrings.linked(lead)}"
        for name, (title, lead) in PAGES.items()
    ]
    parts = [
        "# Reference",
        "In the examples `rz` is `rnn_zoo`. What is typed every day stands at the root, all else "
        "in its room, at one place each. The cells have [a page each](../cells/index.md), and "
        "[Steps in full](equations.md) says how their equations are read.",
        "\n".join(groups),
        *map(_names, public_names.rooms()),
    ]
    return "\n\n".join(parts) + "\n"


def _names(room: str) -> str:
    """The names of one room, in the order of the alphabet."""
    all_of_them = public_names.entries().items()
    here = [entry for path, entry in all_of_them if path == room + entry.name]
    names = sorted(here, key=lambda entry: entry.path.lower())
    links = " ".join(f"[`{entry.anchor}`][{entry.anchor}]" for entry in names)
    title = f"`rz.{room[:-1]}`" if room else "The root: what is typed every day"
    return f'## {title}\n\n<div class="names" markdown>\n{links}\n</div>'


def equations() -> str:
    return (
        "# Steps in full\n\n"
        "The page of each cell shows its whole step, which `rz.cell_info(name).full_equation` "
        "holds as plain text; the tests compute it and compare it with the cell. In formulas, "
        "⊙ stands for `*` and σ for `sig`.\n\n" + docstrings.markdown(notation.__doc__ or "") + "\n"
    )
