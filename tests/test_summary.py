"""The table of a model counts what the model holds."""

import equinox as eqx
import jax
import numpy as np
import pytest

import rnn_zoo as rz


KEY = jax.random.key(0)


def numbers(arrays):
    """Real numbers in a list of arrays."""
    return sum(np.size(a) * (2 if np.iscomplexobj(a) else 1) for a in arrays)


def test_numbers_of_an_lstm():
    # 4 gates of 3 inputs, 5 states and a bias; two states of 5.
    _, _, row, size = rz.summary(rz.make_cell("lstm", 3, 5, key=KEY)).splitlines()
    assert row.split() == ["LSTMCell", "3", "->", "5", "180", "10"]
    assert size == "arrays: 720 bytes"


@pytest.mark.parametrize("name", rz.list_cells())
def test_counts_equal_the_arrays(name):
    cell = rz.make_cell(name, 3, 6, key=KEY)
    every = [a for a in jax.tree.leaves(cell) if eqx.is_array(a)]
    trained = jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array))
    state = numbers(jax.tree.leaves(cell.init_state()))
    counts = [numbers(trained), numbers(every) - numbers(trained), state]
    flags = [f for f in ("linear", "timed", "stochastic") if getattr(cell, f)]
    expected = [type(cell).__name__, "3", "->", str(cell.output_size)]
    expected += [f"{n:,}" for n in counts if n]
    lines = rz.summary(cell).splitlines()
    assert lines[2].replace(", ", " ").split() == expected + flags
    assert lines[-1] == f"arrays: {sum(a.nbytes for a in every):,} bytes"


def test_parts_of_a_deep_model():
    model = rz.make_model("lru", 3, 2, hidden_size=4, num_layers=2, dropout=0.5, key=KEY)
    text = rz.summary(model)
    assert text.count("LRUCell") == 2
    assert [line for line in text.splitlines() if "LRUCell" in line][0].endswith("linear")
    head = [line for line in text.splitlines() if line.lstrip().startswith("head")]
    assert head[0].split() == ["head", "Linear", "4", "->", "2", "10"]


def test_what_has_no_summary():
    with pytest.raises(TypeError, match="expected a cell, a layer or a model, got list"):
        rz.summary([1, 2])
