"""Data sets read from files: those shipped with the package, and scikit-learn's digits."""

import csv
import dataclasses
import datetime
import gzip
import os

import numpy as np
from jax import Array

from .._common.extras import missing
from ._forecasting import Part, consecutive, forecasting, moments, splits
from ._generator import generator
from ._locate import locate
from .batches import Batch, to_jax
from .dataset import Baseline, Dataset, DatasetInfo


AnyPath = str | os.PathLike

# The seed with which sequential MNIST is commonly permuted; RandomState's stream never changes.
PERMUTATION_SEED = 92916


def assemble(
    train: Batch, test: Batch, info: DatasetInfo, valid_fraction: float | int, key: Array | None
) -> Dataset:
    """A data set whose validation part is a random part of `train`, or None for a fraction of 0."""
    if valid_fraction == 0:
        return Dataset(to_jax(train), None, to_jax(test), info)
    n_valid = round(valid_fraction * len(train))
    if not 1 <= n_valid < len(train):
        raise ValueError(
            f"expected valid_fraction from 0 to below 1 that leaves both parts a sample, "
            f"got {valid_fraction} of {len(train)} samples"
        )
    if key is None:
        raise ValueError("valid_fraction draws samples and needs a key, key=jax.random.key(0)")
    order = generator(key).permutation(len(train))
    kept, held = np.sort(order[n_valid:]), np.sort(order[:n_valid])
    return Dataset(to_jax(train[kept]), to_jax(train[held]), to_jax(test), info)


_JAPANESE_VOWELS = DatasetInfo(
    name="japanese_vowels",
    task="classification",
    input_size=12,
    output_size=9,
    description="Tell nine speakers apart by 7 to 29 frames of 12 cepstral coefficients.",
    source="UCI Machine Learning Repository, doi:10.24432/C5NS47, in the format of the UEA archive",
    citation="Kudo, Toyama and Shimbo 1999, Pattern Recognition Letters 20:1103-1111, "
    "doi:10.1016/S0167-8655(99)00077-X",
    licence="CC BY 4.0",
    splits="the official ones: 270 train (30 a speaker), 370 test (24 to 88 a speaker)",
    baselines=(
        Baseline("largest class", "accuracy", 0.238, "88 of 370"),
        Baseline("logistic regression, mean frame", "accuracy", 0.968, "measured, scikit-learn"),
        Baseline(
            "logistic regression, mean, std, first, last, length",
            "accuracy",
            0.989,
            "measured, scikit-learn",
        ),
        Baseline("GRU, 64 units", "accuracy", 0.967, "measured, equinox, 800 Adam steps, 3 seeds"),
        Baseline("LSTM, 64 units", "accuracy", 0.961, "measured, equinox, 800 Adam steps, 3 seeds"),
        Baseline(
            "echo state network, 500 units, last state, ridge",
            "accuracy",
            0.990,
            "measured, reservoirpy 0.4.2, 3 seeds",
        ),
        Baseline("echo state network, last state", "accuracy", 0.873, "reservoirpy, tutorial 5"),
        Baseline("echo state network, every state", "accuracy", 0.928, "reservoirpy, tutorial 5"),
        Baseline(
            "reservoir model space", "accuracy", 0.981, "notebooks of Bianchi, arXiv:1803.07870"
        ),
        Baseline("signature kernel", "accuracy", 0.986, "KSig, arXiv:2311.12214"),
        Baseline("global alignment kernel", "accuracy", 0.981, "KSig, arXiv:2311.12214"),
        Baseline("random warping series", "accuracy", 0.955, "KSig, arXiv:2311.12214"),
    ),
)


