"""The contract that every cell, layer and evaluator of this library keeps. Start here.

A cell is one sample at one time step: no batch axis, no time axis. Write your own by giving
`init_state` and `step`, or `init_state` and `equation` where something is worth computing once for
a whole sequence, or for a linear recurrence `init_state`, `transition` and `readout`, and the two
sizes; every evaluator, layer and model then takes it.
"""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from ._common.checks import no_time_message, refuse_backwards, show
from ._common.dtypes import dtype_beside, half_as
from ._common.formulas import (
    advance as advance,
    contract as contract,
    prepare as _prepare,
    read_formula,
)
from ._common.hints import hint_constructor
from ._common.numbers import on_host
from .linear import AffineMap, Parts, Scaled, select


State = PyTree[Array]
_Module = TypeVar("_Module", bound=eqx.Module)


class AbstractCell(eqx.Module):
    """One step of a recurrent network.

    - `init_state() -> state`: an array, or a NamedTuple of arrays with the paper's names.
    - `constants() -> c`: what does not change along a sequence (a matrix exponential, a mask
      applied, a discretisation). Evaluators call it once per sequence. A class that does not give
      it has none, and its c is None.
    - `equation(c, state, x) -> (state, y)`: the formula, over what `constants` gives. A cell with
      a physical time takes `dt` behind x, with a default of 1.0; one that draws at random takes a
      keyword `key`.

    A cell without constants may give `step(state, x)` in the place of `equation`. Neither needs a
    decorator. What comes from outside is checked by whoever calls: `step` of this class, and the
    evaluators, which call the equation with x and dt in the cell's working dtype and compare the
    state and the output of the step with what `init_state` and `output_size` promise. A `step` that
    a class gives itself is called as it is written, and is checked in the evaluators.
    (`rnn_zoo.base.contract`, with which steps were decorated before, gives the step back and a
    DeprecationWarning.) `rz.testing.check_cell` asks a cell for all that this contract says.

    The flags say what a cell is. They are read off its formula: `timed` where it takes a `dt`,
    `stochastic` where it takes a `key`; `linear` where it is an `AbstractLinearCell`. A class whose
    flags depend on the instance, such as a wrapper, gives them itself, as properties or fields.
    """

    if TYPE_CHECKING:  # A type checker would take them for fields, and ask constructors for them.
        input_size: ClassVar[int]
        output_size: ClassVar[int]
        timed: ClassVar[bool]
        linear: ClassVar[bool]
        stochastic: ClassVar[bool]
    else:
        input_size: eqx.AbstractVar[int]
        output_size: eqx.AbstractVar[int]
        timed: eqx.AbstractVar[bool]
        """Has a physical time: a step takes `dt`, the time since the last one."""
        linear: eqx.AbstractVar[bool]
        """The step is h' = A h + b with A and b independent of h."""
        stochastic: eqx.AbstractVar[bool]
        """A step takes a keyword `key`."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        # To the classes beside this one, `Generic` among them, and to an error for other keywords.
        super(AbstractCell, cls).__init_subclass__(**keywords)  # noqa: UP008
        read_formula(cls, AbstractCell)
        hint_constructor(cls)

    @abc.abstractmethod
    def init_state(self) -> State:
        """The state before the first step."""

    if TYPE_CHECKING:  # A class that leaves one of them out gets it, so it is not abstract.

        def constants(self) -> Any: ...

        def equation(self, c: Any, state: State, x: Array) -> tuple[State, Array]: ...

    else:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""

        @abc.abstractmethod
        def equation(self, c: Any, state: State, x: Array) -> tuple[State, Array]:
            """From the state before and the input at this time to the state after and the output.

            x and dt come in the cell's working dtype, c from `constants`.
            """

    def step(
        self,
        state: State,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """One step, `(state, x) -> (state, y)`, the order of a `lax.scan` body.

        x is (input_size,), the state like `init_state()`; both and `dt` come to the equation in the
        cell's working dtype, so a bfloat16 input never lowers the precision of the state, and
        16-bit inputs give 16-bit outputs. Where `reset`, a bool, is True the step starts from
        `init_state()`. For a whole sequence use `rz.scan.unroll`, which computes the constants
        once.

        **Raises:** ValueError for an input, a dt or a state of the wrong shape, and for a dt that
        is known and below 0; TypeError for a dt where the cell has no physical time.
        """
        if dt is not None and not self.timed:
            raise TypeError(no_time_message(type(self).__name__))
        _check_step(self, state, x, dt)
        state = restart(self, state, reset)
        return self.advance(self.constants(), state, x, dt, key)

    def advance(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, key: Any = None
    ) -> tuple[State, Array]:
        """`step` with the constants of the sequence, for evaluators and wrappers.

        Nothing is checked. The equation gets those of `dt` and `key` that this cell takes.
        """
        dtype = dtype_beside(state, self, x)
        time = (jnp.asarray(dt, dtype),) if self.timed and dt is not None else ()
        keywords = {"key": key} if self.stochastic else {}
        state, y = self.equation(c, state, jnp.asarray(x, dtype), *time, **keywords)
        return state, half_as(x, y)

    prepare = _prepare


class AbstractLinearCell(AbstractCell):
    """A cell whose step is h' = A h + b, y = readout(c, h', x).

    A and b may depend on the constants, on x and dt, never on h, so the cell runs in parallel over
    time.
    """

    linear: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""

    @abc.abstractmethod
    def transition(self, c: Any, x: Array, *dt: ArrayLike) -> AffineMap:
        """The map h -> A h + b of this step. What does not depend on x stays unbatched."""

    @abc.abstractmethod
    def readout(self, c: Any, state: State, x: Array) -> Array:
        """The output that belongs to the state after the step."""

    def equation(self, c: Any, state: State, x: Array, *dt: ArrayLike) -> tuple[State, Array]:
        """`transition` applied to the state, then `readout`."""
        step = self.transition(c, x, *dt)
        check_transition(self, step, state)
        state = step.apply(state)
        return state, self.readout(c, state, x)


class AbstractHeadsCell(AbstractCell):
    """A cell that keeps a matrix for each head and gives the parts of its step.

    The parts may depend on the constants, on x and dt, never on the state. The cell gives them and
    what becomes of the numbers that are read; its step, and its form in chunks of some steps, are
    made of them. The two classes that come from this one say which parts.
    """

    stochastic: ClassVar[bool] = False

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""

    @abc.abstractmethod
    def parts(self, c: Any, x: Array, *dt: ArrayLike) -> Any:
        """What this step does to the state. What does not depend on x stays unbatched."""

    @abc.abstractmethod
    def output(self, c: Any, read: Array, x: Array) -> Array:
        """The output that belongs to what is read of the state after the step, (heads, value)."""

    def equation(self, c: Any, state: State, x: Array, *dt: ArrayLike) -> tuple[State, Array]:
        """`parts` applied to the state, then read, then `output`."""
        parts = self.parts(c, x, *dt)
        check_parts(self, parts, state)
        state = parts.apply(state)
        return state, self.output(c, parts.read(state), x)


class AbstractMatrixCell(AbstractHeadsCell):
    """A cell whose state is one array, (heads, key, value), and whose parts are an
    `rnn_zoo.linear.Parts`: decay, erase, write, read."""

    linear: ClassVar[bool] = True

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""

    def transition(self, c: Any, x: Array, *dt: ArrayLike) -> AffineMap:
        """The map S -> A S + b of this step, with A as one matrix for each head."""
        return self.parts(c, x, *dt).dense()

    def readout(self, c: Any, state: State, x: Array) -> Array:
        """The output that belongs to the state after the step."""
        return self.output(c, self.parts(c, x).read(state), x)


class AbstractScaledMatrixCell(AbstractHeadsCell):
    """A cell with exponential gates, on a state (C, n, m), whose parts are an
    `rnn_zoo.linear.Scaled`.

    The step divides by a maximum over the past, so that it is not linear; in chunks of some steps
    it runs all the same.
    """

    linear: ClassVar[bool] = False
    has_scaled_matrix: ClassVar[bool] = True

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes; None where there is nothing."""


