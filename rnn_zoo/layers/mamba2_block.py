"""The block of Mamba-2: convolution, state-space dual, gate and norm."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.dtypes import working_float
from ..cells.mamba2 import Mamba2Cell
from ..cells.short_conv import ShortConv
from .gated_block import AbstractGatedBlock
from .leading import Leading
from .pointwise import Elementwise, Pointwise
from .stacked import Stacked


class Mamba2Block(AbstractGatedBlock):
    r"""Mamba-2's mixer of time and features (Dao & Gu 2024, arXiv:2405.21060, figure 6).

    $$(x, B, C, \delta, z) = W_{in} u, \qquad
    o = \mathrm{SSD}(\mathrm{silu}(\mathrm{conv}(x, B, C)), \delta), \qquad
    y = W_{out}\, \mathrm{norm}(o \odot \mathrm{silu}(z))$$

    conv is a `ShortConv`, SSD a `Mamba2Cell` without its input map, of `expand` times the size;
    norm is an RMS norm over the heads of a group, all of them by default, and comes behind the
    gate. The rows of `project_in` are those of the features of the cell, then of z, which the
    authors have first. State: ((the convolution's, ()), the cell's). A layer and a cell: it
    streams, and masks and resets reach the convolution too. Timed: dt multiplies the step of the
    state space. It has no norm of u and no skip: `rz.Block(block, mix="none", norm="rms")` adds
    them, as `make_model("mamba2", ...)` does.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    norm: eqx.nn.RMSNorm
    norm_weight: Float[Array, " wide"]
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        expand: int = 2,
        kernel_size: int = 4,
        num_heads: int | None = None,
        key_size: int = 128,
        num_groups: int = 1,
        use_bias: bool = False,
        conv_bias: bool = True,
        eps: float = 1e-5,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """**Arguments:**

        - `size`: of u and y; `kernel_size`: inputs that the convolution sees.
        - `num_heads`: by default one for every 64 features of the cell, as in the authors' code,
          and where 64 does not divide them as in `Mamba2Cell`.
        - `key_size`, `num_groups`: those of the cell; `options`: its others.
        - `use_bias`: of both projections; `conv_bias`: of the convolution.
        - `eps`: what the norm adds to the mean square.
        """
        check_sizes(size=size, expand=expand)
        wide = expand * size
        if num_heads is None and wide % 64 == 0:
            num_heads = wide // 64
        given = {"num_heads": num_heads, "key_size": key_size, "num_groups": num_groups, **options}
        keys = jr.split(key, 4)
        shapes = eqx.filter_eval_shape(lambda: Mamba2Cell(1, wide, key=key, **given))
        rows = shapes.weight_ih.shape[0]
        cell = Mamba2Cell(rows, wide, input_map=False, dtype=dtype, key=keys[2], **given)
        mixed = rows - cell.num_heads
        conv = ShortConv(
            mixed, kernel_size=kernel_size, use_bias=conv_bias, dtype=dtype, key=keys[1]
        )
        silu = Pointwise(Elementwise(jax.nn.silu), mixed, mixed)
        self.inner = Stacked([Leading(Stacked([conv, silu]), rows), cell])
        linear: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype}
        self.project_in = eqx.nn.Linear(size, rows + wide, **linear, key=keys[0])
        self.norm = eqx.nn.RMSNorm(wide // num_groups, eps=eps, use_weight=False, use_bias=False)
        self.norm_weight = jnp.ones(wide, working_float(dtype))
        self.project_out = eqx.nn.Linear(wide, size, **linear, key=keys[3])

    def gated(self, v: Array, g: Array) -> Array:
        groups = (v * jax.nn.silu(g)).reshape(-1, self.norm.shape[0])
        return self.norm_weight * jax.vmap(self.norm)(groups).ravel()
