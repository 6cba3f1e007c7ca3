"""Generated time series: chaotic flows, a nonlinear system with memory, sums of sinusoids.

The generators integrate in float64 with NumPy, since chaos makes every rounding visible; the data
sets hold float32.
"""

from collections.abc import Sequence

import numpy as np
from jax import Array

from ._forecasting import Part, consecutive, forecasting, moments, splits
from ._random import generator
from .batches import cut
from .dataset import GENERATED, Baseline, Dataset, DatasetInfo


MSO_FREQUENCIES = (0.2, 0.311, 0.42, 0.51, 0.63, 0.74, 0.85, 0.97)


def mackey_glass_series(
    n_steps: int,
    *,
    tau: float | int = 17.0,
    a: float | int = 0.2,
    b: float | int = 0.1,
    n: float | int = 10.0,
    x0: float | int = 1.2,
    h: float | int = 1.0,
    history: np.ndarray | None = None,
) -> np.ndarray:
    r"""The Mackey-Glass series, (n_steps,) float64, beginning with `x0`.

    $$\dot x(t) = \frac{a\,x(t-\tau)}{1 + x(t-\tau)^n} - b\,x(t)$$

    Chaotic from tau = 17 on. One step of the classical Runge-Kutta method for each step of length
    `h`, with the delayed value held over the step, which is the convention of the reservoir
    literature; it errs by O(h), so smaller `h` approaches the delay equation. `history` holds the
    `tau / h` values before `x0`, oldest first; by default they equal `x0`.

    Raises ValueError if `tau / h` is not a whole number of at least 1, or the history has another
    length. Mackey and Glass (1977), doi:10.1126/science.267326.
    """
    lag = round(tau / h)
    if lag < 1 or abs(lag * h - tau) > 1e-9 * tau:
        raise ValueError(f"expected tau / h to be a whole number >= 1, got tau {tau} and h {h}")
    past = [float(x0)] * lag if history is None else np.asarray(history, np.float64).tolist()
    if len(past) != lag:
        raise ValueError(f"expected a history of tau / h = {lag} values, got {len(past)}")

    x, series = float(x0), past
    for step in range(n_steps):
        series.append(x)
        delayed = series[step]
        gain = a * delayed / (1 + delayed**n)
        k1 = gain - b * x
        k2 = gain - b * (x + h * k1 / 2)
        k3 = gain - b * (x + h * k2 / 2)
        k4 = gain - b * (x + h * k3)
        x += h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return np.array(series[lag:])


def lorenz_series(
    n_steps: int,
    *,
    sigma: float | int = 10.0,
    rho: float | int = 28.0,
    beta: float | int = 8.0 / 3.0,
    x0: Sequence[float] = (1.0, 1.0, 1.0),
    h: float | int = 0.03,
    substeps: int = 3,
) -> np.ndarray:
    r"""The Lorenz system, (n_steps, 3) float64, sampled every `h` time units, beginning with `x0`.

    $$\dot x = \sigma(y - x), \quad \dot y = x(\rho - z) - y, \quad \dot z = xy - \beta z$$

    `substeps` steps of the classical Runge-Kutta method between two samples. Lorenz (1963),
    doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2.
    """

    def flow(x, y, z):
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    def moved(state, slope, by):
        return tuple(s + by * k for s, k in zip(state, slope))

    def runge_kutta(state, dt):
        k1 = flow(*state)
        k2 = flow(*moved(state, k1, dt / 2))
        k3 = flow(*moved(state, k2, dt / 2))
        k4 = flow(*moved(state, k3, dt))
        return moved(state, [p + 2 * q + 2 * r + s for p, q, r, s in zip(k1, k2, k3, k4)], dt / 6)

    state, series = tuple(float(value) for value in x0), []
    for _ in range(n_steps):
        series.append(state)
        for _ in range(substeps):
            state = runge_kutta(state, h / substeps)
    return np.array(series).reshape(-1, 3)


def narma10_series(n_steps: int, *, key: Array) -> tuple[np.ndarray, np.ndarray]:
    r"""The NARMA10 system: its input `u` and its output `y`, (n_steps,) float64 each.

    $$y_{t+1} = 0.3\,y_t + 0.05\,y_t \sum_{i=0}^{9} y_{t-i} + 1.5\,u_{t-9}\,u_t + 0.1$$

    with u drawn uniformly from [0, 0.5] and y and u zero before the first step. Rare inputs make
    the system diverge; they are drawn again. Atiya and Parlos (2000), doi:10.1109/72.846741.
    """
    rng = generator(key)
    for _ in range(100):
        u = rng.uniform(0, 0.5, n_steps)
        y = _narma10(u)
        # Bounded runs stay below about 1.3; past 2 the quadratic term has taken over for good.
        if np.all(np.abs(y) < 2):
            return u, y
    raise RuntimeError(f"no bounded NARMA10 series of {n_steps} steps in 100 draws: take fewer")


def _narma10(u: np.ndarray) -> np.ndarray:
    """The response to `u`; plain floats, which overflow to infinity without a warning."""
    inputs, y = [0.0] * 9 + u.tolist(), [0.0] * 10
    for t in range(len(u) - 1):
        recent = sum(y[-10:])
        y.append(0.3 * y[-1] + 0.05 * y[-1] * recent + 1.5 * inputs[t] * inputs[t + 9] + 0.1)
    return np.array(y[9:])


