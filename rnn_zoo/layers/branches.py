"""Layers side by side: all of their outputs are read."""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike

from .._common.checks import check_parts, check_steps
from .._common.dtypes import half_as, working_dtype
from .._common.keys import spread_keys
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, require_step, timed_only
from .stacked import as_layer, check_chain


class AbstractBranches(AbstractLayer, AbstractCell):
    """Layers whose outputs stand side by side; a layer and, where all step, a cell.

    The state is a tuple, one entry per part. Timed and stochastic when any part is; never
    linear: each part runs over the sequence with its own method.
    """

    layers: eqx.AbstractVar[tuple[Any, ...]]

    @abc.abstractmethod
    def source(self, xs: Array, before: Sequence[Array]) -> Array:
        """What the next part reads: of the input, and the outputs of the parts so far."""

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        return sum(layer.output_size for layer in self.layers)

    @property
    def timed(self) -> bool:
        return any(layer.timed for layer in self.layers)

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return any(layer.stochastic for layer in self.layers)

    def init_state(self) -> State:
        return tuple(layer.init_state() for layer in self.layers)

    def constants(self) -> tuple:
        """Those of every layer. TypeError for one that cannot step."""
        require_step(*self.layers)
        return tuple(layer.constants() for layer in self.layers)

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of all parts."""
        count = len(self.layers)
        keys = [None] * count if key is None else jr.split(key, count)
        after, outputs = [], []
        for layer, held, before, own in zip(self.layers, c, state, keys):
            new, y = layer.advance(held, before, self.source(x, outputs), dt, own)
            after.append(new)
            outputs.append(y)
        return tuple(after), jnp.concatenate(outputs)

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The tuple of final states, and the outputs of all parts, (time, output_size)."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        states = check_parts(state, len(self.layers), f"{len(self.layers)} layers")
        keys = spread_keys(steps.key, len(self.layers))
        # Rounded once, at the end: what passes between the layers keeps the working dtype.
        read = steps.x.astype(working_dtype(self, steps.x))
        after, outputs = [], []
        for layer, before, own in zip(self.layers, states, keys):
            final, ys = layer.scan(
                self.source(read, outputs),
                before,
                dt=timed_only(layer, steps.dt),
                mask=steps.mask,
                reset=steps.reset,
                key=own,
            )
            after.append(final)
            outputs.append(ys)
        return tuple(after), half_as(steps.x, jnp.concatenate(outputs, axis=-1))


class Parallel(AbstractBranches):
    """Layers that all read the same input: y = [f_1(x), f_2(x), ...].

    Several reservoirs with different time scales, or a linear and a gated cell side by side.
    """

    layers: tuple[Any, ...]

    def __init__(self, layers: Sequence[Any]):
        """Cells or layers of one input size; ValueError otherwise."""
        self.layers = tuple(map(as_layer, layers))
        sizes = [layer.input_size for layer in self.layers]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"expected at least one layer, all of one input_size, got input sizes {sizes}"
            )

    def source(self, xs: Array, before: Sequence[Array]) -> Array:
        return xs

    def directions(self, before: Directions = ()) -> Directions:
        return _side_by_side([layer.directions(before) for layer in self.layers], self.layers)


class Cascade(AbstractBranches):
    """Layers in a row of which every output is kept: y = [y_1, y_2, ...], y_i = f_i(y_(i-1)).

    The deep reservoir of Gallicchio, Micheli and Pedrelli (2017): a readout sees all layers.
    `Stacked` keeps the last one's outputs only.
    """

    layers: tuple[Any, ...]

    def __init__(self, layers: Sequence[Any]):
        """Cells or layers whose sizes fit one behind the other; ValueError otherwise."""
        self.layers = check_chain(tuple(map(as_layer, layers)))

    def source(self, xs: Array, before: Sequence[Array]) -> Array:
        return before[-1] if before else xs

    def directions(self, before: Directions = ()) -> Directions:
        ends = []
        for layer in self.layers:
            before = layer.directions(before)
            ends.append(before)
        return _side_by_side(ends, self.layers)


def _side_by_side(ends: Sequence[Directions], layers: Sequence[Any]) -> Directions:
    moved, offset = [], 0
    for directions, layer in zip(ends, layers):
        moved += [(offset + start, offset + stop, back) for start, stop, back in directions]
        offset += layer.output_size
    return tuple(moved)
