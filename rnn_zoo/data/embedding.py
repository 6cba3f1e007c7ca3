"""A state from the past of what is measured."""

import numpy as np
from jaxtyping import ArrayLike

from .._common.checks import check_sizes


def delay_embedding(series: ArrayLike, dimension: int, delay: int = 1) -> np.ndarray:
    r"""The last samples of a series as one vector for each time.

    $$e_t = (x_t, x_{t - \tau}, \dots, x_{t - (m - 1) \tau})$$

    (time - (m - 1) tau, m features) of a series (time,) or (time, features), with m `dimension` and
    tau `delay`. Of one observed value of a system with an attractor of dimension d, m > 2 d of them
    tell its states apart (Takens 1981, doi:10.1007/BFb0091924). ValueError for a series of another
    shape or of no more than (m - 1) tau steps.
    """
    check_sizes(dimension=dimension, delay=delay)
    values = np.asarray(series)
    values = values[:, None] if values.ndim == 1 else values
    before = (dimension - 1) * delay
    if values.ndim != 2 or len(values) <= before:
        raise ValueError(
            f"expected a series (time,) or (time, features) of more than {before} steps, the time "
            f"that dimension={dimension} and delay={delay} look back, got {values.shape}"
        )
    count = len(values) - before
    parts = [values[before - lag : before - lag + count] for lag in range(0, before + 1, delay)]
    return np.concatenate(parts, axis=1)
