"""Every way to run a cell gives what a Python loop over `step` gives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import (
    ALL,
    DEFAULTS,
    FORMS,
    LINEAR,
    H,
    I,
    T,
    assert_close,
    build,
    float64,
    ids,
    inputs,
    methods,
    of_kinds,
    plain,
    random_state,
    subject,
)

import rnn_zoo as rz
from rnn_zoo.scan import trajectory, unroll
from rnn_zoo.testing import evaluating, timing


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_unroll_and_trajectory_equal_the_loop(case):
    evaluating.unroll_and_trajectory_equal_the_loop(subject(case))


@pytest.mark.parametrize(**ids(LINEAR, kinds=True))
def test_parallel_gradient_equals_sequential(case):
    evaluating.parallel_gradient_equals_sequential(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(LINEAR), kinds=True))
@pytest.mark.parametrize("time", [1, 2, 4, 7])
def test_parallel_at_small_lengths(case, time):
    evaluating.parallel_at_small_lengths(subject(case), (time,))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_length_one(case):
    evaluating.length_one(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_length_zero(case):
    evaluating.length_zero(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_scalar_dt_equals_a_constant_dt(case):
    if not case.timed:
        pytest.skip("no physical time")
    timing.scalar_dt_equals_a_constant_dt(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_chunks_equal_the_whole(case):
    evaluating.chunks_equal_the_whole(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_reverse_equals_flip(case):
    evaluating.reverse_equals_flip(subject(case))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_vmap_equals_the_loop_over_samples(case):
    evaluating.vmap_equals_the_loop_over_samples(subject(case))


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_jit_equals_a_bare_call_and_the_second_call_does_not_trace(case):
    evaluating.jit_equals_a_bare_call_and_the_second_call_does_not_trace(subject(case))


@pytest.mark.slow
@pytest.mark.parametrize(**ids(of_kinds(DEFAULTS), kinds=True))
def test_compiled_equals_op_by_op(case):
    cell = build(case)
    xs, state, keywords = inputs(cell)
    for method in methods(cell):
        compiled = unroll(cell, xs, state, method=method, **keywords)
        with jax.disable_jit():
            assert_close(unroll(cell, xs, state, method=method, **keywords), compiled, 1e-5)


@pytest.mark.parametrize(**ids(DEFAULTS[:1] + LINEAR[:1]))
def test_an_eager_call_compiles_once(case):
    traces = []

    cell = build(case)
    counted = rz.adopt(
        lambda h, x: (traces.append(1), cell.step(h, x)[0])[1],
        input_size=I,
        init_state=cell.init_state(),
    )
    xs = inputs(cell)[0]
    layer = rz.Recurrent(counted)
    layer(xs)
    before = len(traces)
    layer(xs + 1)
    rz.batch(layer)(xs[None])
    batched = len(traces)
    rz.batch(layer)(xs[None] + 1)
    assert len(traces) == batched
    assert before > 0


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_plain_jit_takes_a_layer_as_argument(case):
    if case.stochastic:
        pytest.skip("the inference flag of a stochastic part needs eqx.filter_jit")
    evaluating.plain_jit_takes_a_layer_as_argument(subject(case))


@pytest.mark.parametrize(**ids([c for c in ALL if c.stochastic], kinds=True))
def test_draws_are_the_same_for_every_evaluator(case):
    evaluating.draws_are_the_same_for_every_evaluator(subject(case))


@pytest.mark.parametrize("time", [1024, pytest.param(16_384, marks=pytest.mark.slow)])
@pytest.mark.parametrize(**ids([case for case in DEFAULTS if case in LINEAR], kinds=True))
def test_float32_error_of_the_parallel_form(case, time):
    cell = plain(case)
    xs = jr.normal(jr.key(1), (time, I))
    with float64() as dtype:
        exact_cell, exact_xs = jax.tree.map(
            lambda a: jnp.asarray(np.asarray(a), dtype) if eqx.is_inexact_array(a) else a,
            (cell, xs),
        )
        exact = np.asarray(unroll(exact_cell, exact_xs)[1])
    errors = {}
    for method in methods(cell):
        ys = np.asarray(unroll(cell, xs, method=method)[1], np.float64)
        errors[method] = np.linalg.norm(ys - exact) / np.linalg.norm(exact)
    # Over longer times rounded eigenvalues near the unit circle cost more, and where the loop is
    # exact to a rounding or two, a multiple of its error is no measure.
    assert errors["sequential"] < (1e-5 if time == 1024 else 1e-3)
    least = 1e-7 if time == 1024 else 4 * np.finfo(np.float32).eps
    assert max(errors.values()) < max(3 * errors["sequential"], least)


@pytest.mark.parametrize("method", ["parallel", "auto"])
def test_a_constant_transition_is_never_broadcast_over_time(method):
    def products(cell):
        run = jax.jit(lambda xs: unroll(cell, xs, method=method))
        text = run.lower(jnp.ones((64, I))).as_text()
        return [line for line in text.splitlines() if "multiply" in line and "x5xcomplex" in line]

    # Two products of each level carry states; more would be products of the eigenvalues.
    shapes = [line.split()[-1] for line in products(rz.cells.LRUCell(I, H, key=jr.key(0)))]
    shapes = [shape for shape in shapes if "<1x5" not in shape]
    assert all(shapes.count(shape) <= 2 for shape in shapes), shapes


@pytest.mark.parametrize(**ids(LINEAR, only=FORMS))
def test_nan_before_a_reset_does_not_get_through(case):
    evaluating.nan_before_a_reset_does_not_get_through(subject(case))


def test_auto_is_a_loop_on_cpu():
    cell = rz.cells.LRUCell(I, H, key=jr.key(0))
    assert rz.scan.resolve_method(cell, "auto", T) == "loop"
    assert rz.scan.resolve_method(cell, "parallel", 0) == "sequential"
    assert rz.scan.resolve_method(rz.cells.GRUCell(I, H, key=jr.key(0)), "auto", T) == "sequential"


def test_trajectory_holds_the_state_of_masked_steps():
    cell = rz.cells.GRUCell(I, H, key=jr.key(0))
    xs = jr.normal(jr.key(1), (4, I))
    states, ys = trajectory(cell, xs, mask=jnp.array([True, False, False, True]))
    np.testing.assert_array_equal(states[0], states[2])
    np.testing.assert_array_equal(ys[1:3], 0)
    assert random_state(cell, 0).shape == (H,)
