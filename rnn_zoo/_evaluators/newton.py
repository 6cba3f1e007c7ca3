"""Jacobians of chunks, and the linear system over the joints that they make."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._common.vectors import state_vector
from .._engine.chunks import Way
from .._engine.recurrence import solve
from ..linear import Dense
from .common import when
from .problem import Problem


def jacobians(problem: Problem, starts: Float[Array, "chunks n"]) -> Float[Array, "chunks n n"]:
    """What each chunk does to a small change of its start: n tangents beside its steps."""

    def end(start, steps, fixed):
        return state_vector(problem.one(start, steps, fixed)[0])

    found = jax.vmap(jax.jacfwd(end), in_axes=(0, problem.axes, 0))
    return found(starts, problem.steps, problem.fixed)


def corrections(
    matrices: Float[Array, "chunks n n"], offsets: Float[Array, "chunks n"]
) -> Float[Array, "chunks n"]:
    """d of d_0 = offset_0, d_i = J_{i-1} d_{i-1} + offset_i.

    In log2(chunks) rounds; one after the other where products of the matrices could overflow, which
    would make a NaN of what does not depend on them.
    """
    inner, none = matrices[:-1], jnp.zeros_like(matrices[:1])

    def apart(d: Array) -> Array:
        moved = jnp.einsum("cij,cj->ci", inner, d[:-1])
        return d - jnp.concatenate([jnp.zeros_like(d[:1]), moved])

    def forwards(_: Any, offsets: Array) -> Array:
        return _solved(jnp.concatenate([none, inner]), offsets, Way(len(offsets)))

    def backwards(_: Any, offsets: Array) -> Array:
        after = jnp.concatenate([jnp.swapaxes(inner, 1, 2), none])
        return _solved(after, offsets, Way(len(offsets), True))

    # What it solves is differentiated, and not how: that may choose as it likes.
    return lax.custom_linear_solve(apart, offsets, forwards, backwards)


def _solved(matrices: Array, offsets: Array, way: Way) -> Array:
    norms = jnp.max(jnp.sum(jnp.abs(matrices), axis=-1), axis=-1)
    growth = jnp.sum(jnp.log(jnp.maximum(norms, 1)))
    safe = growth < 0.5 * jnp.log(jnp.finfo(matrices.dtype).max)

    def states(matrices: Array, algorithm: str) -> Array:
        linear, columns = Dense(matrices[:, None]), offsets[:, None, :, None]
        flags = {"mask": None, "barrier": None}
        return solve(linear, columns, way, algorithm=algorithm, **flags)[:, 0, :, 0]

    found = states(jnp.where(safe, matrices, 0), "associative")
    return when(~safe, lambda _: states(matrices, "loop"), found, matrices, offsets)


def accumulated(gains: Float[Array, " chunks"], joints: Float[Array, " chunks"]) -> Array:
    """The largest error of a start where each chunk takes one over with its gain, and each joint
    adds its own."""

    def both(earlier, later):
        return earlier[0] * later[0], earlier[1] * later[0] + later[1]

    before = jnp.concatenate([jnp.zeros_like(gains[:1]), gains[:-1]])
    return jnp.max(lax.associative_scan(both, (before, joints))[1])
