"""Chaotic series and NARMA systems of any order, and the data sets made of them."""

import inspect
import math
import pickle

import equinox as eqx
import jax
import numpy as np
import pytest

from rnn_zoo import data


KEY = jax.random.key(0)
SYSTEMS = {  # features, and how far from the default start
    "henon": (2, 0.1),
    "logistic_map": (1, 0.1),
    "lorenz": (3, 0.5),
    "rossler": (3, 0.1),
    "rabinovich_fabrikant": (3, 0.01),
    "double_scroll": (3, 0.05),
    "multi_scroll": (3, 0.1),
    "lorenz96": (36, 0.5),
    "kuramoto_sivashinsky": (128, 0.1),
}
SMALL = {"n_train": 60, "n_valid": 11, "n_test": 21, "washout": 5}


def series_of(name):
    return getattr(data, f"{name}_series")


def load(name, **options):
    """As NumPy arrays, on which a test needs no compiler."""
    return jax.tree.map(np.asarray, data.load(name, key=options.pop("key", KEY), **options))


def same(a, b):
    return bool(eqx.tree_equal(a, b))


# Maps


def test_henon_obeys_its_recurrence():
    series = data.henon_series(40, a=1.3, b=0.25, x0=(0.1, -0.2))
    assert series.shape == (40, 2)
    assert series[0].tolist() == [0.1, -0.2]
    x, y = series[:-1].T
    np.testing.assert_allclose(series[1:, 0], 1 - 1.3 * x**2 + y, rtol=1e-12)
    np.testing.assert_allclose(series[1:, 1], 0.25 * x, rtol=1e-15)
    # 1 - 1.4 * 0 + 0; then 1 - 1.4; then 1 - 1.4 * 0.16 + 0.3
    np.testing.assert_allclose(
        data.henon_series(4), [[0, 0], [1, 0], [-0.4, 0.3], [1.076, -0.12]], atol=1e-15
    )


def test_logistic_map_obeys_its_recurrence():
    series = data.logistic_map_series(200, r=3.7, x0=0.2)
    assert series.shape == (200,)
    assert series[0] == 0.2
    np.testing.assert_allclose(series[1:], 3.7 * series[:-1] * (1 - series[:-1]), rtol=1e-12)
    np.testing.assert_allclose(data.logistic_map_series(3), [0.5, 0.975, 0.0950625], rtol=1e-12)


def test_logistic_map_at_four_has_a_closed_form():
    angle = math.asin(math.sqrt(0.3))
    expected = np.sin(2.0 ** np.arange(20) * angle) ** 2
    np.testing.assert_allclose(data.logistic_map_series(20, r=4, x0=0.3), expected, atol=1e-8)


def test_lyapunov_exponents_of_the_maps():
    tangent, growth = np.array([1.0, 0.0]), 0.0
    for x, _ in data.henon_series(20_000)[100:]:
        tangent = np.array([-2.8 * x * tangent[0] + tangent[1], 0.3 * tangent[0]])
        norm = math.hypot(*tangent)
        tangent, growth = tangent / norm, growth + math.log(norm)
    assert growth / 19_900 == pytest.approx(0.419, abs=0.005)
    x = data.logistic_map_series(20_000, r=4, x0=0.3)
    assert np.log(abs(4 - 8 * x)).mean() == pytest.approx(math.log(2), abs=0.005)


# Flows


def rossler(s):
    x, y, z = s
    return np.array([-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)])


def lorenz(s):
    x, y, z = s
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def rabinovich_fabrikant(s):
    x, y, z = s
    return np.array(
        [
            y * (z - 1 + x**2) + 0.89 * x,
            x * (3 * z + 1 - x**2) + 0.89 * y,
            -2 * z * (1.1 + x * y),
        ]
    )


def double_scroll(s):
    v1, v2, i = s
    current = (v1 - v2) / 3.44 + 4.5e-5 * np.sinh(11.6 * (v1 - v2))
    return np.array([v1 / 1.2 - current, current - i, v2 - 0.193 * i])


def multi_scroll(s):
    x, y, z = s
    return np.array([40 * (y - x), -12 * x - x * z + 28 * y, x * y - 3 * z])


def lorenz96(s):
    n = len(s)
    return np.array(
        [(s[(i + 1) % n] - s[(i - 2) % n]) * s[(i - 1) % n] - s[i] + 8 for i in range(n)]
    )


