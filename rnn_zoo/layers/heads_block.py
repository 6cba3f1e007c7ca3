"""The block of gated linear attention, RetNet and the delta rules."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import working_float
from ..base import replace
from ..cells.short_conv import ShortConv
from ..registry import make_cell
from .gated_block import AbstractGatedBlock
from .leading import Leading
from .pointwise import Elementwise, Pointwise
from .stacked import Stacked


@dataclasses.dataclass(frozen=True)
class _Published:
    """What the block of one paper has."""

    kernel_size: int = 4
    gate: str = "silu"
    low_rank: bool = False
    norm_weight: bool = True
    eps: float = 1e-5
    # Of the values of all heads, for each feature of x.
    expand: float = 1.0
    # Whether its cell has SiLU on q, k and v, which then stands before it.
    activated: bool = False


_PUBLISHED = {
    "linear_attention": _Published(kernel_size=0, gate="none"),
    "gla": _Published(kernel_size=0),
    "retnet": _Published(kernel_size=0, norm_weight=False, eps=1e-6, expand=2.0),
    "deltanet": _Published(gate="none", activated=True),
    "gated_deltanet": _Published(expand=1.5, activated=True),
    "kda": _Published(gate="sigmoid", low_rank=True, activated=True),
}
_GATES = {"silu": jax.nn.silu, "sigmoid": jax.nn.sigmoid, "none": None}


class HeadsBlock(AbstractGatedBlock):
    r"""The mixer of time and features of networks whose heads keep a matrix.

    $$(q, k, v, f, g) = W_{in} x, \qquad
    o = \mathrm{cell}(\mathrm{silu}(\mathrm{conv}(q, k, v)), f), \qquad
    y = W_{out} (\mathrm{norm}(o) \odot \mathrm{gate}(g))$$

    conv is a `ShortConv` of the channels of q, k and v, and f what else the cell reads, its decays
    and shares; norm is an RMS norm of each head, with one weight for all heads, and comes before
    the gate. By the name of the cell it is the block of

    - "linear_attention" (Katharopoulos et al. 2020, arXiv:2006.16236), with the norm of those below
      in the place of the paper's layer norms: no conv and no gate;
    - "gla" (Yang et al. 2023, arXiv:2312.06635): no conv and no silu before the cell, silu as gate;
    - "retnet" (Sun et al. 2023, arXiv:2307.08621): the same, twice as wide, the norm without
      weights; `project_in` starts Glorot-uniform with a gain of $2^{-5/2}$ for each of q, k, v and
      g, `project_out` with a gain of 1;
    - "deltanet" (Yang et al. 2024, arXiv:2406.06484): no gate;
    - "gated_deltanet" (Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464): one and a half times as
      wide, silu as gate;
    - "kda" (Kimi Team 2025, arXiv:2510.26692): $\sigma(W_g g)$ as gate, where g has the width of
      one head.

    Where a linear map starts otherwise in the code of a paper, with a normal distribution of
    deviation 0.02, it starts here as PyTorch's does. State: (the convolution's and that of the
    silu, (); the cell's), or (the cell's,) where nothing stands before it. A layer and a cell: it
    streams, and masks and resets reach the convolution too. Timed where the cell is: dt reaches
    the cell alone. It has no norm of x and no skip: `rz.Block(block, mix="none", norm="rms")` adds
    them, as `make_model` does.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    norm: eqx.nn.RMSNorm
    gate_map: eqx.nn.Linear | None
    project_out: eqx.nn.Linear
    gate: str = eqx.field(static=True)

    def __init__(
        self,
        cell: str,
        size: int,
        *,
        width: int | None = None,
        kernel_size: int | None = None,
        conv_bias: bool = False,
        gate: str | None = None,
        eps: float | None = None,
        use_bias: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """**Arguments:**

        - `cell`: "linear_attention", "gla", "retnet", "deltanet", "gated_deltanet" or "kda".
        - `size`: of x and y; `width`: of the values of all heads, the `hidden_size` of the cell.
        - `kernel_size`: inputs that the convolution sees, 0 for none; `conv_bias`: whether it has
          a bias.
        - `gate`: "silu", "sigmoid" or "none"; `eps`: what the norm adds to the mean square.
        - `use_bias`: of the projections.
        - `options`: others of the cell, `num_heads` and `key_size` above all.

        With None `width`, `kernel_size`, `gate` and `eps` are those of the paper. ValueError for
        any other.
        """
        check_choice("cell", cell, _PUBLISHED)
        published = _PUBLISHED[cell]
        check_sizes(size=size)
        width = math.ceil(published.expand * size) if width is None else width
        kernel_size = published.kernel_size if kernel_size is None else kernel_size
        eps = published.eps if eps is None else eps
        self.gate = check_choice("gate", published.gate if gate is None else gate, _GATES)
        keys = jr.split(key, 5)
        core = _core(cell, width, dtype, keys[0], options)
        head, rows = core.value_size, core.input_size
        conv = {"use_bias": conv_bias, "dtype": dtype, "key": keys[1]}
        before = _before(core, kernel_size, published.activated, conv)
        self.inner = Stacked([*before, core])
        gates = 0 if self.gate == "none" else head if published.low_rank else width
        linear: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype}
        self.project_in = eqx.nn.Linear(size, rows + gates, **linear, key=keys[2])
        self.gate_map = None
        if gates and published.low_rank:
            self.gate_map = eqx.nn.Linear(head, width, **linear, key=keys[3])
        self.norm = eqx.nn.RMSNorm(
            head, eps=eps, use_weight=published.norm_weight, use_bias=False, dtype=dtype
        )
        self.project_out = eqx.nn.Linear(width, size, **linear, key=keys[4])
        if cell == "retnet":
            keys_size = core.num_heads * core.key_size
            parts = [keys_size, keys_size, width, gates]
            self.project_in = _glorot(self.project_in, parts, 2**-2.5, keys[2])
            self.project_out = _glorot(self.project_out, [size], 1.0, keys[4])

    def gated(self, v: Array, g: Array) -> Array:
        heads = v.reshape(-1, self.norm.shape[0])
        v = jax.vmap(self.norm)(heads).ravel()
        g = g if self.gate_map is None else self.gate_map(g)
        act = _GATES[self.gate]
        return v if act is None else v * act(g)


