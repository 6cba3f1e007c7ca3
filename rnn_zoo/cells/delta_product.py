"""Several steps of the delta rule for each input."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.terms import affine, plus
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    drawn_from,
    option,
    said,
)
from ..init import fan_in_uniform
from ..linear import Parts
from ..registry import register
from .delta import activated, delta_rule, written
from .heads import (
    cut,
    features_map,
    first_rates,
    first_steps,
    heads,
    like_value,
    value_size,
    widths,
    zero_matrices,
)
from .modes import has_map, wide


__all__ = ["DeltaProductCell"]


def _products(name: str, value: int, given: Given) -> int:
    """n, the steps of the delta rule for one input"""
    return at_least_one(name, value, given)


_gated = said("whether the state decays before the first of them")
_negative = said("whether beta lies in (0, 2) instead of (0, 1): only so a step can reflect")


def _is_gated(given: Given) -> bool:
    return given.gated


def _rows(given: Given) -> int:
    """Of q, of each of the steps, and of the decay."""
    each = given.num_products * (given.key_size + given.value_size + 1)
    return given.num_heads * (given.key_size + each + given.gated)


@register(
    "delta_product",
    family="matrix",
    paper="Siems et al. 2025, arXiv:2502.10297",
    equation="n times S <- S + beta_i k_i (v_i - S^T k_i)^T, y = S'^T q, by head",
    full="""
        for each head
        Q, K, V, z, f = pieces(W x, key_size, each(n, key_size), each(n, value_size), each(n, 1))
        phi = silu       if input_map
        phi = identity   otherwise
        q = unit(phi(Q))
        k = unit(phi(K))
        v = phi(V)
        beta = 2 sig(z)   if negative_eigenvalues
        beta = sig(z)     otherwise
        alpha = exp(-exp(A) softplus(head(f) + b))   if gated
        alpha = 1                                    otherwise
        S' = corrected(alpha S, k, v, beta)
        y = S'^T q / sqrt(key_size)
        where W = weight_ih; n = num_products; A = head(A_log); b = head(bias_dt); S = state
              input_map = given(weight_ih); gated = given(A_log)
    """,
    block="HeadsBlock",
)
class DeltaProductCell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""DeltaProduct: several steps of the delta rule for each input (Siems et al. 2025,
    arXiv:2502.10297).

    In each head, from $S_0 = \alpha S$,

    $$S_i = S_{i-1} + \beta_i\, k_i\, (v_i - S_{i-1}^\top k_i)^\top, \qquad S' = S_n, \qquad
    y = \tfrac{1}{\sqrt{K}}\, S'^\top q, \qquad
    \alpha = e^{-e^A\, \mathrm{softplus}(a + b)}$$

    with i from 1 to n, $\beta_i = 2 \sigma(z_i)$, and q, $k_i$, $v_i$ as in `DeltaNetCell`.
    State: S, (heads, key, value), zero at the start. The state is multiplied by a product of n
    matrices $I - \beta_i k_i k_i^\top$, each of which is a reflection where $\beta_i$ is 2: two of
    them turn, and K of them are any orthogonal map. The decay acts once, before the first; without
    `gated` $\alpha$ is 1.

    The rows of `weight_ih` @ x are $Q$, head by head; then those of the $k_i$, of the $v_i$ and the
    $z_i$, step by step and in each of them head by head; then a, if `gated`. Their start is that of
    `GatedDeltaNetCell`, and so are `A_log`, A, and `bias_dt`, b. With
    `negative_eigenvalues=False` $\beta_i = \sigma(z_i)$. The cell counts steps and takes no dt.
    Without an input map all is as in `DeltaNetCell`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    A_log: Float[Array, " num_heads"] | None = drawn_from(first_rates, when=_is_gated)
    bias_dt: Float[Array, " num_heads"] | None = drawn_from(first_steps, when=_is_gated)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    num_products: int = option(2, _products)
    gated: ClassVar[bool] = option(True, _gated)
    negative_eigenvalues: bool = option(True, _negative)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "bias_dt")

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def constants(self) -> Float[Array, " heads"] | None:
        """exp(A)."""
        return None if self.A_log is None else jnp.exp(wide(self.A_log)[0])

    def parts(
        self, c: Float[Array, " heads"] | None, x: Float[Array, " {self.input_size}"]
    ) -> Parts:
        (key, value), n, single = widths(self), self.num_products, (self.num_heads,)
        shapes = (key, (n, *key), (n, *value), (n, *single)) + (() if c is None else (single,))
        q, k, v, z, *a = cut(affine(self.weight_ih, x, None), *shapes)
        q, k, v = activated(self, q, k, v)
        beta = written(z, self.negative_eigenvalues)
        if c is None:
            return delta_rule(q, k, v, beta)
        # Of the steps of one input only the first fades.
        first = -c * jax.nn.softplus(plus(a[0], self.bias_dt))
        rest = jnp.zeros((n - 1, *single), first.dtype)
        log_decay = jnp.concatenate([first[None], rest])
        return delta_rule(q, k, v, beta, log_decay[..., None])

    def output(
        self,
        c: Float[Array, " heads"] | None,
        read: Float[Array, "heads value"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()
