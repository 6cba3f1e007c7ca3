"""Data at irregular times: the time that passes between two steps is part of what is seen.

See `co2_weekly` in `files.py` for real data of this kind.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jax import Array

from ._drawing import draw, drawn_splits
from ._forecasting import Part, consecutive, forecasting, moments, splits
from ._generator import generator
from .dataset import GENERATED, Baseline, Dataset, DatasetInfo
from .series import lorenz_series


# The longest step of the Runge-Kutta method between two observations of the Lorenz system, that of
# `lorenz_series` with its defaults.
LORENZ_SUBSTEP = 0.01


def bitstream_xor(
    *,
    key: Array,
    length: int = 32,
    min_length: int = 2,
    encoding: str = "events",
    bit_time: float | int = 1.0,
    n_train: int = 100_000,
    n_valid: int = 1_000,
    n_test: int = 10_000,
) -> Dataset:
    """Bit-stream XOR: is the number of ones in a stream of bits odd?

    A stream has `min_length` to `length` bits, each length and each bit as likely as any other, and
    `y` is the XOR of its bits, 0 or 1. It is padded to `length` steps and `x` is (length, 1).

    - `encoding="events"`: one step for each run of equal bits, `x` its bit and `dt` the time it
      lasted, so that `np.repeat(bits, dt)` is the stream. The bits of the steps only alternate:
      nearly all there is to know is in `dt`, and the baseline "bits without times" is the best
      that any model can do without it.
    - `encoding="equidistant"`: one step for each bit, all of equal `dt`.

    `mask` is False in the padding, where x is 0 and dt 1. A bit lasts `bit_time`; the published
    figures divide times by the padded length (`bit_time=1 / 32`) and stamp each change of the bit
    with the time since the change before, which tells the same in another order.

    Raises ValueError unless 1 <= min_length <= length, and for another encoding or a bit_time that
    is not positive. Lechner and Hasani (2020), arXiv:2006.04418; Hasani et al. (2022),
    arXiv:2106.13898.
    """
    if not 1 <= min_length <= length:
        raise ValueError(f"expected 1 <= min_length <= length, got {min_length} and {length}")
    if encoding not in ("events", "equidistant"):
        raise ValueError(f"expected encoding 'events' or 'equidistant', got {encoding!r}")
    if not 0 < bit_time < math.inf:
        raise ValueError(f"expected a positive bit_time, got {bit_time}")

    def sample(rng, n):
        bits = rng.integers(0, 2, (n, length), np.int32)
        there = np.arange(length) < rng.integers(min_length, length + 1, n)[:, None]
        bits *= there
        x, runs = _run_lengths(bits, there) if encoding == "events" else (bits, there)
        dt = np.where(runs > 0, runs * bit_time, 1)
        labels = bits.sum(axis=1, dtype=np.int32) % 2
        return x[..., None].astype(np.float32), labels, runs > 0, dt.astype(np.float32)

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="bitstream_xor",
        task="classification",
        input_size=1,
        output_size=2,
        description=f"Say the XOR of {min_length} to {length} bits"
        + (" from the times that they last." if encoding == "events" else "."),
        source="generated",
        citation="Lechner and Hasani 2020, arXiv:2006.04418; Hasani et al. 2022, arXiv:2106.13898",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(
            Baseline("guessing", "accuracy", 0.5, "half of the streams are odd"),
            *(_event_baselines(min_length, length) if encoding == "events" else ()),
        ),
    )
    return Dataset(*draw(sample, key, sizes), info)


def _run_lengths(bits: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bit of each run and its number of bits, in order from the left; zeros after the last."""
    starts = there.copy()
    starts[:, 1:] &= bits[:, 1:] != bits[:, :-1]
    runs_before = starts.cumsum(axis=1) - 1
    values, counts = np.zeros_like(bits), np.zeros_like(bits)
    row, step = np.nonzero(there)
    np.add.at(counts, (row, runs_before[row, step]), 1)
    row, step = np.nonzero(starts)
    values[row, runs_before[row, step]] = bits[row, step]
    return values, counts


def _event_baselines(min_length: int, length: int) -> tuple[Baseline, ...]:
    bound = _without_times(min_length, length)
    source = "arXiv:2106.13898, event-based, up to 31 bits, 100 000 streams"
    return (
        Baseline("bits without times", "accuracy", bound, "the best possible, counted"),
        Baseline("LSTM", "accuracy", 0.897, source),
        Baseline("ODE-LSTM", "accuracy", 0.989, source),
        Baseline("CfC", "accuracy", 0.994, source),
    )


