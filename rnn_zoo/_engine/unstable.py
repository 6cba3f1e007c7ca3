"""All that the package uses of JAX beyond what JAX promises to keep.

Public JAX changes after a deprecation; what stands here, and in `unstable_devices.py`, may move
with any release, and nowhere else in the package is any of it touched. `tests/test_unstable.py`
asks each installed JAX for each name, so a release that moves one fails there by that name, and is
mended here.

What JAX documents for those who write an interpreter of jaxprs counts as public: `jax.make_jaxpr`,
`jaxpr.eqns`, `invars`, `outvars`, `constvars`, `consts`, `aval`, `eqn.primitive.bind` and
`eqn.params`. "Since" is the first release of JAX that has the name where it is used here; the
package needs 0.10.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.custom_derivatives
import jax.extend.core
import jax.interpreters.ad
import jax.interpreters.batching
import jax.interpreters.mlir
import numpy as np
from jax import lax
from jax.experimental import multihost_utils


# --- types ----------------------------------------------------------------------------------------

# A value that is traced and not known yet. In `jax.core` since 0.4.2; no public name.
Tracer = jax.core.Tracer

# Shape and dtype of a value while tracing, as `jax.typeof` gives it. In `jax.core` since 0.4.2.
ShapedArray = jax.core.ShapedArray

# An operation of JAX with rules of its own. In `jax.extend.core` since 0.4.27.
Primitive = jax.extend.core.Primitive

# A number written into a jaxpr in the place of a variable. In `jax.extend.core` since 0.4.27.
Literal = jax.extend.core.Literal


def is_mapped(value: Any) -> bool:
    """Whether `value` is an argument of `jax.vmap` inside of it.

    Its class is called `BatchTracer` since before 0.4; it is found by name because
    `jax.interpreters.batching` no longer has it since 0.10.
    """
    return type(value).__name__ == "BatchTracer"


def samples_of(value: Any) -> int:
    """For how many samples a value stands under every `jax.vmap` that can be seen, 1 for none: a
    `jax.jit` in between hides them.

    A tracer of `jax.vmap` has `val` and `batch_dim`, one of a derivative `primal`; both are older
    than 0.4.
    """
    samples = 1
    while isinstance(value, Tracer):
        if is_mapped(value):
            mapped: Any = value
            dim, value = mapped.batch_dim, mapped.val
            samples *= value.shape[dim] if isinstance(dim, int) else 1
        else:
            value = getattr(value, "primal", None)
    return samples


# --- operations by themselves ---------------------------------------------------------------------

# The primitives behind `lax.tanh`, `lax.logistic` and `lax.dot_general`, in `jax.lax` since 0.3.
TANH, LOGISTIC, DOT = lax.tanh_p, lax.logistic_p, lax.dot_general_p

# The names of primitives that call the program in their parameters and do nothing else to values:
# what `jax.jit` leaves (so called since 0.7.0), calls that transformations leave, `jax.checkpoint`
# (so called since 0.3), and functions with a derivative of their own (since 0.4).
JIT, CLOSED_CALL, CHECKPOINT = "jit", "closed_call", "remat2"
CUSTOM_JVP, CUSTOM_VJP = "custom_jvp_call", "custom_vjp_call"
CALLS = frozenset([JIT, CLOSED_CALL, CHECKPOINT, CUSTOM_JVP, CUSTOM_VJP])


# --- equations of a jaxpr -------------------------------------------------------------------------


def called(equation: Any) -> Any:
    """The program that an equation of `CALLS` runs, with constants or without; None for others.

    It stands among the parameters, as `jaxpr` or as `call_jaxpr` (since 0.4).
    """
    if equation.primitive.name not in CALLS:
        return None
    params = equation.params
    return params["jaxpr"] if "jaxpr" in params else params.get("call_jaxpr")


def without_constants(program: Any) -> Any:
    """The jaxpr of a program whether it comes with its constants or without. Until 0.10 these are
    two classes, `ClosedJaxpr` and `Jaxpr`; since 0.11 they are one."""
    return getattr(program, "jaxpr", program)


def asks_for_placement(equation: Any) -> bool:
    """Whether a jit asks for more than to be compiled: for shardings, layouts, compiler options.

    The names of these parameters stand since 0.4.36.
    """
    params = equation.params
    shardings = (*params.get("in_shardings", ()), *params.get("out_shardings", ()))
    layouts = (*params.get("in_layouts", ()), *params.get("out_layouts", ()))
    placed = any(isinstance(sharding, jax.sharding.Sharding) for sharding in shardings)
    laid_out = any(layout is not None for layout in layouts)
    return placed or laid_out or bool(params.get("compiler_options_kvs"))


def asks_for_zeros(equation: Any) -> bool:
    """Whether a custom JVP is told which tangents are zero; a parameter since 0.4.5."""
    return bool(equation.params["symbolic_zeros"])


def bind(equation: Any, operands: Sequence, **changed: Any) -> Any:
    """The equation's operation on other operands, with some of its parameters changed.

    `get_bind_params` makes of the parameters of a jaxpr those that `bind` takes, for calls the
    functions among them; it gives a dict alone since 0.9.2.
    """
    params = equation.primitive.get_bind_params({**equation.params, **changed})
    return equation.primitive.bind(*operands, **params)


def context_of(equation: Any) -> contextlib.AbstractContextManager:
    """The settings that an equation was written under, such as its mesh; since 0.4.29."""
    return equation.ctx.manager


def scope_of(equation: Any) -> str:
    """The scopes of `jax.named_scope` that an equation was written in, "a/b"; since 0.3.2."""
    return str(equation.source_info.name_stack)


# A closed jaxpr as a function of its arguments. In `jax.extend.core` since 0.4.27.
as_function = jax.extend.core.jaxpr_as_fun


# --- primitives -----------------------------------------------------------------------------------


def define(
    name: str, evaluate: Callable, abstract: Callable, *, static: Sequence[str], several: bool
) -> Primitive:
    """A new primitive.

    `evaluate(*arrays, **params)` is all that it does, by JAX's own operations; `abstract(*types,
    **params)` gives the types of the results. `static` names the parameters. With `several`, the
    results are a list. `lower_fun` and `register_lowering`: `jax.interpreters.mlir` since 0.4.4.
    """
    primitive = Primitive(name)
    primitive.multiple_results = several
    primitive.def_impl(jax.jit(evaluate, static_argnames=tuple(static)))
    primitive.def_abstract_eval(abstract)
    lowered = jax.interpreters.mlir.lower_fun(evaluate, multiple_results=several)
    jax.interpreters.mlir.register_lowering(primitive, lowered)
    _show_to_checkify(primitive, evaluate)
    _EVALUATIONS[primitive] = evaluate
    return primitive


_EVALUATIONS: dict[Primitive, Callable] = {}


def evaluation(equation: Any) -> Callable | None:
    """What a primitive of `define` does, as a function of its arrays; None for one of JAX's own."""
    evaluate = _EVALUATIONS.get(equation.primitive)
    return None if evaluate is None else functools.partial(evaluate, **equation.params)


def on_vmap(primitive: Primitive, rule: Callable) -> None:
    """`rule(arrays, axes, **params) -> results, axes` under `vmap`; an axis is None where an array
    is one for all. In `jax.interpreters.batching` since 0.4.4."""
    jax.interpreters.batching.primitive_batchers[primitive] = rule


def on_jvp(primitive: Primitive, rule: Callable) -> None:
    """`rule(arrays, tangents, **params) -> results, tangents`. In `jax.interpreters.ad` since 0.4.3
    as the names below, all of them."""
    jax.interpreters.ad.primitive_jvps[primitive] = rule


def on_transpose(primitive: Primitive, rule: Callable) -> None:
    """`rule(cotangent, *operands, **params)` -> a cotangent for each operand, or None; an operand
    that asks for one is `is_asked`."""
    jax.interpreters.ad.primitive_transposes[primitive] = rule


def on_products(primitive: Primitive, in_first: Callable, in_second: Callable) -> None:
    """For what is linear in each of two operands: `in_first(cotangent, asked, second, **params)`
    and `in_second(cotangent, first, asked, **params)` give their cotangents. What is asked for has
    no value, only a type, `asked.aval`."""
    jax.interpreters.ad.defbilinear(primitive, in_first, in_second)


def _show_to_checkify(primitive: Primitive, evaluate: Callable) -> None:
    """`jax.experimental.checkify` sees all that the primitive does.

    JAX has no public way to say so. Where its own one (in `jax._src.checkify` since 0.3.10) is not
    as it was, the inside stays unseen.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import checkify

        def check(*given: Any, **params: Any) -> tuple[Any, Any]:
            # Behind what newer versions add come the error so far, what is enabled, the arrays.
            place = next(i for i, part in enumerate(given) if isinstance(part, set | frozenset))
            context, error, enabled = given[: place - 1], given[place - 1], given[place]
            arrays = given[place + 1 :]
            inside = jax.make_jaxpr(lambda *arrays: evaluate(*arrays, **params))(*arrays)
            error, results = checkify.checkify_jaxpr(*context, inside, enabled, error, *arrays)
            return error, results if primitive.multiple_results else results[0]

        checkify.error_checks[primitive] = check


# --- tangents -------------------------------------------------------------------------------------


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent is known to be zero while tracing.

    Rules of primitives get `jax.interpreters.ad.Zero` (since 0.4.3), custom JVPs that ask for zeros
    `jax.custom_derivatives.SymbolicZero` (since 0.4.5).
    """
    zeros = jax.interpreters.ad.Zero, jax.custom_derivatives.SymbolicZero
    return isinstance(tangent, zeros)


def zero_tangent(value: Any) -> Any:
    """The tangent that is known to be zero, of a value that need not have derivatives.

    `to_tangent_aval` gives the type of tangents, float0 for integers; since 0.4.34.
    """
    return jax.interpreters.ad.Zero(jax.typeof(value).to_tangent_aval())


def custom_zero_tangent(value: Any) -> Any:
    """The same as a custom JVP that asks for zeros has to return it; since 0.4.34."""
    return jax.custom_derivatives.zero_from_primal(value, symbolic_zeros=True)


def as_array(tangent: Any) -> Any:
    """A tangent, written out where it is known to be zero; since 0.4.3."""
    return jax.interpreters.ad.instantiate_zeros(tangent)


def is_asked(operand: Any) -> bool:
    """Whether a transposition asks for the cotangent of this operand; since 0.4.3."""
    return jax.interpreters.ad.is_undefined_primal(operand)


# --- devices --------------------------------------------------------------------------------------


def of_all_processes(value: np.ndarray) -> np.ndarray:
    """An array of every process, on a new axis 0 in their order. Each of them has to call this.

    `process_allgather` stands in `jax.experimental.multihost_utils` since 0.4.
    """
    return np.asarray(multihost_utils.process_allgather(value))


def varying(aval: Any) -> frozenset:
    """The axes of a `jax.shard_map` along which a value may differ from device to device; in the
    field `mat` of a type since 0.10.0, which was `vma` before."""
    return aval.mat.varying
