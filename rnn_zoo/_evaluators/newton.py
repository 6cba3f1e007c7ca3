"""Jacobians of chunks, and the linear system over the joints that they make."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._common.vectors import state_vector
from .._engine.chunks import Way
from .._engine.recurrence import solve
from ..linear import Dense
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
    before = jnp.concatenate([jnp.zeros_like(matrices[:1]), matrices[:-1]])
    norms = jnp.max(jnp.sum(jnp.abs(before), axis=-1), axis=-1)
    growth = jnp.sum(jnp.log(jnp.maximum(norms, 1)))
    safe = lax.stop_gradient(growth < 0.5 * jnp.log(jnp.finfo(before.dtype).max))
    way = Way(offsets.shape[0])
    columns = offsets[:, None, :, None]

    def solved(matrices: Array, algorithm: str) -> Array:
        flags = {"mask": None, "barrier": None}
        return solve(Dense(matrices[:, None]), columns, way, algorithm=algorithm, **flags)

    # Under `vmap` both run: the first one on nothing that could overflow.
    within = jnp.where(safe, before, 0)
    found = lax.cond(safe, lambda: solved(within, "associative"), lambda: solved(before, "loop"))
    return found[:, 0, :, 0]


def accumulated(gains: Float[Array, " chunks"], joints: Float[Array, " chunks"]) -> Array:
    """The largest error of a start where each chunk takes one over with its gain, and each joint
    adds its own."""

    def both(earlier, later):
        return earlier[0] * later[0], earlier[1] * later[0] + later[1]

    before = jnp.concatenate([jnp.zeros_like(gains[:1]), gains[:-1]])
    return jnp.max(lax.associative_scan(both, (before, joints))[1])
