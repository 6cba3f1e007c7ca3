"""The classic cells: Elman, leaky Elman, IndRNN."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_float
from .._common.ranges import held
from ..base import AbstractCell, AbstractLinearCell, StateMatrix
from ..init import glorot, leaky_kaiming, orthogonal, uniform
from ..linear import AffineMap, Diagonal


def leak_over(leak: float, dt: ArrayLike) -> Array:
    """1 - (1 - leak)^dt: the share of the state that is replaced in the time dt.

    Exact composition: two steps of dt/2 keep what one step of dt keeps; dt = 0 holds.
    """
    if leak == 1.0:  # 0^dt has no finite gradient at dt = 0
        return jnp.where(jnp.asarray(dt) > 0, 1.0, 0.0)
    return -jnp.expm1(dt * math.log1p(-leak))


def check_leak(leak: float) -> float:
    """`leak` in (0, 1], or a ValueError."""
    if not 0.0 < leak <= 1.0:
        raise ValueError(f"expected leak in (0, 1], got {leak}: 1 keeps nothing of the old state")
    return float(leak)


class ElmanCell(AbstractCell):
    r"""The simple recurrent network of Elman, "Finding structure in time" (1990).

    $$h' = \phi(W_{ih} x + W_{hh} h + b), \qquad y = h'$$

    State: h, (hidden,), zero at the start. `activation` $\phi$ is any elementwise function,
    tanh by default. $W_{ih}$ is Glorot-uniform, $W_{hh}$ orthogonal, b zero. For short
    memories and as the baseline of the others.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    activation: Callable = eqx.field(static=True, converter=portable)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable = jnp.tanh,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """Sizes of x and h; `activation`, elementwise; `dtype` of the parameters."""
        self.weight_ih, self.weight_hh, self.bias = _dense_weights(
            input_size, hidden_size, use_bias, dtype, key
        )
        self.activation = activation
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state
        h = self.activation(z if self.bias is None else z + self.bias)
        return h, h


class LeakyElmanCell(AbstractCell):
    r"""Elman units that integrate: the update of leaky echo state networks (Jaeger 2007).

    $$h' = (1 - \alpha_{dt}) h + \alpha_{dt} \phi(W_{ih} x + W_{hh} h + b), \qquad
    \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` in units of the step that `leak`
    $\alpha \in (0, 1]$ belongs to; dt = 0 holds the state. The smaller the leak, the longer
    the memory. Weights as in `ElmanCell`.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    leak: float = eqx.field(static=True)
    activation: Callable = eqx.field(static=True, converter=portable)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        leak: float = 0.5,
        activation: Callable = jnp.tanh,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`leak` in (0, 1] (ValueError otherwise); the rest as in `ElmanCell`."""
        self.weight_ih, self.weight_hh, self.bias = _dense_weights(
            input_size, hidden_size, use_bias, dtype, key
        )
        self.leak = check_leak(leak)
        self.activation = activation
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state
        alpha = leak_over(self.leak, dt)
        target = self.activation(z if self.bias is None else z + self.bias)
        h = (1 - alpha) * state + alpha * target
        return h, h


class IndRNNCell(AbstractCell):
    r"""Independently recurrent units (Li et al. 2018, arXiv:1803.04831).

    $$h' = \phi(W_{ih} x + u \odot h + b), \qquad |u| \le u_{max}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. $\phi$ is ReLU. Each unit sees only itself, so
    stack two or more. `recurrent_range` = (low, high): u starts as U(low, high) and is held
    to |u| <= high where it is used (the authors cut it after every update). At the edge the
    gradient passes inwards only, so u stays near the range and comes back at once. high = 1
    keeps gradients of any length bounded; for sequences of T steps the paper takes 2^(1/T), and
    low near high in the last layer if only the last output is read. $W_{ih}$ is U(±sqrt(6 / (65
    input))), b zero, as in the authors' code, which normalises between layers. Keep weight decay
    off u.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, " hidden"]
    bias: Float[Array, " hidden"] | None
    recurrent_range: tuple[float, float] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True, converter=portable)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        recurrent_range: tuple[float, float] = (0.0, 1.0),
        activation: Callable = jax.nn.relu,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`recurrent_range` (low, high) with |low| <= high, high > 0 (ValueError otherwise)."""
        self.weight_ih, self.weight_hh, self.bias = _independent_weights(
            input_size, hidden_size, recurrent_range, use_bias, dtype, key
        )
        self.recurrent_range = (float(recurrent_range[0]), float(recurrent_range[1]))
        self.activation = activation
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> Float[Array, " hidden"]:
        """u, held to its range."""
        high = self.recurrent_range[1]
        return held(self.weight_hh, -high, high)

    def equation(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c * state
        h = self.activation(z if self.bias is None else z + self.bias)
        return h, h


class LinearIndRNNCell(AbstractLinearCell):
    r"""Independently recurrent units with no non-linearity (IndRNN, Li et al. 2018,
    arXiv:1803.04831, with the identity for phi).

    $$h' = u \odot h + W_{ih} x + b, \qquad |u| \le u_{max}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. The plainest linear recurrence, a leaky sum for
    each unit, which runs in parallel over time: put it in a `Block`, which has the
    non-linearity. `recurrent_range` and the initialisation as in `IndRNNCell`.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, " hidden"]
    bias: Float[Array, " hidden"] | None
    recurrent_range: tuple[float, float] = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    ssm_parameters: ClassVar[tuple[str, ...]] = ("weight_hh",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        recurrent_range: tuple[float, float] = (0.0, 1.0),
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`recurrent_range` (low, high) with |low| <= high, high > 0 (ValueError otherwise)."""
        self.weight_ih, self.weight_hh, self.bias = _independent_weights(
            input_size, hidden_size, recurrent_range, use_bias, dtype, key
        )
        self.recurrent_range = (float(recurrent_range[0]), float(recurrent_range[1]))
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_hh))

    def constants(self) -> Float[Array, " hidden"]:
        """u, held to its range."""
        high = self.recurrent_range[1]
        return held(self.weight_hh, -high, high)

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        z = self.weight_ih @ x
        return AffineMap(Diagonal(c), z if self.bias is None else z + self.bias)

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return state


def _independent_weights(input_size: int, hidden_size: int, bounds, use_bias: bool, dtype, key):
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    low, high = bounds
    if not (high > 0 and abs(low) <= high):
        raise ValueError(
            f"expected recurrent_range (low, high) with |low| <= high and high > 0, got {bounds}"
        )
    dtype = working_float(dtype)
    key_ih, key_hh = jr.split(key)
    return (
        leaky_kaiming(key_ih, hidden_size, input_size, dtype),
        uniform(key_hh, (hidden_size,), low, high, dtype),
        jnp.zeros(hidden_size, dtype) if use_bias else None,
    )


def _dense_weights(input_size: int, hidden_size: int, use_bias: bool, dtype: Any, key):
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    dtype = working_float(dtype)
    key_ih, key_hh = jr.split(key)
    return (
        glorot(key_ih, 1, hidden_size, input_size, dtype),
        orthogonal(key_hh, 1, hidden_size, dtype),
        jnp.zeros(hidden_size, dtype) if use_bias else None,
    )
