"""Strict settings of JAX: no dtype and no rank is promoted in silence inside of the package."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from cases import EVERYTHING, T, build, ids, inputs, of_kinds, strict

import rnn_zoo as rz
from rnn_zoo.scan import trajectory, unroll


@pytest.fixture(autouse=True)
def _strict():
    """Nothing below runs, but for the fits: dtypes and ranks are known when a program is traced."""
    with strict():
        yield


@pytest.mark.parametrize(**ids(of_kinds(EVERYTHING), kinds=True))
def test_cells_promote_nothing_in_silence(case):
    """One of each kind in all forms; `strict` says it of every cell where it has gradients."""
    cell = build(case)
    xs, state, keywords = inputs(cell)

    def total(xs, method):
        leaves = jax.tree.leaves(trajectory(cell, xs, state, method=method, **keywords))
        return sum(jnp.sum(jnp.abs(leaf)) for leaf in leaves if eqx.is_inexact_array(leaf))

    for method in ("parallel", "auto") if cell.linear else ("sequential",):
        jax.eval_shape(jax.grad(lambda xs, method=method: total(xs, method)), xs)
    jax.eval_shape(lambda xs: unroll(cell, xs, reverse=True, **keywords), xs)


NETWORKS = ["gru", "cfc", "mingru", "lru", "delta_product", "slstm", "rwkv7"]


@pytest.mark.parametrize("name", NETWORKS)
def test_models_promote_nothing_in_silence(name):
    """A network of each kind, made and run."""
    options = {"hidden_size": 8, "dropout": 0.1, "num_layers": 2, "key": jr.key(0)}
    model = rz.make_model(name, 3, 2, bidirectional=True, **options)
    data = rz.data.Batch(jnp.ones((2, T, 3)), jnp.ones((2, 2)), jnp.ones((2, T), bool))
    jax.eval_shape(lambda data: rz.train.mse(model, data, key=jr.key(1)), data)


def test_the_rest_promotes_nothing_in_silence():
    xs, ys = jnp.ones((2, 30, 1)), jnp.ones((2, 30, 1)) * jnp.arange(30.0)[None, :, None]
    network = rz.EchoStateNetwork(rz.cells.EchoStateCell(1, 8, key=jr.key(0)), 1)
    network = network.fit_readout(xs, ys, washout=2)
    rule = rz.reservoir.RecursiveLeastSquares(forgetting=0.9)
    network.fit_online(xs[0], ys[0], rule=rule)
    jax.eval_shape(lambda xs: rz.Autoregressive(network)(xs, 3), xs[0])
    jax.eval_shape(rz.metrics.nmse, ys, ys)
    jax.eval_shape(rz.metrics.valid_prediction_time, ys[0], ys[0])
    jax.eval_shape(rz.elapsed, ys[0, :, 0])
    rz.elapsed([1, 2, 3], [True, False, True])
    jax.vmap(rz.elapsed)(ys[:, :, 0])
    rz.lengths_to_mask([1, 2], 3)
    model = rz.make_model("gru", 5, 2, embedding_size=3, hidden_size=4, key=jr.key(0))
    data = rz.data.Batch(jnp.ones((2, 6), int), jnp.array([0, 1]))
    jax.eval_shape(lambda data: rz.train.cross_entropy(model, data), data)
