"""The block of linear attention with gates, RetNet, the delta rules and M2RNN."""

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
    # One norm for each head, or one for all of them together.
    norm_heads: bool = True
    # Whether the norm comes behind the gate.
    gate_first: bool = False
    eps: float = 1e-5
    # Of the values of all heads, for each feature of x.
    expand: float = 1.0
    # Values of a head where they divide the width, else the heads are those of the cell.
    head: int | None = None
    # Whether keys are half as wide as values, else they are as in the cell.
    half_keys: bool = False
    # Whether its cell has SiLU on q, k and v, which then stands before it.
    activated: bool = False
    # Whether SiLU follows a convolution.
    conv_activated: bool = True


_PUBLISHED = {
    "linear_attention": _Published(gate="none", kernel_size=0),
    "gla": _Published(kernel_size=0),
    "retnet": _Published(kernel_size=0, norm_weight=False, eps=1e-6, expand=2.0),
    "deltanet": _Published(gate="none", activated=True),
    "gated_deltanet": _Published(expand=1.5, activated=True),
    "kda": _Published(gate="sigmoid", low_rank=True, activated=True),
    "delta_product": _Published(expand=1.5, half_keys=True, activated=True),
    "hgrn2": _Published(
        kernel_size=0, gate="none", norm_heads=False, head=128, conv_activated=False
    ),
    "m2rnn": _Published(gate_first=True, norm_heads=False, head=16),
}
_GATES = {"silu": jax.nn.silu, "sigmoid": jax.nn.sigmoid, "none": None}


class HeadsBlock(AbstractGatedBlock):
    r"""The mixer of time and features of networks whose heads keep a matrix.

    $$(q, k, v, f, g) = W_{in} x, \qquad
    o = \mathrm{cell}(\mathrm{silu}(\mathrm{conv}(q, k, v)), f), \qquad
    y = W_{out} (\mathrm{norm}(o) \odot \mathrm{gate}(g))$$

    conv is a `ShortConv` of the channels of q, k and v, and f what else the cell reads, its decays
    and shares; norm is an RMS norm of each head, with one weight for all heads, and comes before
    the gate where nothing else is said. By the name of the cell it is the block of

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
      one head;
    - "delta_product" (Siems et al. 2025, arXiv:2502.10297): as "gated_deltanet", with conv on the
      keys and values of all steps and keys half as wide as values;
    - "hgrn2" (Qin et al. 2024, arXiv:2404.07904): no conv and no gate, one norm for all heads,
      values of 128 a head; conv, if asked for, without silu. `lower_bound` is one number, where the
      paper learns one for each channel that grows with the layers;
    - "m2rnn" (Mishra et al. 2026, arXiv:2603.14360): silu as gate and *behind* it one norm for all
      heads, values of 16 a head. Each head has a q and k of its own, which the authors' largest
      networks share among heads.

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
    gate_first: bool = eqx.field(static=True)

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

        - `cell`: "linear_attention", "gla", "retnet", "deltanet", "gated_deltanet", "kda",
          "delta_product", "hgrn2" or "m2rnn".
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
        self.gate_first = published.gate_first
        core = _core(cell, width, dtype, keys[0], options)
        head, rows = core.value_size, core.input_size
        conv = {"use_bias": conv_bias, "dtype": dtype, "key": keys[1]}
        before = _before(core, kernel_size, published, conv)
        self.inner = Stacked([*before, core])
        gates = 0 if self.gate == "none" else head if published.low_rank else width
        linear: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype}
        self.project_in = eqx.nn.Linear(size, rows + gates, **linear, key=keys[2])
        self.gate_map = None
        if gates and published.low_rank:
            self.gate_map = eqx.nn.Linear(head, width, **linear, key=keys[3])
        normed = head if published.norm_heads else width
        self.norm = eqx.nn.RMSNorm(
            normed, eps=eps, use_weight=published.norm_weight, use_bias=False, dtype=dtype
        )
        self.project_out = eqx.nn.Linear(width, size, **linear, key=keys[4])
        if cell == "retnet":
            keys_size = core.num_heads * core.key_size
            parts = [keys_size, keys_size, width, gates]
            self.project_in = _glorot(self.project_in, parts, 2**-2.5, keys[2])
            self.project_out = _glorot(self.project_out, [size], 1.0, keys[4])

    def gated(self, v: Array, g: Array) -> Array:
        g = g if self.gate_map is None else self.gate_map(g)
        act = _GATES[self.gate]
        if act is not None and self.gate_first:
            return self._normed(v * act(g))
        v = self._normed(v)
        return v if act is None else v * act(g)

    def _normed(self, v: Array) -> Array:
        heads = v.reshape(-1, self.norm.shape[0])
        return jax.vmap(self.norm)(heads).ravel()


def _core(cell: str, width: int, dtype: Any, key: PRNGKeyArray, options: dict[str, Any]) -> Any:
    """The cell without its input map, which reads as many features as that map would give."""
    published, options = _PUBLISHED[cell], {**options, "dtype": dtype}
    if published.head is not None and width % published.head == 0:
        options = {"num_heads": width // published.head, **options}
    shapes = eqx.filter_eval_shape(lambda: make_cell(cell, 1, width, key=key, **options))
    if published.half_keys:
        options = {"key_size": max(1, shapes.value_size // 2), **options}
        shapes = eqx.filter_eval_shape(lambda: make_cell(cell, 1, width, key=key, **options))
    rows = shapes.weight_ih.shape[0]
    return make_cell(cell, rows, width, input_map=False, key=key, **options)


def _before(
    core: Any, kernel_size: int, published: _Published, options: dict[str, Any]
) -> list[Leading]:
    """What acts on q, k and v before the cell; `options` are those of the convolution."""
    steps = getattr(core, "num_products", 1)
    size = core.num_heads * (core.key_size + steps * (core.key_size + core.value_size))
    silu = Pointwise(Elementwise(jax.nn.silu), size, size)
    parts = []
    if kernel_size:
        parts = [ShortConv(size, kernel_size=kernel_size, **options)]
    if published.activated or (kernel_size and published.conv_activated):
        parts = [*parts, silu]
    if not parts:
        return []
    return [Leading(Stacked(parts) if len(parts) > 1 else parts[0], core.input_size)]


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
