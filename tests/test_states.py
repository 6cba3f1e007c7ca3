"""States, dtypes and sizes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import (
    ALL,
    DEFAULTS,
    EVERYTHING,
    SMALLEST,
    H,
    I,
    build,
    float64,
    gradients,
    ids,
    inputs,
    plain,
    step,
    strict,
    subject,
)

import rnn_zoo as rz
from rnn_zoo.testing import evaluating, precision, promises


@pytest.mark.parametrize(**ids(EVERYTHING))
def test_step_keeps_the_state_and_tells_the_truth_about_its_output(case):
    cell = build(case)
    promises.a_step_gives_a_state_like_the_one_before(subject(case))
    promises.output_size_is_true(subject(case))
    assert cell.input_size == I
    fixed = isinstance(cell, rz.Block | rz.Residual | rz.cells.ShortConv)
    assert cell.output_size == (I if fixed else case.outputs(H))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_working_dtype(case):
    precision.working_dtype(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_float32_cell_stays_float32_under_x64(case):
    precision.float32_cell_stays_float32_under_x64(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_float64_cell_is_float64(case):
    precision.float64_cell_is_float64(subject(case))
    trains = not isinstance(plain(case), rz.cells.EchoStateCell)
    assert bool(jax.tree.leaves(eqx.filter(plain(case), eqx.is_inexact_array))) == trains


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_cells_are_built_in_bfloat16(case):
    precision.cells_are_built_in_bfloat16(subject(case))


@pytest.mark.parametrize(**ids([case for case in ALL if not case.stochastic], kinds=True))
def test_bfloat16_parameters_keep_a_float32_carry(case):
    precision.bfloat16_parameters_keep_a_float32_carry(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_parameters_are_real_arrays_and_nothing_else_is_a_leaf(case):
    promises.parameters_are_real_arrays(subject(case))


@pytest.mark.parametrize(
    "sizes",
    [(1, 1), *(pytest.param(s, marks=pytest.mark.slow) for s in [(2, 7), (7, 2), (1, 4)])],
)
@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_odd_and_tiny_sizes(case, sizes):
    smallest = SMALLEST.get(case.name, 1)
    if sizes[1] < smallest:
        with pytest.raises(ValueError, match=f"hidden_size of at least {smallest}"):
            case.build(jr.key(0), input_size=sizes[0], hidden_size=sizes[1])
        return
    cell = case.build(jr.key(0), input_size=sizes[0], hidden_size=sizes[1])
    state, y = step(cell, cell.init_state(), jnp.ones(sizes[0]))
    assert y.shape == (case.outputs(sizes[1]),)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, -1), (True, 3)])
@pytest.mark.parametrize(**ids(DEFAULTS))
def test_impossible_sizes_are_named(case, sizes):
    with pytest.raises(ValueError, match="_size to be an integer of at least 1"):
        case.build(jr.key(0), input_size=sizes[0], hidden_size=sizes[1])


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_ensembles_are_one_vmap(case):
    evaluating.ensembles_are_one_vmap(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_defaults_are_stable_over_10000_steps(case):
    """The state and the gradient go from one segment to the next, as in one sequence."""
    cell = plain(case)
    xs = np.random.default_rng(1).normal(size=(10_000, I)).astype(np.float32)
    last = np.where(np.arange(len(xs)) < len(xs) - 10, 0, 0.1).astype(np.float32)
    dt = np.ones(len(xs), np.float32) if cell.timed else None
    with strict():
        value, grads = gradients(cell, xs, squares=last, dt=dt)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_inputs_reach_the_output_of_the_same_step(case):
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, _ = inputs(cell)
        time = (1.0,) if cell.timed else ()
        x, move = np.asarray(xs[0]), 1e-4 * np.eye(I)
        y, *moved = (np.asarray(step(cell, state, at, *time)[1]) for at in (x, *(x + move)))
        assert max(abs(other - y).max() for other in moved) > 1e-8


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_two_keys_give_two_cells_and_one_key_one(case):
    promises.two_keys_give_two_cells_and_one_key_one(subject(case))
