"""From a series to the three parts of a forecasting data set."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from .batches import Batch
from .dataset import Baseline, Dataset, DatasetInfo
from .windowing import windows


@dataclass(frozen=True)
class Part:
    """A stretch of a series: values (time, features); mask and dt (time,) or None."""

    values: np.ndarray
    mask: np.ndarray | None = None
    dt: np.ndarray | None = None

    def between(self, start: int, stop: int | None) -> "Part":
        steps = slice(start, stop)
        mask = None if self.mask is None else self.mask[steps]
        return Part(self.values[steps], mask, None if self.dt is None else self.dt[steps])


def steps_needed(sizes: tuple[int, int, int], washout: int) -> int:
    """How long a series has to be for all parts, after the steps that are thrown away."""
    _check(sizes)
    if washout < 0:
        raise ValueError(f"expected a washout of at least 0 steps, got {washout}")
    return washout + sum(sizes)


def _check(sizes: tuple[int, int, int]) -> None:
    n_train, n_valid, n_test = sizes
    if n_train < 2 or n_valid < 0 or n_test < 2 or n_valid == 1:
        raise ValueError(
            f"expected n_train >= 2, n_valid of 0 or >= 2 and n_test >= 2 steps, got {sizes}"
        )


def consecutive(whole: Part, sizes: tuple[int, int, int]) -> tuple[Part, Part, Part]:
    """The first steps for training, the next for validation, the next for testing."""
    _check(sizes)
    n_train, n_valid, _ = sizes
    if sum(sizes) > len(whole.values):
        raise ValueError(
            f"n_train + n_valid + n_test = {sum(sizes)}, "
            f"but the series has only {len(whole.values)} steps"
        )
    first, second = n_train, n_train + n_valid
    return (
        whole.between(0, first),
        whole.between(first, second),
        whole.between(second, sum(sizes)),
    )


def moments(values: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each feature over the valid steps; the deviation of a
    constant feature counts as 1."""
    valid = values if mask is None else values[mask]
    std = valid.std(axis=0)
    return valid.mean(axis=0), np.where(std > 0, std, 1.0)


def forecasting(
    parts: tuple[Part, Part, Part],
    info: DatasetInfo,
    *,
    length: int | None,
    stride: int,
    horizon: int,
    normalise: bool,
) -> Dataset:
    """Standardise with the moments of the train part, cut it into windows, and keep the validation
    and the test part as one long sequence each."""
    train, valid, test = parts
    if normalise:
        mean, std = moments(train.values, train.mask)
        info = dataclasses.replace(info, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    else:
        mean, std = 0.0, 1.0

    def to_batch(part, length, stride):
        values = ((part.values - mean) / std).astype(np.float32)
        dt = None if part.dt is None else part.dt.astype(np.float32)
        return windows(values, length, horizon=horizon, stride=stride, mask=part.mask, dt=dt)

    tested = to_batch(test, None, 1)
    return Dataset(
        to_batch(train, length, stride),
        to_batch(valid, None, 1) if len(valid.values) else None,
        tested,
        dataclasses.replace(info, baselines=(*info.baselines, persistence(tested))),
    )


def persistence(test: Batch) -> Baseline:
    """The error of saying that the value will not change, over the valid steps."""
    error = (np.asarray(test.y, np.float64) - np.asarray(test.x, np.float64)) ** 2
    valid = error if test.mask is None else error[np.asarray(test.mask)]
    return Baseline(
        "repeat the last value", "mse", float(valid.mean()), "computed on this test part"
    )


def splits(sizes: tuple[int, int, int]) -> str:
    return (
        "{} steps to train, the next {} to validate, the next {} to test; ".format(*sizes)
        + "train cut into windows, the others one sequence each"
    )