def extrapolated(field, state, t, n_steps):
    """The midpoint rule, extrapolated to steps of length zero (Bulirsch and Stoer)."""
    states, pieces = [np.asarray(state, np.float64)], 4
    counts = (2, 4, 6, 8, 10, 12, 14)
    for _ in range(pieces * (n_steps - 1)):
        row = []
        for n in counts:
            dt, a = t / pieces / n, states[-1]
            b = a + dt * field(a)
            for _ in range(n - 1):
                a, b = b, a + 2 * dt * field(b)
            row.append((a + b + dt * field(b)) / 2)
        for order in range(1, len(counts)):
            ratios = [(counts[j + order] / counts[j]) ** 2 - 1 for j in range(len(row) - 1)]
            row = [new + (new - old) / r for old, new, r in zip(row, row[1:], ratios)]
        states.append(row[0])
    return np.array(states)[::pieces]


FLOWS = {  # field, time between two samples, default start, default substeps, error with those
    "lorenz": (lorenz, 0.03, (1, 1, 1), 3, 1e-3),
    "rossler": (rossler, 0.1, (-0.1, 0, 0.02), 2, 1e-6),
    "rabinovich_fabrikant": (rabinovich_fabrikant, 0.05, (-1, 0, 0.5), 5, 1e-8),
    "double_scroll": (double_scroll, 0.25, (0.37926545, 0.058339, -0.08167691), 5, 1e-5),
    "multi_scroll": (multi_scroll, 0.01, (-0.1, 0.5, -0.6), 5, 1e-6),
    "lorenz96": (lorenz96, 0.01, (8.01,) + (8,) * 35, 1, 1e-6),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flows_agree_with_a_method_of_high_order(name):
    field, h, start, substeps, error = FLOWS[name]
    exact = extrapolated(field, start, h, 21)
    series = series_of(name)(21)
    assert series.shape == exact.shape
    assert series.dtype == np.float64
    np.testing.assert_array_equal(series[0], start)
    np.testing.assert_allclose(series, exact, atol=error)
    np.testing.assert_allclose(series_of(name)(21, substeps=100), exact, atol=1e-9)
    np.testing.assert_array_equal(series, series_of(name)(21, h=h, substeps=substeps))


@pytest.mark.parametrize("name", FLOWS)
def test_flows_converge_with_the_fourth_order(name):
    field, h, start, _, _ = FLOWS[name]
    if name == "lorenz96":  # away from its rest state, where there is something to err in
        start = 8 + 3 * np.sin(np.arange(36.0) ** 2)
        h = 0.05
    exact = extrapolated(field, start, h, 11)[-1]
    ends = [series_of(name)(11, x0=start, h=h, substeps=n)[-1] for n in (4, 8, 16)]
    first, second, third = (abs(end - exact).max() for end in ends)
    assert first / second == pytest.approx(16, rel=0.4)
    assert second / third == pytest.approx(16, rel=0.25)


@pytest.mark.parametrize("name", FLOWS)
def test_the_time_between_samples_is_h(name):
    wide, narrow = series_of(name)(6, h=0.04, substeps=20), series_of(name)(11, h=0.02, substeps=10)
    np.testing.assert_allclose(wide, narrow[::2], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "settings", "rest"),
    [  # where the flow stands still, for settings that differ from the defaults
        ("rossler", {"a": 0.5, "b": 1.5, "c": 2.0}, (1.5, -3, 3)),
        ("multi_scroll", {"a": 30, "b": 4, "c": 20}, (40**0.5, 40**0.5, 10)),
        ("lorenz", {"sigma": 3, "rho": 10, "beta": 4}, (6, 6, 9)),
        ("double_scroll", {"r1": 2, "r2": 4, "r4": 3, "ir": 0}, None),
        ("double_scroll", {"r1": 2, "r2": 4, "r4": 3, "ir": 0.5, "beta": 2}, None),
        ("rabinovich_fabrikant", {"alpha": 1, "gamma": 0.5}, None),
    ],
)
def test_settings_enter_where_they_should(name, settings, rest):
    if rest is not None:
        series = series_of(name)(3, x0=rest, h=1e-3, **settings)
        np.testing.assert_allclose(series, [rest] * 3, atol=1e-12)
        return
    # The slope at (1, 0.5, 0.25), by hand.
    sinh = 2 * 0.5 * math.sinh(2 * 0.5) if settings.get("beta") else 0
    expected = {
        "double_scroll": (0.5 - 0.125 - sinh, 0.125 + sinh - 0.25, 0.5 - 0.75),
        "rabinovich_fabrikant": (0.5 * 0.25 + 0.5, 0.75 + 0.25, -0.5 * 1.5),
    }[name]
    start = np.array([1, 0.5, 0.25])
    ahead = series_of(name)(2, x0=start, h=1e-6, **settings)[1]
    np.testing.assert_allclose((ahead - start) / 1e-6, expected, atol=1e-5)


