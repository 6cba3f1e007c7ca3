"""Data sets at irregular times: what they show follows from their times, and the times add up."""

import csv
import datetime
import gzip
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from rnn_zoo import data


KEY = jax.random.key(0)
SMALL = {
    "bitstream_xor": {"n_train": 300, "n_valid": 7, "n_test": 50},
    "spirals": {"n_train": 60, "n_valid": 7, "n_test": 50},
    "lorenz_irregular": {"n_train": 150, "n_valid": 20, "n_test": 50, "washout": 10},
}


def load(name, *, key=KEY, **options):
    """As NumPy arrays, on which a test needs no compiler."""
    sets = data.load(name, key=key, **{**SMALL.get(name, {}), **options})
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(sets))
    return jax.tree.map(np.asarray, sets)


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def parts(sets):
    return (sets.train, sets.valid, sets.test)


@pytest.mark.parametrize("name", SMALL)
def test_the_key_decides_and_the_card_tells(name):
    sets = load(name)
    assert equal(sets, load(name, key=jax.random.PRNGKey(0)))
    assert not equal(sets.train, load(name, key=jax.random.key(1)).train)
    assert sets.info.name == name
    assert sets.info.baselines
    for part in parts(sets):
        assert part.x.shape[2] == sets.info.input_size
        assert part.x.dtype == part.dt.dtype == np.float32
        assert part.dt.shape == part.x.shape[:2]
        assert (part.dt > 0).all()
        if sets.info.task == "classification":
            assert part.y.dtype == np.int32
            assert set(np.unique(part.y)) <= set(range(sets.info.output_size))
    with pytest.raises(ValueError, match="is generated and needs a key"):
        data.load(name)


@pytest.mark.parametrize("name", ["bitstream_xor", "spirals"])
def test_the_size_of_one_part_leaves_the_others_alone(name):
    few = load(name, n_train=3, n_valid=0)
    assert few.valid is None
    assert equal(few.test, load(name).test)
    with pytest.raises(ValueError, match="n_train >= 1"):
        load(name, n_train=0)


# Bit streams


def streams(part, bit_time=1.0):
    """The bits of each sample, from its events and their times."""
    for x, dt, mask in zip(part.x[..., 0], part.dt, part.mask):
        times = dt[mask] / bit_time
        counts = np.round(times).astype(int)
        np.testing.assert_allclose(times, counts, rtol=1e-6)
        yield np.repeat(x[mask].astype(int), counts)


@pytest.mark.parametrize("bit_time", [1.0, 1 / 8])
def test_events_and_their_times_are_the_stream(bit_time):
    sets = load("bitstream_xor", length=8, min_length=3, bit_time=bit_time)
    seen = set()
    for part in parts(sets):
        assert part.x.shape == (len(part), 8, 1)
        for sample, bits in zip(part, streams(part, bit_time), strict=True):
            assert set(bits) <= {0, 1}
            assert sample.y == np.bitwise_xor.reduce(bits)
            assert sample.dt[sample.mask].sum() == pytest.approx(len(bits) * bit_time)
            events = sample.x[sample.mask, 0]
            assert (events[1:] != events[:-1]).all()
            seen.add(len(bits))
        # Valid steps come first, and the padding says nothing.
        assert (part.mask[:, :-1] >= part.mask[:, 1:]).all()
        assert part.mask[:, 0].all()
        assert not part.x[~part.mask].any()
        assert (part.dt[~part.mask] == 1).all()
    assert seen == set(range(3, 9))


def test_both_encodings_tell_of_the_same_streams():
    events, bits = (
        load("bitstream_xor", length=9, encoding=encoding).train
        for encoding in ("events", "equidistant")
    )
    np.testing.assert_array_equal(events.y, bits.y)
    assert (bits.dt == 1).all()
    for stream, x, mask in zip(streams(events), bits.x[..., 0], bits.mask, strict=True):
        np.testing.assert_array_equal(x[mask], stream)
        assert mask[: len(stream)].all()
        assert not x[~mask].any()


