"""Jacobians, exponents and gradient norms against what is known of them."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import DEFAULTS, WRAPPED, T, build, draw, float64, inputs, only, plain

import rnn_zoo as rz
from rnn_zoo.dynamics import (
    gradient_norms,
    jacobians,
    lyapunov_spectrum,
    spectrum,
    state_vector,
)
from rnn_zoo.scan import trajectory, unroll


KEY = jr.key(0)
STEPS = 3
BY_ID = {case.id: case for case in DEFAULTS + WRAPPED}
# Plain, structured, complex (linear and not), clocked, timed, stochastic, layered; the others
# are slow to compile.
KINDS = ("elman", "lstm", "lru", "unitary", "clockwork", "lipschitz", "zoneout-lstm", "stacked")
OTHERS = [name for name in rz.list_cells() if name not in KINDS]
EACH = [*KINDS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


one_step = eqx.filter_jit(
    lambda cell, state, x, dt, key: cell.advance(cell.constants(), state, x, dt, key)
)


def numbers(state):
    """The moving parts of a state as one vector, in NumPy."""
    parts = []
    for leaf in map(np.asarray, jax.tree.leaves(state)):
        if np.iscomplexobj(leaf):
            parts += [leaf.real.ravel(), leaf.imag.ravel()]
        elif np.issubdtype(leaf.dtype, np.floating):
            parts += [leaf.ravel()]
    return np.concatenate(parts)


def shifted(state, index, by):
    """The state with `by` added to one of its `numbers`."""
    new = []
    for leaf in map(np.array, jax.tree.leaves(state)):
        for unit in [1.0, 1j] if np.iscomplexobj(leaf) else [1.0]:
            if np.issubdtype(leaf.dtype, np.inexact):
                if 0 <= index < leaf.size:
                    leaf.flat[index] += by * unit
                index -= leaf.size
        new.append(jnp.asarray(leaf))
    return jax.tree.unflatten(jax.tree.structure(state), new)


def differences(cell, state, x, dt, key, by=1e-6):
    """d h' / d h by central differences."""

    def after(index, by):
        return numbers(one_step(cell, shifted(state, index, by), x, dt, key)[0])

    columns = range(len(numbers(state)))
    return np.stack([(after(i, by) - after(i, -by)) / (2 * by) for i in columns], axis=1)


def at(states, t):
    return jax.tree.map(lambda s: s[t], states)


@pytest.mark.parametrize("name", EACH)
def test_jacobians_equal_differences(name):
    with float64():
        cell = build(BY_ID[name], jnp.float64)
        xs, state, keywords = inputs(cell, STEPS)
        keywords = only(keywords, "dt")
        found = jacobians(cell, xs, state, **keywords)
        states, _ = trajectory(cell, xs, state, **keywords)
        dts = keywords.get("dt", [None] * STEPS)
        keys = jr.split(keywords["key"], STEPS) if cell.stochastic else [None] * STEPS
        for t in range(STEPS):
            expected = differences(cell, state, xs[t], dts[t], keys[t])
            np.testing.assert_allclose(found[t], expected, rtol=1e-6, atol=1e-7)
            state = at(states, t)
        assert found.dtype == jnp.float64


def test_state_vector_holds_what_moves():
    state = {
        "a": jnp.ones((2, 2)),
        "b": jnp.array([2 + 3j, 4 + 5j], jnp.complex64),
        "c": jnp.array(7),
    }
    np.testing.assert_array_equal(state_vector(state), [1, 1, 1, 1, 2, 4, 3, 5])
    clockwork = rz.cells.ClockworkCell(3, 5, key=KEY)
    assert state_vector(clockwork.init_state()).shape == (5,)
    states, _ = trajectory(rz.cells.LSTMCell(3, 4, key=KEY), draw(0, (6, 3)))
    assert jax.vmap(state_vector)(states).shape == (6, 8)


