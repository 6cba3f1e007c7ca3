"""A program for readers that know little of jax: no loop of this library, no complex numbers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from .._engine.unstable import Literal, Tracer, bind, called, evaluation, without_constants


class Pair(NamedTuple):
    """A complex number."""

    real: Any
    imag: Any


def lowered(function: Callable) -> Callable:
    """The same function in other operations.

    Sequential loops are `lax.scan`, and run forwards; complex numbers are pairs of real ones; calls
    of jitted functions are inlined; what depends on no argument is computed here and now. Custom
    derivatives are left out, since what is exported is not differentiated.
    """

    def run(*arguments):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        leaves = _evaluate(closed, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return run


def _evaluate(program: Any, arguments: Sequence) -> list:
    """The results of a closed jaxpr, or of one without constants."""
    jaxpr, constants = without_constants(program), getattr(program, "consts", ())
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments)))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = list(map(read, equation.invars))
        if _is_known(equation, operands):
            with jax.ensure_compile_time_eval():
                results = _bound(equation, operands)
        else:
            results = _apply(equation, list(map(_as_pair, operands)))
        values |= zip(equation.outvars, results)
    return list(map(_as_pair, map(read, jaxpr.outvars)))


def _as_pair(value: Any) -> Any:
    if isinstance(value, Pair | Tracer) or not np.iscomplexobj(value):
        return value
    known = np.asarray(value)  # no operation of jax, which would become one of the program
    return Pair(np.real(known), np.imag(known))


def _is_known(equation: Any, operands: list) -> bool:
    sizes = [size for v in equation.outvars for size in v.aval.shape]
    known = operands and not any(isinstance(operand, Pair | Tracer) for operand in operands)
    return bool(known) and all(isinstance(size, int) for size in sizes)


def _apply(equation: Any, operands: list) -> list:
    name, params = equation.primitive.name, equation.params
    if name == "recurrent_loop":
        run = params["run"]
        return _of(lambda *arrays: run.forward(run.operands(arrays)), equation, operands)
    own = evaluation(equation)
    if own is not None:
        return _of(own, equation, operands)
    if name == "scan":
        return _scan(params, operands)
    inner = called(equation)
    if inner is not None:
        return _evaluate(inner, operands)
    if name == "rem" and np.issubdtype(equation.outvars[0].aval.dtype, np.integer):
        left, right = operands
        return [lax.sub(left, lax.mul(right, lax.div(left, right)))]
    if name == "pad" and all(min(edge) >= 0 == edge[2] for edge in params["padding_config"]):
        return [_pad(operands[0], operands[1], params["padding_config"])]
    of_complex = any(isinstance(operand, Pair) for operand in operands)
    if of_complex or any(_is_complex(v.aval.dtype) for v in equation.outvars):
        return _apply_to_pairs(equation, operands)
    return _bound(equation, operands)


def _of(function: Callable, equation: Any, operands: list) -> list:
    """The results of a function that does what an operation does."""
    types = [v.aval for v in equation.invars]
    structs = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in types]
    return _evaluate(jax.make_jaxpr(function)(*structs), operands)


def _bound(equation: Any, operands: list) -> list:
    results = bind(equation, operands)
    return results if equation.primitive.multiple_results else [results]


def _scan(params: dict, operands: list) -> list:
    """A scan from the first step to the last."""
    constants, carries = params["num_consts"], params["num_carry"]
    fixed, init = operands[:constants], operands[constants : constants + carries]
    reverse = params["reverse"]

    def turned(tree):
        return jax.tree.map(lambda a: lax.rev(a, (0,)), tree) if reverse else tree

    def body(carry, x):
        results = _evaluate(params["jaxpr"], [*fixed, *carry, *x])
        return results[:carries], results[carries:]

    xs = turned(operands[constants + carries :])
    length = None if xs else params["length"]  # a symbol is not taken beside inputs
    last, ys = lax.scan(body, init, xs, length=length, unroll=params["unroll"])
    return [*last, *turned(ys)]


def _pad(value: Any, filling: Any, config: Sequence) -> Any:
    """Padding as concatenation, which takes symbolic shapes everywhere."""
    for axis, (before, after, _) in enumerate(config):
        shapes = [(*value.shape[:axis], n, *value.shape[axis + 1 :]) for n in (before, after)]
        edges = [[lax.broadcast(filling, shape)] if shape[axis] else [] for shape in shapes]
        if any(edges):
            value = lax.concatenate([*edges[0], value, *edges[1]], axis)
    return value


def _is_complex(dtype: Any) -> bool:
    return np.issubdtype(dtype, np.complexfloating)


# Operations that do to a complex number what they do to each of its parts.
_EACH = {
    *("add", "sub", "neg", "add_any", "reduce_sum", "cumsum", "copy", "copy_p", "split"),
    *("broadcast_in_dim", "reshape", "squeeze", "transpose", "rev", "concatenate", "pad"),
    *("slice", "dynamic_slice", "gather", "select_n", "stop_gradient"),
}


def _apply_to_pairs(equation: Any, operands: list) -> list:
    if equation.primitive.name in _EACH:
        real = [o.real if isinstance(o, Pair) else o for o in operands]
        imag = [o.imag if isinstance(o, Pair) else o for o in operands]
        return [Pair(*parts) for parts in zip(_bound(equation, real), _bound(equation, imag))]
    return [_one_pair(equation, operands)]


def _one_pair(equation: Any, operands: list) -> Any:
    name = equation.primitive.name
    pairs = [a if isinstance(a, Pair) else Pair(a, np.zeros((), a.dtype)) for a in operands]
    (a, b), (c, d) = pairs[0], pairs[-1]
    match name:
        case "complex":
            return Pair(*operands)
        case "real":
            return a
        case "imag":
            return b
        case "conj":
            return Pair(a, lax.neg(b))
        case "abs":
            return lax.sqrt(a * a + b * b)
        case "exp":
            size = lax.exp(a)
            return Pair(size * lax.cos(b), size * lax.sin(b))
        case "mul":
            return Pair(a * c - b * d, a * d + b * c)
        case "square":
            return Pair(a * a - b * b, 2 * a * b)
        case "div":
            size = c * c + d * d
            return Pair((a * c + b * d) / size, (b * c - a * d) / size)
        case "convert_element_type" if not isinstance(operands[0], Pair):
            real = lax.convert_element_type(a, _part(equation))
            return Pair(real, lax.full_like(real, 0))
        case "convert_element_type":
            return Pair(*(lax.convert_element_type(part, _part(equation)) for part in (a, b)))
        case "dot_general":

            def dot(left, right):
                return bind(equation, (left, right), preferred_element_type=_part(equation))

            return Pair(dot(a, c) - dot(b, d), dot(a, d) + dot(b, c))
    raise NotImplementedError(
        f"{name!r} of complex numbers has no form in real ones here: export this model with "
        "to_stablehlo"
    )


def _part(equation: Any) -> Any:
    """The dtype of the parts of a complex result."""
    return np.empty(0, equation.outvars[0].aval.dtype).real.dtype
