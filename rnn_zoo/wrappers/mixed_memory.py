"""A memory cell in front of a continuous-time one: the ODE-LSTM."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import show
from .._common.dtypes import working_dtype
from ..base import AbstractCell, State
from ..cells.gated import LSTMCell, LSTMState


VARIANTS = ("state", "input")


class MixedMemoryState(NamedTuple):
    """The state h of the cell inside, and the memory c of the LSTM."""

    h: Any
    c: Float[Array, " memory"]


class MixedMemory(AbstractCell):
    r"""ODE-LSTM (Lechner & Hasani 2020, arXiv:2006.04418) around any cell.

    $$(\tilde h, c') = \mathrm{LSTM}(x, (h, c)), \qquad
    h' = \mathrm{step}(\tilde h, x, dt) \quad\text{(variant "state")}$$
    $$(u, c') = \mathrm{LSTM}(x, (h, c)), \qquad
    h' = \mathrm{step}(h, u, dt) \quad\text{(variant "input")}$$

    and y is the output of the step. State: `MixedMemoryState(h, c)`. "state" is the form of
    ncps in PyTorch: the LSTM rewrites the state before time passes; that state has to be one
    real vector. It is not the paper's: there, and in its authors' PyTorch code, the state flows
    by an ODE of its own, dh/dt = f(h) from $\tilde h$ over dt, which does not see x again. A
    `cell` that ignores x gives that. "input" is the form of ncps in TensorFlow and of the
    authors' TensorFlow code, which has it around a CT-RNN: the LSTM reads the state and feeds
    the cell, whose `input_size` therefore is the number of real entries of its state (a complex
    one counts twice, a clock is not read).

    c keeps long memories, which a continuous-time state forgets. The LSTM has no time: it
    acts at every step, so dt = 0 does not hold the state, whatever the cell inside does.
    Timed and stochastic as that cell; never linear. The LSTM starts as `LSTMCell` does, with a
    forget bias of 1 as in ncps (0 in the authors' PyTorch code, 3 in their TensorFlow code).
    """

    cell: Any
    lstm: LSTMCell
    variant: str = eqx.field(static=True)

    def __init__(
        self,
        cell: AbstractCell,
        variant: str = "state",
        *,
        input_size: int | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`input_size`: of x, for "input" (by default the cell's own); `dtype` of the LSTM.

        ValueError for another variant, or a cell whose state or input does not fit it.
        """
        state = jax.eval_shape(cell.init_state)
        _check_variant(cell, variant, state, input_size)
        inputs = cell.input_size if input_size is None else input_size
        dtype = working_dtype(cell, 0.0) if dtype is None else dtype
        self.cell = cell
        self.lstm = LSTMCell(inputs, _width(state), dtype=dtype, key=key)
        self.variant = variant

    @property
    def input_size(self) -> int:
        return self.lstm.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    def init_state(self) -> MixedMemoryState:
        return MixedMemoryState(self.cell.init_state(), self.lstm.init_state().c)

    def constants(self) -> tuple:
        """Those of the LSTM and of the cell."""
        return self.lstm.constants(), self.cell.constants()

    def equation(
        self,
        c: Any,
        state: MixedMemoryState,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        key: Any = None,
    ) -> tuple[MixedMemoryState, Array]:
        """The step of the LSTM, then that of the cell."""
        of_lstm, of_cell = c
        (h, memory), _ = self.lstm.advance(of_lstm, LSTMState(_flat(state.h), state.c), x)
        start, seen = (h, x) if self.variant == "state" else (state.h, h)
        after, y = self.cell.advance(of_cell, start, seen, dt, key)
        return MixedMemoryState(after, memory), y


def _flat(state: State) -> Array:
    """The real entries of a state in one vector."""
    parts = []
    for leaf in jax.tree.leaves(state):
        if jnp.iscomplexobj(leaf):
            parts += [leaf.real.ravel(), leaf.imag.ravel()]
        elif jnp.issubdtype(leaf.dtype, jnp.inexact):
            parts.append(leaf.ravel())
    return jnp.concatenate(parts)


def _width(state: Any) -> int:
    return jax.eval_shape(_flat, state).shape[0]


def _check_variant(cell: Any, variant: str, state: Any, input_size: int | None) -> None:
    if variant not in VARIANTS:
        raise ValueError(f"expected variant to be one of {VARIANTS}, got {variant!r}")
    vector = isinstance(state, jax.ShapeDtypeStruct) and state.ndim == 1
    if variant == "state":
        if not (vector and jnp.issubdtype(state.dtype, jnp.floating)):
            raise ValueError(
                'variant "state" puts the output of an LSTM in the place of the state, which '
                f"must be one real vector; {type(cell).__name__} has {show(state)}: use "
                'variant="input"'
            )
        if input_size not in (None, cell.input_size):
            raise ValueError(
                f'variant "state" gives x to the cell: expected input_size {cell.input_size}, '
                f"got {input_size}"
            )
    elif cell.input_size != _width(state):
        raise ValueError(
            'variant "input" feeds the cell with as many features as its state has real '
            f"entries: expected a cell with input_size {_width(state)}, got {cell.input_size}; "
            "x has the input_size given to MixedMemory"
        )
