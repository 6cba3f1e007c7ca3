"""The selective state space of Mamba."""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Inexact

from .._common.dtypes import zero_state
from .._common.terms import affine
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    derived,
    drawn,
    drawn_from,
    filled,
    one_of,
    option,
    said,
)
from ..init import fan_in_uniform, log_uniform
from ..registry import register
from .by_channel import AbstractChannelCell
from .discretise import exponential_euler, zoh
from .modes import has_map, has_map_bias, mapped, not_both, scaled, step_bounds, wide, zero_modes


DISCRETISATIONS = {"euler": exponential_euler, "zoh": zoh}


def _state_size(name: str, value: int, given: Given) -> int:
    """N, the state of one channel"""
    return at_least_one(name, value, given)


def _rank(name: str, value: int | None, given: Given) -> int:
    """of the map to Delta, by default hidden_size / 16, rounded up; in the authors' block it is a
    16th of the block's width, half of that"""
    return at_least_one(name, -(-given.hidden_size // 16) if value is None else value, given)


_negative = said("whether the transition lies in (-1, 1) instead of (0, 1)")


def _complex(given: Given) -> bool:
    return given.complex_eigenvalues


def _rows(given: Given) -> int:
    """Of the maps to the step, to B and to C."""
    return given.rank + (4 if given.complex_eigenvalues else 2) * given.state_size


def _first_steps(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    dtype = jnp.promote_types(given.dtype, jnp.float32)
    step = jnp.exp(log_uniform(key, shape, dtype, bounds=given.step_range))
    # The inverse of softplus.
    return jnp.log(jnp.expm1(step)).astype(given.dtype)


def _numbers(given: Given) -> Array:
    return jnp.arange(given.state_size, dtype=jnp.promote_types(given.dtype, jnp.float32))


def _decays(given: Given, shape: tuple[int, ...]) -> Array:
    half = jnp.full(given.state_size, math.log(0.5))
    A_log = half if given.complex_eigenvalues else jnp.log1p(_numbers(given))
    return jnp.broadcast_to(A_log.astype(given.dtype), shape)


def _turns(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(_numbers(given).astype(given.dtype), shape)


class Signals(NamedTuple):
    """What `MambaCell` makes of its input, which chooses its step, what it writes and reads."""

    u: Float[Array, " hidden"]
    step: Float[Array, " hidden"]
    B: Inexact[Array, " state"]
    C: Inexact[Array, " state"]


@register(
    "mamba",
    family="state-space",
    paper="Gu & Dao 2023, arXiv:2312.00752",
    equation="h' = exp(d(u) A) * h + d(u) u B(u), y = C(u) h' + D u, u = W x",
    block="MambaBlock",
    covers={"S6": {}},
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
class MambaCell(AbstractDeclaredCell, AbstractChannelCell, init=False):
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
    `make_model("mamba", ...)` builds; `make_cell("mamba", ...)` is this cell. It is for long
    sequences, of tokens above all. It is linear: put it in a `Block`. `weight_dt` starts uniform
    on $\pm 1 / \sqrt{\text{rank}}$, which is the authors' `dt_scale` of 1, and `step_range` is
    where Delta starts where u is 0.

    With `negative_eigenvalues` h is kept by $2 e^{\Delta A} - 1$, in (-1, 1), which tracks
    states that the other cannot (Grazzi et al. 2024, arXiv:2411.12537). Such a cell counts
    steps and is not `timed`: over a long gap this factor would go to -1, which turns the state
    where it should be forgotten, so that it takes no dt. With
    `complex_eigenvalues`, the paper's other form, $A = -e^{\alpha} + i \beta$ starts as
    $-1/2 + n i$, `A_imag` holds $\beta$, B and C are complex (the real rows of each before its
    imaginary ones), the state too, and $y_c = 2\, \mathrm{Re} \sum_n C_n h_{cn}' + D_c u_c$.
    """

    weight_ih: Float[Array, "hidden input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " hidden"] | None = filled(0.0, when=has_map_bias)
    weight_x: Float[Array, "rows hidden"] = drawn(fan_in_uniform)
    weight_dt: Float[Array, "hidden rank"] = drawn(fan_in_uniform)
    bias_dt: Float[Array, " hidden"] = drawn_from(_first_steps)
    A_log: Float[Array, "hidden state"] = computed(_decays)
    A_imag: Float[Array, "hidden state"] | None = computed(_turns, when=_complex)
    D: Float[Array, " hidden"] = filled(1.0)
    state_size: ClassVar[int] = option(16, _state_size)
    rank: ClassVar[int | None] = option(None, _rank)
    discretisation: str = option("euler", one_of(*DISCRETISATIONS))
    step_range: ClassVar[tuple[float, float]] = option((0.001, 0.1), step_bounds)
    negative_eigenvalues: bool = option(False, _negative)
    complex_eigenvalues: ClassVar[bool] = option(False, not_both)
    input_map: ClassVar[bool] = option(True, mapped)
    use_bias: ClassVar[bool] = option(True)
    rows: ClassVar[int] = derived(_rows)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "A_imag", "D", "bias_dt")

    @property
    def timed(self) -> bool:
        """Whether the state decays with time: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def init_state(self) -> Inexact[Array, " modes"]:
        zeros = zero_modes if self.A_imag is not None else zero_state
        return zeros(self.A_log.size, self.A_log)

    def constants(self) -> Inexact[Array, "state hidden"]:
        """A, with the modes in front."""
        if self.A_imag is None:
            return -jnp.exp(wide(self.A_log)[0]).T
        alpha, beta = wide(self.A_log, self.A_imag)
        return lax.complex(-jnp.exp(alpha), beta).T

    def signals(
        self,
        c: Inexact[Array, "state hidden"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> Signals:
        u = affine(self.weight_ih, x, self.bias)
        rank = self.weight_dt.shape[1]
        small, B, C = jnp.split(self.weight_x @ u, [rank, rank + self._width])
        step = jnp.asarray(dt) * jax.nn.softplus(self.weight_dt @ small + self.bias_dt)
        return Signals(u, step, self._joined(B), self._joined(C))

    def change(
        self, c: Inexact[Array, "state hidden"], signals: Signals
    ) -> tuple[Inexact[Array, "state hidden"], Inexact[Array, "state hidden"]]:
        u, step, B, _ = signals
        decay, gain = DISCRETISATIONS[self.discretisation](c, step[None])
        decay = 2 * decay - 1 if self.negative_eigenvalues else decay
        return decay, scaled(gain * B[:, None], u[None])

    def read(
        self,
        c: Inexact[Array, "state hidden"],
        H: Inexact[Array, "state hidden"],
        signals: Signals,
    ) -> Float[Array, " {self.output_size}"]:
        read = signals.C @ H
        return (read if self.A_imag is None else 2 * read.real) + self.D * signals.u

    @property
    def _width(self) -> int:
        """Rows of B, and of C."""
        return (self.weight_x.shape[0] - self.weight_dt.shape[1]) // 2

    def _joined(self, rows: Float[Array, " width"]) -> Inexact[Array, " state"]:
        return rows if self.A_imag is None else lax.complex(*jnp.split(rows, 2))
