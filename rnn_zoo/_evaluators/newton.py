"""Jacobians of chunks, and the linear system over the joints that they make."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._common.vectors import state_vector
from .._engine import across_devices as across
from .._engine.chunks import Way
from .._engine.recurrence import solve
from ..base import replace
from ..linear import Dense
from .common import repeated, when
from .line import Line
from .problem import Problem


def jacobians(
    problem: Problem, starts: Float[Array, "chunks n"], at_once: int | None = None
) -> Float[Array, "chunks n n"]:
    """What each chunk does to a small change of its start: n tangents beside its steps."""

    def end(start, steps, fixed):
        return state_vector(problem.one(start, steps, fixed)[0])

    return problem.each(jax.jacfwd(end), starts, at_once)


def corrections(
    matrices: Float[Array, "chunks n n"], offsets: Float[Array, "chunks n"], line: Line
) -> Float[Array, "chunks n"]:
    """d of d_0 = offset_0, d_i = J_{i-1} d_{i-1} + offset_i, over the chunks of all devices.

    In log2(chunks) rounds; one after the other where products of the matrices could overflow, which
    would make a NaN of what does not depend on them.
    """
    none = jnp.zeros_like(matrices[0])
    # J of the chunk before each.
    inner = line.handed_on(matrices, none)

    def apart(d: Array) -> Array:
        before = line.handed_on(d, jnp.zeros_like(d[0]))
        return d - jnp.einsum("cij,cj->ci", inner, before)

    def forwards(_: Any, offsets: Array) -> Array:
        return _solved(inner, offsets, line, False)

    def backwards(_: Any, offsets: Array) -> Array:
        after = jnp.swapaxes(line.ahead(inner, none), 1, 2)
        return _solved(after, offsets, line, True)

    # What it solves is differentiated, and not how: that may choose as it likes.
    return lax.custom_linear_solve(apart, offsets, forwards, backwards)


def _solved(matrices: Array, offsets: Array, line: Line, reverse: bool) -> Array:
    norms = jnp.max(jnp.sum(jnp.abs(matrices), axis=-1), axis=-1)
    growth = jnp.sum(line.together(jnp.log(jnp.maximum(norms, 1))))
    safe = growth < 0.5 * jnp.log(jnp.finfo(matrices.dtype).max)

    def states(matrices: Array, offsets: Array, algorithm: str, line: Line) -> Array:
        linear, columns = Dense(matrices[:, None]), offsets[:, None, :, None]
        return over_line(linear, columns, line, reverse, algorithm)[:, 0, :, 0]

    def device_by_device(_: Array) -> Array:
        edge, last = (-1, 0) if reverse else (0, -1)

        def turn(_: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            entering, _ = at
            d = offsets.at[edge].add(matrices[edge] @ entering)
            d = states(matrices, d, "loop", Line())
            if line.axis is None:
                return entering, d
            return across.handed_on(d[last], line.axis, line.reverse != reverse), d

        start = jnp.zeros_like(offsets[0]), offsets
        return repeated(0, line.devices, turn, start, matrices, offsets)[1]

    found = states(jnp.where(safe, matrices, 0), offsets, "associative", line)
    return when(~safe, device_by_device, found, matrices, offsets)


def over_line(linear: Any, offsets: Array, line: Line, reverse: bool, algorithm: str) -> Array:
    """`solve` of entries in processing order, over all devices.

    The engine takes those of a device as they lie there, so where the devices stand the other way
    round, so do the entries.
    """
    turned = slice(None, None, -1 if line.reverse else 1)
    way = Way(len(offsets), reverse != line.reverse, mesh_axis=line.axis)
    linear = replace(linear, a=linear.a[turned])
    flags = {"mask": None, "barrier": None}
    return solve(linear, offsets[turned], way, algorithm=algorithm, **flags)[turned]


def accumulated(gains: Float[Array, " chunks"], joints: Float[Array, " chunks"]) -> Array:
    """The largest error of a start where each chunk takes one over with its gain, and each joint
    adds its own."""

    def both(earlier, later):
        return earlier[0] * later[0], earlier[1] * later[0] + later[1]

    before = jnp.concatenate([jnp.zeros_like(gains[:1]), gains[:-1]])
    return jnp.max(lax.associative_scan(both, (before, joints))[1])
