"""A state space whose transition is a column one-hot matrix times a diagonal one."""

__all__ = ["PDSSMCell"]

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from ..base import AbstractLinearCell
from ..declared import AbstractDeclaredCell, Given, at_least_one, drawn, like_hidden, option
from ..init import fan_in_normal, normal
from ..linear import AffineMap, OneHotColumns
from ..registry import register
from .modes import joint_readout, read_modes, write_modes, zero_modes


def _count(name: str, value: int, given: Given) -> int:
    """of the dictionary that P is made of, 6 to 8 with the authors"""
    return at_least_one(name, value, given)


@jax.custom_jvp
def one_hot_columns(scores: Float[Array, "state state"]) -> Float[Array, "state state"]:
    """1 in each column where it is largest, the first of equals, else 0; its derivative is that of
    the softmax of the columns. NaN in a column makes all of it NaN."""
    rows, top = jnp.arange(len(scores))[:, None], scores.max(0)[None]
    hot = (rows == scores.argmax(0)[None]).astype(scores.dtype)
    return jnp.where(jnp.isnan(top), top, hot)


@one_hot_columns.defjvp
def _softmax_of_columns(primals: Any, tangents: Any) -> Any:
    moved = jax.jvp(lambda scores: jax.nn.softmax(scores, axis=0), primals, tangents)[1]
    return one_hot_columns(*primals), moved


@register(
    "pd_ssm",
    family="matrix",
    paper="Terzić et al. 2025, arXiv:2509.22284",
    equation="h' = P(x) (d(x) * h) + B x, y = Re(C h') + D x",
    full="""
        s = exp(S x) / sum(exp(S x))
        P = hardmax(mixed(M, s))
        d = sig(W_m x + b_m) * exp(2 pi j sig(W_p x + b_p))
        h' = P (d * h) + B x
        y = re(C h') + D x
        where h = state; B = complex(B); C = complex(C); W_m = weight_mag; b_m = bias_mag
              W_p = weight_phase; b_p = bias_phase
    """,
)
class PDSSMCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""State space with one-hot columns times a diagonal (PD-SSM; Terzić et al. 2025,
    arXiv:2509.22284).

    $$s = \mathrm{softmax}(S x), \qquad P = \mathrm{hardmax}\Big(\sum_c s_c M_c\Big), \qquad
    d = \sigma(W_m x + b_m) \odot e^{2 \pi i\, \sigma(W_p x + b_p)}$$
    $$h' = P (d \odot h) + B x, \qquad y = \mathrm{Re}(C h') + D x$$

    State: h, (state_size,) complex, zero at the start. Each column of P has one 1, where the
    mixture of the `num_matrices` matrices `M` is largest in that column (the first of equals), so
    that the input chooses which unit goes where: one layer with N units runs any automaton of N
    states. An automaton starts in one of its units: `rz.LearnedInitialState` gives it such a start.

    The derivative is not that of the equation, which is 0 with respect to S and M, but the authors'
    straight-through one: that of the softmax of each column in the place of P's.

    Parameters are real: the leading axis of B and C is (real, imaginary). `weight_mag`, `bias_mag`
    are $W_m, b_m$, `weight_phase`, `bias_phase` $W_p, b_p$. All start normal: B with a variance of
    1 / (2 input), C, M and the biases 1 / state, D and the weights 1 / input, S 1. D is a full
    matrix, where the authors' input has the size of the output and D is its diagonal. P is no flow
    in time, so that the cell is not `timed`. To compute P takes num_matrices * state_size^2. As it
    starts, d halves the state at each step: for long memories raise `bias_mag`.
    """

    B: Float[Array, "2 state input"] = drawn(fan_in_normal, fan_in="2*input")
    C: Float[Array, "2 hidden state"] = drawn(fan_in_normal)
    D: Float[Array, "hidden input"] = drawn(fan_in_normal)
    M: Float[Array, "num_matrices state state"] = drawn(fan_in_normal)
    S: Float[Array, "num_matrices input"] = drawn(normal, std=1.0)
    weight_mag: Float[Array, "state input"] = drawn(fan_in_normal)
    bias_mag: Float[Array, " state"] = drawn(fan_in_normal)
    weight_phase: Float[Array, "state input"] = drawn(fan_in_normal)
    bias_phase: Float[Array, " state"] = drawn(fan_in_normal)
    state_size: int | None = option(None, like_hidden)
    num_matrices: int = option(6, _count)

    def init_state(self) -> Complex[Array, " state"]:
        return zero_modes(self.bias_mag.size, self.bias_mag)

    def constants(self) -> Float[Array, "hidden parts"]:
        """C and D as one matrix."""
        return joint_readout(self.C, self.D)

    def transition(
        self, c: Float[Array, "hidden parts"], x: Float[Array, " {self.input_size}"]
    ) -> AffineMap:
        shares = jax.nn.softmax(self.S @ x)
        P = one_hot_columns(jnp.tensordot(shares, self.M, 1))
        modulus = jax.nn.sigmoid(self.weight_mag @ x + self.bias_mag)
        phase = 2 * math.pi * jax.nn.sigmoid(self.weight_phase @ x + self.bias_phase)
        d = lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
        return AffineMap(
            OneHotColumns(P.astype(d.dtype) * d[None]),
            write_modes(self.B.reshape(-1, self.input_size), x),
        )

    def readout(
        self,
        c: Float[Array, "hidden parts"],
        state: Complex[Array, " state"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read_modes(c, state, x)
