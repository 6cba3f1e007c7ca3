"""What goes through pickle or copy.deepcopy is the same cell, layer or model again."""

import copy
import functools
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import EVERYTHING, H, I, ids, plain

import rnn_zoo as rz
from rnn_zoo._common import activations as _activations
from rnn_zoo.layers.pointwise import Elementwise


KEY = jr.key(0)
XS = np.random.default_rng(0).normal(size=(6, I)).astype(np.float32)


def through_pickle(tree):
    return pickle.loads(pickle.dumps(tree))


ROADS = {"pickle": through_pickle, "deepcopy": copy.deepcopy}


def assert_equal(one, two):
    """Two trees that a jitted function, tree.map and a file cannot tell apart."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        assert jnp.result_type(a) == jnp.result_type(b)
        assert getattr(a, "weak_type", None) == getattr(b, "weak_type", None)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(**ids(EVERYTHING))
def test_cells_travel(case):
    cell = plain(case)
    for road in ROADS.values():
        assert_equal(road(cell), cell)


LEAKY = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
MODELS = {
    **{n: functools.partial(rz.make_model, n, I, 2, hidden_size=H) for n in rz.list_cells()},
    "embedding": lambda key: rz.make_model("gru", 7, 2, embedding_size=3, dropout=0.1, key=key),
    "activation": lambda key: rz.make_model("elman", I, 2, activation=jax.nn.relu, key=key),
    "partial": lambda key: rz.make_model("cfc", I, 2, activation=LEAKY, key=key),
    "bidirectional": lambda key: rz.RNN(I, H, num_layers=2, bidirectional=True, key=key),
    "mamba block": lambda key: rz.layers.MambaBlock(I, key=key),
    "pointwise": lambda key: rz.layers.Pointwise(Elementwise(jnp.sin), I, I),
    "reservoir": lambda key: rz.EchoStateNetwork(
        rz.make_cell("esn", I, 8, key=key),
        2,
        features=rz.reservoir.half_squares,
        pool="model_space",
    ),
    "sampling": lambda key: rz.Autoregressive(
        rz.make_model("elman", 5, 5, embedding_size=3, pool=None, key=key),
        feedback=rz.models.Sample(0.5),
    ),
    "adopted function": lambda key: rz.adopt(
        jnp.add, input_size=H, init_state=jnp.zeros(H), output=jax.nn.relu
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_layers_and_models_travel(name):
    model = MODELS[name](key=KEY)
    for road in ROADS.values():
        assert_equal(road(model), model)


def test_a_copy_is_not_compiled_again():
    traced = []

    @eqx.filter_jit
    def run(layer, xs):
        traced.append(None)
        return layer(xs)

    layer = rz.RNN(I, H, key=KEY)
    expected = run(layer, XS)
    for road in ROADS.values():
        np.testing.assert_array_equal(run(road(layer), XS), expected)
    assert len(traced) == 1
    mean = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, layer, copy.deepcopy(layer))
    np.testing.assert_allclose(run(mean, XS), expected, rtol=1e-5)


def test_a_copy_fits_its_file(tmp_path):
    model = rz.make_model("elman", I, 2, activation=jax.nn.relu, key=KEY)
    rz.train.save(tmp_path / "model.rz", model)
    assert_equal(rz.train.load(tmp_path / "model.rz", copy.deepcopy(model)), model)


def test_functions_are_known_by_name_and_partials_by_their_parts():
    assert _activations.portable(jnp.tanh) == jnp.tanh
    assert hash(_activations.portable(jnp.tanh)) == hash(jnp.tanh)
    assert _activations.portable(jnp.tanh) != _activations.portable(jnp.sin)
    assert repr(_activations.portable(jax.nn.relu)) == "jax.nn.relu"
    slope = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
    other = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
    assert _activations.portable(slope) == _activations.portable(LEAKY)
    assert _activations.portable(slope) != _activations.portable(other)
    np.testing.assert_allclose(through_pickle(_activations.portable(slope))(-1.0), -0.1, rtol=1e-6)
    nested = functools.partial(slope, jnp.array)  # unlike arguments stay apart
    assert _activations.portable(nested) != _activations.portable(slope)
    local = jax.jit(lambda z: 2 * z)  # has no name, so it is copied as it is
    assert copy.deepcopy(_activations.portable(local)) == _activations.portable(local)
    assert _activations.portable(rz.cells.lecun_tanh) is rz.cells.lecun_tanh
