"""One bridge from JAX keys to NumPy's generators."""

import jax
import numpy as np
from jax import Array


def generator(key: Array) -> np.random.Generator:
    """A NumPy generator that depends on `key` alone.

    Data are made on the host, in float64 and with shapes that no compiler needs to know, so NumPy
    draws them. Equal keys give equal data, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`).
    """
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
