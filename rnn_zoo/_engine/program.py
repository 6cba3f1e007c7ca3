"""A step, read: what it computes from constants alone, where it multiplies by constant matrices.

The jaxpr of a step of any cell is sorted by what each value depends on. What depends on constants
alone leaves the loop. A product of a constant matrix with something that changes is a *product
site*; sums of products and constants are one site, W x + U h + b, and run as one matrix product.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .backends import tuned
from .known import is_elementwise
from .unstable import (
    CHECKPOINT,
    DOT,
    JIT,
    LOGISTIC,
    TANH,
    Literal,
    bind,
    called,
    context_of,
    scope_of,
    without_constants,
)


# What a value depends on; that of a result is the highest of its operands.
NOTHING, CONSTANTS, INPUTS, STATE = range(4)

# The derivatives of activations, from their values.
SLOPES = {TANH: lambda y: 1 - y * y, LOGISTIC: lambda y: y * (1 - y)}


# A value while tracing. An array, and for constants also one of the host in the class, not public,
# in which JAX keeps such: so `Array` would be wrong.
Value = Any


class Ref(NamedTuple):
    """A value of the program, by number."""

    number: int
    aval: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        return self.aval.dtype


class Op(NamedTuple):
    """One operation. An operand is a `Ref` or a literal value."""

    equation: Any
    operands: tuple[Any, ...]
    results: tuple[Ref, ...]
    scope: str  # of `jax.named_scope`

    def __call__(self, *operands) -> list:
        with in_scope(self.scope), context_of(self.equation):
            results = bind(self.equation, operands)
        return results if self.equation.primitive.multiple_results else [results]


class Product(NamedTuple):
    """A constant matrix times a vector (or `dot_general` of any shapes)."""

    matrix: Ref
    vector: Ref
    left: bool  # matrix first
    equation: Any
    in_loop: bool  # the vector depends on the state, or on another product
    sources: frozenset[int]  # inputs and constants that the vector depends on, by number
    scope: str

    @property
    def plain(self) -> bool:
        """W @ v with a matrix and a vector of one dtype."""
        (contracting, batch) = self.equation.params["dimension_numbers"]
        return (
            self.left
            and (len(self.matrix.shape), len(self.vector.shape)) == (2, 1)
            and (tuple(map(tuple, contracting)), any(map(len, batch))) == (((1,), (0,)), False)
            and self.matrix.dtype == self.vector.dtype == self.equation.outvars[0].aval.dtype
            and self.equation.params["precision"] is None
        )

    def __call__(self, matrix: Value, vector: Value) -> Array:
        operands = (matrix, vector) if self.left else (vector, matrix)
        return self.equation.primitive.bind(*operands, **self.equation.params)

    def row(self, matrix: Value, vector: Value) -> Array:
        """The same product as v @ W.T, where that is one: under `vmap` it moves no axes."""
        return vector @ matrix.T if self.plain else self(matrix, vector)


class Site(NamedTuple):
    """A sum of products and constants: the products' vectors change, all else is constant."""

    products: tuple[Product, ...]
    offsets: tuple[Ref, ...]
    result: Ref

    @property
    def merged(self) -> bool:
        """One matrix for all products, laid out for x @ W."""
        size = sum(p.matrix.shape[0] * p.matrix.shape[1] for p in self.products if p.plain)
        return all(p.plain for p in self.products) and size <= tuned("matrix")

    def laid_out(self, matrices: Sequence[Value]) -> list[Value]:
        """What `value` multiplies with."""
        return [_joined([matrix.T for matrix in matrices])] if self.merged else list(matrices)

    def value(self, laid_out: Sequence, offset: Value | None, vectors: Sequence[Value]) -> Array:
        """The site at one step, from what `laid_out` gives and the vectors."""
        if self.merged:
            return total([_joined(vectors) @ laid_out[0], offset])
        products = [p(m, v) for p, m, v in zip(self.products, laid_out, vectors)]
        return total([total(products), offset])


def _joined(parts: Sequence[Value]) -> Array:
    """The parts after each other, and a zero behind a lone number.

    A product with one number would become a multiplication, and run three times as long where its
    result is split into gates: XLA multiplies anew, slowly, in every gate.
    """
    alone = sum(map(len, parts)) == 1
    return jnp.concatenate([*parts, jnp.zeros_like(parts[0])] if alone else parts)


def total(terms) -> Any:
    """The sum of a few arrays, of which some may be None; None where there is none."""
    result = None
    for term in terms:
        if term is not None:
            result = term if result is None else result + term
    return result


