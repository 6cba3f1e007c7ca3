"""Numbers of the host: exact, or an error that names them; never cut in silence."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo._common.numbers import exactly


KEY = jr.key(0)
SECONDS = 1.7e9 + np.array([0, 1, 1.5, 3, 10])
APART = [1, 1, 0.5, 1.5, 7]
ALL = np.ones(5, bool)

FORMS = {
    "list": lambda: rz.elapsed(SECONDS.tolist()),
    "array": lambda: rz.elapsed(SECONDS),
    "longdouble": lambda: rz.elapsed(SECONDS.astype(np.longdouble)),
    "half seconds": lambda: 0.5 * rz.elapsed((2 * SECONDS).astype(np.int64), first=2.0),
    "list and jax mask": lambda: rz.elapsed(SECONDS.tolist(), jnp.asarray(ALL)),
    "array and jax mask": lambda: rz.elapsed(SECONDS, jnp.asarray(ALL)),
    "traced mask": lambda: jax.jit(lambda m: rz.elapsed(SECONDS, m))(ALL),
    "closed over": lambda: jax.jit(lambda: rz.elapsed(SECONDS.tolist()))(),
    "traced mask, integers": lambda: (
        1e-3 * jax.jit(lambda m: rz.elapsed((1000 * SECONDS).astype(np.int64), m, first=1e3))(ALL)
    ),
    "vmap": lambda: jax.vmap(rz.elapsed)(SECONDS[None])[0],
    "vmap and masks": lambda: jax.vmap(rz.elapsed)(SECONDS[None], ALL[None])[0],
    "vmap of masks": lambda: jax.vmap(lambda m: rz.elapsed(SECONDS, m))(ALL[None])[0],
    "vmap of vmap": lambda: jax.vmap(jax.vmap(rz.elapsed))(SECONDS[None, None])[0, 0],
    "vmap of first": lambda: jax.vmap(lambda t, f: rz.elapsed(t, first=f))(
        np.stack([SECONDS] * 2), np.array([3.0, 1])
    )[1],
    "nanoseconds": lambda: (
        1e-9 * rz.elapsed((10**9 * SECONDS.astype(np.longdouble)).astype(np.int64), first=1e9)
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_differences_of_time_stamps_come_before_the_cut_to_32_bits(form):
    np.testing.assert_allclose(FORMS[form](), APART, rtol=1e-6)


def test_elapsed_of_large_integers_and_gaps():
    milliseconds = np.array([1_700_000_000_000, 1_700_000_000_500, 1_705_184_000_500])
    np.testing.assert_array_equal(rz.elapsed(milliseconds), np.float32([1, 500, 5184000000]))
    wide = np.array([-(2**63), 2**63 - 1])
    np.testing.assert_array_equal(rz.elapsed(wide), np.float32([1, 2.0**64]))
    mask = jnp.array([True, False, True])
    run = jax.jit(lambda m: rz.elapsed(milliseconds, m))
    for dt in (rz.elapsed(milliseconds, mask), run(mask)):
        np.testing.assert_array_equal(dt, np.float32([1, 1, 5184000500]))
    with float64():
        assert rz.elapsed(SECONDS).dtype == jnp.float64
        np.testing.assert_array_equal(jax.jit(rz.elapsed)(SECONDS), APART)
    slope = jax.grad(lambda t: jnp.sum(rz.elapsed(t) ** 2))(jnp.array([0.0, 1.0, 3.0]))
    np.testing.assert_allclose(slope, [-2, -2, 4])
    many = jax.grad(lambda t: jnp.sum(jax.vmap(rz.elapsed)(t) ** 2))(jnp.array([[0.0, 1.0, 3.0]]))
    np.testing.assert_allclose(many, [[-2, -2, 4]])


LOST = jnp.asarray(SECONDS, jnp.float32)
DATES = np.datetime64("2024-01-01") + np.arange(3)

BAD_TIMES = {
    "unsigned that decrease": (np.array([5, 4], np.uint32), ValueError, "not decrease.*step 1"),
    "unsigned of 64 bits": (np.array([2**63, 1], np.uint64), ValueError, "not decrease"),
    "nan": ([0.0, np.nan, 1.0], ValueError, "finite; at step 1 stands nan"),
    "infinite": (np.array([0.0, np.inf]), ValueError, "finite"),
    "dates": (DATES, TypeError, "real numbers, got datetime64.*timedelta64"),
    "spans": (DATES - DATES[0], TypeError, "timedelta64"),
    "words": (["a", "b"], TypeError, "real numbers"),
    "float32": (LOST, ValueError, "told apart.*float32.*float64 or as integers, in NumPy"),
    "float32 in NumPy": (np.asarray(LOST), ValueError, "told apart"),
    "bfloat16": (jnp.array([256.0, 256.0], jnp.bfloat16), ValueError, "told apart"),
    "float64": (np.array([1.7e18, 1.7e18 + 1]), ValueError, "told apart"),
}


@pytest.mark.parametrize("name", BAD_TIMES)
def test_times_that_say_nothing_are_refused(name):
    times, error, message = BAD_TIMES[name]
    with pytest.raises(error, match=message):
        rz.elapsed(times)


@pytest.mark.parametrize("name", ["unsigned that decrease", "nan", "float32"])
def test_traced_times_that_say_nothing_are_runtime_errors(name):
    with pytest.raises(RuntimeError, match="times must be finite, not decrease.*told apart"):
        jax.jit(rz.elapsed)(jnp.asarray(BAD_TIMES[name][0]))


def test_a_scale_says_what_a_nominal_step_is():
    times = np.array([10.0, 10.5, 13.0])
    for one in (rz.elapsed(times, scale=0.5), jax.jit(lambda t: rz.elapsed(t, scale=0.5))(times)):
        np.testing.assert_allclose(one, [1, 1, 5])
    mapped = jax.vmap(lambda t: rz.elapsed(t, first=2.0, scale=0.5))(times[None])
    np.testing.assert_allclose(mapped, [[2, 1, 5]])
    hours = np.datetime64("2024-01-01T00") + np.array([0, 12, 48]) * np.timedelta64(1, "h")
    np.testing.assert_allclose(rz.elapsed(hours, scale=np.timedelta64(1, "D")), [1, 0.5, 1.5])
    # A float of the seconds since 1970 covers 128 of them: too coarse for seconds, not for days.
    stamps = np.float32(1.7e9 + 86400 * np.array([0, 1, 3]))
    np.testing.assert_allclose(rz.elapsed(stamps, scale=86400.0), [1, 1, 2], rtol=1e-2)
    with pytest.raises(TypeError, match="scale as a number for times of dtype float64"):
        rz.elapsed(times, scale=np.timedelta64(1, "D"))
    with pytest.raises(ValueError, match="scale above 0"):
        rz.elapsed(times, scale=0.0)
    with pytest.raises(ValueError, match="NaT"):
        rz.elapsed([np.datetime64("NaT", "s")], scale=np.timedelta64(1, "D"))


def test_simultaneous_samples_and_fine_times_pass():
    for times in ([0.0, 1.0, 1.0], [7.0] * 3, np.float32([0, 1e-9, 1e-9]), np.float32([1e5, 1e5])):
        dt = np.diff(np.asarray(times, np.float64))
        np.testing.assert_allclose(rz.elapsed(times)[1:], dt)
        np.testing.assert_allclose(jax.jit(rz.elapsed)(jnp.asarray(times))[1:], dt)


def test_lengths_are_compared_in_all_their_bits():
    for lengths in ([2**32 + 1, 1], np.array([2**63 + 1], np.uint64), [-1]):
        with pytest.raises(ValueError, match=r"lengths must lie in \[0, 3\], got .* at \[0\]"):
            rz.lengths_to_mask(lengths, 3)
    np.testing.assert_array_equal(rz.lengths_to_mask(2, 3), [True, True, False])


def leaky():
    return rz.cells.LeakyElmanCell(1, 2, key=KEY)


def layer():
    return rz.Recurrent(leaky())


def tokens():
    return rz.make_model("gru", 5, 2, embedding_size=2, hidden_size=2, pool=None, key=KEY)


def esn(**options):
    return rz.EchoStateNetwork(rz.cells.EchoStateCell(1, 4, key=KEY), 1, **options)


def stepping():
    return rz.make_model("leaky_elman", 1, 2, hidden_size=2, pool=None, key=KEY)


ONES = np.ones((3, 1), np.float32)

# What takes numbers of the host, given three of them as (3, 1).
ENTRIES = {
    "unroll": lambda v: rz.scan.unroll(leaky(), v),
    "trajectory": lambda v: rz.scan.trajectory(leaky(), v),
    "unroll dt": lambda v: rz.scan.unroll(leaky(), ONES, dt=v[:, 0]),
    "layer": lambda v: layer()(v),
    "stacked": lambda v: rz.Stacked([leaky()])(v),
    "bidirectional": lambda v: rz.RNN(1, 2, bidirectional=True, key=KEY)(v),
    "model": lambda v: rz.make_model("gru", 1, 2, hidden_size=2, key=KEY)(v),
    "model step": lambda v: stepping().step(stepping().init_state(), v[1]),
    "tokens": lambda v: tokens()(v[:, 0]),
    "batch": lambda v: rz.batch(layer())(v[None]),
    "batch dt": lambda v: rz.batch(layer())(ONES[None], dt=v[None, :, 0]),
    "stream": lambda v: rz.Stream(leaky()).step(jnp.zeros(2), v[1]),
    "stream of chunks": lambda v: rz.Stream(leaky()).scan(v, jnp.zeros(2)),
    "stream dt": lambda v: rz.Stream(leaky()).step(jnp.zeros(2), ONES[0], v[1, 0]),
    "Batch x": lambda v: rz.data.Batch(v[None], np.zeros(1, int)),
    "Batch y": lambda v: rz.data.Batch(ONES[None], v[None]),
    "pad_sequences": lambda v: rz.data.pad_sequences([v, v[:1]]),
    "windows": lambda v: rz.data.windows(v, 1),
    "evaluate": lambda v: rz.train.evaluate(
        layer(), rz.data.Batch(ONES[None], v[None]), loss=rz.train.mse
    ),
    "fit_readout xs": lambda v: esn().fit_readout(v, ONES),
    "fit_readout ys": lambda v: esn().fit_readout(ONES, v),
    "fit_online": lambda v: esn().fit_online(ONES, v),
    "fit_force": lambda v: esn().fit_force(v),
    "autoregressive": lambda v: rz.Autoregressive(rz.cells.LeakyElmanCell(1, 1, key=KEY))(v, 2),
    "nmse": lambda v: rz.metrics.nmse(v, ONES),
    "valid_prediction_time": lambda v: rz.metrics.valid_prediction_time(ONES, v),
    "lyapunov": lambda v: rz.dynamics.lyapunov_spectrum(leaky(), v),
    "initial state": lambda v: rz.adopt(jnp.add, input_size=3, init_state=v[:, 0]),
    "grid": lambda v: rz.train.grid(lambda a: 1.0 * a, a=v[:, 0]),
}
WIDE = {
    "int64": np.array([[1], [3_000_000_000], [2]]),
    "uint64": np.array([[1], [2**63], [2]], np.uint64),
    "float64": np.array([[1.0], [1e39], [2.0]]),
    "longdouble": np.array([[1.0], [1e39], [2.0]], np.longdouble),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_numbers_that_32_bits_do_not_hold_are_named(entry):
    for kind, values in WIDE.items():
        if entry == "tokens" and kind in ("float64", "longdouble"):
            continue
        with pytest.raises(ValueError, match=r"got (3000000000|9223372036854775808|1e\+39)"):
            ENTRIES[entry](values)


def test_numbers_that_fit_go_in_as_they_are():
    for values in (np.array([[1], [2], [2]]), np.ones((3, 1), np.longdouble)):
        np.testing.assert_allclose(layer()(values), layer()(np.asarray(values, np.float32)))
    x, mask = rz.data.pad_sequences([[3_000_000, 1], [2]])
    np.testing.assert_array_equal(x, [[3_000_000, 1], [2, 0]])
    assert x.dtype == jnp.int32
    np.testing.assert_array_equal(jnp.asarray(ONES[:, 0]), exactly("x", ONES[:, 0]))
    assert exactly("dt", 0.5).weak_type


def test_what_holds_no_numbers_is_refused():
    for value in (DATES, np.array(["a"]), np.array([None, 1.0]), np.array([2**70])):
        with pytest.raises((TypeError, ValueError), match="expected xs"):
            layer()(value)
