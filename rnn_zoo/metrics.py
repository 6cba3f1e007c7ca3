"""Measures of forecasts and of memories."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common.checks import check_sizes
from ._common.moved import listing as _listing
from ._common.numbers import exactly
from .reservoir.network import EchoStateNetwork


def nmse(prediction: ArrayLike, target: ArrayLike) -> Float[Array, ""]:
    r"""The mean squared error over the variance of the targets, a mean over the features.

    $$\frac{1}{d} \sum_j \frac{\langle (\hat y_j - y_j)^2 \rangle}{\mathrm{var}(y_j)}$$

    (..., time, features), or (time,) for one feature; sequences of a batch count as one long
    one. 1 is the error of saying the mean. A NaN in the target was not observed and counts for
    nothing. ValueError for shapes that differ.
    """
    prediction, target = _pair(prediction, target)
    seen = ~jnp.isnan(target)
    error = _observed_mean((prediction - target) ** 2, seen)
    some = seen.any(axis=0)
    return _observed_mean(error / _variance(target, seen), some)


def nrmse(prediction: ArrayLike, target: ArrayLike) -> Float[Array, ""]:
    """The square root of `nmse`: the root mean squared error over the standard deviation."""
    return jnp.sqrt(nmse(prediction, target))


def accuracy_by_length(right: Any, lengths: Any, edges: Any) -> tuple[np.ndarray, np.ndarray]:
    """The share of what is right among sequences of like lengths, and how many those are.

    `right` (samples,): bools, or shares between 0 and 1; `lengths` (samples,); `edges`: ascending
    bounds, so that bin i holds edges[i] <= length < edges[i + 1]. Two arrays (len(edges) - 1,); NaN
    for an empty bin. ValueError for shapes that differ and for edges that do not ascend.
    """
    right, lengths, edges = np.asarray(right, np.float64), np.asarray(lengths), np.asarray(edges)
    if right.ndim != 1 or right.shape != lengths.shape:
        raise ValueError(
            f"expected right and lengths of shape (samples,), got {right.shape}, {lengths.shape}"
        )
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"expected at least two edges that ascend, got {edges}")
    # A last edge of its own, since a histogram counts the very last edge in.
    bins = [*edges, np.inf]
    counts, sums = (np.histogram(lengths, bins, weights=w)[0][:-1] for w in (None, right))
    with np.errstate(invalid="ignore"):
        return sums / counts, counts


def valid_prediction_time(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    threshold: float = 0.4,
    step: float = 1.0,
    lyapunov_exponent: float = 1.0,
) -> Float[Array, ""]:
    r"""How long a forecast holds: the time before its error passes the threshold first.

    $$\frac{|\hat y_t - y_t|}{\sqrt{\langle |y - \bar y|^2 \rangle}} > \theta$$

    with (time, features) of a forecast that begins at time 0. `step` is the time between two
    samples; with the largest `lyapunov_exponent` of the system the result is in Lyapunov
    times. The whole length where the error never passes. A NaN in the prediction counts as
    passing, one in the target was not observed and counts for nothing. Pathak et al. (2018),
    doi:10.1103/PhysRevLett.120.024102, Vlachas et al. (2020). ValueError for shapes that differ.
    """
    prediction, target = _pair(prediction, target)
    seen = ~jnp.isnan(target)
    scale = jnp.sqrt(jnp.sum(_variance(target, seen)))
    error = jnp.linalg.norm(jnp.where(seen, prediction - target, 0), axis=-1) / scale
    passed = ~(error <= threshold)
    held = jnp.where(jnp.any(passed), jnp.argmax(passed), len(passed))
    return held.astype(error.dtype) * step * lyapunov_exponent


def memory_capacity(
    cell: Any,
    *,
    max_lag: int | None = None,
    train: int = 4000,
    test: int = 4000,
    washout: int = 200,
    ridge: float = 1e-9,
    key: Any,
) -> np.ndarray:
    r"""How much of past inputs a linear readout finds in the outputs of a cell, by lag.

    $$MC_k = \frac{\mathrm{cov}(u_{t-k}, \hat y^{(k)}_t)^2}
    {\mathrm{var}(u) \mathrm{var}(\hat y^{(k)})}, \qquad k = 1 \dots$$

    for i.i.d. u from U(-0.8, 0.8) fed to every input of the cell; a readout for each lag is
    fitted on `train` steps and judged on `test` others, so that chance gives about 0. Returns
    (max_lag,); the sum is the memory capacity, at most the number of units (Jaeger 2001,
    "Short term memory in echo state networks"). `max_lag` is twice the outputs by default.
    """
    lags = 2 * cell.output_size if max_lag is None else max_lag
    check_sizes(max_lag=lags, train=train, test=test)
    washout = max(washout, lags)
    u = jr.uniform(key, (washout + train + test,), minval=-0.8, maxval=0.8)
    xs = jnp.broadcast_to(u[:, None], (len(u), cell.input_size))
    # Column k - 1 holds the input k steps back.
    past = jnp.stack([jnp.roll(u, k) for k in range(1, lags + 1)], axis=1)
    end = washout + train
    network = EchoStateNetwork(cell, lags)
    network = network.fit_readout(xs[:end], past[:end], ridge=ridge, washout=washout)
    said = network(xs)[end:]
    return np.asarray(jax.vmap(_determination, in_axes=1)(said, past[end:]))


def _determination(one: Array, two: Array) -> Array:
    one, two = one - one.mean(), two - two.mean()
    return jnp.mean(one * two) ** 2 / jnp.maximum(jnp.mean(one**2) * jnp.mean(two**2), 1e-30)


def _observed_mean(values: Array, seen: Array) -> Array:
    """Over axis 0, of what is seen."""
    count = jnp.maximum(jnp.sum(seen, axis=0), 1)
    return jnp.sum(jnp.where(seen, values, 0), axis=0) / count.astype(values.dtype)


def _variance(target: Array, seen: Array) -> Array:
    return _observed_mean((target - _observed_mean(target, seen)[None]) ** 2, seen)


def _pair(prediction: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    """Both as (samples, features)."""
    prediction, target = exactly("prediction", prediction), exactly("target", target)
    if prediction.shape != target.shape or prediction.ndim == 0:
        raise ValueError(
            f"expected prediction and target of one shape (time, features), got "
            f"{prediction.shape} and {target.shape}"
        )
    features = 1 if prediction.ndim == 1 else prediction.shape[-1]
    return prediction.reshape(-1, features), target.reshape(-1, features)


__dir__ = _listing(__name__)
