"""The outputs that are stored in the notebooks are those of this version."""

import json
import re
from pathlib import Path

import pytest

import rnn_zoo as rz


NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def printed(path):
    """What the code cells of a notebook printed."""
    cells = json.loads(path.read_text())["cells"]
    outputs = [o for cell in cells if cell["cell_type"] == "code" for o in cell["outputs"]]
    return "".join("".join(output.get("text", "")) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_was_run_in_order(path):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]


def test_the_number_of_cells_is_that_of_the_registry():
    """Run the notebook anew where it is not: `jupyter execute --inplace notebooks/01*.ipynb`."""
    own = [
        name
        for name in rz.list_cells()
        if getattr(rz.cell_info(name).cls, "__module__", "").startswith("rnn_zoo.")
    ]
    found = {
        path.name: re.findall(r"^(\d+) cells: ([\w, ]+?),? \.\.\.$", printed(path), re.M)
        for path in NOTEBOOKS
    }
    said = [(int(count), names) for rows in found.values() for count, names in rows]
    assert said, "no notebook says how many cells there are"
    assert said == [(len(own), ", ".join(own[:8]))] * len(said)
