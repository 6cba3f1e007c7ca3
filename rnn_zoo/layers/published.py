"""The networks of papers around their blocks: what `make_model` builds for cells that have one."""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_sizes
from ..base import replace
from .block import MLP, Block
from .handing_block import HandingBlock
from .heads_block import HeadsBlock
from .leading import Leading
from .mamba2_block import Mamba2Block
from .mamba_block import MambaBlock
from .norms import make_norm
from .pointwise import GeGLU, Pointwise, SwiGLU, linear
from .recurrent import Bidirectional
from .rwkv7_block import RWKV7ChannelMix, RWKV7TimeMix
from .stacked import Stacked
from .xlstm_block import MLSTMBlock, SLSTMBlock


BLOCKS = {
    "MambaBlock": MambaBlock,
    "Mamba2Block": Mamba2Block,
    "HeadsBlock": HeadsBlock,
    "MLSTMBlock": MLSTMBlock,
    "SLSTMBlock": SLSTMBlock,
    "RWKV7TimeMix": RWKV7TimeMix,
}


def residual(
    make: Callable[..., Any],
    input_size: int,
    hidden_size: int,
    *,
    mlp: Callable[..., Any] | None = None,
    norm: Callable[..., Any] = functools.partial(make_norm, "rms"),
    placed: bool = False,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """Residual blocks of mixers behind a linear map, and a norm at the end.

    Norms stand before the mixers and behind the last, RMS norms by default. With `mlp` each mixer
    is followed by a perceptron in a residual block of its own. With `bidirectional` each block adds
    a mixer of each direction. `make(hidden_size, key=key, **options)` makes a mixer, of which
    `placed` ones are told their `place` in the stack, `mlp(hidden_size, hidden_size, dtype=dtype,
    key=key)` a perceptron, `norm(hidden_size, dtype=dtype)` a norm.
    """
    check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
    key_map, *keys = jr.split(key, 1 + num_layers)
    dtype, size = options.get("dtype"), hidden_size
    around: dict[str, Any] = {"mix": "none", "norm": "rms", "dropout": dropout, "dtype": dtype}
    blocks = []
    for i, k in enumerate(keys):
        if placed:
            options["place"] = (i, num_layers)
        key_mixer, key_block = jr.split(k)
        if bidirectional:
            forward, backward = (make(size, key=one, **options) for one in jr.split(key_mixer))
            layer = Bidirectional(forward, backward, merge="sum")
        else:
            layer = make(size, key=key_mixer, **options)
        blocks.append(Block(layer, **around, key=key_block))
        if mlp is not None:
            perceptron = mlp(size, size, dtype=dtype, key=jr.fold_in(key_block, 0))
            blocks.append(Block(Pointwise(perceptron, size, size), **around, key=key_block))
    blocks = [replace(block, norm=norm(size, dtype=dtype)) for block in blocks]
    last = Pointwise(norm(size, dtype=dtype), size, size)
    return Stacked([linear(input_size, size, dtype=dtype, key=key_map), *blocks, last])


def scaled(make: Callable[..., Any], num_layers: int) -> Callable[..., Any]:
    """Makes mixers whose last map is divided by the root of `num_layers`, as Mamba's authors do."""

    def mixer(size: int, **options: Any) -> Any:
        made = make(size, **options)
        weight = made.project_out.weight / math.sqrt(num_layers)
        return replace(made, project_out=replace(made.project_out, weight=weight))

    return mixer


def published(name: str, block: str) -> Callable[..., Stacked]:
    """What makes the layers of the network of a cell, by its name and that of its block.

    RWKV-7 has a form of its own. Mamba, Mamba-2 and mLSTM have no perceptron. RetNet's has gelu and
    twice the size inside, that of sLSTM is gated by gelu, those of the others by silu.
    """
    if block == "RWKV7TimeMix":
        return _rwkv7
    if block in ("MLSTMBlock", "SLSTMBlock"):
        return functools.partial(_xlstm, BLOCKS[block])
    if block != "HeadsBlock":
        return functools.partial(_mambas, BLOCKS[block])
    mlp = MLP if name == "retnet" else SwiGLU
    return functools.partial(residual, functools.partial(HeadsBlock, name), mlp=mlp)


def _mambas(
    block: Callable[..., Any], input_size: int, hidden_size: int, *, num_layers: int, **options: Any
) -> Stacked:
    make = scaled(block, num_layers)
    return residual(make, input_size, hidden_size, num_layers=num_layers, **options)


def _xlstm(
    block: Callable[..., Any], input_size: int, hidden_size: int, *, num_layers: int, **options: Any
) -> Stacked:
    """Layer norms without biases, and the last maps of perceptrons smaller in deep stacks."""

    def mlp(size: int, output_size: int, **given: Any) -> GeGLU:
        made = GeGLU(size, output_size, **given)
        weight = made.output.weight / num_layers
        return replace(made, output=replace(made.output, weight=weight))

    return residual(
        block,
        input_size,
        hidden_size,
        mlp=mlp if block is SLSTMBlock else None,
        norm=_centred,
        placed=True,
        num_layers=num_layers,
        **options,
    )


def _centred(size: int, *, dtype: Any) -> eqx.nn.LayerNorm:
    return eqx.nn.LayerNorm(size, use_bias=False, dtype=dtype)


def _rwkv7(
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """Layer norms behind the linear map, before all mixers and at the end; the values of the first
    layer reach all others, with `bidirectional` the sum of those of both directions."""
    check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
    key_map, *keys = jr.split(key, 1 + num_layers)
    dtype, size = options.get("dtype"), hidden_size

    def mixer(make: Callable[..., Any], i: int, key: PRNGKeyArray, **given: Any) -> Any:
        made = [make(size, place=(i, num_layers), key=k, **given) for k in jr.split(key)]
        return Bidirectional(*made, merge="sum") if bidirectional else made[0]

    blocks = []
    for i, k in enumerate(keys):
        key_time, key_channel = jr.split(k)
        time = mixer(RWKV7TimeMix, i, key_time, **options)
        blocks.append(HandingBlock(time, dropout=dropout, dtype=dtype))
        channel = mixer(RWKV7ChannelMix, i, key_channel, dtype=dtype)
        around: dict[str, Any] = {"mix": "none", "dropout": dropout, "dtype": dtype}
        blocks.append(Leading(Block(channel, **around, key=key_channel), 2 * size))
    first = Pointwise(make_norm("layer", size, dtype=dtype), size, size)
    last = Pointwise(_NormOfFirst(make_norm("layer", size, dtype=dtype)), 2 * size, size)
    return Stacked([linear(input_size, size, dtype=dtype, key=key_map), first, *blocks, last])


class _NormOfFirst(eqx.Module):
    """A norm of the first features; the others end here."""

    norm: eqx.nn.LayerNorm

    def __call__(self, x: Array) -> Array:
        return self.norm(x[: self.norm.shape[0]])
