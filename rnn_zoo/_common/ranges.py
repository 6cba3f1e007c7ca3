"""Parameters that are held to a range where they are used."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def held(raw: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """`raw` held to [low, high]; the gradient passes, but for what leads further out.

    A descent moves `raw` against its gradient. At an edge or beyond, a gradient that would move
    it further out is 0, so it never drifts away and is back as soon as a gradient points in.
    Forward mode, which knows of no descent, passes everything.
    """
    here = lax.stop_gradient(raw)

    def inward(_, gradient):
        out = ((here >= high) & (gradient < 0)) | ((here <= low) & (gradient > 0))
        return jnp.where(out, 0, gradient)

    # Which way a gradient points is known to its transpose alone. This linear solve is an identity
    # whose transpose is ours; unlike a custom_vjp it has a forward mode, too.
    moved = lax.custom_linear_solve(lambda v: v, raw - here, lambda _, v: v, inward)
    return jnp.clip(here, low, high) + moved
