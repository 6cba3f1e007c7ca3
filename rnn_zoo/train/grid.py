"""Every combination of some settings, in one compiled program."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike

from .._common.numbers import exactly


class Grid(NamedTuple):
    """The values of each axis, and the scores with one array axis for each."""

    axes: dict[str, np.ndarray]
    scores: np.ndarray

    def best(self) -> dict[str, Any]:
        """The settings of the lowest score; a NaN is never the best.

        ValueError where every score is NaN.
        """
        if np.isnan(self.scores).all():
            raise ValueError("every score of the grid is NaN: no setting is the best")
        place = np.unravel_index(np.nanargmin(self.scores), self.scores.shape)
        return {name: values[i].item() for (name, values), i in zip(self.axes.items(), place)}


def grid(
    score: Callable[..., Array], *, in_turn: Sequence[str] = (), **axes: ArrayLike | Sequence[float]
) -> Grid:
    """`score(**settings)` for every combination of `axes`, in one jit: low is good.

        def score(spectral_radius, leak, ridge):
            options = {"spectral_radius": spectral_radius, "leak": leak, "key": key}
            cell = rz.cells.EchoStateCell(1, 500, **options)
            network = rz.EchoStateNetwork(cell, 1).fit_readout(xs, ys, ridge=ridge)
            return rz.metrics.nrmse(network(valid_xs), valid_ys)

        found = grid(score, spectral_radius=[0.8, 0.9, 1.0], leak=[0.3, 1.0], ridge=[1e-8, 1e-4])
        found.best()

    Each axis is a `vmap` of its own, so what does not depend on a setting is computed once for
    all of its values: the penalties of a ridge share one run of the reservoir. All combinations
    are held at once; the axes named in `in_turn` go one value after the other instead. A score
    is a scalar. ValueError for axes that are empty or no vectors, or unknown names in `in_turn`.
    """
    values = {name: np.asarray(axis) for name, axis in axes.items()}
    for name, axis in values.items():
        if axis.ndim != 1 or not axis.size:
            raise ValueError(f"expected the values of {name} as a vector, got shape {axis.shape}")
    if not values:
        raise ValueError("expected at least one axis of settings, got none")
    unknown = [name for name in in_turn if name not in values]
    if unknown:
        raise ValueError(f"in_turn names {unknown}, but the axes are {list(values)}")
    run: Callable = _scalar(score)
    # The last axis is the innermost map, and what goes in turn is outside of the others.
    order = sorted(values, key=lambda name: name not in in_turn)
    for name in reversed(order):
        run = _along(run, name, name in in_turn)
    scores = jax.jit(run)({}, {name: exactly(name, axis) for name, axis in values.items()})
    scores = np.moveaxis(
        np.asarray(scores), range(len(order)), [list(values).index(n) for n in order]
    )
    return Grid(values, scores)


def _along(run: Callable, name: str, in_turn: bool) -> Callable:
    def mapped(settings: dict, axes: dict) -> Array:
        def at(value: Array) -> Array:
            return run({**settings, name: value}, axes)

        return lax.map(at, axes[name]) if in_turn else jax.vmap(at)(axes[name])

    return mapped


def _scalar(score: Callable) -> Callable:
    def checked(settings: dict, axes: dict) -> Array:
        value = jnp.asarray(score(**settings))
        if value.shape != ():
            raise ValueError(f"expected score to return a scalar, got shape {value.shape}")
        return value

    return checked
