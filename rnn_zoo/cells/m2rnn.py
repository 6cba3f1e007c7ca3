"""A non-linear recurrence with a matrix for its state."""

__all__ = ["M2RNNCell"]

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.terms import affine
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    derived,
    drawn,
    drawn_from,
    filled,
    option,
)
from ..init import fan_in_uniform
from ..registry import register
from .heads import (
    cut,
    features_map,
    first_rates,
    first_steps,
    heads,
    softplus_decay,
    value_size,
    widths,
    zero_matrices,
)
from .modes import has_map


def _four_values(name: str, value: int | None, given: Given) -> int:
    """the width of the keys of one head, by default four times that of its values,
    hidden_size / num_heads"""
    return at_least_one(name, 4 * value_size(given) if value is None else value, given)


def _rows(given: Given) -> int:
    return given.num_heads * (2 * given.key_size + given.value_size + 1)


def _identities(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(jnp.eye(shape[-1], dtype=given.dtype), shape)


@register(
    "m2rnn",
    family="matrix",
    paper="Mishra et al. 2026, arXiv:2603.14360",
    equation="S' = f S + (1 - f) tanh(S R + k v^T), y = S'^T q + D * v",
    full="""
        for each head
        q, k, v, a = pieces(W x, key_size, key_size, value_size, 1)
        f = exp(-dt exp(alpha) softplus(a + b))
        Z = tanh(S R + outer(k, v))
        S' = f S + (1 - f) Z
        y = S'^T q + d * v
        where S = state; W = weight_ih; R = head(weight_hh); d = head(D)
              alpha = head(A_log); b = head(bias_dt)
    """,
    block="HeadsBlock",
)
class M2RNNCell(AbstractDeclaredCell, init=False):
    r"""Matrix-to-matrix RNN (M2RNN; Mishra et al. 2026, arXiv:2603.14360).

    $$q, k, v, a = W x, \qquad f = e^{-dt\, e^{\alpha} \mathrm{softplus}(a + b)}$$
    $$S' = f S + (1 - f) \tanh(S R + k v^\top), \qquad y = S'^\top q + D \odot v$$

    for each of `num_heads` heads. State: S, (heads, key, value), zero at the start; each of its
    rows is a leaky recurrent network with the matrix R, and all of them share it. The rows of
    `weight_ih` are those of q (heads * key), k (heads * key), v (heads * value) and a (heads).
    `weight_hh` is R, (heads, value, value), and starts as the identity; `D` starts at 1, `A_log`
    $\alpha$ as the logarithm of U(1, 16) (the authors' U(0, 16) can give the logarithm of 0), and
    `bias_dt` b so that softplus of it is log-uniform on (0.001, 0.1). The authors have 64 keys and
    16 values a head, hence the default of `key_size`. They cut the gradient of S to (-1, 1) at each
    step; here it is the derivative. The state tracks what linear matrix states cannot, and runs
    step by step.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    weight_hh: Float[Array, "num_heads value value"] = computed(_identities)
    A_log: Float[Array, " num_heads"] = drawn_from(first_rates)
    bias_dt: Float[Array, " num_heads"] = drawn_from(first_steps)
    D: Float[Array, "num_heads value"] = filled(1.0)
    num_heads: int = option(None, heads)
    key_size: int = option(None, _four_values)
    value_size: int = derived(value_size)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "bias_dt", "D")
    for_blocks: ClassVar[bool] = True

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def equation(
        self,
        c: Any,
        state: Float[Array, "heads key value"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, "heads key value"], Float[Array, " {self.output_size}"]]:
        keys, values = widths(self)
        features = affine(self.weight_ih, x, None)
        q, k, v, a = cut(features, keys, keys, values, (self.num_heads,))
        log_f = softplus_decay(self.A_log, a + self.bias_dt, dt)[:, None, None]
        mixed = jnp.einsum("hkv,hvw->hkw", state, self.weight_hh)
        target = jnp.tanh(mixed + k[:, :, None] * v[:, None, :])
        state = jnp.exp(log_f) * state - jnp.expm1(log_f) * target
        y = jnp.einsum("hk,hkv->hv", q, state) + self.D * v
        return state, y.ravel()
