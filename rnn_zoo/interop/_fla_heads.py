"""Blocks whose heads keep a matrix from arrays by the names of fla's layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from .._common.checks import check_choice, check_sizes
from ..base import replace
from ..layers.heads_block import HeadsBlock
from ._from_gates import filled
from ._named import Named


ACTIVATION = "output_gate_activation"
FUSED = "g_norm_swish_gate"
_FEWER_QUERIES = ("gated_deltanet", "kda", "delta_product")
GATES = {"swish": "silu", "silu": "silu", "sigmoid": "sigmoid"}


class Layer(NamedTuple):
    """How a layer is read: the names of its norm and of what its convolutions see, and of its
    options, by which it is asked."""

    cell: str
    options: dict[str, Any]
    norm: tuple[str, ...]
    read: Callable[..., "Own"]
    parts: str = "qkv"


class Sizes(NamedTuple):
    heads: int
    key: int
    value: int
    size: int
    steps: int = 1
    """Of the delta rule for each input."""


class Own(NamedTuple):
    """What a cell has besides q, k and v: rows of features, parameters, options of the block."""

    rows: list[Array] = []
    parameters: dict[str, Array] = {}
    options: dict[str, Any] = {}


class _Channels(NamedTuple):
    """The map to q, k or v and the convolution behind it, rows first, newest input first."""

    weight: Array
    kernel: Array | None
    bias: Array | None


def read_heads(given: Named, layer: Layer, chosen: dict[str, Any]) -> HeadsBlock:
    """The block of a layer, made without numbers and filled."""
    fused = layer.norm[0]
    norm = next((name for name in layer.norm if f"{name}.weight" in given), fused)
    scale = given.take(f"{norm}.weight", None) if chosen.get("elementwise_affine", True) else None
    project_out = given.linear("o_proj")
    channels = [_channels(given, name, project_out.weight.shape[0]) for name in layer.parts]
    forms = {(None if c.kernel is None else c.kernel.shape[1], c.bias is None) for c in channels}
    if len(forms) > 1:
        names = ", ".join(f"{name}_conv1d" for name in layer.parts)
        raise ValueError(
            f"expected convolutions alike, with as many inputs each, got {names} that differ: the "
            "arrays are not whole"
        )
    sizes = _sizes(layer, channels, scale, _num_heads(chosen, project_out), project_out.weight)
    shapes = (sizes.key, 1), (sizes.key, sizes.steps), (sizes.value, sizes.steps)
    channels = [
        _Channels(*(for_heads(f"{name}_proj", one, sizes.heads, shape) for one in part))
        for name, part, shape in zip(layer.parts, channels, shapes)
    ]
    if layer.cell == "retnet":
        channels[:2] = [_neighbours(part, sizes.key) for part in channels[:2]]
    own = layer.read(given, sizes, chosen)
    gate_rows, gate_map = _gate(given, layer.cell, sizes, scale is not None and norm == FUSED)
    block = eqx.filter_eval_shape(
        lambda: HeadsBlock(
            layer.cell,
            sizes.size,
            width=sizes.heads * sizes.value,
            kernel_size=0 if channels[0].kernel is None else channels[0].kernel.shape[1],
            conv_bias=channels[0].bias is not None,
            gate=_gate_function(layer.cell, gate_rows, chosen),
            eps=_eps(layer.cell, sizes, chosen),
            num_heads=sizes.heads,
            key_size=sizes.key,
            **own.options,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    weight = jnp.concatenate([part.weight for part in channels] + own.rows + gate_rows)
    return replace(
        block,
        project_in=filled(block.project_in, weight=weight),
        inner=replace(block.inner, layers=_inner(block.inner.layers, channels, own, sizes)),
        norm=_norm(block.norm, scale),
        gate_map=gate_map,
        project_out=project_out,
    )


def _channels(given: Named, name: str, size: int) -> _Channels:
    weight = given.take(f"{name}_proj.weight", None, size)
    kernel = bias = None
    if f"{name}_conv1d.weight" in given:
        # Theirs is a correlation, its last weight that of the newest input.
        kernel = given.take(f"{name}_conv1d.weight", len(weight), 1, None)[:, 0, ::-1]
        if f"{name}_conv1d.bias" in given:
            bias = given.take(f"{name}_conv1d.bias", len(weight))
    return _Channels(weight, kernel, bias)


def _num_heads(chosen: dict[str, Any], out: eqx.nn.Linear) -> int | None:
    """Of the queries, where it is asked for."""
    ratio = chosen.get("expand_ratio")
    return chosen["num_heads"] if ratio is None else len(out.weight) // ratio


def _sizes(
    layer: Layer, channels: list[_Channels], scale: Any, num_heads: int | None, out: Array
) -> Sizes:
    size, wide = out.shape
    if num_heads is not None:
        check_sizes(num_heads=num_heads)
    if scale is not None and layer.cell != "hgrn2":  # which has one norm for all heads
        heads, rest = divmod(wide, max(1, len(scale)))
    elif num_heads is not None:
        heads, rest = num_heads, wide % num_heads
    else:
        raise ValueError(
            "expected num_heads, which a norm without weights does not tell: how many heads do "
            f"the {wide} values of this layer have?"
        )
    if rest or heads < 1:
        raise ValueError(
            f"expected heads that divide the {wide} values of o_proj.weight, got {heads} heads and "
            f"{rest} values more"
        )
    queries = heads if num_heads is None else num_heads
    # Of the others num_heads is the number of all heads.
    few = layer.cell in _FEWER_QUERIES and heads % queries == 0
    rows = len(channels[0].weight)
    if (queries != heads and not few) or rows % queries:
        raise ValueError(
            f"expected a num_heads that the arrays have, got {queries} for {heads} heads of values "
            f"and {rows} rows of queries"
        )
    steps, rest = divmod(len(channels[2].weight), wide) if layer.cell == "delta_product" else (1, 0)
    if rest or steps < 1:
        raise ValueError(
            f"expected v_proj.weight with {wide} rows for each step of an input, got "
            f"{len(channels[2].weight)}"
        )
    return Sizes(heads, rows // queries, wide // heads, size, steps)


def for_heads(name: str, array: Array | None, heads: int, shape: tuple[int, int]) -> Any:
    """The rows of all heads, from those of as many or of fewer heads, each for several; `shape` is
    the width of a head, and of how many steps one behind the other."""
    if array is None:
        return None
    width, steps = shape
    count, rest = divmod(len(array), width * steps)
    if rest or count < 1 or heads % count:
        raise ValueError(
            f"expected {name} with {width * steps} rows for each of the {heads} heads, or of fewer "
            f"that divide them, got {len(array)}"
        )
    by_head = array.reshape(steps, count, width, *array.shape[1:])
    return jnp.repeat(by_head, heads // count, 1).reshape(-1, *array.shape[1:])


def _neighbours(part: _Channels, width: int) -> _Channels:
    """Numbers that turn together, i and i + width / 2 of a head, one behind the other."""

    def turned(array: Array | None) -> Any:
        if array is None:
            return None
        halves = array.reshape(-1, 2, width // 2, *array.shape[1:])
        return jnp.swapaxes(halves, 1, 2).reshape(array.shape)

    return _Channels(*(turned(array) for array in part))


def _gate(given: Named, cell: str, sizes: Sizes, needed: bool) -> tuple[list[Array], Any]:
    """The rows of the output gate, where there is one, and the map behind them."""
    wide = sizes.heads * sizes.value
    if cell == "kda":
        rows = given.take("g_proj.0.weight", sizes.value, sizes.size)
        return [rows], given.linear("g_proj.1", sizes.value)
    if not needed and "g_proj.weight" not in given:
        return [], None
    return [given.take("g_proj.weight", wide, sizes.size)], None


def _gate_function(cell: str, rows: list[Array], chosen: dict[str, Any]) -> str:
    if cell == "kda":
        return "sigmoid"
    name = ACTIVATION if ACTIVATION in chosen else "gate_fn"
    gate = GATES[check_choice(name, chosen.get(name, "swish"), GATES)]
    return gate if rows else "none"


def _eps(cell: str, sizes: Sizes, chosen: dict[str, Any]) -> float:
    """That of the norm. The linear attention and HGRN2 of fla scale what they read by key^-1/2,
    ours do not, which before a norm is an eps of its own."""
    scaled = cell == "hgrn2" or (cell == "linear_attention" and not chosen["do_feature_map_norm"])
    return float(chosen["norm_eps"]) * (sizes.key if scaled else 1)


def _norm(norm: eqx.nn.RMSNorm, scale: Array | None) -> eqx.nn.RMSNorm:
    """With fla's weights, or without."""
    own = eqx.nn.RMSNorm(norm.shape, eps=norm.eps, use_weight=scale is not None, use_bias=False)
    return own if scale is None else filled(own, weight=scale)


def _inner(
    layers: tuple[Any, ...], channels: list[_Channels], own: Own, sizes: Sizes
) -> tuple[Any, ...]:
    """The convolution, and the cell."""
    *before, core = layers
    cell = filled(core.cell, **own.parameters)
    if own.options.get("normalised"):
        # Beside a sum that fla has scaled by key^-1/2.
        cell = replace(cell, eps=1e-10 * sizes.key**0.5)
    _, kernels, biases = zip(*channels)
    if kernels[0] is not None:
        arrays = {"weight": jnp.concatenate(kernels).T}
        if biases[0] is not None:
            arrays["bias"] = jnp.concatenate(biases)
        layer = before[0].layer
        conv, *silu = getattr(layer, "layers", (layer,))
        conv = replace(conv, cell=filled(conv.cell, **arrays))
        layer = replace(layer, layers=(conv, *silu)) if silu else conv
        before = [replace(before[0], layer=layer)]
    return (*before, replace(core, cell=cell))