def _core(cell: str, width: int, dtype: Any, key: PRNGKeyArray, options: dict[str, Any]) -> Any:
    """The cell without its input map, which reads as many features as that map would give."""
    options = {**options, "dtype": dtype}
    shapes = eqx.filter_eval_shape(lambda: make_cell(cell, 1, width, key=key, **options))
    rows = shapes.weight_ih.shape[0]
    return make_cell(cell, rows, width, input_map=False, key=key, **options)


def _before(core: Any, kernel_size: int, activated: bool, options: dict[str, Any]) -> list[Leading]:
    """What acts on q, k and v before the cell; `options` are those of the convolution."""
    if not kernel_size and not activated:
        return []
    size = core.num_heads * (2 * core.key_size + core.value_size)
    silu = Pointwise(Elementwise(jax.nn.silu), size, size)
    if not kernel_size:
        return [Leading(silu, core.input_size)]
    conv = ShortConv(size, kernel_size=kernel_size, **options)
    return [Leading(Stacked([conv, silu]), core.input_size)]


def _glorot(
    linear: eqx.nn.Linear, parts: list[int], gain: float, key: PRNGKeyArray
) -> eqx.nn.Linear:
    """Rows of so many maps, each Glorot-uniform with the fans of its own."""
    dtype = working_float(linear.weight.dtype)
    columns = int(linear.in_features)
    rows = [
        gain * math.sqrt(6 / (count + columns)) * jr.uniform(k, (count, columns), dtype, -1.0, 1.0)
        for k, count in zip(jr.split(key, len(parts)), parts)
    ]
    return replace(linear, weight=jnp.concatenate(rows))
