"""Dropout inside a recurrence, one draw per sequence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Bool

from ..base import AbstractCell, State, StateMatrix
from .base import AbstractWrapper


class VariationalDropoutState(NamedTuple):
    """The state of the cell inside, and the masks of this sequence once they are drawn."""

    cell: State
    keep_input: Bool[Array, " input"]
    keep_state: tuple[Bool[Array, " hidden"], ...]
    drawn: Bool[Array, ""]


class VariationalDropout(AbstractWrapper):
    r"""Recurrent dropout with one mask per sequence (Gal & Ghahramani 2016, arXiv:1512.05287).

    $$x \mapsto \frac{m_x \odot x}{1 - p_x}, \qquad
    W_{hh} h \mapsto W_{hh} \frac{m_h \odot h}{1 - p_h}, \qquad
    m \sim \mathrm{Bernoulli}(1 - p)$$

    Only what the recurrent matrix reads is dropped; the state itself is carried whole, so a
    cell still holds it where it should (a GRU's z = 1, dt = 0, an idle clock). The masks are
    drawn at the first step of a sequence, from the key of that step, kept in the state,
    `VariationalDropoutState(cell, keep_input, keep_state, drawn)`, and drawn anew after a
    reset. In inference (`eqx.nn.inference_mode(model)`) nothing is dropped and no key is
    needed. `state_rate` needs a cell that says which of its constants multiply its state, each
    an `rz.base.StateMatrix`: Elman, LSTM, GRU, clockwork, orthogonal and others here, and a cell
    of your own whose `constants` give one; the rest take
    `input_rate` alone, or `Zoneout`. Never linear: the parallel form has no place for the masks.
    Timed as the cell inside.
    """

    cell: Any
    input_rate: float = eqx.field(static=True)
    state_rate: float = eqx.field(static=True)
    inference: bool

    def __init__(
        self,
        cell: AbstractCell,
        *,
        input_rate: float = 0.0,
        state_rate: float = 0.0,
        inference: bool = False,
    ):
        """Rates in [0, 1); a `state_rate` for a cell that names no matrix is a ValueError."""
        for name, rate in (("input_rate", input_rate), ("state_rate", state_rate)):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"expected {name} in [0, 1), got {rate}")
        if state_rate:
            _matrices(cell)
        self.cell = cell
        self.input_rate, self.state_rate = float(input_rate), float(state_rate)
        self.inference = inference

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return True

    def init_state(self) -> VariationalDropoutState:
        columns = [matrix.matrix.shape[-1] for matrix in self._matrices()]
        kept = tuple(jnp.zeros(n, bool) for n in columns)
        return VariationalDropoutState(
            self.cell.init_state(), jnp.zeros(self.input_size, bool), kept, jnp.array(False)
        )

    def equation(
        self,
        c: Any,
        state: VariationalDropoutState,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        key: Any = None,
    ):
        """The step of the cell, reading what was kept. RuntimeError without a key in training."""
        if self.inference:
            inner, y = self.cell.advance(c, state.cell, x, dt, key)
            return state._replace(cell=inner), y
        if key is None:
            raise RuntimeError(
                "VariationalDropout draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        key_cell, key_masks = jr.split(key)
        state = self._draw(state, key_masks)
        kept = iter(state.keep_state)
        c = _over_matrices(lambda matrix: _Columns(matrix, next(kept), 1 - self.state_rate), c)
        x = jnp.where(state.keep_input, x / (1 - self.input_rate), jnp.zeros_like(x))
        inner, y = self.cell.advance(c, state.cell, x, dt, key_cell)
        return state._replace(cell=inner), y

    def _matrices(self) -> list[StateMatrix]:
        return _matrices(self.cell) if self.state_rate else []

    def _draw(self, state: VariationalDropoutState, key: Any) -> VariationalDropoutState:
        key_x, *keys = jr.split(key, 1 + len(state.keep_state))

        def mask(key: Any, rate: float, before: Array) -> Array:
            return jnp.where(state.drawn, before, jr.bernoulli(key, 1 - rate, before.shape))

        kept = tuple(mask(k, self.state_rate, m) for k, m in zip(keys, state.keep_state))
        keep_input = mask(key_x, self.input_rate, state.keep_input)
        return VariationalDropoutState(state.cell, keep_input, kept, jnp.array(True))


def _is_matrix(node: Any) -> bool:
    return isinstance(node, StateMatrix)


def _over_matrices(function: Callable[[StateMatrix], Any], c: Any) -> Any:
    return jax.tree.map(lambda n: function(n) if _is_matrix(n) else n, c, is_leaf=_is_matrix)


def _matrices(cell: AbstractCell) -> list[StateMatrix]:
    """The matrices that a cell says it applies to its state, by their shapes."""
    c = eqx.filter_eval_shape(cell.constants)
    found = [node for node in jax.tree.leaves(c, is_leaf=_is_matrix) if _is_matrix(node)]
    kind = type(cell).__name__
    if not found:
        raise ValueError(
            f"{kind} names no matrix that it applies to its state and whose columns could be "
            "dropped: use input_rate alone, or rz.Zoneout; the constants of a cell of your own "
            "name its own, rz.base.StateMatrix(self.weight_hh)"
        )
    for node in found:
        if len(node.matrix.shape) != 2:
            raise ValueError(
                f"expected a matrix in each rz.base.StateMatrix of {kind}, got one of shape "
                f"{node.matrix.shape}"
            )
    return found


class _Columns(eqx.Module):
    """A matrix that reads a part of what it is applied to."""

    matrix: StateMatrix
    keep: Array
    share: float = eqx.field(static=True)

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def __matmul__(self, h: Array) -> Array:
        return self.matrix @ jnp.where(self.keep, h / self.share, jnp.zeros_like(h))

    def __getitem__(self, rows: Any) -> "_Columns":
        return _Columns(self.matrix[rows], self.keep, self.share)
