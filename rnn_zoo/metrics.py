"""Measures of forecasts and of memories."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common.checks import check_positive, check_sizes
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


def state_space_divergence(
    generated: ArrayLike, target: ArrayLike, *, bins: int = 30, smoothing: float = 1e-5
) -> float:
    r"""How far the states that a long free run visits are from those of the system: $D_{stsp}$.

    $$\sum_i p_i \log \frac{p_i}{q_i}, \qquad q_i = \frac{n_i + \alpha}{n + \alpha K}$$

    the Kullback-Leibler divergence in nats of two (time, features) series, each on the K cells of a
    grid with `bins` cells for each feature between the extremes of the target: $n_i$ are the counts
    of the n generated states, `smoothing` $\alpha$ what is added to each, p likewise those of the
    target. 0 is the same attractor; a run that leaves the grid, or is not finite, is counted in n
    and in no cell, so that a run entirely elsewhere gives the most that can be,
    $\log((n + \alpha K) / \alpha)$ less the entropy of p. The order of the
    states does not matter, so both series should be long. For up to five features or so; for more
    there is `gaussian_mixture_divergence`. Brenner et al. (2022), arXiv:2207.02542. ValueError for
    features that differ, a target that is not finite, or one of fewer than two steps.
    """
    check_sizes(bins=bins)
    said, seen = _states(generated, target)
    low, high = seen.min(axis=0), seen.max(axis=0)
    width = np.where(high > low, high - low, 1.0) / bins

    def cells(states: np.ndarray) -> np.ndarray:
        return np.minimum(np.floor((states - low) / width), bins - 1)

    with np.errstate(invalid="ignore"):
        inside = ((said >= low) & (said <= high)).all(axis=1)
    met = np.concatenate([cells(seen), cells(said[inside])])
    _, place = np.unique(met, axis=0, return_inverse=True)
    place = place.ravel()
    visits = [np.bincount(part, minlength=place.max() + 1) for part in np.split(place, [len(seen)])]
    # The cells that neither visits are all alike.
    empty = float(bins) ** seen.shape[1] - len(visits[0])
    counts = [np.append(count, 0) + smoothing for count in visits]
    total = smoothing * float(bins) ** seen.shape[1]
    p, q = counts[0] / (len(seen) + total), counts[1] / (len(said) + total)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    return float(np.sum(terms[:-1]) + (empty * terms[-1] if smoothing else 0.0))


def gaussian_mixture_divergence(
    generated: ArrayLike,
    target: ArrayLike,
    *,
    variance: float = 1.0,
    samples: int = 1000,
    key: Any,
) -> float:
    r"""`state_space_divergence` for many features, by Gaussians in the place of cells.

    $$\Big\langle \log \frac{\hat p(x)}{\hat q(x)} \Big\rangle_{x \sim \hat p}, \qquad
    \hat p(x) = \frac{1}{T} \sum_t N(x; y_t, \sigma^2 I)$$

    with a Gaussian of the `variance` $\sigma^2$ around each state of the target, q likewise of the
    generated one, and the mean over so many `samples` drawn with `key` (Hershey and Olsen 2007, as
    Brenner et al. 2022, arXiv:2207.02542, use it). (time, features) each, in the units of the
    target's deviation for a variance of 1. In nats; 0 is the same cloud of states. A generated
    state that is not finite counts for nothing but in the number of states; infinite where all are
    so. ValueError for features that differ, a target that is not finite, or one of fewer than two
    steps, a variance that is not positive.
    """
    check_sizes(samples=samples)
    check_positive("variance", variance)
    said, seen = _states(generated, target)
    rng = np.random.default_rng(np.asarray(jr.key_data(key)).ravel())
    drawn = seen[rng.integers(len(seen), size=samples)]
    drawn = drawn + np.sqrt(variance) * rng.normal(size=drawn.shape)
    return float(np.mean(_log_density(drawn, seen, variance) - _log_density(drawn, said, variance)))


def sliced_wasserstein(
    generated: ArrayLike, target: ArrayLike, *, projections: int = 100, key: Any
) -> float:
    r"""How far the states of a run have to be moved to be those of the system.

    $$\langle W_1(\theta^\top \hat y, \theta^\top y) \rangle_\theta$$

    the mean over random directions of the Wasserstein distance of (time, features) series, in the
    units of the data (Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3). It needs no grid and no
    kernel; 0 is the same cloud of states, whatever their order, and a generated state that is not
    finite makes it infinite. `key` draws the directions. ValueError for features that differ, a
    target that is not finite, or one of fewer than two steps.
    """
    check_sizes(projections=projections)
    said, seen = _states(generated, target)
    if not np.isfinite(said).all():
        return float("inf")
    rng = np.random.default_rng(np.asarray(jr.key_data(key)).ravel())
    directions = rng.normal(size=(projections, seen.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return float(np.mean([_wasserstein(said @ d, seen @ d) for d in directions]))


def power_spectrum_distance(
    generated: ArrayLike, target: ArrayLike, *, smoothing: float = 20.0
) -> float:
    r"""How far the rhythms of a long free run are from those of the system: $D_H$.

    $$\frac{1}{d} \sum_j \sqrt{1 - \sum_f \sqrt{F_{jf} G_{jf}}}$$

    the Hellinger distance of the power spectra F and G of two (time, features) series, smoothed by
    a Gaussian with a standard deviation of `smoothing` frequencies and with sum 1; a mean over the
    d features. 0 is the same spectrum, 1 nothing in common; 1 too for a feature of the run that
    does not move, or is not finite. Brenner et al. (2022), arXiv:2207.02542. ValueError for shapes
    that differ, a target that is not finite, and series that have not twice as many steps as
    `smoothing`: all their frequencies would be one.
    """
    said, seen = _states(generated, target)
    if len(seen) < 2 * smoothing:
        raise ValueError(
            f"expected at least {2 * smoothing:g} steps, twice the smoothing, got {len(seen)}: "
            "give longer series or a smaller smoothing"
        )
    if said.shape != seen.shape:
        raise ValueError(
            f"expected generated and target of one shape (time, features), got {said.shape} and "
            f"{seen.shape}"
        )
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        common = np.sum(np.sqrt(_spectra(said, smoothing) * _spectra(seen, smoothing)), axis=0)
    return float(np.mean(np.sqrt(1 - np.clip(np.nan_to_num(common), 0, 1))))


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


def _series(values: ArrayLike, name: str) -> np.ndarray:
    """(time, features) on the host."""
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or len(found) == 0:
        raise ValueError(f"expected {name} of shape (time, features), got {found.shape}")
    return found


def _states(generated: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two series with the same features, of which the target is finite."""
    said, seen = _series(generated, "generated"), _series(target, "target")
    if said.shape[1] != seen.shape[1]:
        raise ValueError(
            f"expected generated and target with the same features, got {said.shape[1]} and "
            f"{seen.shape[1]}"
        )
    if len(seen) < 2 or not np.isfinite(seen).all():
        raise ValueError(
            f"expected a target of at least two steps, all finite, got {len(seen)} steps of which "
            f"{int(np.isfinite(seen).all(axis=1).sum())} are"
        )
    return said, seen


