"""Sums of sinusoids, and the NARMA systems: nonlinear, with memory of their input.

The generators work in float64 with NumPy; the data sets hold float32. The chaotic series are in
`series.py`, their data sets in `chaos.py`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jax import Array

from ._forecasting import Part, consecutive, forecasting, moments, splits, steps_needed
from ._generator import generator
from ._integrate import check_steps
from .dataset import GENERATED, Baseline, Dataset, DatasetInfo
from .windowing import cut


MSO_FREQUENCIES = (0.2, 0.311, 0.42, 0.51, 0.63, 0.74, 0.85, 0.97)


# a1, a2, b and c.
NARMA10 = (0.3, 0.05, 1.5, 0.1)
NARMA30 = (0.2, 0.04, 1.5, 0.001)


def narma_series(
    n_steps: int,
    *,
    key: Array,
    order: int = 10,
    a1: float | int | None = None,
    a2: float | int | None = None,
    b: float | int | None = None,
    c: float | int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""A NARMA system of any order n: its input `u` and its output `y`, (n_steps,) float64 each.

    $$y_{t+1} = a_1 y_t + a_2 y_t \sum_{i=0}^{n-1} y_{t-i} + b\,u_{t-n+1}\,u_t + c$$

    with u drawn uniformly from [0, 0.5] and y and u zero before the first step. Coefficients that
    are None are those of the tenth-order system (0.3, 0.05, 1.5, 0.1) for orders up to 10, beyond
    which it has no bounded output, and those of the thirtieth-order system (0.2, 0.04, 1.5, 0.001)
    for higher orders. Inputs that make the system diverge are drawn again.

    Raises ValueError for an order below 1 or a negative n_steps, RuntimeError where 100 draws
    diverge. Atiya and Parlos (2000), doi:10.1109/72.846741; of order 30 Schrauwen et al. (2008),
    doi:10.1016/j.neucom.2007.12.020.
    """
    if order < 1:
        raise ValueError(f"expected an order of at least 1, got {order}")
    given, usual = (a1, a2, b, c), NARMA10 if order <= 10 else NARMA30
    settings = [u if g is None else g for g, u in zip(given, usual)]
    respond = partial(_narma, order=order, settings=tuple(settings))
    return _bounded(respond, n_steps, key, order, _divergence(order, *settings[:2]))


def narma10_series(n_steps: int, *, key: Array) -> tuple[np.ndarray, np.ndarray]:
    r"""The NARMA10 system: its input `u` and its output `y`, (n_steps,) float64 each.

    $$y_{t+1} = 0.3\,y_t + 0.05\,y_t \sum_{i=0}^{9} y_{t-i} + 1.5\,u_{t-9}\,u_t + 0.1$$

    with u drawn uniformly from [0, 0.5] and y and u zero before the first step. Rare inputs make
    the system diverge; they are drawn again. `narma_series` has other orders. Atiya and Parlos
    (2000), doi:10.1109/72.846741.
    """
    return _bounded(_narma10, n_steps, key, 10, _divergence(10, *NARMA10[:2]))


