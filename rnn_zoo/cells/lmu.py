"""Legendre memory units: the one with a nonlinear state beside its memory, and the linear one."""

__all__ = ["LMUCell", "LMUState", "LinearLMUCell"]

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float

from .._common.activations import portable
from .._common.dtypes import state_dtype, zero_state
from .._common.terms import plus
from ..base import AbstractLinearCell, StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    at_least_one,
    drawn,
    filled,
    like_hidden,
    option,
    positive,
)
from ..init import normal, orthogonal
from ..linear import AffineMap, SharedDense
from ..registry import register
from .legendre import delay, discretised, moved, step


def lecun_uniform(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """U(±sqrt(3 / columns)): variance 1 / columns."""
    bound = math.sqrt(3 / shape[-1])
    return jr.uniform(key, shape, dtype, -bound, bound)


def glorot_normal(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """N(0, 2 / (rows + columns))."""
    return normal(key, shape, dtype, std=math.sqrt(2 / sum(shape)))


class LMUState(NamedTuple):
    """State of an LMU: its memory m, (memory, order), and h, (hidden,)."""

    m: Float[Array, "memory order"]
    h: Float[Array, " hidden"]


class LMUConstants(NamedTuple):
    """What `LMUCell.constants` gives: what multiplies h, and [A, B] of a nominal step."""

    encoder_h: StateMatrix
    weight_hh: StateMatrix
    nominal: Float[Array, "order order+1"]


@register(
    "lmu",
    family="state-space",
    paper="Voelker et al. 2019",
    equation="m' = A m + B (e_x x + e_h h + e_m m), h' = tanh(W_x x + W_h h + W_m m')",
    covers={"Legendre memory unit": {}},
    full="""
        A, B = legendre(order)
        P = expm(dt / theta * A)
        q = A^-1 (P B - B)
        u = e_x x + e_h h + e_m vec(m)
        m' = m P^T + outer(u, q)
        h' = tanh(W_x x + W_h h + W_m vec(m'))
        y = h'
        where e_x = encoder_x; e_h = encoder_h; e_m = encoder_m
              W_x = weight_ih; W_h = weight_hh; W_m = weight_mh; m, h = state
    """,
)
class LMUCell(AbstractDeclaredCell, init=False):
    r"""Legendre memory unit (Voelker, Kajic & Eliasmith 2019, NeurIPS).

    $$u = e_x x + e_h h + e_m \, \mathrm{vec}(m), \qquad m' = m \bar A^t + u \bar B^t, \qquad
    h' = \tanh(W_x x + W_h h + W_m \, \mathrm{vec}(m')), \qquad y = h'$$
    $$\dot m = A m + B u, \qquad A_{ij} = \frac{2i+1}{\theta} \begin{cases} -1 & i < j \\
    (-1)^{i-j+1} & i \ge j \end{cases}, \qquad B_i = \frac{2i+1}{\theta} (-1)^i$$

    Each of `memory_size` channels remembers its u of the last `theta` nominal steps as `order`
    Legendre polynomials: $u(t - r \theta) \approx \sum_i P_i(2r - 1) m_i$ for r from 0 to 1. $\bar
    A, \bar B$ hold u over the step (zero-order hold), which is stable for every order; a Euler
    step is not. So they see u half a step later than it came. u reads the old h and m, h' the
    new m. A and B are no parameters: they are computed in float64 and rounded once.

    State: `LMUState(m, h)`, (memory, order) and (hidden,), zero at the start. Time: dt moves m by
    exactly that time; h takes a step whatever dt is, also at dt = 0. The paper has one channel;
    for permuted digits it takes `order` 256, `theta` 784 and 212 hidden units. $e_x, e_h$ start
    LeCun-uniform, $e_m$ at 0, $W_x$ and $W_m$ Glorot-normal. $W_h$ starts orthogonal:
    Glorot-normal, as the authors have it, it is expanding by chance in a small network, whose
    gradients overflow in a long silence. For delays and long windows.
    """

    encoder_x: Float[Array, "memory input"] = drawn(lecun_uniform)
    encoder_h: Float[Array, "memory hidden"] = drawn(lecun_uniform)
    encoder_m: Float[Array, "memory memory*order"] = filled(0.0)
    weight_ih: Float[Array, "hidden input"] = drawn(glorot_normal)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
    weight_mh: Float[Array, "hidden memory*order"] = drawn(glorot_normal)
    order: int = option(8, at_least_one)
    memory_size: int = option(1, at_least_one)
    theta: float = option(100.0, positive)

    def init_state(self) -> LMUState:
        dtype = state_dtype(self.weight_hh)
        h = zero_state(self.output_size, self.weight_hh)
        return LMUState(jnp.zeros((self.memory_size, self.order), dtype), h)

    def constants(self) -> LMUConstants:
        nominal = delay(self.order, self.theta).nominal
        nominal = jnp.asarray(nominal, state_dtype(self.weight_hh))
        return LMUConstants(StateMatrix(self.encoder_h), StateMatrix(self.weight_hh), nominal)

    def equation(
        self,
        c: LMUConstants,
        state: LMUState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> tuple[LMUState, Float[Array, " {self.output_size}"]]:
        m, h = state
        u = self.encoder_x @ x + c.encoder_h @ h + self.encoder_m @ m.reshape(-1)
        if dt is None:
            m = step(m, u, c.nominal)
        else:
            m = moved(m, u, dt, delay(self.order, self.theta))
        h = self.weight_ih @ x + c.weight_hh @ h + self.weight_mh @ m.reshape(-1)
        h = jnp.tanh(h)
        return LMUState(m, h), h


class LinearLMUConstants(NamedTuple):
    """What `LinearLMUCell.constants` gives: A and B of a nominal step."""

    A: Float[Array, "order order"]
    B: Float[Array, " order"]


@register(
    "lmu_linear",
    family="state-space",
    paper="Chilkuri & Eliasmith 2021, arXiv:2102.11417",
    equation="m' = A m + B f(e x + b), y = g(W_m m' + W x + b)",
    covers={"parallel LMU": {}},
    full="""
        A, B = legendre(order)
        P = expm(dt / theta * A)
        q = A^-1 (P B - B)
        u = psi(e x + b_e)
        m' = m P^T + outer(u, q)
        y = phi(W_m vec(m') + W_x x + b)
        where e = encoder; b_e = bias_encoder; W_m = weight_mh; W_x = weight_ih; b = bias
              psi = encoder_activation; phi = activation; m = state
    """,
)
class LinearLMUCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Parallel Legendre memory unit (Chilkuri & Eliasmith 2021, arXiv:2102.11417).

    $$u = f_1(U_x x + b_u), \qquad m' = m \bar A^t + u \bar B^t, \qquad
    y = f_2(W_m \, \mathrm{vec}(m') + W_x x + b_o)$$

    The memory of an `LMUCell`, which says what $\bar A$ and $\bar B$ are, without a way back
    into it: linear in m, it runs in parallel over time. State: m, (memory, order), zero at the
    start. `memory_size` channels, by default `hidden_size`; the paper takes one for digits, and
    `order` 468 with `theta` 784. Fields: `encoder` $U_x$ and `bias_encoder` $b_u$, `weight_mh`,
    `weight_ih`, `bias` $b_o$. `encoder_activation` $f_1$ is the identity by default, `activation`
    $f_2$ relu. Time: dt moves m by exactly that time, so that two half steps are one step where
    x stays, and dt = 0 holds it. $U_x$ starts LeCun-uniform, the W Glorot-normal, biases at 0.

    A is a full matrix, one for all steps of one length: the parallel form works with its powers
    of 2 alone. Steps that differ in dt, or that a mask hides, need a matrix each there.
    """

    encoder: Float[Array, "memory input"] = drawn(lecun_uniform)
    bias_encoder: Float[Array, " memory"] | None = filled(0.0)
    weight_mh: Float[Array, "hidden memory*order"] = drawn(glorot_normal)
    weight_ih: Float[Array, "hidden input"] = drawn(glorot_normal)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    order: int = option(8, at_least_one)
    memory_size: int | None = option(None, like_hidden)
    theta: float = option(100.0, positive)
    activation: Callable = option(jax.nn.relu, converter=portable)
    encoder_activation: Callable = option(jax.nn.identity, converter=portable)

    def init_state(self) -> Float[Array, "{self.memory_size} {self.order}"]:
        return jnp.zeros((self.encoder.shape[0], self.order), state_dtype(self.encoder))

    def constants(self) -> LinearLMUConstants:
        nominal = delay(self.order, self.theta).nominal
        nominal = jnp.asarray(nominal, state_dtype(self.encoder))
        return LinearLMUConstants(nominal[:, : self.order], nominal[:, self.order])

    def transition(
        self,
        c: LinearLMUConstants,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] | None = None,
    ) -> AffineMap:
        u = self.encoder_activation(plus(self.encoder @ x, self.bias_encoder))
        A, B = c
        if dt is not None:
            A, B = discretised(dt, delay(self.order, self.theta), A.dtype)
        return AffineMap(SharedDense(A), u[:, None] * B[None])

    def readout(
        self,
        c: LinearLMUConstants,
        state: Float[Array, "{self.memory_size} {self.order}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        y = self.weight_mh @ state.reshape(-1) + self.weight_ih @ x
        return self.activation(plus(y, self.bias))
