"""The README tells the truth: its Python blocks run, its tables are those of the registry."""

import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_blocks_run_in_order(capsys):
    """Each printed line is the one that the comment beside its print promises."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 5
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    promised = re.findall(r"^print\(.*\)\s+# (.+)$", README, re.M)
    assert capsys.readouterr().out.splitlines() == promised


def test_tables_are_current():
    command = [sys.executable, ROOT / "docs" / "tables.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, "run python docs/tables.py\n" + run.stderr