class StateMatrix(eqx.Module):
    """A constant that says: this matrix multiplies the state, `c @ h`, and nothing else.

    What wants to act on the products of a cell with its state, such as `VariationalDropout`, finds
    these among the cell's constants.
    """

    matrix: Array
    keep: Array | None = None
    """Where it reads the state, all of it for None; elsewhere it finds 0."""
    share: float = eqx.field(static=True, default=1.0)
    """What is read is divided by this."""

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def __matmul__(self, h: Array) -> Array:
        if self.keep is None:
            return self.matrix @ h
        return self.matrix @ jnp.where(self.keep, h / self.share, jnp.zeros_like(h))

    def __getitem__(self, rows: Any) -> "StateMatrix":
        """Some of its rows."""
        return StateMatrix(self.matrix[rows], self.keep, self.share)


def restart(part: Any, state: Any, reset: Any) -> Any:
    """The state before a step: where `reset` is True the initial one, else `state`.

    ValueError or TypeError for what is no single truth.
    """
    if reset is None:
        return state
    flag = jnp.asarray(reset)
    if flag.dtype != bool:
        raise TypeError(f"expected reset of dtype bool, got {flag.dtype}: write reset == 1")
    if flag.shape != ():
        raise ValueError(f"expected reset as one bool for one step, got shape {flag.shape}")
    return select(flag, part.init_state(), state)