def _bounded(
    respond: Callable[[np.ndarray], np.ndarray], n_steps: int, key: Array, order: int, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """An input and its response, drawn again until the response stays below `limit`."""
    check_steps(n_steps)
    rng = generator(key)
    for _ in range(100):
        u = rng.uniform(0, 0.5, n_steps)
        y = respond(u)
        if np.all(np.abs(y) < limit):
            return u, y
    raise RuntimeError(
        f"no bounded NARMA{order} series of {n_steps} steps in 100 draws: "
        "take fewer, or smaller coefficients"
    )


def _divergence(order: int, a1: float, a2: float) -> float:
    """Past this output the quadratic term has taken over for good.

    It wins over the linear one where a constant output y > a1 y + a2 n y^2 no longer shrinks; the
    tenth-order system, whose bounded runs stay below 1.3, does so at 1.4, and 2 is past doubt.
    """
    return 2 / 1.4 * (1 - a1) / (a2 * order) if a1 < 1 and a2 > 0 else np.inf


def _narma(u: np.ndarray, order: int, settings: tuple[float, ...]) -> np.ndarray:
    """The response to `u`, in plain floats, which overflow to infinity without a warning."""
    a1, a2, b, c = settings
    inputs, y = [0.0] * (order - 1) + u.tolist(), [0.0] * order
    for t in range(len(u) - 1):
        recent = sum(y[-order:])
        y.append(a1 * y[-1] + a2 * y[-1] * recent + b * inputs[t] * inputs[t + order - 1] + c)
    return np.array(y[order - 1 :])[: len(u)]


_narma10 = partial(_narma, order=10, settings=NARMA10)


def multiple_sinusoids_series(
    n_steps: int, *, frequencies: Sequence[float] = MSO_FREQUENCIES
) -> np.ndarray:
    r"""Multiple superimposed oscillators, (n_steps,) float64.

    $$y_t = \sum_i \sin(f_i t), \quad t = 0, 1, \dots$$

    with frequencies in radians a step. The default is MSO8; its first two are MSO2. Wierstra,
    Gomez and Schmidhuber (2005); Koryakin, Lohmann and Butz (2012).
    """
    check_steps(n_steps)
    return np.sin(np.outer(np.arange(n_steps), frequencies)).sum(axis=1)


def multiple_sinusoids(
    *,
    frequencies: Sequence[float] = MSO_FREQUENCIES,
    horizon: int = 1,
    length: int | None = 100,
    stride: int = 10,
    n_train: int = 400,
    n_valid: int = 0,
    n_test: int = 300,
    normalise: bool = True,
) -> Dataset:
    """Forecast a sum of sinusoids with incommensurable frequencies (MSO8 by default).

    It is `multiple_sinusoids_series` from t = 0; nothing in it is drawn by chance. `x` and `y` are
    (time, 1). The train part, steps 0 to 399, is cut into windows of `length`, one every `stride`
    steps (`length=None`: one sequence); the test part, the next 300 steps, is one sequence. There
    is no validation part unless `n_valid` steps are asked for. `normalise` standardises all with
    the train part's mean and deviation.
    """
    sizes = (n_train, n_valid, n_test)
    series = multiple_sinusoids_series(sum(sizes), frequencies=frequencies)
    info = DatasetInfo(
        name="multiple_sinusoids",
        task="forecasting",
        input_size=1,
        output_size=1,
        description=f"Forecast the sum of {len(frequencies)} sinusoids, horizon {horizon}.",
        source="generated",
        citation="Wierstra, Gomez and Schmidhuber 2005; Koryakin, Lohmann and Butz 2012",
        licence=GENERATED,
        splits=splits(sizes),
    )
    return forecasting(
        consecutive(Part(series[:, None]), sizes),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


def narma(
    *,
    key: Array,
    order: int = 10,
    length: int | None = 200,
    stride: int = 20,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 2_000,
    washout: int = 100,
    normalise: bool = True,
) -> Dataset:
    """Imitate a NARMA system of any order: from its input, say its output.

    There is one pair of series (`narma_series` with the coefficients that it has for `order`; at
    order 30 they are the usual ones of NARMA30), whose first `washout` steps are thrown away.
    Shapes, windows and `normalise` are those of `narma10`, which it is at order 10. The first
    `order` steps of a window depend on inputs before it.
    """
    sizes = (n_train, n_valid, n_test)
    series = narma_series(steps_needed(sizes, washout) + 1, order=order, key=key)
    info = _narma_card("narma", f"the NARMA system of order {order}", sizes)
    return _imitation(series, sizes, info, length, stride, normalise)


def narma10(
    *,
    key: Array,
    length: int | None = 200,
    stride: int = 20,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 2_000,
    washout: int = 100,
    normalise: bool = True,
) -> Dataset:
    """Imitate the NARMA10 system: from its input, say its output.

    There is one pair of series (`narma10_series`), whose first `washout` steps are thrown away. `x`
    and `y` are (time, 1): input u_t and target y_{t+1}, the first output that feels u_t. The train
    part is cut into windows of `length`, one every `stride` steps (`length=None`: one sequence);
    the validation and the test part are one sequence each. The first ten steps of a window depend
    on inputs before it, so no model is perfect there. `normalise` standardises inputs and targets,
    each with its train part's mean and deviation, so the mse is close to the published nmse; the
    info holds those of the input.
    """
    sizes = (n_train, n_valid, n_test)
    series = narma10_series(steps_needed(sizes, washout) + 1, key=key)
    baseline = Baseline(
        "echo state network, 200 units, bias input",
        "nmse",
        0.067,
        "measured with reservoirpy 0.4.2",
    )
    info = _narma_card("narma10", "the tenth-order NARMA system", sizes, baseline)
    return _imitation(series, sizes, info, length, stride, normalise)


def _narma_card(
    name: str, system: str, sizes: tuple[int, int, int], *baselines: Baseline
) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        task="regression",
        input_size=1,
        output_size=1,
        description=f"Say the output of {system} from its input.",
        source="generated",
        citation="Atiya and Parlos 2000, doi:10.1109/72.846741",
        licence=GENERATED,
        splits=splits(sizes),
        baselines=baselines,
    )


def _imitation(
    series: tuple[np.ndarray, np.ndarray],
    sizes: tuple[int, int, int],
    info: DatasetInfo,
    length: int | None,
    stride: int,
    normalise: bool,
) -> Dataset:
    """The last inputs, as many as `sizes` ask for, each with the output that first feels it."""
    u, y = series
    start = len(u) - 1 - sum(sizes)
    parts = consecutive(Part(np.stack([u[start:-1], y[start + 1 :]], axis=1)), sizes)
    mean, std = moments(parts[0].values) if normalise else (np.zeros(2), np.ones(2))
    if normalise:
        info = dataclasses.replace(info, mean=(float(mean[0]),), std=(float(std[0]),))

    def to_batch(part, length=None, stride=1):
        values = ((part.values - mean) / std).astype(np.float32)
        return cut(values[:, :1], values[:, 1:], None, None, length, stride)

    train, valid, test = parts
    valid_batch = to_batch(valid) if len(valid.values) else None
    return Dataset(to_batch(train, length, stride), valid_batch, to_batch(test), info)
