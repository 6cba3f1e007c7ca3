"""Models as functions of plain arrays, which is what programs for elsewhere are made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from .._common.checks import no_time_message, show
from .._common.dtypes import working_dtype
from .._common.runtime import without_runtime_errors
from ..base import AbstractCell, check_cell, replace
from ..layers.base import AbstractLayer
from ..layers.recurrent import Backward, Recurrent
from ..wrappers.held import hold


class Asked(NamedTuple):
    """What the caller wants of a program."""

    like: Any = None
    step: bool = False
    mask: bool = False
    dt: bool = False
    length: int | None = None


class Program(NamedTuple):
    """A function of arrays, and dicts of them; the shapes of its arguments; names of its parts."""

    run: Callable
    shapes: Sequence[Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def program_of(model: Any, asked: Asked) -> Program:
    """The program of a sequence, or of a step."""
    return _step(model, asked) if asked.step else _sequence(model, asked)


def exported_state(model: Any) -> dict[str, np.ndarray]:
    """The state that an exported step begins with: arrays of NumPy by name, in the order of inputs.

    A state of one array has the name `state`; the parts of another have their path behind it,
    `state.0.h`. A complex part is two, with `.real` and `.imag` behind the name. What a step
    gives is in the same order. TypeError for what does not step.
    """
    state = _stepping(model).init_state()
    return {name: np.asarray(part) for name, part in _named(state).items()}


# --- sequences ----------------------------------------------------------------------------------


def _sequence(model: Any, asked: Asked) -> Program:
    layer = _sequential(_callable(model))
    _check_time(layer, asked)
    batch, time = export.symbolic_shape("batch, time")
    time = time if asked.length is None else asked.length
    sample = _sample(layer, asked.like, in_time=True)
    dtype = _dtype(layer, sample)
    kinds = {"mask": (asked.mask, jnp.bool_), "dt": (asked.dt, dtype)}
    names = [name for name, (wanted, _) in kinds.items() if wanted]
    shapes = [jax.ShapeDtypeStruct((batch, time, *sample.shape), sample.dtype)]
    shapes += [jax.ShapeDtypeStruct((batch, time), kinds[name][1]) for name in names]

    def run(xs, *options):
        def one(xs, *options):
            return layer(xs, **dict(zip(names, options)))

        with without_runtime_errors():
            return jax.vmap(one)(xs, *options)

    return Program(run, shapes, ("xs", *names), ("ys",))


def _callable(model: Any) -> Any:
    """A layer, a layer of a cell, or any other module that is called with a sequence."""
    if isinstance(model, AbstractCell) and not isinstance(model, AbstractLayer):
        return Recurrent(model)
    if isinstance(model, AbstractLayer) or (isinstance(model, eqx.Module) and callable(model)):
        return model
    check_cell(model)
    return model


def _sequential(model: Any) -> Any:
    """The model in inference mode, with every cell run step by step."""

    def is_run(part: Any) -> bool:
        return isinstance(part, Recurrent | Backward)

    def step_by_step(part: Any) -> Any:
        return replace(part, method="sequential") if is_run(part) else part

    model = jax.tree.map(step_by_step, model, is_leaf=is_run)
    return eqx.nn.inference_mode(model)


def _check_time(model: Any, asked: Asked) -> None:
    if asked.dt and not getattr(model, "timed", True):
        raise TypeError(no_time_message(type(model).__name__))


def _sample(model: Any, like: Any, *, in_time: bool) -> jax.ShapeDtypeStruct:
    """What one step of one sample reads, from an example or from what the model says of itself."""
    if like is not None:
        shape = np.shape(like)[1:] if in_time else np.shape(like)
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(like.dtype))
    if getattr(model, "reads_tokens", False):
        return jax.ShapeDtypeStruct((), jnp.int32)
    size = getattr(model, "input_size", None)
    if not isinstance(size, int):
        example = "xs (time, features)" if in_time else "x (features,)"
        raise TypeError(
            f"{type(model).__name__} does not say what it reads: give like=, an example of one "
            f"sample, {example}, whose dtype and features count"
        )
    return jax.ShapeDtypeStruct((size,), working_dtype(model, jnp.zeros(0)))


def _dtype(model: Any, sample: jax.ShapeDtypeStruct) -> Any:
    """The dtype of times."""
    if hasattr(model, "init_state"):
        return working_dtype(model, jnp.zeros(0))
    return sample.dtype


# --- steps --------------------------------------------------------------------------------------


def _step(model: Any, asked: Asked) -> Program:
    if asked.mask:
        raise ValueError("expected no mask with step=True: leave out the steps that are not valid")
    model = _stepping(model)
    _check_time(model, asked)
    x = _sample(model, asked.like, in_time=False)
    init = jax.eval_shape(model.init_state)

    def run(state, x, *dt):
        whole = _joined(init, state)
        with without_runtime_errors():
            new, y = model.step(whole, x, *dt)
        _check_kept(model, init, new)
        return _named(new), y

    parts = {name: jax.ShapeDtypeStruct(p.shape, p.dtype) for name, p in _shapes(init).items()}
    shapes = [parts, x]
    if asked.dt:
        shapes.append(jax.ShapeDtypeStruct((), _dtype(model, x)))
    inputs = (*parts, "x", *(["dt"] if asked.dt else []))
    return Program(run, shapes, inputs, (*(f"new_{name}" for name in parts), "y"))


def _stepping(model: Any) -> Any:
    """What steps, in inference mode, with its constants computed."""
    if not (hasattr(model, "step") and hasattr(model, "init_state")):
        check_cell(model)
    return eqx.filter_jit(hold)(eqx.nn.inference_mode(model))


def _check_kept(model: Any, init: Any, new: Any) -> None:
    """TypeError for a state that the next step would not take."""
    kinds = [[(a.shape, a.dtype) for a in jax.tree.leaves(state)] for state in (init, new)]
    if kinds[0] != kinds[1] or jax.tree.structure(init) != jax.tree.structure(new):
        raise TypeError(
            f"expected a step of {type(model).__name__} to give a state like its init_state(), "
            f"{show(init)}, got {show(new)}"
        )


def _shapes(state: Any) -> dict[str, Any]:
    return jax.eval_shape(_named, state)


def _named(state: Any) -> dict[str, Any]:
    """The arrays of a state by name, complex ones as two, in the order of a dict in JAX."""
    named = {}
    for path, part in jax.tree_util.tree_leaves_with_path(state):
        name = _name(path)
        if jnp.issubdtype(part.dtype, jnp.complexfloating):
            named |= {f"{name}.real": jnp.real(part), f"{name}.imag": jnp.imag(part)}
        else:
            named[name] = part
    return dict(sorted(named.items()))


def _joined(like: Any, named: dict[str, Any]) -> Any:
    """The state from what `_named` gives of it."""

    def part(path, leaf):
        name = _name(path)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            return jax.lax.complex(named[f"{name}.real"], named[f"{name}.imag"])
        return named[name]

    return jax.tree_util.tree_map_with_path(part, like)


def _name(path: tuple) -> str:
    return "state" + "".join(f".{jax.tree_util.keystr((key,), simple=True)}" for key in path)
