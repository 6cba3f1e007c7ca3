"""Small pieces of formulas."""

from typing import Any

from jaxtyping import Array


def plus(z: Array, bias: Any) -> Array:
    """z + b, or z where there is no b."""
    return z if bias is None else z + bias


def affine(weight: Any, x: Array, bias: Any) -> Array:
    """W x + b, without W or b where there is none."""
    return plus(x if weight is None else weight @ x, bias)