def test_an_antisymmetric_cell_has_its_spectrum_on_a_line():
    with float64():
        cell = rz.cells.AntisymmetricCell(3, 6, epsilon=0.1, gamma=0.05, key=KEY, dtype=jnp.float64)
        at_rest = jacobians(cell, jnp.zeros((2, 3)))
        values = spectrum(at_rest)
        np.testing.assert_allclose(values.real, 1 - 0.1 * 0.05, atol=1e-12)
        assert np.abs(values.imag).max() > 0.01
        slower = spectrum(jacobians(cell, jnp.zeros((2, 3)), dt=0.5))
        np.testing.assert_allclose(slower.real, 1 - 0.5 * 0.1 * 0.05, atol=1e-12)


def test_spectrum_is_sorted_and_complex():
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    values = spectrum(jnp.asarray(np.stack([np.diag([0.5, -3.0]), turn])))
    assert values.dtype == np.complex128
    np.testing.assert_allclose(values[0], [-3, 0.5])
    np.testing.assert_allclose(np.sort(values[1].imag), [-2, 2])
    assert spectrum(np.eye(2)).dtype == np.complex128


# Lyapunov exponents


def lorenz(h, x, dt):
    """One step of the classical Runge-Kutta method for the system of Lorenz (1963)."""

    def rate(h):
        a, b, c = h
        return jnp.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c])

    k1 = rate(h)
    k2 = rate(h + dt / 2 * k1)
    k3 = rate(h + dt / 2 * k2)
    k4 = rate(h + dt * k3)
    return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def test_lorenz_63_has_the_textbook_spectrum():
    with float64():
        cell = rz.adopt(lorenz, input_size=1, init_state=jnp.ones(3), timed=True)
        xs = jnp.zeros((1_000_000, 1))
        exponents = np.asarray(lyapunov_spectrum(cell, xs, dt=0.01, washout=5_000))
    np.testing.assert_allclose(exponents[0], 0.906, rtol=0.01)
    np.testing.assert_allclose(exponents[2], -14.57, rtol=0.01)
    assert abs(exponents[1]) < 0.01
    # The divergence of the flow is constant, so the sum is known without chaos.
    np.testing.assert_allclose(exponents.sum(), -(10 + 1 + 8 / 3), rtol=1e-4)


def test_the_henon_map_is_measured_per_step():
    def henon(h, x):
        return jnp.stack([1 - 1.4 * h[0] ** 2 + h[1], 0.3 * h[0]])

    with float64():
        cell = rz.adopt(henon, input_size=1, init_state=jnp.zeros(2))
        exponents = lyapunov_spectrum(cell, jnp.zeros((200_000, 1)), washout=100)
        np.testing.assert_allclose(exponents[0], 0.4192, rtol=0.01)
        np.testing.assert_allclose(exponents.sum(), math.log(0.3), rtol=1e-9)


def test_a_linear_cell_has_the_logarithms_of_its_eigenvalues():
    modulus = np.array([0.5, 0.2, 0.9])
    with float64():
        cell = rz.cells.LRUCell(3, 3, key=KEY, dtype=jnp.float64)
        cell = eqx.tree_at(lambda c: c.nu_log, cell, jnp.log(-jnp.log(modulus)))
        exponents = lyapunov_spectrum(cell, draw(0, (80, 3)), washout=60)
        expected = np.log([0.9, 0.9, 0.5, 0.5, 0.2, 0.2])  # each complex unit is two numbers
        np.testing.assert_allclose(exponents, expected, atol=1e-9)
        largest = lyapunov_spectrum(cell, draw(0, (80, 3)), washout=60, count=3)
        np.testing.assert_allclose(largest, expected[:3], atol=1e-9)


def test_exponents_are_per_elapsed_time():
    with float64():
        cell = rz.cells.LeakyElmanCell(3, 4, leak=0.3, key=KEY, dtype=jnp.float64)
        cell = eqx.tree_at(lambda c: c.weight_hh, cell, jnp.zeros((4, 4)))
        dt = jnp.asarray(np.random.default_rng(0).uniform(0.1, 2.0, 20))
        for time in (dt, 0.25, None):
            exponents = lyapunov_spectrum(cell, draw(0, (20, 3)), dt=time, washout=7)
            np.testing.assert_allclose(exponents, math.log(1 - 0.3), rtol=1e-12)


