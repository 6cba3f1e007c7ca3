"""Models as ONNX files, by jax2onnx: the extra `onnx`."""

import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from .._common.extras import missing
from .._engine.unstable import as_function
from ._lowering import lowered
from ._programs import Asked, program_of


def to_onnx(
    model: Any,
    path: str | Path,
    *,
    like: Any = None,
    step: bool = False,
    mask: bool = False,
    dt: bool = False,
    length: int | None = None,
) -> None:
    """Write a model with its weights as ONNX, for any batch size and any length, or one step of it.

    Arguments and what the program takes and gives are those of `to_stablehlo`; inputs and outputs
    have float32, dimensions of the file are called batch and time. Inputs are called xs, mask and
    dt, the output ys. With `step` the inputs are the parts of the state by the names that
    `exported_state(model)` gives them, then x and dt; the outputs are the same parts, with `new_`
    before the names, then y:

        state = rz.interop.exported_state(model)
        for x in xs:
            *parts, y = session.run(None, {**state, "x": x})
            state = dict(zip(state, parts))

    The conversion is that of jax2onnx. ImportError where that is missing, NotImplementedError for
    operations on complex numbers that have no form in real ones here, and the errors of
    `to_stablehlo`.
    """
    program = program_of(model, Asked(like, step, mask, dt, length))
    try:
        convert = importlib.import_module("jax2onnx").to_onnx
    except ImportError as error:
        raise missing("ONNX needs jax2onnx", "onnx", error) from error
    shapes, structure = jax.tree.flatten(tuple(program.shapes))

    def flat(*arguments):
        results = jax.tree.leaves(program.run(*jax.tree.unflatten(structure, arguments)))
        # An output of a file has one name, and y is often a part of the new state.
        return [jnp.copy(result) for result in results]

    # While it reads a function, jax2onnx has functions of jax replaced; what is traced before that
    # is in operations of lax alone.
    run = as_function(jax.make_jaxpr(lowered(flat))(*shapes))
    names = {"input_names": program.inputs, "output_names": program.outputs}
    if not step and len(jax.tree.leaves(jax.eval_shape(program.run, *program.shapes))) != 1:
        del names["output_names"]
    convert(run, shapes, return_mode="file", output_path=str(path), **names)
