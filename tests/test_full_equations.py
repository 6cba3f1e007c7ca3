"""The full equation of every cell, read as text, computes its step."""

import equinox as eqx
import jax
import numpy as np
import pytest
from cases import DEFAULTS, MODES, Case, H, I, build, draw, float64, random_state
from equation import TOKEN, lines, step

import rnn_zoo as rz


def _unclipped(key, dtype):
    return rz.S5Cell(I, H, clip_eigs=False, dtype=dtype, key=key)


# The last one has a line that no case of the other laws runs.
CASES = [*DEFAULTS, *MODES, Case("s5-unclipped", _unclipped, "s5", timed=True)]

run = eqx.filter_jit(lambda cell, state, x, *dt: cell.step(state, x, *dt))


@pytest.mark.parametrize("name", rz.list_cells())
def test_equation_computes_the_step(name):
    """With all options, for one nominal step and a shorter one; and no line is there in vain."""
    text, used = rz.cell_info(name).full_equation, set()
    for case in CASES:
        if case.name == name:
            _compare(case, text, used)
    idle = [row for row in lines(text)[1] if row not in used]
    assert not idle, f"no option of {name} runs {idle}"


def _compare(case, text, used):
    with float64() as dtype:
        cell = build(case, dtype)
        state, xs = random_state(cell, 7), np.asarray(draw(8, (2, I)))
        for x, dt in zip(xs, (1.0, 0.6)):
            before = jax.tree.map(np.asarray, state)
            expected, expected_y = step(text, cell, before, x, dt, used)
            state, y = run(cell, state, x, *((dt,) if cell.timed else ()))
            after = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)])
            np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12, err_msg=case.id)
            np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12, err_msg=case.id)
