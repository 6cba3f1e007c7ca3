"""The two blocks of xLSTM."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.checks import check_place, check_sizes
from .._common.dtypes import working_float
from ..base import replace
from ..cells.mlstm import MLSTMCell
from ..cells.short_conv import ShortConv
from ..cells.slstm import SLSTMCell, forget_biases
from ..init import normal
from .branches import Parallel
from .gated_block import AbstractGatedBlock
from .inner_block import AbstractInnerBlock
from .leading import Leading
from .pointwise import Elementwise, Pointwise, normal_linear
from .stacked import Stacked


class MLSTMBlock(AbstractGatedBlock):
    r"""xLSTM's mixer with a matrix memory (mLSTM; Beck et al. 2024, arXiv:2405.04517, figure 11).

    $$(u, g) = W_{in} x, \qquad c = \mathrm{silu}(\mathrm{conv}(u)), \qquad
    q = W_q c, \quad k = W_k c, \quad v = W_v u, \quad (i, f) = W_g (q, k, v)$$
    $$o = \mathrm{mLSTM}(q, k, v, i, f), \qquad
    y = W_{out} \big((\mathrm{norm}(o) + s \odot c) \odot \mathrm{silu}(g)\big)$$

    conv is a `ShortConv` and mLSTM an `MLSTMCell` without its input map, both of `expand` times the
    size, with keys as wide as values. $W_q$, $W_k$ and $W_v$ map blocks of `block_size` features
    each to themselves; norm is a layer norm of each head with a weight for each feature and
    without a bias; s, the learned skip, has a weight for each feature. The authors round the inner
    size up to a multiple of 64; here it is `expand` times the size.

    State: (((the convolution's, ()), ()), (), the cell's). A layer and a cell: it streams, and
    masks and resets reach the convolution too. It has no norm of x and no skip around it:
    `rz.Block(block, mix="none")` adds them, and `make_model("mlstm", ...)` does, with a norm
    without a bias as in the paper. It starts as in the authors' code: $W_{in}$, $W_q$, $W_k$ and
    $W_v$ as N(0, 2 / (5 size)), $W_g$ at 0 and the biases of i and f as those of the cell, s at 1,
    and $W_{out}$ as N(0, 4 / (n^2 size)) in a stack of n.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    norm: eqx.nn.LayerNorm
    norm_weight: Float[Array, " wide"]
    skip: Float[Array, " wide"]
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        expand: int = 2,
        num_heads: int | None = None,
        kernel_size: int = 4,
        block_size: int | None = None,
        eps: float = 1e-5,
        place: tuple[int, int] = (0, 1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: of x and y; `expand`: how many times wider the inner features are.
        - `num_heads`: of the cell, by default the largest divisor of its size of at most 4.
        - `kernel_size`: inputs that the convolution sees.
        - `block_size`: of the maps to q, k and v, by default the largest divisor of the inner size
          among 4, 2 and 1.
        - `eps`: what the norm adds to the variance.
        - `place`: which block this is and of how many, from (0, n) to (n - 1, n); its start depends
          on it.

        ValueError for any other, or a `block_size` that does not divide the inner size.
        """
        check_sizes(size=size, expand=expand)
        wide = expand * size
        block_size = math.gcd(wide, 4) if block_size is None else block_size
        check_sizes(block_size=block_size)
        if wide % block_size:
            raise ValueError(
                f"expected block_size to divide the {wide} inner features, got {block_size}"
            )
        _, depth = check_place(place)
        keys = jr.split(key, 5)
        cell = _matrix_cell(wide, num_heads, dtype, keys[0])
        conv = ShortConv(wide, kernel_size=kernel_size, dtype=dtype, key=keys[1])
        shapes = (wide // block_size, block_size), (2 * cell.num_heads, 3 * wide)
        features = _Features(*shapes, size, dtype=dtype, key=keys[2])
        rows = cell.input_size
        self.inner = Stacked(
            [
                _beside_convolved(conv),
                Pointwise(features, 2 * wide, rows + wide),
                Leading(cell, rows + wide),
            ]
        )
        std = math.sqrt(2 / (5 * size))
        self.project_in = normal_linear(size, 2 * wide, std=std, dtype=dtype, key=keys[3])
        std = 2 / (depth * math.sqrt(size))
        self.project_out = normal_linear(wide, size, std=std, dtype=dtype, key=keys[4])
        self.norm, self.norm_weight = _head_norm(wide, cell.num_heads, eps, dtype)
        self.skip = jnp.ones(wide, working_float(dtype))

    def gated(self, v: Array, g: Array) -> Array:
        o, c = jnp.split(v, 2)
        return (_by_head(self.norm, self.norm_weight, o) + self.skip * c) * jax.nn.silu(g)


class SLSTMBlock(AbstractInnerBlock):
    r"""xLSTM's mixer with a scalar memory (sLSTM; Beck et al. 2024, arXiv:2405.04517, figure 10).

    $$c = \mathrm{silu}(\mathrm{conv}(x)), \qquad
    (i, f) = (W_i c, W_f c), \quad (z, o) = (W_z x, W_o x), \qquad
    y = \mathrm{norm}(\mathrm{sLSTM}(i, f, z, o))$$

    conv is a `ShortConv` and sLSTM an `SLSTMCell` without its input map; the four maps, like the
    recurrent ones of the cell, stay within a head. norm is a layer norm of each head with a weight
    for each feature and without a bias. State: (((the convolution's, ()), ()), (), the cell's). A
    layer and a cell: it streams, and masks and resets reach the convolution too.

    It has no norm of x, no skip around it and no perceptron behind it: `make_model("slstm", ...)`
    adds them, with norms without biases and a `GeGLU`. It starts as in the authors' code: the four
    maps as N(0, 2 / (5 size)), and the cell as it does, but for the forget gates, whose biases
    along a head, $5 - 12 (j / (d - 1))^p$, have p from 0.3 in the first block to 1.6 in the last.
    """

    inner: Stacked
    norm: eqx.nn.LayerNorm
    norm_weight: Float[Array, " size"]

    def __init__(
        self,
        size: int,
        *,
        num_heads: int | None = None,
        kernel_size: int = 4,
        eps: float = 1e-5,
        place: tuple[int, int] = (0, 1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: of x and y.
        - `num_heads`: of the cell, by default the largest divisor of its size of at most 4.
        - `kernel_size`: inputs that the convolution sees.
        - `eps`: what the norm adds to the variance.
        - `place`: which block this is and of how many, from (0, n) to (n - 1, n); its start depends
          on it.

        ValueError for any other.
        """
        check_sizes(size=size)
        index, depth = check_place(place)
        keys = jr.split(key, 3)
        options: dict[str, Any] = {"num_heads": num_heads, "dtype": dtype, "key": keys[0]}
        cell = SLSTMCell(4 * size, size, input_map=False, **options)
        power = 0.3 + 1.3 * index / max(depth - 1, 1)
        along = jnp.tile(forget_biases(cell.value_size, power), cell.num_heads)
        assert cell.bias is not None
        forget = along.astype(cell.bias.dtype)
        cell = replace(cell, bias=cell.bias.at[size : 2 * size].set(forget))
        conv = ShortConv(size, kernel_size=kernel_size, dtype=dtype, key=keys[1])
        gates = _Gates(cell.num_heads, cell.value_size, dtype=dtype, key=keys[2])
        self.inner = Stacked([_beside_convolved(conv), Pointwise(gates, 2 * size, 4 * size), cell])
        self.norm, self.norm_weight = _head_norm(size, cell.num_heads, eps, dtype)

    @property
    def input_size(self) -> int:
        return len(self.norm_weight)

    @property
    def output_size(self) -> int:
        return len(self.norm_weight)

    def opened(self, x: Array) -> tuple[Array, Array]:
        return x, x[:0]

    def closed(self, v: Array, g: Array) -> Array:
        return _by_head(self.norm, self.norm_weight, v)


class _Features(eqx.Module):
    """What mLSTM reads, and the convolved features behind it; of these and the plain ones."""

    weight_q: Float[Array, "blocks block block"]
    weight_k: Float[Array, "blocks block block"]
    weight_v: Float[Array, "blocks block block"]
    weight_gates: Float[Array, "gates rows"]

    def __init__(
        self,
        blocks: tuple[int, int],
        gates: tuple[int, int],
        size: int,
        *,
        dtype: Any,
        key: PRNGKeyArray,
    ):
        dtype, shape = working_float(dtype), (*blocks, blocks[1])
        std = math.sqrt(2 / (5 * size))
        maps = [normal(k, shape, dtype, std=std) for k in jr.split(key, 3)]
        self.weight_q, self.weight_k, self.weight_v = maps
        self.weight_gates = jnp.zeros(gates, dtype)

    def __call__(self, x: Array) -> Array:
        c, u = jnp.split(x, 2)
        parts = ((self.weight_q, c), (self.weight_k, c), (self.weight_v, u))
        qkv = jnp.concatenate([_blockwise(weight, z) for weight, z in parts])
        return jnp.concatenate([qkv, self.weight_gates @ qkv, c])


class _Gates(eqx.Module):
    """What sLSTM reads, of the convolved features and the plain ones: i, f, z, o."""

    weight: Float[Array, "4 heads unit unit"]

    def __init__(self, heads: int, units: int, *, dtype: Any, key: PRNGKeyArray):
        std = math.sqrt(2 / (5 * heads * units))
        self.weight = normal(key, (4, heads, units, units), working_float(dtype), std=std)

    def __call__(self, x: Array) -> Array:
        c, u = jnp.split(x, 2)
        return jnp.concatenate([_blockwise(w, z) for w, z in zip(self.weight, (c, c, u, u))])


def _blockwise(weight: Float[Array, "blocks out in"], x: Float[Array, " size"]) -> Array:
    """A linear map of each block of x."""
    return jnp.einsum("boi,bi->bo", weight, x.reshape(len(weight), -1)).ravel()


def _beside_convolved(conv: ShortConv) -> Parallel:
    """(silu(conv(x)), x)."""
    size = conv.input_size
    silu = Pointwise(Elementwise(jax.nn.silu), size, size)
    return Parallel([Stacked([conv, silu]), Pointwise(eqx.nn.Identity(), size, size)])


def _matrix_cell(wide: int, num_heads: int | None, dtype: Any, key: PRNGKeyArray) -> MLSTMCell:
    """With keys as wide as values, of features."""
    options: dict[str, Any] = {"num_heads": num_heads, "dtype": dtype, "key": key}
    shapes = eqx.filter_eval_shape(lambda: MLSTMCell(1, wide, **options))
    heads = shapes.num_heads
    return MLSTMCell(3 * wide + 2 * heads, wide, key_size=wide // heads, input_map=False, **options)


def _head_norm(size: int, heads: int, eps: float, dtype: Any) -> tuple[eqx.nn.LayerNorm, Array]:
    """A layer norm of one head, and the weights of all."""
    norm = eqx.nn.LayerNorm(size // heads, eps=eps, use_weight=False, use_bias=False)
    return norm, jnp.ones(size, working_float(dtype))


def _by_head(norm: eqx.nn.LayerNorm, weight: Array, x: Array) -> Array:
    heads = x.reshape(-1, norm.shape[0])
    return weight * jax.vmap(norm)(heads).ravel()
