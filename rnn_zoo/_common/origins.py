"""Which results of a function are one and the same array."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax

from .._engine.unstable import called, without_constants


def origins(function: Callable, *arguments: Any) -> list[Hashable]:
    """A name for each array that `function` gives; those of one name are one array.

    Read off the traced program, through every call inside of it, so that it does not depend
    on how the function is divided into others. Nothing is computed.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    inputs = {id(v): ("argument", i) for i, v in enumerate(jaxpr.invars)}
    return _origins(jaxpr, inputs, ())


def _origins(jaxpr: Any, known: Mapping[int, Hashable], path: tuple) -> list[Hashable]:
    """Of the results of a program, from those of its inputs; `path` is where it is called."""
    made = {id(v): (at, out) for at, e in enumerate(jaxpr.eqns) for out, v in enumerate(e.outvars)}
    inner: dict[int, Sequence[Hashable]] = {}

    def of(v: Any) -> Hashable:
        if id(v) in known:
            return known[id(v)]
        if id(v) not in made:  # a constant
            return (path, id(v))
        at, out = made[id(v)]
        equation = jaxpr.eqns[at]
        program = _program_in(equation)
        if program is None:
            return (path, at, out)
        if at not in inner:
            inputs = {id(u): of(w) for u, w in zip(program.invars, equation.invars)}
            inner[at] = _origins(program, inputs, (*path, at))
        return inner[at][out]

    return [of(v) for v in jaxpr.outvars]


def _program_in(equation: Any) -> Any:
    """The program that an equation calls, if it does nothing but that. What a call runs is written
    inside of it: a jit changes where an array is made, not which."""
    program = called(equation)
    if program is None:
        return None
    program = without_constants(program)
    return program if len(program.invars) == len(equation.invars) else None
