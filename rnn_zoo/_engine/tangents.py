"""The derivative of the sequential loop: what happens when everything moves a little.

At every product site a step computes

    s = W_1 v_1 + W_2 v_2 + ... + b

with the same W_i and b at each step. When all of it moves,

    ds = dW_1 v_1 + dW_2 v_2 + ... + db      the matrices: one product for all steps of a chunk
       + W_1 dv_1                            v_1 made of the input: one product for all steps too
       + W_2 dv_2                            v_2 made of the state: known step by step, in a loop

The first two lines are *pushed* before the loop begins; the loop then adds the third, and carries
the tangents of the state from step to step. All other operations of a step differentiate inside of
the loop as JAX does it.

Everything here is linear in the tangents, and made of operations that JAX transposes. Transposed,
the loop runs from the last step to the first; it hands on the cotangents ds_t of all steps of a
chunk, and the pushed products become dW_1 = sum_t ds_t v_1t^T: the gradient of a matrix as one
matrix product a chunk, where autodiff of a scan adds one outer product a step.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .chunks import before_chunk, division, in_chunks, states_before
from .mesh import beside, vary
from .plan import Plan
from .program import Site, total
from .recall import Values, push, recall_step, smooth_alone
from .run import Kept, Operands, Run
from .unstable import varying


class Steps(NamedTuple):
    """What a derivative reads of some steps, with an entry of each for every step."""

    kept: Kept
    inputs: list
    moved: list  # the tangents of the inputs


class AtStep(NamedTuple):
    """What a derivative reads of one step; of many, with an axis of time in front."""

    values: Values
    moved: list  # the tangents of the inputs
    pushed: list  # the tangents of the sites' sums, without what the state does to them


class Vectors(NamedTuple):
    """What a site multiplies with at all steps of a chunk."""

    values: list
    moving: list[int]  # the products whose vector moves, and that not with the state
    tangents: list  # of those


class Derivative(NamedTuple):
    """How the states and outputs of a run move with its operands.

    A tangent of None is zero, because nobody asks for that derivative, and costs nothing.
    """

    run: Run
    plan: Plan
    at: Operands
    moved: Operands  # the tangents

    def of_all(self, moving: list, kept: Kept) -> tuple[list, list]:
        """Tangents of the last state and of all outputs, chunk after chunk; `moving` are those of
        the first state."""
        steps = Steps(kept, self.at.columns, self.moved.columns)
        parts = division(self.run.length, math.prod(self.run.sizes))
        cut = {"division": parts, "reverse": self.run.reverse}
        number, _, rest = parts

        def of_chunk(moving: list, steps: Steps, chunk: Array) -> tuple[list, list]:
            states = zip(self.at.state, kept.states)
            return self.of_chunk(moving, steps, [before_chunk(*s, chunk, **cut) for s in states])

        # What a chunk needs of the values is cheap to compute anew.
        again = jax.checkpoint(of_chunk, prevent_cse=False)
        return in_chunks(again, moving, steps, jnp.arange(number + bool(rest)), **cut)

    def of_chunk(self, moving: list, steps: Steps, first: list) -> tuple[list, list]:
        """A few steps: what matrices and inputs do in one product each, then a loop.

        `first` is the state before the first of them.
        """
        after, sums, activations = steps.kept
        before = [states_before(*pair, reverse=self.run.reverse) for pair in zip(first, after)]
        known = self.plan.recalled(after, activations)
        values = Values(before, sums, known, steps.inputs)
        vectors, sums = self._values(values)
        values = values._replace(sums=sums)
        pushed = self._pushed(vectors, values, steps.moved)
        body = jax.checkpoint(self._at_step, prevent_cse=False)
        all_steps = AtStep(values, steps.moved, pushed)
        return lax.scan(body, moving, all_steps, reverse=self.run.reverse)

    def _at_step(self, moving: list, at: AtStep) -> tuple[list, list]:
        """Tangents after one step of all samples, and those of its outputs.

        The step is mapped over samples first and differentiated then, as `jax.grad` of `vmap` does:
        a rule for `vmap` may say what has no derivative.
        """
        program, size = self.run.program, len(at.values.state)

        def recalled(matrices, constants, values):
            results, _ = recall_step(program, matrices, constants, values)
            return smooth_alone(results[:size]), smooth_alone(results[size:])

        of_all = self.run.over_batch(recalled, lambda a: (a.matrices, a.constants, _axes(a)))
        values = self.at.constants, at.values
        known = dict.fromkeys(at.values.known)
        moved = self.moved.constants, Values(moving, at.pushed, known, at.moved)
        return push(lambda now: of_all(self.at.matrices, *now), values, moved)[1]

    def _values(self, values: Values) -> tuple[list, list]:
        """For all steps, the vectors that the sites multiply with, and the sums of all sites.

        `values` has the sums of the plan's sites alone. The others are computed anew; those that
        the derivative does not read are zeros, in their place.
        """
        program, plan = self.run.program, self.plan

        def at_step(sites, constants, values):
            known = values.known
            kept = dict(zip(plan.sites, values.sums, strict=True))
            seen, sums = [], []

            def product(number, vectors):
                site = program.sites[number]
                seen.append(vectors)
                if number in kept:
                    sums.append(kept[number])
                elif number in plan.unread:
                    sums.append(beside(_zeros(site), *values.state[:1]))
                else:
                    sums.append(site.value(*sites[number], vectors))
                return sums[-1]

            def activation(op, operand):
                number = op.results[0].number
                return known[number] if number in known else op(operand)[0]

            program.run(constants, values.state, values.inputs, product, activation)
            return seen, sums

        run = self.run
        of_all = run.over_batch(at_step, lambda a: (run.axes_laid_out(a), a.constants, _axes(a)))
        of_all = jax.vmap(of_all, in_axes=(None, None, 0))
        return of_all(run.laid_out(self.at), self.at.constants, values)

    def _pushed(self, vectors: list, values: Values, moved_inputs: list) -> list:
        """For each site and step, the part of its tangent that constants and inputs give."""
        if not vectors:
            return []
        sites = self.run.program.sites
        moving = self._moving_vectors()
        tangents = [[] for _ in sites]
        if any(moving):
            tangents = self._vector_tangents(moving, values, moved_inputs)
        return [self._push(i, Vectors(*v)) for i, v in enumerate(zip(vectors, moving, tangents))]

    def _moving_vectors(self) -> list[list[int]]:
        """For each site, the products whose vector moves with constants and inputs alone."""
        program = self.run.program
        of_constants = zip(program.needed, self.moved.constants)
        of_inputs = zip(program.inputs, self.moved.columns)
        moving = {ref.number for ref, t in (*of_constants, *of_inputs) if t is not None}
        return [
            [i for i, p in enumerate(site.products) if not p.in_loop and p.sources & moving]
            for site in program.sites
        ]

    def _vector_tangents(self, moving: list, values: Values, moved_inputs: list) -> list:
        """The tangents of these vectors, for all steps; states and sums stand still."""

        def vectors_at_step(constants, values):
            seen = []

            def product(number, vectors):
                seen.append([vectors[i] for i in moving[number]])
                return values.sums[number]

            self.run.program.run(constants, values.state, values.inputs, product)
            return seen

        of_all = self.run.over_batch(vectors_at_step, lambda a: (a.constants, _axes(a)))
        of_all = jax.vmap(of_all, in_axes=(None, 0))
        still = jax.tree.map(lambda _: None, values)
        moved = self.moved.constants, still._replace(inputs=moved_inputs)
        return push(lambda now: of_all(*now), (self.at.constants, values), moved)[1]

    def _push(self, number: int, vectors: Vectors) -> Array | None:
        """d(W) v + W d(v) + d(b), for the vectors of all steps; None where it is zero."""
        site = self.run.program.sites[number]
        matrices, offset = self.moved.matrices[number], self.moved.offsets[number]
        if offset is None and not vectors.moving and all(m is None for m in matrices):
            return None

        def at_step(matrices, offset, constant, values, tangents):
            factors = zip(vectors.moving, constant, tangents)
            terms = [site.products[i].row(m, v) for i, m, v in factors]
            factors = zip(site.products, matrices, values)
            terms += [p.row(m, v) for p, m, v in factors if m is not None]
            return total([*terms, offset])

        def own(a: Operands) -> list:
            return [a.matrices[number][i] for i in vectors.moving]

        of_all = self.run.over_batch(
            at_step, lambda a: (a.matrices[number], a.offsets[number], own(a), 0, 0)
        )
        of_all = jax.vmap(of_all, in_axes=(None, None, None, 0, 0))
        return of_all(matrices, offset, own(self.at), vectors.values, vectors.tangents)


def _axes(a: Operands) -> Values:
    """The axes of samples in what changes from step to step."""
    return Values(0, 0, 0, a.columns)  # type: ignore[arg-type]


def _zeros(site: Site) -> Any:
    zeros = jnp.zeros(site.result.shape, site.result.dtype)
    return vary(zeros, varying(site.result.aval))
