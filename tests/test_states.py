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
    T,
    assert_close,
    build,
    float64,
    gradients,
    ids,
    inputs,
    plain,
    random_state,
    same,
    step,
    strict,
)

import rnn_zoo as rz
from rnn_zoo.scan import unroll


def keyed(cell):
    return {"key": jr.key(3)} if cell.stochastic else {}


@pytest.mark.parametrize(**ids(EVERYTHING))
def test_step_keeps_the_state_and_tells_the_truth_about_its_output(case):
    cell = build(case)
    initial = jax.eval_shape(cell.init_state)
    x = jax.ShapeDtypeStruct((I,), jnp.float32)
    state, y = jax.eval_shape(lambda s, x: cell.step(s, x, **keyed(cell)), initial, x)
    assert jax.tree.structure(state) == jax.tree.structure(initial)
    for new, old in zip(jax.tree.leaves(state), jax.tree.leaves(initial)):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        assert not new.weak_type
        assert not old.weak_type
    assert y.shape == (cell.output_size,)
    assert y.dtype == jnp.float32
    assert cell.input_size == I
    fixed = isinstance(cell, rz.Block | rz.Residual | rz.cells.ShortConv)
    assert cell.output_size == (I if fixed else case.outputs(H))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_working_dtype(case):
    cell = build(case)
    state = random_state(cell, 0)
    x = jnp.linspace(-1.0, 1.0, I)
    expected, y = step(cell, state, x.astype(jnp.bfloat16), **keyed(cell))
    assert y.dtype == jnp.bfloat16
    assert step(cell, state, x.astype(jnp.float16), **keyed(cell))[1].dtype == jnp.float16
    assert step(cell, state, jnp.arange(I), **keyed(cell))[1].dtype == jnp.float32
    for leaf, old in zip(jax.tree.leaves(expected), jax.tree.leaves(state)):
        assert leaf.dtype == old.dtype
    xs = jr.normal(jr.key(1), (T, I), jnp.bfloat16)
    final, ys = unroll(cell, xs, **keyed(cell))
    assert ys.dtype == jnp.bfloat16
    assert jax.tree.leaves(final)[0].dtype in (jnp.float32, jnp.complex64)
    full = unroll(cell, xs.astype(jnp.float32), **keyed(cell))[1]
    np.testing.assert_allclose(ys.astype(jnp.float32), full, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_float32_cell_stays_float32_under_x64(case):
    cell = build(case)
    with jax.enable_x64(True):
        xs = jr.normal(jr.key(1), (T, I), jnp.float64)
        time = {"dt": jnp.ones(T, jnp.float64)} if cell.timed else {}
        final, ys = unroll(cell, xs, **time)
        assert ys.dtype == jnp.float32
        assert jax.tree.leaves(final)[0].dtype in (jnp.float32, jnp.complex64)


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_float64_cell_is_float64(case):
    with float64() as dtype:
        cell = plain(case, dtype)
        parameters = jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array))
        trained = set() if isinstance(cell, rz.cells.EchoStateCell) else {jnp.dtype(dtype)}
        assert {p.dtype for p in parameters} == trained
        final, ys = unroll(cell, jr.normal(jr.key(1), (T, I)))
        assert ys.dtype == jnp.float64
        assert jax.tree.leaves(final)[0].dtype in (jnp.float64, jnp.complex128)


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_cells_are_built_in_bfloat16(case):
    cell = plain(case, jnp.bfloat16)
    for leaf in jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array)):
        assert leaf.dtype == jnp.bfloat16
        assert np.isfinite(leaf.astype(jnp.float32)).all()
    final, ys = unroll(cell, jnp.ones((3, I)))
    assert np.isfinite(ys).all()
    assert jax.tree.leaves(final)[0].dtype in (jnp.float32, jnp.complex64)


@pytest.mark.parametrize(**ids([case for case in ALL if not case.stochastic], kinds=True))
def test_bfloat16_parameters_keep_a_float32_carry(case):
    cell = build(case)
    half = jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p), jnp.bfloat16) if eqx.is_inexact_array(p) else p, cell
    )
    state, _ = step(half, half.init_state(), jnp.ones(I))
    assert jax.tree.leaves(state)[0].dtype in (jnp.float32, jnp.complex64)


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_parameters_are_real_arrays_and_nothing_else_is_a_leaf(case):
    cell = plain(case)
    for leaf in jax.tree.leaves(cell):
        assert isinstance(leaf, jax.Array)
        assert not jnp.iscomplexobj(leaf)


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
    keys = jr.split(jr.key(0), 3)
    cells = eqx.filter_vmap(lambda k: rz.make_cell(case.name, I, H, key=k))(keys)
    xs = jr.normal(jr.key(1), (T, I))
    ys = eqx.filter_vmap(lambda cell: unroll(cell, xs)[1])(cells)
    one = unroll(rz.make_cell(case.name, I, H, key=keys[1]), xs)[1]
    assert_close(ys[1], one, 1e-5)
    assert not np.allclose(ys[0], ys[1])


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
    one, again, other = (case.build(jr.key(seed)) for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)
