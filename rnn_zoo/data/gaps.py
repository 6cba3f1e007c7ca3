"""Values that are missing one by one: NaN in x, for cells that take it."""

import dataclasses

import jax
import numpy as np

from ._generator import generator
from .batches import AnyArray, Batch, to_jax


def mark_missing(x: AnyArray, observed: AnyArray) -> np.ndarray:
    """x with NaN wherever `observed`, bool of the same shape, is False.

    What stands there before may be anything. ValueError for another shape or dtype, and for an x
    that has no NaN, such as whole numbers. It runs on the host; inside a jit it is
    `jnp.where(observed, x, jnp.nan)`.
    """
    x, observed = np.asarray(x), np.asarray(observed)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"expected x of floats, which have a NaN, got {x.dtype}")
    if observed.shape != x.shape or observed.dtype != bool:
        raise ValueError(
            f"expected observed of shape {x.shape} and dtype bool, one for each value of x, got "
            f"{observed.shape}, {observed.dtype}; whole steps are left out by a batch's mask"
        )
    return np.where(observed, x, np.asarray(np.nan, x.dtype))


def drop_values(data: Batch, share: float | int, *, key: jax.Array) -> Batch:
    """The batch with each value of x missing, NaN, with the probability `share`, at random.

    Each value on its own; steps that the mask leaves out are no exception. ValueError for a share
    outside [0, 1], and for whole-number x.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected share from 0 to 1, got {share}")
    x = np.asarray(data.x)
    observed = generator(key).random(x.shape) >= share
    return to_jax(dataclasses.replace(data, x=mark_missing(x, observed)))


def standardise(train: Batch, *others: Batch) -> tuple[Batch, ...]:
    """All batches with the features of x at mean 0 and deviation 1, by the moments of `train`.

    Moments are over valid steps and values that are not missing; the deviation of a constant
    feature counts as 1. Zeros in the padding stay zeros. ValueError for a feature of which `train`
    has no value at all.
    """
    x = np.asarray(train.x, np.float64)
    known = x[np.ones(x.shape[:2], bool) if train.mask is None else np.asarray(train.mask)]
    never = np.isnan(known).all(axis=0)
    if never.any():
        raise ValueError(
            f"expected at least one value of each feature in the training part, got none of "
            f"{np.flatnonzero(never).tolist()}: leave these features out"
        )
    mean, std = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    std = np.where(std > 0, std, 1.0)
    return tuple(_scaled(batch, mean, std) for batch in (train, *others))


def _scaled(batch: Batch, mean: np.ndarray, std: np.ndarray) -> Batch:
    given = np.asarray(batch.x)
    x = (np.asarray(given, np.float64) - mean) / std
    if batch.mask is not None:
        x = np.where(np.asarray(batch.mask)[..., None], x, 0.0)
    kept = given.dtype if np.issubdtype(given.dtype, np.floating) else np.float32
    return to_jax(dataclasses.replace(batch, x=x.astype(kept)))
