"""What the papers say of cells with a time, beyond their formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, draw, noisy

import rnn_zoo as rz
from rnn_zoo.base import replace
from rnn_zoo.scan import unroll


KEY = jr.key(0)
XS = draw(1, (30, 3))
DT = np.random.default_rng(0).uniform(0.0, 2.0, 30).astype(np.float32)


def test_an_ode_rnn_that_does_not_flow_is_a_gru():
    cell = noisy(rz.cells.ODERNNCell(3, 5, key=KEY), 1)
    still = replace(cell, weight_2=0 * cell.weight_2, bias_2=0 * cell.bias_2)
    gru = rz.cells.GRUCell(3, 5, key=KEY)
    gru = replace(
        gru, **{n: getattr(cell, n) for n in ("weight_ih", "weight_hh", "bias", "bias_n")}
    )
    assert_close(unroll(still, XS, dt=DT), unroll(gru, XS), 1e-6)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_flows_have_the_order_of_their_method(method, order):
    with jax.enable_x64(True):
        key = jr.key(3)

        def after(**options):
            cell = rz.cells.GRUODECell(3, 5, key=key, dtype=jnp.float64, **options)
            state = jnp.linspace(-0.8, 0.8, 5)
            return np.asarray(cell.step(state, 3 * XS[0], 2.0)[1])

        exact = after(method="rk4", substeps=64)
        errors = [abs(after(method=method, substeps=n) - exact).max() for n in (4, 8)]
        assert 0.7 * 2**order < errors[0] / errors[1] < 1.5 * 2**order


def test_a_gru_ode_stays_within_one_and_composes():
    cell = noisy(rz.cells.GRUODECell(3, 5, method="euler", key=KEY), 2, scale=2.0)
    start = jnp.array([-1.0, 1.0, 0.0, 1.0, -1.0])
    ys = unroll(cell, 5 * XS, start, dt=DT / 2)[1]
    assert abs(np.asarray(ys)).max() <= 1 + 1e-6
    # Two halves of a time are the whole of it, to the order of the method.
    cell = rz.cells.GRUODECell(3, 5, substeps=4, key=KEY)
    half, _ = cell.step(start, XS[0], 0.5)
    assert_close(cell.step(half, XS[0], 0.5)[1], cell.step(start, XS[0], 1.0)[1], 1e-4)


@pytest.mark.parametrize("decay", ["log", "inverse"])
def test_a_t_lstm_without_gaps_is_an_lstm(decay):
    cell = noisy(rz.cells.TLSTMCell(3, 5, decay=decay, key=KEY), 3)
    lstm = rz.cells.LSTMCell(3, 5, key=KEY)
    lstm = replace(lstm, **{n: getattr(cell, n) for n in ("weight_ih", "weight_hh", "bias")})
    assert_close(unroll(cell, XS, dt=0.0), unroll(lstm, XS), 1e-6)
    shares = [float(cell._discount(jnp.float32(dt))) for dt in (0.0, 0.5, 1.0, 10.0, 1e6)]
    expected = {"log": [1, 0.8555, 0.7615, 0.3932, 0.0724], "inverse": [1, 1, 1, 0.1, 1e-6]}
    np.testing.assert_allclose(shares, expected[decay], atol=1e-4)


def test_a_phased_lstm_opens_by_its_clock():
    """One unit a period of 8, open for 2 of them: the shift says when."""
    cell = rz.cells.PhasedLSTMCell(3, 4, open_ratio=0.25, leak=0.0, key=KEY)
    cell = replace(
        cell,
        log_period=jnp.full(4, jnp.log(8.0)),
        shift=jnp.array([0.0, 1.0, 3.0, 7.0]) + 1e-3,
    )
    ys = np.asarray(unroll(cell, XS[:16])[1])
    moved = np.abs(np.diff(np.concatenate([np.zeros((1, 4)), ys]), axis=0)) > 1e-7
    times = np.arange(1, 17)
    expected = [(times - shift) % 8 < 2 for shift in np.asarray(cell.shift)]
    np.testing.assert_array_equal(moved.T, expected)
    # A phase that is carried is that of a clock, whatever the gaps.
    gaps = np.random.default_rng(1).exponential(3.0, 2000)
    final, _ = unroll(cell, np.zeros((2000, 3), np.float32), dt=np.float32(gaps))
    clock = (np.float64(np.float32(gaps)).sum() - np.asarray(cell.shift, np.float64)) / 8 % 1
    apart = np.abs(np.asarray(final.phase) - clock)
    assert np.minimum(apart, 1 - apart).max() < 1e-3


def test_what_a_phased_lstm_learns_of_its_clock():
    cell = rz.cells.PhasedLSTMCell(3, 8, open_ratio=0.5, key=KEY)
    slopes = eqx.filter_jit(eqx.filter_grad(lambda c: unroll(c, XS)[1].sum()))(cell)
    for name in ("log_period", "shift", "ratio", "weight_peep"):
        slope = np.asarray(getattr(slopes, name))
        assert np.isfinite(slope).all()
        assert (slope != 0).any()
    # Held to its range where it is used; it comes back by a gradient that points inwards.
    wide = replace(cell, ratio=jnp.full(8, 7.0))
    one = replace(cell, ratio=jnp.ones(8))
    assert_close(unroll(wide, XS), unroll(one, XS), 0)


def test_where_the_timed_cells_start():
    cell = rz.cells.PhasedLSTMCell(3, 80, periods=(2.0, 50.0), key=KEY)
    period = np.exp(np.asarray(cell.log_period))
    assert 2 <= period.min() < 3
    assert 40 < period.max() <= 50.01
    share = np.asarray(cell.shift) / period
    assert 0 <= share.min() < 0.05
    assert 0.95 < share.max() <= 1
    np.testing.assert_allclose(cell.init_state().phase, (1 - share) % 1, atol=1e-5)
    np.testing.assert_array_equal(cell.ratio, np.float32(0.05))
    ode = rz.cells.ODERNNCell(3, 7, key=KEY)
    assert ode.weight_1.shape == (28, 7)
    assert rz.cells.ODERNNCell(3, 26, key=KEY).weight_2.shape == (26, 100)
    assert 0.08 < np.asarray(ode.weight_1).std() < 0.12
    gru_ode = rz.cells.GRUODECell(3, 7, minimal=True, key=KEY)
    assert gru_ode.weight_hh.shape == (14, 7)
    np.testing.assert_array_equal(gru_ode.bias, np.float32(0.05))
    grud = rz.cells.GRUDCell(4, 50, decay=0.4, key=KEY)
    assert 0.09 < np.asarray(grud.decay_h).max() <= 0.1


BAD = {
    "ratio": (lambda: rz.cells.PhasedLSTMCell(3, 4, open_ratio=1.5, key=KEY), "open_ratio in "),
    "periods": (
        lambda: rz.cells.PhasedLSTMCell(3, 4, periods=(0.0, 1.0), key=KEY),
        "0 < low <= high",
    ),
    "method": (lambda: rz.cells.ODERNNCell(3, 4, method="dopri5", key=KEY), "method to be one of"),
    "substeps": (lambda: rz.cells.GRUODECell(3, 4, substeps=0, key=KEY), "substeps"),
    "decay": (lambda: rz.cells.TLSTMCell(3, 4, decay="exp", key=KEY), "decay to be one of"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_that_are_none_are_named(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
