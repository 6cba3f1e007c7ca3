"""Small pieces of formulas."""

from typing import Any

from jaxtyping import Array


def plus(z: Array, bias: Any) -> Array:
    """z + b, or z where there is no b."""
    return z if bias is None else z + bias
