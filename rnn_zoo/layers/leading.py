"""A layer for some of the features."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from .._common.checks import check_sizes, check_steps
from .._common.dtypes import half_as, working_dtype
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, hide, mixed, require_step
from .stacked import as_layer


class Leading(AbstractLayer, AbstractCell):
    r"""A layer that reads the first features; the others pass as they are.

    $$y = (\mathrm{layer}(x_{:n}),\; x_{n:})$$

    n is the input size of the layer. Outputs of masked steps are zero. The state is the layer's. A
    layer, and a cell where the layer inside steps.
    """

    layer: Any
    input_size: int = eqx.field(static=True)

    def __init__(self, layer: Any, input_size: int):
        """A cell or layer, and the number of all features. ValueError where these are fewer than
        it reads."""
        check_sizes(input_size=input_size)
        self.layer = as_layer(layer)
        if input_size < self.layer.input_size:
            raise ValueError(
                f"expected an input_size of at least the {self.layer.input_size} features that "
                f"the layer reads, got {input_size}"
            )
        self.input_size = input_size

    @property
    def output_size(self) -> int:
        return self.layer.output_size + self.input_size - self.layer.input_size

    @property
    def timed(self) -> bool:
        return self.layer.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.layer.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(before + self.layer.directions(), self.output_size)

    def init_state(self) -> State:
        return self.layer.init_state()

    def constants(self) -> Any:
        """Those of the layer inside. TypeError where it cannot step."""
        require_step(self.layer)
        return self.layer.constants()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of the layer inside."""
        size = self.layer.input_size
        state, y = self.layer.advance(c, state, x[:size], dt, key)
        return state, jnp.concatenate([y, x[size:]])

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
        """The final state of the layer inside, and the outputs."""
        steps, size = check_steps(self, xs, dt, mask, reset, key), self.layer.input_size
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        options = {"dt": steps.dt, "mask": steps.mask, "reset": steps.reset, "key": steps.key}
        state, ys = self.layer.scan(xs[:, :size], state, **options)
        ys = jnp.concatenate([ys, xs[:, size:]], axis=-1)
        return state, half_as(steps.x, hide(steps.mask, ys))
