"""What holds three bits in a trained network: eight stable points, and saddles between them."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo import dynamics
from rnn_zoo._common.vectors import with_vector


sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_flip_flops import CELLS, trained


pytest.importorskip("optimistix")

NOTHING = jnp.zeros(3)
EACH = [pytest.param(n, marks=[] if n == "elman" else pytest.mark.slow) for n in CELLS]


def in_float64(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, float) if eqx.is_inexact_array(a) else a, tree)


def pulses(samples):
    data = rz.data.n_bit_flip_flop(key=jr.key(2), length=60, n_train=1, n_valid=1, n_test=samples)
    return data.test


def bits(model, vectors):
    """What the network says of states when nothing comes in."""
    start = model.layer.init_state()

    def say(vector):
        _, y = model.layer.step(with_vector(start, vector), NOTHING)
        return model.head(y)

    return np.asarray(jax.jit(jax.vmap(say))(jnp.asarray(vectors)))


@pytest.mark.parametrize("name", EACH)
def test_eight_stable_points_and_saddles_between_them(name):
    with float64():
        model, test = in_float64(trained(name)), pulses(10)
        assert float(jnp.mean((rz.batch(model)(test.x) - test.y) ** 2)) < 3e-3
        cell, runs = model.layer, jnp.asarray(test.x, float).reshape(-1, 3)
        starts = dynamics.sample_states(cell, runs, 256, noise=1.0, key=jr.key(0))
        found = dynamics.fixed_points(cell, NOTHING, starts, tol=1e-9)
        stable = found.vectors[found.stable]
        assert len(stable) == 8
        assert (np.abs(found.eigenvalues[found.stable]) < 0.99).all()
        said = bits(model, stable)
        assert len(np.unique(np.sign(said), axis=0)) == 8
        np.testing.assert_allclose(np.abs(said), 1, atol=0.1)

        # To either side along what grows, a saddle falls to two corners that differ in one bit:
        # the saddles are the twelve edges of the cube.
        saddles = found.vectors[found.unstable == 1]
        push = 1e-3 * np.stack(
            [dynamics.linearise(cell, NOTHING, one).modes[:, 0].real for one in saddles]
        )
        falls = jnp.asarray(np.concatenate([saddles + push, saddles - push]))
        ends = dynamics.basins(cell, NOTHING, falls, found)
        assert (ends >= 0).all()
        corners = np.sign(bits(model, found.vectors[ends])).reshape(2, -1, 3)
        np.testing.assert_array_equal((corners[0] != corners[1]).sum(axis=1), 1)
        assert len(np.unique(corners.sum(axis=0), axis=0)) == 12
