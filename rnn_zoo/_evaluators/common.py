"""How a cell runs, and what its steps are given."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from .._common.checks import Steps
from .._common.dtypes import working_dtype
from ..linear import select
from .options import Chunks


class How(NamedTuple):
    """How a cell runs, known when the program is traced."""

    reverse: bool
    keep_states: bool
    segment: int | None = None
    plain: bool = False
    algorithm: str | Chunks = "sequential"
    mesh_axis: str | None = None


def as_floats(cell: Any, *inputs: Array) -> list[Array]:
    return [array.astype(working_dtype(cell, inputs[0])) for array in inputs]


def visible(steps: Steps) -> list[Array]:
    """x, and dt if any, with harmless values where the mask hides a step."""
    if steps.mask is None:
        return [steps.x] if steps.dt is None else [steps.x, steps.dt]
    x = select(steps.mask, steps.x, jnp.zeros_like(steps.x))
    if steps.dt is None:
        return [x]
    return [x, jnp.where(steps.mask, steps.dt, jnp.ones_like(steps.dt))]
