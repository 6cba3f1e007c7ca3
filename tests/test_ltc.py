"""Networks on a neuron map: what LTC and wired Elman units promise beyond the laws of all."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import draw

import rnn_zoo as rz
from rnn_zoo.cells.ltc import LEAST_CAPACITY
from rnn_zoo.scan import unroll


KEY = jr.key(0)
I, T = 3, 7
NCP = rz.wiring.AutoNCPMap(I, 10, 2)
XS = draw(1, (T, I))


def trained(cell, steps=5):
    """The cell after some steps of AdamW with a large weight decay."""
    optimizer = optax.adamw(0.3, weight_decay=0.3)
    params, rest = eqx.partition(cell, eqx.is_inexact_array)

    @jax.jit
    def step(params, opt_state):
        grads = jax.grad(lambda p: jnp.sum(unroll(eqx.combine(p, rest), XS)[1] ** 2))(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state = optimizer.init(params)
    for _ in range(steps):
        params, opt_state = step(params, opt_state)
    return eqx.combine(params, rest)


@pytest.mark.parametrize(
    "wiring",
    [NCP, rz.wiring.RandomMap(I, 6, sparsity=0.7), rz.wiring.FullyConnectedMap(I, 4)],
    ids=lambda m: type(m).__name__,
)
def test_parameters_are_those_of_the_synapses(wiring):
    cell = rz.cells.LTCCell(I, wiring, key=KEY)
    for part, count in (
        (cell.recurrent, wiring.synapse_count),
        (cell.sensory, wiring.sensory_synapse_count),
    ):
        assert {p.shape for p in jax.tree.leaves(part)} == {(count,)}
    assert wiring.synapse_count == (wiring.adjacency != 0).sum()
    assert wiring.sensory_synapse_count == (wiring.sensory_adjacency != 0).sum()
    assert cell.output_size == wiring.output_size
    assert cell.init_state().shape == (wiring.units,)


def test_neurons_read_their_synapses_alone():
    cell = rz.cells.LTCCell(I, NCP, ode_unfolds=1, key=KEY)
    v = draw(2, (10,))
    jacobian = jax.jit(jax.jacobian(lambda v: cell.step(v, XS[0])[0]))(v)
    read = (NCP.adjacency.T != 0) | np.eye(10, dtype=bool)
    np.testing.assert_array_equal(np.asarray(jacobian) != 0, read)
    jacobian = jax.jit(jax.jacobian(lambda x: cell.step(v, x)[0]))(XS[0])
    np.testing.assert_array_equal(np.asarray(jacobian) != 0, NCP.sensory_adjacency.T != 0)


def test_dt_zero_holds_values_and_gradients():
    cell = rz.cells.LTCCell(I, NCP, key=KEY)
    v = draw(2, (10,))
    np.testing.assert_array_equal(cell.step(v, XS[0], 0.0)[0], v)
    grads = jax.grad(lambda v, dt: jnp.sum(cell.step(v, XS[0], dt)[0] ** 2), argnums=(0, 1))(v, 0.0)
    np.testing.assert_allclose(grads[0], 2 * v, rtol=1e-6)
    assert np.isfinite(grads[1])
    assert grads[1] != 0


def test_times_of_a_batch_are_no_times_of_units():
    """A batch of as many samples as there are units: each sample has its own times."""
    layer = rz.Recurrent(rz.cells.LTCCell(I, NCP, key=KEY))
    xs, dt = draw(3, (10, T, I)), jnp.abs(draw(4, (10, T)))
    ys = rz.batch(layer)(xs, dt=dt)
    for i in range(10):
        np.testing.assert_allclose(ys[i], layer(xs[i], dt=dt[i]), atol=1e-6)


def test_explicit_parameters_stay_in_their_range_where_they_are_used():
    cell = trained(rz.cells.LTCCell(I, NCP, constraint="explicit", key=KEY))
    raw = jnp.concatenate([cell.recurrent.weight, cell.g_leak, cell.c_m])
    assert (raw < 0).any()
    constants = cell.constants()
    assert (constants.g_leak >= 0).all()
    assert (constants.recurrent.weight >= 0).all()
    assert (constants.c_m >= LEAST_CAPACITY).all()
    assert np.isfinite(unroll(cell, XS)[1]).all()


def test_a_parameter_comes_back_from_the_edge_of_its_range():
    cell = rz.cells.LTCCell(I, NCP, constraint="explicit", key=KEY)
    cell = eqx.tree_at(lambda c: c.g_leak, cell, jnp.full(10, -0.1))

    def slopes(sign):
        grads = eqx.filter_grad(lambda c: sign * jnp.sum(unroll(c, XS)[1] ** 2))(cell)
        return np.asarray(grads.g_leak[:2])

    # One of the two leads in, and the other is stopped.
    up, down = slopes(1), slopes(-1)
    np.testing.assert_array_equal(np.minimum(up, down) < 0, True)
    np.testing.assert_array_equal(np.maximum(up, down), 0)


def test_initial_conductances_are_in_the_published_ranges():
    for constraint in ("implicit", "explicit"):
        cell = rz.cells.LTCCell(I, 40, constraint=constraint, key=KEY)
        constants = cell.constants()
        for value, low, high in (
            (constants.g_leak, 0.001, 1.0),
            (constants.recurrent.weight, 0.001, 1.0),
            (constants.c_m, 0.4, 0.6),
        ):
            assert low <= value.min() < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < value.max() <= high
    theirs = rz.cells.LTCCell(I, 40, initialisation="ncps", key=KEY).constants()
    assert theirs.recurrent.weight.min() > 0.69


def test_polarity_starts_at_the_map_and_is_trained():
    cell = rz.cells.LTCCell(I, NCP, key=KEY)
    signs = NCP.adjacency[np.nonzero(NCP.adjacency)]
    np.testing.assert_array_equal(cell.recurrent.polarity, signs)
    assert (trained(cell).recurrent.polarity != signs).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_mapping": "quadratic"}, "input_mapping to be one of"),
        ({"output_mapping": "none"}, "output_mapping to be one of"),
        ({"constraint": "relu"}, "constraint to be one of"),
        ({"initialisation": "zero"}, "initialisation to be one of"),
        ({"ode_unfolds": 0}, "ode_unfolds"),
        ({"hidden_size": rz.wiring.AutoNCPMap(5, 10, 2)}, "drawn for 5 inputs"),
    ],
)
def test_bad_options_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        rz.cells.LTCCell(I, **{"hidden_size": NCP, **given}, key=KEY)


def test_layers_take_a_map():
    layer = rz.LTC(I, NCP, mixed_memory=True, proj_size=4, key=KEY)
    assert layer(XS, dt=jnp.full(T, 0.5)).shape == (T, 4)
    assert rz.LTC(I, 5, bidirectional=True, key=KEY)(XS).shape == (T, 10)


def test_ncp_keeps_absent_synapses_at_zero_and_masks_weights_not_states():
    cell = rz.cells.WiredElmanCell(NCP, key=KEY)
    absent = NCP.adjacency.T == 0
    after = trained(cell)
    np.testing.assert_array_equal(np.asarray(after.weight_hh)[absent], 0)
    assert (np.asarray(after.weight_hh)[~absent] != cell.weight_hh[~absent]).all()
    dirty = rz.base.replace(cell, weight_hh=jnp.ones((10, 10)), weight_ih=jnp.ones((10, I)))
    h, x = draw(2, (10,)), XS[0]
    expected = np.tanh((NCP.sensory_adjacency.T != 0) @ x + (NCP.adjacency.T != 0) @ h)
    state, y = dirty.step(h, x)
    np.testing.assert_allclose(state, expected, rtol=1e-5)
    np.testing.assert_array_equal(y, state[:2])
    np.testing.assert_array_equal(np.sign(cell.weight_hh), NCP.adjacency.T)
    relu = rz.cells.WiredElmanCell(NCP, jax.nn.relu, key=KEY)
    assert (relu.step(h, x)[0] >= 0).all()
