"""Several gated layers within one step: the recurrent highway network."""

__all__ = ["RHNCell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, at_least_one, computed, drawn, option
from ..init import fan_in_uniform
from ..registry import register


def _carrying(given: Given, shape: tuple[int, ...]) -> Array:
    bias = jnp.zeros(shape, given.dtype)
    return bias.at[:, given.hidden_size :].set(given.transform_bias)


@register(
    "rhn",
    family="gated",
    paper="Zilly et al. 2017, arXiv:1607.03474",
    equation="s' = t * n + (1 - t) * s, depth times; n, t of s, and of x the first time",
    full="""
        depth times
        n = tanh(first(W_n x) + R_n s + b_n)
        t = sig(first(W_t x) + R_t s + b_t)
        s' = t * n + (1 - t) * s
        y = s'
        where W_n, W_t = weight_ih; R_n, R_t = this(weight_hh); b_n, b_t = this(bias); s = state
    """,
)
class RHNCell(AbstractDeclaredCell, init=False):
    r"""Recurrent highway network (Zilly et al. 2017, arXiv:1607.03474): deep from step to step.

    $$n_l = \tanh(W_n x + R_{n,l} s_{l-1} + b_{n,l}), \qquad
    t_l = \sigma(W_t x + R_{t,l} s_{l-1} + b_{t,l}), \qquad
    s_l = t_l \odot n_l + (1 - t_l) \odot s_{l-1}$$
    $$s_0 = h, \qquad l = 1 \dots D, \qquad h' = s_D, \qquad y = h'$$

    with $W x$ in the first of the D layers only. State: h, (hidden,), zero at the start. `depth` D
    is the number of layers, each with a matrix (2 hidden, hidden) and a bias of its own; blocks in
    the order n, t. The carry gate is 1 - t, coupled, as in the authors' experiments. b_t starts at
    `transform_bias`, -2, so that a new step changes little; with more layers start it lower. W and
    R are from U(±1/sqrt(fan in)), the authors' 0.04 at their 830 units. A step costs as much as D
    steps of a smaller cell, one after the other. For language models, with `rz.VariationalDropout`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(fan_in_uniform)
    weight_hh: Float[Array, "depth 2*hidden hidden"] = drawn(fan_in_uniform)
    bias: Float[Array, "depth 2*hidden"] | None = computed(_carrying)
    depth: int = option(3, at_least_one)
    transform_bias: ClassVar[float] = option(-2.0)

    def constants(self) -> tuple[StateMatrix, ...]:
        return tuple(StateMatrix(self.weight_hh[layer]) for layer in range(self.depth))

    def equation(
        self,
        c: tuple[StateMatrix, ...],
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        h = state
        for layer, matrix in enumerate(c):
            z = matrix @ h
            if layer == 0:
                z = z + self.weight_ih @ x
            if self.bias is not None:
                z = z + self.bias[layer]
            n, t = jnp.split(z, 2)
            t = jax.nn.sigmoid(t)
            h = t * jnp.tanh(n) + (1 - t) * h
        return h, h
