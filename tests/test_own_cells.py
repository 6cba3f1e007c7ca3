"""Cells that users write get everything, a linear and timed one included."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import T, assert_close, draw, float64, inputs, loop

import rnn_zoo as rz
from rnn_zoo.scan import unroll


class Integrators(rz.AbstractLinearCell):
    """h' = a^dt h + (1 - a^dt) W x, y = h'."""

    theta: jax.Array
    weight_ih: jax.Array
    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=5)
    timed: ClassVar[bool] = True

    def init_state(self):
        return jnp.zeros(5, self.theta.dtype)

    def transition(self, c, x, dt=1.0):
        keep = jax.nn.sigmoid(self.theta) ** dt
        return rz.linear.AffineMap(rz.linear.Diagonal(keep), (1 - keep) * (self.weight_ih @ x))

    def readout(self, c, state, x):
        return state


def test_a_linear_and_timed_cell_runs_in_every_way():
    with float64():
        cell = Integrators(draw(0, (5,)), draw(1, (5, 3)))
        xs, state, keywords = inputs(cell)
        final, _, ys = loop(cell, xs, state, **keywords)
        for method in ("sequential", "parallel"):
            assert_close(unroll(cell, xs, state, method=method, **keywords), (final, ys), 1e-11)
            scalar = unroll(cell, xs, dt=0.7, method=method)
            each = unroll(cell, xs, dt=jnp.full(T, 0.7), method=method)
            assert_close(scalar, each, 1e-11)


def test_its_step_takes_dt_by_name_and_by_position():
    cell = Integrators(draw(0, (5,)), draw(1, (5, 3)))
    x, state = draw(2, (3,)), draw(3, (5,))
    assert_close(cell.step(state, x, dt=0.5), cell.step(state, x, 0.5), 0)
    assert_close(cell.step(state, x), cell.step(state, x, 1.0), 0)
    assert_close(cell.step(state, x, 0.0)[0], state, 0)
    half, _ = cell.step(state, x, 0.5)
    assert_close(cell.step(half, x, 0.5)[0], cell.step(state, x)[0], 1e-6)
    for wrapped in (rz.Frozen(cell), rz.Recurrent(cell), rz.LearnedInitialState(cell)):
        assert (wrapped.linear, wrapped.timed) == (True, True)
        assert_close(wrapped.step(state, x, dt=0.5), cell.step(state, x, 0.5), 1e-6)


class Undecorated(rz.AbstractCell):
    """A step as somebody writes it who has read the README only."""

    w: jax.Array
    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=3)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def init_state(self):
        return jnp.zeros(3)

    def step(self, state, x):
        h = jnp.tanh(self.w * state + x)
        return h, h


def test_a_bare_step_gets_masks_resets_dtypes_and_batches():
    cell = Undecorated(draw(0, (3,)))
    xs, state, keywords = inputs(cell)
    final, _, ys = loop(cell, xs, state, **keywords)
    assert_close(unroll(cell, xs, state, **keywords), (final, ys), 1e-6)
    layer = rz.Stacked([cell, cell])
    assert layer(xs.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(layer(np.zeros((2, 3))), 0)
    assert rz.batch(layer)(xs[None]).shape == (1, T, 3)
    with pytest.raises(ValueError, match="for a batch"):
        layer(xs[None])
