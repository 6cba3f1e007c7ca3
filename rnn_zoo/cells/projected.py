"""An LSTM whose output is a projection of its memory."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, StateMatrix
from ..init import glorot
from ..registry import register
from .gated import LSTMState


@register(
    "lstmp",
    family="gated",
    paper="Sak et al. 2014, arXiv:1402.1128",
    equation="c' = f * c + i * g, h' = V (o * tanh(c'))",
    full="""
        i = sig(W_i x + U_i h + b_i)
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = V (o * tanh(c'))
        y = h'
        where W_i, W_f, W_g, W_o = weight_ih
              U_i, U_f, U_g, U_o = weight_hh
              b_i, b_f, b_g, b_o = bias
              V = weight_hr
              h, c = state
    """,
)
class LSTMPCell(AbstractCell):
    r"""LSTM with a recurrent projection (Sak et al. 2014, arXiv:1402.1128), no peepholes.

    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = W_{hr} (o \odot \tanh c'), \qquad y = h'$$

    State: `LSTMState(h, c)`, (hidden,) and (cell,), zero at the start. More memory than
    `hidden_size` says, without its square of weights. PyTorch calls `cell_size` hidden_size
    and `hidden_size` proj_size. Every weight is Glorot-uniform, block by block; the rest as in
    `LSTMCell`.
    """

    weight_ih: Float[Array, "4*cell input"]
    weight_hh: Float[Array, "4*cell hidden"]
    weight_hr: Float[Array, "hidden cell"]
    bias: Float[Array, " 4*cell"] | None
    cell_size: int = eqx.field(static=True)
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
        cell_size: int | None = None,
        forget_bias: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`cell_size`, twice the size of h by default, is that of c; else as in `LSTMCell`."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        size = 2 * hidden_size if cell_size is None else cell_size
        check_sizes(cell_size=size)
        dtype = working_float(dtype)
        key_ih, key_hh, key_hr = jr.split(key, 3)
        self.weight_ih = glorot(key_ih, (4 * size, input_size), dtype, blocks=4)
        self.weight_hh = glorot(key_hh, (4 * size, hidden_size), dtype, blocks=4)
        self.weight_hr = glorot(key_hr, (hidden_size, size), dtype)
        bias = jnp.zeros(4 * size, dtype).at[size : 2 * size].set(forget_bias)
        self.bias = bias if use_bias else None
        self.cell_size = size
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> LSTMState:
        dtype = state_dtype(self.weight_hh)
        return LSTMState(jnp.zeros(self.output_size, dtype), jnp.zeros(self.cell_size, dtype))

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        i, f, g, o = jnp.split(z if self.bias is None else z + self.bias, 4)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = self.weight_hr @ (jax.nn.sigmoid(o) * jnp.tanh(c))
        return LSTMState(h, c), h
