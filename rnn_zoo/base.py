"""The contract that every cell, layer and evaluator of this library keeps. Start here.

A cell is one sample at one time step: no batch axis, no time axis. Write your own by
giving `init_state` and `step` (or, for a linear recurrence, `init_state`, `transition`
and `readout`) and the five attributes; every evaluator, layer and model then takes it.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from ._common.checks import no_time_message, show
from ._common.dtypes import half_as, working_dtype
from .linear import AffineMap


State = PyTree[Array]
_Module = TypeVar("_Module", bound=eqx.Module)
_Step = TypeVar("_Step", bound=Callable)


class AbstractCell(eqx.Module):
    """One step of a recurrent network.

    - `init_state() -> state`: an array, or a NamedTuple of arrays with the paper's names.
    - `step(state, x) -> (state, y)`: the order of a `lax.scan` body.
      Timed cells take `step(state, x, dt=1.0)`, stochastic ones a keyword `key`.

    The attributes are asked of the instance: a cell gives class constants, a wrapper
    properties.
    """

    input_size: eqx.AbstractVar[int]
    output_size: eqx.AbstractVar[int]
    timed: eqx.AbstractVar[bool]
    """Has a physical time: `step` takes `dt`, the time since the last step."""
    linear: eqx.AbstractVar[bool]
    """The step is h' = A h + b with A and b independent of h."""
    stochastic: eqx.AbstractVar[bool]
    """`step` takes a keyword `key`."""
    recurrent_matrices: ClassVar[tuple[str, ...]] = ()
    """The fields of the prepared cell that `step` applies to its state by `@`, and to nothing
    else: what `VariationalDropout` drops the columns of. A cell that names none takes no
    `state_rate` there."""

    @abc.abstractmethod
    def init_state(self) -> State:
        """The state before the first step."""

    @abc.abstractmethod
    def step(self, state: State, x: Array) -> tuple[State, Array]:
        """From the state before and the input at this time to the state after and the output."""

    def prepare(self) -> "AbstractCell":
        """An equal cell with everything computed that does not change along a sequence.

        Evaluators call it once per sequence. A cell with a parametrisation (a matrix
        exponential, a softplus, a discretisation) replaces it; `step` must be right
        without it, only slower, and a second call must change nothing.
        """
        return self


def advance(
    cell: AbstractCell, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
) -> tuple[State, Array]:
    """`cell.step` with those of `dt` and `key` that this cell takes, in its working dtype.

    For evaluators and wrappers, which have checked their arguments.
    """
    step = type(cell).step
    time = (dt,) if cell.timed and dt is not None else ()
    keywords = {"key": key} if cell.stochastic else {}
    return _in_working_dtype(getattr(step, "unchecked", step), cell, state, x, time, keywords)


def contract(step: _Step) -> _Step:
    """Decorator of a cell's `step`: checks its arguments and runs it in the working dtype.

    x and dt are cast to the cell's dtype, so a bfloat16 input never lowers the precision
    of the state; 16-bit inputs give 16-bit outputs. An input, a dt or a state of the wrong
    shape is a ValueError, a dt for a cell without time a TypeError.
    """

    @functools.wraps(step)
    def checked(self, state, x, *time, **keywords):
        time = tuple(d for d in (*time, keywords.pop("dt", None)) if d is not None)
        if time and not self.timed:
            raise TypeError(no_time_message(type(self).__name__))
        _check_step(self, state, x, *time)
        return _in_working_dtype(step, self, state, x, time, keywords)

    checked.unchecked = step  # type: ignore[attr-defined]
    return cast(_Step, checked)


