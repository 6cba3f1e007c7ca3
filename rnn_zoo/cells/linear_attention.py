"""Linear attention: sums over the past, without a decay and with a constant one."""

__all__ = ["LinearAttentionCell", "RetNetCell"]

import math
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from .._common.terms import affine
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    drawn_from,
    filled,
    option,
    positive,
    said,
)
from ..init import fan_in_uniform
from ..linear import Parts
from ..registry import register
from .heads import (
    cut,
    features_map,
    heads,
    like_value,
    value_size,
    widths,
    xavier,
    zero_matrices,
)
from .modes import has_map, has_map_bias


_normalised = said("whether the sum is divided by that of the weights")
_rotary = said("whether the angles are those of rotary embeddings instead of the paper's")


def _even(name: str, value: int | None, given: Given) -> int:
    """the width of the keys of one head, an even number; by default half that of its values,
    hidden_size / num_heads, rounded up to an even number"""
    value = 2 * -(-value_size(given) // 4) if value is None else value
    at_least_one(name, value, given)
    if value % 2:
        raise ValueError(f"expected an even key_size, whose numbers turn in pairs, got {value}")
    return value


def _rows(given: Given) -> int:
    """Those of q, k and v."""
    return 2 * given.num_heads * given.key_size + given.hidden_size


@register(
    "linear_attention",
    family="matrix",
    paper="Katharopoulos et al. 2020, arXiv:2006.16236",
    equation="S' = S + f(k) v^T, z' = z + f(k), y = S'^T f(q) / (z' . f(q)), f(u) = elu(u) + 1",
    covers={"linear transformer": {}},
    full="""
        for each head
        q, k, v = pieces(W x + b, key_size, key_size, value_size)
        phi_q = elu(q) + 1
        phi_k = elu(k) + 1
        S' = S + outer(phi_k, [v, 1])   if normalised
        S' = S + outer(phi_k, v)        otherwise
        n, d = split(S'^T phi_q, value_size)
        y = n / (sum(d) + eps)   if normalised
        y = S'^T phi_q           otherwise
        where W = weight_ih; b = bias; S = state
    """,
)
class LinearAttentionCell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Linear attention (Katharopoulos et al. 2020, arXiv:2006.16236): the sum of all that was
    written, read by similarity.

    $$q, k, v = W x + b, \qquad \phi(u) = \mathrm{elu}(u) + 1$$
    $$S' = S + \phi(k)\, v^\top, \qquad z' = z + \phi(k), \qquad
    y = \frac{S'^\top \phi(q)}{z' \cdot \phi(q) + \epsilon}$$

    of each head. State: (heads, key, value + 1), zero at the start; its last column is z, and
    without `normalised` it is not there, and y is $S'^\top \phi(q)$. `weight_ih` holds the rows
    of q, of k and of v, each head by head, and it and `bias` start as PyTorch's linear layer
    does. Nothing fades, so that the state grows with the number of steps, and a long past
    outweighs what is new: put it in a `Block`, and where the past has to be forgotten take a
    cell with a gate, such as `GLACell`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " rows"] | None = drawn(fan_in_uniform, fan_in="input", when=has_map_bias)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    normalised: bool = option(True, _normalised)
    eps: float = option(1e-6, positive)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    use_bias: ClassVar[bool] = option(True)

    def init_state(self) -> Float[Array, "heads key columns"]:
        columns = self.value_size + self.normalised
        return zero_matrices(self, self.num_heads, self.key_size, columns)

    def parts(self, c: None, x: Float[Array, " {self.input_size}"]) -> Parts:
        keys, values = widths(self)
        q, k, v = cut(affine(self.weight_ih, x, self.bias), keys, keys, values)
        if self.normalised:
            v = jnp.concatenate([v, jnp.ones_like(v[:, :1])], 1)
        return Parts(_positive(q), _positive(k), v)

    def output(
        self, c: None, read: Float[Array, "heads columns"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        if self.normalised:
            read = read[:, :-1] / (read[:, -1:] + self.eps)
        return read.ravel()


def _positive(u: Float[Array, "heads key"]) -> Float[Array, "heads key"]:
    """elu(u) + 1, above 0 also where elu rounds to -1."""
    return jnp.where(u > 0, u + 1, jnp.exp(jnp.minimum(u, 0)))


class Turns(NamedTuple):
    """What every step does to the state of a `RetNetCell`."""

    log_decay: Float[Array, "heads 1"]
    angle: Float[Array, "heads pairs"]


@register(
    "retnet",
    family="matrix",
    paper="Sun et al. 2023, arXiv:2307.08621",
    equation="S' = g exp(-j t) * S + k v^T, y = re(S'^T conj(q)) / sqrt(K)",
    full="""
        for each head
        q, k, v = pieces(W x + b, key_size, key_size, value_size)
        m = 5 + h
        gamma = 1 - 2^-m
        c = 1 - 2 / key_size   if rotary
        c = 1                  otherwise
        r = spaced(0, c, key_size / 2)
        theta = 10000^-r
        S' = gamma diag(exp(-j theta)) S + outer(pairs(k), v)
        y = re(S'^T conj(pairs(q))) / sqrt(key_size)
        where W = weight_ih; b = bias; S = state
    """,
    block="HeadsBlock",
)
class RetNetCell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Retention (RetNet; Sun et al. 2023, arXiv:2307.08621): heads that forget at fixed rates, and
    keys that turn with their age.

    $$q, k, v = W x + b, \qquad \gamma_h = 1 - 2^{-5-h}, \qquad
    \theta_i = 10000^{-i / (K/2 - 1)}$$
    $$S' = \gamma_h\, e^{-j \theta} \odot S + k v^\top, \qquad
    y = K^{-1/2}\, \mathrm{Re}(S'^\top \bar q)$$

    of each head, where the numbers 2i and 2i + 1 of q and of k are the real and the imaginary part
    of one. State: (heads, key / 2, value), complex, zero at the start. The paper turns q and k by
    their place in the sequence; here the state turns, which is the same, and there is no place to
    count, so that masked steps and resets leave nothing behind. `weight_ih` holds the rows of q, of
    k and of v, each head by head; each starts Glorot-uniform with a gain of $2^{-5/2}$, and `bias`
    at 0. With `rotary` $\theta_i = 10000^{-2i / K}$, which rotary embeddings have and networks that
    were trained with other code than the authors'. The norm and the gate of the paper stand behind
    the cell, in its block. It is linear and has no gates: the first head sums some 32 steps, each
    further one twice as many.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn_from(
        xavier("num_heads*key", "num_heads*key", "hidden", gain=2**-2.5), when=has_map
    )
    bias: Float[Array, " rows"] | None = filled(0.0, when=has_map_bias)
    num_heads: int = option(None, heads)
    key_size: int = option(None, _even)
    value_size: int = derived(value_size)
    rotary: bool = option(False, _rotary)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    use_bias: ClassVar[bool] = option(True)

    def init_state(self) -> Complex[Array, "heads pairs value"]:
        zeros = zero_matrices(self, self.num_heads, self.key_size // 2, self.value_size)
        return lax.complex(zeros, zeros)

    def constants(self) -> Turns:
        dtype = zero_matrices(self, 1, 1, 1).dtype
        log_decay = np.log1p(-(2.0 ** (-5.0 - np.arange(self.num_heads))))[:, None]
        last = 1.0 - 2.0 / self.key_size if self.rotary else 1.0
        theta = 10000.0 ** -np.linspace(0.0, last, self.key_size // 2)
        angle = np.tile(-theta, (self.num_heads, 1))
        return Turns(jnp.asarray(log_decay, dtype), jnp.asarray(angle, dtype))

    def parts(self, c: Turns, x: Float[Array, " {self.input_size}"]) -> Parts:
        keys, values = widths(self)
        q, k, v = cut(affine(self.weight_ih, x, self.bias), keys, keys, values)
        return Parts(_pairs(q) / math.sqrt(self.key_size), _pairs(k), v, c.log_decay, c.angle)

    def output(
        self, c: Turns, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()


def _pairs(u: Float[Array, "heads key"]) -> Complex[Array, "heads pairs"]:
    """Every second number the real part of one, the next its imaginary part."""
    return lax.complex(u[:, 0::2], u[:, 1::2])
