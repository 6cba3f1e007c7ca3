"""Cells with the delta rule: what they hold, over which time, and where they start."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, float64, noisy

import rnn_zoo as rz
from rnn_zoo.base import replace


KEY = jr.key(0)
NAMES = ["deltanet", "gated_deltanet", "kda", "delta_product", "rwkv7"]
TIMED = ["deltanet", "gated_deltanet", "kda"]
STORE = {"num_heads": 1, "key_size": 4, "input_map": False, "key": KEY}


def store(q, k, v, z):
    """The features of a DeltaNet cell with one head; a large z writes all of v."""
    return jnp.concatenate([jnp.asarray(part, jnp.float32) for part in (q, k, v, [z])])


def test_a_value_takes_the_place_of_the_one_before():
    cell = rz.make_cell("deltanet", 12, 3, **STORE)
    one, two = np.eye(4)[:2]
    first, second, other = draw(1, (3, 3))
    state = cell.init_state()
    for k, v in ((one, first), (two, other), (one, second)):
        state, _ = cell.step(state, store(one, k, v, 30.0))
    held = np.asarray(state[0])
    np.testing.assert_allclose(held, [second, other, *np.zeros((2, 3))], atol=1e-5)
    _, y = cell.step(state, store(two, one, second, -30.0))
    np.testing.assert_allclose(y, other / 2, atol=1e-5)  # K^(-1/2)


def test_beta_of_two_counts_parity():
    cell = rz.make_cell("deltanet", 12, 3, negative_eigenvalues=True, **STORE)
    state = jnp.ones_like(cell.init_state())
    one = np.eye(4)[0]
    for count in range(1, 4):
        state, _ = cell.step(state, store(one, one, np.zeros(3), 30.0))
        np.testing.assert_allclose(state[0, 0], (-1) ** count, atol=1e-4)
        np.testing.assert_array_equal(state[0, 1:], 1)


def test_two_reflections_turn():
    cell = rz.make_cell("delta_product", 10, 1, gated=False, **STORE | {"key_size": 2})
    assert cell.num_products == 2
    angle = 0.4
    k = [[1.0, 0.0], [np.cos(angle), np.sin(angle)]]
    x = jnp.asarray([0.0, 0.0, *k[0], *k[1], 0.0, 0.0, 40.0, 40.0], jnp.float32)
    turn = np.asarray(cell.transition(cell.constants(), x).linear.a)[0]
    c, s = np.cos(2 * angle), np.sin(2 * angle)
    np.testing.assert_allclose(turn, [[c, -s], [s, c]], atol=1e-5)


@pytest.mark.parametrize("name", TIMED)
def test_no_gap_changes_nothing(name):
    cell = noisy(rz.make_cell(name, 3, 6, num_heads=2, key_size=2, key=KEY), 1)
    state = draw(2, cell.init_state().shape)
    after, _ = cell.step(state, draw(3, (3,)), 0.0)
    np.testing.assert_allclose(after, state, atol=1e-6)


def test_two_gaps_of_deltanet_are_one():
    with float64() as dtype:
        cell = rz.make_cell("deltanet", 3, 6, num_heads=2, key_size=3, dtype=dtype, key=KEY)
        x, state = 30 * draw(3, (3,)), draw(2, cell.init_state().shape)
        whole, _ = cell.step(state, x, 1.3)
        half, _ = cell.step(state, x, 0.5)
        half, _ = cell.step(half, x, 0.8)
        # The length of a key is 1 but for the small number in it.
        np.testing.assert_allclose(half, whole, atol=1e-4)


@pytest.mark.parametrize("name", TIMED)
def test_negative_eigenvalues_take_no_time(name):
    assert rz.make_cell(name, 3, 4, key=KEY).timed
    cell = rz.make_cell(name, 3, 4, negative_eigenvalues=True, key=KEY)
    assert not cell.timed
    with pytest.raises(TypeError, match="has no physical time and takes no dt"):
        cell.step(cell.init_state(), jnp.ones(3), 2.0)


@pytest.mark.parametrize("name", ["gated_deltanet", "kda", "delta_product"])
def test_gates_have_their_gradients_under_strong_decay(name):
    """By chunks as by steps, where next to nothing is left of a state."""
    cell = rz.make_cell(name, 3, 4, num_heads=2, key_size=3, key=KEY)
    cell = replace(cell, bias_dt=jnp.full_like(cell.bias_dt, 2.0))
    xs = draw(1, (70, 3))

    @jax.jit
    def gradients(cell):
        def loss(cell, method):
            return jnp.sum(rz.scan.unroll(cell, xs, method=method)[1] ** 2)

        return [jax.grad(loss)(cell, method) for method in ("sequential", "parallel")]

    one, two = gradients(cell)
    for gate in ("A_log", "bias_dt", "weight_ih"):
        expected = np.asarray(getattr(one, gate))
        assert abs(expected).max() > 0
        bound = 1e-4 * abs(expected).max()
        np.testing.assert_allclose(getattr(two, gate), expected, atol=bound)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_are_as_exact_as_steps_where_a_key_comes_again_and_again(name):
    """In float32: powers of the matrix of scores would be lost here."""
    options = {} if name == "rwkv7" else {"negative_eigenvalues": True}
    cell = noisy(rz.make_cell(name, 3, 8, num_heads=2, key_size=6, key=KEY, **options), 1)
    xs = np.tile(np.random.default_rng(2).normal(size=3) * 3, (150, 1)).astype(np.float32)

    def errors(cell, xs):
        ways = [rz.scan.unroll(cell, xs, method=m)[1] for m in ("sequential", "parallel")]
        return [np.asarray(ys, np.float64) for ys in ways]

    one, two = errors(cell, xs)
    with float64():
        wide = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), cell)
        exact, exact_too = errors(wide, jnp.asarray(xs, jnp.float64))
    np.testing.assert_allclose(exact_too, exact, rtol=1e-10, atol=1e-10)
    size = np.linalg.norm(exact)
    error, other = (np.linalg.norm(ys - exact) / size for ys in (one, two))
    assert other < 3 * error + 2e-7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "inputs"), [(1, 1), (5, 2), (8, 3)])
def test_gradients_at_zero_are_finite(name, size, inputs):
    cell = rz.make_cell(name, inputs, size, key=KEY)
    assert cell.init_state().shape == (cell.num_heads, cell.key_size, size // cell.num_heads)
    state = jnp.ones_like(cell.init_state())
    grads = jax.grad(lambda c, x: jnp.sum(c.step(state, x)[1]), (0, 1))(cell, jnp.zeros(inputs))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked(name):
    with pytest.raises(ValueError, match="num_heads to divide hidden_size=6, got 4"):
        rz.make_cell(name, 3, 6, num_heads=4, key=KEY)
    with pytest.raises(ValueError, match="key_size"):
        rz.make_cell(name, 3, 6, key_size=0, key=KEY)
    with pytest.raises(ValueError, match="number of features"):
        rz.make_cell(name, 3, 6, input_map=False, key=KEY)


def test_defaults_of_sizes():
    sizes = {name: rz.make_cell(name, 3, 16, key=KEY) for name in NAMES}
    assert {cell.num_heads for cell in sizes.values()} == {4}
    keys = {name: cell.key_size for name, cell in sizes.items()}
    assert keys == {"deltanet": 4, "gated_deltanet": 2, "kda": 4, "delta_product": 4, "rwkv7": 4}
    assert sizes["kda"].weight_gate.shape == (16, 4)
    assert sizes["rwkv7"].weight_w.shape == (16, 16)
    assert rz.make_cell("rwkv7", 3, 40, key=KEY).weight_w.shape == (40, 32)


@pytest.mark.parametrize("name", ["gated_deltanet", "kda", "delta_product"])
def test_gates_start_where_the_papers_have_them(name):
    cell = rz.make_cell(name, 3, 2000, num_heads=1000, key=KEY)
    rates, steps = np.exp(cell.A_log), np.log1p(np.exp(np.asarray(cell.bias_dt, np.float64)))
    assert 1 <= rates.min() < 1.2
    assert 15.8 < rates.max() <= 16
    assert 0.99e-3 < steps.min() < 1.2e-3
    assert 0.09 < steps.max() < 0.101


def test_rwkv7_starts_as_its_authors_first_layer():
    cell = rz.make_cell("rwkv7", 25, 8, num_heads=2, key=KEY)
    r, k, v, low = np.split(np.asarray(cell.weight_ih), [8, 16, 24])
    for part, bound in ((r, 0.1), (k, 0.01), (v, 0.1)):
        assert 0.9 * bound < abs(part).max() <= bound
    np.testing.assert_array_equal(low, 0)
    for weight in (cell.weight_w, cell.weight_a):
        np.testing.assert_allclose(weight.T @ weight, 0.01 * np.eye(8), atol=1e-6)
    zigzag = np.array([-1, -1 / 9, 1 / 9, 1] * 2)
    along = np.arange(8) / 7
    np.testing.assert_allclose(cell.bias_w, -6 + 6 * along + 0.5 + 2.5 * zigzag, rtol=1e-5)
    expected = -0.19 + 0.3 * zigzag + 0.4 * (along - 0.5)
    np.testing.assert_allclose(cell.bias_a, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(cell.k_k, 0.71 - 0.1 * (along - 0.5), rtol=1e-5)
    np.testing.assert_allclose(cell.k_a, 1.02, rtol=1e-6)


def test_rwkv7_keeps_more_than_half():
    cell = noisy(rz.make_cell("rwkv7", 3, 4, key=KEY), 1, scale=30.0)
    decay = np.exp(jax.vmap(lambda x: cell.parts(None, x).log_decay)(draw(1, (50, 3))))
    assert np.exp(-np.exp(-0.5)) - 1e-6 <= decay.min() < 0.55
    assert decay.max() <= 1
