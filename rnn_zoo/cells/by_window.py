"""Cells whose state is the last inputs."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._engine.window import Window, pushed
from ..base import AbstractCell


class AbstractWindowCell(AbstractCell):
    """A cell that reads its last inputs and keeps nothing else.

    State: the inputs before, (before, input_size), oldest first, zero at the start. They are the
    last that were valid, of this document: masked steps are no part of it, a reset empties it. So
    the inputs of all steps are known before any runs, and an evaluator reads them all at once.
    """

    has_window: ClassVar[bool] = True

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def init_state(self) -> Float[Array, "before {self.input_size}"]:
            """Zeros: nothing came before."""

    @abc.abstractmethod
    def read(self, inputs: Sequence[Array]) -> Array:
        """The output of a step, from its input and those before it, newest first."""

    def equation(
        self,
        c: None,
        state: Float[Array, "before {self.input_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, "before {self.input_size}"], Float[Array, " {self.output_size}"]]:
        """`read`, and the window moved on."""
        after = jnp.concatenate([state, x[None]])[1:]
        return after, self.read([x, *(state[i] for i in reversed(range(len(state))))])

    def pushed(self, xs: Array, mask: Array | None, reset: Array | None) -> Window:
        """What the steps of a sequence do to the state before them, as large as one state; so that
        a sequence can be spread over devices."""
        return pushed(xs, self.init_state(), mask, reset)
