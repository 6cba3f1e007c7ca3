"""Links of a built site that lead nowhere: python docs/broken_links.py FOLDER"""

import html.parser
import sys
import urllib.parse
from pathlib import Path


class _Page(html.parser.HTMLParser):
    """The anchors of a page, and where it links to and what it loads."""

    def __init__(self, text: str):
        html.parser.HTMLParser.__init__(self)
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and "canonical" not in given.get("rel", ""):
            self.loads.append(given.get("href", ""))


def broken(folder: Path) -> list[str]:
    """A line for each link to a file or anchor that is not there, or load from elsewhere."""
    pages = {path.resolve(): _Page(path.read_text()) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder.resolve())
        for url in [*page.links, *page.loads]:
            split = urllib.parse.urlsplit(url)
            if split.scheme or split.netloc:
                if url in page.loads and split.scheme != "data":
                    found.append(f"{where}: loads {url}")
                continue
            aim = (path.parent / urllib.parse.unquote(split.path)).resolve() if split.path else path
            anchor = urllib.parse.unquote(split.fragment)
            # Where a link opens a folder from disk, the browser shows a list of files.
            if not aim.is_file():
                found.append(f"{where}: no file for {url}")
            elif anchor and aim in pages and anchor not in pages[aim].anchors:
                found.append(f"{where}: no anchor for {url}")
    return sorted(set(found))


def main() -> int:
    lines = broken(Path(sys.argv[1]))
    print(*lines, sep="\n", end="\n" if lines else "")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