def _check_step(cell: AbstractCell, state: Any, x: Any, *time: Any) -> None:
    if np.shape(x) != (cell.input_size,):
        raise ValueError(
            f"expected x of shape ({cell.input_size},), got {np.shape(x)}: `step` takes one "
            "sample at one time; for a sequence use rz.scan.unroll(cell, xs) or "
            "rz.Recurrent(cell), for a batch map over it with jax.vmap"
        )
    if any(np.shape(dt) != () for dt in time):
        raise ValueError(f"expected dt as a scalar, got shape {np.shape(time[0])}")
    like = jax.eval_shape(cell.init_state)
    if not same_shapes(state, like):
        raise ValueError(
            f"expected a state of {type(cell).__name__} like its init_state(), {show(like)}, "
            f"got {show(state)}"
        )


class AbstractLinearCell(AbstractCell):
    """A cell whose step is h' = A h + b, y = readout(h', x).

    A and b may depend on x and dt, never on h, so the cell runs in parallel over time.
    """

    linear: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False

    @abc.abstractmethod
    def transition(self, x: Array, *dt: ArrayLike) -> AffineMap:
        """The map h -> A h + b of this step. What does not depend on x stays unbatched."""

    @abc.abstractmethod
    def readout(self, state: State, x: Array) -> Array:
        """The output that belongs to the state after the step."""

    @contract
    def step(self, state: State, x: Array, dt: ArrayLike | None = None) -> tuple[State, Array]:
        """`transition` applied to the state, then `readout`."""
        cell = cast(AbstractLinearCell, self.prepare())
        step = cell.transition(x, *(() if dt is None else (dt,)))
        check_transition(cell, step, state)
        state = step.apply(state)
        return state, cell.readout(state, x)


def check_transition(cell: AbstractCell, step: Any, state: Any) -> None:
    """A ValueError for a transition that is not one of the state: nothing is broadcast or cast."""
    name = type(cell).__name__
    if not isinstance(step, AffineMap) or not hasattr(state, "shape"):
        raise TypeError(
            f"expected {name} to have a state of one array and a transition that gives an "
            f"rz.linear.AffineMap, got {show(state)} and {show(step)}"
        )
    a, offset = step.linear.a, step.offset
    expected = step.linear.shape_for(state.shape)
    after = jnp.result_type(a.dtype, offset.dtype, state.dtype)
    if (a.shape, offset.shape, after) != (expected, state.shape, state.dtype):
        raise ValueError(
            f"expected the transition of {name} to act on its state {show(state)}: "
            f"{type(step.linear).__name__} with a of shape {expected}, an offset of shape "
            f"{state.shape}, and dtypes that give {state.dtype}; got a {show(a)}, offset "
            f"{show(offset)}: broadcast or cast them in `transition`, or give init_state() the "
            "dtype that the steps have"
        )


def same_shapes(one: Any, two: Any) -> bool:
    """Two trees of one structure whose arrays have the same shapes."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two))
    return all(np.shape(a) == np.shape(b) for a, b in pairs)


def _in_working_dtype(step: Callable, cell: AbstractCell, state, x, time, keywords):
    dtype = working_dtype(cell, x)
    time = [jnp.asarray(dt, dtype) for dt in time]
    state, y = step(cell, state, jnp.asarray(x, dtype), *time, **keywords)
    return state, half_as(x, y)


def replace(module: _Module, **fields: Any) -> _Module:
    """A copy of `module` with these fields exchanged; `__init__` is not run again."""
    new = object.__new__(type(module))
    for field in dataclasses.fields(module):
        value = fields.pop(field.name, getattr(module, field.name))
        object.__setattr__(new, field.name, value)
    if fields:
        raise TypeError(f"{type(module).__name__} has no field {', '.join(fields)}")
    return new


def check_cell(cell: Any) -> None:
    """A TypeError for what is no cell."""
    if not isinstance(cell, AbstractCell):
        raise TypeError(
            f"expected a cell, or a layer that steps, got {type(cell).__name__}: rz.adopt makes a "
            "cell of a function f(h, x) or of another library's cell; layers that read a sequence "
            "from its end run with layer.scan(xs)"
        )