def has_matrix_state(cell: Any) -> bool:
    """Whether this is an `AbstractMatrixCell`, or one that wrappers around it leave as it is."""
    while cell.linear and isinstance(getattr(cell, "cell", None), AbstractCell):
        cell = cell.cell
    return isinstance(cell, AbstractMatrixCell)


def runs_in_chunks(cell: Any) -> bool:
    """Whether there is a form in chunks of some steps."""
    return has_matrix_state(cell) or getattr(cell, "has_scaled_matrix", False)


def check_parts(cell: AbstractCell, parts: Any, state: Any) -> None:
    """A ValueError for parts that are not those of the state: nothing is broadcast or cast."""
    name = type(cell).__name__
    kind = Parts if cell.linear else Scaled
    if not isinstance(parts, kind):
        expected = f"rz.linear.{kind.__name__}"
        raise TypeError(f"expected the parts of {name} as an {expected}, got {show(parts)}")
    wrong = parts.wrong_for(state)
    if wrong:
        raise ValueError(f"expected the parts of {name} to act on its state {show(state)}: {wrong}")


def check_cell(cell: Any) -> None:
    """A TypeError for what is no cell."""
    if not isinstance(cell, AbstractCell):
        raise TypeError(
            f"expected a cell, or a layer that steps, got {type(cell).__name__}: rz.adopt makes a "
            "cell of a function f(h, x) or of another library's cell; layers that read a sequence "
            "from its end run with layer.scan(xs)"
        )


def _check_step(cell: AbstractCell, state: Any, x: Any, dt: Any) -> None:
    if np.shape(x) != (cell.input_size,):
        raise ValueError(
            f"expected x of shape ({cell.input_size},), got {np.shape(x)}: `step` takes one "
            "sample at one time; for a sequence use rz.scan.unroll(cell, xs) or "
            "rz.Recurrent(cell), for a batch map over it with jax.vmap"
        )
    if dt is not None and np.shape(dt) != ():
        raise ValueError(f"expected dt as a scalar, got shape {np.shape(dt)}")
    if dt is not None and on_host(dt) is not None:
        refuse_backwards(dt)
    like = jax.eval_shape(cell.init_state)
    if not same_shapes(state, like):
        raise ValueError(
            f"expected a state of {type(cell).__name__} like its init_state(), {show(like)}, "
            f"got {show(state)}"
        )


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


def replace(module: _Module, **fields: Any) -> _Module:
    """A copy of `module` with these fields exchanged; `__init__` is not run again."""
    new = object.__new__(type(module))
    for field in dataclasses.fields(module):
        value = fields.pop(field.name, getattr(module, field.name))
        object.__setattr__(new, field.name, value)
    if fields:
        raise TypeError(f"{type(module).__name__} has no field {', '.join(fields)}")
    return new