def _without_times(min_length: int, length: int) -> float:
    r"""The accuracy of the best guess from the first bit and the number of runs alone.

    Count the streams with k runs of ones and m of zeros, those with an odd number of ones
    negatively. With z marking bits their generating function is
    $(-z / (1 + z))^k (z / (1 - z))^m$. As k and m differ by at most 1, this is
    $\pm z^{k+m} (1 - z^2)^{-\max(k, m)}$ times 1, 1 - z or 1 + z, so the excess of one parity
    among the streams of a length is a single binomial coefficient.
    """
    lengths = range(min_length, length + 1)

    def excess(bits, ones, zeros):
        rest, runs = bits - ones - zeros, max(ones, zeros)
        if rest < 0 or (ones == zeros and rest % 2):
            return 0
        sign = -1 if ones > zeros and rest % 2 else 1
        return sign * math.comb(rest // 2 + runs - 1, runs - 1)

    def advantage(ones, zeros):
        return abs(sum(excess(bits, ones, zeros) / 2**bits for bits in lengths))

    seen = [
        (few, more) for few in range(length) for more in (few, few + 1) if 0 < few + more <= length
    ]
    # Whichever bit comes first: the pair the other way round, or the same pair once more.
    total = sum(advantage(a, b) + advantage(b, a) for a, b in seen)
    return 0.5 + total / (2 * len(lengths))


def spirals(
    *,
    key: Array,
    points: int = 40,
    test_points: int | None = None,
    turns: float | int = 2.0,
    noise: float | int = 0.05,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 1_000,
) -> Dataset:
    r"""Which way does a spiral turn, seen at a few irregular moments?

    $$r(t) = r_0 + (r_1 - r_0)\,t / T, \quad \theta(t) = \theta_0 + s\,\omega\,t, \quad
    x = r\,(\cos\theta, \sin\theta) + \varepsilon$$

    `y` is 1 for s = 1 (counter-clockwise) and 0 for s = -1. Of its two radii, drawn uniformly from
    [0.2, 0.4] and [0.8, 1], either comes first; the angle at the start is any; the number of turns
    is `turns` times U(0.75, 1.25); the noise is normal with deviation `noise`.

    `x` is (points, 2), observed at moments drawn uniformly from the span T. `dt` is the time since
    the observation before, for the first since the start, so `cumsum(dt)` are the moments. Its unit
    is the mean gap of the training part: T = `points`. With `test_points` the test part shows the
    very same spirals over the same span so many times: another rate of sampling, in the same unit
    of time. The fewer the points on a turn, the more it takes the time to tell the ways apart.

    Raises ValueError for points below 2, or turns or noise that cannot be. In the manner of Chen et
    al. (2018), arXiv:1806.07366.
    """
    shown = points if test_points is None else test_points
    if min(points, shown) < 2:
        raise ValueError(f"expected points and test_points of at least 2, got {points} and {shown}")
    if not (0 < turns < math.inf and 0 <= noise < math.inf):
        raise ValueError(f"expected turns > 0 and noise >= 0, got {turns} and {noise}")

    def sample(points_shown):
        def rule(rng, n):
            # Spirals and moments from streams of their own: another rate leaves the spirals alone.
            shapes, moments = rng.spawn(2)
            labels, curve = _spiral(shapes, n, turns)
            at = np.sort(moments.random((n, points_shown)), axis=1)
            x = curve(at) + noise * moments.standard_normal((n, points_shown, 2))
            dt = np.diff(at, axis=1, prepend=0) * points
            return x.astype(np.float32), labels, None, dt.astype(np.float32)

        return rule

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="spirals",
        task="classification",
        input_size=2,
        output_size=2,
        description=f"Say which way a spiral turns from {points} noisy points at irregular times.",
        source="generated",
        citation="in the manner of Chen et al. 2018, arXiv:1806.07366",
        licence=GENERATED,
        splits=drawn_splits(sizes) + ("" if shown == points else f"; test at {shown} points"),
        baselines=(Baseline("guessing", "accuracy", 0.5, "either way is as likely"),),
    )
    return Dataset(*draw(sample(points), key, sizes, test_sample=sample(shown)), info)


