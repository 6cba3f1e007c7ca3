"""The block of Mamba: convolution, selective state space, gate."""

from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_sizes
from ..cells.mamba import MambaCell
from ..cells.short_conv import ShortConv
from .gated_block import AbstractGatedBlock
from .pointwise import Elementwise, Pointwise
from .stacked import Stacked


class MambaBlock(AbstractGatedBlock):
    r"""Mamba's mixer of time and features (Gu & Dao 2023, arXiv:2312.00752, figure 3).

    $$(u, g) = W_{in} x, \qquad v = \mathrm{SSM}(\mathrm{silu}(\mathrm{conv}(u))), \qquad
    y = W_{out} (v \odot \mathrm{silu}(g))$$

    conv is a `ShortConv`, SSM a `MambaCell` without its input map, both of `expand` times the
    size. State: (the convolution's, (), the state space's). A layer and a cell: it streams,
    and masks and resets reach the convolution too. Timed: dt multiplies the step of the state
    space. It has no norm and no skip: `rz.Block(block, mix="none", norm="rms")` adds them, as
    `make_model("mamba", ...)` does.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        expand: int = 2,
        kernel_size: int = 4,
        rank: int | None = None,
        use_bias: bool = False,
        conv_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """**Arguments:**

        - `size`: of x and y; `kernel_size`: inputs that the convolution sees.
        - `rank`: of the map to the step, by default size / 16, rounded up, as in the authors' code.
        - `use_bias`: of both projections; `conv_bias`: of the convolution.
        - `options`: others of `MambaCell`.
        """
        check_sizes(size=size, expand=expand)
        rank = -(-size // 16) if rank is None else rank
        keys = jr.split(key, 4)
        wide = expand * size
        linear: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype}
        self.project_in = eqx.nn.Linear(size, 2 * wide, **linear, key=keys[0])
        conv = ShortConv(
            wide, kernel_size=kernel_size, use_bias=conv_bias, dtype=dtype, key=keys[1]
        )
        ssm = MambaCell(wide, wide, rank=rank, input_map=False, dtype=dtype, key=keys[2], **options)
        self.inner = Stacked([conv, Pointwise(Elementwise(jax.nn.silu), wide, wide), ssm])
        self.project_out = eqx.nn.Linear(wide, size, **linear, key=keys[3])

    def gated(self, v: Array, g: Array) -> Array:
        return v * jax.nn.silu(g)
