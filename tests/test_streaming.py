"""A stream computes what the model's own step and scan compute, in memory that it takes over."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, draw

import rnn_zoo as rz


I, T = 3, 6
KEY = jr.key(0)
MODELS = {
    "cell": lambda: rz.make_cell("lstm", I, 4, key=KEY),
    "timed": lambda: rz.make_cell("cfc", I, 4, key=KEY),
    "parametrised": lambda: rz.make_cell("exprnn", I, 4, key=KEY),
    "learned state": lambda: rz.LearnedInitialState(rz.make_cell("gru", I, 4, key=KEY)),
    "stochastic": lambda: rz.VariationalDropout(rz.make_cell("gru", I, 4, key=KEY), state_rate=0.5),
    "stack": lambda: rz.LSTM(I, 4, num_layers=2, key=KEY),
    "model": lambda: rz.make_model("lru", I, 2, hidden_size=4, pool=None, key=KEY),
}


@pytest.mark.parametrize("name", MODELS)
def test_stream_equals_the_model(name):
    model, xs = MODELS[name](), draw(1, (T, I))
    stream = rz.Stream(model)
    state, mine = model.init_state(), stream.init_state()
    step = eqx.filter_jit(lambda model, *arguments, **key: model.step(*arguments, **key))
    for t in range(3):
        time = (0.5,) if name == "timed" else ()
        key = {"key": jr.key(t)} if name == "stochastic" else {}
        state, y = step(model, state, xs[t], *time, **key)
        mine, ours = stream.step(mine, xs[t], *time, **key)
        assert_close((mine, ours), (state, y), 1e-6)
    options = {"mask": jnp.array([True, False, True]), "reset": jnp.array([False, False, True])}
    key = {"key": KEY} if name == "stochastic" else {}
    scan = model.scan if hasattr(model, "scan") else rz.Recurrent(model).scan
    expected = scan(xs[3:], state, **options, **key)
    assert_close(stream.scan(xs[3:], mine, **options, **key), expected, 1e-6)


@pytest.mark.parametrize("name", ["learned state", "stack"])
def test_the_state_is_taken_over_and_the_model_is_not(name):
    model, x = MODELS[name](), draw(1, (I,))
    stream = rz.Stream(model)
    state = stream.init_state()
    after, _ = stream.step(state, x)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    stream.scan(x[None], after)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(after))
    # Neither the model nor a second run knows of the first.
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    first, second = (stream.step(stream.init_state(), x)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["cell", "stack", "model"])
def test_a_reset_starts_anew_in_a_step(name):
    model, xs = MODELS[name](), draw(2, (2, I))
    stream = rz.Stream(model)
    start = model.init_state()
    state, _ = model.step(start, xs[0])
    expected = model.step(start, xs[1])
    assert_close(model.step(state, xs[1], reset=True), expected, 1e-6)
    assert_close(model.step(state, xs[1], reset=jnp.array(False)), model.step(state, xs[1]), 1e-6)
    state, _ = stream.step(stream.init_state(), xs[0].tolist(), reset=False)
    assert_close(stream.step(state, list(xs[1]), reset=True), expected, 1e-6)
    with pytest.raises(TypeError, match="reset of dtype bool"):
        model.step(start, xs[0], reset=1)
    with pytest.raises(ValueError, match="reset as one bool"):
        model.step(start, xs[0], reset=jnp.ones(2, bool))


def test_a_used_up_state_is_explained():
    stream = rz.Stream(MODELS["cell"]())
    state = stream.init_state()
    after, _ = stream.step(state, [0.1, 0.2, 0.3])
    for again in (
        lambda: stream.step(state, [0.1, 0.2, 0.3]),
        lambda: stream.scan([[0.0] * I], state),
    ):
        with pytest.raises(RuntimeError, match="a state that is not used up"):
            again()
    stream.scan([[0.1, 0.2, 0.3]] * 2, after, mask=[True, False], reset=[False, True])


def test_a_stream_refuses_time_that_runs_backwards():
    stream = rz.Stream(MODELS["timed"]())
    with pytest.raises(ValueError, match="dt of at least 0, got -0.5"):
        stream.step(stream.init_state(), [0.1, 0.2, 0.3], -0.5)


def test_initial_states_for_a_batch():
    layer, xs = MODELS["stack"](), draw(3, (2, T, I))
    states = rz.scan.init_states(layer, 2)
    assert jax.tree.leaves(states)[0].shape == (2, 4)
    assert_close(rz.batch(layer.scan)(xs, states), rz.batch(layer.scan)(xs), 1e-6)
    with pytest.raises(ValueError, match="batch_size to be an integer of at least 1"):
        rz.scan.init_states(layer, 0)


def test_steps_are_compiled_once():
    traces = []

    def spy(h, x):
        traces.append(1)
        return jnp.tanh(h + x)

    stream = rz.Stream(rz.adopt(spy, input_size=I, init_state=jnp.zeros(I)))
    traces.clear()
    state = stream.init_state()
    for t in range(4):
        state, _ = stream.step(state, draw(t, (I,)))
    assert len(traces) == 1


def test_what_cannot_step():
    with pytest.raises(TypeError, match="expected a cell"):
        rz.Stream(jnp.tanh)
    pooled = rz.Stream(rz.make_model("gru", I, 2, hidden_size=4, key=KEY))
    with pytest.raises(TypeError, match="pool=None"):
        pooled.step(pooled.init_state(), jnp.zeros(I))
    stream = rz.Stream(MODELS["cell"]())
    with pytest.raises(ValueError, match=r"x of shape \(3,\)"):
        stream.step(stream.init_state(), jnp.zeros(4))
