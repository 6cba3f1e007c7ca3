"""xLSTM from the plain arrays of its authors' code."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from ..base import replace
from ..layers.block import Block
from ..layers.pointwise import GeGLU, Pointwise
from ..layers.stacked import Stacked
from ..layers.xlstm_block import MLSTMBlock, SLSTMBlock
from ._from_gates import filled
from ._named import Named


_EPS = 1e-5


def xlstm_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> Stacked:
    """The blocks and the last norm from the parameters of an `xLSTMBlockStack` (NX-AI/xlstm).

    The names of each block are those of `xlstm_block_from_arrays` behind "blocks.0.", "blocks.1.",
    ...; they tell which are mLSTM and which sLSTM. `post_blocks_norm.weight` may be missing.
    `prefix` is "xlstm_block_stack." in an `xLSTMLMModel`. ValueError where names or shapes do not
    fit, such as those with biases of a `bias=True`.
    """
    given, layers = Named(arrays, prefix, dtype), []
    while given.has_below(f"blocks.{len(layers)}"):
        layers.append(_read(given, f"blocks.{len(layers)}."))
    if not layers:
        raise ValueError(f"expected arrays below {prefix}blocks.0: give the prefix of the stack")
    flat = [block for made in layers for block in made]
    if "post_blocks_norm.weight" in given:
        size = flat[0].input_size
        norm = _norm(given, "post_blocks_norm", size)
        flat.append(Pointwise(norm, size, size))
    given.finish()
    return Stacked(flat)


def xlstm_block_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> Block | Stacked:
    """The residual block of a `MLSTMBlock` from the parameters of an `mLSTMBlock` (NX-AI/xlstm), or
    those of a `SLSTMBlock` and of a `GeGLU` from the parameters of an `sLSTMBlock`.

    | there | here |
    |---|---|
    | `xlstm_norm.weight`, `ffn_norm.weight` | the norms of the blocks, less 1 there |
    | `xlstm.conv1d.conv.weight`, `.bias` | the convolution, newest input first |
    | `xlstm.proj_up.weight`, `xlstm.proj_down.weight` | `project_in`, `project_out` |
    | `xlstm.q_proj.weight`, `k_proj`, `v_proj` | the maps by blocks of features |
    | `xlstm.mlstm_cell.igate`, `fgate` | the maps and `bias_gates` of the gates |
    | `xlstm.mlstm_cell.outnorm.weight`, `xlstm.learnable_skip` | `norm_weight` less 1, `skip` |
    | `xlstm.fgate.weight`, `igate`, `zgate`, `ogate` | the maps to i, f, z, o in that order |
    | `xlstm.slstm_cell._recurrent_kernel_`, `_bias_` | `weight_hh`, `bias` |
    | `xlstm.group_norm.weight` | `norm_weight`, less 1 there |
    | `ffn.proj_up.weight`, `ffn.proj_down.weight` | `gate` above `value`, `output` |

    The recurrent arrays of sLSTM are read in the order of either backend, "cuda" or "vanilla",
    which their shape tells. The mLSTM of the authors adds 1e-6 to its denominator, ours does not.
    `prefix` is such as "blocks.0.". ValueError where names or shapes do not fit.
    """
    given = Named(arrays, prefix, dtype)
    made = _read(given, "")
    given.finish()
    return made[0] if len(made) == 1 else Stacked(made)


def _read(given: Named, part: str) -> list[Block]:
    """The residual blocks whose arrays are below `part`."""
    mixer = part + "xlstm."
    if given.has_below(mixer + "slstm_cell"):
        return [
            _residual(given, part + "xlstm_norm", _read_slstm(given, mixer)),
            _residual(given, part + "ffn_norm", _read_perceptron(given, part + "ffn.")),
        ]
    return [_residual(given, part + "xlstm_norm", _read_mlstm(given, mixer))]


def _residual(given: Named, name: str, layer: Any) -> Block:
    block = Block(layer, mix="none", norm="layer", eps=_EPS, dtype=given.dtype, key=jr.key(0))
    return replace(block, norm=_norm(given, name, block.input_size))


def _norm(given: Named, name: str, size: int) -> eqx.nn.LayerNorm:
    """Over features, without a bias."""
    norm = eqx.nn.LayerNorm(size, eps=_EPS, use_bias=False, dtype=given.dtype)
    return replace(norm, weight=1 + given.take(f"{name}.weight", size))


def _read_mlstm(given: Named, part: str) -> MLSTMBlock:
    up = given.take(part + "proj_up.weight", None, None)
    wide, rest = divmod(len(up), 2)
    size = up.shape[1]
    gates = [given.take(f"{part}mlstm_cell.{gate}gate.weight", None, 3 * wide) for gate in "if"]
    heads = len(gates[0])
    maps = {f"weight_{name}": given.take(f"{part}{name}_proj.weight") for name in "qkv"}
    if rest or wide % size or heads < 1 or wide % heads or maps["weight_q"].ndim != 3:
        raise ValueError(
            f"expected {part}proj_up.weight of 2 wide rows, wide a multiple of the size {size} and "
            f"of {heads} heads, and {part}q_proj.weight of (blocks, width, width), got "
            f"{len(up)} rows and {maps['weight_q'].shape}"
        )
    kernel, bias = _convolution(given, part, wide)
    block = eqx.filter_eval_shape(
        lambda: MLSTMBlock(
            size,
            expand=wide // size,
            num_heads=heads,
            kernel_size=len(kernel),
            block_size=maps["weight_q"].shape[-1],
            eps=_EPS,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    beside, features, leading = block.inner.layers
    biases = [given.take(f"{part}mlstm_cell.{gate}gate.bias", heads) for gate in "if"]
    cell = filled(leading.layer.cell, bias_gates=jnp.concatenate(biases))
    own = filled(features.function, **maps, weight_gates=jnp.concatenate(gates))
    layers = (
        _convolved(beside, kernel, bias),
        replace(features, function=own),
        replace(leading, layer=replace(leading.layer, cell=cell)),
    )
    return replace(
        block,
        project_in=filled(block.project_in, weight=up),
        inner=replace(block.inner, layers=layers),
        norm_weight=1 + given.take(part + "mlstm_cell.outnorm.weight", wide),
        skip=given.take(part + "learnable_skip", wide),
        project_out=filled(
            block.project_out, weight=given.take(part + "proj_down.weight", size, wide)
        ),
    )


def _read_slstm(given: Named, part: str) -> SLSTMBlock:
    # What their layer calls f is the first of what their cell takes, which is i.
    maps = [given.take(f"{part}{gate}gate.weight", None, None, None) for gate in "fizo"]
    heads, units, _ = maps[0].shape
    size = heads * units
    kernel, bias = _convolution(given, part, size)
    block = eqx.filter_eval_shape(
        lambda: SLSTMBlock(
            size,
            num_heads=heads,
            kernel_size=len(kernel),
            eps=_EPS,
            dtype=given.dtype,
            key=jr.key(0),
        )
    )
    beside, gates, cell = block.inner.layers
    recurrent = given.take(part + "slstm_cell._recurrent_kernel_", heads, None, None)
    weight_hh, own_bias = _recurrent(
        recurrent, given.take(part + "slstm_cell._bias_", 4 * size), (heads, units)
    )
    layers = (
        _convolved(beside, kernel, bias),
        replace(gates, function=filled(gates.function, weight=jnp.stack(maps))),
        replace(cell, cell=filled(cell.cell, weight_hh=weight_hh, bias=own_bias)),
    )
    weight = 1 + given.take(part + "group_norm.weight", size)
    return replace(block, inner=replace(block.inner, layers=layers), norm_weight=weight)


def _recurrent(kernel: Array, bias: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """(gates, heads, out, in) and gate by gate, from the order of either backend."""
    heads, units = shape
    if kernel.shape[1:] == (4 * units, units):  # "vanilla"
        return kernel.reshape(heads, 4, units, units).swapaxes(0, 1), bias
    if kernel.shape[1:] == (units, 4 * units):  # "cuda"
        kernel = kernel.reshape(heads, units, 4, units).transpose(2, 0, 3, 1)
        return kernel, bias.reshape(heads, 4, units).swapaxes(0, 1).ravel()
    raise ValueError(
        f"expected slstm_cell._recurrent_kernel_ of shape ({heads}, {4 * units}, {units}) or "
        f"({heads}, {units}, {4 * units}), got {kernel.shape}"
    )


def _read_perceptron(given: Named, part: str) -> Pointwise:
    up = given.take(part + "proj_up.weight", None, None)
    width, rest = divmod(len(up), 2)
    size = up.shape[1]
    if rest or width < 1:
        raise ValueError(f"expected {part}proj_up.weight of 2 width rows, got {len(up)}")
    made = eqx.filter_eval_shape(
        lambda: GeGLU(size, size, width=width, dtype=given.dtype, key=jr.key(0))
    )
    gate, value = (filled(m, weight=w) for m, w in zip((made.gate, made.value), jnp.split(up, 2)))
    output = filled(made.output, weight=given.take(part + "proj_down.weight", size, width))
    return Pointwise(replace(made, gate=gate, value=value, output=output), size, size)


def _convolution(given: Named, part: str, size: int) -> tuple[Array, Array]:
    """Newest input first: theirs is a correlation, its last weight that of the newest input."""
    kernel = given.take(part + "conv1d.conv.weight", size, 1, None)[:, 0, ::-1].T
    return kernel, given.take(part + "conv1d.conv.bias", size)


def _convolved(beside: Any, kernel: Array, bias: Array) -> Any:
    """The layer of convolved and plain features, with these arrays."""
    stack, plain = beside.layers
    conv, silu = stack.layers
    conv = replace(conv, cell=filled(conv.cell, weight=kernel, bias=bias))
    return replace(beside, layers=(replace(stack, layers=(conv, silu)), plain))
