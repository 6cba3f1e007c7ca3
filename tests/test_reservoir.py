"""Reservoirs: radii, topologies, and that nothing in them trains."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import rnn_zoo as rz
from rnn_zoo.cells.echo_state import TOPOLOGIES


KEY = jr.key(0)


def radius(matrix):
    return abs(np.linalg.eigvals(np.asarray(matrix, np.float64))).max()


def recurrent(cell):
    gain, shift, _ = (np.asarray(array) for array in cell.constants())
    matrix = np.asarray(cell.weight_hh.value)
    return gain * matrix + shift * np.eye(len(matrix))


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_matrix_has_its_spectral_radius(topology, size):
    cell = rz.cells.EchoStateCell(2, size, spectral_radius=0.8, topology=topology, key=KEY)
    np.testing.assert_allclose(radius(recurrent(cell)), 0.8, rtol=1e-4)


@pytest.mark.parametrize("leak", [0.1, 0.5, 1.0])
def test_the_leaky_form_has_its_spectral_radius(leak):
    cell = rz.cells.EchoStateCell(
        2, 60, spectral_radius=0.95, leak=leak, radius_of="leaky", key=KEY
    )
    effective = (1 - leak) * np.eye(60) + leak * np.asarray(recurrent(cell))
    np.testing.assert_allclose(radius(effective), 0.95, rtol=1e-4)


def test_a_draw_without_a_cycle_gets_one():
    for seed in range(20):
        cell = rz.cells.EchoStateCell(1, 6, connectivity=0.1, key=jr.key(seed))
        np.testing.assert_allclose(radius(recurrent(cell)), 0.9, rtol=1e-4)


def test_topologies_are_what_they_say():
    def drawn(topology, size=64, **options):
        return np.asarray(
            recurrent(rz.cells.EchoStateCell(1, size, topology=topology, key=KEY, **options))
        )

    ring = drawn("ring")
    assert np.count_nonzero(ring) == 64
    np.testing.assert_allclose(np.linalg.matrix_power(ring / 0.9, 64), np.eye(64), atol=1e-4)
    matrix = drawn("orthogonal") / 0.9
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(64), atol=1e-4)
    share = np.count_nonzero(drawn("random", 200, connectivity=0.2)) / 200**2
    assert abs(share - 0.2) < 0.02
    world = drawn("small_world", connectivity=0.1) != 0
    steps = np.arange(64)
    distance = np.minimum(abs(steps[:, None] - steps), 64 - abs(steps[:, None] - steps))
    assert world[(distance > 0) & (distance <= 3)].all()
    assert 0 < world[distance > 3].sum() < 120
    groups = drawn("cluster", connectivity=0.1) != 0
    same = steps[:, None] // 8 == steps // 8
    assert groups[same].all()
    assert 0 < groups[~same].mean() < 0.03


def test_nothing_in_a_reservoir_trains():
    reservoirs = (
        rz.cells.EchoStateCell(2, 8, bias_scaling=0.5, key=KEY),
        rz.cells.EchoStateCell(2, 8, key=KEY).prepare(),
        rz.reservoir.as_reservoir(rz.cells.HCoRNNCell(2, 8, key=KEY), spectral_radius=0.9),
    )
    for cell in reservoirs:
        model = rz.SequenceModel(rz.Recurrent(cell), 1, key=KEY)
        params = eqx.filter(model, eqx.is_inexact_array)
        assert len(jax.tree.leaves(params)) == 2  # weight and bias of the head
        grads = eqx.filter_grad(lambda m: jnp.sum(m(jnp.ones((5, 2)))))(model)
        optimizer = optax.adamw(0.1, weight_decay=0.1)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        after = eqx.apply_updates(model, updates)
        for one, two in zip(jax.tree.leaves(model.layer), jax.tree.leaves(after.layer)):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(model.head.weight, after.head.weight)


def test_as_reservoir_scales_a_cell():
    cell = rz.reservoir.as_reservoir(rz.cells.ElmanCell(2, 20, key=KEY), spectral_radius=0.7)
    np.testing.assert_allclose(radius(cell.cell.weight_hh), 0.7, rtol=1e-4)
    with pytest.raises(ValueError, match="no recurrent matrix"):
        rz.reservoir.as_reservoir(rz.cells.LSTMCell(2, 5, key=KEY), spectral_radius=0.7)


def test_noise_takes_a_key():
    cell = rz.cells.EchoStateCell(2, 5, noise=0.1, key=KEY)
    xs = jnp.ones((4, 2))
    layer = rz.Recurrent(cell)
    assert not np.allclose(layer(xs, key=jr.key(1)), layer(xs, key=jr.key(2)))
    quiet = eqx.nn.inference_mode(layer)(xs)
    np.testing.assert_allclose(
        quiet, rz.Recurrent(rz.cells.EchoStateCell(2, 5, key=KEY))(xs), rtol=1e-6
    )
    with pytest.raises(RuntimeError, match="key"):
        layer(xs)


def test_a_grid_of_settings_is_one_vmap():
    xs = jr.normal(KEY, (30, 1))
    settings = {
        "spectral_radius": jnp.array([0.3, 0.6, 0.9]),
        "leak": jnp.array([0.2, 1.0, 0.5]),
        "input_scaling": jnp.array([0.0, 2.0, 0.7]),
        "bias_scaling": jnp.array([0.1, 0.2, 0.3]),
        "connectivity": jnp.array([0.1, 0.5, 1.0]),
    }

    def run(options):
        return rz.Recurrent(rz.cells.EchoStateCell(1, 16, radius_of="leaky", key=KEY, **options))(
            xs
        )

    for i, ys in enumerate(jax.jit(jax.vmap(run))(settings)):
        one = run({name: float(values[i]) for name, values in settings.items()})
        np.testing.assert_allclose(ys, one, atol=1e-5)


def test_a_bad_setting_of_a_grid_is_a_runtime_error():
    make = jax.jit(lambda leak: rz.cells.EchoStateCell(1, 4, leak=leak, key=KEY).leak.value)
    with pytest.raises(RuntimeError, match=r"leak in \(0, 1\]"):
        make(1.5)


def test_leak_one_keeps_nothing_and_time_zero_everything():
    cell = rz.cells.EchoStateCell(2, 5, leak=1.0, key=KEY)
    state = jnp.ones(5)
    np.testing.assert_array_equal(cell.step(state, jnp.ones(2), 0.0)[0], state)
    x, W = np.ones(2), np.asarray(recurrent(cell), np.float64)
    expected = np.tanh(np.asarray(cell.weight_ih.value, np.float64) @ x + W @ np.ones(5))
    np.testing.assert_allclose(cell.step(state, jnp.ones(2))[0], expected, rtol=1e-5)
    assert np.isfinite(jax.grad(lambda dt: cell.step(state, jnp.ones(2), dt)[0].sum())(0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leak": 0.0}, "leak"),
        ({"connectivity": 2.0}, "connectivity"),
        ({"spectral_radius": 0.0}, "spectral_radius"),
        ({"topology": "star"}, "topology"),
        ({"noise": -1.0}, "noise"),
        ({"radius_of": "both"}, "radius_of"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        rz.cells.EchoStateCell(2, 5, key=KEY, **options)
