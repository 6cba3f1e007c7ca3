"""The form that blocks share: layers in a row between two maps of a step."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike

from .._common.checks import check_steps
from .._common.dtypes import half_as, working_dtype
from .._engine.rows import by_rows
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, hide, mixed
from .stacked import Stacked


class AbstractInnerBlock(AbstractLayer, AbstractCell):
    r"""Layers in a row, and what maps their inputs and outputs in each step.

    $$(u, g) = \mathrm{opened}(x), \qquad y = \mathrm{closed}(\mathrm{inner}(u), g)$$

    A layer and a cell: it streams, and masks and resets reach every part of `inner`, whose state
    is its own.
    """

    inner: eqx.AbstractVar[Stacked]

    @abc.abstractmethod
    def opened(self, x: Array) -> tuple[Array, Array]:
        """What `inner` reads of a step, and what goes past it."""

    @abc.abstractmethod
    def closed(self, v: Array, g: Array) -> Array:
        """The output of a step, of the output v of `inner` and what went past it."""

    @property
    def timed(self) -> bool:
        return self.inner.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return False

    def directions(self, before: Directions = ()) -> Directions:
        return mixed((*before, (0, self.output_size, False)), self.output_size)

    def init_state(self) -> State:
        return self.inner.init_state()

    def constants(self) -> Any:
        """Those of the layers inside."""
        return self.inner.constants()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None
    ) -> tuple[State, Array]:
        """One step of all parts."""
        u, g = self.opened(x)
        state, v = self.inner.advance(c, state, u, dt)
        return state, self.closed(v, g)

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The final state and the outputs; the parts run one after the other."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        us, gs = jax.vmap(by_rows(self.opened))(xs)
        state, vs = self.inner.scan(us, state, dt=steps.dt, mask=steps.mask, reset=steps.reset)
        ys = jax.vmap(by_rows(self.closed))(vs, gs)
        return state, half_as(steps.x, hide(steps.mask, ys))
