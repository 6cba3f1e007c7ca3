"""The loop itself: a program, run over a sequence and under any number of `vmap`s."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from . import abreast
from .chunks import Length
from .plan import Plan, make_plan
from .program import Program, Site


class Operands(NamedTuple):
    """What a loop works on, or one thing for each: a tangent, an axis."""

    matrices: list  # of every site, as the step has them
    offsets: list  # what every site adds, or None
    constants: list
    state: list
    columns: list  # the inputs of all steps


class Kept(NamedTuple):
    """What a derivative keeps of a run: each with an entry for every step."""

    states: list  # after the step
    sums: list  # of the plan's sites
    activations: list  # of the plan


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A loop without its operands. Each level of `vmap` adds an axis: in front of constants and
    states, behind time in columns and outputs. The last level comes first."""

    program: Program
    length: Length
    reverse: bool
    tree: Any
    sizes: tuple[Length, ...] = ()
    batched: tuple[tuple[bool, ...], ...] = ()  # by level, by operand

    @functools.cached_property
    def plan(self) -> Plan | None:
        return make_plan(self.program)

    def operands(self, flat: Sequence) -> Operands:
        return jax.tree.unflatten(self.tree, flat)

    def axes(self) -> list[Operands]:
        """For each level the axis of each operand at one step, 0 or None."""
        return [self.operands([0 if b else None for b in level]) for level in self.batched]

    def over_batch(self, function: Callable, arguments: Callable) -> Callable:
        """`function` under the levels of `vmap`; `arguments` gives its axes from `axes()`."""
        for axes in self.axes():
            function = jax.vmap(function, in_axes=arguments(axes))
        return function

    def laid_out(self, operands: Operands) -> list:
        """For each site what it multiplies with and what it adds.

        The matrices of one site become one here, and not outside of the loop's primitive, so that
        each gets a gradient of its own: the parts of a gradient for all of them would be cut out,
        turned, and compiled into everything that reads them.
        """
        matrices = []
        for number, site in enumerate(self.program.sites):
            lay_out = site.laid_out
            for axes in self.axes() if site.merged else ():
                if any(axis == 0 for axis in axes.matrices[number]):
                    lay_out = jax.vmap(lay_out, in_axes=(axes.matrices[number],))
            matrices.append(lay_out(operands.matrices[number]))
        return list(zip(matrices, operands.offsets))

    def axes_laid_out(self, axes: Operands) -> list:
        """The axes at one level of what `laid_out` gives."""
        found = []
        for site, matrices, offset in zip(self.program.sites, axes.matrices, axes.offsets):
            if site.merged:
                matrices = [0 if any(axis == 0 for axis in matrices) else None]
            found.append((matrices, offset))
        return found

    def forward(self, operands: Operands) -> list:
        """The last state and all outputs."""
        return self._forward(operands, None)[0]

    def forward_kept(self, operands: Operands, plan: Plan) -> tuple[list, Kept]:
        """The same, and what a derivative needs of every step."""
        results, kept = self._forward(operands, plan)
        assert kept is not None
        return results, kept

    @functools.cached_property
    def abreast(self) -> bool:
        """Whether the samples of one `vmap` lie side by side in memory: see `abreast.py`."""
        if len(self.sizes) != 1:
            return False
        (axes,) = self.axes()
        own = jax.tree.leaves((axes.matrices, axes.offsets, axes.constants))
        return not own and abreast.pays(self.program, *self.sizes)

    def _forward(self, operands: Operands, plan: Plan | None) -> tuple[list, Kept | None]:
        program, size = self.program, len(operands.state)
        shared = program.shared if plan else {}  # an output that is a state is kept once
        value = abreast.value if self.abreast else Site.value

        def at_step(sites, constants, state, columns):
            sums, activations = [], {}

            def product(number, vectors):
                laid_out, offset = sites[number]
                sums.append(value(program.sites[number], laid_out, offset, vectors))
                return sums[-1]

            def activation(op, operand):
                (value,) = op(operand)
                activations[op.results[0].number] = value
                return value

            results = program.run(constants, state, columns, product, activation)
            after, kept = results[:size], None
            if plan is not None:
                of_sites = [sums[i] for i in plan.sites]
                kept = Kept(after, of_sites, [activations[n] for n in plan.activations])
            outputs = [r for i, r in enumerate(results[size:]) if i not in shared]
            return after, outputs, kept

        of_all = (
            self._abreast(at_step, operands) if self.abreast else self._in_front(at_step, operands)
        )

        def body(state, columns):
            after, outputs, kept = of_all(state, columns)
            return after, (outputs, kept)

        # The columns say the length themselves, where there are any: also one that is a symbol.
        length = None if operands.columns else self.length
        state = [jnp.moveaxis(a, 0, -1) for a in operands.state] if self.abreast else operands.state
        after, (outputs, kept) = lax.scan(
            body, state, operands.columns, length=length, reverse=self.reverse
        )
        after = [jnp.moveaxis(a, -1, 0) for a in after] if self.abreast else after
        if kept is not None:
            for i, state in shared.items():
                outputs.insert(i, kept.states[state])
        return [*after, *outputs], kept

    def _in_front(self, at_step: Callable, operands: Operands) -> Callable:
        """`(state, columns) -> results` of all samples at one step."""
        sites = self.laid_out(operands)
        of_all = self.over_batch(
            at_step, lambda a: (self.axes_laid_out(a), a.constants, 0, a.columns)
        )
        return functools.partial(of_all, sites, operands.constants)

    def _abreast(self, at_step: Callable, operands: Operands) -> Callable:
        """The same where the samples lie behind all else in the states; in the results they lie in
        front, as what reads them all wants it."""
        (samples,) = self.sizes
        sites = [
            (abreast.joined(matrices, samples), offset)
            for matrices, offset in zip(operands.matrices, operands.offsets)
        ]
        constants = [
            jnp.broadcast_to(a[..., None], (*a.shape, samples)) for a in operands.constants
        ]
        axes = [-1 if axis == 0 else None for axis in self.axes()[0].columns]
        of_all = jax.vmap(at_step, in_axes=(None, -1, -1, axes), out_axes=(-1, 0, 0))

        def moved(state, columns):
            columns = [a if x is None else jnp.moveaxis(a, 0, -1) for a, x in zip(columns, axes)]
            return of_all(sites, constants, state, columns)

        return moved
