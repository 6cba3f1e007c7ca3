"""Layers in a row."""

from collections.abc import Sequence
from typing import Any

import jax.random as jr
from jaxtyping import Array, ArrayLike

from .._common.checks import Steps, check_parts, check_steps
from .._common.dropout import Dropout, make_dropout
from .._common.dtypes import half_as, working_dtype
from .._common.keys import spread_keys
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, require_step, timed_only
from .one_call import run_by_cudnn
from .recurrent import Bidirectional, Recurrent
from .sequence_dropout import drop_steps


class Stacked(AbstractLayer, AbstractCell):
    """Layers, each reading the outputs of the one before; a layer and, where all its parts
    step, a cell.

    The state is a tuple, one entry per part. `dropout` acts on what passes between the
    parts, drawn anew for each step and unit; in inference (`eqx.nn.inference_mode`) it does
    nothing. Timed and stochastic when any part is; never linear: a sequence runs layer by
    layer, each with its own method.
    """

    layers: tuple[Any, ...]
    dropout: Dropout | None

    def __init__(self, layers: Sequence[Any], *, dropout: float = 0.0):
        """Cells or layers whose sizes fit; `dropout` in [0, 1) needs two or more of them."""
        parts = check_chain(tuple(map(as_layer, layers)))
        if dropout and len(parts) == 1:
            raise ValueError(
                f"dropout={dropout} acts between layers and there is one layer: stack two or "
                "more, or drop its outputs yourself with rz.layers.Dropout"
            )
        self.layers = parts
        self.dropout = make_dropout(dropout)

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size

    @property
    def timed(self) -> bool:
        return any(layer.timed for layer in self.layers)

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None or any(layer.stochastic for layer in self.layers)

    def directions(self, before: Directions = ()) -> Directions:
        for layer in self.layers:
            before = layer.directions(before)
        return before

    def init_state(self) -> State:
        return tuple(layer.init_state() for layer in self.layers)

    def constants(self) -> tuple:
        """Those of every layer. TypeError for one that cannot step."""
        require_step(*self.layers)
        return tuple(layer.constants() for layer in self.layers)

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step through all layers."""
        keys = (
            [None] * (2 * len(self.layers)) if key is None else jr.split(key, 2 * len(self.layers))
        )
        after = []
        for i, layer in enumerate(self.layers):
            if i > 0 and self.dropout is not None:
                x = self.dropout(x, key=keys[2 * i])
            new, x = layer.advance(c[i], state[i], x, dt, keys[2 * i + 1])
            after.append(new)
        return tuple(after), x

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
        """The tuple of final states, and the outputs of the last layer."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        before = check_parts(state, len(self.layers), f"{len(self.layers)} layers")
        if self.dropout is None or self.dropout.inference:
            found = self._by_cudnn(before, steps)
            if found is not None:
                return found
        keys = spread_keys(steps.key, 2 * len(self.layers))
        # Rounded once, at the end: what passes between the layers keeps the working dtype.
        ys, after = steps.x.astype(working_dtype(self, steps.x)), []
        for i, layer in enumerate(self.layers):
            if i > 0 and self.dropout is not None:
                ys = drop_steps(self.dropout, ys, keys[2 * i])
            final, ys = layer.scan(
                ys,
                before[i],
                dt=timed_only(layer, steps.dt),
                mask=steps.mask,
                reset=steps.reset,
                key=keys[2 * i + 1],
            )
            after.append(final)
        return tuple(after), half_as(steps.x, ys)

    def _by_cudnn(self, before: tuple, steps: Steps) -> tuple[State, Array] | None:
        """What `scan` gives, where all layers are one call; None elsewhere."""
        both = isinstance(self.layers[0], Bidirectional)
        if both:
            if not all(isinstance(p, Bidirectional) and p.merge == "concat" for p in self.layers):
                return None
            sides = [(layer.forward, layer.backward) for layer in self.layers]
            before = tuple(s for state in before for s in check_parts(state, 2, "Bidirectional"))
        elif all(isinstance(layer, Recurrent) for layer in self.layers):
            sides = [(layer,) for layer in self.layers]
        else:
            return None
        found = run_by_cudnn(sides, before, steps)
        if found is None:
            return None
        after, ys = found
        return (tuple(zip(after[::2], after[1::2])) if both else tuple(after)), ys


def check_chain(layers: tuple[Any, ...]) -> tuple[Any, ...]:
    """`layers` where each reads what the one before gives, else a ValueError."""
    if not layers:
        raise ValueError("expected at least one layer, got none")
    for i, (one, two) in enumerate(zip(layers, layers[1:])):
        if one.output_size != two.input_size:
            raise ValueError(
                f"layer {i} gives {one.output_size} features and layer {i + 1} reads "
                f"{two.input_size}: make them equal"
            )
    return layers


def as_layer(part: Any) -> Any:
    """A layer as it is, a cell in a `Recurrent`."""
    return part if isinstance(part, AbstractLayer) else Recurrent(part)
