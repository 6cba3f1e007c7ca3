"""The algebra of linear steps: h -> A h + b for a few structures of A.

A new structure (scaled identity plus outer product, Householder products) is one subclass
of `AbstractLinearMap`; what is affine is written once, in `AffineMap`.
"""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool


HIGHEST = lax.Precision.HIGHEST
# exp of it is far from the end of float32, where -m can be anything.
LARGEST = 80.0


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


class AbstractWhole(AbstractLinearMap):
    """A matrix with all its entries; a product costs n^3."""

    def compose(self, earlier: Any) -> Any:
        kind: Any = type(self)
        return kind(jnp.matmul(self.a, earlier.a, precision=HIGHEST))

    def identity(self) -> Any:
        kind: Any = type(self)
        return kind(jnp.broadcast_to(jnp.eye(self.a.shape[-1], dtype=self.a.dtype), self.a.shape))


class Dense(AbstractWhole):
    """One matrix for each head: a of shape (heads, key, key), h of shape (heads, key, value).

    The oracle for cells whose structure does not close under products, and what devices hand on.
    """

    a: Array
    rank: ClassVar[int] = 3

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (*state[:-1], state[-2])

    def apply(self, h: Array) -> Array:
        return jnp.matmul(_beside(self.a, h), h, precision=HIGHEST)

    def transpose(self) -> "Dense":
        return Dense(jnp.swapaxes(self.a, -2, -1))


class SharedDense(AbstractWhole):
    """One matrix for all channels: a of shape (order, order), h of shape (channels, order).

    It does not depend on x, so over a sequence it is one matrix, and only its powers are formed.
    """

    a: Array
    rank: ClassVar[int] = 2

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (state[-1], state[-1])

    def apply(self, h: Array) -> Array:
        return jnp.matmul(h, jnp.swapaxes(_beside(self.a, h), -2, -1), precision=HIGHEST)

    def transpose(self) -> "SharedDense":
        return SharedDense(jnp.swapaxes(self.a, -2, -1))


