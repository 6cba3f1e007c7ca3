"""Small pieces of formulas."""

from jaxtyping import Array, Float


def plus(z: Float[Array, " n"], bias: Float[Array, " n"] | None) -> Float[Array, " n"]:
    """z + b, or z where there is no b."""
    return z if bias is None else z + bias
