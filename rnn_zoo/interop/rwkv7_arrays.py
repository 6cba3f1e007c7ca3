"""RWKV-7 from the plain arrays of its authors' code and of fla's layer."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from ..base import replace
from ..layers.published import published
from ..layers.rwkv7_block import RWKV7TimeMix
from ..layers.stacked import Stacked
from ._from_gates import filled
from ._named import Named


_Arrays = dict[str, Array]


def rwkv7_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> Stacked:
    """The layers of an RWKV-7 (BlinkDL/RWKV-LM, "x070"), from the first norm to the last.

    | there | here |
    |---|---|
    | `blocks.0.ln0`, `blocks.0.ln1`, `blocks.0.ln2`, `ln_out` | the layer norms |
    | `blocks.0.att.x_r`, `x_w`, `x_k`, `x_v`, `x_a`, `x_g` | `mix` of the token shift |
    | `blocks.0.att.receptance.weight`, `key`, `value`, `output` | the maps |
    | `blocks.0.att.w0`, `w1`, `w2`; a, v, g in the same way | bias, `down_w`, `weight_w` |
    | `blocks.0.att.k_k`, `k_a`, `r_k`, `ln_x` | `k_k`, `k_a`, `bonus`, the norm of each head |
    | `blocks.0.ffn.x_k`, `key.weight`, `value.weight` | those of `RWKV7ChannelMix` |

    It reads what the embedding `emb.weight` gives and hands on what `head.weight` reads; these two
    are no part of it and have to be taken out of `arrays` before. What the authors' layers have
    and do not use, `v0`, `v1` and `v2` of the first and `ln0` of the others, is left out. Keys have
    length 1 there, and here but for 1e-6 under the root. ValueError where names or shapes do not
    fit, such as ranks of w and a that differ.
    """
    given, count = Named(arrays, prefix, dtype), 0
    while given.has_below(f"blocks.{count}"):
        count += 1
    if not count:
        raise ValueError(f"expected arrays below {prefix}blocks.0: give the prefix of the network")
    fields = [_authors(given, f"blocks.{i}.att.", i == 0) for i in range(count)]
    heads, head = fields[0]["bonus"].shape
    size, dtype = heads * head, given.dtype
    ranks = {name: len(fields[-1].get(f"down_{name[0]}", [0])) for name in ("value", "gate")}
    shapes = eqx.filter_eval_shape(
        lambda: published("rwkv7", "RWKV7TimeMix")(
            size,
            size,
            num_layers=count,
            num_heads=heads,
            rank=len(fields[0]["down_w"]),
            value_rank=ranks["value"],
            gate_rank=ranks["gate"],
            dtype=dtype,
            key=jr.key(0),
        )
    )
    first, *blocks, last = shapes.layers[1:]
    layers = [replace(first, function=_norm(given, first.function, "blocks.0.ln0"))]
    for i, own in enumerate(fields):
        time, channel = blocks[2 * i : 2 * i + 2]
        norm = _norm(given, time.norm, f"blocks.{i}.ln1")
        layers.append(replace(time, norm=norm, layer=_filled(time.layer, own)))
        layers.append(replace(channel, layer=_channel_mix(given, channel.layer, f"blocks.{i}.")))
        if i and given.has_below(f"blocks.{i}.ln0"):
            _norm(given, time.norm, f"blocks.{i}.ln0")
    norm = _norm(given, last.function.norm, "ln_out")
    given.finish()
    return Stacked([*layers, replace(last, function=replace(last.function, norm=norm))])


def read_fla(given: Named, norm_eps: float) -> RWKV7TimeMix:
    """The mixer of the arrays of fla's `RWKV7Attention`, without `v_lora` that of a first layer."""
    names = {"weight_r": "r_proj", "weight_k": "k_proj", "weight_v": "v_proj", "out": "o_proj"}
    own = {field: given.take(f"{name}.weight", None, None) for field, name in names.items()}
    size = len(own["weight_r"])
    own["mix"] = jnp.stack([given.take(f"x_{part}", 1, 1, size)[0, 0] for part in "rwkvag"])
    own["bonus"] = given.take("r_k", None, None)
    own |= {name: given.take(name, size) for name in ("k_k", "k_a")}
    own |= {f"norm_{name}": given.take(f"g_norm.{name}", size) for name in ("weight", "bias")}
    first = not given.has_below("v_lora")
    for part in "wag" if first else "wagv":
        own[f"down_{part}"] = given.take(f"{part}_lora.lora.0.weight", None, size)
        own["up_v" if part == "v" else f"weight_{part}"] = given.take(
            f"{part}_lora.lora.2.weight", size, len(own[f"down_{part}"])
        )
        if part != "g":
            own[f"bias_{part}"] = given.take(f"{part}_lora.lora.2.bias", size)
    heads, head = own["bonus"].shape
    block = eqx.filter_eval_shape(
        lambda: RWKV7TimeMix(
            heads * head,
            num_heads=heads,
            rank=len(own["down_w"]),
            value_rank=len(own.get("down_v", [0])),
            gate_rank=len(own["down_g"]),
            eps=head * norm_eps,
            place=(0, 1) if first else (1, 2),
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    return _filled(block, own)


def _authors(given: Named, part: str, first: bool) -> _Arrays:
    """The arrays of a time mixer by the names of ours."""
    names = {"weight_r": "receptance", "weight_k": "key", "weight_v": "value", "out": "output"}
    own = {field: given.take(f"{part}{name}.weight", None, None) for field, name in names.items()}
    size = len(own["weight_r"])
    mixes = [given.take(f"{part}x_{name}", 1, 1, size) for name in "rwkvag"]
    own["mix"] = jnp.concatenate(mixes).reshape(-1, size)
    own["bonus"] = given.take(part + "r_k", None, None)
    own |= {name: given.take(part + name, 1, 1, size).ravel() for name in ("k_k", "k_a")}
    own |= {f"norm_{name}": given.take(f"{part}ln_x.{name}", size) for name in ("weight", "bias")}
    for name in "wagv" if f"{part}v1" in given or not first else "wag":
        down = given.take(f"{part}{name}1", size, None).T
        up = given.take(f"{part}{name}2", len(down), size).T
        bias = {} if name == "g" else {f"bias_{name}": given.take(f"{part}{name}0").ravel()}
        if name != "v" or not first:
            field = "up_v" if name == "v" else f"weight_{name}"
            own |= {f"down_{name}": down, field: up, **bias}
    return own


def _filled(mixer: RWKV7TimeMix, own: _Arrays) -> RWKV7TimeMix:
    """The mixer with these arrays, by the names of its parts."""
    if len(own["down_w"]) != len(own["down_a"]):
        raise ValueError(
            "expected one rank for the maps to w and to a, got "
            f"{len(own['down_w'])} and {len(own['down_a'])}"
        )
    shift, maps, leading = mixer.inner.layers
    cell = filled(shift.layer.cell, mix=own["mix"])
    shift = replace(shift, layer=replace(shift.layer, cell=cell))
    names = ["weight_r", "weight_k", "weight_v", "down_w", "down_a", "down_g"]
    names += [] if mixer.first else ["down_v", "up_v", "bias_v"]
    maps = replace(maps, function=filled(maps.function, **{name: own[name] for name in names}))
    names = ["weight_w", "weight_a", "bias_w", "bias_a", "k_k", "k_a"]
    cell = filled(leading.layer.cell, **{name: own[name] for name in names})
    leading = replace(leading, layer=replace(leading.layer, cell=cell))
    names = ["norm_weight", "norm_bias", "bonus", "weight_g"]
    return replace(
        filled(mixer, **{name: own[name] for name in names}),
        inner=replace(mixer.inner, layers=(shift, maps, leading)),
        project_out=filled(mixer.project_out, weight=own["out"]),
    )


def _channel_mix(given: Named, block: Any, part: str) -> Any:
    mixer = block.layer
    size = mixer.input_size
    (shift,) = mixer.inner.layers
    mix = given.take(f"{part}ffn.x_k", 1, 1, size)[0]
    shift = replace(shift, cell=filled(shift.cell, mix=mix))
    maps = {
        f"weight_{name[0]}": given.take(f"{part}ffn.{name}.weight") for name in ("key", "value")
    }
    mixer = replace(filled(mixer, **maps), inner=replace(mixer.inner, layers=(shift,)))
    return replace(block, norm=_norm(given, block.norm, f"{part}ln2"), layer=mixer)


def _norm(given: Named, norm: eqx.nn.LayerNorm, name: str) -> eqx.nn.LayerNorm:
    size = norm.shape[0]
    weight, bias = (given.take(f"{name}.{end}", size) for end in ("weight", "bias"))
    return replace(norm, weight=weight, bias=bias)
