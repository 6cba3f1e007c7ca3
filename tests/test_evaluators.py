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
    RESET,
    H,
    I,
    T,
    assert_close,
    build,
    float64,
    ids,
    inputs,
    loop,
    methods,
    of_kinds,
    only,
    plain,
    random_state,
)

import rnn_zoo as rz
from rnn_zoo.scan import trajectory, unroll


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_unroll_and_trajectory_equal_the_loop(case):
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, everything = inputs(cell)
        plain = only(everything)
        final, _, ys = loop(cell, xs, **plain)
        seen = everything["mask"]
        broken = np.where(seen[:, None], xs, np.nan)  # what is masked is no part of it
        if "dt" in everything:
            everything["dt"] = jnp.asarray(np.where(seen, everything["dt"], np.nan))
        last, states, ys_reversed = loop(cell, broken, state, reverse=True, **everything)
        for method in methods(cell):
            assert_close(unroll(cell, xs, method=method, **plain), (final, ys), 1e-11)
            run = {"reverse": True, "method": method, **everything}
            assert_close(trajectory(cell, broken, state, **run), (states, ys_reversed), 1e-11)
            assert_close(jax.tree.map(lambda s: np.asarray(s)[0], states), last, 0)


@pytest.mark.parametrize(**ids(LINEAR, kinds=True))
def test_parallel_gradient_equals_sequential(case):
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)

        @jax.grad
        def gradient(params, method):
            cell, xs, state = eqx.combine(params, rest)
            final, ys = unroll(cell, xs, state, method=method, **keywords)
            return jnp.sum(jnp.sin(ys)) + sum(
                jnp.sum(jnp.cos(abs(f))) for f in jax.tree.leaves(final)
            )

        gradients = jax.jit(lambda params: [gradient(params, method) for method in methods(cell)])
        one, *others = gradients(params)
        for other in others:
            assert_close(one, other, 1e-10)


@pytest.mark.parametrize(**ids(of_kinds(LINEAR), kinds=True))
@pytest.mark.parametrize("time", [1, 2, 4, 7])
def test_parallel_at_small_lengths(case, time):
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell, time)
        final, _, ys = loop(cell, xs, state, **keywords)
        assert_close(unroll(cell, xs, state, method="parallel", **keywords), (final, ys), 1e-11)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_length_one(case):
    cell = build(case)
    xs, state, keywords = inputs(cell, 1)
    final, _, ys = loop(cell, xs, state, **keywords)
    assert_close(unroll(cell, xs, state, **keywords), (final, ys), 1e-6)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_length_zero(case):
    cell = build(case)
    xs, state, keywords = inputs(cell, 0)
    final, ys = unroll(cell, xs, state, method=methods(cell)[-1], **keywords)
    assert ys.shape == (0, cell.output_size)
    assert_close(final, state, 0)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_scalar_dt_equals_a_constant_dt(case):
    cell = build(case)
    if not cell.timed:
        pytest.skip("no physical time")
    xs, state, keywords = inputs(cell)
    keywords.pop("dt")
    for method in methods(cell):
        scalar = unroll(cell, xs, state, dt=0.7, method=method, **keywords)
        array = unroll(cell, xs, state, dt=jnp.full(T, 0.7), method=method, **keywords)
        assert_close(scalar, array, 1e-6)
        one = unroll(cell, xs, state, dt=1.0, method=method, **keywords)
        assert_close(one, unroll(cell, xs, state, method=method, **keywords), 1e-6)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_chunks_equal_the_whole(case):
    cell = build(case)
    xs, state, keywords = inputs(cell)
    if cell.stochastic:
        keywords["key"] = jr.split(keywords["key"], T)
    for method in methods(cell):
        whole = unroll(cell, xs, state, method=method, **keywords)
        carried, outputs = state, []
        for chunk in (slice(0, 3), slice(3, 6), slice(6, T)):
            part = {k: v[chunk] for k, v in keywords.items()}
            carried, ys = unroll(cell, xs[chunk], carried, method=method, **part)
            outputs.append(np.asarray(ys))
        assert_close((carried, np.concatenate(outputs)), whole, 1e-6)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_reverse_equals_flip(case):
    cell = build(case)
    xs, state, keywords = inputs(cell)
    final, ys = unroll(cell, xs, state, reverse=True, **keywords)
    flipped = {k: v[::-1] if k != "key" else v for k, v in keywords.items()}
    expected, ys_flipped = unroll(cell, xs[::-1], state, **flipped)
    assert_close((final, ys), (expected, np.asarray(ys_flipped)[::-1]), 1e-6)


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_vmap_equals_the_loop_over_samples(case):
    with float64() as dtype:
        cell = build(case, dtype)
        samples = [inputs(cell, seed=seed) for seed in (1, 2, 3)]
        xs, states, keywords = jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)
        layer = rz.Recurrent(cell)
        finals, ys = rz.batch(layer.scan)(xs, states, **keywords)
        for i, (x, state, own) in enumerate(samples):
            one = unroll(cell, x, state, **own)
            ours = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], (finals, ys))
            assert_close(ours, one, 1e-11)


@pytest.mark.parametrize(**ids(of_kinds(ALL), kinds=True))
def test_jit_equals_a_bare_call_and_the_second_call_does_not_trace(case):
    cell = build(case)
    xs, state, keywords = inputs(cell)
    traces = []

    @eqx.filter_jit
    def run(cell, xs, state, keywords):
        traces.append(1)
        return unroll(cell, xs, state, **keywords)

    one = run(cell, xs, state, keywords)
    run(cell, xs + 1, state, keywords)
    assert len(traces) == 1
    assert_close(one, unroll(cell, xs, state, **keywords), 1e-6)


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
    layer = rz.Recurrent(build(case))
    if layer.stochastic:
        pytest.skip("the inference flag of a stochastic part needs eqx.filter_jit")
    xs = inputs(layer)[0]
    assert_close(jax.jit(lambda layer, xs: layer(xs))(layer, xs), layer(xs), 1e-6)


@pytest.mark.parametrize(**ids([c for c in ALL if c.stochastic], kinds=True))
def test_draws_are_the_same_for_every_evaluator(case):
    cell = build(case)
    xs, _, keywords = inputs(cell)
    key = keywords["key"]
    one_key = unroll(cell, xs, key=key)[1]
    per_step = unroll(cell, xs, key=jr.split(key, T))[1]
    assert_close(one_key, per_step, 0)
    # Masks of three inputs agree by chance now and then: one key that differs is enough.
    others = [unroll(cell, xs, key=other)[1] for other in jr.split(jr.key(99), 4)]
    assert not all(np.allclose(one_key, other) for other in others)
    if isinstance(cell, rz.layers.AbstractLayer):
        assert_close(one_key, cell(xs, key=key), 1e-6)
    quiet = eqx.nn.inference_mode(cell)
    assert_close(unroll(quiet, xs)[1], unroll(quiet, xs, key=key)[1], 0)
    with pytest.raises(RuntimeError, match="key"):
        unroll(cell, xs)


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
    cell = build(case)
    xs, state, _ = inputs(cell)
    broken = xs.at[1].set(jnp.nan)
    reset = jnp.asarray(RESET)
    for method in methods(cell):
        final, ys = unroll(cell, broken, state, reset=reset, method=method)
        clean, ys_clean = unroll(cell, xs, state, reset=reset, method=method)
        assert_close((final, ys[3:]), (clean, ys_clean[3:]), 1e-6)
        assert np.isnan(ys[1]).any()


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
