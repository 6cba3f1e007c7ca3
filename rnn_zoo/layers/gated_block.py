"""The form that the blocks of published models share: a recurrence beside a gate."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike

from .._common.checks import check_steps
from .._common.dtypes import half_as, working_dtype
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, hide, mixed
from .stacked import Stacked


class AbstractGatedBlock(AbstractLayer, AbstractCell):
    r"""A recurrence over the first part of a linear map of x, and a gate of the rest.

    $$(u, g) = W_{in} x, \qquad y = W_{out}\, \mathrm{gated}(\mathrm{inner}(u), g)$$

    u has as many features as `inner` reads. A layer and a cell: it streams, and masks and resets
    reach every part of `inner`.
    """

    project_in: eqx.AbstractVar[eqx.nn.Linear]
    inner: eqx.AbstractVar[Stacked]
    project_out: eqx.AbstractVar[eqx.nn.Linear]

    @abc.abstractmethod
    def gated(self, v: Array, g: Array) -> Array:
        """What the last map reads in a step: the outputs v of the recurrence behind their gate."""

    @property
    def input_size(self) -> int:
        return int(self.project_in.in_features)

    @property
    def output_size(self) -> int:
        return self.input_size

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
        """Those of the layer inside."""
        return self.inner.constants()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None
    ) -> tuple[State, Array]:
        """One step of all parts."""
        u, g = self._parted(self.project_in(x))
        state, v = self.inner.advance(c, state, u, dt)
        return state, self.project_out(self.gated(v, g))

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
        us, gs = self._parted(jax.vmap(self.project_in)(xs))
        state, vs = self.inner.scan(us, state, dt=steps.dt, mask=steps.mask, reset=steps.reset)
        ys = jax.vmap(self.project_out)(jax.vmap(self.gated)(vs, gs))
        return state, half_as(steps.x, hide(steps.mask, ys))

    def _parted(self, z: Array) -> tuple[Array, Array]:
        """u and g, of a step or of many."""
        size = self.inner.input_size
        return z[..., :size], z[..., size:]
