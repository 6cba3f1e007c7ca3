"""The selective state space of Mamba."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Inexact, PRNGKeyArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractLinearCell
from ..init import fan_in_uniform, log_uniform, uniform
from ..linear import AffineMap, Diagonal
from ..registry import register
from .discretise import exponential_euler, zoh
from .modes import check_eigenvalues, check_map


DISCRETISATIONS = {"euler": exponential_euler, "zoh": zoh}


@register(
    "mamba",
    family="state-space",
    paper="Gu & Dao 2023, arXiv:2312.00752",
    equation="h' = exp(d(u) A) * h + d(u) u B(u), y = C(u) h' + D u, u = W x",
    block="MambaBlock",
    full="""
        u = W x + b
        Delta = dt softplus(W_d W_r u + b_d)
        B = complex(W_B u)         if complex_eigenvalues
        B = W_B u                  otherwise
        C = complex(W_C u)         if complex_eigenvalues
        C = W_C u                  otherwise
        A = -exp(alpha) + j beta   if complex_eigenvalues
        A = -exp(alpha)            otherwise
        Z = diag(Delta) A
        K = 2 exp(Z) - 1                              if negative_eigenvalues
        K = exp(Z)                                    otherwise
        H' = K * H + outer(Delta * u, B)              if discretisation = euler
        H' = K * H + (exp(Z) - 1) / A * outer(u, B)   otherwise
        y = 2 re(H' C) + D * u                        if complex_eigenvalues
        y = H' C + D * u                              otherwise
        where W = weight_ih; b = bias; W_d = weight_dt; b_d = bias_dt
              W_r, W_s = split(weight_x, columns(weight_dt)); W_B, W_C = W_s
              alpha = A_log; beta = A_imag
              complex_eigenvalues = given(A_imag); H = by_channel(state)
    """,
)
class MambaCell(AbstractLinearCell):
    r"""Selective state space, S6 (Mamba; Gu & Dao 2023, arXiv:2312.00752).

    $$u = W x + b, \qquad \Delta = \mathrm{softplus}(W_\Delta W_r u + b_\Delta), \qquad
    B = W_B u, \qquad C = W_C u$$
    $$h_{cn}' = e^{dt\, \Delta_c A_{cn}} h_{cn} + dt\, \Delta_c B_n u_c, \qquad
    y_c = \sum_n C_n h_{cn}' + D_c u_c, \qquad A = -e^{\alpha}$$

    State: h, (hidden * state_size,), zero at the start. Step, input and output maps depend on
    the input: the cell chooses what it writes, keeps and reads. `weight_x` holds $W_r, W_B,
    W_C$ in this order, `A_log` $\alpha$. `discretisation` "euler" is the authors' code and the
    equation above; "zoh" is the paper's, with $(e^{\Delta A} - 1) / A$ for $\Delta$. The block
    of the paper, with its short convolution and gate, is `rz.layers.MambaBlock`, and that is what
    `make_model("mamba", ...)` builds; `make_cell("mamba", ...)` is this cell. For long
    sequences, of tokens above all; linear: put it in a `Block`.

    With `negative_eigenvalues` h is kept by $2 e^{\Delta A} - 1$, in (-1, 1), which tracks
    states that the other cannot (Grazzi et al. 2024, arXiv:2411.12537). Such a cell counts
    steps and is not `timed`: over a long gap this factor would go to -1, which turns the state
    where it should be forgotten, so that it takes no dt. With
    `complex_eigenvalues`, the paper's other form, $A = -e^{\alpha} + i \beta$ starts as
    $-1/2 + n i$, `A_imag` holds $\beta$, B and C are complex (the real rows of each before its
    imaginary ones), the state too, and $y_c = 2\, \mathrm{Re} \sum_n C_n h_{cn}' + D_c u_c$.
    """

    weight_ih: Float[Array, "hidden input"] | None
    bias: Float[Array, " hidden"] | None
    weight_x: Float[Array, "rows hidden"]
    weight_dt: Float[Array, "hidden rank"]
    bias_dt: Float[Array, " hidden"]
    A_log: Float[Array, "hidden state"]
    A_imag: Float[Array, "hidden state"] | None
    D: Float[Array, " hidden"]
    discretisation: str = eqx.field(static=True)
    negative_eigenvalues: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "A_imag", "D", "bias_dt")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int = 16,
        rank: int | None = None,
        discretisation: str = "euler",
        step_range: tuple[float, float] = (0.001, 0.1),
        negative_eigenvalues: bool = False,
        complex_eigenvalues: bool = False,
        input_map: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `state_size`: N, the state of one channel.
        - `rank`: of the map to Delta, by default hidden_size / 16, rounded up; in the authors'
          block it is a 16th of the block's width, half of that.
        - `discretisation`: "euler" or "zoh".
        - `step_range`: Delta starts log-uniform on it where u is 0; `weight_dt` starts uniform
          on +-1 / sqrt(rank), which is the authors' `dt_scale` of 1.
        - `negative_eigenvalues`: whether the transition lies in (-1, 1) instead of (0, 1);
          `complex_eigenvalues`: in the unit disc, with twice the state. Not both.
        - `input_map`: False leaves W and b out, where x has `hidden_size` channels.

        ValueError for any other.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size, state_size=state_size)
        rank = -(-hidden_size // 16) if rank is None else rank
        check_sizes(rank=rank)
        check_eigenvalues(negative_eigenvalues, complex_eigenvalues)
        check_map(input_map, input_size, hidden_size)
        self.discretisation = check_choice("discretisation", discretisation, DISCRETISATIONS)
        self.negative_eigenvalues = negative_eigenvalues
        dtype = working_float(dtype)
        key_W, key_x, key_dt, key_step = jr.split(key, 4)
        shape = (hidden_size, input_size)
        self.weight_ih = (
            fan_in_uniform(key_W, shape, dtype, fan_in=input_size) if input_map else None
        )
        self.bias = jnp.zeros(hidden_size, dtype) if use_bias and input_map else None
        rows = rank + (4 if complex_eigenvalues else 2) * state_size
        self.weight_x = fan_in_uniform(key_x, (rows, hidden_size), dtype, fan_in=hidden_size)
        bound = 1 / math.sqrt(rank)
        self.weight_dt = uniform(key_dt, (hidden_size, rank), dtype, low=-bound, high=bound)
        wide = jnp.promote_types(dtype, jnp.float32)
        step = jnp.exp(log_uniform(key_step, (hidden_size,), wide, bounds=step_range))
        # The inverse of softplus.
        self.bias_dt = jnp.log(jnp.expm1(step)).astype(dtype)
        shape, numbers = (hidden_size, state_size), jnp.arange(state_size, dtype=wide)
        A_log = jnp.full(state_size, math.log(0.5)) if complex_eigenvalues else jnp.log1p(numbers)
        self.A_log = jnp.broadcast_to(A_log.astype(dtype), shape)
        imaginary = jnp.broadcast_to(numbers.astype(dtype), shape)
        self.A_imag = imaginary if complex_eigenvalues else None
        self.D = jnp.ones(hidden_size, dtype)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Inexact[Array, " state"]:
        zeros = jnp.zeros(self.A_log.size, state_dtype(self.A_log))
        return zeros if self.A_imag is None else lax.complex(zeros, zeros)

    def constants(self) -> Any:
        dtype = state_dtype(self.A_log)
        A = -jnp.exp(self.A_log.astype(dtype))
        return A if self.A_imag is None else lax.complex(A, self.A_imag.astype(dtype))

    @property
    def timed(self) -> bool:
        """Whether the state decays with time: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def transition(
        self, c: Any, x: Float[Array, " {self.input_size}"], dt: Float[ArrayLike, ""] = 1.0
    ) -> AffineMap:
        u = self._project(x)
        rank = self.weight_dt.shape[1]
        small, B = jnp.split(self.weight_x[: rank + self._width] @ u, [rank])
        step = jnp.asarray(dt) * jax.nn.softplus(self.weight_dt @ small + self.bias_dt)
        decay, gain = DISCRETISATIONS[self.discretisation](c, step[:, None])
        decay = 2 * decay - 1 if self.negative_eigenvalues else decay
        written = gain * self._joined(B)[None] * u[:, None].astype(gain.dtype)
        return AffineMap(Diagonal(decay.ravel()), written.ravel())

    def readout(
        self, c: Any, state: Inexact[Array, " state"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        u = self._project(x)
        C = self._joined(self.weight_x[-self._width :] @ u)
        read = state.reshape(self.A_log.shape) @ C
        return (read if self.A_imag is None else 2 * read.real) + self.D * u

    @property
    def _width(self) -> int:
        """Rows of B, and of C."""
        return (self.weight_x.shape[0] - self.weight_dt.shape[1]) // 2

    def _joined(self, rows: Array) -> Array:
        return rows if self.A_imag is None else lax.complex(*jnp.split(rows, 2))

    def _project(self, x: Array) -> Array:
        u = x if self.weight_ih is None else self.weight_ih @ x
        return u if self.bias is None else u + self.bias
