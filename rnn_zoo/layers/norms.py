"""What stands before a recurrent layer, or after its skip."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import working_float
from .._common.fixed import Fixed


class FrozenBatchNorm(eqx.Module):
    r"""Batch normalisation with the statistics of a training that is over.

    $$y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta$$

    elementwise, (size,) to (size,). `mean` $\mu$ and `variance` $\sigma^2$ are fixed: nothing
    here estimates them, they come with weights that were trained elsewhere (Ioffe & Szegedy 2015,
    arXiv:1502.03167). `weight` $\gamma$ and `bias` $\beta$ train. It starts at mean 0 and
    variance 1.
    """

    weight: Float[Array, " size"]
    bias: Float[Array, " size"]
    mean: Fixed
    variance: Fixed
    eps: float = eqx.field(static=True)

    def __init__(self, size: int, *, eps: float = 1e-5, dtype: Any = None):
        """`eps` is added to the variance."""
        check_sizes(size=size)
        dtype = working_float(dtype)
        self.weight, self.bias = jnp.ones(size, dtype), jnp.zeros(size, dtype)
        self.mean, self.variance = Fixed(jnp.zeros(size, dtype)), Fixed(jnp.ones(size, dtype))
        self.eps = eps

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        scale = self.weight * lax.rsqrt(self.variance.value + self.eps)
        return (x - self.mean.value) * scale + self.bias


def _layer(size: int, *, eps: float, dtype: Any) -> eqx.nn.LayerNorm:
    return eqx.nn.LayerNorm(size, eps=eps, dtype=dtype)


def _rms(size: int, *, eps: float, dtype: Any) -> eqx.nn.RMSNorm:
    return eqx.nn.RMSNorm(size, eps=eps, use_bias=False, dtype=dtype)


NORMS = {"layer": _layer, "rms": _rms, "batch": FrozenBatchNorm}


def make_norm(name: str, size: int, *, eps: float = 1e-5, dtype: Any = None) -> Any:
    """The norm of this name, in [layer, rms, batch]; ValueError for another or an eps below 0."""
    check_choice("norm", name, NORMS)
    if not eps >= 0:
        raise ValueError(f"expected eps of at least 0, got {eps}")
    return NORMS[name](size, eps=eps, dtype=dtype)
