"""The full equation of every cell, read as text, computes its step."""

import re

import jax
import numpy as np
import pytest
from cases import DEFAULTS, MODES, I, build, draw, float64, ids, random_state
from equation import lines, step

import rnn_zoo as rz


@pytest.mark.parametrize(**ids(DEFAULTS + MODES))
def test_equation_computes_the_step(case):
    text = rz.cell_info(case.name).full_equation
    with float64() as dtype:
        cell = build(case, dtype)
        state, xs = random_state(cell, 7), np.asarray(draw(8, (2, I)))
        for x, dt in zip(xs, (1.0, 0.6)):
            before = jax.tree.map(np.asarray, state)
            expected, expected_y = step(text, cell, before, x, dt)
            state, y = cell.step(state, x, *((dt,) if cell.timed else ()))
            after = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)])
            np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
