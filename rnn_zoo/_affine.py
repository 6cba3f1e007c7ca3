"""The algebra of linear steps: h -> A h + b for a few structures of A, and its prefix sums.

A new structure (scaled identity plus outer product, Householder products) is one subclass
of `AbstractLinearMap`; what is affine is written once, in `AffineMap`.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


class AbstractLinearMap(eqx.Module):
    """A structured matrix A. Leading axes of `a` beyond `rank` (time) are mapped over."""

    a: eqx.AbstractVar[Array]
    rank: eqx.AbstractVar[int]
    """Number of axes of `a` for one time step."""

    @abc.abstractmethod
    def apply(self, h: Array) -> Array:
        """A h."""

    @abc.abstractmethod
    def compose(self, earlier: Any) -> Any:
        """The product A A_earlier."""

    @abc.abstractmethod
    def transpose(self) -> Any:
        """A transposed, not conjugated."""

    @abc.abstractmethod
    def identity(self) -> Any:
        """The identity of the same shape and dtype."""


class Diagonal(AbstractLinearMap):
    """A = diag(a) with a, h of shape (hidden,)."""

    a: Array
    rank: ClassVar[int] = 1

    def apply(self, h: Array) -> Array:
        return self.a * h

    def compose(self, earlier: "Diagonal") -> "Diagonal":
        return Diagonal(self.a * earlier.a)

    def transpose(self) -> "Diagonal":
        return self

    def identity(self) -> "Diagonal":
        return Diagonal(jnp.ones_like(self.a))


class Block2x2(AbstractLinearMap):
    """One 2x2 block for each unit: a of shape (2, 2, hidden), h of shape (2, hidden)."""

    a: Array
    rank: ClassVar[int] = 3

    def apply(self, h: Array) -> Array:
        return jnp.einsum("...ijp,...jp->...ip", self.a, h)

    def compose(self, earlier: "Block2x2") -> "Block2x2":
        return Block2x2(jnp.einsum("...ijp,...jkp->...ikp", self.a, earlier.a))

    def transpose(self) -> "Block2x2":
        return Block2x2(jnp.swapaxes(self.a, -3, -2))

    def identity(self) -> "Block2x2":
        eye = jnp.eye(2, dtype=self.a.dtype)[:, :, None]
        return Block2x2(jnp.broadcast_to(eye, self.a.shape))


class AffineMap(eqx.Module):
    """h -> A h + b, one element of the monoid that linear cells live in."""

    linear: AbstractLinearMap
    offset: Array

    def apply(self, h: Array) -> Array:
        return self.linear.apply(h) + self.offset

    def compose(self, earlier: "AffineMap") -> "AffineMap":
        """First `earlier`, then `self`."""
        return AffineMap(self.linear.compose(earlier.linear), self.apply(earlier.offset))

    def identity(self) -> "AffineMap":
        return AffineMap(self.linear.identity(), jnp.zeros_like(self.offset))


def varies(linear: AbstractLinearMap) -> bool:
    """Whether A has a time axis, or is one matrix for all steps."""
    return linear.a.ndim > linear.rank


def select(condition: Bool[Array, "*axes"], yes, no):
    """`where` over two trees; the condition is extended on the right to each leaf's rank."""

    def pick(y, n):
        rank = max(jnp.ndim(y), jnp.ndim(n))
        return jnp.where(condition.reshape(condition.shape + (1,) * (rank - condition.ndim)), y, n)

    return jax.tree.map(pick, yes, no)


def prefix_states(maps: AffineMap, barrier: Bool[Array, " time"] | None) -> Array:
    """All h_t of h_t = A_t h_{t-1} + b_t, h_0 = b_0, in log2(time) parallel passes.

    The odd-even reduction that `lax.associative_scan` runs, for the states alone: prefix
    products of A are never formed, and an A without a time axis stays one matrix on every
    level. Where `barrier` is True the step forgets what came before. That is a select:
    a product with zero would let a NaN from before the barrier through.
    """
    length = maps.offset.shape[0]
    if length == 1:
        return maps.offset
    earlier, later = _every_other(maps, 0, length - 1), _every_other(maps, 1, length)
    pairs = later.compose(earlier)
    if barrier is not None:
        before, after = barrier[0 : length - 1 : 2], barrier[1::2]
        pairs = AffineMap(pairs.linear, select(after, later.offset, pairs.offset))
        odd = prefix_states(pairs, before | after)
    else:
        odd = prefix_states(pairs, None)
    rest = _every_other(maps, 2, length)
    even = rest.apply(odd[: rest.offset.shape[0]])
    if barrier is not None:
        even = select(barrier[2::2], rest.offset, even)
    return _interleave(jnp.concatenate([maps.offset[:1], even]), odd)


def _every_other(maps: AffineMap, start: int, stop: int) -> AffineMap:
    linear = maps.linear
    if varies(linear):
        linear = jax.tree.map(lambda a: a[start:stop:2], linear)
    return AffineMap(linear, maps.offset[start:stop:2])


def _interleave(even: Array, odd: Array) -> Array:
    paired = jnp.stack([even[: odd.shape[0]], odd], axis=1)
    merged = paired.reshape((2 * odd.shape[0], *odd.shape[1:]))
    return jnp.concatenate([merged, even[odd.shape[0] :]])
