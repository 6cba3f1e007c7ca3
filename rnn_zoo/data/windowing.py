"""A series cut into windows, each step with what comes later as its target."""

import jax.numpy as jnp
import numpy as np

from .._common.numbers import exactly
from .batches import AnyArray, Batch


def windows(
    series: AnyArray,
    length: int | None,
    *,
    horizon: int = 1,
    stride: int = 1,
    mask: AnyArray | None = None,
    dt: AnyArray | None = None,
) -> Batch:
    """Cut a series into windows, each step with the value `horizon` steps later as its target.

    `series` is (time,) or (time, features). Window i begins at step `i * stride`; its `x` is
    (length, features) and its `y` the same stretch, `horizon` steps later. `length=None` makes one
    window of all there is. Windows are whole: up to `stride - 1` steps at the end of the series
    are in none of them, and no window reaches past the end.

    `mask`, (time,) bool, says which values were observed: a step is valid when its own value and
    its target are, and the others hold zeros in x and y. `dt`, (time,), is cut along. Values that
    are missing one by one, NaN, need no mask: they stay NaN in x, for models that take it, and in
    y, where `rz.train.mse` leaves them out.

    Raises ValueError when the series is too short for one window.
    """
    values = np.asarray(series)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ValueError(f"expected a series (time,) or (time, features), got {values.shape}")
    if horizon < 1:
        raise ValueError(f"expected horizon of at least 1, got {horizon}")
    for name, extra in (("mask", mask), ("dt", dt)):
        if extra is not None and extra.shape != values.shape[:1]:
            raise ValueError(f"expected {name} of shape {values.shape[:1]}, got {extra.shape}")
    steps = max(len(values) - horizon, 0)
    x, y = values[:steps], values[horizon:]
    if mask is not None:
        seen = np.asarray(mask)
        mask = seen[:steps] & seen[horizon:]
        x, y = np.where(mask[:, None], x, 0), np.where(mask[:, None], y, 0)
    return cut(x, y, mask, None if dt is None else np.asarray(dt)[:steps], length, stride)


def cut(
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray | None,
    dt: np.ndarray | None,
    length: int | None,
    stride: int,
) -> Batch:
    """Cut series that run together, (time, ...) each, into windows as `windows` does."""
    steps = len(x)
    size = steps if length is None else length
    if size < 1 or stride < 1 or steps < size:
        raise ValueError(
            f"expected a stride of at least 1 and a length from 1 to the {steps} steps that have a "
            f"target, got length {size} and stride {stride}"
        )
    # (windows, size) positions: one gather for each series.
    positions = np.arange(0, steps - size + 1, stride)[:, None] + np.arange(size)
    return Batch(
        exactly("series", x[positions]),
        exactly("series", y[positions]),
        None if mask is None else jnp.asarray(mask[positions]),
        None if dt is None else exactly("dt", dt[positions]),
    )
