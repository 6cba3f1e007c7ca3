"""Which layers are one call of cuDNN: LSTMs in a row, in one direction or in both."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array

from .._common.checks import Steps
from .._evaluators import CUDNN, fits_cudnn, layers_by_cudnn
from ..scan import resolve_method


def run_by_cudnn(
    layers: Sequence[Sequence[Any]], states: Sequence[Any], steps: Steps
) -> tuple[list[Any], Array] | None:
    """The final state of each direction of each layer, and the outputs; None where it is not one
    call.

    A layer is its directions, a `Recurrent` and, where it reads both ways, a `Backward`.
    """
    sides = [side for layer in layers for side in layer]
    if not fits_cudnn(steps) or {len(layer) for layer in layers} not in ({1}, {2}):
        return None
    methods = {resolve_method(side.cell, side.method, steps.length, side.remat) for side in sides}
    sizes = {side.output_size for side in sides}
    if methods != {CUDNN} or len(sizes) > 1 or any(side.mesh_axis for side in sides):
        return None
    return layers_by_cudnn([side.cell for side in sides], len(layers[0]) == 2, states, steps)