def test_the_lyapunov_exponent_of_rossler():
    here = data.rossler_series(1_000)[-1]
    there, growth = here + [1e-8, 0, 0], 0.0
    for _ in range(100):
        here, there = (data.rossler_series(201, x0=x, substeps=1)[-1] for x in (here, there))
        apart = np.linalg.norm(there - here)
        there, growth = here + (there - here) * 1e-8 / apart, growth + math.log(apart / 1e-8)
    assert growth / 2_000 == pytest.approx(0.0714, abs=0.004)


def test_rabinovich_fabrikant_runs_away_with_one_gamma_and_stays_with_the_other():
    assert abs(data.rabinovich_fabrikant_series(6_000, gamma=0.87, substeps=2)).max() < 3
    with pytest.raises(ValueError, match="left the finite numbers at step"):
        data.rabinovich_fabrikant_series(6_000, substeps=2)


def test_lorenz96_is_the_same_from_every_site():
    start = np.random.default_rng(0).normal(size=7)
    series = data.lorenz96_series(100, sites=7, x0=start)
    turned = data.lorenz96_series(100, sites=7, x0=np.roll(start, 3))
    np.testing.assert_array_equal(turned, np.roll(series, 3, axis=1))
    assert abs(turned - series).max() > 0.1


def test_the_products_of_lorenz96_keep_its_energy():
    start = np.random.default_rng(1).normal(size=12) * 3
    series = data.lorenz96_series(5, sites=12, forcing=5.0, x0=start, h=1e-3)
    energy = (series**2).sum(axis=1) / 2
    slope = (energy[0] - 8 * energy[1] + 8 * energy[3] - energy[4]) / 12e-3
    assert slope == pytest.approx((5 * series[2] - series[2] ** 2).sum(), abs=1e-7)


def test_lorenz96_rests_where_every_site_equals_the_forcing():
    series = data.lorenz96_series(50, sites=5, forcing=3.0, x0=[3.0] * 5)
    np.testing.assert_array_equal(series, 3.0)
    assert data.lorenz96_series(1, sites=4, forcing=2.0).tolist() == [[2.01, 2, 2, 2]]


# Kuramoto-Sivashinsky


