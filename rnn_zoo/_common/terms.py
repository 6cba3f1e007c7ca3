"""Small pieces of formulas."""

from typing import Any

from jaxtyping import Array


def plus(z: Array, bias: Any) -> Array:
    """z + b, or z where there is no b."""
    return z if bias is None else z + bias


def affine(
    weight: Float[Array, "n m"] | None, x: Float[Array, " m"], bias: Float[Array, " n"] | None
) -> Float[Array, "..."]:
    """W x + b, without W or b where there is none."""
    return plus(x if weight is None else weight @ x, bias)
