"""Cells whose units keep their old value at random."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike

from .._common.origins import origins
from ..base import AbstractCell, State
from .base import AbstractWrapper


class Zoneout(AbstractWrapper):
    r"""Zoneout (Krueger et al. 2017, arXiv:1606.01305): units at random keep their old value.

    $$h' = d \odot h + (1 - d) \odot \hat h', \qquad d \sim \mathrm{Bernoulli}(p)$$

    with $\hat h'$ the state that the cell computes. In inference
    (`eqx.nn.inference_mode(model)`) d is replaced by its mean p and no key is needed. `rate`
    p: one float, or one for each array of the state in the order of its fields (the paper's
    LSTM: `(0.05, 0.5)` for h and c). Integer parts of a state (a clock) are never held.
    Where the cell's step gives one of its new state arrays itself as output (Elman, GRU, the
    h of an LSTM), jitted or not, the output is that array after zoneout, as in the paper; an
    output that was computed from the state passes unchanged.
    Never linear: the parallel form of a linear cell has no place for the draw.
    """

    cell: Any
    rate: float | tuple[float, ...] = eqx.field(static=True)
    inference: bool

    def __init__(self, cell: AbstractCell, rate: Any, *, inference: bool = False):
        """`rate` in [0, 1), one or one per state array (ValueError otherwise)."""
        rate = tuple(map(float, rate)) if isinstance(rate, tuple | list) else float(rate)
        parts = len(jax.tree.leaves(jax.eval_shape(cell.init_state)))
        rates = rate if isinstance(rate, tuple) else (rate,) * parts
        if len(rates) != parts or not all(0.0 <= r < 1.0 for r in rates):
            raise ValueError(
                f"expected a rate in [0, 1), or a tuple of {parts}, one for each array of the "
                f"state of {type(cell).__name__}; got {rate}"
            )
        self.cell = cell
        self.rate = rate
        self.inference = inference

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return True

    def init_state(self) -> State:
        return self.cell.init_state()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ):
        """The step of the cell, with units held. RuntimeError without a key in training."""
        if key is None and not self.inference:
            raise RuntimeError(
                "Zoneout draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        keys = [None, None] if key is None else list(jr.split(key))

        def step(state: State, x: Array) -> tuple[State, Array]:
            return self.cell.advance(c, state, x, dt, keys[0])

        proposed, y = step(state, x)
        before, treedef = jax.tree.flatten(state)
        after = jax.tree.leaves(proposed)
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,) * len(after)
        draws = [None] * len(after) if keys[1] is None else jr.split(keys[1], len(after))
        kept = [
            _zone_out(old, new, rate, draw, self.inference)
            for old, new, rate, draw in zip(before, after, rates, draws)
        ]
        *parts, last = origins(step, state, x)
        output = kept[parts.index(last)] if last in parts else y
        return jax.tree.unflatten(treedef, kept), output


def _zone_out(old: Array, new: Array, rate: float, key: Any, inference: bool) -> Array:
    if not jnp.issubdtype(new.dtype, jnp.inexact):
        return new
    if inference:
        return rate * old + (1 - rate) * new
    return jnp.where(jr.bernoulli(key, rate, new.shape), old, new)
