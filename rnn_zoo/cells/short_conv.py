"""The short convolution before a state space."""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_float
from .._common.terms import plus
from ..init import fan_in_uniform
from .by_window import AbstractWindowCell


class ShortConv(AbstractWindowCell):
    r"""A causal convolution over the last k inputs, for each channel, as a cell.

    $$y_t = \sum_{j=0}^{k-1} w_j \odot x_{t-j} + b$$

    State: the k - 1 inputs before, (k - 1, size), oldest first, zero at the start. As a cell
    it streams, and what it remembers are the last inputs that were valid, of this document:
    masked steps are no part of it, resets empty it. Mamba (Gu & Dao 2023, arXiv:2312.00752)
    and its kin place it before a state space. The state is shifted by a step, which no
    diagonal map does, so it is no linear cell; a whole sequence runs as k products all the same.
    """

    weight: Float[Array, "kernel size"]
    bias: Float[Array, " size"] | None
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        kernel_size: int = 4,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """The number of channels, and the number k of inputs that an output sees. `weight[0]` is
        for the newest."""
        check_sizes(size=size, kernel_size=kernel_size)
        dtype = working_float(dtype)
        key_weight, key_bias = jr.split(key)
        self.weight = fan_in_uniform(key_weight, (kernel_size, size), dtype, fan_in=kernel_size)
        self.bias = (
            fan_in_uniform(key_bias, (size,), dtype, fan_in=kernel_size) if use_bias else None
        )
        self.input_size = self.output_size = size

    def init_state(self) -> Float[Array, "before {self.input_size}"]:
        return jnp.zeros((self.weight.shape[0] - 1, self.input_size), state_dtype(self.weight))

    def read(self, inputs: Sequence[Array]) -> Float[Array, " {self.output_size}"]:
        products = [w * x for w, x in zip(self.weight, inputs, strict=True)]
        return plus(functools.reduce(jnp.add, products), self.bias)
