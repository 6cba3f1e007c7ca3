"""Complex modes between real inputs and outputs, each way by one matrix product; and what
several state spaces declare.

Matrices with complex entries are real parameters whose leading axis is (real, imaginary).
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact

from .._common.checks import check_bounds, check_choice
from .._common.dtypes import state_dtype, zero_state
from ..declared import Given
from ..init import log_uniform
from .discretise import DISCRETISATIONS


def write_modes(
    B: Float[Array, "parts input"], x: Float[Array, " input"]
) -> Complex[Array, " modes"]:
    """B x for a B whose imaginary rows follow its real ones."""
    return lax.complex(*jnp.split(B @ x, 2))


def joint_readout(
    C: Float[Array, "2 output modes"], D: Float[Array, "output input"], scale: float = 1.0
) -> Float[Array, "output parts"]:
    """The matrix of `read_modes`."""
    return jnp.concatenate([scale * C[0], -scale * C[1], D], axis=1)


def read_modes(
    joint: Float[Array, "output parts"],
    state: Complex[Array, " modes"],
    x: Float[Array, " input"],
) -> Float[Array, " output"]:
    """scale * Re(C h) + D x. One product with all parts is a fifth faster than three."""
    return joint @ jnp.concatenate([state.real, state.imag, x])


def scaled(z: Inexact[Array, "..."], factor: Float[Array, "..."]) -> Inexact[Array, "..."]:
    """z times real numbers, without a product of complex ones: its gradient would be a slow sum."""
    if not jnp.iscomplexobj(z):
        return z * factor
    factor = factor.astype(z.real.dtype)
    return lax.complex(z.real * factor, z.imag * factor)


def zero_modes(size: int, parameter: Any) -> Complex[Array, " {size}"]:
    """(size,) complex zeros in the dtype of a carry beside this parameter."""
    zeros = zero_state(size, parameter)
    return lax.complex(zeros, zeros)


def wide(*parameters: Array) -> tuple[Array, ...]:
    """The parameters in the dtype of a carry beside the first of them."""
    dtype = state_dtype(parameters[0])
    return tuple(p.astype(dtype) for p in parameters)


# --- what several classes declare -----------------------------------------------------------------


def not_both(name: str, value: bool, given: Given) -> bool:
    """whether eigenvalues lie in the unit disc, with twice the state; not with
    `negative_eigenvalues`"""
    if value and given.negative_eigenvalues:
        raise ValueError(
            "expected one of negative_eigenvalues and complex_eigenvalues, got both: complex ones "
            "are negative where their phase is pi"
        )
    return value


def mapped(name: str, value: bool, given: Given) -> bool:
    """False leaves W and b out, where x has `hidden_size` features"""
    if not value and given.input_size != given.hidden_size:
        raise ValueError(
            "expected input_size equal to hidden_size without input_map, got "
            f"{given.input_size} and {given.hidden_size}"
        )
    return value


def has_map(given: Given) -> bool:
    """Whether there is a W."""
    return given.input_map


def has_map_bias(given: Given) -> bool:
    """Whether there is a b."""
    return given.input_map and given.use_bias


def discretisation(name: str, value: str, given: Given) -> str:
    """by "zoh" or "bilinear"; over a gap that is long against 1 / |lambda|, "bilinear" turns the
    sign of a state where "zoh" forgets it"""
    return check_choice(name, value, DISCRETISATIONS)


def step_bounds(name: str, value: tuple[float, float], given: Given) -> tuple[float, float]:
    """(low, high) with 0 < low <= high: where Delta starts, log-uniform"""
    return check_bounds(value)


def log_steps(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    """The logarithms of the first Delta."""
    return log_uniform(key, shape, given.dtype, bounds=given.step_range)
