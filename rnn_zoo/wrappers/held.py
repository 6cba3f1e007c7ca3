"""Cells whose constants are computed already, for those who run a model step by step."""

from typing import Any

import jax
from jaxtyping import Array, PyTree

from ..base import AbstractCell, State


class Held(AbstractCell):
    """A cell beside its constants: `constants()` computes nothing.

    It is not to be trained or kept: the constants are those of one moment.
    """

    cell: Any
    c: Any

    def __init__(self, cell: AbstractCell):
        """The constants are computed here."""
        self.cell = cell
        self.c = cell.constants()

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    @property
    def linear(self) -> bool:
        return self.cell.linear

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    def init_state(self) -> State:
        return self.cell.init_state()

    def constants(self) -> Any:
        """What was computed."""
        return self.c

    def equation(self, c: Any, state: State, x: Array, *dt: Any, **key: Any) -> tuple[State, Array]:
        """The cell's."""
        return self.cell.equation(c, state, x, *dt, **key)

    def parts(self, c: Any, x: Array, *dt: Any) -> Any:
        """Those of a cell whose state is a matrix."""
        return self.cell.parts(c, x, *dt)

    def output(self, c: Any, read: Array, x: Array) -> Array:
        """That of such a cell."""
        return self.cell.output(c, read, x)

    def transition(self, c: Any, x: Array, *dt: Any) -> Any:
        """That of a linear cell."""
        return self.cell.transition(c, x, *dt)

    def readout(self, c: Any, state: State, x: Array) -> Array:
        """That of a linear cell."""
        return self.cell.readout(c, state, x)


def hold(model: PyTree) -> PyTree:
    """The model with every cell in it held; layers stay, so that all runs as it ran."""

    def held(node: Any) -> Any:
        return Held(node) if _is_cell(node) else node

    return jax.tree.map(held, model, is_leaf=_is_cell)


def _is_cell(node: Any) -> bool:
    # A layer that steps is a cell, too; what it holds is looked for inside of it.
    return isinstance(node, AbstractCell) and not hasattr(node, "scan")