def multiple_sinusoids_series(
    n_steps: int, *, frequencies: Sequence[float] = MSO_FREQUENCIES
) -> np.ndarray:
    r"""Multiple superimposed oscillators, (n_steps,) float64.

    $$y_t = \sum_i \sin(f_i t), \quad t = 0, 1, \dots$$

    with frequencies in radians a step. The default is MSO8; its first two are MSO2. Wierstra,
    Gomez and Schmidhuber (2005); Koryakin, Lohmann and Butz (2012).
    """
    return np.sin(np.outer(np.arange(n_steps), frequencies)).sum(axis=1)


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

    One series (`mackey_glass_series`, h = 1) from a random history, 1.2 + U(-0.1, 0.1), whose first
    `washout` steps are thrown away. `x` and `y` are (time, 1). The train part is cut into windows
    of `length`, one every `stride` steps (`length=None`: one sequence); the validation and the test
    part are one sequence each. `normalise` standardises all with the train part's mean and
    deviation.
    """
    sizes = (n_train, n_valid, n_test)
    history = 1.2 + generator(key).uniform(-0.1, 0.1, round(tau))
    series = mackey_glass_series(washout + sum(sizes), tau=tau, history=history)
    info = DatasetInfo(
        name="mackey_glass",
        task="forecasting",
        input_size=1,
        output_size=1,
        description=f"Forecast the chaotic Mackey-Glass series (tau = {tau:g}), horizon {horizon}.",
        source="generated",
        citation="Mackey and Glass 1977, doi:10.1126/science.267326",
        licence=GENERATED,
        splits=splits(sizes),
    )
    return forecasting(
        consecutive(Part(series[washout:, None]), sizes),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


def lorenz(
    *,
    key: Array,
    horizon: int = 1,
    length: int | None = 100,
    stride: int = 10,
    n_train: int = 2_000,
    n_valid: int = 500,
    n_test: int = 2_000,
    washout: int = 500,
    normalise: bool = True,
) -> Dataset:
    """Forecast the three coordinates of the Lorenz system `horizon` samples ahead.

    One series (`lorenz_series`, a sample every 0.03 time units) from a random start,
    (1, 1, 1) + U(-0.5, 0.5), whose first `washout` samples are thrown away. `x` and `y` are
    (time, 3). The train part is cut into windows of `length`, one every `stride` steps
    (`length=None`: one sequence); the validation and the test part are one sequence each.
    `normalise` standardises all with the train part's mean and deviation.
    """
    sizes = (n_train, n_valid, n_test)
    start = 1 + generator(key).uniform(-0.5, 0.5, 3)
    series = lorenz_series(washout + sum(sizes), x0=start.tolist())
    info = DatasetInfo(
        name="lorenz",
        task="forecasting",
        input_size=3,
        output_size=3,
        description=f"Forecast the chaotic Lorenz system (sampled at 0.03), horizon {horizon}.",
        source="generated",
        citation="Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2",
        licence=GENERATED,
        splits=splits(sizes),
    )
    return forecasting(
        consecutive(Part(series[washout:]), sizes),
        info,
        length=length,
        stride=stride,
        horizon=horizon,
        normalise=normalise,
    )


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

    `multiple_sinusoids_series` from t = 0; nothing in it is drawn by chance. `x` and `y` are
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

    One pair of series (`narma10_series`), the first `washout` steps thrown away. `x` and `y` are
    (time, 1): input u_t and target y_{t+1}, the first output that feels u_t. The train part is cut
    into windows of `length`, one every `stride` steps (`length=None`: one sequence); the validation
    and the test part are one sequence each. The first ten steps of a window depend on inputs before
    it, so no model is perfect there. `normalise` standardises inputs and targets, each with its
    train part's mean and deviation, so the mse is close to the published nmse; the info holds those
    of the input.
    """
    sizes = (n_train, n_valid, n_test)
    u, y = narma10_series(washout + sum(sizes) + 1, key=key)
    parts = consecutive(Part(np.stack([u[washout:-1], y[washout + 1 :]], axis=1)), sizes)
    mean, std = moments(parts[0].values) if normalise else (np.zeros(2), np.ones(2))

    def to_batch(part, length=None, stride=1):
        values = ((part.values - mean) / std).astype(np.float32)
        return cut(values[:, :1], values[:, 1:], None, None, length, stride)

    train, valid, test = parts
    info = DatasetInfo(
        name="narma10",
        task="regression",
        input_size=1,
        output_size=1,
        description="Say the output of the tenth-order NARMA system from its input.",
        source="generated",
        citation="Atiya and Parlos 2000, doi:10.1109/72.846741",
        licence=GENERATED,
        splits=splits(sizes),
        baselines=(
            Baseline(
                "echo state network, 200 units, bias input",
                "nmse",
                0.067,
                "measured with reservoirpy 0.4.2",
            ),
        ),
        mean=(float(mean[0]),) if normalise else (),
        std=(float(std[0]),) if normalise else (),
    )
    valid_batch = to_batch(valid) if n_valid else None
    return Dataset(to_batch(train, length, stride), valid_batch, to_batch(test), info)