def japanese_vowels(
    *,
    key: Array | None = None,
    valid_fraction: float | int = 0.0,
    normalise: bool = True,
    length: int = 29,
    path: AnyPath | None = None,
) -> Dataset:
    """Nine speakers say two Japanese vowels: who speaks?

    `x` is (29, 12), padded with zeros on the right; `mask` says which of the frames are there, 7 to
    26 in training and 7 to 29 in testing; `y` is the speaker, 0 to 8. The splits are the official
    ones, 270 and 370 utterances; `valid_fraction` of the training part, drawn with `key`, can be
    held out (by default none, and `valid` is None). `normalise` standardises each coefficient with
    its mean and deviation over the frames of the 270 training utterances.

    Raises ValueError if `length` is below 29, FileNotFoundError as `locate` does.
    """
    if length < 29:
        raise ValueError(f"expected length of at least 29, the longest utterance, got {length}")
    with np.load(locate("japanese_vowels", "japanese_vowels.npz", path)) as file:
        arrays = dict(file)
    info, mean, std = _JAPANESE_VOWELS, np.zeros(12), np.ones(12)
    if normalise:
        mean, std = moments(arrays["train_x"].astype(np.float64))
        info = dataclasses.replace(info, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def split(name):
        frames = (arrays[f"{name}_x"] - mean) / std
        mask = np.arange(length) < arrays[f"{name}_lengths"][:, None]
        x = np.zeros((*mask.shape, 12), np.float32)
        x[mask] = frames
        labels = arrays[f"{name}_y"].astype(np.int32)
        return Batch(x, labels, mask)

    return assemble(split("train"), split("test"), info, valid_fraction, key)


def digits(
    *,
    key: Array | None = None,
    rows: bool = False,
    permute: bool = False,
    valid_fraction: float | int = 0.0,
) -> Dataset:
    """Handwritten digits of 8 by 8 pixels, pixel by pixel (needs scikit-learn).

    `x` is (64, 1), the pixels row after row, or with `rows=True` (8, 8), one row a step; values 0
    to 1. `y` is the digit. `permute=True` shuffles the pixels of all images in one fixed way,
    `RandomState(92916).permutation(64)`, so that neighbours in time say nothing any more.

    The file is in the order of the writers: the last 360 images are the test part and its writers
    are not in the training part, the first 1437, which is harder than a shuffled split.
    `valid_fraction` of the training part, drawn with `key`, can be held out (by default none, and
    `valid` is None).

    Raises ImportError without scikit-learn, ValueError for `rows` together with `permute`.
    """
    if rows and permute:
        raise ValueError("permute shuffles single pixels: it needs rows=False")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("the digits come with scikit-learn", "data", error) from error
    pixels, labels = load_digits(return_X_y=True)
    x = np.asarray(pixels, np.float32)[:, :, None] / 16
    if permute:
        x = x[:, np.random.RandomState(PERMUTATION_SEED).permutation(64)]
    if rows:
        x = x.reshape(-1, 8, 8)
    everything = Batch(x, np.asarray(labels, np.int32))
    info = _digits_info(rows, permute)
    return assemble(everything[:1437], everything[1437:], info, valid_fraction, key)


def _digits_info(rows: bool, permute: bool) -> DatasetInfo:
    measured = "measured, equinox, 2000 Adam steps"
    gru, lstm = (0.72, 0.74) if permute else (0.844, 0.863)
    recurrent = (
        Baseline("GRU, 64 units", "accuracy", gru, measured),
        Baseline("LSTM, 64 units", "accuracy", lstm, measured),
    )
    return DatasetInfo(
        name="digits",
        task="classification",
        input_size=8 if rows else 1,
        output_size=10,
        description="Handwritten digits of 8 by 8 pixels as sequences of 64 pixels or 8 rows.",
        source="UCI Machine Learning Repository, doi:10.24432/C50P49, through scikit-learn",
        citation="Alpaydin and Kaynak 1998, Cascading classifiers, Kybernetika 34:369-374",
        licence="CC BY 4.0",
        splits="file order: the first 1437 train, the last 360, of other writers, test",
        baselines=(
            Baseline("logistic regression", "accuracy", 0.900, "measured, scikit-learn"),
            *(() if rows else recurrent),
        ),
    )


def santafe_laser(
    *,
    horizon: int = 1,
    length: int | None = 100,
    stride: int = 10,
    n_train: int = 2_000,
    n_valid: int = 5_000,
    n_test: int = 3_000,
    normalise: bool = True,
    path: AnyPath | None = None,
) -> Dataset:
    """Forecast the intensity of a chaotic far-infrared laser, data set A of the Santa Fe contest.

    `x` and `y` are (time, 1), the intensity (0 to 255 of an 8-bit converter) now and `horizon`
    samples later. The parts are consecutive, 2000, 5000 and 3000 of the 10 093 samples; the last 93
    are not used. The train part is cut into windows of `length`, one every `stride` steps
    (`length=None`: one sequence); the others are one sequence each. `normalise` standardises all
    with the train part's mean and deviation.
    """
    with np.load(locate("santafe_laser", "santafe_laser.npz", path)) as file:
        series = file["intensity"].astype(np.float64)[:, None]
    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="santafe_laser",
        task="forecasting",
        input_size=1,
        output_size=1,
        description=f"Forecast the intensity of a chaotic NH3 laser, horizon {horizon}.",
        source="Santa Fe time series competition, data set A with its continuation; "
        "the copy of J. McNames in reservoirpy",
        citation="Huebner, Abraham and Weiss 1989, Physical Review A 40:6354, "
        "doi:10.1103/PhysRevA.40.6354; Weigend and Gershenfeld 1993",
        licence="none stated; the package it was taken from is under the MIT licence",
        splits=splits(sizes),
        baselines=(
            Baseline(
                "echo state network, 300 units, one step, tuned on the test part",
                "nmse",
                0.003,
                "measured, reservoirpy 0.4.2",
            ),
        ),
    )
    return forecasting(
        consecutive(Part(series), sizes),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


def sunspots_yearly(
    *,
    horizon: int = 1,
    length: int | None = 44,
    stride: int = 4,
    normalise: bool = True,
    path: AnyPath | None = None,
) -> Dataset:
    """Forecast the yearly sunspot number, 1700 to 2008.

    `x` and `y` are (time, 1). The train part is 1700 to 1920, the years on which the sunspot
    literature trains, validation is 1921 to 1955 and the test is 1956 to 2008. The train part is
    cut into windows of `length` (44 years are four solar cycles), one every `stride` years
    (`length=None`: one sequence); the others are one sequence each. `normalise` standardises all
    with the train part's mean and deviation.
    """
    file = locate("sunspots_yearly", "sunspots_yearly.csv", path)
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    series = Part(np.array([[float(row["sunspots"])] for row in rows]))
    info = DatasetInfo(
        name="sunspots_yearly",
        task="forecasting",
        input_size=1,
        output_size=1,
        description=f"Forecast the yearly sunspot number, horizon {horizon}.",
        source="National Geophysical Data Center (NOAA), through statsmodels",
        citation="Yearly sunspot data 1700-2008, National Geophysical Data Center",
        licence="public domain",
        splits="1700-1920 train, cut into windows; 1921-1955 valid; 1956-2008 test",
    )
    return forecasting(
        (series.between(0, 221), series.between(221, 256), series.between(256, None)),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


def co2_weekly(
    *,
    missing: str = "dt",
    horizon: int = 1,
    length: int | None = 104,
    stride: int = 13,
    normalise: bool = True,
    path: AnyPath | None = None,
) -> Dataset:
    """Forecast the weekly concentration of carbon dioxide at Mauna Loa, 1958 to 2001, in ppm.

    59 of the 2284 weeks are missing. With `missing="dt"` they are left out, the steps are the 2225
    observed weeks, `dt` is the number of weeks since the observation before (1 for the first), and
    the target is the `horizon`-th next observation. With `missing="mask"` every week is a step, the
    target is the value `horizon` weeks later, and `mask` is False where either of the two is
    missing; `x` and `y` are zero there.

    `x` and `y` are (time, 1). The train part ends with 1985, validation is 1986 to 1991 and the
    test is 1992 to 2001. The train part is cut into windows of `length`, one every `stride` steps
    (`length=None`: one sequence); the others are one sequence each. `normalise` standardises all
    with the train part's mean and deviation; the concentration rises, so test values lie beyond
    those seen in training.
    """
    if missing not in ("dt", "mask"):
        raise ValueError(f"expected missing 'dt' or 'mask', got {missing!r}")
    dates, values = _read_co2(locate("co2_weekly", "co2_weekly.csv.gz", path))
    seen = np.isfinite(values)
    if missing == "dt":
        weeks = np.flatnonzero(seen)
        dates = dates[seen]
        series = Part(values[seen, None], dt=np.diff(weeks, prepend=weeks[0] - 1))
    else:
        series = Part(np.where(seen, values, 0)[:, None], mask=seen)
    first, second = (int(np.searchsorted(dates, year)) for year in ("1986", "1992"))
    info = DatasetInfo(
        name="co2_weekly",
        task="forecasting",
        input_size=1,
        output_size=1,
        description="Forecast the weekly carbon dioxide concentration at Mauna Loa; "
        "59 of 2284 weeks are missing.",
        source="Carbon Dioxide Information Analysis Center, through statsmodels",
        citation="Keeling and Whorf 2004, Atmospheric CO2 concentrations derived from flask air "
        "samples at sites in the SIO network",
        licence="public domain",
        splits="until 1985 train, cut into windows; 1986-1991 valid; 1992-2001 test",
    )
    return forecasting(
        (
            series.between(0, first),
            series.between(first, second),
            series.between(second, None),
        ),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


def _read_co2(file) -> tuple[np.ndarray, np.ndarray]:
    """ISO dates as strings, and values with NaN for the missing weeks."""
    with gzip.open(file, "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    dates = [datetime.date.fromisoformat(row["date"]).isoformat() for row in rows]
    return np.array(dates), np.array([float(row["co2"] or "nan") for row in rows])
