"""Fast cells that share one state, and a slow cell among them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike

from .._common.checks import show
from ..base import AbstractCell, check_cell, same_shapes


class FastSlowState(NamedTuple):
    """The state that the fast cells share, and that of the slow cell."""

    fast: Any
    slow: Any


class FastSlow(AbstractCell):
    r"""Fast-Slow RNN (Mujika, Meier & Steger 2017, arXiv:1705.08639) over any cells.

    $$h_1 = F_1(h, x), \qquad s' = S(s, h_1), \qquad h_2 = F_2(h_1, s'), \qquad
    h_i = F_i(h_{i-1}) \text{ for } i = 3 \dots k, \qquad h' = h_k, \qquad y = h_k$$

    State: `FastSlowState(fast, slow)`. One fast state passes through all k fast cells in a step,
    so the cells have states of one shape and weights of their own; the slow cell is updated once
    a step and reads what the first fast cell says. What a cell says is its output: for an LSTM h
    without c. Fast cells from the third on read zeros, so give them one input each. Timed and
    stochastic when any cell is, where each timed cell sees the whole dt; never linear.
    """

    fast: tuple[Any, ...]
    slow: Any

    def __init__(self, fast: Sequence[AbstractCell], slow: AbstractCell):
        """At least two `fast` cells of one state, which starts as the first one's.

        `slow` reads the outputs of the first, and the second reads those of `slow`. ValueError for
        sizes that do not fit, TypeError for what is no cell.
        """
        for cell in (*fast, slow):
            check_cell(cell)
        _check_fast(tuple(fast), slow)
        self.fast = tuple(fast)
        self.slow = slow

    @property
    def input_size(self) -> int:
        return self.fast[0].input_size

    @property
    def output_size(self) -> int:
        return self.fast[-1].output_size

    @property
    def timed(self) -> bool:
        return any(cell.timed for cell in (*self.fast, self.slow))

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return any(cell.stochastic for cell in (*self.fast, self.slow))

    def init_state(self) -> FastSlowState:
        return FastSlowState(self.fast[0].init_state(), self.slow.init_state())

    def constants(self) -> FastSlowState:
        """Those of the fast cells, and of the slow one."""
        return FastSlowState(tuple(cell.constants() for cell in self.fast), self.slow.constants())

    def equation(
        self,
        c: FastSlowState,
        state: FastSlowState,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        key: Any = None,
    ) -> tuple[FastSlowState, Array]:
        """The first fast cell, the slow one, then the other fast ones."""
        count = len(self.fast)
        keys = [None] * (count + 1) if key is None else jr.split(key, count + 1)
        h, y = self.fast[0].advance(c.fast[0], state.fast, x, dt, keys[0])
        slow, read = self.slow.advance(c.slow, state.slow, y, dt, keys[-1])
        h, y = self.fast[1].advance(c.fast[1], h, read, dt, keys[1])
        for cell, own, each in zip(self.fast[2:], c.fast[2:], keys[2:]):
            h, y = cell.advance(own, h, jnp.zeros(cell.input_size, y.dtype), dt, each)
        return FastSlowState(h, slow), y


def _check_fast(fast: tuple[AbstractCell, ...], slow: AbstractCell) -> None:
    if len(fast) < 2:
        raise ValueError(
            f"expected at least two fast cells, one before the slow cell and one behind it, got "
            f"{len(fast)}"
        )
    states = [jax.eval_shape(cell.init_state) for cell in fast]
    for i, state in enumerate(states):
        if not same_shapes(state, states[0]):
            raise ValueError(
                f"expected fast cells that share one state, {show(states[0])} of the first, got "
                f"{show(state)} of cell {i}"
            )
    reads = [("slow", slow.input_size, fast[0]), ("fast[1]", fast[1].input_size, slow)]
    for name, size, source in reads:
        if size != source.output_size:
            raise ValueError(
                f"expected {name} with an input_size of {source.output_size}, the outputs of the "
                f"cell that it reads, got {size}"
            )
