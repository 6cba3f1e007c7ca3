"""Chaotic series as data sets: forecast them from their own past."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jax import Array

from .._common.checks import check_positive
from ._forecasting import Part, consecutive, forecasting, splits, steps_needed
from ._generator import generator
from .dataset import GENERATED, Dataset, DatasetInfo
from .series import (
    double_scroll_series,
    henon_series,
    kuramoto_sivashinsky_series,
    logistic_map_series,
    lorenz96_series,
    lorenz_series,
    mackey_glass_series,
    multi_scroll_series,
    rabinovich_fabrikant_series,
    rossler_series,
)


@dataclass(frozen=True)
class _System:
    """What a data set needs to know of the system that it shows.

    - `what`: the system, as the object of "Forecast"; `called`: the call of `series`, in words.
    - `spread`: starts are drawn uniformly from the default start plus or minus this.
    - `washout`: samples that are enough to forget the start.
    """

    name: str
    what: str
    series: Callable[..., np.ndarray]
    called: str
    features: int
    spread: float
    washout: int
    citation: str


class _Cut(NamedTuple):
    """How a series becomes windows to learn from."""

    length: int | None
    stride: int
    horizon: int
    normalise: bool


class _About(NamedTuple):
    """The words for a data set."""

    name: str
    what: str
    citation: str


def _data_set(system: _System):  # no return annotation: type checkers then see the options
    """The function that `load` calls, with a docstring and defaults of its own."""

    def load(
        *,
        key: Array,
        horizon: int = 1,
        length: int | None = 100,
        stride: int = 10,
        n_train: int = 2_000,
        n_valid: int = 500,
        n_test: int = 2_000,
        washout: int = system.washout,
        noise: float | int = 0.0,
        normalise: bool = True,
    ) -> Dataset:
        sizes = (n_train, n_valid, n_test)
        n_steps = steps_needed(sizes, washout)
        default = np.asarray(system.series(1)[0])
        rng = generator(key)
        start = default + rng.uniform(-system.spread, system.spread, default.shape)
        series = system.series(n_steps, x0=start.tolist())
        return _forecast(
            _observed(series, sizes, noise, rng),
            sizes,
            _About(system.name, system.what, system.citation),
            _Cut(length, stride, horizon, normalise),
        )

    load.__name__ = load.__qualname__ = system.name
    load.__doc__ = f"""Forecast {system.what} `horizon` samples ahead.

    There is one series ({system.called})
    from a random start, the default `x0` + U(-{system.spread:g}, {system.spread:g}); its first
    `washout` samples are thrown away. `x` and `y` are (time, {system.features}). The train part is
    cut into windows of `length`, one every `stride` steps (`length=None`: one sequence); the
    validation and the test part are one sequence each. `noise`, in deviations of the train part,
    is that of a measurement: normal numbers, independent from sample to sample, on the train and
    the validation part; the test part stays as the system is. `normalise` standardises all with the
    train part's mean and deviation.

    {system.citation}.
    """
    return load


def _observed(
    series: np.ndarray, sizes: tuple[int, int, int], noise: float | int, rng: np.random.Generator
) -> np.ndarray:
    """The series as a measurement sees it, with noise before the test part."""
    check_positive("noise", float(noise), zero=True)
    if not noise:
        return series
    values = series.reshape(len(series), -1).copy()
    first = len(values) - sum(sizes)
    deviation = values[first : first + sizes[0]].std(axis=0)
    seen = values[: len(values) - sizes[2]]
    seen += noise * deviation * rng.normal(size=seen.shape)
    return values


def _forecast(series: np.ndarray, sizes: tuple[int, int, int], about: _About, cut: _Cut) -> Dataset:
    """The last steps of the series, as many as `sizes` ask for, as a data set."""
    values = series.reshape(len(series), -1)[len(series) - sum(sizes) :]
    info = DatasetInfo(
        name=about.name,
        task="forecasting",
        input_size=values.shape[1],
        output_size=values.shape[1],
        description=f"Forecast {about.what}, horizon {cut.horizon}.",
        source="generated",
        citation=about.citation,
        licence=GENERATED,
        splits=splits(sizes),
    )
    return forecasting(consecutive(Part(values), sizes), info, **cut._asdict())


def mackey_glass(
    *,
    key: Array,
    tau: float | int = 17.0,
    horizon: int = 1,
    length: int | None = 100,
    stride: int = 10,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 2_000,
    washout: int = 500,
    normalise: bool = True,
) -> Dataset:
    """Forecast the Mackey-Glass series `horizon` steps ahead.

    There is one series (`mackey_glass_series`, h = 1) from a random history, 1.2 + U(-0.1, 0.1);
    its first `washout` steps are thrown away. `x` and `y` are (time, 1). The train part is cut into
    windows of `length`, one every `stride` steps (`length=None`: one sequence); the validation and
    the test part are one sequence each. `normalise` standardises all with the train part's mean and
    deviation.
    """
    sizes = (n_train, n_valid, n_test)
    n_steps = steps_needed(sizes, washout)
    history = 1.2 + generator(key).uniform(-0.1, 0.1, round(tau))
    return _forecast(
        mackey_glass_series(n_steps, tau=tau, history=history),
        sizes,
        _About(
            "mackey_glass",
            f"the chaotic Mackey-Glass series (tau = {tau:g})",
            "Mackey and Glass 1977, doi:10.1126/science.267326",
        ),
        _Cut(length, stride, horizon, normalise),
    )


henon = _data_set(
    _System(
        "henon",
        "the Henon map",
        henon_series,
        "`henon_series`",
        features=2,
        spread=0.1,
        washout=100,
        citation="Henon 1976, doi:10.1007/BF01608556",
    )
)

logistic_map = _data_set(
    _System(
        "logistic_map",
        "the logistic map (r = 3.9)",
        logistic_map_series,
        "`logistic_map_series`",
        features=1,
        spread=0.1,
        washout=100,
        citation="May 1976, doi:10.1038/261459a0",
    )
)

lorenz = _data_set(
    _System(
        "lorenz",
        "the chaotic Lorenz system (sampled at 0.03)",
        lorenz_series,
        "`lorenz_series`, a sample every 0.03 time units",
        features=3,
        spread=0.5,
        washout=500,
        citation="Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2",
    )
)

rossler = _data_set(
    _System(
        "rossler",
        "the chaotic Roessler system (sampled at 0.1)",
        rossler_series,
        "`rossler_series`, a sample every 0.1 time units",
        features=3,
        spread=0.1,
        washout=500,
        citation="Roessler 1976, doi:10.1016/0375-9601(76)90101-8",
    )
)

rabinovich_fabrikant = _data_set(
    _System(
        "rabinovich_fabrikant",
        "the chaotic Rabinovich-Fabrikant equations (gamma = 0.87, sampled at 0.05)",
        # With the default gamma the series runs away before it is long enough.
        partial(rabinovich_fabrikant_series, gamma=0.87),
        "`rabinovich_fabrikant_series(gamma=0.87)`, a sample every 0.05 time units",
        features=3,
        spread=0.01,
        washout=1_000,
        citation="Rabinovich and Fabrikant 1979, Sov. Phys. JETP 50, 311",
    )
)

double_scroll = _data_set(
    _System(
        "double_scroll",
        "the chaotic double-scroll circuit (sampled at 0.25)",
        double_scroll_series,
        "`double_scroll_series`, a sample every 0.25 time units",
        features=3,
        spread=0.05,
        washout=500,
        citation="Gauthier et al. 2021, doi:10.1038/s41467-021-25801-2",
    )
)

multi_scroll = _data_set(
    _System(
        "multi_scroll",
        "the chaotic Chen system (sampled at 0.01)",
        multi_scroll_series,
        "`multi_scroll_series`, a sample every 0.01 time units",
        features=3,
        spread=0.1,
        washout=500,
        citation="Chen and Ueta 1999, doi:10.1142/S0218127499001024",
    )
)

lorenz96 = _data_set(
    _System(
        "lorenz96",
        "the chaotic Lorenz-96 ring (36 sites, sampled at 0.01)",
        lorenz96_series,
        "`lorenz96_series`, a sample every 0.01 time units",
        features=36,
        spread=0.5,
        washout=1_000,
        citation="Lorenz 1996, doi:10.1017/CBO9780511617652.004",
    )
)

kuramoto_sivashinsky = _data_set(
    _System(
        "kuramoto_sivashinsky",
        "the chaotic Kuramoto-Sivashinsky equation (128 sites, sampled at 0.25)",
        kuramoto_sivashinsky_series,
        "`kuramoto_sivashinsky_series`, a sample every 0.25 time units",
        features=128,
        spread=0.1,
        washout=1_000,
        citation="Kuramoto 1978, doi:10.1143/PTPS.64.346; "
        "Sivashinsky 1977, doi:10.1016/0094-5765(77)90096-0",
    )
)
