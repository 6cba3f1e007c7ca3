"""Linear attention whose channels forget by gates of the input."""

__all__ = ["GLACell", "HGRN2Cell"]

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.terms import affine
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    filled,
    option,
    positive,
)
from ..init import fan_in_uniform
from ..linear import Parts
from ..registry import register
from .heads import (
    cut,
    features_map,
    half_value,
    heads,
    like_value,
    value_size,
    widths,
    zero_matrices,
)
from .modes import has_map, has_map_bias


def _rank(name: str, value: int, given: Given) -> int:
    """an integer of at least 1, the width between the two maps of the decays"""
    return at_least_one(name, value, given)


def _lower_bound(name: str, value: float, given: Given) -> float:
    """in [0, 1), the least that a channel keeps in a step; in the published network it grows from
    0 in the first layer"""
    if not 0 <= value < 1:
        raise ValueError(f"expected lower_bound in [0, 1), got {value}")
    return value


def _rows(given: Given) -> int:
    """Those of q, k and v, or of q, f and v."""
    return 2 * given.num_heads * given.key_size + given.hidden_size


@register(
    "gla",
    family="matrix",
    paper="Yang et al. 2023, arXiv:2312.06635",
    equation="S' = a(x) * S + k v^T, y = S'^T q / sqrt(K)",
    full="""
        for each head
        q, k, v, r = pieces(W x + b, key_size, key_size, value_size)
        p = 1 / tau
        alpha = sig(head(W_g) r + head(b_g))^p
        S' = diag(alpha) S + outer(k, v)
        y = S'^T q / sqrt(key_size)
        where W = weight_ih; b = bias; W_g = weight_gate; b_g = bias_gate
              tau = gate_logit_normalizer; S = state
    """,
    block="HeadsBlock",
)
class GLACell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Gated linear attention (Yang et al. 2023, arXiv:2312.06635): each channel of the keys
    forgets by a gate of the input.

    $$q, k, v, r = W x + b, \qquad \alpha = \sigma(W_\alpha r + b_\alpha)^{1 / \tau}$$
    $$S' = \alpha \odot S + k v^\top, \qquad y = K^{-1/2} S'^\top q$$

    of each head. State: (heads, key, value), zero at the start. `weight_ih` holds the rows of q, of
    k and of v, each head by head, and those of r, `rank` for all heads; `weight_gate` and
    `bias_gate` are $W_\alpha, b_\alpha$, and `gate_logit_normalizer` is $\tau$. The biases start at
    0, so that a channel keeps about 0.96 of itself in a step. The paper's norm of each head and
    output gate stand behind the cell, in its block. The write has no step size, so that the cell
    takes no dt. It is for sequences of tokens. It is linear: put it in a `Block`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " rows"] | None = filled(0.0, when=has_map_bias)
    weight_gate: Float[Array, "num_heads*key rank"] = drawn(fan_in_uniform)
    bias_gate: Float[Array, " num_heads*key"] = filled(0.0)
    num_heads: int = option(None, heads)
    key_size: int = option(None, half_value)
    value_size: int = derived(value_size)
    rank: ClassVar[int] = option(16, _rank)
    gate_logit_normalizer: float = option(16.0, positive)
    rows: ClassVar[int] = derived(lambda given: _rows(given) + given.rank)
    input_map: ClassVar[bool] = option(True, features_map)
    use_bias: ClassVar[bool] = option(True)

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def parts(self, c: None, x: Float[Array, " {self.input_size}"]) -> Parts:
        keys, values = widths(self)
        shapes = keys, keys, values, self.weight_gate.shape[1:]
        q, k, v, r = cut(affine(self.weight_ih, x, self.bias), *shapes)
        z = (self.weight_gate @ r + self.bias_gate).reshape(keys)
        log_decay = jax.nn.log_sigmoid(z) / self.gate_logit_normalizer
        return Parts(q / math.sqrt(self.key_size), k, v, log_decay)

    def output(
        self, c: None, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()


@register(
    "hgrn2",
    family="matrix",
    paper="Qin et al. 2024, arXiv:2404.07904",
    equation="S' = f(x)^dt * S + (1 - f(x)^dt) v^T, y = S'^T silu(q)",
    full="""
        for each head
        q, z, v = pieces(W x + b, key_size, key_size, value_size)
        f = (lambda + (1 - lambda) sig(z))^dt
        S' = diag(f) S + outer(1 - f, v)
        y = S'^T (q * sig(q))
        where W = weight_ih; b = bias; lambda = lower_bound; S = state
    """,
    block="HeadsBlock",
)
class HGRN2Cell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Gated linear RNN with state expansion (HGRN2; Qin et al. 2024, arXiv:2404.07904): what a
    channel forgets is what it writes.

    $$q, z, v = W x + b, \qquad f = \lambda + (1 - \lambda)\, \sigma(z)$$
    $$S' = f^{dt} \odot S + (1 - f^{dt})\, v^\top, \qquad y = S'^\top (q \odot \sigma(q))$$

    of each head, so that each channel is a leaky average of values. State: (heads, key, value),
    zero at the start. `weight_ih` holds the rows of q, of z and of v, each head by head, and
    `lower_bound` is $\lambda$; `bias` starts at 0. Over a time dt the step is the exact flow of a
    leaky integrator for an input that is constant: two halves are one, and at dt = 0 the state is
    held. SiLU acts on q without an input map, too, as there is no convolution in the paper's block,
    whose norm stands behind the cell. It is linear: put it in a `Block`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " rows"] | None = filled(0.0, when=has_map_bias)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    lower_bound: float = option(0.0, _lower_bound)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    use_bias: ClassVar[bool] = option(True)

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def parts(
        self, c: None, x: Float[Array, " {self.input_size}"], dt: Float[ArrayLike, ""] = 1.0
    ) -> Parts:
        keys, values = widths(self)
        q, z, v = cut(affine(self.weight_ih, x, self.bias), keys, keys, values)
        log_decay = jnp.asarray(dt) * self._log_forget(z)
        # 1 - f^dt without cancellation where f is near 1.
        return Parts(jax.nn.silu(q), -jnp.expm1(log_decay), v, log_decay)

    def output(
        self, c: None, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()

    def _log_forget(self, z: Float[Array, "heads key"]) -> Float[Array, "heads key"]:
        log_gate = jax.nn.log_sigmoid(z)
        if self.lower_bound == 0:
            return log_gate
        return jnp.logaddexp(math.log(self.lower_bound), math.log1p(-self.lower_bound) + log_gate)
