"""The clockwork network: blocks of units that run at different rates."""

import math
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, drawn_from, filled, one_of, option
from ..init import glorot, normal
from ..registry import register


class ClockworkState(NamedTuple):
    """State of a clockwork network: hidden h (hidden,), and the clock t."""

    h: Float[Array, " hidden"]
    t: Int[Array, ""]


def _ordered(name: str, periods: Any, given: Given) -> tuple[int, ...]:
    """different integers from 1 up, at most one per unit"""
    if periods is None:
        return (1, 2, 4, 8)[: given.hidden_size]
    ordered = tuple(sorted(int(p) for p in periods))
    if (
        not 1 <= len(ordered) <= given.hidden_size
        or len(set(ordered)) != len(ordered)
        or ordered[0] < 1
        or list(ordered) != sorted(periods)
    ):
        raise ValueError(
            f"expected {name} as different integers from 1 up, at most {given.hidden_size} of "
            f"them, one block each; got {tuple(periods)}"
        )
    if math.lcm(*ordered) >= 2**31:
        raise ValueError(
            f"the least common multiple of the {name} {ordered} does not fit the 32-bit clock"
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


def _first_weights(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    if given.initialisation == "glorot":
        return glorot(key, shape, given.dtype)
    return normal(key, shape, given.dtype, std=0.1)


def _first_recurrent(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    allowed = _reads(given.periods, given.hidden_size)
    return jnp.where(allowed, normal(key, shape, given.dtype, std=0.1), 0.0)


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
class ClockworkCell(AbstractDeclaredCell, init=False):
    r"""Clockwork RNN (Koutnik et al. 2014, arXiv:1402.3511).

    $$\hat h = \tanh(W_{ih} x + W_{hh} h + b), \qquad
    h'_i = \begin{cases} \hat h_i & t \bmod T_i = 0 \\ h_i & \text{otherwise} \end{cases},
    \qquad t' = t + 1, \qquad y = h'$$

    State: `ClockworkState(h, t)`, zeros; t is an integer, counted modulo the least common
    multiple of the periods, and goes on across chunks. The units form one block for each of
    `periods` $T_1 < \dots < T_g$ (1, 2, 4, 8 by default, fewer if there are fewer units).
    Their sizes differ by one at most, and the fast blocks are the larger. Block i reads the blocks
    that are as slow or slower: $W_{hh}$ is block upper triangular, and what lies below is
    held at zero where it is used. An idle block keeps its value bit for bit. $W_{hh}$ is
    from N(0, 0.01), and with `initialisation="normal"` $W_{ih}$ too, as all weights in the paper;
    with "glorot", the default, $W_{ih}$ is Glorot-uniform, which fits any number of inputs. b
    starts at zero. The cell is for signals with several scales.
    """

    weight_ih: Float[Array, "hidden input"] = drawn_from(_first_weights)
    weight_hh: Float[Array, "hidden hidden"] = drawn_from(_first_recurrent)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    periods: tuple[int, ...] = option(None, _ordered)
    initialisation: ClassVar[str] = option("glorot", one_of("glorot", "normal"))

    def init_state(self) -> ClockworkState:
        h = zero_state(self.output_size, self.weight_hh)
        return ClockworkState(h, jnp.zeros((), jnp.int32))

    def constants(self) -> StateMatrix:
        allowed = _reads(self.periods, self.output_size)
        return StateMatrix(jnp.where(allowed, self.weight_hh, 0.0))

    def equation(
        self, c: StateMatrix, state: ClockworkState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[ClockworkState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        proposed = jnp.tanh(plus(z, self.bias))
        due = state.t % _unit_periods(self.periods, self.output_size) == 0
        h = jnp.where(due, proposed, state.h)
        return ClockworkState(h, (state.t + 1) % math.lcm(*self.periods)), h