def test_streams_are_fair():
    part = load("bitstream_xor", length=6, n_train=20_000).train
    lengths = np.array([len(bits) for bits in streams(part)])
    np.testing.assert_allclose(np.bincount(lengths)[2:] / 20_000, 1 / 5, atol=0.01)
    assert np.concatenate(list(streams(part))).mean() == pytest.approx(0.5, abs=0.01)
    assert part.y.mean() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(("min_length", "length"), [(1, 1), (4, 4), (5, 5), (2, 9)])
def test_what_the_bits_without_their_times_allow(min_length, length):
    """Every stream of every length, grouped by what is left of it without the times."""
    groups = {}
    for n in range(min_length, length + 1):
        for bits in itertools.product((0, 1), repeat=n):
            events = tuple(bit for bit, _ in itertools.groupby(bits))
            odd_even = groups.setdefault(events, [0.0, 0.0])
            odd_even[sum(bits) % 2] += 0.5**n / (length + 1 - min_length)
    best = sum(max(odd_even) for odd_even in groups.values())
    sets = load("bitstream_xor", min_length=min_length, length=length)
    baselines = {baseline.name: baseline.value for baseline in sets.info.baselines}
    assert baselines["bits without times"] == pytest.approx(best, rel=1e-12)
    assert baselines["guessing"] == 0.5


def test_streams_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="1 <= min_length <= length, got 5 and 4"):
        load("bitstream_xor", min_length=5, length=4)
    with pytest.raises(ValueError, match="1 <= min_length"):
        load("bitstream_xor", min_length=0)
    with pytest.raises(ValueError, match="'events' or 'equidistant', got 'dense'"):
        load("bitstream_xor", encoding="dense")
    with pytest.raises(ValueError, match="positive bit_time, got 0"):
        load("bitstream_xor", bit_time=0)


# Spirals


def turned(part, points):
    """The angles between neighbouring points, the radii, and the moments as parts of the span."""
    z = part.x[..., 0] + 1j * part.x[..., 1]
    return np.angle(z[:, 1:] / z[:, :-1]), np.abs(z), np.cumsum(part.dt, axis=1) / points


def test_a_spiral_follows_its_formula_at_its_times():
    sets = load("spirals", noise=0, points=200, turns=1.5)
    for part in parts(sets):
        angles, radii, at = turned(part, 200)
        assert 0 < at.min() < at.max() <= 1
        # At 200 points a turn is never half done between two of them.
        speed = angles.sum(axis=1) / (at[:, -1] - at[:, 0]) / (2 * np.pi)
        np.testing.assert_array_equal(part.y, speed > 0)
        assert (abs(speed) >= 1.5 * 0.75 - 1e-4).all()
        assert (abs(speed) <= 1.5 * 1.25 + 1e-4).all()
        passed = np.diff(at, axis=1) * 2 * np.pi
        np.testing.assert_allclose(angles, speed[:, None] * passed, atol=1e-4)
        slope = (radii[:, -1] - radii[:, 0]) / (at[:, -1] - at[:, 0])
        np.testing.assert_allclose(
            radii, radii[:, :1] + slope[:, None] * (at - at[:, :1]), atol=1e-4
        )
        first, last = radii[:, 0] - slope * at[:, 0], radii[:, 0] + slope * (1 - at[:, 0])
        ends = np.sort(np.stack([first, last]), axis=0)
        assert ((ends[0] > 0.199) & (ends[0] < 0.401) & (ends[1] > 0.799) & (ends[1] < 1.001)).all()
    # Neither way to turn goes with inward or outward.
    assert len(set(zip(sets.train.y.tolist(), (slope_of(sets.train) > 0).tolist()))) == 4


def slope_of(part):
    radii = np.linalg.norm(part.x, axis=-1)
    return radii[:, -1] - radii[:, 0]


