"""Spatial cells: against loops written from the papers, and frames."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64, noisy, random_state, step

import rnn_zoo as rz


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def convolved(kernel, x):
    """sum over channels and places of kernel[out, in, place] x[in, there + place - centre]."""
    grid, sides = x.shape[1:], kernel.shape[2:]
    y = np.zeros((len(kernel), *grid))
    for there in itertools.product(*map(range, grid)):
        for place in itertools.product(*map(range, sides)):
            seen = tuple(t + p - k // 2 for t, p, k in zip(there, place, sides))
            if all(0 <= s < n for s, n in zip(seen, grid)):  # zeros are around
                y[(slice(None), *there)] += kernel[(..., *place)] @ x[(slice(None), *seen)]
    return y


def of_gate(array, gate, count):
    return np.split(np.asarray(array), count)[gate]


def pre(cell, gate, count, x, h):
    """W * x + U * h + b of one gate."""
    W, U, b = (of_gate(a, gate, count) for a in (cell.weight_ih, cell.weight_hh, cell.bias))
    return convolved(W, x) + convolved(U, h) + b.reshape(-1, *[1] * (x.ndim - 1))


def conv_lstm(cell, state, x):
    """Shi et al. 2015, eq. 3."""
    h, c = state
    p_i, p_f, p_o = (of_gate(cell.weight_peep, k, 3) for k in range(3))
    i = sigmoid(pre(cell, 0, 4, x, h) + p_i * c)
    f = sigmoid(pre(cell, 1, 4, x, h) + p_f * c)
    c = f * c + i * np.tanh(pre(cell, 2, 4, x, h))
    h = sigmoid(pre(cell, 3, 4, x, h) + p_o * c) * np.tanh(c)
    return (h, c), h


def conv_gru(cell, h, x):
    """Ballas et al. 2016, eqs. 7 to 10."""
    r, z = sigmoid(pre(cell, 0, 3, x, h)), sigmoid(pre(cell, 1, 3, x, h))
    h = (1 - z) * h + z * np.tanh(pre(cell, 2, 3, x, r * h))
    return h, h


LSTM, GRU = rz.cells.ConvLSTMCell, rz.cells.ConvGRUCell


@pytest.mark.parametrize(
    ("make", "reference", "shape", "kernel"),
    [
        (LSTM, conv_lstm, (2, 6), 3),
        (LSTM, conv_lstm, (2, 4, 3), (3, 5)),
        (GRU, conv_gru, (2, 4, 3), (3, 1)),
        (GRU, conv_gru, (1, 2, 3, 2), 3),
    ],
)
def test_step_equals_the_paper(make, reference, shape, kernel):
    options = {"peepholes": True} if make is LSTM else {}
    with float64() as dtype:
        cell = make(shape, 3, kernel_size=kernel, dtype=dtype, key=jr.key(0), **options)
        cell = noisy(cell, 1)
        state = random_state(cell, 2)
        expected = jax.tree.map(np.asarray, state)
        for x in np.random.default_rng(3).normal(size=(2, *shape)):
            state, y = step(cell, state, jnp.asarray(x.ravel()))
            expected, expected_y = reference(cell, expected, x)
            for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected)):
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(y, expected_y.ravel(), rtol=1e-11, atol=1e-11)


def test_frames_are_laid_flat_and_back():
    one = LSTM((1, 4, 3), 2, key=jr.key(0))
    two = rz.LayerNormed(GRU((2, 4, 3), 5, key=jr.key(1)))
    video = rz.layers.Framewise(rz.Stacked([one, two]))
    assert (video.input_shape, video.output_shape) == ((1, 4, 3), (5, 4, 3))
    frames = np.random.default_rng(0).normal(size=(6, 1, 4, 3)).astype(np.float32)
    mask = np.arange(6) != 2
    state, whole = video.scan(frames, mask=mask)
    assert whole.shape == (6, 5, 4, 3)
    _, flat = video.layer.scan(frames.reshape(6, -1), mask=mask)
    np.testing.assert_array_equal(whole.reshape(6, -1), flat)
    half, first = video.scan(frames[:3], mask=mask[:3])
    after, rest = video.scan(frames[3:], half, mask=mask[3:])
    np.testing.assert_allclose(jnp.concatenate([first, rest]), whole, atol=1e-6)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state)):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert video(frames[:0]).shape == (0, 5, 4, 3)


def test_wrong_shapes_are_refused(unchecked):
    key = jr.key(0)
    shapes: list[Any] = [(3,), (1, 2, 2, 2, 2), (1, 0), 4, (1, 2.0)]
    for shape in shapes:
        with pytest.raises(ValueError, match="expected input_shape as"):
            LSTM(shape, 2, key=key)
    for kernel in (2, (3, 3), (3, 4, 3)):
        with pytest.raises(ValueError, match="expected kernel_size as an odd number"):
            GRU((1, 4), 2, kernel_size=kernel, key=key)
    with pytest.raises(ValueError, match="expected channels"):
        GRU((1, 4), 0, key=key)
    video = rz.layers.Framewise(LSTM((1, 4, 3), 2, key=key))
    with pytest.raises(ValueError, match=r"expected frames of shape \(time, 1, 4, 3\)"):
        video(jnp.zeros((5, 4, 3)))
    with pytest.raises(TypeError, match="no input_shape"):
        rz.layers.Framewise(rz.cells.GRUCell(3, 4, key=key))
