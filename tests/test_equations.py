"""`step` equals a NumPy float64 reference written from the paper, for every cell and mode."""

import jax
import jax.random as jr
import numpy as np
import pytest
from cases import (
    CLOSED_FORMS,
    DEFAULTS,
    EVERYTHING,
    JUMPS,
    MODES,
    H,
    I,
    arrays,
    build,
    draw,
    float64,
    ids,
    random_state,
    step,
    subject,
)
from references import REFERENCES

import rnn_zoo as rz
from rnn_zoo.testing import promises, timing


def test_every_registered_cell_has_a_reference():
    assert set(rz.list_cells()) <= set(REFERENCES)


@pytest.mark.parametrize(**ids(DEFAULTS + MODES))
def test_step_equals_the_paper(case):
    with float64() as dtype:
        cell = build(case, dtype)
        state = random_state(cell, 7)
        expected = jax.tree.map(np.asarray, state)
        xs = np.asarray(draw(8, (6, I)))
        dts = [1.0, 0.25, 1.7, 0.0, 3.0, 0.6]
        for x, dt in zip(xs, dts):
            time = (dt,) if cell.timed else ()
            state, y = step(cell, state, x, *time)
            expected, expected_y = REFERENCES[case.name](
                arrays(cell), expected, x, dt, **case.options
            )
            for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected)):
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(y, expected_y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(**ids([c for c in DEFAULTS if c.timed]))
def test_dt_defaults_to_one_nominal_step(case):
    timing.dt_defaults_to_one_nominal_step(subject(case))


HELD = [case for case in DEFAULTS if case.timed and case.name not in CLOSED_FORMS | JUMPS]


@pytest.mark.parametrize(**ids(HELD))
def test_dt_zero_holds_the_state(case):
    timing.dt_zero_holds_the_state(subject(case))


@pytest.mark.parametrize(**ids(EVERYTHING, kinds=True))
def test_constants_change_nothing_but_the_cost(case):
    promises.constants_change_nothing_but_the_cost(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_cells_without_bias_equal_zero_bias(case):
    if "use_bias" not in rz.registry.cell_options(case.name):
        pytest.skip("no option use_bias")
    with_bias = rz.make_cell(case.name, I, H, key=jr.key(0))
    without = rz.make_cell(case.name, I, H, use_bias=False, key=jr.key(0))
    for name in ("bias", "bias_ih", "bias_n", "bias_gates"):
        if getattr(with_bias, name, None) is not None:
            zero = np.zeros_like(getattr(with_bias, name))
            with_bias = rz.base.replace(with_bias, **{name: zero})
            assert getattr(without, name) is None
    x = draw(1, (I,))
    state = random_state(with_bias, 2)
    one, other = (step(cell, state, x)[1] for cell in (with_bias, without))
    np.testing.assert_allclose(one, other, atol=1e-7)
