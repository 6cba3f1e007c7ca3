"""All that the package uses of JAX beyond what JAX promises to keep.

Public JAX changes after a deprecation; what stands here may move with any release, and nowhere else
in the package is any of it touched. `tests/test_unstable.py` asks each installed JAX for each name,
so a release that moves one fails there by that name, and is mended here.

What JAX documents for those who write an interpreter of jaxprs counts as public: `jax.make_jaxpr`,
`jaxpr.eqns`, `invars`, `outvars`, `constvars`, `consts`, `aval`, `eqn.primitive.bind` and
`eqn.params`. "Since" is the first release of JAX that has the name where it is used here; the
package needs 0.10.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
    return primitive


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


# --- cuDNN ----------------------------------------------------------------------------------------

# `jax.experimental.rnn` has the LSTM of cuDNN, and one in JAX's own operations beside it. It is an
# experiment by its name; the functions below stand there, as they are called here, since 0.4.31. It
# is imported where it is used, since a program without an LSTM on such a device has no need of it.


def has_cudnn() -> bool:
    """Whether the jaxlib that is installed has cuDNN's LSTM. Its module has this function since
    0.4.9, where the libraries for CUDA are beside it."""
    from jax.experimental import rnn

    return hasattr(getattr(rnn, "gpu_rnn", None), "compute_rnn_workspace_reserve_space_sizes")


def cudnn_lstm(operands: Sequence, sizes: tuple[int, int, int, bool], tf32: bool) -> tuple:
    """(outputs, h, c, what the way back needs) of (xs, h, c, weights, lengths).

    `sizes` is (input_size, hidden_size, layers, both directions). Precision HIGH lets cuDNN take
    TF32, HIGHEST does not.
    """
    from jax.experimental import rnn

    inputs, hidden, layers, both = sizes
    precision = _precision(tf32)
    results, kept = rnn.lstm_fwd(*operands, inputs, hidden, layers, 0.0, both, precision)
    return *results, kept[-1]


def cudnn_lstm_back(
    cotangents: tuple, kept: tuple, sizes: tuple[int, int, int, bool], tf32: bool
) -> tuple:
    """The cotangents of xs, h, c and weights; `kept` are the operands, the outputs and what
    `cudnn_lstm` gave for this."""
    from jax.experimental import rnn

    inputs, hidden, layers, both = sizes
    precision = _precision(tf32)
    return rnn.lstm_bwd(inputs, hidden, layers, 0.0, both, precision, kept, cotangents)[:4]


def cudnn_reference(operands: Sequence, sizes: tuple[int, int, int, bool]) -> tuple:
    """(outputs, h, c) as JAX's own operations compute what `cudnn_lstm` is to give."""
    from jax.experimental import rnn

    xs, h, c, weights, lengths = operands
    inputs, hidden, layers, both = sizes
    arrays = rnn.unpack_lstm_weights(weights, inputs, hidden, layers, both)
    return rnn.lstm_ref(xs, h, c, *arrays, lengths, inputs, hidden, layers, 0.0, both)


def _precision(tf32: bool) -> lax.Precision:
    return lax.Precision.HIGH if tf32 else lax.Precision.HIGHEST


# --- kernels --------------------------------------------------------------------------------------

# Pallas is an experiment by its name, and slow to import, so it is where it is used. What stands
# here is there since 0.10; Mosaic GPU lowered a `pallas_call` too until 0.11, and since then only
# a `mosaic_gpu.kernel`, which JAX cannot interpret before 0.11. So there are two of them here.


class Blocks(NamedTuple):
    """How arrays are cut for a kernel: `shape` of one block, and `place(sample, block, chunk)`, its
    number along each axis. The first axis is that of samples, which a block has one of."""

    shape: tuple[int, ...]
    place: Callable


def call_kernel(
    chunk: Callable,
    grid: tuple[int, int, int],
    arrays: Sequence[tuple[Any, Blocks]],
    results: Sequence[tuple[Any, Blocks]],
    carry: Sequence,
) -> list:
    """The results of a kernel, which goes through the last axis of the grid in order.

    `chunk(refs, carry) -> carry` works on the blocks of the arrays and of the results, without the
    axis of samples, and is handed zeros of the types `carry` first. Results are given by their
    types. Where no device takes such kernels, JAX interprets them.
    """
    run = _on_device if has_kernels() else _interpreted
    return list(run(chunk, grid, arrays, results, carry))


def _interpreted(chunk: Callable, grid: tuple, arrays: Any, results: Any, carry: Any) -> Any:
    from jax.experimental import pallas
    from jax.experimental.pallas import mosaic_gpu

    def spec(blocks: Blocks) -> Any:
        return pallas.BlockSpec((None, *blocks.shape), blocks.place)

    def kernel(*refs: Any) -> None:
        refs, kept = refs[: -len(carry)], refs[-len(carry) :]
        first = pallas.program_id(2) == 0
        start = [lax.select(first, jax.numpy.zeros_like(ref[...]), ref[...]) for ref in kept]
        for ref, value in zip(kept, chunk(list(refs), start)):
            ref[...] = value

    call = pallas.pallas_call(
        kernel,
        out_shape=[kind for kind, _ in results],
        grid=grid,
        in_specs=[spec(blocks) for _, blocks in arrays],
        out_specs=[spec(blocks) for _, blocks in results],
        scratch_shapes=[mosaic_gpu.SMEM(kind.shape, kind.dtype) for kind in carry],
        interpret=True,
    )
    return call(*(array for array, _ in arrays))


def _on_device(chunk: Callable, grid: tuple, arrays: Any, results: Any, carry: Any) -> Any:
    from jax.experimental.pallas import mosaic_gpu

    names = ("sample", "block")

    def kernel(*refs: Any) -> None:
        refs, kept = refs[: -len(carry)], refs[-len(carry) :]
        # By way of memory, zeros lie in registers as what is loaded from there does.
        for ref in kept:
            ref[...] = jax.numpy.zeros_like(ref)
        here = [lax.axis_index(name) for name in names]

        def spec(blocks: Blocks) -> Any:
            return mosaic_gpu.BlockSpec(blocks.shape, lambda k: blocks.place(*here, k)[1:])

        def of_sample(ref: Any, blocks: Blocks) -> Any:
            return ref.at[blocks.place(*here, 0)[0]]

        every = [blocks for _, blocks in (*arrays, *results)]
        through = mosaic_gpu.emit_pipeline(
            lambda _, *given: tuple(chunk(list(given[:-1]), list(given[-1]))),
            grid=grid[2:],
            in_specs=[spec(blocks) for _, blocks in arrays],
            out_specs=[spec(blocks) for _, blocks in results],
            max_concurrent_steps=2,
            init_carry=tuple(ref[...] for ref in kept),
        )
        through(*(of_sample(ref, blocks) for ref, blocks in zip(refs, every)))

    run = mosaic_gpu.kernel(
        kernel,
        out_type=[kind for kind, _ in results],
        scratch_types=[mosaic_gpu.SMEM(kind.shape, kind.dtype) for kind in carry],
        grid=grid[:2],
        grid_names=names,
    )
    return run(*(array for array, _ in arrays))


def has_kernels() -> bool:
    """Whether the first device takes kernels of Mosaic GPU: NVIDIA's from compute capability 9.0
    on. Such devices say theirs in this attribute, as "9.0", since 0.4.14."""
    device = jax.devices()[0]
    version = str(getattr(device, "compute_capability", "0")).partition(".")[0]
    return device.platform == "gpu" and version.isdecimal() and int(version) >= 9


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