class Program(NamedTuple):
    """A step as operations on values: `state, x -> results`, with its constants outside."""

    state: tuple[Ref, ...]
    inputs: tuple[Ref, ...]
    outside: tuple[Op, ...]  # on constants, or on nothing
    inside: tuple[Op | Site, ...]
    results: tuple[Any, ...]
    avals: tuple[Any, ...]  # of the results
    sites: tuple[Site, ...]
    needed: tuple[Ref, ...]  # the constants that operations inside read

    @property
    def elementwise(self) -> bool:
        """Whether all but the sites takes numbers from the same place, or cuts vectors."""
        return all(
            all(p.plain for p in item.products)
            if isinstance(item, Site)
            else is_elementwise(item.equation)
            for item in self.inside
        )

    @property
    def activations(self) -> list[Op]:
        """Each tanh and logistic of what sites give by other operations alone."""
        exposed, found = set(), []
        for item in self.inside:
            if isinstance(item, Site):
                exposed.add(item.result.number)
            elif any(isinstance(o, Ref) and o.number in exposed for o in item.operands):
                if item.equation.primitive in SLOPES and _real(item.results[0]):
                    found.append(item)
                else:
                    exposed.update(ref.number for ref in item.results)
        return found

    def state_number(self, value) -> int | None:
        """Which state is this value after the step; None if it is none."""
        states = self.results[: len(self.state)]
        return states.index(value) if isinstance(value, Ref) and value in states else None

    @property
    def shared(self) -> dict[int, int]:
        """The outputs that are a state after the step: which output, which state."""
        outputs = enumerate(map(self.state_number, self.results[len(self.state) :]))
        return {i: state for i, state in outputs if state is not None}

    def run(
        self,
        constants: Sequence,
        state: Sequence,
        inputs: Sequence,
        product: Callable[[int, list], Value],
        activation: Callable[[Op, Value], Value] | None = None,
    ) -> list[Value]:
        """One step; `product(site, vectors)` gives the value of a site, and `activation(op,
        operand)` that of each op in `activations`."""
        refs = (*self.needed, *self.state, *self.inputs)
        values = {ref.number: a for ref, a in zip(refs, (*constants, *state, *inputs))}
        numbers = itertools.count()
        special = {op.results[0].number for op in self.activations} if activation else set()
        for item in self.inside:
            if isinstance(item, Site):
                vectors = [values[p.vector.number] for p in item.products]
                with in_scope(item.products[0].scope):
                    values[item.result.number] = product(next(numbers), vectors)
            elif activation and item.results[0].number in special:
                operand = read(item.operands[0], values)
                values[item.results[0].number] = activation(item, operand)
            else:
                perform(item, values)
        # A literal result becomes an array.
        return [
            read(value, values) if isinstance(value, Ref) else jnp.asarray(value, aval.dtype)
            for value, aval in zip(self.results, self.avals)
        ]


def read(operand: Any, values: dict[int, Value]) -> Value:
    return values[operand.number] if isinstance(operand, Ref) else operand


def perform(op: Op, values: dict[int, Value]) -> None:
    results = op(*(read(o, values) for o in op.operands))
    values.update(zip((ref.number for ref in op.results), results))


def _array(constant: Any, ref: Ref) -> Array:
    """NumPy arrays stand in a jaxpr as they are."""
    return constant if isinstance(constant, jax.Array) else jnp.asarray(constant, ref.dtype)


def _real(ref: Ref) -> bool:
    return jnp.issubdtype(ref.dtype, jnp.floating)


def in_scope(name: str) -> contextlib.AbstractContextManager:
    return jax.named_scope(name) if name else contextlib.nullcontext()


def read_program(closed: Any, state: int) -> tuple[Program, dict[int, Array]]:
    """The program of a step, and the values of its constants.

    `closed` is the jaxpr of `(state, inputs of one step) -> list of arrays`, where the state has so
    many arrays. Every operation in it is known (`known.py`).
    """
    program = _Reader()
    constants = [program.value(v.aval, CONSTANTS) for v in closed.jaxpr.constvars]
    variables = [v.aval for v in closed.jaxpr.invars]
    of_state = tuple(program.value(aval, STATE) for aval in variables[:state])
    of_inputs = tuple(program.value(aval, INPUTS) for aval in variables[state:])
    results = program.flatten(closed.jaxpr, [*constants, *of_state, *of_inputs])
    values = {ref.number: _array(a, ref) for ref, a in zip(constants, closed.consts)}
    avals = tuple(closed.out_avals)
    return program.finish(of_state, of_inputs, results, avals), values | program.found