def test_the_ways_to_turn_are_told_apart_with_the_times_alone():
    """Turns of less than a point: blind steps look alike, timed ones fit one way to turn only."""
    sets = load("spirals", noise=0, points=30, turns=120, n_test=300)
    angles, _, at = turned(sets.test, 30)
    speeds = 2 * np.pi * np.linspace(90, 150, 2001)[:, None]

    def fit(way, steps, passed):
        return abs(np.exp(1j * (steps - way * passed * speeds)).sum(axis=1)).max()

    passed = np.diff(at, axis=1)
    timed = [fit(1, s, p) > fit(-1, s, p) for s, p in zip(angles, passed, strict=True)]
    assert (timed == sets.test.y).mean() > 0.98
    blind = np.sin(angles).sum(axis=1) > 0
    assert (blind == sets.test.y).mean() < 0.65


def test_another_rate_shows_the_same_spirals_at_other_times():
    same, other = load("spirals"), load("spirals", test_points=10)
    assert equal(same.train, other.train)
    assert equal(same.valid, other.valid)
    np.testing.assert_array_equal(same.test.y, other.test.y)
    assert other.test.x.shape == (50, 10, 2)
    assert same.train.dt.mean() == pytest.approx(1, rel=0.05)
    assert other.test.dt.mean() == pytest.approx(4, rel=0.1)
    assert other.test.dt.sum(axis=1).max() <= 40
    assert "test at 10 points" in other.info.splits
    # The very same curves: fine and coarse sampling agree where their moments nearly meet.
    fine = load("spirals", noise=0, test_points=2_000).test
    coarse = load("spirals", noise=0, test_points=10).test
    for a, b in zip(fine, coarse, strict=True):
        times = np.cumsum(a.dt, dtype=np.float64)
        near = abs(np.cumsum(b.dt)[:, None] - times).argmin(axis=1)
        np.testing.assert_allclose(a.x[near], b.x, atol=0.06)


def test_noise_is_of_the_stated_size():
    clean, noisy = (load("spirals", noise=noise, n_train=500).train for noise in (0, 0.2))
    difference = noisy.x - clean.x
    assert difference.std() == pytest.approx(0.2, rel=0.03)
    assert difference.mean() == pytest.approx(0, abs=0.01)
    np.testing.assert_array_equal(noisy.dt, clean.dt)


def test_spirals_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="points and test_points of at least 2, got 40 and 1"):
        load("spirals", test_points=1)
    with pytest.raises(ValueError, match="at least 2, got 0 and 0"):
        load("spirals", points=0)
    with pytest.raises(ValueError, match="turns > 0 and noise >= 0, got 0 and"):
        load("spirals", turns=0)
    with pytest.raises(ValueError, match="noise >= 0, got 2.0 and -1"):
        load("spirals", noise=-1)


# Lorenz


def flow(_, s):
    return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]


def carried(state, by):
    span = (0, by)
    return solve_ivp(flow, span, state, method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]


@pytest.mark.parametrize("gap", [0.03, 0.2])
def test_a_target_is_the_state_carried_over_its_gap(gap):
    sets = load("lorenz_irregular", gap=gap, length=None, normalise=False)
    for part in parts(sets):
        np.testing.assert_array_equal(part.x[:, 1:], part.y[:, :-1])
        assert (part.dt >= 0.1).all()
        assert (part.dt <= 1.9).all()
        for step in range(0, part.x.shape[1], 7):
            exact = carried(part.x[0, step], part.dt[0, step] * gap)
            np.testing.assert_allclose(part.y[0, step], exact, atol=2e-2, rtol=2e-3)
    assert sets.train.dt.mean() == pytest.approx(1, abs=0.15)
    assert sets.train.dt.std() > 0.4


