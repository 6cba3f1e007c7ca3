"""Recurrent language models of transformers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from ..base import replace
from ..layers.block import Block
from ..layers.norms import make_norm
from ..layers.pointwise import Pointwise, SwiGLU
from ..layers.stacked import Stacked
from ..layers.xlstm_large_block import MLSTMLargeBlock
from ._from_gates import filled
from ._named import Named
from ._plain_objects import check_hooks, check_plain, class_of
from .arrays import rglru_cell
from .blocks import griffin, griffin_blocks, read_mamba, residual_block
from .mamba2_arrays import read_mamba2


class LanguageModel(NamedTuple):
    """The parts of a language model, in the order in which they act.

    `layers` reads what `embedding` gives for each token; `head`, a map to the logits, is None where
    the model has none. With a head, `rz.SequenceModel` puts them together.
    """

    embedding: eqx.nn.Embedding
    layers: Stacked
    head: eqx.nn.Linear | None


def from_transformers(
    model: Any, config: Any = None, *, prefix: str = "", dtype: Any = None
) -> LanguageModel:
    """The parts of a recurrent language model of transformers, with its weights.

        embedding, layers, head = rz.interop.from_transformers(model)
        logits = jax.vmap(head)(layers(jax.vmap(embedding)(tokens)))

    **Arguments:**

    - `model`: a `MambaForCausalLM`, `Mamba2ForCausalLM`, `RecurrentGemmaForCausalLM` or
      `xLSTMForCausalLM`, or the `...Model` inside; or its `state_dict()`, or what
      `safetensors.numpy.load_file` gives, which needs neither transformers nor torch.
    - `config`: of a state dict: what the `config.json` beside it holds, as a mapping. A model has
      its own.
    - `prefix`: of a state dict, in front of all its names.

    **Returns:** a `LanguageModel`: embedding, a `rz.Stacked` of residual blocks with the last norm,
    head. Tied weights become two parameters. The scale of RecurrentGemma's embeddings is part of
    `embedding`; the soft cap c of its logits and of xLSTM's, c tanh(y / c), is not part of `head`.

    **Raises:** TypeError for another model and for one with code of its own; ValueError for names
    or shapes that do not fit, and for options that no block here has, such as attention in a
    RecurrentGemma (`block_types`).
    """
    if not isinstance(model, Mapping):
        model, config = _of_a_model(model, config, prefix)
    elif config is None:
        raise TypeError(
            "expected the config of a state dict, what the config.json beside it holds: "
            "from_transformers(arrays, json.load(file))"
        )
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(config, Mapping) or config.get("model_type") not in _MODELS:
        kind = config.get("model_type") if isinstance(config, Mapping) else type(config).__name__
        raise ValueError(
            f"expected a config with a model_type of {', '.join(_MODELS)}, got {kind!r}: there are "
            "no blocks here for it"
        )
    known = _MODELS[config["model_type"]]
    _check(config, known)
    given = Named(model, prefix, dtype)
    made = _read(given, known, config)
    given.finish()
    return made


class _Model(NamedTuple):
    """How a model of transformers is read."""

    part: str
    """Of the model inside one with a head."""
    embedding: str
    norm: str
    only: dict[str, Any]
    """What an option is by default, and must be."""
    tied: bool
    read: Any
    layers: str = "layers"


def _of_a_model(model: Any, config: Any, prefix: str) -> tuple[Any, Any]:
    names = [f"{name}{end}" for name in _NAMES for end in ("ForCausalLM", "Model")]
    own = class_of(model, names, ("transformers",))
    if own is None or not hasattr(model, "state_dict"):
        raise TypeError(
            f"expected one of {', '.join(names)} of transformers or a state dict, got "
            f"{type(model).__name__}"
        )
    if config is not None or prefix:
        raise TypeError(
            "config and prefix describe a state dict; a model tells them itself: leave them out"
        )
    mend = "its arrays alone are read by from_transformers(model.state_dict(), model.config)"
    check_plain(model, own, mend)
    check_hooks(model, ("transformers", "torch"))
    return model.state_dict(), model.config


def _check(config: Mapping[str, Any], known: _Model) -> None:
    for name, value in known.only.items():
        got = config.get(name, value)
        got = tuple(got) if isinstance(got, list | tuple) else got
        if got != value:
            raise ValueError(
                f"expected {name}={value!r} in the config, the only one with a block here, got "
                f"{got!r}"
            )


def _read(given: Named, known: _Model, config: Mapping[str, Any]) -> LanguageModel:
    whole = f"{known.part}{known.embedding}.weight" in given
    part = known.part if whole else ""
    weight = given.take(f"{part}{known.embedding}.weight", None, None)
    tokens, size = weight.shape
    layers = []
    while given.has_below(f"{part}{known.layers}.{len(layers)}"):
        layers.append(known.read(given, f"{part}{known.layers}.{len(layers)}.", config))
    if not layers or any(layer.input_size != size for layer in layers):
        raise ValueError(
            f"expected {part}{known.layers}.0 and more, each of {size} features as the embedding, "
            f"got {[layer.input_size for layer in layers]}"
        )
    norm = given.take(f"{part}{known.norm}.weight", size)
    head = None
    if "lm_head.weight" in given:
        head = given.linear("lm_head", size)
    elif whole:
        if not config.get("tie_word_embeddings", known.tied):
            raise ValueError("expected an array lm_head.weight, as tie_word_embeddings is False")
        empty = eqx.filter_eval_shape(
            lambda: eqx.nn.Linear(size, tokens, use_bias=False, key=jr.key(0))
        )
        head = replace(empty, weight=weight)
    if config["model_type"] == "recurrent_gemma":
        # transformers keeps it in 16 bits.
        weight = weight * jnp.asarray(size**0.5, jnp.bfloat16).astype(weight.dtype)
        norm = 1 + norm
    last = make_norm("rms", size, eps=_eps(config), dtype=given.dtype)
    return LanguageModel(
        eqx.nn.Embedding(weight=weight),
        Stacked([*layers, Pointwise(filled(last, weight=norm), size, size)]),
        head,
    )


# --- the models -----------------------------------------------------------------------------------


def _eps(config: Mapping[str, Any]) -> float:
    return float(config.get(*_EPS[config["model_type"]]))


def _mamba(given: Named, part: str, config: Mapping[str, Any]) -> Block:
    return residual_block(given, read_mamba(given, part + "mixer."), _eps(config), part)


def _mamba2(given: Named, part: str, config: Mapping[str, Any]) -> Block:
    mixer = read_mamba2(given, part + "mixer.", config.get("n_groups", 8), _eps(config))
    return residual_block(given, mixer, _eps(config), part)


def _griffin(given: Named, part: str, config: Mapping[str, Any]) -> Stacked:
    block, gates = part + "temporal_block.", part + "temporal_block.rg_lru."
    maps = given.linear(f"{block}linear_x"), given.linear(f"{block}linear_y")
    weights, biases = (
        [given.take(f"{gates}{gate}_gate_{kind}") for gate in ("recurrent", "input")]
        for kind in ("weight", "bias")
    )
    cell = rglru_cell(given.take(f"{gates}recurrent_param", None), weights, biases)
    width = cell.input_size
    kernel = given.take(f"{block}conv_1d.weight", width, 1, None)[:, 0].T
    conv = kernel, given.take(f"{block}conv_1d.bias", width)
    recurrent = griffin(maps, conv, cell, given.linear(f"{block}linear_out", width))
    gate, value, down = (
        given.linear(f"{part}mlp_block.{name}_proj") for name in ("gate", "up", "down")
    )
    scales: list[Array] = [
        given.take(f"{part}{name}_pre_norm.weight", recurrent.input_size)
        for name in ("temporal", "channel")
    ]
    up = [(gate.weight, gate.bias), (value.weight, value.bias)]
    return griffin_blocks(recurrent, up, down, scales, _eps(config))


def _xlstm(given: Named, part: str, config: Mapping[str, Any]) -> Stacked:
    own, eps = part + "mlstm_layer.", _eps(config)
    maps = [given.take(f"{own}{name}.weight", None, None) for name in "qkv"]
    gates = [given.take(f"{own}{name}gate_preact.weight", None, None) for name in "if"]
    out = given.take(f"{own}out_proj.weight", None, None)
    size, wide = out.shape
    heads = len(gates[0])
    keys, rest = divmod(len(maps[0]), max(1, heads))
    if rest or keys < 1 or wide != size or size % heads:
        raise ValueError(
            f"expected {own}q.weight of rows for {heads} heads, and as many values as features, "
            f"got {len(maps[0])} rows, {wide} values and {size} features"
        )
    block = eqx.filter_eval_shape(
        lambda: MLSTMLargeBlock(
            size,
            num_heads=heads,
            key_size=keys,
            gate_soft_cap=config.get("gate_soft_cap", 15.0),
            eps=eps,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    gate = given.take(own + "ogate_preact.weight", wide, size)
    weight = jnp.concatenate([*maps, *gates, gate])
    capped, cell = block.inner.layers
    biases = [given.take(f"{own}{name}gate_preact.bias", heads) for name in "if"]
    capped = replace(capped, function=filled(capped.function, bias=jnp.concatenate(biases)))
    mixer = replace(
        block,
        project_in=filled(block.project_in, weight=weight),
        inner=replace(block.inner, layers=(capped, cell)),
        norm_weight=given.take(own + "multihead_norm.weight", wide),
        project_out=filled(block.project_out, weight=out),
    )
    names = {"gate": "proj_up_gate", "value": "proj_up", "output": "proj_down"}
    up = {
        field: given.take(f"{part}ffn.{name}.weight", None, None) for field, name in names.items()
    }
    mlp = eqx.filter_eval_shape(
        lambda: SwiGLU(size, size, width=len(up["gate"]), dtype=given.dtype, key=jr.key(0))
    )
    mlp = replace(mlp, **{k: filled(getattr(mlp, k), weight=weight) for k, weight in up.items()})
    layers = {"norm_mlstm": mixer, "norm_ffn": Pointwise(mlp, size, size)}
    options = {"mix": "none", "norm": "rms", "eps": eps, "dtype": given.dtype, "key": jr.key(0)}
    blocks = [Block(layer, **options) for layer in layers.values()]
    return Stacked(
        [
            replace(
                block, norm=replace(block.norm, weight=given.take(f"{part}{name}.weight", size))
            )
            for block, name in zip(blocks, layers)
        ]
    )


_EPS = {
    "mamba": ("layer_norm_epsilon", 1e-5),
    "mamba2": ("layer_norm_epsilon", 1e-5),
    "recurrent_gemma": ("rms_norm_eps", 1e-6),
    "xlstm": ("norm_eps", 1e-6),
}
_NAMES = ("Mamba", "Mamba2", "RecurrentGemma", "xLSTM")
_MODELS = {
    "mamba": _Model("backbone.", "embeddings", "norm_f", {"hidden_act": "silu"}, True, _mamba),
    "mamba2": _Model(
        "backbone.",
        "embeddings",
        "norm_f",
        {"hidden_act": "silu", "time_step_limit": (0.0, float("inf"))},
        False,
        _mamba2,
    ),
    "recurrent_gemma": _Model(
        "model.",
        "embed_tokens",
        "final_norm",
        {"hidden_activation": "gelu_pytorch_tanh", "block_types": ("recurrent",)},
        True,
        _griffin,
    ),
    "xlstm": _Model(
        "backbone.", "embeddings", "out_norm", {"weight_mode": "single"}, False, _xlstm, "blocks"
    ),
}