class _Reader:
    """Collects operations, calls of jitted and checkpointed functions inlined, and what each value
    depends on."""

    def __init__(self):
        self.ops: list[Op] = []
        self.level: dict[int, int] = {}
        self.sources: dict[int, frozenset[int]] = {}  # for values that change from step to step
        self.found: dict[int, Array] = {}  # constants of jitted functions inside

    def value(self, aval, level: int) -> Ref:
        ref = Ref(len(self.level), aval)
        self.level[ref.number] = level
        return ref

    def flatten(self, jaxpr, arguments: list, outer: str = "") -> tuple:
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), arguments))

        def operand(atom):
            return atom.val if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            operands = tuple(map(operand, equation.invars))
            scope = "/".join(filter(None, [outer, scope_of(equation)]))
            # What a checkpoint asks for, a loop does with the whole step: nothing in it is kept.
            if equation.primitive.name in (JIT, CHECKPOINT):
                closed = called(equation)
                inner, given = without_constants(closed), getattr(closed, "consts", ())
                consts = [self.value(v.aval, CONSTANTS) for v in inner.constvars]
                self.found |= {ref.number: _array(a, ref) for ref, a in zip(consts, given)}
                results = self.flatten(inner, [*consts, *operands], scope)
            else:
                level = max(map(self.level_of, operands), default=NOTHING)
                results = tuple(self.value(v.aval, level) for v in equation.outvars)
                if level > CONSTANTS:
                    sources = frozenset().union(*map(self.sources_of, operands))
                    self.sources |= {ref.number: sources for ref in results}
                self.ops.append(Op(equation, operands, results, scope))
            known |= zip(equation.outvars, results)
        return tuple(map(operand, jaxpr.outvars))

    def level_of(self, operand) -> int:
        return self.level[operand.number] if isinstance(operand, Ref) else NOTHING

    def sources_of(self, operand) -> frozenset[int]:
        if not isinstance(operand, Ref):
            return frozenset()
        return self.sources.get(operand.number, frozenset([operand.number]))

    def finish(self, state: tuple, inputs: tuple, results: tuple, avals: tuple) -> Program:
        # What depends on nothing, such as an array of zeros, is cheap and stays where it is used.
        outside = tuple(op for op in self.ops if self._level(op) <= CONSTANTS)
        inside = self._sites([op for op in self.ops if self._level(op) != CONSTANTS], results)
        sites = tuple(item for item in inside if isinstance(item, Site))
        reads = [o for op in inside if isinstance(op, Op) for o in op.operands]
        needed = {o.number: o for o in (*reads, *results) if self.level_of(o) == CONSTANTS}.values()
        return Program(state, inputs, outside, inside, results, avals, sites, tuple(needed))

    def _level(self, op: Op) -> int:
        return self.level[op.results[0].number]

    def _sites(self, ops: list[Op], results: tuple) -> tuple[Op | Site, ...]:
        """Products with constant matrices, and the additions that take them up, become sites."""
        uses = Counter(o.number for op in ops for o in op.operands if isinstance(o, Ref))
        uses.update(o.number for o in results if isinstance(o, Ref))
        items: dict[int, Op | Site] = {}  # by the number of the first result
        follow: set[int] = set()  # what depends on a product
        for op in ops:
            made = self._sum(op, items, uses)
            if made is not None:
                for operand in op.operands:  # a site among them is part of this one now
                    if isinstance(items.get(operand.number), Site):
                        del items[operand.number]
            made = made or self._product(op, follow)
            if made is not None or any(
                isinstance(o, Ref) and o.number in follow for o in op.operands
            ):
                follow.update(ref.number for ref in op.results)
            items[op.results[0].number] = made or op
        return tuple(items.values())

    def _product(self, op: Op, follow: set[int]) -> Site | None:
        if op.equation.primitive is not DOT:
            return None
        levels = [self.level_of(o) for o in op.operands]
        if CONSTANTS not in levels or not jnp.issubdtype(op.results[0].dtype, jnp.inexact):
            return None
        left = levels[0] == CONSTANTS
        matrix, vector = op.operands if left else op.operands[::-1]
        in_loop = self.level_of(vector) == STATE or vector.number in follow
        sources = self.sources_of(vector)
        product = Product(matrix, vector, left, op.equation, in_loop, sources, op.scope)
        return Site((product,), (), op.results[0])

    def _sum(self, op: Op, items: dict, uses: Counter) -> Site | None:
        if op.equation.primitive.name not in ("add", "add_any"):
            return None
        products, offsets = [], []
        for operand in op.operands:
            if not isinstance(operand, Ref) or operand.shape != op.results[0].shape:
                return None
            item = items.get(operand.number)
            if isinstance(item, Site) and uses[operand.number] == 1:
                products.extend(item.products)
                offsets.extend(item.offsets)
            elif self.level_of(operand) == CONSTANTS:
                offsets.append(operand)
            else:
                return None
        return Site(tuple(products), tuple(offsets), op.results[0]) if products else None
