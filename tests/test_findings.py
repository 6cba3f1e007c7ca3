"""The scripts of findings/ are not run here; they are what their index says they are."""

import re
import subprocess
from pathlib import Path

import pytest


FOLDER = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_is_a_script_with_exact_versions(path):
    text = path.read_text()
    assert path.stat().st_mode & 0o111, "not executable"
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    assert len(text.splitlines()) <= 60
    # It leaves nothing behind, reads no other package than those it names, and knows no host.
    assert "trap 'rm -rf \"$folder\"' EXIT" in text
    assert "\nunset PYTHONPATH\n" in text
    assert not re.search(r"https?://|index-url|rnn_zoo|rnn-zoo", text)
    head = text.split("\nset -euo")[0]
    for part in ("Versions:", "Behaviour:", "Why it surprises:", "Output seen:"):
        assert f"# {part}" in head
    installs = re.findall(r"/pip\" install (.*)", text)
    assert installs
    for packages in installs:
        names = [word.strip('"') for word in packages.split() if not word.startswith("-")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.$]+", name) for name in names), names


def test_the_index_lists_every_finding():
    listed = re.findall(r"^- `(\w+\.sh)`: .+\.$", (FOLDER / "README.md").read_text(), re.M)
    assert sorted(listed) == [path.name for path in SCRIPTS]
