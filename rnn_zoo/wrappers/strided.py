"""Cells that act on every s-th step only, alone and in banks."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from .._common.checks import check_positive, check_sizes
from .._common.dtypes import working_dtype
from ..base import AbstractCell, State
from ..cells.liquid import CfCCell
from ..cells.wired import SMALLEST, WiredCfCCell
from ..linear import select
from ..wiring.base import NeuronMap
from .base import AbstractWrapper


class StridedState(NamedTuple):
    """State of the cell inside; steps since it acted, modulo the stride; time since; output."""

    inner: Any
    k: Int[Array, ""]
    elapsed: Float[Array, ""] | None
    y: Float[Array, " output"]


class Strided(AbstractWrapper):
    r"""A cell that acts on every s-th step and holds its state and output in between.

    $$e = e_{\mathrm{held}} + dt, \qquad
    (h', y', e') = \begin{cases} (\mathrm{step}(h, x, \kappa e), 0) & k \bmod s = 0 \\
    (h, y, e) & \text{otherwise} \end{cases}, \qquad k' = k + 1$$

    with s the `stride` and $\kappa$ the `time_scale`. State: `StridedState(inner, k, elapsed,
    y)`; k starts at 0, so the first step acts. Between two acts the time adds up: a stride
    makes the step of a timed cell longer, and no time is lost. The inputs in between are not
    seen. A cell without time gets none, and `elapsed` is None. Timed and stochastic as the
    cell inside; never linear. For slow signals beside fast ones, as in a clockwork network
    (Koutnik et al. 2014, arXiv:1402.3511).
    """

    cell: Any
    stride: int = eqx.field(static=True)
    time_scale: float = eqx.field(static=True)

    def __init__(self, cell: AbstractCell, stride: int, time_scale: float = 1.0):
        """`stride` from 1 up; a `time_scale` other than 1 needs a timed cell (ValueError)."""
        check_sizes(stride=stride)
        self.cell = cell
        self.stride = int(stride)
        self.time_scale = check_positive("time_scale", time_scale)
        if self.time_scale != 1.0 and not cell.timed:
            raise ValueError(
                f"time_scale={time_scale} scales the time of a cell, and {type(cell).__name__} "
                "has none: leave it out"
            )

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    def init_state(self) -> StridedState:
        dtype = working_dtype(self.cell, 0.0)
        elapsed = jnp.zeros((), dtype) if self.timed else None
        y = jnp.zeros(self.output_size, dtype)
        return StridedState(self.cell.init_state(), jnp.zeros((), jnp.int32), elapsed, y)

    def equation(
        self, c: Any, state: StridedState, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[StridedState, Array]:
        """The step of the cell over the time since its last one, or nothing."""
        passed = None
        if state.elapsed is not None:
            passed = state.elapsed + (1.0 if dt is None else dt)
        time = None if passed is None else self.time_scale * passed
        inner, y = self.cell.advance(c, state.inner, x, time, key)
        acts = (inner, y, jax.tree.map(jnp.zeros_like, passed))
        inner, y, elapsed = select(state.k == 0, acts, (state.inner, state.y, passed))
        return StridedState(inner, (state.k + 1) % self.stride, elapsed, y), y


class AbstractBank(AbstractCell):
    """Cells side by side: each reads x, and the outputs stand one after the other."""

    cells: eqx.AbstractVar[tuple[Any, ...]]

    @property
    def input_size(self) -> int:
        return self.cells[0].input_size

    @property
    def output_size(self) -> int:
        return sum(cell.output_size for cell in self.cells)

    @property
    def timed(self) -> bool:
        return any(cell.timed for cell in self.cells)

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return any(cell.stochastic for cell in self.cells)

    def init_state(self) -> State:
        return tuple(cell.init_state() for cell in self.cells)

    def constants(self) -> tuple:
        """Those of every cell."""
        return tuple(cell.constants() for cell in self.cells)

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """The step of every cell."""
        keys = [None] * len(self.cells) if key is None else jr.split(key, len(self.cells))
        parts = zip(self.cells, c, state, keys)
        pairs = [cell.advance(own, s, x, dt, k) for cell, own, s, k in parts]
        states, ys = zip(*pairs)
        return states, jnp.concatenate(ys)


class StrideAwareCfC(AbstractBank):
    r"""CfC cells side by side, each with a stride of its own.

    $$y = [y^{(1)}, \dots, y^{(g)}], \qquad
    y^{(i)} = \mathrm{Strided}(\mathrm{CfC}^{(i)}, s_i)(x)$$

    State: the tuple of the `StridedState` of each. The units are shared out over the strides,
    sizes differing by one at most, the first ones being the larger; output_size is
    hidden_size. Timed. The cells do not read each other.
    """

    cells: tuple[Any, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        strides: tuple[int, ...] = (1, 2, 4),
        time_scale: float = 1.0,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """`time_scale` as in `Strided`; `options` of `CfCCell`.

        ValueError for fewer units than strides.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        shares = _shares(hidden_size, strides, 1)
        self.cells = tuple(
            Strided(CfCCell(input_size, share, key=k, **options), stride, time_scale)
            for share, stride, k in zip(shares, strides, jr.split(key, len(shares)))
        )


class StrideAwareWiredCfCCell(AbstractBank):
    r"""Wired CfC networks side by side, each with a stride of its own.

    $$y = [y^{(1)}, \dots, y^{(g)}], \qquad
    y^{(i)} = \mathrm{Strided}(\mathrm{WiredCfC}^{(i)}, s_i)(x)$$

    State: the tuple of the `StridedState` of each. `hidden_size` counts the neurons of all
    and is shared out as in `StrideAwareCfC`; a map is the map of each of them. The output
    holds the motor neurons of all. Timed. The networks do not read each other.
    """

    cells: tuple[Any, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int | NeuronMap,
        *,
        strides: tuple[int, ...] = (1, 2, 4),
        time_scale: float = 1.0,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """`time_scale` as in `Strided`; `options` of `WiredCfCCell`.

        ValueError for less than four neurons for each stride.
        """
        check_sizes(input_size=input_size)
        shares: Any = [hidden_size] * len(strides)
        if not isinstance(hidden_size, NeuronMap):
            check_sizes(hidden_size=hidden_size)
            shares = _shares(hidden_size, strides, SMALLEST)
        self.cells = tuple(
            Strided(WiredCfCCell(input_size, share, key=k, **options), stride, time_scale)
            for share, stride, k in zip(shares, strides, jr.split(key, len(strides)))
        )


def _shares(size: int, strides: tuple[int, ...], smallest: int) -> list[int]:
    if not strides or size < smallest * len(strides):
        raise ValueError(
            f"expected one stride or more, and hidden_size of at least {smallest} for each: "
            f"{smallest * len(strides)} for strides={strides}, got {size}"
        )
    return [len(part) for part in np.array_split(np.arange(size), len(strides))]
