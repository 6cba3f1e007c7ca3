"""Linear cells with a few numbers of state for each channel."""

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from ..base import AbstractLinearCell
from ..linear import AffineMap, Diagonal


class AbstractChannelCell(AbstractLinearCell):
    """A linear cell that keeps some modes for each channel: (channels * modes,), by channel.

    The state is many times as large as what comes in and goes out, so that over a sequence time
    goes into holding it. The formula stands in three parts, of which one is small: an evaluator
    works out `signals` for all steps at once, and the other two one step at a time, so that nothing
    as large as a state is held for every step.

    In the parts a state is (modes, channels): what a channel multiplies then lies side by side.
    """

    has_channels: ClassVar[bool] = True

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""

    @abc.abstractmethod
    def signals(self, c: Any, x: Array, *dt: ArrayLike) -> Any:
        """What a step makes of its input by products of matrices: arrays without an axis of modes.

        None for what does not exist.
        """

    @abc.abstractmethod
    def change(self, c: Any, signals: Any) -> tuple[Array, Array]:
        """(decay, written) of this step, (modes, channels)."""

    @abc.abstractmethod
    def read(self, c: Any, H: Array, signals: Any) -> Array:
        """The output that belongs to the state after the step, (modes, channels)."""

    def transition(self, c: Any, x: Array, *dt: ArrayLike) -> AffineMap:
        """`change` as a map of the state."""
        decay, written = self.change(c, self.signals(c, x, *dt))
        return AffineMap(Diagonal(self.by_channel(decay)), self.by_channel(written))

    def readout(self, c: Any, state: Array, x: Array) -> Array:
        """`read` of the state."""
        return self.read(c, self.by_mode(state), self.signals(c, x))

    def by_mode(self, state: Inexact[Array, " state"]) -> Inexact[Array, "modes channels"]:
        """The state as the parts have it."""
        return state.reshape(self.output_size, -1).T

    def by_channel(self, H: Inexact[Array, "modes channels"]) -> Inexact[Array, " state"]:
        """The state as the cell has it."""
        return jnp.ravel(H.T)
