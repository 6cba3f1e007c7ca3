"""Dropout over features: a draw for each step, or one for a whole sequence."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from .._common.dropout import Dropout as Dropout, make_dropout as make_dropout
from ..base import AbstractCell


def drop_steps(dropout: Dropout, ys: Array, keys: Array | None) -> Array:
    """Dropout with one key per step, so that steps one by one draw the same."""
    if keys is None:
        return dropout(ys)
    return jax.vmap(lambda y, key: dropout(y, key=key))(ys, keys)


class SequenceDropoutState(NamedTuple):
    """The mask of this sequence, once it is drawn."""

    keep: Bool[Array, " size"]
    drawn: Bool[Array, ""]


class SequenceDropout(AbstractCell):
    """Dropout whose draw is broadcast over time: one mask for each sequence, as in S5.

    A cell, so that it streams: the mask is drawn at the first step of a sequence, from the
    key of that step, kept in the state, and drawn anew after a reset.
    """

    rate: float = eqx.field(static=True)
    inference: bool
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = True

    def __init__(self, size: int, rate: float, *, inference: bool = False):
        """`rate` in [0, 1), ValueError otherwise."""
        self.rate = Dropout(rate).rate
        self.inference = inference
        self.input_size = self.output_size = size

    def init_state(self) -> SequenceDropoutState:
        return SequenceDropoutState(jnp.zeros(self.input_size, bool), jnp.array(False))

    def equation(
        self, c: Any, state: SequenceDropoutState, x: Float[Array, " size"], *, key: Any = None
    ) -> tuple[SequenceDropoutState, Float[Array, " size"]]:
        """RuntimeError without a key in training."""
        if self.inference:
            return state, x
        if key is None:
            raise RuntimeError(
                "dropout draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        drawn = jr.bernoulli(key, 1 - self.rate, x.shape)
        keep = jnp.where(state.drawn, state.keep, drawn)
        y = jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))
        return SequenceDropoutState(keep, jnp.array(True)), y
