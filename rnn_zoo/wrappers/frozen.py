"""Cells that do not train."""

from typing import Any

from jaxtyping import PyTree

from .._common.fixed import fix, unfix
from ..base import AbstractCell, State
from .base import AbstractTransparentWrapper


class Frozen(AbstractTransparentWrapper):
    """A cell that does not train under any optimiser, weight decay included.

    Its floating-point arrays are kept as `Fixed` bits, which `eqx.is_inexact_array` does
    not see. Gradients with respect to inputs and states pass through as ever. Linear,
    timed and stochastic as the cell inside.
    """

    fixed: PyTree

    def __init__(self, cell: AbstractCell):
        """Any cell; its values are kept as they are."""
        self.fixed = fix(cell)

    @property
    def cell(self) -> Any:
        """The cell inside, with its arrays."""
        return unfix(self.fixed)

    def init_state(self) -> State:
        return self.cell.init_state()