def _log_density(at: np.ndarray, centres: np.ndarray, variance: float) -> np.ndarray:
    """The logarithm of a mixture of Gaussians, but for a constant that all mixtures share."""
    finite = centres[np.isfinite(centres).all(axis=1)]
    if not len(finite):
        return np.full(len(at), -np.inf)
    found = []
    # A few points at a time, since each meets every centre.
    for part in np.array_split(at, -(-len(at) * finite.size // 2_000_000)):
        exponents = np.sum((part[:, None] - finite) ** 2, axis=-1) / (-2 * variance)
        most = exponents.max(axis=1)
        found.append(most + np.log(np.sum(np.exp(exponents - most[:, None]), axis=1)))
    return np.concatenate(found) - np.log(len(centres))


def _wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    """The area between the distribution functions of two rows of numbers."""
    places = np.sort(np.concatenate([one, other]))
    below = [np.searchsorted(np.sort(a), places[:-1], "right") / len(a) for a in (one, other)]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(places)))


def _spectra(values: np.ndarray, smoothing: float) -> np.ndarray:
    """Shares of the power, (frequencies, features)."""
    power = np.abs(np.fft.rfft(values - values.mean(axis=0), axis=0)) ** 2
    power[:, np.ptp(values, axis=0) == 0] = 0  # the mean is rounded
    reach = min(int(4 * smoothing), len(power) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(smoothing, 1e-9)) ** 2)
    smooth = [np.convolve(column, kernel)[reach : reach + len(power)] for column in power.T]
    return np.stack(smooth, axis=1) / np.sum(smooth, axis=1)


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
