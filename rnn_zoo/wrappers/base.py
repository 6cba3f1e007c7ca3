"""What cells around a cell share. Each is a cell again: it steps, scans, stacks and saves."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike

from ..base import AbstractCell, State
from ..linear import AffineMap, Parts, Scaled


class AbstractWrapper(AbstractCell):
    """A cell made from another one, with the sizes and the time of that one."""

    cell: eqx.AbstractVar[Any]

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()


class AbstractOutputWrapper(AbstractWrapper):
    """A wrapper that leaves the state as it is: linear, timed, stochastic as the cell inside."""

    @property
    def linear(self) -> bool:
        return self.cell.linear

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    @property
    def has_scaled_matrix(self) -> bool:
        """Whether the cell is an `AbstractScaledMatrixCell`."""
        return getattr(self.cell, "has_scaled_matrix", False)

    @abc.abstractmethod
    def emit(self, x: Array, y: Array) -> Array:
        """What leaves the wrapper where y leaves the cell."""

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ):
        """The step of the cell, and what the wrapper makes of its output."""
        state, y = self.cell.advance(c, state, x, dt, key)
        return state, self.emit(x, y)

    def parts(self, c: Any, x: Array, *dt: ArrayLike) -> Parts | Scaled:
        """The parts of a cell whose state is a matrix."""
        return self.cell.parts(c, x, *dt)

    def output(self, c: Any, read: Array, x: Array) -> Array:
        """The output of such a cell, and what the wrapper makes of it."""
        return self.emit(x, self.cell.output(c, read, x))

    def transition(self, c: Any, x: Array, *dt: ArrayLike) -> AffineMap:
        """The transition of a linear cell."""
        return self.cell.transition(c, x, *dt)

    def readout(self, c: Any, state: State, x: Array) -> Array:
        """The readout of a linear cell, and what the wrapper makes of it."""
        return self.emit(x, self.cell.readout(c, state, x))


class AbstractTransparentWrapper(AbstractOutputWrapper):
    """A wrapper whose step is the step of the cell."""

    def emit(self, x: Array, y: Array) -> Array:
        return y