def collocation(sites, domain):
    """The right-hand side by differentiation matrices, written as sums over modes."""
    x = domain / sites * np.arange(sites)
    modes = 2 * np.pi / domain * np.arange(-((sites - 1) // 2), sites // 2 + 1)
    waves = np.exp(1j * modes[:, None, None] * (x[:, None] - x))
    odd = np.where(np.arange(len(modes)) == sites - 1, sites % 2, 1) * modes
    first = (1j * odd[:, None, None] * waves).sum(axis=0).real / sites
    linear = ((modes**2 - modes**4)[:, None, None] * waves).sum(axis=0).real / sites
    return lambda u: linear @ u - first @ (u**2) / 2


@pytest.mark.parametrize("sites", [15, 16])
def test_kuramoto_sivashinsky_agrees_with_collocation(sites):
    start = np.cos(2 * np.pi * np.arange(1, sites + 1) / sites) + 0.1 * np.sin(np.arange(sites))
    exact = extrapolated(collocation(sites, 22.0), start, 0.1, 21)
    options = {"sites": sites, "domain": 22.0, "x0": start, "h": 0.1}
    one, two, four, many = (
        data.kuramoto_sivashinsky_series(21, substeps=n, **options) for n in (1, 2, 4, 20)
    )
    np.testing.assert_array_equal(one[0], start)
    np.testing.assert_allclose(many, exact, atol=1e-9)
    errors = [abs(series - exact).max() for series in (one, two, four)]
    assert errors[0] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.25)


def test_kuramoto_sivashinsky_starts_with_the_published_wave_and_keeps_its_mean():
    series = data.kuramoto_sivashinsky_series(400)
    assert series.shape == (400, 128)
    x = np.arange(1, 129) * 32 * np.pi / 128
    np.testing.assert_allclose(series[0], np.cos(x / 16) * (1 + np.sin(x / 16)), atol=1e-14)
    np.testing.assert_allclose(series.mean(axis=1), 0, atol=1e-12)
    assert 0.5 < series[-100:].std() < 2
    lifted = data.kuramoto_sivashinsky_series(20, x0=series[0] + 0.3)
    np.testing.assert_allclose(lifted.mean(axis=1), 0.3, atol=1e-12)


def test_kuramoto_sivashinsky_agrees_with_a_finer_time_step():
    fine = data.kuramoto_sivashinsky_series(41, substeps=16)
    np.testing.assert_allclose(data.kuramoto_sivashinsky_series(41), fine, atol=2e-4)
    halves = data.kuramoto_sivashinsky_series(81, h=0.125, substeps=8)
    np.testing.assert_allclose(halves[::2], fine, atol=1e-10)


@pytest.mark.parametrize("mode", [3, 11, 16, 20])
def test_small_waves_grow_as_the_linear_equation_says(mode):
    k = mode / 16  # the default domain is 32 pi long
    wave = np.cos(k * np.arange(1, 129) * 32 * np.pi / 128)
    series = data.kuramoto_sivashinsky_series(21, x0=1e-8 * wave)
    amplitudes = series @ wave / (wave @ wave) / 1e-8
    np.testing.assert_allclose(amplitudes, np.exp((k**2 - k**4) * 0.25 * np.arange(21)), rtol=1e-6)


# NARMA


@pytest.mark.parametrize(
    ("order", "settings", "used"),
    [
        (1, {}, (0.3, 0.05, 1.5, 0.1)),
        (10, {"a1": 0.2, "c": 0.05}, (0.2, 0.05, 1.5, 0.05)),
        (30, {}, (0.2, 0.04, 1.5, 0.001)),
        (17, {"a2": 0.01, "b": -1.0}, (0.2, 0.01, -1.0, 0.001)),
    ],
)
def test_narma_obeys_its_recurrence(order, settings, used):
    a1, a2, b, c = used
    u, y = data.narma_series(200, order=order, key=KEY, **settings)
    assert u.shape == y.shape == (200,)
    assert y[0] == 0
    for t in range(199):
        past = y[max(0, t - order + 1) : t + 1].sum()
        delayed = u[t - order + 1] if t >= order - 1 else 0
        expected = a1 * y[t] + a2 * y[t] * past + b * delayed * u[t] + c
        assert y[t + 1] == pytest.approx(expected, rel=1e-12)


def test_narma_of_order_ten_is_narma10():
    for seed in range(3):
        pairs = zip(
            data.narma_series(3_000, key=jax.random.key(seed)),
            data.narma10_series(3_000, key=jax.random.key(seed)),
        )
        assert all(np.array_equal(a, b) for a, b in pairs)
    general, special = load("narma"), load("narma10")
    assert same(general.train, special.train)
    assert same(general.test, special.test)
    assert general.info.mean == special.info.mean
    assert "order 10" in general.info.description


def test_narma_that_cannot_be_bounded_is_given_up():
    with pytest.raises(RuntimeError, match="no bounded NARMA60 series of 300 steps"):
        data.narma_series(300, order=60, key=KEY)
    u, y = data.narma_series(50, order=1, c=1.5, key=KEY)  # large, yet bounded
    assert y.max() > 2.5


def test_narma_of_no_steps():
    for series in (data.narma_series, data.narma10_series):
        u, y = series(0, key=KEY)
        assert u.shape == y.shape == (0,)


def test_the_narma_data_set_takes_its_order():
    sets = load("narma", order=30, normalise=False, length=None, n_train=80, n_test=40)
    u = np.concatenate([sets.train.x[0, :, 0], sets.valid.x[0, :, 0]])
    y = np.concatenate([sets.train.y[0, :, 0], sets.valid.y[0, :, 0]])
    for t in range(30, len(u)):
        past = y[t - 30 : t]  # y[t - 1] is the output before input u[t]
        expected = 0.2 * past[-1] + 0.04 * past[-1] * past.sum() + 1.5 * u[t - 29] * u[t] + 0.001
        assert y[t] == pytest.approx(expected, rel=1e-4)
    assert not same(sets.train, load("narma", normalise=False, length=None).train)
    assert not same(load("narma", order=30, key=jax.random.key(1), normalise=False).test, sets.test)


# Bad input


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_steps_and_one_step(name):
    assert len(series_of(name)(0)) == 0
    assert series_of(name)(0).shape[1:] == series_of(name)(2).shape[1:]
    np.testing.assert_array_equal(series_of(name)(1)[0], series_of(name)(2)[0])
    with pytest.raises(ValueError, match="n_steps of at least 0, got -1"):
        series_of(name)(-1)


@pytest.mark.parametrize("name", sorted(set(SYSTEMS) - {"logistic_map"}))
def test_starts_of_another_length_are_refused(name):
    features = SYSTEMS[name][0]
    with pytest.raises(ValueError, match=rf"x0 of {features} numbers.*got shape \({features + 1},"):
        series_of(name)(3, x0=np.zeros(features + 1))


@pytest.mark.parametrize("name", [*FLOWS, "kuramoto_sivashinsky"])
def test_times_that_cannot_pass_are_refused(name):
    for h in (0, -0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="time between two samples, to be positive, got"):
            series_of(name)(3, h=h)
    with pytest.raises(ValueError, match="substeps of at least 1.*got 0"):
        series_of(name)(3, substeps=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.logistic_map_series(3, r=4.1), "0 < r <= 4.*got r 4.1"),
        (lambda: data.logistic_map_series(3, r=0), "0 < r <= 4"),
        (lambda: data.logistic_map_series(3, x0=1), "0 < x0 < 1, got x0 1"),
        (lambda: data.logistic_map_series(3, x0=0.0), "0 < x0 < 1"),
        (lambda: data.lorenz96_series(3, sites=3), "at least 4 sites.*got 3"),
        (lambda: data.lorenz96_series(3, sites=6, x0=np.zeros(5)), "x0 of 6 numbers"),
        (lambda: data.kuramoto_sivashinsky_series(3, sites=2), "at least 4 sites"),
        (lambda: data.kuramoto_sivashinsky_series(3, domain=0), "positive domain, got 128 and 0"),
        (lambda: data.mackey_glass_series(-1), "n_steps of at least 0"),
        (lambda: data.mackey_glass_series(3, h=0), "to be positive, got 0"),
        (lambda: data.multiple_sinusoids_series(-1), "n_steps of at least 0"),
        (lambda: data.narma_series(3, order=0, key=KEY), "order of at least 1, got 0"),
        (lambda: data.narma_series(-1, key=KEY), "n_steps of at least 0"),
        (lambda: data.narma10_series(-1, key=KEY), "n_steps of at least 0"),
        (lambda: data.henon_series(50, x0=(3, 3)), "left the finite numbers at step 1?[0-9]:"),
        (lambda: data.double_scroll_series(3, x0=(90, 0, 0)), "left the finite numbers at step 1:"),
        (lambda: data.kuramoto_sivashinsky_series(9, h=9), "left the finite numbers"),
        (lambda: data.lorenz96_series(99, h=1), "left the finite numbers"),
        (lambda: data.rossler(key=KEY, washout=-1), "washout of at least 0 steps, got -1"),
        (lambda: data.narma(key=KEY, washout=-1), "washout of at least 0 steps, got -1"),
        (lambda: data.mackey_glass(key=KEY, washout=-1), "washout of at least 0"),
        (lambda: data.henon(key=KEY, n_train=1), "n_train >= 2"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Data sets


@pytest.mark.parametrize("name", [*SYSTEMS, "narma"])
def test_data_sets_depend_on_the_key_alone(name):
    sets = load(name, **SMALL, length=20)
    assert same(sets, load(name, **SMALL, length=20, key=jax.random.PRNGKey(0)))
    other = load(name, **SMALL, length=20, key=jax.random.key(1))
    assert not same(sets.train, other.train)
    assert sets.info.name == name
    for part in (sets.train, sets.valid, sets.test):
        assert part.x.dtype == np.float32
        assert part.x.shape[2] == sets.info.input_size
        assert part.y.shape[2] == sets.info.output_size
        assert np.isfinite(part.x).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_forecasts_are_standardised_and_cut_from_one_series(name):
    features, _ = SYSTEMS[name]
    raw = load(name, **SMALL, length=None, horizon=3, normalise=False)
    assert raw.train.x.shape == (1, 57, features)
    assert raw.valid.x.shape == (1, 8, features)
    assert raw.test.x.shape == (1, 18, features)
    assert raw.info.mean == raw.info.std == ()
    parts = [
        np.concatenate([part.x[0], part.y[0, -3:]]) for part in (raw.train, raw.valid, raw.test)
    ]
    whole = load(name, n_train=92, n_valid=0, n_test=2, washout=5, length=None, normalise=False)
    np.testing.assert_array_equal(np.concatenate(parts)[:91], whole.train.x[0])
    assert whole.valid is None
    mean, std = parts[0].mean(axis=0), parts[0].std(axis=0)

    sets = load(name, **SMALL, length=10, stride=4, horizon=3)
    np.testing.assert_allclose(sets.info.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sets.info.std, std, rtol=1e-4)
    assert sets.train.x.shape == sets.train.y.shape == (12, 10, features)
    for i, sample in enumerate(sets.train):
        for values, start in ((sample.x, 4 * i), (sample.y, 4 * i + 3)):
            expected = (parts[0][start : start + 10] - mean) / std
            np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sets.test.x[0] * std + mean, raw.test.x[0], rtol=1e-3, atol=1e-3)
    assert "60 steps to train, the next 11" in sets.info.splits
    assert "horizon 3" in sets.info.description


@pytest.mark.parametrize("name", SYSTEMS)
def test_data_sets_show_the_series_from_near_its_default_start(name):
    _, spread = SYSTEMS[name]
    options = {"n_train": 30, "n_valid": 0, "n_test": 2, "length": None, "normalise": False}
    shown = load(name, **options, washout=0).train.x[0]
    default = np.atleast_1d(series_of(name)(1)[0])
    assert 0 < abs(shown[0] - default).max() <= spread * 1.0001
    settings = {"gamma": 0.87} if name == "rabinovich_fabrikant" else {}
    start = float(shown[0, 0]) if name == "logistic_map" else shown[0].astype(np.float64)
    series = series_of(name)(8, x0=start, **settings).reshape(8, -1)
    np.testing.assert_allclose(shown[:8], series, rtol=2e-4, atol=2e-4)
    later = load(name, **options, washout=6).train.x[0]
    np.testing.assert_array_equal(later[:20], shown[6:26])


@pytest.mark.parametrize("name", SYSTEMS)
def test_data_sets_stay_on_the_attractor_with_the_default_options(name):
    sets = load(name, length=None)
    assert sets.train.x.shape[1] == sets.test.x.shape[1] == 1_999
    assert abs(sets.test.x).max() < 10
    assert 0.3 < sets.test.x.std() < 2


@pytest.mark.parametrize("name", [*SYSTEMS, "narma"])
def test_data_sets_are_functions_in_their_own_right(name):
    function = getattr(data, name)
    assert name in data.list_datasets()
    assert function.__name__ == name
    assert pickle.loads(pickle.dumps(function)) is function
    assert "washout" in inspect.getdoc(function)
    options = inspect.signature(function).parameters
    assert {"key", "horizon" if name in SYSTEMS else "order", "length", "normalise"} <= set(options)
    assert all(option.kind is option.KEYWORD_ONLY for option in options.values())
    with pytest.raises(ValueError, match="needs a key"):
        data.load(name)
    with pytest.raises(TypeError, match=f"'{name}' has no option 'size'"):
        data.load(name, key=KEY, size=3)
    if name in SYSTEMS:
        doc = inspect.getdoc(series_of(name))
        assert "$$" in doc
        assert "doi:" in doc or "Sov. Phys. JETP" in doc
        assert f"{name}_series" in inspect.getdoc(function)
        assert inspect.getdoc(function) != inspect.getdoc(data.mackey_glass)


def test_noise_is_of_the_measurement_alone():
    clean, noisy = (
        load("lorenz", length=None, normalise=False, noise=n, **SMALL) for n in (0, 0.1)
    )
    assert same(clean.test, noisy.test)
    parts = ((getattr(d, part).x[0] for d in (clean, noisy)) for part in ("train", "valid"))
    for before, after in parts:
        error = (after - before) / clean.train.x[0].std(axis=0)
        assert 0.05 < error.std() < 0.15
        assert not same(error[0], error[1])
    with pytest.raises(ValueError, match="noise at least 0"):
        load("lorenz", noise=-1, **SMALL)


def test_delays_by_hand():
    series = np.arange(7.0)
    expected = [[4, 2, 0], [5, 3, 1], [6, 4, 2]]
    np.testing.assert_array_equal(data.delay_embedding(series, 3, 2), expected)
    both = data.delay_embedding(np.stack([series, 10 * series], axis=1), 2)
    np.testing.assert_array_equal(both[0], [1, 10, 0, 0])
    with pytest.raises(ValueError, match="more than 8 steps"):
        data.delay_embedding(series, 3, 4)
