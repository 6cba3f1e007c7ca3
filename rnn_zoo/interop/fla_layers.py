"""Blocks from the plain arrays of the layers of fla, flash-linear-attention."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from .._common.checks import check_choice, check_sizes
from ..base import replace
from ..layers.heads_block import HeadsBlock
from ..layers.mamba2_block import Mamba2Block
from ._from_gates import filled
from ._named import Named
from .mamba2_arrays import read_mamba2


def from_fla(
    layer: str, arrays: Any, *, prefix: str = "", dtype: Any = None, **options: Any
) -> HeadsBlock | Mamba2Block:
    """A block from the arrays of one layer of fla (fla-org/flash-linear-attention), by their names.

        block = rz.interop.from_fla("GatedDeltaNet", arrays, prefix="model.layers.0.attn.")

    **Arguments:**

    - `layer`: the name of its class there, one of the table.
    - `arrays`: its `state_dict()`, or what `safetensors.numpy.load_file` gives; neither fla nor
      Triton is needed. `prefix`: what the names of this layer begin with.
    - `options`: keywords of the class, of its model's `config.json`, that arrays do not tell. Each
      has its default there.

    | layer | here | options |
    |---|---|---|
    | LinearAttention | `HeadsBlock("linear_attention")` | `feature_map` "elu" must be given; `do_feature_map_norm`, `norm_eps` |
    | GatedLinearAttention | `HeadsBlock("gla")` | `gate_logit_normalizer`, `gate_fn`, `norm_eps` |
    | MultiScaleRetention | `HeadsBlock("retnet", rotary=True)` | `gate_fn`, `norm_eps` |
    | DeltaNet | `HeadsBlock("deltanet")` | `allow_neg_eigval`, `norm_eps` |
    | GatedDeltaNet | `HeadsBlock("gated_deltanet")` | these, `output_gate_activation` |
    | KimiDeltaAttention | `HeadsBlock("kda")` | `allow_neg_eigval`, `norm_eps` |
    | Mamba2 | `Mamba2Block` | `n_groups`, `norm_eps` |

    The first three take `elementwise_affine`; where it is False their norm has no weights, which
    would tell the number of heads, and `num_heads` is needed. GatedDeltaNet and KimiDeltaAttention
    need it where it is not `num_v_heads`. Short convolutions, biases and output gates are read off the names. Where heads
    share keys or values, as with `num_kv_heads`, each has its own here: the outputs are equal, and
    the parameters are more. Options that change what no block here computes may be given with the
    one value that has a place, such as `clamp_min=None`. The pairs of MultiScaleRetention, which
    stand in two halves there, become neighbours.

    **Raises:** ValueError for another layer, for names or shapes that do not fit, for an option
    with another value; TypeError for an unknown option.
    """  # noqa: E501
    check_choice("layer", layer, [*_LAYERS, "Mamba2"])
    given = Named(arrays, prefix, dtype)
    known = _MAMBA2 if layer == "Mamba2" else _LAYERS[layer].options
    chosen = _chosen(layer, known, options)
    if layer == "Mamba2":
        made = read_mamba2(given, "", chosen["n_groups"], chosen["norm_eps"])
    else:
        made = _read(given, _LAYERS[layer], chosen)
    given.finish()
    return made


class _Only(NamedTuple):
    """An option of which only one value has a place here; `default` is that of fla."""

    value: Any
    default: Any


class _Layer(NamedTuple):
    """How a layer of fla is read."""

    cell: str
    options: dict[str, Any]
    norm: tuple[str, ...]
    read: Callable[..., "_Own"]


class _Sizes(NamedTuple):
    heads: int
    key: int
    value: int
    size: int


class _Own(NamedTuple):
    """What a cell has besides q, k and v: rows of features, parameters, options of the block."""

    rows: list[Array] = []
    parameters: dict[str, Array] = {}
    options: dict[str, Any] = {}


class _Channels(NamedTuple):
    """The map to q, k or v and the convolution behind it, rows first, newest input first."""

    weight: Array
    kernel: Array | None
    bias: Array | None


def _chosen(layer: str, known: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options with their defaults; TypeError for one that is not known, ValueError for one
    that has no place here."""
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(
            f"from_fla({layer!r}, ...) has no option {unknown[0]!r}: it takes {', '.join(known)}, "
            "and the arrays tell the rest"
        )
    chosen = {}
    for name, default in known.items():
        only = isinstance(default, _Only)
        value = options.get(name, default.default if only else default)
        if only and value != default.value:
            raise ValueError(
                f"expected {name}={default.value!r}, the only one with a block here, got {value!r}"
                + ("" if name in options else f", the default of {layer}")
            )
        chosen[name] = value
    return chosen


