"""What layers and models share: one call, one order of what comes back."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from .._common.formulas import prepare as _prepare
from .._common.hints import hint_constructor, hinted
from ..base import AbstractCell, State
from ..linear import select


Directions = tuple[tuple[int, int, bool], ...]
"""(start, stop, backward): these features are complete at the last valid step, or, backward,
at the first one. Runs may overlap: features that mix both directions stand in two."""


class AbstractLayer(eqx.Module):
    """A map from a sequence (time, input_size) to a sequence (time, output_size).

    `layer(xs)` gives the outputs, `layer.scan(xs, state)` the final state and the outputs.
    The keywords mean what they mean in `rz.scan.unroll`. No batch axis: `rz.batch(layer)`
    or `eqx.filter_vmap(layer)`.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super(AbstractLayer, cls).__init_subclass__(**keywords)  # noqa: UP008
        hint_constructor(cls)

    input_size: eqx.AbstractVar[int]
    output_size: eqx.AbstractVar[int]
    timed: eqx.AbstractVar[bool]
    stochastic: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def init_state(self) -> State:
        """The state before the first step of a sequence."""

    @abc.abstractmethod
    def directions(self, before: Directions = ()) -> Directions:
        """At which end of a sequence the output features have read all of it.

        `before`: the same of the layers in front, for a layer that passes on what they read.
        """

    prepare = _prepare

    @property
    def reads_tokens(self) -> bool:
        """Whether xs are integer tokens (time,) rather than features."""
        return False

    @abc.abstractmethod
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
        """The final state and the outputs (time, output_size)."""

    @hinted("layer(xs)")
    def __call__(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> Array:
        """The outputs (time, output_size)."""
        return self.scan(xs, state, dt=dt, mask=mask, reset=reset, key=key)[1]


def mixed(directions: Directions, size: int) -> Directions:
    """Of `size` features that each depend on all of those before."""
    ends = sorted({backward for _, _, backward in directions}) or [False]
    return tuple((0, size, backward) for backward in ends)


def hide(mask: Array | None, ys: Array) -> Array:
    """`ys` with zeros where the mask is False."""
    return ys if mask is None else select(mask, ys, jnp.zeros_like(ys))


def require_step(*parts: Any) -> None:
    """A TypeError that names the first part that cannot step."""
    for part in parts:
        if not isinstance(part, AbstractCell):
            raise TypeError(
                f"{type(part).__name__} reads a sequence from its end and cannot step through "
                "it: use scan, or build this part without it"
            )


def timed_only(part: Any, dt: Any) -> Any:
    """dt for a timed part, None for another: a stack hands time to those that have it."""
    return dt if part.timed else None
