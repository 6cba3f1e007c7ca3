"""Activations that neither JAX nor Equinox has."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def lecun_tanh(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """1.7159 tanh(0.666 x): LeCun et al. 1998, "Efficient BackProp".

    The factor inside is 0.666, as in the networks that use it, and not two thirds.
    """
    return 1.7159 * jnp.tanh(0.666 * x)


class LeCunTanh(eqx.Module):
    """`lecun_tanh` as a module, for `eqx.nn.Sequential` and the like."""

    def __call__(self, x: Float[ArrayLike, "..."], *, key: object = None) -> Float[Array, "..."]:
        """lecun_tanh(x); `key` is there for Equinox's containers and not used."""
        return lecun_tanh(x)
