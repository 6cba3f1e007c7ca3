"""Cells that learn where they start."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from .._common.checks import show
from .._common.numbers import exactly
from ..base import AbstractCell, State
from .base import AbstractTransparentWrapper


class LearnedInitialState(AbstractTransparentWrapper):
    r"""A cell whose initial state $h_0$ is a parameter.

    A reset, a new sequence and a streamed one all start from it. Complex states are kept
    as real pairs, integer parts (a clock) stay as they are. Every floating-point part is a
    parameter, so what only keeps books goes outside: `Strided(LearnedInitialState(cell), 2)`.
    Linear, timed and stochastic as the cell inside.
    """

    cell: Any
    initial: PyTree[Array]

    def __init__(self, cell: AbstractCell, initial: State | None = None):
        """`initial`: where the parameter starts, like `cell.init_state()`, its default."""
        expected = cell.init_state()
        given = expected if initial is None else jax.tree.map(_strong, initial)
        if show(given) != show(expected):
            raise ValueError(
                f"expected initial like the cell's init_state(), {show(expected)}, "
                f"got {show(given)}"
            )
        self.cell = cell
        self.initial = jax.tree.map(_to_pair, given)

    def init_state(self) -> State:
        """The parameter, in the structure of the cell's own state."""
        return jax.tree.map(_from_pair, jax.eval_shape(self.cell.init_state), self.initial)


def _strong(leaf: Any) -> Array:
    return jnp.asarray(exactly("initial", leaf), jnp.result_type(leaf))


def _to_pair(leaf: Array) -> Array:
    return jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf


def _from_pair(like: Any, leaf: Array) -> Array:
    # The carry is never below float32, whatever a cast made of the parameters.
    if jnp.issubdtype(like.dtype, jnp.complexfloating):
        real, imag = leaf.astype(jnp.finfo(like.dtype).dtype)
        return lax.complex(real, imag)
    return leaf.astype(like.dtype)
