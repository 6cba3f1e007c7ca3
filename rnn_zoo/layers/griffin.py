"""The recurrent block of Griffin: convolution, RG-LRU, gate."""

from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_sizes
from ..cells.rglru import RGLRUCell
from ..cells.short_conv import ShortConv
from .gated_block import AbstractGatedBlock
from .stacked import Stacked


class GriffinBlock(AbstractGatedBlock):
    r"""The recurrent block of Griffin and Hawk (De et al. 2024, arXiv:2402.19427, figure 2).

    $$(u, g) = W_{in} x + b_{in}, \qquad v = \mathrm{RGLRU}(\mathrm{conv}(u)), \qquad
    y = W_{out} (v \odot \mathrm{gelu}(g)) + b_{out}$$

    conv is a `ShortConv`, RGLRU an `RGLRUCell` without its input map, both of `width` features;
    gelu is the tanh approximation. State: (the convolution's, the recurrence's). A layer and a
    cell: it streams, and masks and resets reach the convolution too. It has no norm and no skip:
    `rz.Block(block, mix="none", norm="rms", eps=1e-6)` adds them.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        width: int | None = None,
        kernel_size: int = 4,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """`size` of x and y; `width` of the recurrence, by default `size`; `kernel_size` inputs of
        the convolution; `options` of `RGLRUCell`, `blocks` above all: the authors' heads."""
        width = size if width is None else width
        check_sizes(size=size, width=width)
        keys = jr.split(key, 4)
        self.project_in = eqx.nn.Linear(size, 2 * width, dtype=dtype, key=keys[0])
        conv = ShortConv(width, kernel_size=kernel_size, dtype=dtype, key=keys[1])
        cell = RGLRUCell(width, width, input_map=False, dtype=dtype, key=keys[2], **options)
        self.inner = Stacked([conv, cell])
        self.project_out = eqx.nn.Linear(width, size, dtype=dtype, key=keys[3])

    def gated(self, v: Array, g: Array) -> Array:
        return v * jax.nn.gelu(g)
