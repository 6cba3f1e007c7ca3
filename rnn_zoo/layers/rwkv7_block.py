"""The two mixers of RWKV-7."""

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
from ..cells.heads import cut
from ..cells.rwkv7 import RWKV7Cell, first_decays
from ..cells.token_shift import TokenShift
from ..init import fan_in_uniform, orthogonal
from .inner_block import AbstractInnerBlock
from .leading import Leading
from .pointwise import Pointwise
from .stacked import Stacked


class RWKV7TimeMix(AbstractInnerBlock):
    r"""RWKV-7's mixer of time (Peng et al. 2025, arXiv:2503.14456, section 4).

    $$x_j = x_t + \mu_j \odot (x_{t-1} - x_t), \quad j \in \{r, w, k, v, a, g\}$$
    $$r = W_r x_r, \quad k = W_k x_k, \quad v = W_v x_v, \quad f_w = A_w x_w, \quad f_a = A_a x_a,
    \quad g = B_g\, \sigma(A_g x_g)$$
    $$v \leftarrow v + \sigma(b_v + B_v A_v x_v) \odot (v_1 - v)$$
    $$o = \mathrm{norm}(\mathrm{RWKV7}(r, k, v, f_w, f_a)) + (r \cdot (\rho \odot \tilde k))\, v,
    \qquad y = W_{out} (o \odot g)$$

    RWKV7 is an `RWKV7Cell` without its input map, as wide as x, and $\tilde k$ the key that it
    writes; norm is a layer norm of each head, with a weight and a bias for each feature; $\rho$,
    `bonus`, weighs each channel of a head.

    The third line is for all layers but the first of a stack: $v_1$ is the value of the first
    layer in the same step. So the first layer, that of `place` (0, n), maps x to y with its v
    behind it, (size,) to (2 size,), and every other maps x with $v_1$ behind it to y, (2 size,) to
    (size,). `HandingBlock` hands $v_1$ on.

    State: (the input before, (), the cell's). A layer and a cell: it streams, and masks and resets
    reach the token shift too. It has no norm of x and no skip; `make_model("rwkv7", ...)` adds
    them, with an `RWKV7ChannelMix` behind each. It starts as in the authors' code, where $\mu$,
    the bias of the decays and the weight of the norm depend on the place; $W_{out}$ and all A
    start at 0.
    """

    inner: Stacked
    norm: eqx.nn.LayerNorm
    norm_weight: Float[Array, " size"]
    norm_bias: Float[Array, " size"]
    bonus: Float[Array, "heads key"]
    weight_g: Float[Array, "size gate_rank"]
    project_out: eqx.nn.Linear
    first: bool = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        num_heads: int | None = None,
        rank: int | None = None,
        value_rank: int | None = None,
        gate_rank: int | None = None,
        eps: float = 64e-5,
        place: tuple[int, int] = (0, 1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: of x and y.
        - `num_heads`: by default one for every 64 features, as in the authors' code, and where 64
          does not divide them as in `RWKV7Cell`.
        - `rank`: of the maps to decays and learning rates; `value_rank`: of that to the share of
          $v_1$; `gate_rank`: of that to the gate. By default 2.5, 1.7 and 5 times the root of
          `size`, to the nearest multiple of 32, at least 32 and at most `size`.
        - `eps`: what the norm adds to the variance.
        - `place`: which layer this is and of how many, from (0, n) to (n - 1, n).

        ValueError for any other.
        """
        check_sizes(size=size)
        index, depth = check_place(place)
        self.first = index == 0
        if num_heads is None and size % 64 == 0:
            num_heads = size // 64
        rank, value_rank, gate_rank = (
            _rank(size, factor) if given is None else given
            for factor, given in ((2.5, rank), (1.7, value_rank), (5.0, gate_rank))
        )
        check_sizes(rank=rank, value_rank=value_rank, gate_rank=gate_rank)
        keys = jr.split(key, 4)
        ranks = (rank, value_rank, gate_rank)
        rows = 3 * size + 2 * rank
        cell = RWKV7Cell(
            rows,
            size,
            num_heads=num_heads,
            rank=rank,
            input_map=False,
            dtype=dtype,
            key=keys[0],
        )
        decays = first_decays(cell, 1 + (index / max(depth - 1, 1)) ** 0.3)
        cell = replace(cell, bias_w=jnp.asarray(decays, cell.bias_w.dtype))
        # What the norm, the bonus and the gate read goes past the cell.
        past = rows + gate_rank + size * self.first
        maps = _Maps(size, ranks, self.first, dtype=dtype, key=keys[1])
        given = size if self.first else 2 * size
        self.inner = Stacked(
            [
                Leading(_first_shift(size, 1 - index / depth, dtype), given),
                Pointwise(maps, given + 5 * size, rows + past),
                Leading(cell, rows + past),
            ]
        )
        dtype = working_float(dtype)
        self.norm = eqx.nn.LayerNorm(cell.value_size, eps=eps, use_weight=False, use_bias=False)
        self.norm_weight = jnp.full(size, ((index + 1) / depth) ** 0.7, dtype)
        self.norm_bias = jnp.zeros(size, dtype)
        self.bonus = jnp.full((cell.num_heads, cell.key_size), -0.04, dtype)
        self.weight_g = _low_rank(size, gate_rank, dtype, keys[2])
        project_out = eqx.nn.Linear(size, size, use_bias=False, dtype=dtype, key=keys[3])
        self.project_out = replace(project_out, weight=jnp.zeros_like(project_out.weight))

    @property
    def input_size(self) -> int:
        return self.inner.input_size

    @property
    def output_size(self) -> int:
        return len(self.norm_weight) * (1 + self.first)

    def opened(self, x: Array) -> tuple[Array, Array]:
        return x, x[:0]

    def closed(self, v: Array, g: Array) -> Array:
        cell, size = self.inner.layers[-1].layer.cell, len(self.norm_weight)
        gate = (self.weight_g.shape[1],)
        read, features, gates, *values = cut(
            v, (cell.num_heads, cell.value_size), (cell.input_size,), gate, *[(size,)] * self.first
        )
        parts = cell.parts(None, features)
        o = self.norm_weight * jax.vmap(self.norm)(read).ravel() + self.norm_bias
        weights = jnp.sum(parts.q * parts.k * self.bonus, axis=-1, keepdims=True)
        o = o + (weights * parts.v).ravel()
        y = self.project_out(o * (self.weight_g @ gates))
        return jnp.concatenate([y, *values])


class RWKV7ChannelMix(AbstractInnerBlock):
    r"""RWKV-7's mixer of features (Peng et al. 2025, arXiv:2503.14456, section 4).

    $$y = W_v\, \mathrm{relu}(W_k (x_t + \mu \odot (x_{t-1} - x_t)))^2$$

    with `width` units between, four times the size by default. State: (the input before,). A layer
    and a cell: it streams, and masks and resets reach the token shift too. $W_v$ starts at 0.
    """

    inner: Stacked
    weight_k: Float[Array, "width size"]
    weight_v: Float[Array, "size width"]

    def __init__(
        self,
        size: int,
        *,
        width: int | None = None,
        place: tuple[int, int] = (0, 1),
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`place`: which layer this is and of how many, from (0, n) to (n - 1, n); $\\mu$ starts by
        it. ValueError for any other."""
        width = 4 * size if width is None else width
        check_sizes(size=size, width=width)
        index, depth = check_place(place)
        shift = TokenShift(size, dtype=dtype)
        mix = 1 - _along(size) ** ((1 - index / depth) ** 4)
        self.inner = Stacked([replace(shift, mix=mix[None].astype(shift.mix.dtype))])
        dtype = working_float(dtype)
        self.weight_k = 0.5 * fan_in_uniform(key, (width, size), dtype)
        self.weight_v = jnp.zeros((size, width), dtype)

    @property
    def input_size(self) -> int:
        return len(self.weight_v)

    @property
    def output_size(self) -> int:
        return len(self.weight_v)

    def opened(self, x: Array) -> tuple[Array, Array]:
        return x, x[:0]

    def closed(self, v: Array, g: Array) -> Array:
        return self.weight_v @ jax.nn.relu(self.weight_k @ v) ** 2


class _Maps(eqx.Module):
    """What the cell reads, and what goes past it: the same, the gate before its map, and in the
    first layer the value."""

    weight_r: Float[Array, "size size"]
    weight_k: Float[Array, "size size"]
    weight_v: Float[Array, "size size"]
    down_w: Float[Array, "rank size"]
    down_a: Float[Array, "rank size"]
    down_g: Float[Array, "gate_rank size"]
    down_v: Float[Array, "value_rank size"] | None
    up_v: Float[Array, "size value_rank"] | None
    bias_v: Float[Array, " size"] | None

    def __init__(
        self,
        size: int,
        ranks: tuple[int, int, int],
        first: bool,
        *,
        dtype: Any,
        key: PRNGKeyArray,
    ):
        dtype, (rank, value_rank, gate_rank) = working_float(dtype), ranks
        keys = jr.split(key, 4)
        square = (size, size)
        self.weight_r = 0.5 * fan_in_uniform(keys[0], square, dtype)
        self.weight_k = 0.05 * fan_in_uniform(keys[1], square, dtype)
        self.weight_v = 0.5 * fan_in_uniform(keys[2], square, dtype)
        self.down_w = jnp.zeros((rank, size), dtype)
        self.down_a = jnp.zeros((rank, size), dtype)
        self.down_g = jnp.zeros((gate_rank, size), dtype)
        self.down_v = self.up_v = self.bias_v = None
        if not first:
            self.down_v = jnp.zeros((value_rank, size), dtype)
            self.up_v = _low_rank(size, value_rank, dtype, keys[3])
            linear = jnp.arange(size) / max(size - 1, 1) - 0.5
            self.bias_v = (0.73 - 0.4 * linear).astype(dtype)

    def __call__(self, x: Array) -> Array:
        size = len(self.weight_v)
        r, w, k, v, a, g, *handed = x.reshape(-1, size)
        value = self.weight_v @ v
        if self.down_v is not None:
            share = jax.nn.sigmoid(self.bias_v + self.up_v @ (self.down_v @ v))
            value = value + share * (handed[0] - value)
        features = [self.weight_r @ r, self.weight_k @ k, value, self.down_w @ w, self.down_a @ a]
        first = [value] if self.down_v is None else []
        return jnp.concatenate([*features, *features, jax.nn.sigmoid(self.down_g @ g), *first])


def _along(size: int) -> Array:
    """From 0 to almost 1 along the features."""
    return jnp.arange(size) / size


def _first_shift(size: int, left: float, dtype: Any) -> TokenShift:
    """Of r, w, k, v, a and g; `left` falls from 1 in the first layer to almost 0."""
    shift = TokenShift(size, count=6, dtype=dtype)
    powers = jnp.array([0.2, 0.9, 0.7, 0.7, 0.9, 0.2]) * left
    mix = 1 - _along(size)[None] ** powers[:, None]
    return replace(shift, mix=mix.astype(shift.mix.dtype))


def _rank(size: int, factor: float) -> int:
    return min(size, max(32, 32 * round(factor * math.sqrt(size) / 32)))


def _low_rank(size: int, rank: int, dtype: Any, key: PRNGKeyArray) -> Array:
    """A tenth of an orthonormal map from the low rank."""
    return 0.1 * orthogonal(key, (size, rank), dtype)
