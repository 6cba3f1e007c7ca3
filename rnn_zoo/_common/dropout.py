"""Dropout over features: one draw per call."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float


class Dropout(eqx.Module):
    """Each feature is zero with probability `rate`, else divided by 1 - rate.

    `eqx.nn.Dropout` with a static rate, so that a layer's leaves are its arrays and this
    one flag, which `eqx.nn.inference_mode` sets.
    """

    rate: float = eqx.field(static=True)
    inference: bool

    def __init__(self, rate: float, *, inference: bool = False):
        """`rate` in [0, 1), ValueError otherwise."""
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"expected dropout in [0, 1), got {rate}")
        self.rate = float(rate)
        self.inference = inference

    def __call__(self, x: Float[Array, "..."], *, key: Any = None) -> Float[Array, "..."]:
        """RuntimeError without a key in training."""
        if self.inference or self.rate == 0:
            return x
        if key is None:
            raise RuntimeError(
                "dropout draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        keep = jr.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


def make_dropout(rate: float) -> Dropout | None:
    """A dropout, or no part at all for the rate 0."""
    made = Dropout(rate)
    return made if made.rate else None
