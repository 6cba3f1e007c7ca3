"""What a network remembers: ends of chunks that have become one, and the maps between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .common import repeated


# In units of each number of a state: closer ends are one branch; seeds are further apart.
MERGED = 0.01
APART = 0.02


class Seeds(NamedTuple):
    """States that chunks are run from, in a table that has room for more."""

    points: Float[Array, "room n"]
    count: Int[Array, ""]

    def add(self, pool: Float[Array, "points n"], valid: Bool[Array, " points"], most: int, units):
        """With the points of a pool that are the furthest from all, one after the other.

        A point that is not finite is none. At most `most` of them, while there is one that is
        further than `APART` units from all seeds, and room.
        """
        valid = valid & jnp.isfinite(pool).all(-1)
        pool = jnp.where(valid[:, None], pool, 0)

        def to(seed: Array) -> Array:
            return jnp.max(jnp.abs(pool - seed) / units, axis=-1)

        def nearer(i, distance):
            return jnp.where(i < self.count, jnp.minimum(distance, to(self.points[i])), distance)

        far = jnp.where(valid, jnp.inf, -jnp.inf).astype(pool.dtype)
        distance = repeated(0, self.points.shape[0], nearer, far, self)

        def pick(_, at):
            points, count, distance = at
            best = jnp.argmax(distance)
            new = (distance[best] > APART) & (count < points.shape[0])
            point = jnp.where(new, pool[best], points[jnp.minimum(count, points.shape[0] - 1)])
            points = points.at[jnp.minimum(count, points.shape[0] - 1)].set(point)
            distance = jnp.where(new, jnp.minimum(distance, to(pool[best])), distance)
            return points, count + new, distance

        points, count, _ = repeated(0, most, pick, (self.points, self.count, distance), pool, units)
        return Seeds(points, count)


def merge(
    ends: Float[Array, "seeds n"], valid: Bool[Array, " seeds"], most: int, units: Array
) -> tuple[Float[Array, "branches n"], Int[Array, ""]]:
    """The branches that these ends are, and how many; `most + 1` where there are more.

    Places that no branch has hold the first one.
    """

    def away(points: Array, point: Array) -> Array:
        return jnp.max(jnp.abs(points - point) / units, axis=-1)

    first = ends[0]
    distance = jnp.where(valid, away(ends, first), -1)
    # An end that is not finite is no branch of any: there is one more than can be told apart.
    distance = jnp.where(valid & ~jnp.isfinite(distance), jnp.inf, distance)
    found = jnp.broadcast_to(first, (most, *first.shape))

    def pick(i, at):
        found, count, distance = at
        best = jnp.argmax(distance)
        new = distance[best] > MERGED
        found = found.at[i].set(jnp.where(new, ends[best], first))
        distance = jnp.where(new, jnp.minimum(distance, away(ends, ends[best])), distance)
        return found, count + new, distance

    found, count, distance = repeated(1, most, pick, (found, jnp.int32(1), distance), ends, units)
    return found, count + (jnp.max(distance) > MERGED)


def follow(
    starts: Float[Array, "chunks branches n"], ends: Float[Array, "chunks branches n"], units: Array
) -> Int[Array, " chunks"]:
    """The branch that each chunk is on, (chunks,): the first chunk is on its first one.

    The end of a branch of a chunk goes on from the start of the next chunk that is nearest; the
    maps between branches compose.
    """
    apart = jnp.max(jnp.abs(ends[:-1, :, None] - starts[1:, None]) / units, axis=-1)
    maps = jnp.argmin(apart, axis=-1)
    whole = lax.associative_scan(lambda a, b: jnp.take_along_axis(b, a, axis=-1), maps)
    return jnp.concatenate([jnp.zeros(1, whole.dtype), whole[:, 0]])


def pick(points: Float[Array, "chunks branches n"], branch: Int[Array, " chunks"]) -> Array:
    """(chunks, n): of each chunk the branch that it is on."""
    return jax.vmap(lambda rows, i: rows[i])(points, branch)