# --- the layers -----------------------------------------------------------------------------------


def _linear_attention(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    return _Own(options={"normalised": chosen["do_feature_map_norm"]})


def _gla(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    rank = given.take("gk_proj.0.weight", None, sizes.size)
    weight = given.take("gk_proj.1.weight", None, len(rank))
    bias = given.take("gk_proj.1.bias", len(weight))
    weight, bias = (_for_heads("gk_proj.1", part, sizes, sizes.key) for part in (weight, bias))
    parameters = {"weight_gate": weight, "bias_gate": bias}
    options = {"gate_logit_normalizer": float(chosen["gate_logit_normalizer"]), "rank": len(rank)}
    return _Own([rank], parameters, options)


def _retention(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    return _Own(options={"rotary": True})


def _beta(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    rows = given.take("b_proj.weight", sizes.heads, sizes.size)
    return _Own([rows], options={"negative_eigenvalues": chosen["allow_neg_eigval"]})


def _gated_delta(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    own = _beta(given, sizes, chosen)
    rows = [*own.rows, given.take("a_proj.weight", sizes.heads, sizes.size)]
    return _Own(rows, _decays(given), own.options)


def _kda(given: Named, sizes: _Sizes, chosen: dict[str, Any]) -> _Own:
    own = _beta(given, sizes, chosen)
    rank = given.take("f_proj.0.weight", None, sizes.size)
    parameters = _decays(given) | {"weight_gate": given.take("f_proj.1.weight", None, len(rank))}
    return _Own([*own.rows, rank], parameters, own.options | {"rank": len(rank)})


def _decays(given: Named) -> dict[str, Array]:
    return {"A_log": given.take("A_log"), "bias_dt": given.take("dt_bias")}


_AFFINE = {"num_heads": None, "norm_eps": 1e-5, "elementwise_affine": True}
_GATED = _AFFINE | {"gate_fn": "swish", "feature_map": _Only(None, None)}
_DELTA = {"num_heads": None, "allow_neg_eigval": False, "norm_eps": 1e-5}
_ACTIVATION = "output_gate_activation"
_FUSED = "g_norm_swish_gate"
_GATED_NORM = (_FUSED, "g_norm")
_LAYERS = {
    "LinearAttention": _Layer(
        "linear_attention",
        _AFFINE
        | {
            "feature_map": _Only("elu", "elementwise_product"),
            "do_feature_map_norm": False,
            "output_norm": _Only("rmsnorm", "rmsnorm"),
            "norm_q": _Only(False, False),
            "norm_k": _Only(False, False),
        },
        ("norm",),
        _linear_attention,
    ),
    "GatedLinearAttention": _Layer(
        "gla",
        _GATED | {"gate_logit_normalizer": 16, "clamp_min": _Only(None, None)},
        _GATED_NORM,
        _gla,
    ),
    "MultiScaleRetention": _Layer("retnet", _GATED, _GATED_NORM, _retention),
    "DeltaNet": _Layer(
        "deltanet",
        _DELTA | {"qk_activation": _Only("silu", "silu"), "qk_norm": _Only("l2", "l2")},
        ("o_norm",),
        _beta,
    ),
    "GatedDeltaNet": _Layer(
        "gated_deltanet", _DELTA | {_ACTIVATION: "swish"}, ("o_norm",), _gated_delta
    ),
    "KimiDeltaAttention": _Layer(
        "kda", _DELTA | {"lower_bound": _Only(None, None)}, ("o_norm",), _kda
    ),
}
_MAMBA2 = {"n_groups": 1, "norm_eps": 1e-5, "norm_before_gate": _Only(False, False)}
_GATES = {"swish": "silu", "silu": "silu", "sigmoid": "sigmoid"}


# --- what they share ------------------------------------------------------------------------------


def _read(given: Named, layer: _Layer, chosen: dict[str, Any]) -> HeadsBlock:
    """The block of a layer, made without numbers and filled."""
    fused = layer.norm[0]
    norm = next((name for name in layer.norm if f"{name}.weight" in given), fused)
    scale = given.take(f"{norm}.weight", None) if chosen.get("elementwise_affine", True) else None
    project_out = given.linear("o_proj")
    channels = [_channels(given, name, project_out.weight.shape[0]) for name in "qkv"]
    forms = {(None if c.kernel is None else c.kernel.shape[1], c.bias is None) for c in channels}
    if len(forms) > 1:
        raise ValueError(
            "expected convolutions of q, k and v alike, with as many inputs each, got q_conv1d, "
            "k_conv1d and v_conv1d that differ: the arrays are not whole"
        )
    sizes = _sizes(layer, channels, scale, chosen["num_heads"], project_out.weight)
    channels = [
        _Channels(*(_for_heads(f"{name}_proj", one, sizes, width) for one in part))
        for name, part, width in zip("qkv", channels, (sizes.key, sizes.key, sizes.value))
    ]
    if layer.cell == "retnet":
        channels[:2] = [_neighbours(part, sizes.key) for part in channels[:2]]
    own = layer.read(given, sizes, chosen)
    gate_rows, gate_map = _gate(given, layer.cell, sizes, scale is not None and norm == _FUSED)
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


def _sizes(
    layer: _Layer, channels: list[_Channels], scale: Any, num_heads: int | None, out: Array
) -> _Sizes:
    size, wide = out.shape
    if num_heads is not None:
        check_sizes(num_heads=num_heads)
    if scale is not None:
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
            f"expected heads that divide the {wide} values of o_proj.weight, got "
            + (f"num_heads={num_heads}" if scale is None else f"a norm of {len(scale)} numbers")
        )
    queries = heads if num_heads is None else num_heads
    # Of the others num_heads is the number of all heads.
    few = layer.cell in ("gated_deltanet", "kda") and heads % queries == 0
    rows = len(channels[0].weight)
    if (queries != heads and not few) or rows % queries:
        raise ValueError(
            f"expected a num_heads that the arrays have, got {queries} for {heads} heads of values "
            f"and {rows} rows of queries"
        )
    return _Sizes(heads, rows // queries, wide // heads, size)


def _for_heads(name: str, array: Array | None, sizes: _Sizes, width: int) -> Any:
    """The rows of all heads, from those of as many or of fewer heads, each for several."""
    if array is None:
        return None
    count, rest = divmod(len(array), width)
    if rest or count < 1 or sizes.heads % count:
        raise ValueError(
            f"expected {name} with {width} rows for each of the {sizes.heads} heads, or of fewer "
            f"that divide them, got {len(array)}"
        )
    by_head = array.reshape(count, width, *array.shape[1:])
    return jnp.repeat(by_head, sizes.heads // count, 0).reshape(-1, *array.shape[1:])


def _neighbours(part: _Channels, width: int) -> _Channels:
    """Numbers that turn together, i and i + width / 2 of a head, one behind the other."""

    def turned(array: Array | None) -> Any:
        if array is None:
            return None
        halves = array.reshape(-1, 2, width // 2, *array.shape[1:])
        return jnp.swapaxes(halves, 1, 2).reshape(array.shape)

    return _Channels(*(turned(array) for array in part))


def _gate(given: Named, cell: str, sizes: _Sizes, needed: bool) -> tuple[list[Array], Any]:
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
    name = _ACTIVATION if _ACTIVATION in chosen else "gate_fn"
    gate = _GATES[check_choice(name, chosen.get(name, "swish"), _GATES)]
    return gate if rows else "none"


def _eps(cell: str, sizes: _Sizes, chosen: dict[str, Any]) -> float:
    """That of the norm. The linear attention of fla scales what it reads by key^-1/2, ours does
    not, which before a norm is an eps of its own."""
    scaled = cell == "linear_attention" and not chosen["do_feature_map_norm"]
    return float(chosen["norm_eps"]) * (sizes.key if scaled else 1)


def _norm(norm: eqx.nn.RMSNorm, scale: Array | None) -> eqx.nn.RMSNorm:
    """Of each head, with fla's weights, or without."""
    own = eqx.nn.RMSNorm(norm.shape, eps=norm.eps, use_weight=scale is not None, use_bias=False)
    return own if scale is None else filled(own, weight=scale)


def _inner(
    layers: tuple[Any, ...], channels: list[_Channels], own: _Own, sizes: _Sizes
) -> tuple[Any, ...]:
    """The convolution, and the cell."""
    *before, core = layers
    cell = filled(core.cell, **own.parameters)
    if own.options.get("normalised"):
        # Beside a sum that fla has scaled by key^-1/2.
        cell = replace(cell, eps=1e-10 * sizes.key**0.5)
    _, kernels, biases = zip(*channels)
    if kernels[0] is not None:
        conv, silu = before[0].layer.layers
        arrays = {"weight": jnp.concatenate(kernels).T}
        if biases[0] is not None:
            arrays["bias"] = jnp.concatenate(biases)
        conv = replace(conv, cell=filled(conv.cell, **arrays))
        stack = replace(before[0].layer, layers=(conv, silu))
        before = [replace(before[0], layer=stack)]
    return (*before, replace(core, cell=cell))
