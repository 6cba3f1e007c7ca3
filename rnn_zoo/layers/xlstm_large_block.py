"""The block of xLSTM Large."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.checks import check_place, check_sizes
from .._common.dtypes import working_float
from ..base import replace
from ..cells.mlstm import MLSTMCell
from .gated_block import AbstractGatedBlock
from .pointwise import Pointwise, normal_linear
from .stacked import Stacked


class MLSTMLargeBlock(AbstractGatedBlock):
    r"""The mixer of xLSTM Large, the network of 7B parameters (Beck et al. 2025, arXiv:2503.13427,
    figure 2).

    $$(q, k, v, a, g) = W_{in} x, \qquad (i, f) = c \tanh((a + b) / c), \qquad
    y = W_{out} \big(\mathrm{norm}(\mathrm{mLSTM}(q, k, v, i, f)) \odot \sigma(g)\big)$$

    mLSTM is an `MLSTMCell` without its input map and its biases, as wide as x, with keys half as
    wide as values; c is the soft cap of its gates. norm is a layer norm of each head with a weight
    for each feature. Unlike in `MLSTMBlock` there is no convolution and no wider inner part.

    State: ((), the cell's). A layer and a cell: it streams, and masks and resets reach the cell. It
    has no norm of x, no skip and no perceptron: the network has `rz.Block(block, mix="none",
    norm="rms", eps=1e-6)` and the same around a `SwiGLU`. It starts as in the authors' code: the
    rows of q, k, v and g as N(0, 2 / (5 size)), those of a at 0, b of i at -10 and of f from 3 to 6
    over the heads, and $W_{out}$ as N(0, 4 / (n^2 size)) in a stack of n.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    norm: eqx.nn.LayerNorm
    norm_weight: Float[Array, " wide"]
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        num_heads: int | None = None,
        key_size: int | None = None,
        gate_soft_cap: float = 15.0,
        eps: float = 1e-6,
        place: tuple[int, int] = (0, 1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: of x and y; `num_heads`, `key_size`: those of the cell, with its defaults.
        - `gate_soft_cap`: c, which the gates before their exponentials stay within.
        - `eps`: what the norm adds to the variance.
        - `place`: which block this is and of how many, from (0, n) to (n - 1, n); its start depends
          on it.

        ValueError for any other.
        """
        check_sizes(size=size)
        if not gate_soft_cap > 0:
            raise ValueError(f"expected a gate_soft_cap above 0, got {gate_soft_cap}")
        _, depth = check_place(place)
        keys = jr.split(key, 3)
        options: dict[str, Any] = {"num_heads": num_heads, "key_size": key_size, "dtype": dtype}
        options |= {"use_bias": False, "key": keys[0]}
        shapes = eqx.filter_eval_shape(lambda: MLSTMCell(1, size, **options))
        rows, heads = shapes.weight_ih.shape[0], shapes.num_heads
        cell = MLSTMCell(rows, size, input_map=False, **options)
        gates = _CappedGates(heads, gate_soft_cap, dtype)
        self.inner = Stacked([Pointwise(gates, rows, rows), cell])
        std = math.sqrt(2 / (5 * size))
        project_in = normal_linear(size, rows + size, std=std, dtype=dtype, key=keys[1])
        weight = project_in.weight.at[rows - 2 * heads : rows].set(0)
        self.project_in = replace(project_in, weight=weight)
        self.norm = eqx.nn.LayerNorm(size // heads, eps=eps, use_weight=False, use_bias=False)
        self.norm_weight = jnp.ones(size, working_float(dtype))
        std = 2 / (depth * math.sqrt(size))
        self.project_out = normal_linear(size, size, std=std, dtype=dtype, key=keys[2])

    def gated(self, v: Array, g: Array) -> Array:
        heads = v.reshape(-1, self.norm.shape[0])
        return self.norm_weight * jax.vmap(self.norm)(heads).ravel() * jax.nn.sigmoid(g)


class _CappedGates(eqx.Module):
    """The last features, those of i and f, with their biases and within the cap."""

    bias: Float[Array, " gates"]
    cap: float = eqx.field(static=True)

    def __init__(self, heads: int, cap: float, dtype: Any):
        forget = jnp.linspace(3.0, 6.0, heads)
        self.bias = jnp.concatenate([jnp.full(heads, -10.0), forget]).astype(working_float(dtype))
        self.cap = float(cap)

    def __call__(self, x: Array) -> Array:
        size = len(self.bias)
        gates = self.cap * jnp.tanh((x[-size:] + self.bias) / self.cap)
        return jnp.concatenate([x[:-size], gates])
