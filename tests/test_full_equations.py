"""The full equation of every cell, read as text, computes its step."""

import re
import types

import jax
import numpy as np
import pytest
from cases import DEFAULTS, MODES, Case, H, I, build, draw, float64, random_state, step
from equation import lines, step as computed

import rnn_zoo as rz
from rnn_zoo._common import notation as equations


def _unclipped(key, dtype):
    return rz.cells.S5Cell(I, H, clip_eigs=False, dtype=dtype, key=key)


def _unmapped(name, **options):
    """A cell that is given its features."""

    def cell(key, dtype, inputs, **more):
        return rz.make_cell(name, inputs, H, dtype=dtype, key=key, **options, **more)

    def build(key, dtype):
        return cell(key, dtype, len(cell(key, dtype, I).weight_ih), input_map=False)

    return Case(f"{name}-unmapped", build, name, timed=rz.cell_info(name).timed)


# The last ones have lines that no case of the other laws runs.
CASES = [
    *DEFAULTS,
    *MODES,
    Case("s5-unclipped", _unclipped, "s5", timed=True),
    *map(_unmapped, ["deltanet", "gated_deltanet", "kda", "delta_product"]),
]


@pytest.mark.parametrize("name", rz.list_cells())
def test_equation_computes_the_step(name):
    """With all options, over a nominal step and a shorter one; no line is there in vain."""
    text, used = rz.cell_info(name).full_equation, set()
    for case in CASES:
        if case.name == name:
            _compare(case, text, used)
    idle = [row for row in lines(text)[1] if row not in used]
    assert not idle, f"no case of {name} in cases.py computes {idle}"


def _compare(case, text, used):
    with float64() as dtype:
        cell = build(case, dtype)
        state, xs = random_state(cell, 7), np.asarray(draw(8, (2, cell.input_size)))
        timed = case.timed and cell.timed
        for x, dt in zip(xs, (1.0, 0.6 if timed else 1.0)):
            before = jax.tree.map(np.asarray, state)
            expected, expected_y = computed(text, cell, before, x, dt, used)
            state, y = step(cell, state, x, *((dt,) if timed else ()))
            after = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)])
            np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12, err_msg=case.id)
            np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12, err_msg=case.id)


def test_functions_of_the_texts_are_explained():
    texts = "\n".join(rz.cell_info(name).full_equation for name in rz.list_cells())
    said = re.findall(r"^\s*(\w+)\(\w+\) = ", texts, re.MULTILINE)
    symbols = {"phi", "psi", "p", *said}
    called = set(re.findall(r"([a-z_]+)\(", texts)) - symbols
    assert called <= set(re.findall(r"\w+", equations.__doc__))


@pytest.mark.parametrize(
    "wrong",
    [
        "h x",  # two vectors side by side
        "W * h",  # a matrix and a vector, entry by entry
        "h / 2 h",  # (h / 2) h or h / (2 h)
        "h + q",  # neither a symbol nor a field
        "h + (1 - h",
        "h $ 2",
        "h   if size = 3",  # a case that does not hold, and no other
    ],
)
def test_sloppy_equations_are_refused(wrong):
    cell = types.SimpleNamespace(output_size=2, size=2, W=np.eye(2))
    right = "h' = W h - 2 h\ny = h'\nwhere h = state"
    h = np.ones(2)
    np.testing.assert_array_equal(computed(right, cell, h, h, 1.0)[0], -h)
    with pytest.raises((AssertionError, KeyError, IndexError)):
        computed(right.replace("W h - 2 h", wrong), cell, h, h, 1.0)
