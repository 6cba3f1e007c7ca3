"""Whole blocks of state-space models from the plain arrays of their authors' code."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from .._common.checks import check_choice
from .._common.fixed import Fixed
from ..base import replace
from ..layers.block import Block
from ..layers.griffin import GriffinBlock
from ..layers.mamba_block import MambaBlock
from ..layers.pointwise import GatedMLP, Pointwise
from ..layers.recurrent import Recurrent
from ..layers.stacked import Stacked
from ._from_gates import filled
from ._named import Named
from .arrays import read_lru, read_rglru, read_s5


_MIXES = {"full_glu": "glu", "half_glu1": "half_glu1", "half_glu2": "half_glu2", "gelu": "gelu"}


def s5_block_from_arrays(
    arrays: Any,
    *,
    norm: str,
    prenorm: bool,
    activation: str = "full_glu",
    prefix: str = "",
    conj_sym: bool = True,
    clip_eigs: bool = False,
    discretisation: str = "zoh",
    dropout: float = 0.0,
    dtype: Any = None,
) -> Block:
    """A `rz.Block` from the variables of one `SequenceLayer` of S5's code (lindermanlab/S5).

    **Arguments:**

    - `arrays`: what flax holds, `{"params": ..., "batch_stats": ...}` or the parameters alone,
      nested or with names joined by dots: `seq.Lambda_re` and the others of `s5_from_arrays`,
      `out1.kernel`, `out2.kernel`, `norm.scale`, ...
    - `norm`: "batch" or "layer": with `batchnorm` or without. Of a batch norm the running
      `norm.mean` and `norm.var` are needed, which are in "batch_stats".
    - `prenorm`, `activation`, `conj_sym`, `clip_eigs`, `discretisation`: as it was trained. The
      arrays do not tell them; S5's defaults are prenorm=False, and "gelu" without `out1`.
    - `prefix`: of the layer's names, such as "encoder.layers_0.".
    - `dropout`: its rate, at both places, one draw for a sequence.

    **Returns:** the block, in training mode where it drops; `rz.batch(block)` takes batches.
    ValueError where names or shapes do not fit.
    """
    check_choice("activation", activation, _MIXES)
    given = Named(arrays, prefix, dtype)
    layer = read_s5(given, conj_sym, clip_eigs, discretisation, "seq.")
    trained = _SequenceLayer(_MIXES[activation], norm, prenorm, dropout)
    return _block(given, layer, trained, "norm")


def lru_block_from_arrays(
    arrays: Any,
    *,
    norm: str,
    prenorm: bool,
    prefix: str = "",
    dropout: float = 0.0,
    dtype: Any = None,
) -> Block:
    """A `rz.Block` from the variables of one `SequenceLayer` of minimal-LRU
    (NicolasZucchet/minimal-LRU).

    As `s5_block_from_arrays`; the names are `seq.nu_log` and the others of `lru_from_arrays`,
    `out1.kernel`, `out2.kernel`, `normalization.scale`, ...
    """
    given = Named(arrays, prefix, dtype)
    layer = read_lru(given, "seq.")
    return _block(given, layer, _SequenceLayer("glu", norm, prenorm, dropout), "normalization")


class _SequenceLayer(NamedTuple):
    """What a `SequenceLayer` was trained with and its arrays do not tell."""

    mix: str
    norm: str
    prenorm: bool
    dropout: float


def _block(given: Named, layer: Any, trained: _SequenceLayer, name: str) -> Block:
    """The block around a layer, with the arrays that are left; `name` is that of its norm."""
    mix, norm, prenorm, dropout = trained
    check_choice("norm", norm, ("batch", "layer"))
    statistics = f"{name}.mean" in given, f"{name}.var" in given
    if norm == "batch" and not all(statistics):
        raise ValueError(
            f"expected {name}.mean and {name}.var for norm='batch': give the variables with "
            'their "batch_stats"'
        )
    if norm == "layer" and any(statistics):
        raise ValueError(
            f"expected a layer norm, got {name}.mean or {name}.var, which a batch norm has: give "
            "norm='batch'"
        )
    block = Block(
        layer,
        mix=mix,
        norm=norm,
        # The defaults of flax.
        eps=1e-5 if norm == "batch" else 1e-6,
        prenorm=prenorm,
        dropout=dropout,
        mix_dropout=0.0 if mix == "gelu" else dropout,
        broadcast_dropout=True,
        dtype=given.dtype,
        key=jr.key(0),
    )
    size = block.input_size
    parts = {"weight": given.take(f"{name}.scale", size), "bias": given.take(f"{name}.bias", size)}
    if norm == "batch":
        parts["mean"] = Fixed(given.take(f"{name}.mean", size))
        parts["variance"] = Fixed(given.take(f"{name}.var", size))
    maps = {"glu": {"value": "out1", "gate": "out2"}, "gelu": {}}.get(mix, {"gate": "out2"})
    own = {field: given.linear(there, size) for field, there in maps.items()}
    given.finish()
    return replace(block, norm=replace(block.norm, **parts), mix=replace(block.mix, **own))


def mamba_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> MambaBlock:
    """A `MambaBlock` from the parameters of a `Mamba` module (state-spaces/mamba, version 1).

    | there | shape | here |
    |---|---|---|
    | `in_proj.weight` | (2 wide, size) | `project_in` |
    | `conv1d.weight`, `.bias` | (wide, 1, k), (wide,) | the convolution, newest input first |
    | `x_proj.weight` | (rank + 2 N, wide) | `weight_x` |
    | `dt_proj.weight`, `.bias` | (wide, rank), (wide,) | `weight_dt`, `bias_dt` |
    | `A_log`, `D` | (wide, N), (wide,) | the same |
    | `out_proj.weight` | (size, wide) | `project_out` |

    `prefix` is such as "backbone.layers.0.mixer.". ValueError where names or shapes do not fit.
    """
    given = Named(arrays, prefix, dtype)
    made = read_mamba(given)
    given.finish()
    return made


def read_mamba(given: Named, part: str = "") -> MambaBlock:
    """The block of arrays that are below `part`."""
    project_in = given.linear(part + "in_proj")
    rows, size = project_in.weight.shape
    wide = rows // 2
    if wide % size:
        raise ValueError(
            f"expected an inner width that is a multiple of the size, got {wide} and {size}"
        )
    kernel = given.take(part + "conv1d.weight", wide, 1, None)
    A_log = given.take(part + "A_log", wide, None)
    weight_dt = given.take(part + "dt_proj.weight", wide, None)
    conv_bias = part + "conv1d.bias" in given
    block = eqx.filter_eval_shape(
        lambda: MambaBlock(
            size,
            expand=wide // size,
            kernel_size=kernel.shape[2],
            rank=weight_dt.shape[1],
            state_size=A_log.shape[1],
            use_bias=project_in.bias is not None,
            conv_bias=conv_bias,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    conv, silu, ssm = block.inner.layers
    bias = {"bias": given.take(part + "conv1d.bias", wide)} if conv_bias else {}
    # Theirs is a correlation, its last weight that of the newest input.
    conv = replace(conv, cell=filled(conv.cell, weight=kernel[:, 0, ::-1].T, **bias))
    cell = filled(
        ssm.cell,
        weight_x=given.take(part + "x_proj.weight"),
        weight_dt=weight_dt,
        bias_dt=given.take(part + "dt_proj.bias"),
        A_log=A_log,
        D=given.take(part + "D"),
    )
    return replace(
        block,
        project_in=project_in,
        inner=replace(block.inner, layers=(conv, silu, replace(ssm, cell=cell))),
        project_out=given.linear(part + "out_proj", wide),
    )


def mamba_block_from_arrays(
    arrays: Any, *, prefix: str = "", eps: float = 1e-5, dtype: Any = None
) -> Block:
    """A `rz.Block` from the parameters of one `Block` of Mamba's language models
    (state-spaces/mamba, version 1): `norm.weight`, and `mixer.` before those of
    `mamba_from_arrays`.

    A norm with a bias is a layer norm, one without an RMS norm; `eps` is its own. `prefix` is such
    as "backbone.layers.0."; the norm behind the last block is no part of it. ValueError where
    names or shapes do not fit, such as those of a Mamba-2 or of a block with an MLP.
    """
    given = Named(arrays, prefix, dtype)
    made = residual_block(given, read_mamba(given, "mixer."), eps)
    given.finish()
    return made


def residual_block(given: Named, mixer: Any, eps: float, part: str = "") -> Block:
    """The block of a mixer behind its norm, whose arrays are below `part`."""
    layered = f"{part}norm.bias" in given
    norm = "layer" if layered else "rms"
    options = {"norm": norm, "eps": eps, "dtype": given.dtype}
    block = Block(mixer, mix="none", **options, key=jr.key(0))
    parts = {"weight": given.take(f"{part}norm.weight", mixer.input_size)}
    if layered:
        parts["bias"] = given.take(f"{part}norm.bias", mixer.input_size)
    return replace(block, norm=replace(block.norm, **parts))


def rglru_block_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> GriffinBlock:
    """A `rz.layers.GriffinBlock` from the parameters of a `RecurrentBlock` of recurrentgemma
    (google-deepmind/recurrentgemma), of its JAX form (`linear_x.kernel`) or its PyTorch form
    (`linear_x.weight`).

    `linear_x` and `linear_y` stand one above the other in `project_in`, `linear_out` is
    `project_out`, `conv_1d.w` (k, width) turned to newest first, `rg_lru.` stands before the names
    of `rglru_from_arrays`. ValueError where names or shapes do not fit.
    """
    given = Named(arrays, prefix, dtype)
    made = _read_griffin(given)
    given.finish()
    return made


def _read_griffin(given: Named, part: str = "") -> GriffinBlock:
    u, gate = (given.linear(f"{part}linear_{side}") for side in "xy")
    cell = read_rglru(given, part + "rg_lru.")
    width = cell.input_size
    conv = given.take(part + "conv_1d.w", None, width), given.take(part + "conv_1d.b", width)
    return griffin((u, gate), conv, cell, given.linear(part + "linear_out", width))


def griffin(maps: tuple[Any, Any], conv: tuple[Any, Any], cell: Any, out: Any) -> GriffinBlock:
    """The block of the maps to its recurrence and its gate, of the kernel (k, width), newest input
    last, and the bias of its convolution, of the cell, and of the last map."""
    kernel, bias = conv
    width, size, dtype = cell.input_size, maps[0].weight.shape[1], kernel.dtype
    block = eqx.filter_eval_shape(
        lambda: GriffinBlock(
            size, width=width, kernel_size=kernel.shape[0], dtype=dtype, key=jr.key(0)
        )
    )
    biases = [jnp.zeros(width, dtype) if m.bias is None else m.bias for m in maps]
    return replace(
        block,
        project_in=filled(
            block.project_in,
            weight=jnp.concatenate([m.weight for m in maps]),
            bias=jnp.concatenate(biases),
        ),
        inner=Stacked(
            [
                Recurrent(filled(block.inner.layers[0].cell, weight=kernel[::-1], bias=bias)),
                Recurrent(cell),
            ]
        ),
        project_out=out,
    )


def griffin_block_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> Stacked:
    """Two `rz.Block`s from the parameters of one recurrent `ResidualBlock` of recurrentgemma
    (google-deepmind/recurrentgemma): RMS norm and `rz.layers.GriffinBlock`, RMS norm and gated MLP.

    The names are `temporal_pre_norm.scale`, those of `rglru_block_from_arrays` behind
    `recurrent_block.`, `channel_pre_norm.scale`, `mlp_block.ffw_up.w`, `mlp_block.ffw_down.kernel`
    (or `.weight`), ... Scales are written less 1 there. `prefix` is such as "blocks.0.".
    ValueError where names or shapes do not fit, such as those of a block with attention.
    """
    given = Named(arrays, prefix, dtype)
    recurrent = _read_griffin(given, "recurrent_block.")
    size = recurrent.input_size
    scales = [given.take(f"{name}_pre_norm.scale", size) for name in ("temporal", "channel")]
    up = given.take("mlp_block.ffw_up.w", 2, size, None)
    bias = given.take("mlp_block.ffw_up.b").reshape(2, -1)
    down = given.linear("mlp_block.ffw_down", up.shape[2])
    given.finish()
    maps = [(weight.T, b) for weight, b in zip(up, bias)]
    return griffin_blocks(recurrent, maps, down, scales)


def griffin_blocks(
    recurrent: GriffinBlock,
    maps: list[tuple[Any, Any]],
    down: eqx.nn.Linear,
    scales: list[Any],
    eps: float = 1e-6,
) -> Stacked:
    """The residual blocks of a recurrence and of a gated MLP; `maps` are weight and bias to the
    gate and to the value, `scales` those of the norms, less 1."""
    size, (width, _) = recurrent.input_size, maps[0][0].shape
    dtype = down.weight.dtype
    made = eqx.filter_eval_shape(
        lambda: GatedMLP(size, size, width=width, dtype=dtype, key=jr.key(0))
    )
    gate, value = (
        filled(part, weight=weight, bias=bias)
        for part, (weight, bias) in zip((made.gate, made.value), maps)
    )
    mlp = Pointwise(replace(made, gate=gate, value=value, output=down), size, size)
    options = {"mix": "none", "norm": "rms", "eps": eps, "dtype": dtype}
    blocks = [Block(layer, **options, key=jr.key(0)) for layer in (recurrent, mlp)]
    return Stacked(
        [
            replace(block, norm=replace(block.norm, weight=1 + scale))
            for block, scale in zip(blocks, scales)
        ]
    )
