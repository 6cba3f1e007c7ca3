"""Blocks from the plain arrays of the layers of fla, flash-linear-attention."""

from typing import Any, NamedTuple

from jaxtyping import Array

from .._common.checks import check_choice
from ..layers.heads_block import HeadsBlock
from ..layers.mamba2_block import Mamba2Block
from ..layers.rwkv7_block import RWKV7TimeMix
from ._fla_heads import ACTIVATION, FUSED, Layer, Own, Sizes, for_heads, read_heads
from ._named import Named
from .mamba2_arrays import read_mamba2
from .rwkv7_arrays import read_fla


def from_fla(
    layer: str, arrays: Any, *, prefix: str = "", dtype: Any = None, **options: Any
) -> HeadsBlock | Mamba2Block | RWKV7TimeMix:
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
    | GatedDeltaProduct | `HeadsBlock("delta_product")` | the same; here the first is True |
    | HGRN2Attention | `HeadsBlock("hgrn2")` | `expand_ratio`, `lower_bound`, one number |
    | Mamba2 | `Mamba2Block` | `n_groups`, `norm_eps` |
    | RWKV7Attention | `RWKV7TimeMix`, of a first layer without `v_lora` | `norm_eps` |

    The first three take `elementwise_affine`; where it is False their norm has no weights, which
    would tell the number of heads, and `num_heads` is needed. GatedDeltaNet, KimiDeltaAttention and
    GatedDeltaProduct need it where it is not `num_v_heads`, HGRN2Attention with `expand_ratio=None`
    alone. Short convolutions, biases and output gates are read off the names. Where heads
    share keys or values, as with `num_kv_heads`, each has its own here: the outputs are equal, and
    the parameters are more. Options that change what no block here computes may be given with the
    one value that has a place, such as `clamp_min=None`. The pairs of MultiScaleRetention, which
    stand in two halves there, become neighbours.

    **Raises:** ValueError for another layer, for names or shapes that do not fit, for an option
    with another value; TypeError for an unknown option.
    """  # noqa: E501
    check_choice("layer", layer, [*_LAYERS, *_OTHERS])
    given = Named(arrays, prefix, dtype)
    known = _OTHERS[layer] if layer in _OTHERS else _LAYERS[layer].options
    chosen = _chosen(layer, known, options)
    if layer == "Mamba2":
        made = read_mamba2(given, "", chosen["n_groups"], chosen["norm_eps"])
    elif layer == "RWKV7Attention":
        made = read_fla(given, float(chosen["norm_eps"]))
    else:
        made = read_heads(given, _LAYERS[layer], chosen)
    given.finish()
    return made


class _Only(NamedTuple):
    """An option of which only one value has a place here; `default` is that of fla."""

    value: Any
    default: Any


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


def _linear_attention(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    return Own(options={"normalised": chosen["do_feature_map_norm"]})


def _gla(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    rank = given.take("gk_proj.0.weight", None, sizes.size)
    weight = given.take("gk_proj.1.weight", None, len(rank))
    bias = given.take("gk_proj.1.bias", len(weight))
    weight, bias = (
        for_heads("gk_proj.1", part, sizes.heads, (sizes.key, 1)) for part in (weight, bias)
    )
    parameters = {"weight_gate": weight, "bias_gate": bias}
    options = {"gate_logit_normalizer": float(chosen["gate_logit_normalizer"]), "rank": len(rank)}
    return Own([rank], parameters, options)


def _retention(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    return Own(options={"rotary": True})


def _hgrn2(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    return Own(options={"lower_bound": float(chosen["lower_bound"])})


def _beta(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    rows = given.take("b_proj.weight", sizes.steps * sizes.heads, sizes.size)
    return Own([rows], options={"negative_eigenvalues": chosen["allow_neg_eigval"]})


def _gated_delta(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    own = _beta(given, sizes, chosen)
    rows = [*own.rows, given.take("a_proj.weight", sizes.heads, sizes.size)]
    return Own(rows, _decays(given), own.options)


def _delta_product(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    gated = given.has_below("a_proj") or "A_log" in given
    own = _gated_delta(given, sizes, chosen) if gated else _beta(given, sizes, chosen)
    return own._replace(options=own.options | {"gated": gated, "num_products": sizes.steps})


def _kda(given: Named, sizes: Sizes, chosen: dict[str, Any]) -> Own:
    own = _beta(given, sizes, chosen)
    rank = given.take("f_proj.0.weight", None, sizes.size)
    parameters = _decays(given) | {"weight_gate": given.take("f_proj.1.weight", None, len(rank))}
    return Own([*own.rows, rank], parameters, own.options | {"rank": len(rank)})


def _decays(given: Named) -> dict[str, Array]:
    return {"A_log": given.take("A_log"), "bias_dt": given.take("dt_bias")}


_AFFINE = {"num_heads": None, "norm_eps": 1e-5, "elementwise_affine": True}
_GATED = _AFFINE | {"gate_fn": "swish", "feature_map": _Only(None, None)}
_DELTA = {"num_heads": None, "allow_neg_eigval": False, "norm_eps": 1e-5}
_GATED_NORM = (FUSED, "g_norm")
_LAYERS = {
    "LinearAttention": Layer(
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
    "GatedLinearAttention": Layer(
        "gla",
        _GATED | {"gate_logit_normalizer": 16, "clamp_min": _Only(None, None)},
        _GATED_NORM,
        _gla,
    ),
    "MultiScaleRetention": Layer("retnet", _GATED, _GATED_NORM, _retention),
    "DeltaNet": Layer(
        "deltanet",
        _DELTA | {"qk_activation": _Only("silu", "silu"), "qk_norm": _Only("l2", "l2")},
        ("o_norm",),
        _beta,
    ),
    "GatedDeltaNet": Layer(
        "gated_deltanet", _DELTA | {ACTIVATION: "swish"}, ("o_norm",), _gated_delta
    ),
    "KimiDeltaAttention": Layer(
        "kda", _DELTA | {"lower_bound": _Only(None, None)}, ("o_norm",), _kda
    ),
    "GatedDeltaProduct": Layer(
        "delta_product", _DELTA | {"allow_neg_eigval": True}, ("o_norm",), _delta_product
    ),
    # Its forward pass does not hand its norm_eps on.
    "HGRN2Attention": Layer(
        "hgrn2",
        _AFFINE | {"norm_eps": _Only(1e-5, 1e-5), "expand_ratio": 128, "lower_bound": 0.0},
        ("g_norm",),
        _hgrn2,
        "qfi",
    ),
}
_OTHERS = {
    "Mamba2": {"n_groups": 1, "norm_eps": 1e-5, "norm_before_gate": _Only(False, False)},
    "RWKV7Attention": {"norm_eps": 1e-5},
}
