"""Mixtures of an input with the one before it."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_float
from .by_window import AbstractWindowCell


class TokenShift(AbstractWindowCell):
    r"""Mixtures of an input with the one before it, as a cell.

    $$y_t = (x_t + \mu_1 \odot (x_{t-1} - x_t), \ldots, x_t + \mu_n \odot (x_{t-1} - x_t))$$

    State: the input before, (1, size), zero at the start. As a cell it streams, and what it
    remembers is the last input that was valid, of this document: masked steps are no part of it, a
    reset empties it. RWKV (Peng et al. 2023, arXiv:2305.13048) places it before its maps.
    """

    mix: Float[Array, "count size"]
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(self, size: int, *, count: int = 1, dtype: Any = None):
        """The numbers of channels and of mixtures; `mix`, the rows $\\mu$, starts at 1/2."""
        check_sizes(size=size, count=count)
        self.mix = jnp.full((count, size), 0.5, working_float(dtype))
        self.input_size, self.output_size = size, count * size

    def init_state(self) -> Float[Array, "1 {self.input_size}"]:
        return jnp.zeros((1, self.input_size), state_dtype(self.mix))

    def read(self, inputs: Sequence[Array]) -> Float[Array, " {self.output_size}"]:
        x, before = inputs
        return (x[None] + self.mix * (before - x)[None]).ravel()
