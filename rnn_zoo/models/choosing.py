"""Which cell a model is made of: a name, a class or function, or a neuron map."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..base import AbstractCell
from ..cells.liquid import CfCCell
from ..cells.ltc import LTCCell
from ..cells.wired import WiredCfCCell
from ..layers.published import BLOCKS
from ..registry import CellInfo, cell_info, info_of, options_of
from ..wiring.base import NeuronMap


class Choice(NamedTuple):
    """A cell for a model: its row, and what it is given in the place of `hidden_size`."""

    info: CellInfo
    size: Any
    """A number of units, or a neuron map."""

    @property
    def units(self) -> int:
        return self.size.units if isinstance(self.size, NeuronMap) else self.size

    @property
    def shown(self) -> str:
        """In an error message: the name, or the class."""
        return repr(self.info.name) if self.info.name else self.info.cls.__name__

    def make(self, input_size: int, hidden_size: int, *, key: Any, **options: Any) -> AbstractCell:
        """The cell of one layer."""
        size = self.size if isinstance(self.size, NeuronMap) else hidden_size
        return self.info.cls(input_size, size, key=key, **options)

    def options(self) -> tuple[str, ...] | None:
        """The names of the options that a model of this cell takes for it; None for any."""
        parameters = inspect.signature(self.info.cls).parameters.values()
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return None
        options = options_of(self.info.cls)
        if not self.info.block:
            return options
        block = inspect.signature(BLOCKS[self.info.block]).parameters.values()
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in block):
            options = ()  # the block hands none on
        own = (p.name for p in block if p.kind is inspect.Parameter.KEYWORD_ONLY)
        options += tuple(option for option in own if option not in (*options, "key", "place"))
        return tuple(option for option in options if option != "input_map")


def choose(cell: str | Callable[..., Any] | NeuronMap, hidden_size: Any) -> Choice:
    """The cell of a model, from what `make_model` is given.

    ValueError for an unknown name, TypeError for what makes no cell and for a map where the cell
    takes none.
    """
    if isinstance(cell, NeuronMap):
        return Choice(cell_info("wired_cfc"), cell)
    if isinstance(cell, AbstractCell):
        raise TypeError(
            f"expected the name or the class of a cell, got a cell, {type(cell).__name__}: around "
            "a made cell a model is rz.SequenceModel(rz.Recurrent(cell), output_size, key=key)"
        )
    if not isinstance(cell, str) and not callable(cell):
        raise TypeError(
            "expected the name of a cell, its class, a function (input_size, hidden_size, *, key) "
            f"that makes it, or a neuron map, got {cell!r}"
        )
    info = info_of(cell)
    if isinstance(hidden_size, NeuronMap):
        if info.cls is CfCCell:
            return Choice(cell_info("wired_cfc"), hidden_size)
        if info.name and info.cls not in (LTCCell, WiredCfCCell):
            raise TypeError(
                f"expected hidden_size to be a number of units, got a neuron map, which {cell!r} "
                'does not take: "ltc", "cfc" and "wired_cfc" do'
            )
    return Choice(info, hidden_size)
