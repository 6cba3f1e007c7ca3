"""The algebra of linear steps: h -> A h + b for a few structures of A.

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
    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of `a` for one time step of a state of this shape."""

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


def _beside(a: Array, h: Array) -> Array:
    """One matrix beside the states of several steps: JAX may be told to spread no ranks itself."""
    return jnp.expand_dims(a, tuple(range(h.ndim - a.ndim))) if h.ndim > a.ndim else a


class Diagonal(AbstractLinearMap):
    """A = diag(a) with a, h of shape (hidden,)."""

    a: Array
    rank: ClassVar[int] = 1

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return state

    def apply(self, h: Array) -> Array:
        return _beside(self.a, h) * h

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

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *state)

    def apply(self, h: Array) -> Array:
        h = h[..., None, :, :]
        return (_beside(self.a, h) * h).sum(-2)

    def compose(self, earlier: "Block2x2") -> "Block2x2":
        # By entries: a sum over a product with axes of length 1, fused with the passes of
        # `lax.associative_scan`, reads beyond its arrays on jaxlib 0.10.2 (infinities, or worse).
        (a, b), (c, d) = self._entries()
        (e, f), (g, h) = earlier._entries()
        rows = [[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]]
        return Block2x2(jnp.stack([jnp.stack(row, -2) for row in rows], -3))

    def _entries(self) -> list[list[Array]]:
        return [[self.a[..., i, j, :] for j in range(2)] for i in range(2)]

    def transpose(self) -> "Block2x2":
        return Block2x2(jnp.swapaxes(self.a, -3, -2))

    def identity(self) -> "Block2x2":
        eye = jnp.eye(2, dtype=self.a.dtype)[:, :, None]
        return Block2x2(jnp.broadcast_to(eye, self.a.shape))


class Dense(AbstractLinearMap):
    """One matrix for each head: a of shape (heads, key, key), h of shape (heads, key, value).

    The oracle for cells whose own structure does not close under products, and what passes between
    devices that share one sequence: a product costs key^3 for each head.
    """

    a: Array
    rank: ClassVar[int] = 3

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (*state[:-1], state[-2])

    def apply(self, h: Array) -> Array:
        return jnp.matmul(_beside(self.a, h), h, precision="highest")

    def compose(self, earlier: "Dense") -> "Dense":
        return Dense(jnp.matmul(self.a, earlier.a, precision="highest"))

    def transpose(self) -> "Dense":
        return Dense(jnp.swapaxes(self.a, -2, -1))

    def identity(self) -> "Dense":
        eye = jnp.eye(self.a.shape[-1], dtype=self.a.dtype)
        return Dense(jnp.broadcast_to(eye, self.a.shape))


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


def __dir__() -> list[str]:
    """What stands here, without what is imported."""
    here = [name for name in globals() if not name.startswith("_")]
    return sorted(name for name in here if getattr(globals()[name], "__module__", "") == __name__)
