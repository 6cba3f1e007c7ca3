"""What cells around a cell share. Each is a cell again: it steps, scans, stacks and saves."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike

from ..base import AbstractCell, State, advance, contract
from ..linear import AffineMap


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


class AbstractOutputWrapper(AbstractWrapper):
    """A wrapper that leaves the state as it is: linear, timed, stochastic as the cell inside."""

    @property
    def linear(self) -> bool:
        return self.cell.linear

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    @abc.abstractmethod
    def emit(self, x: Array, y: Array) -> Array:
        """What leaves the wrapper where y leaves the cell."""

    @contract
    def step(self, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None):
        """The step of the cell, and what the wrapper makes of its output."""
        state, y = advance(self.cell, state, x, dt, key=key)
        return state, self.emit(x, y)

    def transition(self, x: Array, *dt: ArrayLike) -> AffineMap:
        """The transition of a linear cell."""
        return self.cell.transition(x, *dt)

    def readout(self, state: State, x: Array) -> Array:
        """The readout of a linear cell, and what the wrapper makes of it."""
        return self.emit(x, self.cell.readout(state, x))


class AbstractTransparentWrapper(AbstractOutputWrapper):
    """A wrapper whose step is the step of the cell."""

    def emit(self, x: Array, y: Array) -> Array:
        return y
