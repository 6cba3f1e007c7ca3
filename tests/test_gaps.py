"""Irregular time: states stay bounded for any sequence of gaps, and a long gap forgets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import DEFAULTS, MODES, I, build, draw, ids, plain

import rnn_zoo as rz
from rnn_zoo.linear import Dense, Diagonal, SharedDense
from rnn_zoo.scan import unroll


STEPS = 20_000
GAPS = np.random.default_rng(0)
GAPS = np.stack(
    [
        np.ones(STEPS),
        GAPS.uniform(0.5, 1.5, STEPS),
        GAPS.uniform(0.1, 2.6, STEPS),
        GAPS.exponential(1.0, STEPS),
    ],
    dtype=np.float32,
)
OSCILLATORS = [case for case in MODES if case.name == "linoss"]


@pytest.mark.parametrize(**ids([case for case in DEFAULTS if case.timed] + OSCILLATORS))
def test_random_gaps_grow_no_state(case):
    cell = plain(case)

    def one(leaf):
        return jnp.ones_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    def largest(xs, dt):
        state, ys = unroll(cell, xs, jax.tree.map(one, cell.init_state()), dt=dt)
        ends = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(state)]
        return jnp.maximum(jnp.max(jnp.abs(ys)), jnp.max(jnp.stack(ends)))

    sizes = jax.jit(jax.vmap(largest, (None, 0)))(np.zeros((STEPS, I), np.float32), GAPS)
    # What the cell does at regular steps is the measure, also where its flow itself grows.
    regular, *irregular = np.log(np.maximum(np.asarray(sizes, np.float64), 1.0))
    assert np.isfinite(regular)
    assert max(irregular) < 1.5 * regular + np.log(10)


LONG = [c for c in DEFAULTS + MODES if c.timed and c.linear and "bilinear" not in c.id]


@pytest.mark.parametrize(**ids([case for case in LONG if case.name != "linoss"]))
def test_a_longer_gap_keeps_less_and_turns_no_sign(case):
    """The bilinear rule, whose docstring says that it turns them, is no part of this."""
    cell, x = build(case), draw(1, (I,))
    dts = jnp.array([0.0, 0.3, 1.0, 4.0, 50.0, 1e4, 1e8])
    over = jax.jit(lambda dt: cell.transition(cell.constants(), x, dt).linear)
    linear = jax.vmap(over)(dts)
    assert isinstance(linear, Diagonal | Dense | SharedDense)
    diagonal = isinstance(linear, Diagonal)
    turning = isinstance(linear, SharedDense)  # its eigenvalues are no real numbers
    kept = np.asarray(linear.a) if diagonal else _factors(np.asarray(linear.a), turning)
    np.testing.assert_allclose(kept[0], 1)
    assert (np.diff(abs(kept), axis=0) <= 1e-6).all()
    # DeltaNet forgets what stands at the key, but for the small number in its length.
    most = abs(kept[-1]).max() if case.name != "deltanet" else abs(kept[-1]).min() / 100
    assert most < 1e-6
    assert np.iscomplexobj(kept) or (kept >= -1e-6).all()


def _factors(matrices, turning):
    """The eigenvalues of each matrix, the smallest first."""
    values = np.linalg.eigvals(matrices.astype(np.float64))
    if turning:
        return np.sort(abs(values)).astype(complex)
    assert abs(values.imag).max() < 1e-6
    return np.sort(values.real)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_negative_eigenvalues_take_no_time(name):
    cell = rz.make_cell(name, I, 4, negative_eigenvalues=True, key=jax.random.key(0))
    assert not cell.timed
    assert rz.make_cell(name, I, 4, key=jax.random.key(0)).timed
    message = "has no physical time and takes no dt"
    with pytest.raises(TypeError, match=message):
        cell.step(cell.init_state(), jnp.ones(I), 2.0)
    model = rz.make_model(
        name, I, 2, hidden_size=4, negative_eigenvalues=True, key=jax.random.key(0)
    )
    with pytest.raises(TypeError, match=message):
        model(jnp.ones((5, I)), dt=jnp.ones(5))
