"""Models as ONNX files, by jax2onnx: the extra `onnx`."""

import importlib
from pathlib import Path
from typing import Any

import jax

from .._common.extras import missing
from .._engine.unstable import as_function
from ._lowering import lowered
from .stablehlo import program_of


def to_onnx(model: Any, path: str | Path, *, mask: bool = False, dt: bool = False) -> None:
    """Write a model with its weights as ONNX, for any batch size and any length.

    Arguments and what the program takes and gives are those of `to_stablehlo`; inputs and outputs
    have float32, dimensions of the file are called batch and time. The conversion is that of
    jax2onnx. ImportError where that is missing, TypeError as in `to_stablehlo`.
    """
    try:
        convert = importlib.import_module("jax2onnx").to_onnx
    except ImportError as error:
        raise missing("ONNX needs jax2onnx", "onnx", error) from error
    run, shapes = program_of(model, mask=mask, dt=dt)
    # While it reads a function, jax2onnx has functions of jax replaced; what is traced before that
    # is in operations of lax alone.
    program = as_function(jax.make_jaxpr(lowered(run))(*shapes))
    convert(program, shapes, return_mode="file", output_path=str(path))
