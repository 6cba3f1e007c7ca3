"""Reservoirs made of other cells."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_choice, check_positive
from ..base import AbstractCell, replace
from ..cells.echo_state import RADII, _scaling, _to_radius_one
from ..cells.oscillatory import HCoRNNCell
from ..init import uniform
from ..wrappers.frozen import Frozen


def as_reservoir(cell: AbstractCell, *, spectral_radius: float | None = None) -> Frozen:
    """Any cell as a reservoir: its weights as they were drawn, and none of them trains.

    With `spectral_radius`, the recurrent matrix `weight_hh` is scaled to it first (ValueError
    where the cell has none of shape (hidden, hidden)).
    """
    if spectral_radius is not None:
        matrix: Any = getattr(cell, "weight_hh", None)
        if not eqx.is_array(matrix) or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                f"{type(cell).__name__} has no recurrent matrix weight_hh of shape "
                "(hidden, hidden) to scale: leave spectral_radius out"
            )
        check_positive("spectral_radius", spectral_radius)
        scaled, _ = _to_radius_one(matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32)))
        scaled = (spectral_radius * scaled).astype(matrix.dtype)
        cell = replace(cell, weight_hh=scaled)
    return Frozen(cell)


def random_oscillators(
    input_size: int,
    hidden_size: int,
    *,
    spectral_radius: float = 0.99,
    input_scaling: float = 1.0,
    delta: float = 0.042,
    gamma: tuple[float, float] = (1.35, 4.05),
    epsilon: tuple[float, float] = (2.35, 7.05),
    radius_of: str = "matrix",
    dtype: Any = None,
    key: PRNGKeyArray,
) -> Frozen:
    r"""RON, the Random(ized) Oscillators Network (Ceni et al. 2024): an `HCoRNNCell` that never
    trains.

    Recurrent weights from U(-2, 2), scaled to `spectral_radius`; input weights from U(0, 1) and
    the bias from U(-1, 1), both times `input_scaling`; the rest as in `HCoRNNCell`.
    `radius_of="matrix"`: the radius is that of $W_{hh}$. "leaky": that of
    $(1 - \Delta^2) I + \Delta^2 W_{hh}$ is, the linear part of a step of h where gamma and
    epsilon are 1. The authors' code takes this one where both are exactly 1 for all units, and
    the other elsewhere. ValueError for a radius that is not above 0 or a scaling below 0.
    """
    check_choice("radius_of", radius_of, RADII)
    check_positive("spectral_radius", spectral_radius)
    key_cell, key_hh, key_ih, key_bias = jr.split(key, 4)
    options = {"delta": delta, "gamma": gamma, "epsilon": epsilon, "dtype": dtype}
    cell = HCoRNNCell(input_size, hidden_size, key=key_cell, **options)
    scale, dtype = _scaling("input_scaling", input_scaling), cell.weight_hh.dtype
    cell = replace(
        cell,
        weight_hh=_oscillating(key_hh, hidden_size, spectral_radius, delta, radius_of, dtype),
        weight_ih=scale * uniform(key_ih, (hidden_size, input_size), dtype, low=0.0, high=1.0),
        bias=scale * uniform(key_bias, (hidden_size,), dtype, low=-1.0, high=1.0),
    )
    return Frozen(cell)


def _oscillating(key, size: int, radius: float, delta: float, radius_of: str, dtype: Any) -> Array:
    wide = jnp.promote_types(dtype, jnp.float32)
    matrix, square = uniform(key, (size, size), wide, low=-2.0, high=2.0), delta**2
    if radius_of == "matrix":
        return (radius * _to_radius_one(matrix)[0]).astype(dtype)
    eye = jnp.eye(size, dtype=wide)
    flow = radius * _to_radius_one((1 - square) * eye + square * matrix)[0]
    return (eye + (flow - eye) / square).astype(dtype)
