"""Models as programs that run without this library."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import export

from .._common.checks import no_time_message
from .._common.dtypes import working_dtype
from .._common.runtime import without_runtime_errors
from ..base import check_cell, replace
from ..layers.base import AbstractLayer
from ..layers.recurrent import Backward, Recurrent


def to_stablehlo(
    model: Any,
    *,
    mask: bool = False,
    dt: bool = False,
    platforms: tuple[str, ...] | None = None,
) -> export.Exported:
    """A model with its weights as StableHLO, for any batch size and any length.

        exported = rz.interop.to_stablehlo(model)
        Path("model.stablehlo").write_bytes(exported.serialize())

        # elsewhere, with jax and nothing else
        ys = jax.export.deserialize(Path("model.stablehlo").read_bytes()).call(xs)

    **Arguments:**

    - `model`: a cell, a layer or a model. It is exported in inference mode, its linear cells step
      by step, since the parallel form needs to know its length.
    - `mask`, `dt`: whether the program takes a mask (batch, time) bool and time steps (batch,
      time) behind xs.
    - `platforms`: such as `("cpu", "cuda")`; by default the one in use.

    The program takes xs of shape (batch, time, input_size) in the model's dtype, or integer tokens
    (batch, time) where the model reads those, and gives what `rz.batch(model)` gives. It raises
    nothing at run time: an embedding takes a token that it does not have for the nearest one.
    Writing and reading files needs flatbuffers, the extra `export`. TypeError for what is no
    model, and for `dt` of a model without time.
    """
    run, arguments = program_of(model, mask=mask, dt=dt)
    return export.export(jax.jit(run), platforms=platforms)(*arguments)


def program_of(model: Any, *, mask: bool, dt: bool) -> tuple[Callable, list]:
    """A function of arrays with a batch, and the shapes of its arguments."""
    layer = _sequential(_as_layer(model))
    if dt and not layer.timed:
        raise TypeError(no_time_message(type(layer).__name__))
    batch, time = export.symbolic_shape("batch, time")
    dtype = working_dtype(layer, jnp.zeros(0))
    tokens = layer.reads_tokens
    features = () if tokens else (layer.input_size,)
    shapes = [jax.ShapeDtypeStruct((batch, time, *features), jnp.int32 if tokens else dtype)]
    kinds = {"mask": (mask, jnp.bool_), "dt": (dt, dtype)}
    names = [name for name, (wanted, _) in kinds.items() if wanted]
    shapes += [jax.ShapeDtypeStruct((batch, time), kinds[name][1]) for name in names]

    def run(xs, *options):
        def one(xs, *options):
            return layer(xs, **dict(zip(names, options)))

        with without_runtime_errors():
            return jax.vmap(one)(xs, *options)

    return run, shapes


def _as_layer(model: Any) -> Any:
    if isinstance(model, AbstractLayer):
        return model
    check_cell(model)
    return Recurrent(model)


def _sequential(model: Any) -> Any:
    """The model in inference mode, with every cell run step by step."""

    def is_run(part: Any) -> bool:
        return isinstance(part, Recurrent | Backward)

    def step_by_step(part: Any) -> Any:
        return replace(part, method="sequential") if is_run(part) else part

    model = jax.tree.map(step_by_step, model, is_leaf=is_run)
    return eqx.nn.inference_mode(model)
