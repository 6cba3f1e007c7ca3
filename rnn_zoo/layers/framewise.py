"""Layers over frames: arrays in space, for cells that have them laid flat."""

import math
from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike

from .._common.numbers import exactly
from ..base import State
from .stacked import as_layer


class Framewise(eqx.Module):
    """A layer of spatial cells over frames, (time, channels, *grid), in the place of vectors.

        grid = jnp.arange(16.0)
        centre = 4.0 + 0.4 * jnp.arange(20.0)[:, None]  # of a blob that moves along a diagonal
        side = jnp.exp(-((grid - centre) ** 2) / 8)
        frames = (side[:, :, None] * side[:, None, :])[:, None]  # (time, 1, 16, 16)

        layer = rz.Stacked(
            [
                rz.cells.ConvLSTMCell((1, 16, 16), 8, key=key),
                rz.cells.ConvGRUCell((8, 16, 16), 1, key=key),
            ]
        )
        video = rz.layers.Framewise(layer)
        state, after = video.scan(frames)  # after: (time, 1, 16, 16)

    Each frame is laid flat for the layer, row by row, and each output gets its shape back; nothing
    else happens here. So `layer`, which reads and gives vectors, goes into models and `rz.Stream`
    as any other. The keywords mean what they mean in `rz.scan.unroll`. For a batch there is
    `jax.vmap(video)(frames)`.
    """

    layer: Any

    def __init__(self, layer: Any):
        """A spatial cell, or a layer that begins and ends with one. TypeError for any other."""
        self.layer = as_layer(layer)
        _shape(self.layer, "input_shape", 0)
        _shape(self.layer, "output_shape", -1)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, *grid) of a frame that comes in."""
        return _shape(self.layer, "input_shape", 0)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(channels, *grid) of a frame that goes out."""
        return _shape(self.layer, "output_shape", -1)

    def init_state(self) -> State:
        """That of the layer."""
        return self.layer.init_state()

    def scan(
        self,
        frames: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The final state and the output frames. ValueError for frames of another shape."""
        frames, shape = exactly("frames", frames), self.input_shape
        if frames.ndim != 1 + len(shape) or frames.shape[1:] != shape:
            expected = ", ".join(map(str, shape))
            raise ValueError(
                f"expected frames of shape (time, {expected}), got {frames.shape}: for a batch map "
                "over it with jax.vmap; a frame of one channel has an axis of length 1 for it"
            )
        # Said in numbers, since a sequence may have no frame.
        xs = frames.reshape(frames.shape[0], math.prod(shape))
        state, ys = self.layer.scan(xs, state, dt=dt, mask=mask, reset=reset, key=key)
        return state, ys.reshape(ys.shape[0], *self.output_shape)

    def __call__(
        self,
        frames: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> Array:
        """The output frames."""
        return self.scan(frames, state, dt=dt, mask=mask, reset=reset, key=key)[1]


def _shape(part: Any, name: str, place: int) -> tuple[int, ...]:
    """The shape that the first or the last cell of a layer has for a frame."""
    first = part
    while not hasattr(part, name):
        inner = getattr(part, "layers", None)
        part = inner[place] if inner else getattr(part, "cell", None)
        if part is None:
            raise TypeError(
                f"expected a layer that begins and ends with a spatial cell, such as "
                f"rz.cells.ConvLSTMCell, got {type(first).__name__}, which has no {name}"
            )
    return getattr(part, name)
