"""A sequence in chunks, as a map from the starts of the chunks to their ends."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._common.checks import Steps
from .._common.vectors import state_vector, with_vector
from ..base import replace
from .clocks import fixed_parts
from .line import Line


class Pass(NamedTuple):
    """All chunks, each from a start of its own.

    Over devices each has the starts and ends of all chunks, and the rest of its own ones.
    """

    starts: Array
    """(chunks, n)"""
    ends: Array
    """(chunks, n)"""
    final: Any
    """The state after the last chunk."""
    states: Any
    """After each step, (chunks, steps, ...)."""
    ys: Array

    def joints(self, units: Array) -> Array:
        """How far the end before a chunk is from its start, (chunks,); 0 for the first chunk."""
        apart = jnp.max(jnp.abs(self.ends[:-1] - self.starts[1:]) / units, axis=-1)
        return jnp.concatenate([jnp.zeros(1, apart.dtype), apart])

    def handed_on(self) -> Array:
        """The starts that these ends are."""
        return jnp.concatenate([self.starts[:1], self.ends[:-1]])


class Problem(eqx.Module):
    """The chunks of a sequence, in processing order."""

    cell: Any
    state: Any
    steps: Steps
    """(chunks, size, ...), behind the last step some that are masked; a scalar dt stays one."""
    fixed: Any
    """Of the state before each chunk, (chunks, ...), what is no part of its vector."""
    run: Callable = eqx.field(static=True)
    """(cell, state, steps) -> final state, states, outputs: the loop."""
    trace: Callable = eqx.field(static=True)
    """The same, with all states."""
    line: Line = eqx.field(static=True)
    """The devices that the chunks lie on; steps and fixed parts are this device's."""

    @property
    def first(self) -> Array:
        return state_vector(self.state)

    @property
    def chunks(self) -> int:
        """On all devices."""
        return self.steps.x.shape[0] * self.line.devices

    @property
    def axes(self) -> Steps:
        """Of the steps, those that chunks lie along."""
        scalar = self.steps.dt is not None and self.steps.dt.ndim == 0
        return jax.tree.map(lambda _: 0, self.steps)._replace(**({"dt": None} if scalar else {}))

    def one(self, start: Array, steps: Steps, fixed: Any) -> tuple[Any, Any, Array]:
        """A chunk from a start."""
        state = with_vector(self.state, start)
        state = jax.tree.map(lambda s, f: s if f is None else f, state, fixed, is_leaf=_none)
        return self.run(self.cell, state, steps)

    def lean(self) -> "Problem":
        """The same, of which nothing is kept but states before and after chunks."""

        def run(cell: Any, state: Any, steps: Steps) -> tuple[Any, Any, Array]:
            return self.run(cell, state, steps)[0], None, jnp.zeros(0)

        return replace(self, run=run)

    def single(self) -> "Problem":
        """The same in chunks of one step; for states that have no fixed parts."""
        scalar = self.axes.dt is None and self.steps.dt is not None
        cut = jax.tree.map(
            lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:]),
            self.steps._replace(dt=None) if scalar else self.steps,
        )
        return replace(self, steps=cut._replace(dt=self.steps.dt) if scalar else cut)

    def traced(self, starts: Array) -> Array:
        """The states after all steps of this device's chunks from these starts, (steps, n)."""
        states = replace(self, run=self.trace).here(starts).states
        return jax.vmap(jax.vmap(state_vector))(states).reshape(-1, starts.shape[-1])

    def all(self, starts: Array) -> Pass:
        """All chunks, from (chunks, n)."""
        found = self.here(self.line.own(starts))
        return found._replace(starts=starts, ends=self.line.together(found.ends))

    def here(self, starts: Array, at_once: int | None = None) -> Pass:
        """The chunks of this device, from their starts; some at once, or all."""
        finals, states, ys = self.each(self.one, starts, at_once)
        last = jax.tree.map(lambda leaf: leaf[-1], finals)
        return Pass(starts, jax.vmap(state_vector)(finals), last, states, ys)

    def each(self, function: Callable, starts: Array, at_once: int | None = None) -> Any:
        """`function(start, steps, fixed)` of each chunk of this device.

        With `at_once` so many side by side, one group after the other, of which a derivative keeps
        what they begin with.
        """
        if at_once is None:
            return jax.vmap(function, in_axes=(0, self.axes, 0))(starts, self.steps, self.fixed)
        scalar = None if self.axes.dt is not None else self.steps.dt

        @jax.checkpoint
        def chunk(at: tuple) -> Any:
            start, steps, fixed = at
            return function(start, steps if scalar is None else steps._replace(dt=scalar), fixed)

        steps = self.steps if scalar is None else self.steps._replace(dt=None)
        return lax.map(chunk, (starts, steps, self.fixed), batch_size=at_once)

    def ends(self, starts: Array) -> Array:
        """All chunks from several starts each, (chunks, starts, n) to the like."""

        def chunk(starts: Array, steps: Steps, fixed: Any) -> Array:
            return jax.vmap(lambda start: state_vector(self.one(start, steps, fixed)[0]))(starts)

        ends = jax.vmap(chunk, in_axes=(0, self.axes, 0))
        return self.line.together(ends(self.line.own(starts), self.steps, self.fixed))

    def chunk(self, i: Array) -> tuple[Steps, Any]:
        """The steps and the fixed parts of one chunk of this device."""
        pick = lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False)  # noqa: E731
        steps = jax.tree.map(pick, self.steps._replace(dt=None))
        if self.steps.dt is not None:
            steps = steps._replace(
                dt=self.steps.dt if self.axes.dt is None else pick(self.steps.dt)
            )
        return steps, jax.tree.map(pick, self.fixed)


def cut(
    cell: Any, state: Any, steps: Steps, size: int, loops: tuple[Callable, Callable], line: Line
) -> Problem:
    """A sequence in chunks of `size` steps, or this device's part of it.

    `loops`: what runs a chunk, and the same with all states.
    """
    length = steps.length
    count = math.ceil(length / size)
    fill = count * size - length
    if fill and steps.mask is None:
        steps = steps._replace(mask=jnp.ones(length, bool))
    fixed = fixed_parts(cell, state, steps, line)

    def chunked(leaf: Array) -> Array:
        if fill:
            # What is masked is not seen. Keys cannot be padded with zeros, and need not be.
            rest = leaf[np.full(fill, length - 1)]
            rest = jnp.zeros_like(rest) if leaf.dtype == bool else rest
            leaf = jnp.concatenate([leaf, rest])
        return leaf.reshape(count, size, *leaf.shape[1:])

    parts = jax.tree.map(chunked, steps._replace(dt=None))
    if steps.dt is not None:
        parts = parts._replace(dt=chunked(steps.dt) if steps.dt.ndim else steps.dt)
    before = jax.tree.map(lambda leaf: leaf[::size], fixed)
    return Problem(cell, state, parts, before, *loops, line)


def _none(leaf: Any) -> bool:
    return leaf is None