def _spiral(
    rng: np.random.Generator, n: int, turns: float | int
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Labels of `n` random spirals, and the function from moments, (n, points) as parts of the
    span, to positions (n, points, 2)."""
    labels = rng.integers(0, 2, n, np.int32)
    radii = np.stack([rng.uniform(0.2, 0.4, n), rng.uniform(0.8, 1, n)])
    first, last = np.where(rng.random(n) < 0.5, radii, radii[::-1])
    start = rng.uniform(0, 2 * np.pi, n)
    angle = (2 * labels - 1) * 2 * np.pi * turns * rng.uniform(0.75, 1.25, n)

    def curve(at):
        r = first[:, None] + (last - first)[:, None] * at
        theta = start[:, None] + angle[:, None] * at
        return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=-1)

    return labels, curve


def lorenz_irregular_series(
    gaps: np.ndarray, *, x0: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """The Lorenz system of `lorenz_series` at irregular times, (len(gaps) + 1, 3) float64.

    `gaps` (observations - 1,) are the times from one observation to the next, the first of which is
    `x0`. Raises ValueError for a gap that is not positive.
    """
    gaps = np.asarray(gaps, np.float64)
    if gaps.ndim != 1 or not np.all((gaps > 0) & np.isfinite(gaps)):
        raise ValueError("expected gaps (observations - 1,), each of them positive and finite")
    states = [np.asarray(x0, np.float64)]
    for gap in gaps.tolist():
        substeps = math.ceil(gap / LORENZ_SUBSTEP)
        states.append(lorenz_series(2, x0=states[-1].tolist(), h=gap, substeps=substeps)[1])
    return np.stack(states)


def lorenz_irregular(
    *,
    key: Array,
    gap: float | int = 0.1,
    test_gap: float | int | None = None,
    length: int | None = 100,
    stride: int = 10,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 2_000,
    washout: int = 200,
    normalise: bool = True,
) -> Dataset:
    """Forecast the Lorenz system from one irregular observation to the next.

    `x` is (time, 3), the state at an observation, `y` that at the next one, and `dt` the time from
    the one to the other, without which the question has no answer: the model is told how far ahead
    it has to see. So a step stands at the time of its target, and a timed cell that carries its
    state over `dt` with `x` as its input arrives there. For a model that takes no dt, append it:
    `jnp.concatenate([x, dt[..., None]], axis=-1)`.

    The gaps are drawn uniformly from 0.1 to 1.9 times `gap` time units, in the test part around
    `test_gap` (by default `gap`), another rate of sampling on the same path. `dt` is in units of
    `gap` throughout, so its mean is 1 in training.

    One path (`lorenz_irregular_series`) from a random start, (1, 1, 1) + U(-0.5, 0.5), whose first
    `washout` observations are thrown away. The train part is cut into windows of `length`, one
    every `stride` steps (`length=None`: one sequence); the validation and the test part are one
    sequence each. `normalise` standardises all with the train part's mean and deviation.

    Raises ValueError for gaps that are not positive.
    """
    test_gap = gap if test_gap is None else test_gap
    if not (0 < gap < math.inf and 0 < test_gap < math.inf):
        raise ValueError(f"expected positive gap and test_gap, got {gap} and {test_gap}")
    sizes = (n_train, n_valid, n_test)
    rng = generator(key)
    start = 1 + rng.uniform(-0.5, 0.5, 3)
    steps = np.arange(washout + sum(sizes))
    mean_gaps = np.where(steps < len(steps) - n_test, gap, test_gap)
    gaps = mean_gaps * rng.uniform(0.1, 1.9, len(steps))
    series = lorenz_irregular_series(gaps[:-1], x0=tuple(start.tolist()))
    parts = consecutive(Part(series[washout:], dt=gaps[washout:] / gap), sizes)
    info = DatasetInfo(
        name="lorenz_irregular",
        task="forecasting",
        input_size=3,
        output_size=3,
        description="Forecast the chaotic Lorenz system from one irregular observation to the next "
        f"(every {gap:g} on average).",
        source="generated",
        citation="Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2",
        licence=GENERATED,
        splits=splits(sizes) + ("" if test_gap == gap else f"; test every {test_gap:g}"),
    )
    sets = forecasting(parts, info, length=length, stride=stride, horizon=1, normalise=normalise)
    mean = np.zeros(3) if normalise else moments(parts[0].values)[0]
    return _with_constant(sets, mean)


def _with_constant(sets: Dataset, mean: np.ndarray) -> Dataset:
    """The error of always saying the train part's mean, put on the card before the last one."""
    error = float(((np.asarray(sets.test.y, np.float64) - mean) ** 2).mean())
    constant = Baseline("always the train mean", "mse", error, "computed on this test part")
    baselines = (*sets.info.baselines[:-1], constant, sets.info.baselines[-1])
    info = dataclasses.replace(sets.info, baselines=baselines)
    return Dataset(sets.train, sets.valid, sets.test, info)
