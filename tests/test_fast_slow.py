"""Fast cells around a slow one, and gated skip connections."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import H, I, T, draw

import rnn_zoo as rz
from rnn_zoo.wrappers import FastSlow, FastSlowState, Highway


def _cells(count=3, slow_size=4):
    reads = (I, slow_size, 1, 1)[:count]
    fast = [rz.cells.LSTMCell(size, H, key=jr.key(i)) for i, size in enumerate(reads)]
    return fast, rz.cells.LSTMCell(H, slow_size, key=jr.key(9))


def test_fast_slow_is_the_loop_of_the_paper():
    (first, second, third), slow = _cells()
    xs = draw(0, (T, I))
    _, ys = rz.scan.unroll(FastSlow([first, second, third], slow), xs)
    state, memory = first.init_state(), slow.init_state()
    for x, y in zip(xs, ys):
        state, read = first.step(state, x)
        memory, read = slow.step(memory, read)
        state, _ = second.step(state, read)
        state, said = third.step(state, jnp.zeros(1))
        np.testing.assert_allclose(said, y, atol=1e-6)


def test_a_timed_slow_cell_hears_dt_and_the_others_do_not():
    fast, _ = _cells(2)
    cell = FastSlow(fast, rz.cells.LeakyElmanCell(H, 4, key=jr.key(9)))
    state = FastSlowState(fast[0].init_state(), jnp.full(4, 0.5))
    (moved, held), _ = cell.step(state, draw(0, (I,)), 0.0)
    np.testing.assert_array_equal(held, state.slow)
    assert not np.allclose(moved.h, state.fast.h)


def test_cells_that_do_not_fit_are_named():
    fast, slow = _cells()
    with pytest.raises(ValueError, match="at least two fast cells"):
        FastSlow(fast[:1], slow)
    with pytest.raises(ValueError, match="share one state"):
        FastSlow([fast[0], rz.cells.LSTMCell(4, H + 1, key=jr.key(0))], slow)
    with pytest.raises(ValueError, match=rf"slow with an input_size of {H}"):
        FastSlow(fast, rz.cells.LSTMCell(H + 1, 4, key=jr.key(0)))
    with pytest.raises(ValueError, match=r"fast\[1\] with an input_size of 4"):
        FastSlow([fast[0], fast[2]], slow)


def test_highway_mixes_by_its_gate():
    cell = rz.cells.GRUCell(H, H, key=jr.key(0))
    highway = Highway(cell, key=jr.key(1))
    xs = np.asarray(draw(0, (T, H)))
    said, mixed = (rz.scan.unroll(c, jnp.asarray(xs))[1] for c in (cell, highway))
    gate = jax.nn.sigmoid(xs @ highway.weight.T + highway.bias)
    np.testing.assert_allclose(mixed, gate * said + (1 - gate) * xs, atol=1e-6)
    np.testing.assert_array_equal(highway.bias, -2)
    with pytest.raises(ValueError, match="size of its inputs"):
        Highway(rz.cells.GRUCell(H, H + 1, key=jr.key(0)), key=jr.key(1))
