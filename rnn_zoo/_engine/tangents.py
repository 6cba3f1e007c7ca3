"""The derivative of the sequential loop: what happens when everything moves a little.

A step is linear in the tangents of its state, of the values of its product sites, of its inputs and
of its constants. What a site's value gains from its matrices and inputs is one product for many
steps; what it gains from the state runs in a loop. Every operation here is one of jax, which
transposes it: then the loop runs backwards, and those products give the gradients of the matrices.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .chunks import chunks_first, division, in_chunks, states_before
from .mesh import beside, vary
from .plan import recall_step, smooth
from .program import total
from .unstable import is_zero, varying


class Derivative(NamedTuple):
    """What happens to the states and outputs when everything moves a little.

    A tangent that is zero, because nobody asks for that derivative, costs nothing.
    """

    run: Any  # the loop, `_loop.Run`
    at: Any  # its operands
    moved: Any  # their tangents

    def of_all(self, moving: list, after: list, kept: tuple[list, list]) -> tuple[list, list]:
        """Tangents of the last state and of all outputs, chunk after chunk.

        Takes the states after every step, and the values of sites and activations of the plan.
        """
        # What a chunk needs of the values is cheap to compute anew.
        chunk = jax.checkpoint(self.of_chunk, prevent_cse=False)
        inputs = after, kept, self.at.columns, self._column_tangents(self.moved)
        parts = division(self.run.length, math.prod(self.run.sizes))
        cut = {"division": parts, "reverse": self.run.reverse}
        first = [chunks_first(*pair, **cut) for pair in zip(self.at.state, after)]
        return in_chunks(chunk, moving, inputs, first, **cut)

    def of_chunk(self, moving: list, at: tuple, first: list) -> tuple[list, list]:
        """A few steps: what matrices and inputs do in one product each, then a loop."""
        after, (sums, activations), columns, moved_columns = at
        states = [states_before(*pair, reverse=self.run.reverse) for pair in zip(first, after)]
        known = self.run.plan.recalled(after, activations)
        seen, sums = self._seen(states, sums, columns, known)
        pushed = self._pushed(seen, states, sums, columns, moved_columns)

        def body(moving, per_step):
            return self._at_step(moving, *per_step)

        body = jax.checkpoint(body, prevent_cse=False)
        per_step = (states, sums, known, columns, moved_columns, pushed)
        return lax.scan(body, moving, per_step, reverse=self.run.reverse)

    def _column_tangents(self, moved) -> list:
        return take(moved.columns, _moving(self.moved.columns))

    def _at_step(
        self, moving, before, sums, known, columns, moved_columns, pushed
    ) -> tuple[list, list]:
        """Tangents after one step of all samples, and those of its outputs.

        The step is mapped over samples first and differentiated then, as `jax.grad` of `vmap` does:
        a rule for `vmap` may say what has no derivative.
        """
        program, size = self.run.program, len(before)
        of_constants, of_columns = _moving(self.moved.constants), _moving(self.moved.columns)
        of_state = [i for i, a in enumerate(before) if smooth(a)]
        of_sums = [i for i, t in enumerate(pushed) if t is not None]

        def at_step(matrices, constants, state, columns, sums, known):
            results, _ = recall_step(program, matrices, constants, state, columns, sums, known)
            parts = results[:size], results[size:]
            return tuple([r for r in part if smooth(r)] for part in parts)

        of_all = self.run.over_batch(
            at_step, lambda a: (a.originals, a.constants, 0, a.columns, 0, 0)
        )

        def step(constants, state, columns_, sums_):
            return of_all(
                self.at.originals,
                _put(self.at.constants, of_constants, constants),
                _put(before, of_state, state),
                _put(columns, of_columns, columns_),
                _put(sums, of_sums, sums_),
                known,
            )

        at = (
            take(self.at.constants, of_constants),
            take(before, of_state),
            take(columns, of_columns),
            take(sums, of_sums),
        )
        moved_constants = take(self.moved.constants, of_constants)
        tangents = (moved_constants, moving, moved_columns, take(pushed, of_sums))
        return jax.jvp(step, at, tangents)[1]

    def _seen(self, states, sums, columns, known) -> tuple[list, list]:
        """For all steps, the vectors that the sites multiply with, and the sites' values."""
        program, plan = self.run.program, self.run.plan

        def at_step(sites, constants, state, sums, known, columns):
            kept = dict(zip(plan.sites, sums, strict=True))
            seen, values = [], []

            def product(number, vectors):
                site = program.sites[number]
                seen.append(vectors)
                if number in kept:
                    values.append(kept[number])
                elif number in plan.unread:
                    zero = jnp.zeros(site.result.shape, site.result.dtype)
                    zero = vary(zero, varying(site.result.aval))
                    values.append(beside(zero, *state[:1]))
                else:
                    values.append(site.value(sites[number], vectors))
                return values[-1]

            def activation(op, operand):
                number = op.results[0].number
                return known[number] if number in known else op(operand)[0]

            program.run(constants, state, columns, product, activation)
            return seen, values

        of_all = self.run.over_batch(at_step, lambda a: (a.sites, a.constants, 0, 0, 0, a.columns))
        of_all = jax.vmap(of_all, in_axes=(None, None, 0, 0, 0, 0))
        return of_all(self.at.sites, self.at.constants, states, sums, known, columns)

    def _pushed(self, seen, before, sums, columns, moved_columns) -> list:
        """For each site and step, the part of its tangent that constants and inputs give."""
        if not sums:
            return []
        program = self.run.program
        of_constants, of_columns = _moving(self.moved.constants), _moving(self.moved.columns)
        moving = {program.needed[i].number for i in of_constants}
        moving |= {program.inputs[i].number for i in of_columns}
        follow = [
            [i for i, p in enumerate(site.products) if not p.in_loop and p.sources & moving]
            for site in program.sites
        ]

        def vectors_of(constants, before, sums, columns):
            seen = []

            def product(number, vectors):
                seen.append(vectors)
                return sums[number]

            program.run(constants, before, columns, product)
            return [take(*pair) for pair in zip(seen, follow)]

        tangents = [[] for _ in sums]
        if any(follow):
            of_all = self.run.over_batch(vectors_of, lambda a: (a.constants, 0, 0, a.columns))
            of_all = jax.vmap(of_all, in_axes=(None, 0, 0, 0))

            def following(constants, columns_):
                now = _put(self.at.constants, of_constants, constants)
                return of_all(now, before, sums, _put(columns, of_columns, columns_))

            at = take(self.at.constants, of_constants), take(columns, of_columns)
            moved = take(self.moved.constants, of_constants), moved_columns
            tangents = jax.jvp(following, at, moved)[1]
        return [self._push(i, seen[i], follow[i], tangents[i]) for i in range(len(sums))]

    def _push(self, number: int, vectors: list, follow: list, moved: list) -> Array | None:
        """d(W) v + W d(v) + d(b), for the vectors of all steps; None where it is zero."""
        site = self.run.program.sites[number]
        matrices, offset = jax.tree.map(
            lambda t: None if is_zero(t) else t, self.moved.sites[number], is_leaf=is_zero
        )
        if offset is None and not follow and all(m is None for m in matrices):
            return None

        def at_step(matrices, offset, originals, vectors, moved):
            terms = [site.products[i].row(m, v) for i, m, v in zip(follow, originals, moved)]
            if not site.merged:
                pairs = zip(site.products, matrices, vectors)
                terms += [p.row(m, v) for p, m, v in pairs if m is not None]
            elif matrices[0] is not None:
                terms.append(site.of_one(matrices, vectors))
            return total([*terms, offset])

        def axes(a) -> tuple:
            return (*a.sites[number], take(a.originals[number], follow), 0, 0)

        originals = take(self.at.originals[number], follow)
        of_all = jax.vmap(self.run.over_batch(at_step, axes), in_axes=(None, None, None, 0, 0))
        return of_all(matrices, offset, originals, vectors, moved)


def _moving(tangents: Sequence) -> list[int]:
    return [i for i, tangent in enumerate(tangents) if not is_zero(tangent)]


def take(values: Sequence, where: Sequence[int]) -> list:
    return [values[i] for i in where]


def _put(values: Sequence, where: Sequence[int], new: Sequence) -> list:
    changed = dict(zip(where, new, strict=True))
    return [changed.get(i, value) for i, value in enumerate(values)]
