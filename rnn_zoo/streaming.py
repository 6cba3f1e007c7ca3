"""Step by step as fast as it goes: constants computed once, the step compiled, no copies."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ._common.checks import refuse_backwards
from ._common.numbers import exactly, fits
from ._engine.unstable import Tracer
from .base import State, check_cell, restart
from .layers.recurrent import Recurrent
from .wrappers.held import hold


# Bytes of parameters that become part of a program, each time that one is compiled.
MOST_IN_PROGRAM = 1 << 20


class _Given(NamedTuple):
    """What `scan` is given for several steps, not checked yet: the model does that."""

    xs: Any
    dt: Any
    mask: Any
    reset: Any
    key: Any


class Stream:
    """A cell, a layer or a model without pooling, for inputs that come one by one.

        stream = rz.Stream(model)
        state = stream.init_state()
        state, y = stream.step(state, x)    # x: (input,)
        state, ys = stream.scan(xs, state)  # xs: (k, input): k steps for the price of one call

    The parametrisation is computed here, once; `step` and `scan` are compiled at their first call
    and again for each new shape. What they compute is what the model's own give; lists and NumPy
    arrays are taken, too. The state that is handed in is given up: its memory holds the new one,
    and using it afterwards is an error (`jax.tree.map(jnp.copy, state)` keeps one). `reset=True`
    starts anew before the step. The model stays as it is; changes made to it later do not reach
    the stream.

    **Raises:** TypeError for what cannot step; in `step` and `scan` what the model raises, and
    RuntimeError for a state that was given up.
    """

    def __init__(self, model: Any):
        if not (hasattr(model, "step") and hasattr(model, "init_state")):
            check_cell(model)
        held = eqx.filter_jit(hold)(model)
        arrays, self._rest = eqx.partition(held, eqx.is_array)
        self._arrays, self._tree = jax.tree.flatten(arrays)
        # Arguments are positional and the parameters a flat list: that is quick to hand over.
        # Small parameters are part of the program, which is quicker still.
        step, scan, self._given = self._run_step, self._run_scan, (self._arrays,)
        if _are_small(self._arrays):
            step, scan = (functools.partial(run, self._arrays) for run in (step, scan))
            self._given = ()
        self._step = jax.jit(step, donate_argnums=len(self._given))
        self._scan = jax.jit(scan, donate_argnums=len(self._given))

    def init_state(self) -> State:
        """The model's initial state, in memory of its own."""
        return jax.tree.map(jnp.copy, self._model(self._arrays).init_state())

    def step(
        self,
        state: State,
        x: ArrayLike | Sequence,
        dt: ArrayLike | None = None,
        *,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The model's `step`, from `init_state()` where `reset` is True."""
        x, dt = _exactly("x", x), _exactly("dt", dt)
        if dt is not None and not isinstance(dt, jax.Array):
            refuse_backwards(dt)
        try:
            return self._step(*self._given, state, x, dt, reset, key)
        except (RuntimeError, ValueError) as error:
            _refuse_used_up(state, error)
            raise

    def scan(
        self,
        xs: ArrayLike | Sequence,
        state: State,
        *,
        dt: ArrayLike | Sequence | None = None,
        mask: ArrayLike | Sequence | None = None,
        reset: ArrayLike | Sequence | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """Several steps in one call: the model's `scan`; for a cell, `rz.scan.unroll`."""
        xs, dt = _exactly("xs", xs), _exactly("dt", dt)
        mask, reset = _exactly("mask", mask), _exactly("reset", reset)
        try:
            return self._scan(*self._given, state, _Given(xs, dt, mask, reset, key))
        except (RuntimeError, ValueError) as error:
            _refuse_used_up(state, error)
            raise

    def _model(self, arrays: list) -> Any:
        return eqx.combine(jax.tree.unflatten(self._tree, arrays), self._rest)

    def _run_step(self, arrays, state, x, dt, reset, key):
        time = () if dt is None else (dt,)
        keywords = {} if key is None else {"key": key}
        model = self._model(arrays)
        return model.step(restart(model, state, reset), x, *time, **keywords)

    def _run_scan(self, arrays, state, given: _Given):
        model = self._model(arrays)
        layer = model if hasattr(model, "scan") else Recurrent(model)
        xs, dt, mask, reset, key = given
        return layer.scan(xs, state, dt=dt, mask=mask, reset=reset, key=key)


def _refuse_used_up(state: State, error: Exception) -> None:
    """A RuntimeError in the words of a stream, where JAX says that memory was given away."""
    leaves = jax.tree.leaves(state) if "deleted" in str(error) else []
    if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in leaves):
        raise RuntimeError(
            "expected a state that is not used up: step and scan take over the memory of the "
            "state that they are given, so go on with the one they give back, state, y = "
            "stream.step(state, x), or keep one beforehand with jax.tree.map(jnp.copy, state)"
        ) from error


def _are_small(arrays: list[Array]) -> bool:
    """Whether parameters may stand in a program: few, and bound to no device."""
    known = not any(isinstance(array, Tracer) for array in arrays)
    if not known or any(array.committed for array in arrays):
        return False
    return sum(array.size * array.dtype.itemsize for array in arrays) <= MOST_IN_PROGRAM


def _exactly(name: str, value: Any) -> Any:
    # A jitted function cuts numbers of the host before anything here could see them.
    return value if value is None or fits(value) else exactly(name, value)
