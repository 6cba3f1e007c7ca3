"""The classic cells: Elman, leaky Elman, IndRNN."""

__all__ = ["ElmanCell", "IndRNNCell", "LeakyElmanCell", "LinearIndRNNCell"]

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.activations import portable
from .._common.ranges import held
from .._common.terms import plus
from ..base import AbstractLinearCell, StateMatrix
from ..declared import AbstractDeclaredCell, Given, drawn, drawn_from, filled, option
from ..init import glorot, leaky_kaiming, orthogonal, uniform
from ..linear import AffineMap, Diagonal
from ..registry import register


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


def leaking(name: str, value: float, given: Given) -> float:
    """in (0, 1]"""
    return check_leak(value)


def _checked_range(name: str, value: tuple[float, float], given: Given) -> tuple[float, float]:
    """(low, high) with |low| <= high, high > 0"""
    low, high = value
    if not (high > 0 and abs(low) <= high):
        raise ValueError(
            f"expected {name} (low, high) with |low| <= high and high > 0, got {value}"
        )
    return float(low), float(high)


def _in_range(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    low, high = given.recurrent_range
    return uniform(key, shape, given.dtype, low=low, high=high)


@register(
    "elman",
    family="vanilla",
    paper="Elman 1990",
    equation="h' = tanh(W x + U h + b)",
    covers={"simple recurrent network": {}, "vanilla RNN": {}},
    full="""
        h' = phi(W x + U h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; phi = activation; h = state
    """,
)
class ElmanCell(AbstractDeclaredCell, init=False):
    r"""The simple recurrent network of Elman, "Finding structure in time" (1990).

    $$h' = \phi(W_{ih} x + W_{hh} h + b), \qquad y = h'$$

    State: h, (hidden,), zero at the start. `activation` $\phi$ is any elementwise function,
    tanh by default. $W_{ih}$ is Glorot-uniform, $W_{hh}$ orthogonal, b zero. For short
    memories and as the baseline of the others.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    activation: Callable = option(jnp.tanh, converter=portable)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state
        h = self.activation(plus(z, self.bias))
        return h, h


@register(
    "leaky_elman",
    family="vanilla",
    paper="Jaeger et al. 2007",
    equation="h' = (1 - a) h + a tanh(W x + U h + b)",
    full="""
        alpha = 1 - (1 - leak)^dt
        h' = (1 - alpha) h + alpha phi(W x + U h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; phi = activation; h = state
    """,
)
class LeakyElmanCell(AbstractDeclaredCell, init=False):
    r"""Elman units that integrate: the update of leaky echo state networks (Jaeger 2007).

    $$h' = (1 - \alpha_{dt}) h + \alpha_{dt} \phi(W_{ih} x + W_{hh} h + b), \qquad
    \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` in units of the step that `leak`
    $\alpha \in (0, 1]$ belongs to; dt = 0 holds the state. The smaller the leak, the longer
    the memory. Weights as in `ElmanCell`.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    leak: float = option(0.5, leaking)
    activation: Callable = option(jnp.tanh, converter=portable)

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
        target = self.activation(plus(z, self.bias))
        h = (1 - alpha) * state + alpha * target
        return h, h


@register(
    "indrnn",
    family="vanilla",
    paper="Li et al. 2018, arXiv:1803.04831",
    equation="h' = relu(W x + u * h + b), |u| <= u_max",
    full="""
        u = clip(w, -u_max, u_max)
        h' = phi(W x + u * h + b)
        y = h'
        where W = weight_ih; w = weight_hh; b = bias; phi = activation; h = state
              u_min, u_max = recurrent_range
    """,
)
class IndRNNCell(AbstractDeclaredCell, init=False):
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

    weight_ih: Float[Array, "hidden input"] = drawn(leaky_kaiming)
    weight_hh: Float[Array, " hidden"] = drawn_from(_in_range)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    recurrent_range: tuple[float, float] = option((0.0, 1.0), _checked_range)
    activation: Callable = option(jax.nn.relu, converter=portable)
    state_jacobian: ClassVar[type] = Diagonal

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
        h = self.activation(plus(z, self.bias))
        return h, h


@register(
    "linear_indrnn",
    family="vanilla",
    paper="Li et al. 2018, arXiv:1803.04831",
    equation="h' = W x + u * h + b, |u| <= u_max",
    full="""
        u = clip(w, -u_max, u_max)
        h' = W x + u * h + b
        y = h'
        where W = weight_ih; w = weight_hh; b = bias; h = state
              u_min, u_max = recurrent_range
    """,
)
class LinearIndRNNCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Independently recurrent units with no non-linearity (IndRNN, Li et al. 2018,
    arXiv:1803.04831, with the identity for phi).

    $$h' = u \odot h + W_{ih} x + b, \qquad |u| \le u_{max}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. The plainest linear recurrence, a leaky sum for
    each unit, which runs in parallel over time: put it in a `Block`, which has the
    non-linearity. `recurrent_range` and the initialisation as in `IndRNNCell`.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(leaky_kaiming)
    weight_hh: Float[Array, " hidden"] = drawn_from(_in_range)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    recurrent_range: tuple[float, float] = option((0.0, 1.0), _checked_range)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("weight_hh",)

    def constants(self) -> Float[Array, " hidden"]:
        """u, held to its range."""
        high = self.recurrent_range[1]
        return held(self.weight_hh, -high, high)

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        z = self.weight_ih @ x
        return AffineMap(Diagonal(c), plus(z, self.bias))

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return state