def test_the_series_agrees_with_an_adaptive_solver():
    gaps = np.array([0.01, 0.3, 0.07, 0.001, 0.2])
    series = data.lorenz_irregular_series(gaps, x0=(2.0, -1.0, 20.0))
    assert series.shape == (6, 3)
    exact = [np.array([2.0, -1, 20])]
    for gap in gaps:
        exact.append(carried(exact[-1], gap))
    np.testing.assert_allclose(series, exact, atol=1e-3)
    regular = data.lorenz_irregular_series(np.full(9, 0.03))
    np.testing.assert_allclose(regular, data.lorenz_series(10), rtol=1e-12)
    for wrong in (np.array([0.1, 0]), np.array([np.nan]), np.ones((2, 2))):
        with pytest.raises(ValueError, match="gaps"):
            data.lorenz_irregular_series(wrong)


def test_another_gap_changes_the_test_part_alone_on_the_same_path():
    options = {"normalise": False, "length": None}
    same, other = (load("lorenz_irregular", test_gap=gap, **options) for gap in (None, 0.05))
    assert equal(same.train, other.train)
    assert equal(same.valid, other.valid)
    # The first observation of the test part is still on the old clock, all gaps after it are not.
    np.testing.assert_array_equal(same.test.x[:, 0], other.test.x[:, 0])
    np.testing.assert_allclose(other.test.dt, same.test.dt / 2, rtol=1e-6)
    for step in (0, 20, 48):
        exact = carried(other.test.x[0, step], other.test.dt[0, step] * 0.1)
        np.testing.assert_allclose(other.test.y[0, step], exact, atol=2e-2, rtol=2e-3)
    assert "test every 0.05" in other.info.splits


@pytest.mark.parametrize("normalise", [True, False])
def test_the_baselines_of_the_forecast_are_those_of_its_test_part(normalise):
    sets = load("lorenz_irregular", normalise=normalise)
    raw = load("lorenz_irregular", normalise=False, length=None)
    train = np.concatenate([raw.train.x[0], raw.train.y[0, -1:]]).astype(np.float64)
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = std if normalise else np.ones(3)
    x, y = raw.test.x / scale, raw.test.y / scale
    values = {baseline.name: baseline.value for baseline in sets.info.baselines}
    constant = ((y - mean / scale) ** 2).mean()
    assert values["always the train mean"] == pytest.approx(constant, rel=1e-4)
    assert values["repeat the last value"] == pytest.approx(((y - x) ** 2).mean(), rel=1e-4)
    if normalise:
        restored = sets.test.x * np.array(sets.info.std) + np.array(sets.info.mean)
        np.testing.assert_allclose(restored, raw.test.x, rtol=1e-4, atol=1e-4)


def test_gaps_that_cannot_be_are_refused():
    for options in ({"gap": 0}, {"test_gap": -0.1}, {"gap": float("nan")}):
        with pytest.raises(ValueError, match="expected positive gap and test_gap"):
            load("lorenz_irregular", **options)
    with pytest.raises(ValueError, match="n_test >= 2"):
        load("lorenz_irregular", n_test=0)


# Carbon dioxide, by its calendar


def test_the_gaps_of_the_carbon_dioxide_add_up_to_its_calendar():
    file = Path(__file__).parent.parent / "datasets" / "co2_weekly" / "co2_weekly.csv.gz"
    with gzip.open(file, "rt") as lines:
        rows = [(row["date"], row["co2"]) for row in csv.DictReader(lines)]
    seen = [(datetime.date.fromisoformat(date), float(value)) for date, value in rows if value]
    sets = load("co2_weekly", key=None, normalise=False, length=None)
    start = 0
    for part in parts(sets):
        steps = part.x.shape[1]
        dates, values = zip(*seen[start : start + steps])
        np.testing.assert_array_equal(part.x[0, :, 0], np.float32(values))
        assert part.dt[0, 1:].sum() == (dates[-1] - dates[0]).days / 7
        start += steps + 1
    assert len(rows) - 59 == len(seen) == start
