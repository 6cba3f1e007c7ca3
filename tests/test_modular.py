"""Cells that send messages: to other modules along a wiring, to other nodes of a graph."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import arrays as arrays_of, assert_close, draw, float64, noisy, random_state
from references import REFERENCES

import rnn_zoo as rz
from rnn_zoo.graphs.messages import MESSAGES
from rnn_zoo.graphs.modular import LoopedModules, StackedModules
from rnn_zoo.scan import unroll


KEY = jr.key(0)
I, H, M, T = 3, 4, 2, 7
WIRING = np.array([[0, 0.5, 0, -1], [0, 0, 2, 0], [1, 0, 0.3, 0], [0, -0.7, 0, 0]])
ALIKE = ("gru",) * 4
MIXED = ("lstm", "leaky_elman", "gru", "elman")
SENDERS, RECEIVERS = np.array([0, 1, 2, 3, 3, 0]), np.array([1, 2, 0, 0, 2, 3])


def ring(size):
    """Each module hears the one before."""
    return np.roll(np.eye(size, dtype=bool), 1, axis=1)


def make(names=ALIKE, wiring=WIRING, dtype=None, hidden=H, **options):
    keys = jr.split(KEY, len(names))
    cells = [rz.make_cell(n, I + M, hidden, dtype=dtype, key=k) for n, k in zip(names, keys)]
    options = {"message_size": M, "dtype": dtype, "key": jr.key(1), **options}
    return noisy(rz.Modular(cells, wiring, **options), 3)


def looped(modular):
    """The same network with its modules one after the other."""
    parts = tuple(map(modular.modules.pick, range(modular.messages.size)))
    return rz.base.replace(modular, modules=LoopedModules(parts))


def as_tuple(states, count):
    """The states of the cells as a tuple, whether they are stacked or not."""
    if type(states) is tuple:
        return states
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(count))


def passing(cell=None, nodes=4, dtype=None, features=True, **options):
    cell = rz.cells.LSTMCell(I + M, H, dtype=dtype, key=KEY) if cell is None else cell
    edge = np.random.default_rng(5).normal(size=(len(SENDERS), 2)) if features else None
    options = {"message_size": M, "edge_features": edge, "dtype": dtype, "key": KEY, **options}
    return noisy(rz.MessagePassing(cell, SENDERS, RECEIVERS, nodes, **options), 4)


def run_in_numpy(modular, names, state, xs, dt, reads, outputs, weights):
    """The equations of `Modular`, one module and one source at a time, in NumPy."""
    count = len(names)
    cells = [arrays_of(modular.module(i)) for i in range(count)]
    E = [np.asarray(modular.modules.pick(i).weight) for i in range(count)]
    states = [jax.tree.map(np.asarray, s) for s in as_tuple(state.cells, count)]
    said, ys = np.asarray(state.said), []
    for x in xs:
        heard = [sum(weights[j, i] * said[j] for j in range(count)) for i in range(count)]
        y = []
        for i, name in enumerate(names):
            seen = np.concatenate([x if i in reads else np.zeros(I), heard[i]])
            states[i], out = REFERENCES[name](cells[i], states[i], seen, dt)
            y.append(out)
        said = np.stack([E[i] @ y[i] for i in range(count)])
        ys.append(np.concatenate([y[i] for i in outputs]))
    return states, said, np.stack(ys)


@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("names", [ALIKE, MIXED], ids=["alike", "mixed"])
def test_modular_steps_equal_the_equations(names, messages):
    with float64() as dtype:
        reads, outputs = [0, 3], [2, 0]
        options = {"messages": messages, "reads": reads, "outputs": outputs}
        cell = make(names, dtype=dtype, **options)
        weights = np.asarray(cell.messages.matrix())
        assert ((weights != 0) == (WIRING != 0)).all()
        state, xs = random_state(cell, 2), np.asarray(draw(1, (T, I)))
        dt = 0.6 if cell.timed else 1.0
        final, ys = unroll(cell, xs, state, **({"dt": dt} if cell.timed else {}))
        expected = run_in_numpy(cell, names, state, xs, dt, reads, outputs, weights)
        got = as_tuple(final.cells, 4), final.said, ys
        for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in ("unitary", "esn", "exprnn")]


@pytest.mark.parametrize("name", ["gru", "cfc", "clockwork", *SLOW])
def test_stacked_modules_equal_the_loop(name):
    with float64() as dtype:
        cell = make((name,) * 4, dtype=dtype, hidden=5)
        assert isinstance(cell.modules, StackedModules)
        xs, time = draw(1, (T, I)), {"dt": 0.7} if cell.timed else {}
        final, ys = unroll(cell, xs, **time)
        slow, ys_slow = unroll(looped(cell), xs, **time)
        assert_close((as_tuple(final.cells, 4), final.said, ys), (*slow, ys_slow), 1e-11)


def test_only_equal_cells_are_stacked():
    assert isinstance(make(MIXED).modules, LoopedModules)
    one, two = rz.cells.ElmanCell(I + M, 4, key=KEY), rz.cells.ElmanCell(I + M, 5, key=KEY)
    relu = rz.cells.ElmanCell(I + M, 4, activation=jax.nn.relu, key=KEY)
    quiet = eqx.nn.inference_mode(rz.Zoneout(one, 0.1))
    pairs = [(one, two), (one, relu), (quiet, rz.Zoneout(one, 0.1)), (one, rz.Frozen(one))]
    for pair in pairs:
        cell = rz.Modular(pair, ring(2), message_size=M, key=KEY)
        assert isinstance(cell.modules, LoopedModules)
        assert cell.output_size == sum(c.output_size for c in pair)
    learned = [rz.LearnedInitialState(one, jnp.full(4, float(i))) for i in range(3)]
    cell = rz.Modular(learned, ring(3), message_size=M, key=KEY)
    assert isinstance(cell.modules, StackedModules)
    np.testing.assert_array_equal(cell.init_state().cells[:, 0], [0, 1, 2])


def test_module_gives_back_the_cells():
    for names in (ALIKE, MIXED):
        keys = jr.split(KEY, 4)
        cells = [rz.make_cell(n, I + M, H, key=k) for n, k in zip(names, keys)]
        cell = rz.Modular(cells, WIRING, message_size=M, key=KEY)
        for i, inner in enumerate(cells):
            assert eqx.tree_equal(cell.module(i), inner)
        with pytest.raises(IndexError, match="module from 0 to 3, got -1"):
            cell.module(-1)
    assert make(MIXED).timed
    assert not make(ALIKE).timed


def test_message_kinds_are_equal_at_the_start():
    with float64() as dtype:
        xs = draw(1, (T, I))
        for wiring in (WIRING, WIRING != 0, np.zeros((4, 4)), jnp.asarray(WIRING)):
            cells = {}
            for kind in MESSAGES:
                keys = jr.split(KEY, 4)
                parts = [rz.cells.GRUCell(I + M, H, dtype=dtype, key=k) for k in keys]
                options = {"message_size": M, "messages": kind, "key": KEY}
                cells[kind] = rz.Modular(parts, wiring, **options)
                np.testing.assert_array_equal(cells[kind].messages.matrix(), wiring)
            runs = [unroll(cell, xs) for cell in cells.values()]
            for run in runs[1:]:
                assert_close(run, runs[0], 1e-12)


def test_a_neuron_map_is_a_wiring():
    wiring = rz.wiring.RandomMap(2, 4, sparsity=0.5, seed=1)
    cell = make(wiring=wiring)
    np.testing.assert_array_equal(cell.messages.matrix(), wiring.adjacency)
    with pytest.raises(ValueError, match=r"shape \(4, 4\).*a map of 5 neurons"):
        make(wiring=rz.wiring.RandomMap(2, 5))


@pytest.mark.parametrize("messages", MESSAGES)
def test_training_makes_no_edge_and_moves_no_constant(messages):
    cell = make(messages=messages)
    before = np.asarray(cell.messages.matrix())
    optimizer = optax.adamw(1e-2, weight_decay=0.5)
    opt_state = optimizer.init(eqx.filter(cell, eqx.is_inexact_array))
    xs, trained = draw(1, (T, I)), cell

    @eqx.filter_jit
    def step(cell, opt_state):
        grads = eqx.filter_grad(lambda c: jnp.sum(unroll(c, xs)[1] ** 2))(cell)
        updates, opt_state = optimizer.update(grads, opt_state, cell)
        return eqx.apply_updates(cell, updates), opt_state

    for _ in range(5):
        trained, opt_state = step(trained, opt_state)
    after = np.asarray(trained.messages.matrix())
    np.testing.assert_array_equal(after[WIRING == 0], 0)
    if messages == "learned":
        assert (after[WIRING != 0] != before[WIRING != 0]).all()
    else:
        np.testing.assert_array_equal(after, before)
        assert eqx.tree_equal(trained.messages, cell.messages)


def test_modules_read_and_are_read_as_asked():
    xs, other = draw(1, (T, I)), draw(2, (T, I))
    every = make()
    some = make(outputs=[3, 1])
    assert (every.output_size, some.output_size) == (4 * H, 2 * H)
    ys = unroll(every, xs)[1].reshape(T, 4, H)
    assert_close(unroll(some, xs)[1].reshape(T, 2, H), ys[:, [3, 1]], 1e-6)
    cut = {"wiring": np.zeros((4, 4)), "reads": [0, 2]}
    one, two = (unroll(make(**cut), x)[1].reshape(T, 4, H) for x in (xs, other))
    np.testing.assert_array_equal(one[:, [1, 3]], two[:, [1, 3]])
    assert (one[:, [0, 2]] != two[:, [0, 2]]).all()


def test_a_module_that_reads_nothing_is_not_broken_by_nan():
    cell = make(wiring=np.zeros((4, 4)), reads=[0], messages="sparse")
    ys = unroll(cell, jnp.full((T, I), jnp.nan))[1].reshape(T, 4, H)
    assert np.isnan(ys[:, 0]).all()
    assert np.isfinite(ys[:, 1:]).all()


@pytest.mark.parametrize("messages", MESSAGES)
def test_news_takes_one_step_for_each_edge(messages):
    cell = make(wiring=ring(4), reads=[0], messages=messages)
    xs = draw(1, (T, I))
    ys, moved = (unroll(cell, x)[1].reshape(T, 4, H) for x in (xs, xs.at[1].add(1.0)))
    felt = (np.asarray(ys) != np.asarray(moved)).any(axis=2)
    for module in range(4):
        assert not felt[: 1 + module, module].any()
        assert felt[1 + module, module]


def test_modular_draws_are_those_of_its_modules():
    inner = rz.cells.ElmanCell(I + M, 400, key=KEY)
    cell = rz.Modular([rz.Zoneout(inner, 0.5)] * 2, ring(2), message_size=M, key=KEY)
    assert cell.stochastic
    state = random_state(cell, 1)
    after, ys = cell.step(state, jnp.ones(I), key=KEY)
    held = np.asarray(after.cells == state.cells)
    assert (abs(held.mean(axis=1) - 0.5) < 0.1).all()
    assert 0.4 < (held[0] != held[1]).mean() < 0.6
    same, ys_same = looped(cell).step(
        state._replace(cells=as_tuple(state.cells, 2)), jnp.ones(I), key=KEY
    )
    assert_close((as_tuple(after.cells, 2), after.said, ys), (*same, ys_same), 1e-6)
    with pytest.raises(RuntimeError, match="key"):
        cell.step(state, jnp.ones(I))
    quiet = eqx.nn.inference_mode(cell)
    assert_close(quiet.step(state, jnp.ones(I)), quiet.step(state, jnp.ones(I), key=KEY), 0)
    part = rz.Modular([rz.Zoneout(inner, 0.5), inner], ring(2), message_size=M, key=KEY)
    assert part.stochastic
    assert part.step(part.init_state(), jnp.ones(I), key=KEY)[1].shape == (800,)


def test_modular_cells_nest_stack_and_freeze():
    inner = rz.Modular(
        [rz.cells.GRUCell(I + 2 * M, H, key=k) for k in jr.split(KEY, 2)],
        ring(2),
        message_size=M,
        key=KEY,
    )
    outer = rz.Modular([inner, inner], ring(2), message_size=M, key=KEY)
    assert (outer.input_size, outer.output_size) == (I, 4 * H)
    assert isinstance(outer.modules, StackedModules)
    xs = draw(1, (T, I))
    final, ys = rz.Stacked([outer, rz.cells.LRUCell(4 * H, 5, key=KEY)]).scan(xs)
    assert ys.shape == (T, 5)
    assert_close(unroll(rz.Frozen(outer), xs), unroll(outer, xs), 1e-6)
    assert not jax.tree.leaves(eqx.filter(rz.Frozen(outer), eqx.is_inexact_array))


def test_modular_ensembles_are_one_vmap():
    def build(key):
        parts = [rz.cells.GRUCell(I + M, H, key=k) for k in jr.split(key, 3)]
        return rz.Modular(parts, ring(3), message_size=M, messages="learned", key=key)

    keys, xs = jr.split(KEY, 2), draw(1, (T, I))
    ys = eqx.filter_vmap(lambda cell: unroll(cell, xs)[1])(eqx.filter_vmap(build)(keys))
    assert_close(ys[1], unroll(build(keys[1]), xs)[1], 1e-5)


def test_modular_dtypes():
    keys = jr.split(KEY, 2)
    half = [rz.cells.GRUCell(I + M, H, dtype=jnp.bfloat16, key=k) for k in keys]
    cell = rz.Modular(half, 0.3 * ring(2), message_size=M, dtype=jnp.bfloat16, key=KEY)
    assert cell.init_state().said.dtype == jnp.float32
    assert cell.messages.matrix()[0, 1] == np.float32(0.3)
    assert unroll(cell, jnp.ones((T, I)))[1].dtype == jnp.float32
    with float64() as dtype:
        parts = [rz.cells.GRUCell(I + M, H, dtype=d, key=KEY) for d in (jnp.float32, dtype)]
        for own in (None, jnp.float32):
            mixed = rz.Modular(parts, ring(2), message_size=M, dtype=own, key=KEY)
            final, _ = unroll(mixed, draw(1, (T, I)))
            expected = jnp.float64 if own is None else jnp.float32
            assert [leaf.dtype for leaf in jax.tree.leaves(final)] == [
                jnp.float32,
                jnp.float64,
                expected,
            ]


def bad_modular(cells=None, wiring=None, **options):
    cells = [rz.cells.GRUCell(I + M, H, key=KEY)] * 3 if cells is None else cells
    return rz.Modular(
        cells,
        ring(3) if wiring is None else wiring,
        **{"message_size": M, "key": KEY, **options},
    )


CELL = rz.cells.GRUCell(I + M, H, key=KEY)
BAD_MODULAR = {
    "no cells": ({"cells": []}, "at least one cell, got none"),
    "other sizes": (
        {"cells": [CELL, rz.cells.GRUCell(9, H, key=KEY)]},
        r"one input_size.*got \[5, 9\]",
    ),
    "no room for x": ({"message_size": I + M}, r"x plus message_size=5.*got \[5, 5, 5\]"),
    "no message": ({"message_size": 0}, "message_size to be an integer of at least 1, got 0"),
    "wiring of two": ({"wiring": ring(2)}, r"shape \(3, 3\), \[source, target\].*got \(2, 2\)"),
    "complex wiring": ({"wiring": 1j * ring(3)}, "bools or finite real weights, got complex"),
    "nan": ({"wiring": np.full((3, 3), np.nan)}, "finite real weights, got float64 with NaN"),
    "no outputs": ({"outputs": []}, r"outputs to list at least one module.*got \[\]"),
    "no reads": ({"reads": ()}, "reads to list at least one module"),
    "mask": ({"reads": np.array([True, False, True])}, "of a mask give np.flatnonzero"),
    "fraction": ({"reads": [0.5]}, "reads to list at least one module by its index"),
    "out of range": ({"outputs": [0, 3]}, r"outputs to hold indices from 0 to 2.*got \(0, 3\)"),
    "negative": ({"reads": [-1]}, r"reads to hold indices from 0 to 2.*got \(-1,\)"),
    "twice": ({"outputs": [1, 1]}, r"none of them twice, got \(1, 1\)"),
    "messages": ({"messages": "loud"}, "messages to be one of .*dense.*got 'loud'"),
    "dtype": ({"dtype": int}, "expected a real dtype"),
}


@pytest.mark.parametrize("name", BAD_MODULAR)
def test_modular_names_what_is_wrong(name):
    options, message = BAD_MODULAR[name]
    with pytest.raises(ValueError, match=message):
        bad_modular(**options)


def test_what_is_no_cell_is_named():
    layer = rz.Bidirectional(CELL, CELL)
    with pytest.raises(TypeError, match="a cell as module 1, got Bidirectional"):
        bad_modular(cells=[CELL, layer])
    with pytest.raises(TypeError, match="a cell as the update of the nodes, got Bidirectional"):
        passing(layer)


def pass_in_numpy(cell, state, xs, features):
    """The equations of `MessagePassing`, one edge and one node at a time, in NumPy."""
    inner, nodes = arrays_of(cell.cell), cell.num_nodes
    W_s, W_r, b = map(np.asarray, (cell.weight_sender, cell.weight_receiver, cell.bias))
    edges = list(zip(np.asarray(cell.senders), np.asarray(cell.receivers)))
    states = [jax.tree.map(lambda s, i=i: np.asarray(s[i]), state.nodes) for i in range(nodes)]
    y, ys = np.asarray(state.y), []
    for x in xs:
        m = np.zeros((nodes, M))
        for k, (j, i) in enumerate(edges):
            edge = 0.0 if features is None else np.asarray(cell.weight_edge) @ features[k]
            m[i] += np.tanh(W_s @ y[j] + W_r @ y[i] + edge + b)
        seen = np.concatenate([x.reshape(nodes, -1), m], axis=1)
        pairs = [REFERENCES["lstm"](inner, s, row, 1.0) for s, row in zip(states, seen)]
        states, y = [s for s, _ in pairs], np.stack([out for _, out in pairs])
        ys.append(y.ravel())
    return states, y, np.stack(ys)


@pytest.mark.parametrize("with_features", [True, False])
def test_message_passing_steps_equal_the_equations(with_features):
    with float64() as dtype:
        cell = passing(dtype=dtype, features=with_features)
        assert (cell.input_size, cell.output_size) == (4 * I, 4 * H)
        features = np.asarray(cell.edge_features.value) if with_features else None
        state, xs = random_state(cell, 2), np.asarray(draw(1, (T, 4 * I)))
        final, ys = unroll(cell, xs, state)
        states, y, expected = pass_in_numpy(cell, state, xs, features)
        got = as_tuple(final.nodes, 4), final.y, ys
        wanted = [*states, y, expected]
        for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_message_passing_is_equivariant():
    with float64() as dtype:
        cell, xs = passing(dtype=dtype), draw(1, (T, 4, I))
        ys = unroll(cell, xs.reshape(T, -1))[1].reshape(T, 4, H)
        order = np.array([2, 0, 3, 1])
        edges = np.array([4, 1, 5, 0, 3, 2])
        number = np.argsort(order)
        features = cell.edge_features.value[edges]
        moved = cell.on(number[SENDERS][edges], number[RECEIVERS][edges], None, features)
        ys_moved = unroll(moved, xs[:, order].reshape(T, -1))[1].reshape(T, 4, H)
        assert_close(ys_moved, ys[:, order], 1e-12)
        turned = cell.on(RECEIVERS, SENDERS, None, cell.edge_features.value)
        assert abs(unroll(turned, xs.reshape(T, -1))[1].reshape(T, 4, H) - ys).max() > 1e-3


def test_messages_go_along_their_edge_only():
    cell = passing().on([1], [3], None, np.ones((1, 2)))
    xs = draw(1, (T, 4, I))
    one, two = (
        np.asarray(unroll(cell, x.reshape(T, -1))[1]).reshape(T, 4, H)
        for x in (xs, xs.at[2, 1].add(1.0))
    )
    felt = (one != two).any(axis=2)
    np.testing.assert_array_equal(felt.any(axis=0), [False, True, False, True])
    np.testing.assert_array_equal(felt.argmax(axis=0)[[1, 3]], [2, 3])


def test_the_same_parameters_on_another_graph():
    cell = passing(features=False)
    bigger = cell.on(np.arange(6), np.roll(np.arange(6), 1), 6)
    assert (bigger.input_size, bigger.output_size) == (6 * I, 6 * H)
    assert unroll(bigger, jnp.ones((T, 6 * I)))[1].shape == (T, 6 * H)
    trained = [f.name for f in dataclasses.fields(cell) if f.name.startswith(("weight", "bias"))]
    for name in ("cell", *trained):
        assert getattr(bigger, name) is getattr(cell, name)
    alone = cell.on([], [], 1)
    y = alone.step(alone.init_state(), jnp.ones(I))[1]
    seen = jnp.append(jnp.ones(I), jnp.zeros(M))
    expected = cell.cell.step(cell.cell.init_state(), seen)[1]
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_a_traced_graph_is_an_argument():
    cell, xs = passing(features=False), draw(1, (T, 4 * I))

    @jax.jit
    def run(senders, receivers):
        return unroll(cell.on(senders, receivers), xs)[1]

    assert_close(run(SENDERS, RECEIVERS), unroll(cell, xs)[1], 1e-6)
    turned = cell.on(RECEIVERS, SENDERS)
    assert_close(run(RECEIVERS, SENDERS), unroll(turned, xs)[1], 1e-6)
    assert run._cache_size() == 1


def test_message_passing_takes_time_and_keys_as_its_cell():
    timed = passing(rz.cells.LeakyElmanCell(I + M, H, key=KEY))
    assert timed.timed
    state = random_state(timed, 1)
    held, _ = timed.step(state, jnp.ones(4 * I), 0.0)
    np.testing.assert_array_equal(held.nodes, state.nodes)
    noisy_nodes = passing(rz.Zoneout(rz.cells.ElmanCell(I + M, 300, key=KEY), 0.5))
    assert noisy_nodes.stochastic
    state = random_state(noisy_nodes, 1)
    held = noisy_nodes.step(state, jnp.ones(4 * I), key=KEY)[0].nodes == state.nodes
    assert (abs(held.mean(axis=1) - 0.5) < 0.12).all()
    assert 0.35 < (held[0] != held[1]).mean() < 0.65


def test_edge_features_never_train():
    cell = passing()
    fixed = eqx.filter(cell, eqx.is_inexact_array, inverse=True)
    assert fixed.edge_features.bits is cell.edge_features.bits
    assert eqx.filter(cell, eqx.is_inexact_array).edge_features.bits is None
    grads = eqx.filter_grad(lambda c: jnp.sum(unroll(c, draw(1, (T, 4 * I)))[1]))(cell)
    for leaf in jax.tree.leaves(grads):
        assert (np.asarray(leaf) != 0).any()


def bad_passing(senders=SENDERS, receivers=RECEIVERS, nodes=4, **options):
    options = {"message_size": M, "key": KEY, **options}
    return rz.MessagePassing(CELL, senders, receivers, nodes, **options)


BAD_PASSING = {
    "outside": ({"senders": SENDERS + 1}, "senders to hold nodes from 0 to 3.*got 1 to 4"),
    "negative": ({"receivers": -RECEIVERS}, "receivers to hold nodes from 0 to 3.*got -3 to 0"),
    "one end": ({"senders": SENDERS[:3]}, r"of one shape \(edges,\).*\(3,\) and \(6,\)"),
    "pairs": ({"senders": np.ones((6, 2), int)}, r"of an \(edges, 2\) array give its columns"),
    "floats": ({"senders": SENDERS * 1.0}, "senders to hold integers.*got float64"),
    "mask": ({"receivers": RECEIVERS > 0}, "receivers to hold integers.*np.flatnonzero"),
    "no nodes": ({"nodes": 0}, "num_nodes to be an integer of at least 1, got 0"),
    "no room for x": ({"message_size": I + M}, "input_size above message_size=5.*got 5"),
    "no message": ({"message_size": 0}, "message_size to be an integer of at least 1, got 0"),
    "vector": ({"edge_features": np.ones(6)}, r"\(6, edge_size\).*got \(6,\).*\[:, None\]"),
    "other edges": ({"edge_features": np.ones((5, 2))}, r"shape \(6, edge_size\).*got \(5, 2\)"),
    "complex": ({"edge_features": 1j * np.ones((6, 2))}, "expected real edge_features"),
}


@pytest.mark.parametrize("name", BAD_PASSING)
def test_message_passing_names_what_is_wrong(name):
    options, message = BAD_PASSING[name]
    with pytest.raises(ValueError, match=message):
        bad_passing(**options)


def test_another_graph_has_features_of_the_same_size():
    with pytest.raises(ValueError, match=r"edge_features of shape \(6, 2\).*got None"):
        passing().on(SENDERS, RECEIVERS)
    with pytest.raises(ValueError, match=r"of shape \(6, 2\).*got \(6, 3\)"):
        passing().on(SENDERS, RECEIVERS, None, np.ones((6, 3)))
    with pytest.raises(ValueError, match=r"edge_features None.*got \(6, 1\)"):
        passing(features=False).on(SENDERS, RECEIVERS, None, np.ones((6, 1)))
    with pytest.raises(ValueError, match="receivers to hold nodes from 0 to 2"):
        passing(features=False).on(SENDERS % 3, RECEIVERS, 3)


def recall(wiring, steps=300, time=12):
    """Accuracy of module 4 on the bit that module 0 read at the first of `time` steps."""
    keys = jr.split(KEY, 10)
    cells = [rz.cells.GRUCell(1 + 8, 16, key=k) for k in keys[:8]]
    options = {"message_size": 8, "messages": "sparse", "reads": [0], "outputs": [4]}
    cell = rz.Modular(cells, wiring, key=keys[8], **options)
    model = rz.SequenceModel(rz.Recurrent(cell), 2, key=keys[9])
    optimizer = optax.adam(3e-3)
    opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    def sample(key):
        xs = 0.5 * jr.normal(key, (64, time, 1))
        return xs.at[:, 0].set(jnp.sign(xs[:, 0])), (xs[:, 0, 0] > 0).astype(int)

    def loss(model, xs, labels):
        logits = rz.batch(model)(xs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @eqx.filter_jit
    def step(model, opt_state, key):
        grads = eqx.filter_grad(loss)(model, *sample(key))
        updates, opt_state = optimizer.update(grads, opt_state, model)
        return eqx.apply_updates(model, updates), opt_state

    for key in jr.split(jr.key(1), steps):
        model, opt_state = step(model, opt_state, key)
    xs, labels = jax.vmap(sample)(jr.split(jr.key(2), 16))
    guesses = jax.vmap(rz.batch(model))(xs).argmax(-1)
    return float((guesses == labels).mean())


@pytest.mark.slow
def test_a_ring_carries_a_bit_to_a_module_that_reads_nothing():
    assert recall(ring(8)) > 0.95


@pytest.mark.slow
def test_a_ring_that_is_cut_carries_nothing():
    assert abs(recall(np.zeros((8, 8))) - 0.5) < 0.15
