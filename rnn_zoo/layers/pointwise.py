"""A map without memory, as a layer."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._activations import portable
from .._checks import check_state, check_steps
from ..base import AbstractCell, State, contract
from .base import AbstractLayer, Directions, hide, mixed


class Elementwise(eqx.Module):
    """A function without parameters as a module without leaves."""

    function: Callable = eqx.field(static=True, converter=portable)

    def __call__(self, x: Array) -> Array:
        return self.function(x)


class Pointwise(AbstractLayer, AbstractCell):
    """One function for every step: y_t = f(x_t). Its state is the empty tuple."""

    function: Any
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(self, function: Any, input_size: int, output_size: int):
        """`function`: an Equinox module from (input_size,) to (output_size,)."""
        self.function = function
        self.input_size, self.output_size = input_size, output_size

    @property
    def timed(self) -> bool:
        return False

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return False

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(before, self.output_size)

    def init_state(self) -> State:
        return ()

    @contract
    def step(self, state: State, x: Array) -> tuple[State, Array]:
        """f(x)."""
        return state, self.function(x)

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
        """f of each step; zero where masked."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        check_state(self, state)
        ys = jax.vmap(lambda x: self.step((), x)[1])(hide(steps.mask, steps.x))
        return (), hide(steps.mask, ys)


def linear(input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray) -> Pointwise:
    """A learned linear map with a bias, for every step."""
    return Pointwise(
        eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key), input_size, output_size
    )
