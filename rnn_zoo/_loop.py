"""`lax.scan` of a step, with a derivative that is cheap in time and memory.

Autodiff of a scan keeps every intermediate value of every step, and adds to the gradient of each
weight matrix at every step; `vmap` moves the batch axis of whatever the scan reads. So the loop is
a primitive of its own. It keeps the states and the values of the product sites (`_program.py`);
the way back computes the rest of a step anew, inside one loop, and gets the gradient of a matrix,
and of the inputs, from one large matrix product per chunk of steps. `vmap` adds an axis behind
that of time. The derivative is a linear map of tangents, written in operations of jax, so forward
mode, transposes and derivatives of derivatives follow.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ._program import Product, Program, perform, read_step, total


# Steps whose products share one: enough rows for a full-speed product, few enough for the cache.
CHUNK = 32


def loop(
    step: Callable, state: Any, inputs: Any, *, length: int, reverse: bool = False
) -> tuple[Any, Any]:
    """`lax.scan(step, state, inputs, length, reverse)`."""
    leaves, of_state = jax.tree.flatten(state)
    columns, of_inputs = jax.tree.flatten(inputs)
    structure: dict[str, Any] = {}

    def flat(leaves: list, columns: list) -> list:
        after, outputs = step(
            jax.tree.unflatten(of_state, leaves), jax.tree.unflatten(of_inputs, columns)
        )
        outputs, structure["outputs"] = jax.tree.flatten(outputs)
        return [*jax.tree.leaves(after), *outputs]

    first = [jax.eval_shape(lambda a: a[0], column) for column in columns]
    found = read_step(flat, leaves, first) if length else None
    if found is None:
        return lax.scan(step, state, inputs, length=length, reverse=reverse)
    program, values = found
    for op in program.outside:
        perform(op, values)
    operands = _Operands(
        [site.constants(values) for site in program.sites],
        [[values[p.matrix.number] for p in site.products] for site in program.sites],
        [values[ref.number] for ref in program.needed],
        leaves,
        columns,
    )
    arrays, tree = jax.tree.flatten(operands)
    run = _Run(program, length, reverse, tree)
    results = _loop_p.bind(*arrays, run=run)
    after, outputs = results[: len(leaves)], results[len(leaves) :]
    outputs = jax.tree.unflatten(structure["outputs"], outputs)
    return jax.tree.unflatten(of_state, after), outputs


class _Operands(NamedTuple):
    """What a loop works on, or one thing for each: a tangent, an axis."""

    sites: list  # what `Site.constants` gives
    originals: list  # the matrices as the step has them; the derivative is written with them
    constants: list
    state: list
    columns: list  # the inputs of all steps


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """A loop without its operands. Each level of `vmap` adds an axis: in front of constants and
    states, behind time in columns and outputs. The last level comes first."""

    program: Program
    length: int
    reverse: bool
    tree: Any
    sizes: tuple[int, ...] = ()
    batched: tuple[tuple[bool, ...], ...] = ()  # by level, by operand

    def operands(self, flat: Sequence) -> _Operands:
        return jax.tree.unflatten(self.tree, flat)

    def axes(self) -> list[_Operands]:
        """For each level the axis of each operand at one step, 0 or None."""
        return [self.operands([0 if b else None for b in level]) for level in self.batched]

    def over_batch(self, function: Callable, arguments: Callable, out: int = 0) -> Callable:
        """`function` under the levels of `vmap`; `arguments` gives its axes from `axes()`."""
        for axes in self.axes():
            function = jax.vmap(function, in_axes=arguments(axes), out_axes=out)
        return function

    def forward(self, operands: _Operands, *, keep: bool) -> tuple[list, Any]:
        """The last state and all outputs; and all states and values of sites."""
        program, size = self.program, len(operands.state)

        def at_step(sites, constants, state, columns):
            sums = []

            def product(number, vectors):
                matrices, offset = sites[number]
                sums.append(total([program.sites[number].of_one(matrices, vectors), offset]))
                return sums[-1]

            results = program.run(constants, state, columns, product)
            return results[:size], results[size:], sums if keep else None

        of_all = self.over_batch(at_step, lambda a: (a.sites, a.constants, 0, a.columns))

        def body(state, columns):
            after, outputs, sums = of_all(operands.sites, operands.constants, state, columns)
            return after, (outputs, (state, sums) if keep else None)

        after, (outputs, kept) = lax.scan(
            body, operands.state, operands.columns, length=self.length, reverse=self.reverse
        )
        return [*after, *outputs], kept


# --- rules of the primitive -----------------------------------------------------------------------


def _evaluate(*arrays, run: _Run) -> list[Array]:
    return run.forward(run.operands(arrays), keep=False)[0]


def _abstract(*avals, run: _Run):
    size = len(run.program.state)
    states = [
        jax.core.ShapedArray((*run.sizes[::-1], *a.shape), a.dtype) for a in run.program.state
    ]
    outputs = [
        jax.core.ShapedArray((run.length, *run.sizes[::-1], *a.shape), a.dtype)
        for a in run.program.avals[size:]
    ]
    return states + outputs


def _batch(arrays, dims, *, run: _Run):
    size = next(x.shape[d] for x, d in zip(arrays, dims) if d is not None)
    position = run.operands(range(len(arrays)))
    state, columns = set(position.state), set(position.columns)
    moved, batched = [], []
    for i, (x, dim) in enumerate(zip(arrays, dims)):
        if dim is not None:
            x = jnp.moveaxis(x, dim, 1 if i in columns else 0)
        elif i in state:
            x = jnp.broadcast_to(x, (size, *x.shape))
        moved.append(x)
        batched.append(dim is not None or i in state)
    sizes, batched = (*run.sizes, size), (*run.batched, tuple(batched))
    run = dataclasses.replace(run, sizes=sizes, batched=batched)
    results = _loop_p.bind(*moved, run=run)
    return results, [0 if i < len(state) else 1 for i in range(len(results))]


def _push(arrays, tangents, *, run: _Run):
    operands, moved = run.operands(arrays), run.operands(tangents)
    results, kept = run.forward(operands, keep=True)
    derivative = _Derivative(run, operands, moved)
    moving = [ad.instantiate_zeros(t) for a, t in zip(operands.state, moved.state) if _smooth(a)]
    moving, outputs = derivative.of_all(moving, (*kept, operands.columns))
    remaining = iter([*moving, *outputs])
    tangents = [
        next(remaining) if _smooth(r) else ad.Zero(jax.typeof(r).to_tangent_aval()) for r in results
    ]
    return results, tangents


_loop_p = Primitive("recurrent_loop")
_loop_p.multiple_results = True
_loop_p.def_impl(jax.jit(_evaluate, static_argnames="run"))
_loop_p.def_abstract_eval(_abstract)
mlir.register_lowering(_loop_p, mlir.lower_fun(_evaluate, multiple_results=True))
batching.primitive_batchers[_loop_p] = _batch
ad.primitive_jvps[_loop_p] = _push


# --- the derivative -------------------------------------------------------------------------------


class _Derivative(NamedTuple):
    """What happens to the states and outputs when everything moves a little.

    A tangent that is zero, because nobody asks for that derivative, costs nothing.
    """

    run: _Run
    at: _Operands
    moved: _Operands

    def of_all(self, moving: list, kept: tuple) -> tuple[list, list]:
        """Tangents of the last state and of all outputs, chunk after chunk."""
        columns = _take(self.moved.columns, _moving(self.moved.columns))
        reverse = self.run.reverse
        number, size, rest = _division(self.run.length)
        # What a chunk needs of the values is cheap to compute anew.
        chunk = jax.checkpoint(self.of_chunk, prevent_cse=False)

        def part(moving, start: int, number: int, size: int):
            cut = jax.tree.map(lambda a: a[start : start + number * size], (kept, columns))
            if number == 1:
                return chunk(moving, cut)
            cut = jax.tree.map(lambda a: a.reshape(number, size, *a.shape[1:]), cut)
            moving, outputs = lax.scan(chunk, moving, cut, reverse=reverse)
            return moving, [y.reshape(number * size, *y.shape[2:]) for y in outputs]

        if not rest:
            return part(moving, 0, number, size)
        bounds = [(0, number, size), (number * size, 1, rest)]
        pieces = []
        for bound in reversed(bounds) if reverse else bounds:
            moving, outputs = part(moving, *bound)
            pieces.append(outputs)
        pieces = reversed(pieces) if reverse else pieces
        return moving, [jnp.concatenate(outputs) for outputs in zip(*pieces)]

    def of_chunk(self, moving: list, at: tuple) -> tuple[list, list]:
        """A few steps: what matrices and inputs do in one product each, then a loop."""
        (before, sums, columns), moved_columns = at
        pushed = self._pushed(before, sums, columns, moved_columns)

        def axes(a: _Operands) -> tuple:
            return (*self._constant(a), 0, 0, 0, a.columns, self._column_tangents(a), 0)

        at_step = self.run.over_batch(self._at_step, axes)

        def body(moving, per_step):
            return at_step(*self._constant(self.at, self.moved), moving, *per_step)

        body = jax.checkpoint(body, prevent_cse=False)
        per_step = (before, sums, columns, moved_columns, pushed)
        return lax.scan(body, moving, per_step, reverse=self.run.reverse)

    def _constant(self, at: _Operands, moved: _Operands | None = None) -> tuple:
        """The matrices, the constants, and the tangents of those constants that have one."""
        moving = _moving(self.moved.constants)
        return at.originals, at.constants, _take((moved or at).constants, moving)

    def _column_tangents(self, moved: _Operands) -> list:
        return _take(moved.columns, _moving(self.moved.columns))

    def _at_step(
        self,
        matrices,
        constants,
        moved_constants,
        moving,
        before,
        sums,
        columns,
        moved_columns,
        pushed,
    ) -> tuple[list, list]:
        """Tangents after one step of one sample, and those of its outputs."""
        of_constants, of_columns = _moving(self.moved.constants), _moving(self.moved.columns)
        of_state = [i for i, a in enumerate(before) if _smooth(a)]
        of_sums = [i for i, t in enumerate(pushed) if t is not None]
        program, size = self.run.program, len(before)

        def step(constants_, state_, columns_, sums_):
            values = _put(sums, of_sums, sums_)

            def product(number, vectors):
                products = program.sites[number].products
                through = [i for i, p in enumerate(products) if p.of_state]
                recall = _recall(_take(products, through))
                pair = _take(matrices[number], through), _take(vectors, through)
                return recall(values[number], *pair)

            results = program.run(
                _put(constants, of_constants, constants_),
                _put(before, of_state, state_),
                _put(columns, of_columns, columns_),
                product,
            )
            parts = results[:size], results[size:]
            return tuple([r for r in part if _smooth(r)] for part in parts)

        at = (
            _take(constants, of_constants),
            _take(before, of_state),
            _take(columns, of_columns),
            _take(sums, of_sums),
        )
        tangents = (moved_constants, moving, moved_columns, _take(pushed, of_sums))
        return jax.jvp(step, at, tangents)[1]

    def _pushed(self, before, sums, columns, moved_columns) -> list:
        """For each site and step, the part of its tangent that needs no tangent of the state."""
        if not sums:
            return []
        program = self.run.program
        of_constants, of_columns = _moving(self.moved.constants), _moving(self.moved.columns)
        moving = {program.needed[i].number for i in of_constants}
        moving |= {program.inputs[i].number for i in of_columns}
        follow = [
            [i for i, p in enumerate(site.products) if not p.of_state and p.sources & moving]
            for site in program.sites
        ]

        def vectors_of(constants, before, sums, columns):
            seen = []

            def product(number, vectors):
                seen.append(vectors)
                return sums[number]

            program.run(constants, before, columns, product)
            return seen

        def moved_of(_, constants, moved_constants, before, sums, columns, moved_columns):
            def following(constants_, columns_):
                now = _put(constants, of_constants, constants_)
                seen = vectors_of(now, before, sums, _put(columns, of_columns, columns_))
                return [_take(*pair) for pair in zip(seen, follow)]

            at = _take(constants, of_constants), _take(columns, of_columns)
            return jax.jvp(following, at, (moved_constants, moved_columns))[1]

        of_all = self.run.over_batch(vectors_of, lambda a: (a.constants, 0, 0, a.columns))
        of_all = jax.vmap(of_all, in_axes=(None, 0, 0, 0))
        seen = of_all(self.at.constants, before, sums, columns)
        tangents = [[] for _ in sums]
        if any(follow):
            of_all = self.run.over_batch(
                moved_of,
                lambda a: (*self._constant(a), 0, 0, a.columns, self._column_tangents(a)),
            )
            of_all = jax.vmap(of_all, in_axes=(None, None, None, 0, 0, 0, 0))
            constant = self._constant(self.at, self.moved)
            tangents = of_all(*constant, before, sums, columns, moved_columns)
        return [self._push(i, seen[i], follow[i], tangents[i]) for i in range(len(sums))]

    def _push(self, number: int, vectors: list, follow: list, moved: list) -> Array | None:
        """d(W) v + W d(v) + d(b), for the vectors of all steps; None where it is zero."""
        site = self.run.program.sites[number]
        matrices, offset = jax.tree.map(
            lambda t: None if _is_zero(t) else t, self.moved.sites[number], is_leaf=_is_zero
        )
        if offset is None and not follow and all(m is None for m in matrices):
            return None

        def push(matrices, offset, originals, vectors, moved):
            terms = [site.products[i].of_all(m, v) for i, m, v in zip(follow, originals, moved)]
            if not site.merged:
                pairs = zip(site.products, matrices, vectors)
                terms += [p.of_all(m, v) for p, m, v in pairs if m is not None]
            elif matrices[0] is not None:
                terms.append(site.of_all(matrices, vectors))
            if offset is not None:
                terms.append(jnp.broadcast_to(offset, (len(vectors[0]), *offset.shape)))
            return total(terms)

        def axes(a: _Operands) -> tuple:
            return (*a.sites[number], _take(a.originals[number], follow), 1, 1)

        originals = _take(self.at.originals[number], follow)
        of_batch = self.run.over_batch(push, axes, out=1)
        return of_batch(matrices, offset, originals, vectors, moved)


def _recall(products: Sequence[Product]) -> Callable:
    """(value, matrices, vectors) -> a site's value, known before, that moves with its vectors."""

    @jax.custom_jvp
    def recall(value, matrices, vectors):
        return value

    def push(primals, tangents):
        value, matrices, _ = primals
        moved, _, vectors = tangents
        terms = [] if _is_zero(moved) else [moved]
        terms += [p(m, v) for p, m, v in zip(products, matrices, vectors) if not _is_zero(v)]
        return value, total(terms) if terms else zero_from_primal(value, symbolic_zeros=True)

    recall.defjvp(push, symbolic_zeros=True)
    return recall


def _division(length: int) -> tuple[int, int, int]:
    """The number of chunks, their size, and the steps that remain."""
    if length <= 2 * CHUNK:
        return 1, length, 0
    sizes = [c for c in range(CHUNK // 2, 2 * CHUNK) if length % c == 0]
    size = min(sizes, key=lambda c: abs(c - CHUNK), default=CHUNK)
    return length // size, size, length % size


def _is_zero(tangent) -> bool:
    """Whether this tangent is known to be zero while tracing."""
    return isinstance(tangent, ad.Zero | SymbolicZero)


def _moving(tangents: Sequence) -> list[int]:
    return [i for i, tangent in enumerate(tangents) if not _is_zero(tangent)]


def _smooth(value) -> bool:
    """Whether an array of this dtype has a derivative."""
    return jnp.issubdtype(value.dtype, jnp.inexact)


def _take(values: Sequence, where: Sequence[int]) -> list:
    return [values[i] for i in where]


def _put(values: Sequence, where: Sequence[int], new: Sequence) -> list:
    changed = dict(zip(where, new, strict=True))
    return [changed.get(i, value) for i, value in enumerate(values)]
