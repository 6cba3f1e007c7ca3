"""What a derivative of the sequential loop keeps of a step, and what it recalls.

The states are kept. Of the rest of a step, what takes less memory: the values of product sites, or
those of tanh and logistic, whose derivative follows from their value and needs no operand. What the
way back does not read is not kept, and short products that do not depend on the state are computed
anew.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax

from .backends import tuned
from .known import is_known
from .program import Op, Program, Ref, Value
from .recall import Values, push, recall_step, smooth, smooth_alone
from .unstable import Literal


class Plan(NamedTuple):
    """Numbers of sites, and of activations by the number of their result."""

    sites: tuple[int, ...]  # kept
    unread: frozenset[int]  # sites whose values the way back does not read
    activations: tuple[int, ...]  # kept
    states: dict[int, int]  # activations that are a state after the step, which is kept anyway

    def numbers(self, program: Program) -> int:
        """How many numbers are kept."""
        kept = [op.results[0] for op in program.activations]
        shapes = [ref.shape for ref in kept if ref.number in self.activations]
        shapes += [program.sites[i].result.shape for i in self.sites]
        return sum(map(math.prod, shapes))

    def recalled(self, after: Sequence, kept: Sequence) -> dict[int, Value]:
        """Values of activations by number."""
        values = dict(zip(self.activations, kept, strict=True))
        return values | {number: after[state] for number, state in self.states.items()}


def make_plan(program: Program) -> Plan | None:
    """The plan that keeps least; None where a derivative is not made of known operations."""
    plans = [_plan(program, program.activations), _plan(program, [])]
    found = [plan for plan in plans if plan is not None]
    return min(found, key=lambda plan: plan.numbers(program), default=None)


def _plan(program: Program, activations: Sequence[Op]) -> Plan | None:
    """The plan that recalls these activations."""
    recalled = [op.results[0] for op in activations]
    read = _read(program, recalled)
    if read is None:
        return None
    unread = frozenset(range(len(program.sites))) - read
    in_state = {ref.number: program.state_number(ref) for ref in recalled}
    states = {number: state for number, state in in_state.items() if state is not None}

    def cheap(number: int) -> bool:
        products = program.sites[number].products
        size = sum(math.prod(p.vector.shape) for p in products)
        return size <= tuned("vector") and not any(p.in_loop for p in products)

    sites = tuple(i for i in sorted(read) if not cheap(i))
    return Plan(sites, unread, tuple(n for n in in_state if n not in states), states)


def _read(program: Program, recalled: list[Ref]) -> frozenset[int] | None:
    """The sites whose values the derivative of a step reads, with these activations recalled.

    None where the derivative does what the loop does not know: a rule that somebody wrote may.
    """

    def structs(refs: Iterable[Ref]) -> list:
        return [ref.aval for ref in refs]

    known = dict(zip((ref.number for ref in recalled), structs(recalled)))
    sums = structs(site.result for site in program.sites)
    matrices = [structs(p.matrix for p in site.products) for site in program.sites]
    constants, state, inputs = map(structs, (program.needed, program.state, program.inputs))

    def derivative(sums, known, matrices, others, moved):
        constants, state, inputs = others

        def step(at):
            return recall_step(program, matrices, *at)

        (_, seen), moved = push(step, (constants, Values(state, sums, known, inputs)), moved)
        return seen, [t for t in jax.tree.leaves(moved) if smooth(t)]

    state_, sums_, inputs_ = map(smooth_alone, (state, sums, inputs))
    moved = smooth_alone(constants), Values(state_, sums_, dict.fromkeys(known), inputs_)
    others = constants, state, inputs
    jaxpr = jax.make_jaxpr(derivative)(sums, known, matrices, others, moved).jaxpr
    if jaxpr.effects or not is_known(jaxpr):
        return None
    live = _live(jaxpr)
    return frozenset(i for i, v in enumerate(jaxpr.invars[: len(sums)]) if v in live)


def _live(jaxpr) -> set:
    """The variables that the results of a jaxpr depend on."""

    def variables(atoms) -> set:
        return {atom for atom in atoms if not isinstance(atom, Literal)}

    live = variables(jaxpr.outvars)
    for equation in reversed(jaxpr.eqns):
        if live.intersection(equation.outvars):
            live |= variables(equation.invars)
    return live