class AbstractOneHot(AbstractWhole):
    """A matrix, (n, n), for h of shape (n,), with one entry a column or a row that is not 0, as its
    products have. The zeros are kept for a derivative, which may be in them."""

    rank: ClassVar[int] = 2

    def shape_for(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return (*state, *state)

    def apply(self, h: Array) -> Array:
        return (_beside(self.a, h[..., None]) * h[..., None, :]).sum(-1)


class OneHotColumns(AbstractOneHot):
    """One entry in each column: what is in a unit goes to one unit."""

    a: Array

    def transpose(self) -> "OneHotRows":
        return OneHotRows(jnp.swapaxes(self.a, -2, -1))


class OneHotRows(AbstractOneHot):
    """One entry in each row: a unit gets what is in one unit."""

    a: Array

    def transpose(self) -> "OneHotColumns":
        return OneHotColumns(jnp.swapaxes(self.a, -2, -1))


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


# --- matrix states --------------------------------------------------------------------------------


class Parts(NamedTuple):
    """What one step does to a matrix state, (heads, key, value); time may be an axis in front.

    It keeps, erases and writes: S' = diag(u exp(g)) S + b (a^T S) + k v^T, and reads S'^T conj(q),
    with g the logarithm of the decay and u a turn of modulus 1. Linear attention, state-space
    duality, gated linear attention and the delta rules are its cases.

    - `q`: (heads, key), what is read; `k`: (heads, key) and `v`: (heads, value), what is written.
    - `log_decay`: (heads, key), or (heads, 1) for one decay a head, at most 0; None: nothing fades.
    - `angle`: (heads, key), the state turns by so many radians; the state is complex then, and the
      real part is read.
    - `negative`: (heads, 1) bool, where the factor is negative.
    - `a`: (heads, key), what is read *before* the step, decay included; None: nothing.
    - `b`: (heads, key), where that is written; None beside `a` is the delta rule, b = -k.

    A step of several smaller ones has an axis for them in front of all but q, and they come in that
    order; q reads after the last.
    """

    q: Array
    k: Array
    v: Array
    log_decay: Array | None = None
    angle: Array | None = None
    negative: Array | None = None
    a: Array | None = None
    b: Array | None = None

    def smaller(self) -> "list[Parts]":
        """The steps that this one is made of, without an axis for them."""
        if self.k.ndim == 2:
            return [self]
        each: list[Any] = [None if p is None else list(p) for p in self[1:]]
        return [Parts(self.q, *(p and p[i] for p in each)) for i in range(len(self.k))]

    def wrong_for(self, state: Any) -> str:
        """What does not fit this state, in words; "" where all does."""
        if len(getattr(state, "shape", ())) != 3:
            return "a state of one array, (heads, key, value)"
        heads, key, value = state.shape
        steps = self.k.shape[:-2]
        shapes = {"q": [(heads, key)], "k": [(*steps, heads, key)], "v": [(*steps, heads, value)]}
        shapes |= dict.fromkeys(("angle", "a", "b"), shapes["k"])
        shapes["negative"] = [(*steps, heads, 1)]
        shapes["log_decay"] = shapes["k"] + shapes["negative"]
        for name, given in self._asdict().items():
            if given is not None and given.shape not in shapes[name]:
                expected = " or ".join(map(str, shapes[name]))
                return f"{name} of shape {expected}, got {given.shape}"
        return "a beside b" if self.b is not None and self.a is None else ""

    def factor(self) -> Array | None:
        """u exp(g): what each row of the state is multiplied by; None for 1."""
        factor = None if self.log_decay is None else jnp.exp(self.log_decay)
        if self.angle is not None:
            turn = lax.complex(jnp.cos(self.angle), jnp.sin(self.angle))
            factor = turn if factor is None else factor.astype(turn.dtype) * turn
        if self.negative is not None:
            sign = jnp.where(self.negative, -1, 1).astype(self.k.dtype)
            factor = sign if factor is None else factor * sign.astype(factor.dtype)
        return factor

    def erased(self) -> Array:
        """b, where `a` is given."""
        return -self.k if self.b is None else self.b

    def apply(self, state: Array) -> Array:
        """The state after the step."""
        for one in self.smaller():
            state = _kept(one, state) + _outer(one.k, one.v)
        return state

    def read(self, state: Array) -> Array:
        """(heads, value): what q reads."""
        q, state = alike(jnp.conj(self.q), state)
        return jnp.real(jnp.einsum("...hk,...hkv->...hv", q, state, precision=HIGHEST))

    def dense(self) -> AffineMap:
        """The same step as one matrix for each head."""
        whole = None
        for one in self.smaller():
            eye = jnp.broadcast_to(
                jnp.eye(one.k.shape[-1], dtype=_dtype(one)), (*one.k.shape, one.k.shape[-1])
            )
            step = AffineMap(Dense(_kept(one, eye)), _outer(one.k, one.v))
            whole = step if whole is None else step.compose(whole)
        assert whole is not None
        return whole


class Scaled(NamedTuple):
    """What a step with an exponential gate does, for all heads; an axis of time may stand in front.

    - `q`: (heads, key), what is read; `k`: (heads, key) and `v`: (heads, value), what is written.
    - `log_decay`: (heads,), at most 0, and `log_write`: (heads,), any number: logarithms of what
      the state and what is written are multiplied by.

    The state is a NamedTuple of matrices C, (heads, key, value), normalisers n, (heads, key), and
    m, (heads,), whose exponential both are divided by.
    """

    q: Array
    k: Array
    v: Array
    log_decay: Array
    log_write: Array

    def wrong_for(self, state: Any) -> str:
        """What does not fit a state of these shapes, in words; "" where all does."""
        if getattr(state, "_fields", ()) != ("C", "n", "m") or state.C.ndim != 3:
            return "a state (C, n, m) with C of shape (heads, key, value)"
        heads, key, value = state.C.shape
        shapes = [(heads, key), (heads, key), (heads, value), (heads,), (heads,)]
        for name, given, shape in zip(self._fields, self, shapes):
            if given.shape != shape:
                return f"{name} of shape {shape}, got {given.shape}"
        return ""

    def apply(self, state: Any) -> Any:
        """The state after the step, as it was divided by the exponential of the new m."""
        kept = self.log_decay + state.m
        m = jnp.maximum(kept, self.log_write)
        keep, write = jnp.exp(kept - m)[..., None], jnp.exp(self.log_write - m)[..., None]
        C = keep[..., None] * state.C + _outer(write * self.k, self.v)
        return state._replace(C=C, n=keep * state.n + write * self.k, m=m)

    def read(self, state: Any) -> Array:
        """(heads, value): what q reads of C, over what it reads of n or over e^-m if that is
        more."""
        read = jnp.einsum("...hk,...hkv->...hv", self.q, state.C, precision=HIGHEST)
        return normalised(read, jnp.sum(self.q * state.n, -1), state.m)


def normalised(read: Array, weight: Array, m: Array) -> Array:
    """What is read, over what all of it weighs or over e^-m if that is more; |m| counts up to 80.

    Two quotients, of which one is chosen: the derivative of 1 / e^-m would be past float32 where m
    is large and nothing is read.
    """
    weight, scale = jnp.abs(weight)[..., None], jnp.exp(jnp.clip(m, -LARGEST, LARGEST))[..., None]
    light = weight * scale < 1  # NaN is not, and stays
    return jnp.where(light, read * scale, read / jnp.where(light, 1, weight))


def _kept(one: Parts, state: Array) -> Array:
    factor = one.factor()
    kept = state if factor is None else factor[..., None] * state
    if one.a is None:
        return kept
    seen = jnp.einsum("...hk,...hkv->...hv", one.a, state, precision=HIGHEST)
    return kept + _outer(one.erased(), seen)


def _outer(k: Array, v: Array) -> Array:
    k, v = alike(k, v)
    return k[..., :, None] * v[..., None, :]


def alike(*arrays: Array) -> tuple[Array, ...]:
    """All complex where one of them is, for products of real and complex arrays."""
    if not any(jnp.iscomplexobj(array) for array in arrays):
        return arrays
    dtype = np.result_type(*(array.dtype for array in arrays))
    return tuple(array.astype(dtype) for array in arrays)


def _dtype(parts: Parts) -> Any:
    factor = jax.eval_shape(parts.factor)
    return parts.k.dtype if factor is None else jnp.result_type(parts.k, factor)


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
