"""Gated cells that are, or follow, a differential equation: ODE-RNN, GRU-ODE."""

__all__ = ["GRUODECell", "ODERNNCell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.checks import check_sizes
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    filled,
    one_of,
    option,
)
from ..init import glorot, normal, orthogonal
from ..registry import register
from .runge_kutta import METHODS, flow


def _width(name: str, value: int | None, given: Given) -> int:
    """units inside of f, by default four times `hidden_size`, at most 100"""
    width = min(4 * given.hidden_size, 100) if value is None else value
    check_sizes(**{name: width})
    return width


def _gates(given: Given) -> int:
    return 2 if given.minimal else 3


@register(
    "ode_rnn",
    family="liquid",
    paper="Rubanova et al. 2019, arXiv:1907.03907",
    equation="h' = GRU(x, u), u = h after dt of h' = W_2 tanh(W_1 h + c_1) + c_2",
    full="""
        F(v) = W_2 tanh(W_1 v + c_1) + c_2
        u = flow(F, h, dt)
        r = sig(W_r x + U_r u + b_r)
        z = sig(W_z x + U_z u + b_z)
        n = tanh(W_n x + b_n + r * (U_n u + c_n))
        h' = (1 - z) * n + z * u
        y = h'
        where W_1 = weight_1; c_1 = bias_1; W_2 = weight_2; c_2 = bias_2
              W_r, W_z, W_n = weight_ih
              U_r, U_z, U_n = weight_hh
              b_r, b_z, b_n = bias
              c_n = bias_n; h = state
    """,
)
class ODERNNCell(AbstractDeclaredCell, init=False):
    r"""ODE-RNN (Rubanova et al. 2019, arXiv:1907.03907): the state flows, then a GRU jumps.

    $$\dot h = W_2 \tanh(W_1 h + b_1) + b_2 \quad\text{over } dt, \text{ then} \qquad
    r, z = \sigma(W_{ih} x + W_{hh} h + b)_{r,z}$$
    $$n = \tanh\big((W_{ih} x + b)_n + r \odot (U_n h + b_n)\big), \qquad
    h' = (1 - z) \odot n + z \odot h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` is the time since the step before, so the
    state flows first and the GRU, in the form of `GRUCell`, acts at the end of that time. It acts
    at dt = 0, too, which therefore does not hold the state. f has `width` units inside and does
    not see x. It is solved in `substeps` equal steps of "euler", "midpoint" or "rk4". Their number
    is fixed and they are explicit: where dt / substeps times a slope of f passes about 2 they
    diverge, and nothing is cut off. Scale times so that gaps are near 1, or take more substeps.

    Weights of f are N(0, 0.01) and its biases zero, as the authors' are; the gates, which are
    perceptrons in their code, are a GRU's here and start like those of `GRUCell`. For missing
    features put it into `rz.Imputed`.
    """

    weight_1: Float[Array, "width hidden"] = drawn(normal, std=0.1)
    bias_1: Float[Array, " width"] = filled(0.0)
    weight_2: Float[Array, "hidden width"] = drawn(normal, std=0.1)
    bias_2: Float[Array, " hidden"] = filled(0.0)
    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "3*hidden hidden"] = drawn(orthogonal, blocks=3)
    bias: Float[Array, " 3*hidden"] | None = filled(0.0)
    bias_n: Float[Array, " hidden"] | None = filled(0.0)
    width: ClassVar[int] = option(None, _width)
    method: str = option("rk4", one_of(*METHODS))
    substeps: int = option(1, at_least_one)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        h = flow(self._rate, state, dt, self.method, self.substeps)
        from_x, from_h = plus(self.weight_ih @ x, self.bias), c @ h
        r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)[: -self.output_size]), 2)
        reset = r * plus(from_h[-self.output_size :], self.bias_n)
        n = jnp.tanh(from_x[-self.output_size :] + reset)
        h = (1 - z) * n + z * h
        return h, h

    def _rate(self, v: Array) -> Array:
        return self.weight_2 @ jnp.tanh(self.weight_1 @ v + self.bias_1) + self.bias_2


@register(
    "gru_ode",
    family="liquid",
    paper="De Brouwer et al. 2019, arXiv:1905.12374",
    equation="h' = h after dt of dh/dt = (1 - z) * (n - h)",
    covers={"continuous GRU": {}, "minimal GRU-ODE": {"minimal": True}},
    full="""
        r(v) = sig(W_r x + U_r v + b_r)
        z(v) = sig(W_z x + U_z v + b_z)
        n(v) = tanh(W_n x + U_n (r(v) * v) + b_n)
        F(v) = (1 - z(v)) * (n(v) - v)
        f(v) = sig(W_f x + U_f v + b_f)
        g(v) = tanh(W_g x + U_g (f(v) * v) + b_g)
        G(v) = (1 - f(v)) * (g(v) - v)
        h' = flow(G, h, dt)   if minimal
        h' = flow(F, h, dt)   otherwise
        y = h'
        where W_r, W_z, W_n = weight_ih; W_f, W_g = weight_ih
              U_r, U_z, U_n = weight_hh; U_f, U_g = weight_hh
              b_r, b_z, b_n = bias; b_f, b_g = bias
              h = state
    """,
)
class GRUODECell(AbstractDeclaredCell, init=False):
    r"""GRU-ODE (De Brouwer et al. 2019, arXiv:1905.12374): a GRU as a differential equation.

    $$\dot h = (1 - z) \odot (n - h) \quad\text{over } dt, \qquad
    r, z = \sigma(W_{ih} x + W_{hh} h + b)_{r,z}, \qquad
    n = \tanh\big((W_{ih} x + b)_n + U_n (r \odot h)\big)$$

    with x held over dt, and y = h'. With `minimal` z takes the place of r, and the blocks are
    z, n; else they are r, z, n. State: h, (hidden,), zero at the start. Timed; dt = 0 holds the
    state. The exact flow keeps h within (-1, 1). It is solved in `substeps` equal steps of
    "euler", "midpoint" or "rk4", explicit and of fixed number: Euler keeps h within (-1, 1) up to
    dt / substeps = 1, and all of them diverge from about 2 to 3 on, where nothing is cut off.
    Scale times so that gaps are near 1, or take more substeps.

    Weights are Glorot-uniform, biases 0.05, as the authors' are; they take small Euler or midpoint
    steps. GRU-ODE-Bayes of the same paper has a jump at each observation as well, and x = 0
    between them: that is near to `ODERNNCell`.
    """

    weight_ih: Float[Array, "gates*hidden input"] = drawn(glorot, blocks=1)
    weight_hh: Float[Array, "gates*hidden hidden"] = drawn(glorot, blocks=1)
    bias: Float[Array, " gates*hidden"] | None = filled(0.05)
    method: str = option("rk4", one_of(*METHODS))
    substeps: int = option(1, at_least_one)
    minimal: bool = option(False)
    gates: ClassVar[int] = derived(_gates)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = plus(self.weight_ih @ x, self.bias)
        split = from_x.shape[0] - self.output_size

        def rate(v: Array) -> Array:
            gates = jax.nn.sigmoid(from_x[:split] + c[:split] @ v)
            # The first gate resets, the last one keeps; the minimal form has one for both.
            r, z = gates[: self.output_size], gates[-self.output_size :]
            n = jnp.tanh(from_x[split:] + c[split:] @ (r * v))
            return (1 - z) * (n - v)

        h = flow(rate, state, dt, self.method, self.substeps)
        return h, h