def test_a_contracting_map_has_negative_exponents():
    with float64():
        shrink = jnp.array([0.25, 0.5, 0.0])
        cell = rz.adopt(
            lambda h, x: shrink * jnp.tanh(h), input_size=1, init_state=jnp.array([1.0, -1.0, 1.0])
        )
        exponents = lyapunov_spectrum(cell, jnp.zeros((150, 1)), washout=100)
        np.testing.assert_allclose(exponents[:2], np.log([0.5, 0.25]), rtol=1e-9)
        assert exponents[2] < -30  # a direction that is lost: rounding, or -inf


# Gradients over time


def jacobian_of_the_run(cell, xs, state):
    """d numbers(last state) / d state, all in one reverse pass."""

    def last(state):
        return jnp.concatenate([jnp.ravel(s) for s in jax.tree.leaves(unroll(cell, xs, state)[0])])

    return jax.tree.leaves(jax.jacrev(last)(state))


def test_gradient_norms_are_those_of_the_whole_run():
    with float64():
        cell = build(BY_ID["lstm"], jnp.float64)
        xs, state, _ = inputs(cell)
        norms = gradient_norms(cell, xs, state)
        states, _ = trajectory(cell, xs, state)
        assert norms.shape == (T + 1,)
        assert norms[0] == 1
        for lag, start in ((1, at(states, T - 2)), (4, at(states, T - 5)), (T, state)):
            blocks = jacobian_of_the_run(cell, xs[T - lag :], start)
            whole = math.sqrt(sum(float((block**2).sum()) for block in blocks))
            np.testing.assert_allclose(norms[lag], whole / math.sqrt(10), rtol=1e-10)


def test_gradient_norms_are_the_product_of_the_jacobians():
    cell = build(BY_ID["unitary"])
    xs, state, _ = inputs(cell)
    product, expected = np.eye(10), [1.0]
    for jacobian in np.asarray(jacobians(cell, xs, state), np.float64)[::-1]:
        product = product @ jacobian
        expected.append(np.linalg.norm(product) / math.sqrt(10))
    np.testing.assert_allclose(gradient_norms(cell, xs, state), expected, rtol=1e-5)


def test_gradients_vanish_in_an_elman_network():
    norms = gradient_norms(rz.cells.ElmanCell(3, 8, key=KEY), draw(0, (60, 3)))
    assert norms[60] < 1e-4
    assert norms[60] < 1e-2 * norms[20]


@pytest.mark.parametrize("name", ["unitary", pytest.param("exprnn", marks=pytest.mark.slow)])
def test_gradients_stay_in_orthogonal_networks(name):
    cell = rz.make_cell(name, 3, 8, key=KEY)
    cell = eqx.tree_at(lambda c: c.bias, cell, jnp.zeros(8))  # modReLU turns, and scales nothing
    np.testing.assert_allclose(gradient_norms(cell, draw(0, (60, 3))), 1.0, atol=1e-4)


# The rest of JAX


def test_a_sequence_of_length_zero():
    cell = plain(BY_ID["elman"])
    assert jacobians(cell, jnp.zeros((0, 3))).shape == (0, 5, 5)
    np.testing.assert_array_equal(gradient_norms(cell, jnp.zeros((0, 3))), [1.0])


@pytest.mark.parametrize("function", [gradient_norms, lyapunov_spectrum])
def test_batches_and_gradients_of_the_dynamics(function):
    cell, batch = plain(BY_ID["elman"]), draw(0, (4, T, 3))
    each = jax.vmap(lambda xs: function(cell, xs))(batch)
    np.testing.assert_allclose(each[2], function(cell, batch[2]), rtol=1e-4, atol=1e-5)
    gradients = eqx.filter_grad(lambda c: (function(c, batch[0]) ** 2).sum())(cell)
    assert np.isfinite(gradients.weight_hh).all()
    assert np.abs(gradients.weight_hh).max() > 0
