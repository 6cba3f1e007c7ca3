"""The simple recurrent unit."""

__all__ = ["SRUCell"]

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..declared import AbstractDeclaredCell, Given, computed, derived, drawn, drawn_from, option
from ..init import uniform
from ..linear import AffineMap, Diagonal
from ..registry import register


def _scale(given: Given) -> float:
    return math.sqrt(1 + 2 * math.exp(given.highway_bias)) if given.rescale else 1.0


def _blocks(given: Given) -> int:
    return 3 if given.input_size == given.hidden_size else 4


def _weights(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """Variance 1 / input; half of it for gates that read the state too, and the skip's times s."""
    bound = math.sqrt(3 / given.input_size)
    drawn = jr.uniform(key, shape, given.dtype, -bound, bound)
    gate = math.sqrt(0.5) if given.recurrent else 1.0
    scales = jnp.array([1.0, gate, gate, given.scale][: given.blocks], given.dtype)
    return drawn * jnp.repeat(scales, given.hidden_size)[:, None]


def _bias(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, given.dtype).at[given.hidden_size :].set(given.highway_bias)


def _is_recurrent(given: Given) -> bool:
    return given.recurrent


@register(
    "sru",
    family="gated",
    paper="Lei et al. 2018, arXiv:1709.02755",
    equation="c' = f * c + (1 - f) * W x, y = r * c' + (1 - r) * s x, f, r of x",
    full="""
        u = W_u x
        f = sig(W_f x + v_f * c + b_f)   if recurrent
        f = sig(W_f x + b_f)             otherwise
        r = sig(W_r x + v_r * c + b_r)   if recurrent
        r = sig(W_r x + b_r)             otherwise
        k = s x     if input_size = output_size
        k = W_s x   otherwise
        c' = f * c + (1 - f) * u
        y = r * c' + (1 - r) * k
        where W_u, W_f, W_r = weight_ih        if input_size = output_size
              W_u, W_f, W_r, W_s = weight_ih   otherwise
              v_f, v_r = weight_hh; b_f, b_r = bias; s = scale; c = state
    """,
)
class SRUCell(AbstractDeclaredCell, init=False):
    r"""Simple recurrent unit (Lei et al. 2018, arXiv:1709.02755).

    $$f = \sigma(W_f x + v_f \odot c + b_f), \qquad r = \sigma(W_r x + v_r \odot c + b_r)$$
    $$c' = f \odot c + (1 - f) \odot W x, \qquad y = r \odot c' + (1 - r) \odot s x$$

    State: c, (hidden,), zero at the start. Both gates read the c before the step. By default
    there are no $v_f, v_r$: then the gates see only the input, the cell is linear in c and runs in
    parallel over time. `recurrent=True` is the paper's full form, which is not linear; its
    `weight_hh` has the rows $v_f, v_r$. Blocks of `weight_ih` in the order candidate, f, r, and
    a fourth, the skip $W_s x$ in the place of $s x$, where input and hidden size differ.

    s is $\sqrt{1 + 2 e^{b}}$ with b the `highway_bias`, where b_r starts, so that the variance of
    a deep stack neither grows nor fades; `rescale=False` is s = 1. Beside a fourth block s is
    in where that starts, as in the authors' code. Weights start uniform with variance 1 / input,
    those of the gates with half of it in the recurrent form. For deep language models the authors
    take a `highway_bias` of -2 or -3.
    """

    blocks: ClassVar[int] = derived(_blocks)
    weight_ih: Float[Array, "blocks*hidden input"] = drawn_from(_weights)
    weight_hh: Float[Array, " 2*hidden"] | None = drawn(
        uniform, when=_is_recurrent, low=-math.sqrt(1.5), high=math.sqrt(1.5)
    )
    bias: Float[Array, " 2*hidden"] | None = computed(_bias)
    recurrent: bool = option(False)
    highway_bias: ClassVar[float] = option(0.0)
    rescale: ClassVar[bool] = option(True)
    scale: float = derived(_scale)

    @property
    def linear(self) -> bool:
        return not self.recurrent

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_ih)

    def equation(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        u, gates, skip = self._of_input(x)
        if self.weight_hh is not None:
            gates = gates + self.weight_hh * jnp.tile(state, 2)
        f, r = jnp.split(jax.nn.sigmoid(gates), 2)
        state = f * state + (1 - f) * u
        return state, r * state + (1 - r) * skip

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        """The step as a map of c, where the gates see only the input."""
        size = self.output_size
        z = self.weight_ih[: 2 * size] @ x
        f = jax.nn.sigmoid(plus(z[size:], None if self.bias is None else self.bias[:size]))
        return AffineMap(Diagonal(f), (1 - f) * z[:size])

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        """The output that belongs to the c after the step, where the gates see only the input."""
        size = self.output_size
        z = self.weight_ih[2 * size :] @ x
        r = jax.nn.sigmoid(plus(z[:size], None if self.bias is None else self.bias[size:]))
        return r * state + (1 - r) * self._skip(x, z[size:])

    def _of_input(self, x: Array) -> tuple[Array, Array, Array]:
        """The candidate, what x gives to both gates, and what the output skips to."""
        size, z = self.output_size, self.weight_ih @ x
        gates = plus(z[size : 3 * size], self.bias)
        return z[:size], gates, self._skip(x, z[3 * size :])

    def _skip(self, x: Array, mapped: Array) -> Array:
        """s x, or what the fourth block makes of x."""
        return self.scale * x if self.input_size == self.output_size else mapped
