"""A map without memory, as a layer."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.checks import check_sizes, check_state, check_steps
from .._engine.rows import by_rows
from ..base import AbstractCell, State, replace
from ..init import normal
from .base import AbstractLayer, Directions, hide, mixed


class Elementwise(eqx.Module):
    """A function without parameters as a module without leaves."""

    function: Callable = eqx.field(static=True, converter=portable)

    def __call__(self, x: Array) -> Array:
        return self.function(x)


class GatedMLP(eqx.Module):
    r"""Perceptron with a gate, $V (\mathrm{gelu}(W_g x) \odot W_v x)$, each map with a bias.

    (input_size,) to (output_size,), with `width` units between, by default three times
    `output_size`; gelu is the tanh approximation (Griffin; De et al. 2024, arXiv:2402.19427).
    """

    gate: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        width = 3 * output_size if width is None else width
        check_sizes(input_size=input_size, output_size=output_size, width=width)
        keys = jr.split(key, 3)
        self.gate = eqx.nn.Linear(input_size, width, dtype=dtype, key=keys[0])
        self.value = eqx.nn.Linear(input_size, width, dtype=dtype, key=keys[1])
        self.output = eqx.nn.Linear(width, output_size, dtype=dtype, key=keys[2])

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.output(jax.nn.gelu(self.gate(x)) * self.value(x))


class SwiGLU(eqx.Module):
    r"""Perceptron with a gate, $V (\mathrm{silu}(W_g x) \odot W_v x)$, without biases.

    (input_size,) to (output_size,), with `width` units between, by default 8/3 of `output_size`,
    rounded up (Shazeer 2020, arXiv:2002.05202).
    """

    gate: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        width = -(-8 * output_size // 3) if width is None else width
        check_sizes(input_size=input_size, output_size=output_size, width=width)
        keys = jr.split(key, 3)
        linear: dict[str, Any] = {"use_bias": False, "dtype": dtype}
        self.gate = eqx.nn.Linear(input_size, width, **linear, key=keys[0])
        self.value = eqx.nn.Linear(input_size, width, **linear, key=keys[1])
        self.output = eqx.nn.Linear(width, output_size, **linear, key=keys[2])

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.output(jax.nn.silu(self.gate(x)) * self.value(x))


class GeGLU(eqx.Module):
    r"""Perceptron with a gate, $V (\mathrm{gelu}(W_g x) \odot W_v x)$, without biases.

    (input_size,) to (output_size,), with `width` units between, by default 4/3 of `output_size`,
    rounded up; gelu is exact, not the approximation by tanh. It is the one behind xLSTM's sLSTM
    (Beck et al. 2024, arXiv:2405.04517), whose code has 1.3 of the size, rounded up to a multiple
    of 64. As there $W_g$ and $W_v$ start as N(0, 2 / (5 input_size)), and V as
    N(0, 4 / input_size).
    """

    gate: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        width = -(-4 * output_size // 3) if width is None else width
        check_sizes(input_size=input_size, output_size=output_size, width=width)
        keys = jr.split(key, 3)
        std = math.sqrt(2 / (5 * input_size))
        self.gate = normal_linear(input_size, width, std=std, dtype=dtype, key=keys[0])
        self.value = normal_linear(input_size, width, std=std, dtype=dtype, key=keys[1])
        std = 2 / math.sqrt(input_size)
        self.output = normal_linear(width, output_size, std=std, dtype=dtype, key=keys[2])

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.output(jax.nn.gelu(self.gate(x), approximate=False) * self.value(x))


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

    def equation(self, c: Any, state: State, x: Array) -> tuple[State, Array]:
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
        ys = jax.vmap(by_rows(lambda x: self.step((), x)[1]))(hide(steps.mask, steps.x))
        return (), hide(steps.mask, ys)


def linear(input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray) -> Pointwise:
    """A learned linear map with a bias, for every step."""
    return Pointwise(
        eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key), input_size, output_size
    )


def normal_linear(
    input_size: int, output_size: int, *, std: float, dtype: Any = None, key: PRNGKeyArray
) -> eqx.nn.Linear:
    """A map without a bias whose weights start as N(0, std^2)."""
    made = eqx.nn.Linear(input_size, output_size, use_bias=False, dtype=dtype, key=key)
    return replace(made, weight=normal(key, made.weight.shape, made.weight.dtype, std=std))
