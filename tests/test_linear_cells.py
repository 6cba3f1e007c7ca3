"""SRU, QRNN and the delay line before it: forms that are one, and where they start."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import MASK, RESET, draw, noisy

import rnn_zoo as rz
from rnn_zoo.scan import unroll


KEY = jr.key(0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("sru", {}), ("sru", {"use_bias": False}), ("qrnn", {"use_bias": False, "pooling": "ifo"})],
)
def test_both_forms_are_one(name, options):
    """The step and, in parallel, its map and its readout."""
    cell = noisy(rz.make_cell(name, 3, 4, key=KEY, **options), 0)
    xs = draw(1, (9, 3))
    one, other = (unroll(cell, xs, mask=MASK, method=m)[1] for m in ("sequential", "parallel"))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_recurrent_sru_is_not_linear():
    cell = rz.cells.SRUCell(3, 4, recurrent=True, key=KEY)
    assert not cell.linear
    assert rz.cells.SRUCell(3, 4, key=KEY).linear
    with pytest.raises(ValueError, match="is not a linear cell"):
        unroll(cell, jnp.ones((5, 3)), method="parallel")


def test_qrnn_and_rtu_start_as_they_say():
    bias = rz.cells.QRNNCell(3, 4, pooling="ifo", forget_bias=2.0, key=KEY).bias
    np.testing.assert_array_equal(bias, np.repeat([0.0, 2.0, 0.0, 0.0], 4))
    cell = rz.cells.RTUCell(3, 201, r_min=0.8, r_max=0.9, max_phase=0.3, key=KEY)
    r, theta = np.exp(-np.exp(np.asarray(cell.nu_log))), np.exp(np.asarray(cell.theta_log))
    assert r.shape == (101,)
    assert 0.8 <= r.min() < 0.81
    assert 0.89 < r.max() <= 0.9
    assert 0 < theta.min()
    assert 0.29 < theta.max() <= 0.3
    with pytest.raises(ValueError, match="expected 0 <= r_min < r_max <= 1"):
        rz.cells.RTUCell(3, 4, r_min=0.9, r_max=0.8, key=KEY)


def test_sru_starts_as_its_authors_have_it():
    options = {"highway_bias": -2.0, "key": KEY}
    cell = rz.cells.SRUCell(48, 64, recurrent=True, **options)
    s = np.sqrt(1 + 2 * np.exp(-2.0))
    variances = np.asarray(cell.weight_ih).reshape(4, 64, 48).var((1, 2)) * 48
    np.testing.assert_allclose(variances, [1, 0.5, 0.5, s * s], rtol=0.05)
    np.testing.assert_allclose(np.asarray(cell.weight_hh).std(), np.sqrt(0.5), rtol=0.15)
    np.testing.assert_array_equal(cell.bias, np.repeat([0.0, -2.0], 64))
    square = rz.cells.SRUCell(48, 48, **options)
    assert square.weight_ih.shape == (3 * 48, 48)
    np.testing.assert_allclose(square.scale, s)
    assert rz.cells.SRUCell(48, 48, rescale=False, **options).scale == 1.0


def test_a_delay_line_shows_the_last_valid_inputs():
    line = rz.cells.TappedDelayLine(2, taps=3)
    xs = np.asarray(draw(0, (9, 2)))
    state, ys = unroll(line, xs, mask=MASK, reset=RESET)
    seen, window = [], []
    for t in range(9):
        seen = [] if RESET[t] else seen
        if MASK[t]:
            seen = [xs[t], *seen][:3]
        window = [*seen, *[np.zeros(2)] * (3 - len(seen))]
        np.testing.assert_array_equal(ys[t], np.concatenate(window) * MASK[t])
    np.testing.assert_array_equal(state, np.stack(window[1::-1]))
    assert rz.cells.TappedDelayLine(2, taps=1).init_state().shape == (0, 2)
    with pytest.raises(ValueError, match="taps"):
        rz.cells.TappedDelayLine(2, taps=0)


def test_a_window_of_a_qrnn_is_a_causal_convolution():
    cell = rz.cells.QRNNCell(2 * 3, 4, key=KEY)
    layer = rz.Stacked([rz.cells.TappedDelayLine(3), cell])
    xs = np.asarray(draw(0, (6, 3)))
    before = np.concatenate([np.zeros((1, 3)), xs[:-1]])
    expected = unroll(cell, np.concatenate([xs, before], 1))[1]
    np.testing.assert_allclose(layer(xs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sru", "qrnn", "rtu", "lmu_linear"])
def test_the_linear_engine_runs_them(name):
    """One recurrence for the whole sequence, forward and back, and no step after the other."""
    cell = rz.make_cell(name, 3, 4, key=KEY)

    def loss(cell, xs):
        return jnp.sum(unroll(cell, xs)[1] ** 2)

    xs = jnp.ones((7, 3))
    forward = str(jax.make_jaxpr(loss)(cell, xs))
    assert forward.count("linear_recurrence") == 1
    assert " scan[" not in forward
    assert str(jax.make_jaxpr(jax.grad(loss))(cell, xs)).count("linear_recurrence") == 2
