"""The real-gated linear recurrent unit."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._affine import AffineMap, Diagonal
from ..base import AbstractLinearCell, replace, state_dtype
from ..init import check_sizes, fan_in_uniform, uniform, working_float


SHARPNESS = 8.0
_STEEPEST = 1000.0


class RGLRUCell(AbstractLinearCell):
    r"""Real-gated linear recurrent unit (Griffin; De et al. 2024, arXiv:2402.19427).

    $$u = W x + b, \qquad r = \sigma(W_r u + b_r), \qquad i = \sigma(W_i u + b_i)$$
    $$a = e^{-8\, \mathrm{softplus}(\Lambda) \odot r}, \qquad
    h' = a \odot h + \sqrt{1 - a^2} \odot (i \odot u), \qquad y = h'$$

    State: h, (hidden,), zero at the start; 0 < a < 1. $W_r, W_i$ are block-diagonal with
    `blocks` blocks. $e^{-\mathrm{softplus}(\Lambda)}$ starts uniform by area on the ring
    `decay_range`. The slope of the root is held to 1000, so that a near 1 gives no infinite
    gradient. The authors' code leaves the root out at the first step of a document; here
    the equation holds at every step. For long memories that choose what to keep; linear:
    put it in a `Block`. With `negative_eigenvalues`, 2 a - 1 stands for a in the last line,
    in (-1, 1): such a state can turn its sign (Grazzi et al. 2024, arXiv:2411.12537).
    """

    weight_ih: Float[Array, "hidden input"]
    bias: Float[Array, " hidden"] | None
    weight_gates: Float[Array, "2 blocks width width"]
    bias_gates: Float[Array, "2 hidden"] | None
    Lambda: Float[Array, " hidden"]
    rate: Float[Array, " hidden"] | None
    negative_eigenvalues: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    ssm_parameters: ClassVar[tuple[str, ...]] = ("Lambda",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        blocks: int = 1,
        decay_range: tuple[float, float] = (0.9, 0.999),
        negative_eigenvalues: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`blocks` divide `hidden_size`; 0 < low < high < 1 of `decay_range` (ValueError)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size, blocks=blocks)
        if hidden_size % blocks:
            raise ValueError(f"expected blocks to divide hidden_size={hidden_size}, got {blocks}")
        low, high = decay_range
        if not 0 < low < high < 1:
            raise ValueError(f"expected decay_range with 0 < low < high < 1, got {decay_range}")
        dtype = working_float(dtype)
        key_W, key_gates, key_decay = jr.split(key, 3)
        width = hidden_size // blocks
        self.weight_ih = fan_in_uniform(key_W, (hidden_size, input_size), input_size, dtype)
        self.bias = jnp.zeros(hidden_size, dtype) if use_bias else None
        self.weight_gates = fan_in_uniform(key_gates, (2, blocks, width, width), width, dtype)
        self.bias_gates = jnp.zeros((2, hidden_size), dtype) if use_bias else None
        wide = jnp.promote_types(dtype, jnp.float32)
        squared = uniform(key_decay, (hidden_size,), low**2, high**2, wide)
        # The inverse of softplus at -log of the decay.
        self.Lambda = jnp.log(jnp.expm1(-0.5 * jnp.log(squared))).astype(dtype)
        self.rate, self.negative_eigenvalues = None, negative_eigenvalues
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.Lambda))

    def prepare(self) -> "RGLRUCell":
        if self.rate is not None:
            return self
        Lambda = self.Lambda.astype(state_dtype(self.Lambda))
        return replace(self, rate=-SHARPNESS * jax.nn.softplus(Lambda))

    def transition(self, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        rate = self.prepare().rate
        assert rate is not None
        u = self.weight_ih @ x
        u = u if self.bias is None else u + self.bias
        r, i = self._gates(u)
        log_a = rate * r
        # 1 - a^2 without cancellation near a = 1.
        if self.negative_eigenvalues:
            a, squared = 2 * jnp.exp(log_a) - 1, -4 * jnp.expm1(log_a) * jnp.exp(log_a)
        else:
            a, squared = jnp.exp(log_a), -jnp.expm1(2 * log_a)
        return AffineMap(Diagonal(a), bounded_sqrt(squared) * (i * u))

    def readout(
        self, state: Float[Array, " {self.output_size}"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return state

    def _gates(self, u: Array) -> Array:
        blocks = u.reshape(self.weight_gates.shape[1], -1)
        z = jnp.einsum("gkij,kj->gki", self.weight_gates, blocks).reshape(2, -1)
        return jax.nn.sigmoid(z if self.bias_gates is None else z + self.bias_gates)


@jax.custom_jvp
def bounded_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root, with a derivative of at most 1000."""
    return jnp.sqrt(x)


@bounded_sqrt.defjvp
def _bounded_sqrt_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    slope = 0.5 / jnp.sqrt(jnp.maximum(x, 0.25 / _STEEPEST**2))
    return bounded_sqrt(x), slope * tangent
