"""The clockwork network: blocks of units that run at different rates."""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, StateMatrix
from ..init import glorot, normal
from ..registry import register


class ClockworkState(NamedTuple):
    """State of a clockwork network: hidden h (hidden,), and the clock t."""

    h: Float[Array, " hidden"]
    t: Int[Array, ""]


@register(
    "clockwork",
    family="clockwork",
    paper="Koutnik et al. 2014, arXiv:1402.3511",
    equation="h'_i = tanh(W x + U h + b)_i if t mod T_i = 0 else h_i",
    full="""
        g = tanh(W x + (U * reads(T)) h + b)
        h' = g   if t mod T = 0
        h' = h   otherwise
        t' = (t + 1) mod lcm(T)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; T = by_unit(periods); h, t = state
    """,
)
class ClockworkCell(AbstractCell):
    r"""Clockwork RNN (Koutnik et al. 2014, arXiv:1402.3511).

    $$\hat h = \tanh(W_{ih} x + W_{hh} h + b), \qquad
    h'_i = \begin{cases} \hat h_i & t \bmod T_i = 0 \\ h_i & \text{otherwise} \end{cases},
    \qquad t' = t + 1, \qquad y = h'$$

    State: `ClockworkState(h, t)`, zeros; t is an integer, counted modulo the least common
    multiple of the periods, and goes on across chunks. The units form one block for each of
    `periods` $T_1 < \dots < T_g$ (1, 2, 4, 8 by default, fewer if there are fewer units);
    sizes differ by one at most, the fast blocks being the larger. Block i reads the blocks
    that are as slow or slower: $W_{hh}$ is block upper triangular, and what lies below is
    held at zero where it is used. An idle block keeps its value bit for bit. $W_{hh}$ from
    N(0, 0.01), and with `initialisation="normal"` $W_{ih}$ too, as all weights in the paper; with
    "glorot", the default, $W_{ih}$ is Glorot-uniform, which fits any number of inputs. b zero.
    For signals with several scales.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    periods: tuple[int, ...] = eqx.field(static=True)
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
        periods: Any = None,
        initialisation: str = "glorot",
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`periods`: different integers from 1 up, at most one per unit; `initialisation` as
        above. ValueError otherwise."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.periods = _check_periods(periods, hidden_size)
        dtype = working_float(dtype)
        key_ih, key_hh = jr.split(key)
        check_choice("initialisation", initialisation, ("glorot", "normal"))
        if initialisation == "glorot":
            self.weight_ih = glorot(key_ih, (hidden_size, input_size), dtype)
        else:
            self.weight_ih = normal(key_ih, (hidden_size, input_size), dtype, std=0.1)
        weight_hh = normal(key_hh, (hidden_size, hidden_size), dtype, std=0.1)
        self.weight_hh = jnp.where(_reads(self.periods, hidden_size), weight_hh, 0.0)
        self.bias = jnp.zeros(hidden_size, dtype) if use_bias else None
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> ClockworkState:
        zeros = jnp.zeros(self.output_size, state_dtype(self.weight_hh))
        return ClockworkState(zeros, jnp.zeros((), jnp.int32))

    def constants(self) -> StateMatrix:
        allowed = _reads(self.periods, self.output_size)
        return StateMatrix(jnp.where(allowed, self.weight_hh, 0.0))

    def equation(
        self, c: StateMatrix, state: ClockworkState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[ClockworkState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        proposed = jnp.tanh(z if self.bias is None else z + self.bias)
        due = state.t % _unit_periods(self.periods, self.output_size) == 0
        h = jnp.where(due, proposed, state.h)
        return ClockworkState(h, (state.t + 1) % math.lcm(*self.periods)), h


def _check_periods(periods: Any, hidden_size: int) -> tuple[int, ...]:
    if periods is None:
        return (1, 2, 4, 8)[:hidden_size]
    ordered = tuple(sorted(int(p) for p in periods))
    if (
        not 1 <= len(ordered) <= hidden_size
        or len(set(ordered)) != len(ordered)
        or ordered[0] < 1
        or list(ordered) != sorted(periods)
    ):
        raise ValueError(
            f"expected periods as different integers from 1 up, at most {hidden_size} of them, "
            f"one block each; got {tuple(periods)}"
        )
    if math.lcm(*ordered) >= 2**31:
        raise ValueError(
            f"the least common multiple of the periods {ordered} does not fit the 32-bit clock"
        )
    return ordered


def _unit_periods(periods: tuple[int, ...], hidden_size: int) -> np.ndarray:
    """The period of each unit, (hidden,)."""
    blocks = np.array_split(np.arange(hidden_size), len(periods))
    return np.repeat(np.array(periods, np.int32), [len(block) for block in blocks])


def _reads(periods: tuple[int, ...], hidden_size: int) -> np.ndarray:
    """True where the unit of the row reads the unit of the column."""
    period = _unit_periods(periods, hidden_size)
    return period[:, None] <= period[None, :]
