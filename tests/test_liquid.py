"""Closed-form networks, memories and strides: what they promise beyond the laws of all."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import assert_close, draw, loop, noisy
from references import lecun_tanh, lstm

import rnn_zoo as rz
from rnn_zoo.scan import trajectory, unroll


KEY = jr.key(0)
I, H, T = 3, 5, 9
XS = draw(1, (T, I))


def small(**options):
    return rz.cells.CfCCell(I, H, key=KEY, **{"backbone_units": 7, **options})


def test_lecun_tanh():
    z = np.linspace(-3, 3, 7)
    for activation in (rz.cells.lecun_tanh, rz.cells.LeCunTanh()):
        np.testing.assert_allclose(activation(jnp.asarray(z)), lecun_tanh(z), rtol=1e-6)
    assert rz.cells.LeCunTanh() == rz.cells.LeCunTanh()
    one, other = small(), small(activation=rz.cells.LeCunTanh())
    np.testing.assert_allclose(one.step(jnp.ones(H), XS[0])[1], other.step(jnp.ones(H), XS[0])[1])
    net = eqx.nn.Sequential([eqx.nn.Linear(I, H, key=KEY), rz.cells.LeCunTanh()])
    assert net(XS[0]).shape == (H,)


def test_cfc_starts_as_it_says():
    cell = rz.cells.CfCCell(40, 60, backbone_units=30, mode="pure", key=KEY)
    np.testing.assert_array_equal(cell.A, 1)
    np.testing.assert_array_equal(cell.w_tau, 0)
    for layer, (rows, columns) in ((cell.backbone[0], (30, 100)), (cell.heads, (60, 30))):
        bound = np.sqrt(6 / (rows + columns))
        assert 0.95 * bound < abs(np.asarray(layer.weight)).max() <= bound
        assert abs(np.asarray(layer.bias)).max() <= 1 / np.sqrt(columns)
    four = np.asarray(rz.cells.CfCCell(40, 60, backbone_units=30, key=KEY).heads.weight)
    assert abs(four).max() <= np.sqrt(6 / 90)
    assert not np.allclose(four[:60], four[60:120])
    assert rz.cells.CfCCell(4, 5, key=KEY).backbone[0].weight.shape == (128, 9)


def test_pure_time_constant_leaves_its_start():
    cell = small(mode="pure")
    grads = eqx.filter_grad(lambda c: jnp.sum(unroll(c, XS)[1]))(cell)
    assert (np.asarray(grads.w_tau) != 0).all()
    below = rz.base.replace(cell, w_tau=jnp.full(H, -0.5))
    above = rz.base.replace(cell, w_tau=jnp.full(H, 0.5))
    assert_close(unroll(below, XS), unroll(above, XS), 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_backbone_dropout_drops_with_any_number_of_layers(layers):
    cell = small(backbone_dropout=0.4, backbone_layers=layers)
    keys = jr.split(KEY, 400)
    features = jax.vmap(lambda k: cell._features(XS[0], jnp.zeros(H), k))(keys)
    assert abs(float(jnp.mean(features == 0)) - 0.4) < 0.03
    if layers == 1:
        full = eqx.nn.inference_mode(cell)._features(XS[0], jnp.zeros(H), None)
        kept = np.asarray(features != 0)
        np.testing.assert_allclose(
            np.asarray(features)[kept], np.tile(full / 0.6, (400, 1))[kept], rtol=1e-5
        )


def test_cfc_without_dropout_has_no_such_part():
    cell = small(backbone_dropout=0.0)
    assert cell.dropout is None
    assert not cell.stochastic
    dropping = small(backbone_dropout=0.5)
    assert dropping.stochastic
    with pytest.raises(RuntimeError, match="needs key"):
        dropping.step(jnp.zeros(H), XS[0])
    assert_close(unroll(eqx.nn.inference_mode(dropping), XS), unroll(cell, XS), 0)


def test_cfc_stays_bounded_and_keeps_the_sign_of_time():
    cell = noisy(small(), 1, scale=2.0)
    ys = unroll(cell, draw(2, (200, I)) * 5, dt=jnp.linspace(0, 50, 200))[1]
    assert abs(np.asarray(ys)).max() <= 1.0
    # With a > 0 everywhere, time leads from tanh f_1 to tanh f_2.
    bias = jnp.concatenate([jnp.zeros(2 * H), jnp.full(H, 9.0), jnp.zeros(H)])
    weight = cell.heads.weight.at[2 * H :].set(0.0)
    cell = rz.base.replace(cell, heads=rz.base.replace(cell.heads, weight=weight, bias=bias))
    f = jnp.tanh(cell.heads(cell._features(XS[0], jnp.ones(H), None)))
    np.testing.assert_allclose(cell.step(jnp.ones(H), XS[0], 50.0)[1], f[H : 2 * H], atol=1e-6)
    np.testing.assert_allclose(
        cell.advance(cell.constants(), jnp.ones(H), XS[0], -50.0)[1], f[:H], atol=1e-6
    )


def test_time_scale_factor_multiplies_time():
    cell, scaled = small(), small(time_scale_factor=0.25)
    one, two = cell.step(jnp.ones(H), XS[0], 0.5), scaled.step(jnp.ones(H), XS[0], 2.0)
    assert_close(one, two, 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "gate"}, "mode to be one of"),
        ({"backbone_layers": -1}, "backbone_layers to be an integer"),
        ({"backbone_units": 0}, "backbone_units to be an integer"),
        ({"backbone_layers": 0, "backbone_dropout": 0.1}, "backbone_layers is 0"),
        ({"backbone_dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"time_scale_factor": 0.0}, "time_scale_factor above 0"),
    ],
)
def test_bad_options_of_cfc_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


# Mixed memory.


def parts(memory):
    """The arrays of the LSTM, for the reference."""
    fields = ("weight_ih", "weight_hh", "bias")
    arrays = {f: np.asarray(getattr(memory.lstm, f), np.float64) for f in fields}
    return type("LSTMArrays", (), arrays)


def test_the_memory_rewrites_the_state_before_time_passes():
    cell = small()
    memory = noisy(rz.MixedMemory(cell, key=KEY), 3, scale=0.2)
    state = rz.wrappers.MixedMemoryState(draw(4, (H,)), draw(5, (H,)))
    (h, c), _ = lstm(parts(memory), (np.asarray(state.h), np.asarray(state.c)), XS[0], 1.0)
    new, y = memory.step(state, XS[0], 0.3)
    np.testing.assert_allclose(new.c, c, rtol=1e-5, atol=1e-6)
    expected, _ = memory.cell.step(jnp.asarray(h, jnp.float32), XS[0], 0.3)
    np.testing.assert_allclose(new.h, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y, new.h)


def test_the_memory_feeds_the_cell_that_keeps_its_state():
    inner = rz.cells.CoRNNCell(2 * H, H, key=KEY)
    memory = noisy(rz.MixedMemory(inner, "input", input_size=I, key=KEY), 3, scale=0.2)
    assert (memory.input_size, memory.output_size) == (I, H)
    own = rz.cells.OscillatorState(draw(4, (H,)), draw(5, (H,)))
    state = rz.wrappers.MixedMemoryState(own, draw(6, (2 * H,)))
    seen = (np.concatenate([own.h, own.z]), np.asarray(state.c))
    (u, c), _ = lstm(parts(memory), seen, XS[0], 1.0)
    new, _ = memory.step(state, XS[0], 0.3)
    np.testing.assert_allclose(new.c, c, rtol=1e-5, atol=1e-6)
    expected, _ = memory.cell.step(own, jnp.asarray(u, jnp.float32), 0.3)
    assert_close(new.h, expected, 1e-5)


def test_memories_read_complex_states_and_leave_clocks_alone():
    lru = rz.MixedMemory(rz.cells.LRUCell(2 * H, H, key=KEY), "input", input_size=I, key=KEY)
    clockwork = rz.MixedMemory(
        rz.cells.ClockworkCell(H, H, key=KEY), "input", input_size=I, key=KEY
    )
    for memory, width in ((lru, 2 * H), (clockwork, H)):
        assert not memory.linear
        state, y = memory.step(memory.init_state(), XS[0])
        assert state.c.shape == (width,)
        assert y.shape == (H,)
    assert not rz.MixedMemory(rz.cells.LeakyElmanCell(I, H, key=KEY), key=KEY).linear


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rz.MixedMemory(rz.cells.LSTMCell(I, H, key=KEY), key=KEY), 'real vector.*"input"'),
        (lambda: rz.MixedMemory(rz.cells.LRUCell(I, H, key=KEY), key=KEY), "one real vector"),
        (lambda: rz.MixedMemory(small(), "output", key=KEY), "variant to be one of"),
        (lambda: rz.MixedMemory(small(), "input", key=KEY), "input_size 5, got 3"),
        (lambda: rz.MixedMemory(small(), input_size=4, key=KEY), "expected input_size 3, got 4"),
    ],
)
def test_memories_that_do_not_fit_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Strides.


def test_a_strided_cell_acts_on_every_third_step_over_all_the_time_since():
    cell = rz.cells.LeakyElmanCell(I, H, key=KEY)
    strided = rz.Strided(cell, 3, 0.5)
    dt = jnp.linspace(0.1, 1.7, T)
    final, ys = unroll(strided, XS, dt=dt)
    acts = np.arange(0, T, 3)
    passed = 0.5 * np.array([dt[0], *(dt[k - 2 : k + 1].sum() for k in acts[1:])])
    expected = unroll(cell, XS[acts], dt=jnp.asarray(passed))[1]
    np.testing.assert_allclose(ys, np.repeat(expected, 3, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final.elapsed, dt[-2:].sum(), rtol=1e-6)
    assert int(final.k) == 0


def test_a_longer_wait_makes_a_longer_step():
    """Between two acts a leaky cell moves by 1 - (1 - leak)^elapsed of the way."""
    cell = rz.cells.LeakyElmanCell(I, H, leak=0.2, key=KEY)
    zero = rz.base.replace(cell, weight_hh=jnp.zeros((H, H)), weight_ih=jnp.zeros((H, I)))
    zero = rz.base.replace(zero, bias=jnp.ones(H))
    moved = []
    for dt in (0.5, 1.0, 2.0):
        states, _ = trajectory(rz.Strided(zero, 2), XS[:3], dt=dt)
        moved.append(float(abs(states.inner[2] - states.inner[1]).max()))
        share = 1 - 0.8 ** (2 * dt)
        np.testing.assert_allclose(
            states.inner[2], states.inner[1] + share * (np.tanh(1) - states.inner[1]), rtol=1e-5
        )
    whole = [float(trajectory(rz.Strided(zero, s), XS[:5])[0].inner[4, 0]) for s in (1, 2, 4)]
    np.testing.assert_allclose(whole, whole[0], rtol=1e-5)  # no time is lost


def test_a_stride_of_one_is_the_cell():
    for cell in (small(), rz.cells.GRUCell(I, H, key=KEY), rz.cells.LRUCell(I, H, key=KEY)):
        strided = rz.Strided(cell, 1)
        assert not strided.linear
        np.testing.assert_allclose(unroll(strided, XS)[1], unroll(cell, XS)[1], atol=1e-6)


def test_strides_hold_bit_for_bit_and_go_on_across_chunks():
    cell = rz.Strided(rz.cells.ClockworkCell(I, H, key=KEY), 4)
    states, ys = trajectory(cell, XS)
    np.testing.assert_array_equal(ys[1:4], np.tile(ys[0], (3, 1)))
    np.testing.assert_array_equal(states.inner.t, [1, 1, 1, 1, 2, 2, 2, 2, 3])
    assert states.elapsed is None
    middle, _ = unroll(cell, XS[:5])
    np.testing.assert_allclose(unroll(cell, XS[5:], middle)[1], ys[5:], rtol=1e-6)


def test_a_bank_of_strides_is_its_parts_side_by_side():
    bank = rz.wrappers.StrideAwareCfC(I, 7, strides=(1, 2, 4), backbone_units=6, key=KEY)
    assert [cell.output_size for cell in bank.cells] == [3, 2, 2]
    assert [cell.stride for cell in bank.cells] == [1, 2, 4]
    state, _, ys = loop(bank, XS, dt=jnp.linspace(0.5, 1.5, T))
    single = [loop(cell, XS, dt=jnp.linspace(0.5, 1.5, T)) for cell in bank.cells]
    np.testing.assert_allclose(ys, np.concatenate([y for _, _, y in single], axis=1), atol=1e-6)
    assert_close(state, tuple(s for s, _, _ in single), 1e-6)


def test_a_bank_draws_independently():
    bank = rz.wrappers.StrideAwareCfC(I, 4, strides=(1, 1), backbone_dropout=0.5, key=KEY)
    assert bank.stochastic
    twins = rz.base.replace(bank, cells=(bank.cells[0], bank.cells[0]))
    _, y = twins.step(twins.init_state(), XS[0], key=KEY)
    assert not np.allclose(y[:2], y[2:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rz.Strided(small(), 0), "stride to be an integer of at least 1"),
        (lambda: rz.Strided(small(), 2, -1.0), "time_scale above 0"),
        (lambda: rz.Strided(rz.cells.GRUCell(I, H, key=KEY), 2, 0.5), "GRUCell has none"),
        (lambda: rz.wrappers.StrideAwareCfC(I, 2, key=KEY), r"3 for strides=\(1, 2, 4\), got 2"),
        (lambda: rz.wrappers.StrideAwareCfC(I, 2, strides=(), key=KEY), "one stride or more"),
    ],
)
def test_strides_that_do_not_fit_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Layers.


def test_cfc_layers_by_size_and_depth():
    layer = rz.CfC(I, H, num_layers=2, bidirectional=True, mixed_memory=True, proj_size=4, key=KEY)
    ys = layer(XS, dt=jnp.linspace(0.5, 1.5, T))
    assert ys.shape == (T, 4)
    states = jax.tree.leaves(layer.init_state())
    assert [s.shape for s in states] == [(H,)] * 8  # h and c, two directions, two layers
    plain = rz.CfC(I, H, key=KEY, mode="no_gate", backbone_layers=0)
    state, ys = plain.scan(XS)
    assert ys.shape == (T, H)
    assert state[0].shape == (H,)
    with pytest.raises(ValueError, match="proj_size to be an integer"):
        rz.CfC(I, H, proj_size=0, key=KEY)


def test_a_closed_form_model_trains():
    """One step of AdamW lowers the loss on its batch."""
    layer = rz.CfC(I, H, mixed_memory=True, proj_size=1, backbone_units=7, key=KEY)
    optimizer = optax.adamw(1e-2)

    @eqx.filter_value_and_grad
    def loss(layer):
        return jnp.mean((layer(XS)[:, 0] - XS[:, 0]) ** 2)

    before, grads = loss(layer)
    params = eqx.filter(layer, eqx.is_inexact_array)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    assert loss(eqx.apply_updates(layer, updates))[0] < before


# Wired networks.


def ncp():
    fans = {"sensory_fanout": 2, "inter_fanout": 2, "motor_fanin": 2}
    return rz.wiring.NCPMap(I, 5, 3, 2, recurrent_command_synapses=3, **fans)


def adamw_steps(cell, steps=3):
    """The cell after steps with weight decay, on inputs that use all of it."""
    optimizer = optax.adamw(1e-2, weight_decay=0.5)
    opt_state = optimizer.init(eqx.filter(cell, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(cell, opt_state):
        grads = eqx.filter_grad(lambda c: jnp.sum(unroll(c, XS)[1] ** 2))(cell)
        params = eqx.filter(cell, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return eqx.apply_updates(cell, updates), opt_state

    for _ in range(steps):
        cell, opt_state = step(cell, opt_state)
    return cell


@pytest.mark.parametrize("fully_recurrent", [True, False])
def test_synapses_that_do_not_exist_stay_zero_in_training(fully_recurrent):
    wiring = ncp()
    cell = rz.cells.WiredCfCCell(I, wiring, fully_recurrent=fully_recurrent, key=KEY)
    trained = adamw_steps(cell)
    assert not eqx.tree_equal(cell, trained)
    inter, command, motor = map(list, wiring.layers)
    incoming = (
        wiring.sensory_adjacency[:, inter],
        wiring.adjacency[inter][:, command],
        wiring.adjacency[command][:, motor],
    )
    for layer, sources, own in zip(trained.layers, incoming, wiring.layers):
        inside = abs(wiring.adjacency[list(own)][:, list(own)])
        inside = np.ones_like(inside) if fully_recurrent else inside
        present = np.concatenate([sources, inside]).T != 0
        f_1, f_2, a, b = np.split(np.asarray(layer.heads.weight), 4)
        for weight in (f_1, f_2):
            np.testing.assert_array_equal(weight != 0, present)
        assert (a != 0).all()
        assert (b != 0).all()


def test_weights_of_absent_synapses_are_not_used():
    cell = rz.cells.WiredCfCCell(I, ncp(), key=KEY)
    dirty = jax.tree.map(
        lambda p: jnp.where(p == 0, 7.0, p) if eqx.is_inexact_array(p) else p, cell.layers
    )
    zeros = jax.tree.map(lambda p: jnp.all(p != 0), eqx.filter(cell.layers, eqx.is_array))
    assert not all(jax.tree.leaves(zeros))
    assert_close(unroll(rz.base.replace(cell, layers=dirty), XS), unroll(cell, XS), 0)


def test_motor_neurons_hear_of_the_input_through_the_command_neurons_only():
    """f_1 and f_2 of a layer read the layer before; the state is in the order of the layers."""
    wiring = ncp()
    cell = noisy(rz.cells.WiredCfCCell(I, wiring, key=KEY), 1)
    assert (cell.output_size, cell.init_state().shape) == (2, (10,))
    state, y = cell.step(jnp.zeros(10), XS[0])
    np.testing.assert_array_equal(y, state[-2:])
    silent = cell.layers[2]
    weight = silent.heads.weight.at[:, :3].set(0.0)
    silent = rz.base.replace(silent, heads=rz.base.replace(silent.heads, weight=weight))
    cut = rz.base.replace(cell, layers=(*cell.layers[:2], silent))
    jacobian = jax.jacfwd(lambda x: cut.step(jnp.ones(10), x)[1])(XS[0])
    np.testing.assert_array_equal(jacobian, 0)


def test_one_layer_maps_give_their_motor_neurons():
    wiring = rz.wiring.FullyConnectedMap(I, H, 2)
    cell = rz.cells.WiredCfCCell(I, wiring, key=KEY)
    state, y = cell.step(jnp.ones(H), XS[0])
    assert y.shape == (2,)
    np.testing.assert_array_equal(y, state[:2])


def test_recurrent_synapses_of_a_map_can_shape_the_cell():
    outputs = []
    for self_connections in (True, False):
        wiring = rz.wiring.FullyConnectedMap(I, H, self_connections=self_connections)
        for fully_recurrent in (True, False):
            cell = rz.cells.WiredCfCCell(I, wiring, fully_recurrent=fully_recurrent, key=KEY)
            outputs.append(np.asarray(cell.step(jnp.ones(H), XS[0])[1]))
    all_1, own_1, all_2, own_2 = outputs
    np.testing.assert_array_equal(all_1, own_1)
    np.testing.assert_array_equal(all_1, all_2)
    assert not np.allclose(all_2, own_2)


def test_wired_layers_and_sizes():
    layer = rz.CfC(I, ncp(), mixed_memory=True, proj_size=4, key=KEY, fully_recurrent=False)
    assert layer(XS, dt=0.5).shape == (T, 4)
    assert rz.CfC(I, ncp(), bidirectional=True, key=KEY)(XS).shape == (T, 4)
    with pytest.raises(ValueError, match="drawn for 3 inputs and the cell reads 2"):
        rz.CfC(I, ncp(), num_layers=2, key=KEY)
    with pytest.raises(ValueError, match="hidden_size of at least 4, got 3"):
        rz.cells.WiredCfCCell(I, 3, key=KEY)
    bank = rz.wrappers.StrideAwareWiredCfCCell(I, 9, strides=(1, 2), key=KEY)
    assert [cell.cell.wiring.units for cell in bank.cells] == [5, 4]
    with pytest.raises(ValueError, match=r"8 for strides=\(1, 2\), got 7"):
        rz.wrappers.StrideAwareWiredCfCCell(I, 7, strides=(1, 2), key=KEY)


class Backwards(rz.wiring.NeuronMap):
    """A map of one's own, with layers that are not those of a network."""

    def __init__(self, layers):
        wires = np.ones((4, 4)), np.ones((I, 4))
        self.seal(*wires, 1, layers, config={"layers": layers})


def test_maps_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="motor neurons in the last layer"):
        rz.cells.WiredCfCCell(I, Backwards([[0, 1], [2, 3]]), key=KEY)
    with pytest.raises(ValueError, match="each of the 4 neurons once"):
        rz.cells.WiredCfCCell(I, Backwards([[1, 2], [0]]), key=KEY)
    own = rz.cells.WiredCfCCell(I, Backwards([[3, 1], [2, 0]]), key=KEY)
    state, y = own.step(jnp.ones(4), XS[0])
    np.testing.assert_array_equal(y, state[-1:])
