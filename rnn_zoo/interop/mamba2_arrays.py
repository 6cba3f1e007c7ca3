"""Mamba-2 from the plain arrays of its modules."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from .._common.checks import check_sizes
from ..base import replace
from ..layers.block import Block
from ..layers.mamba2_block import Mamba2Block
from ._from_gates import filled
from ._named import Named
from .blocks import residual_block


def mamba2_from_arrays(
    arrays: Any, *, prefix: str = "", num_groups: int = 1, eps: float = 1e-5, dtype: Any = None
) -> Mamba2Block:
    """A `Mamba2Block` from the parameters of a `Mamba2` module (state-spaces/mamba, version 2), of
    `Mamba2Mixer` in transformers, or of `Mamba2` in fla.

    | there | shape | here |
    |---|---|---|
    | `in_proj.weight`, `.bias` | (2 wide + 2 G N + heads, size) | `project_in`, z last |
    | `conv1d.weight`, `.bias` | (wide + 2 G N, 1, k) | the convolution, newest input first |
    | `A_log`, `D` | (heads,) | the same |
    | `dt_bias` | (heads,) | `bias_dt` |
    | `norm.weight` | (wide,) | `norm_weight` |
    | `out_proj.weight`, `.bias` | (size, wide) | `project_out` |

    `prefix` is such as "backbone.layers.0.mixer."; `num_groups` G and `eps` of the norm are those
    it was trained with, which arrays do not tell. It stands for modules that norm behind their gate
    and do not bound their steps, as all three do by default. ValueError where names or shapes do
    not fit, such as those of `D_has_hdim=True`, `rmsnorm=False` or `d_ssm`.
    """
    given = Named(arrays, prefix, dtype)
    made = read_mamba2(given, "", num_groups, eps)
    given.finish()
    return made


def mamba2_block_from_arrays(
    arrays: Any,
    *,
    prefix: str = "",
    num_groups: int = 1,
    eps: float = 1e-5,
    dtype: Any = None,
) -> Block:
    """A `rz.Block` from the parameters of one `Block` of Mamba-2's language models
    (state-spaces/mamba, version 2; transformers): `norm.weight`, and `mixer.` before those of
    `mamba2_from_arrays`.

    `eps` is that of both norms. `prefix` is such as "backbone.layers.0."; the norm behind the last
    block is no part of it. ValueError where names or shapes do not fit, such as those of a block
    with attention or with an MLP.
    """
    given = Named(arrays, prefix, dtype)
    made = residual_block(given, read_mamba2(given, "mixer.", num_groups, eps), eps)
    given.finish()
    return made


def read_mamba2(given: Named, part: str, num_groups: int, eps: float) -> Mamba2Block:
    """The block of arrays that are below `part`."""
    check_sizes(num_groups=num_groups)
    project_in = given.linear(part + "in_proj")
    heads = given.take(part + "A_log", None)
    rows, size = project_in.weight.shape
    norm_weight = given.take(part + "norm.weight", None)
    wide = len(norm_weight)
    keys, rest = divmod(rows - 2 * wide - len(heads), 2 * num_groups)
    if wide % size or wide % len(heads) or len(heads) % num_groups or keys < 1 or rest:
        raise ValueError(
            f"expected {part}in_proj of 2 wide + 2 num_groups N + heads rows, got {rows} for "
            f"wide={wide}, num_groups={num_groups}, {len(heads)} heads and inputs of {size}: give "
            "the num_groups that it was trained with"
        )
    mixed = wide + 2 * num_groups * keys
    kernel = given.take(part + "conv1d.weight", mixed, 1, None)
    conv_bias = part + "conv1d.bias" in given
    block = eqx.filter_eval_shape(
        lambda: Mamba2Block(
            size,
            expand=wide // size,
            kernel_size=kernel.shape[2],
            num_heads=len(heads),
            key_size=keys,
            num_groups=num_groups,
            use_bias=project_in.bias is not None,
            conv_bias=conv_bias,
            eps=eps,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    leading, core = block.inner.layers
    conv, silu = leading.layer.layers
    bias = {"bias": given.take(part + "conv1d.bias", mixed)} if conv_bias else {}
    # Theirs is a correlation, its last weight that of the newest input.
    conv = replace(conv, cell=filled(conv.cell, weight=kernel[:, 0, ::-1].T, **bias))
    cell = filled(
        core.cell,
        A_log=heads,
        bias_dt=given.take(part + "dt_bias", len(heads)),
        D=given.take(part + "D", len(heads)),
    )
    leading = replace(leading, layer=replace(leading.layer, layers=(conv, silu)))
    moved = {"weight": _gate_last(project_in.weight, wide)}
    if project_in.bias is not None:
        moved["bias"] = _gate_last(project_in.bias, wide)
    return replace(
        block,
        project_in=filled(block.project_in, **moved),
        inner=replace(block.inner, layers=(leading, replace(core, cell=cell))),
        norm_weight=norm_weight,
        project_out=given.linear(part + "out_proj", wide),
    )


def _gate_last(rows: Any, wide: int) -> Any:
    """Those of z, which come first there, behind all others."""
    return jnp.concatenate([rows[wide:], rows[:wide]])
