"""Layers by size and depth: the short cuts, and the stack that models are built from.

The short cuts are functions in spite of their names, which are those that everybody types: what
`rz.LSTM(...)` returns is a `Stacked` of `LSTMCell`s, and `isinstance(layer, rz.LSTM)` is an error
that says what to ask instead.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax.random as jr
from jaxtyping import PRNGKeyArray

from .._common.checks import check_sizes
from ..base import AbstractCell
from ..cells.gated import GRUCell, LSTMCell
from ..cells.liquid import CfCCell
from ..cells.lru import LRUCell
from ..cells.ltc import LTCCell
from ..cells.s5 import S5Cell
from ..cells.vanilla import ElmanCell
from ..cells.wired import WiredCfCCell
from ..wiring.base import NeuronMap
from ..wrappers.mixed_memory import MixedMemory
from .base import AbstractLayer
from .block import Block
from .mamba_block import MambaBlock
from .pointwise import linear
from .published import residual, scaled
from .recurrent import Bidirectional, Recurrent
from .stacked import Stacked


_Function = TypeVar("_Function", bound=Callable)


class _Maker:
    """A function that makes layers, and says so to whoever takes it for a class."""

    def __init__(self, function: Callable[..., Stacked], test: str):
        functools.update_wrapper(self, function)
        self.__wrapped__, self.__name__ = function, function.__name__
        self.test = test

    def __call__(self, *args: Any, **options: Any) -> Stacked:
        return self.__wrapped__(*args, **options)

    def __instancecheck__(self, layer: Any) -> bool:
        raise TypeError(
            f"rz.{self.__name__} is a function that makes an rz.Stacked, expected a class: ask "
            f"isinstance(layer, rz.Stacked), and of what is inside isinstance({self.test})"
        )

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return f"<function rz.{self.__name__}>"


def _makes_layers(test: str) -> Callable[[_Function], _Function]:
    """Decorates a function with the name of a class; `test` is what to ask of what it makes."""
    return lambda function: cast(_Function, _Maker(function, test))


def deep(
    make: Callable[..., AbstractCell],
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """`num_layers` of one cell, each in the way its kind is used.

    Non-linear cells are stacked plainly, as in PyTorch: the next layer reads the outputs
    (both directions side by side if `bidirectional`), with `dropout` between layers.
    Linear cells become residual `Block`s behind a linear map to `hidden_size`, with
    `dropout` inside each block: stacked plainly they would stay one linear map. So do cells that
    say `for_blocks`, whose outputs are products with the last input or nearly linear.
    `make(input_size, hidden_size, key=key, **options)` makes a cell.
    """
    check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
    key_map, *keys = jr.split(key, 1 + num_layers)
    first = _directions(make, input_size, hidden_size, bidirectional, keys[0], options)
    dtype = options.get("dtype")
    if not _is_linear(first):
        layers = [first]
        for k in keys[1:]:
            size = layers[-1].output_size
            layers.append(_directions(make, size, hidden_size, bidirectional, k, options))
        return Stacked(layers, dropout=dropout)
    blocks = []
    for k in keys:
        key_cell, key_mix = jr.split(k)
        layer = _directions(make, hidden_size, hidden_size, bidirectional, key_cell, options)
        blocks.append(Block(layer, dropout=dropout, dtype=dtype, key=key_mix))
    return Stacked([linear(input_size, hidden_size, dtype=dtype, key=key_map), *blocks])


def _directions(make, input_size, hidden_size, bidirectional, key, options) -> AbstractLayer:
    if not bidirectional:
        return Recurrent(make(input_size, hidden_size, key=key, **options))
    forward, backward = (make(input_size, hidden_size, key=k, **options) for k in jr.split(key))
    return Bidirectional(forward, backward)


def _is_linear(layer: Any) -> bool:
    layer = layer.forward if isinstance(layer, Bidirectional) else layer
    return layer.linear or getattr(getattr(layer, "cell", layer), "for_blocks", False)


def _shortcut(make: Callable[..., AbstractCell], name: str, what: str) -> Callable[..., Stacked]:
    def layers(
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        key: PRNGKeyArray,
        **options: Any,
    ) -> Stacked:
        return deep(
            make,
            input_size,
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            key=key,
            **options,
        )

    cell = make.__name__
    where = "layers[1].layer.cell" if cell in ("LRUCell", "S5Cell") else "layers[0].cell"
    test = f"layer.{where}, rz.cells.{cell}"
    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = f"""{what}; see `deep`. `options` are those of `{cell}`.

    A function, not a class: of what it makes ask `isinstance({test})`.
    """
    return _makes_layers(test)(layers)


@_makes_layers("layer.layers[1].layer, rz.layers.MambaBlock")
def Mamba(
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """Mamba: residual blocks of `MambaBlock` behind a linear map, and a norm at the end.

    As in the authors' language model (Gu & Dao 2023, arXiv:2312.00752): RMS norms before the
    mixers and behind the last, no map of features besides, the last projection of each block
    divided by the root of `num_layers` at the start. With `bidirectional` each block adds a
    `MambaBlock` of each direction. `options` are those of `MambaBlock`. A function, not a class:
    of what it makes ask `isinstance(layer.layers[1].layer, rz.layers.MambaBlock)`.
    """
    return residual(
        scaled(MambaBlock, num_layers),
        input_size,
        hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        key=key,
        **options,
    )


RNN = _shortcut(ElmanCell, "RNN", "Elman layers")
LSTM = _shortcut(LSTMCell, "LSTM", "LSTM layers")
GRU = _shortcut(GRUCell, "GRU", "GRU layers")
LRU = _shortcut(LRUCell, "LRU", "Residual blocks of LRU cells")
S5 = _shortcut(S5Cell, "S5", "Residual blocks of S5 cells")


@_makes_layers("layer.layers[0].cell, rz.cells.CfCCell")
def CfC(
    input_size: int,
    hidden_size: Any,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    mixed_memory: bool = False,
    proj_size: int | None = None,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """CfC layers; see `deep`. `hidden_size` may be a neuron map, for a `WiredCfCCell`.

    `options` are those of the cell.
    `mixed_memory` puts an LSTM into every layer (`MixedMemory`); `proj_size` adds a linear
    map of the outputs at the end. A function, not a class: of what it makes ask
    `isinstance(layer.layers[0].cell, rz.cells.CfCCell)`.
    """
    return liquid(
        WiredCfCCell if isinstance(hidden_size, NeuronMap) else CfCCell,
        input_size,
        hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        mixed_memory=mixed_memory,
        proj_size=proj_size,
        key=key,
        **options,
    )


@_makes_layers("layer.layers[0].cell, rz.cells.LTCCell")
def LTC(
    input_size: int,
    hidden_size: Any,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    mixed_memory: bool = False,
    proj_size: int | None = None,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """LTC layers; see `deep`. `hidden_size` may be a neuron map, all else as in `CfC`.

    A function, not a class: of what it makes ask
    `isinstance(layer.layers[0].cell, rz.cells.LTCCell)`.
    """
    return liquid(
        LTCCell,
        input_size,
        hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        mixed_memory=mixed_memory,
        proj_size=proj_size,
        key=key,
        **options,
    )


def liquid(
    make: Callable[..., AbstractCell],
    input_size: int,
    hidden_size: Any,
    *,
    mixed_memory: bool = False,
    proj_size: int | None = None,
    key: PRNGKeyArray,
    **options: Any,
) -> Stacked:
    """`deep` for cells that also take a neuron map in the place of `hidden_size`.

    `mixed_memory`: a memory in every layer; `proj_size`: a linear map at the end.
    """
    if isinstance(hidden_size, NeuronMap):
        make, hidden_size = _wired(make, hidden_size), hidden_size.units
    key_layers, key_proj = jr.split(key)
    cell = _remembering(make) if mixed_memory else make
    layers = deep(cell, input_size, hidden_size, key=key_layers, **options)
    if proj_size is None:
        return layers
    check_sizes(proj_size=proj_size)
    dtype = options.get("dtype")
    return Stacked([layers, linear(layers.output_size, proj_size, dtype=dtype, key=key_proj)])


def _wired(make: Callable[..., AbstractCell], wiring: NeuronMap) -> Callable[..., AbstractCell]:
    def cell(input_size: int, hidden_size: int, *, key: PRNGKeyArray, **options: Any):
        return make(input_size, wiring, key=key, **options)

    return cell


def _remembering(make: Callable[..., AbstractCell]) -> Callable[..., MixedMemory]:
    def cell(input_size: int, hidden_size: int, *, key: PRNGKeyArray, **options: Any):
        key_cell, key_memory = jr.split(key)
        inner = make(input_size, hidden_size, key=key_cell, **options)
        return MixedMemory(inner, dtype=options.get("dtype"), key=key_memory)

    return cell
