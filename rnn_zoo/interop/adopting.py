"""Anybody's cell as a cell of this library."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray, PyTree

from .._common.activations import portable
from .._common.checks import show
from .._common.fixed import fix, unfix
from .._common.numbers import exactly
from ..base import AbstractCell, State
from .foreign import read_cell


class Adopted(AbstractCell):
    """A function f(h, x) or another library's cell under the contract; see `adopt`."""

    arrays: PyTree
    function: Any = eqx.field(static=True)
    initial: PyTree
    output: Callable | None = eqx.field(static=True, converter=portable)
    input_first: bool = eqx.field(static=True)
    gives_output: bool = eqx.field(static=True)
    timed: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(self, function, input_size, initial, output, input_first, timed):
        self.arrays, rest = eqx.partition(function, eqx.is_array)
        self.function = portable(rest)
        self.initial = fix(jax.tree.map(_carry, initial))
        self.output, self.input_first, self.timed = output, input_first, timed
        self.input_size = input_size
        state = jax.eval_shape(lambda: unfix(self.initial))
        floats = [s.dtype for s in jax.tree.leaves(state) if jnp.issubdtype(s.dtype, jnp.inexact)]
        dtype = jnp.finfo(jnp.result_type(*floats or [float])).dtype
        x = jax.ShapeDtypeStruct((input_size,), dtype)
        time = (jnp.ones((), dtype),) if timed else ()
        result = jax.eval_shape(lambda s, x: _call(function, input_first, s, x, *time), state, x)
        self.gives_output = not _alike(result, state)
        self.output_size = _output_size(result, state, self.gives_output, output)

    def init_state(self) -> State:
        return unfix(self.initial)

    def equation(self, c: Any, state: State, x: Array, dt: ArrayLike = 1.0) -> tuple[State, Array]:
        """The adopted function's step."""
        function = eqx.combine(self.arrays, self.function)
        time = (dt,) if self.timed else ()
        result = _call(function, self.input_first, state, x, *time)
        return result if self.gives_output else (result, _read(self.output, result))


def adopt(
    function: Callable,
    *,
    input_size: int | None = None,
    init_state: PyTree | None = None,
    output: Callable | None = None,
    timed: bool = False,
    key: PRNGKeyArray | None = None,
) -> Adopted:
    """A contract cell from a function f(h, x), or from another library's cell.

        rz.adopt(eqx.nn.GRUCell(3, 8, key=key))
        rz.adopt(flax.nnx.LSTMCell(3, 8, rngs=rngs))
        rz.adopt(flax.linen.GRUCell(8), input_size=3, key=key)
        rz.adopt(functools.partial(haiku.VanillaRNN, 8), input_size=3, key=key)
        rz.adopt(brainstate.nn.MGUCell(3, 8))

    **Arguments:**

    - `function`: `f(state, x) -> state` or `f(state, x) -> (state, y)`; with `timed=True`
      `f(state, x, dt)`. A module's arrays stay trainable parameters. The recurrent cells of
      Equinox, flax (linen and nnx), haiku and brainstate are recognised; one of haiku comes as
      the function that makes it, since haiku builds modules only inside its transforms.
    - `input_size`: needed for functions, and for flax linen and haiku.
    - `init_state`: needed for functions; cells have their own. The initial state does not train;
      wrap in `LearnedInitialState` where it should.
    - `output`: from the new state to y where the function gives the state alone; by default
      the state itself, or its first array.
    - `key`: draws the parameters of flax linen's and haiku's cells.

    **Raises:** ValueError where a size or the key is missing or the state changes its shape.
    """
    if getattr(function, "__name__", "") == "__call__":
        # A bound __call__ hides the arrays of its module.
        function = getattr(function, "__self__", function)
    found = read_cell(function, input_size, key)
    if found is not None:
        function, input_size = found.function, found.input_size
        init_state = found.init_state if init_state is None else init_state
    input_first = isinstance(function, eqx.nn.GRUCell | eqx.nn.LSTMCell)
    if isinstance(function, eqx.nn.GRUCell | eqx.nn.LSTMCell):
        zeros = jnp.zeros(function.hidden_size, function.weight_hh.dtype)
        default = zeros if isinstance(function, eqx.nn.GRUCell) else (zeros, zeros)
        input_size = function.input_size if input_size is None else input_size
        init_state = default if init_state is None else init_state
    if input_size is None or init_state is None:
        raise ValueError(
            "expected input_size and init_state: the sizes of a bare function cannot be read "
            "off, give for example adopt(f, input_size=3, init_state=jnp.zeros(8))"
        )
    return Adopted(function, input_size, init_state, output, input_first, timed)


def _call(function: Callable, input_first: bool, state: State, x: Array, *dt: ArrayLike):
    return function(x, state, *dt) if input_first else function(state, x, *dt)


def _carry(leaf: Any) -> Array:
    """An array for the carry: no weak type, never below float32."""
    leaf = exactly("init_state", leaf)
    dtype = jnp.result_type(leaf)
    inexact = jnp.issubdtype(dtype, jnp.inexact)
    return jnp.asarray(leaf, jnp.promote_types(dtype, jnp.float32) if inexact else dtype)


def _alike(one: Any, two: Any) -> bool:
    same_tree = jax.tree.structure(one) == jax.tree.structure(two)
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two))
    return same_tree and all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in leaves)


def _read(output: Callable | None, state: State) -> Array:
    return jax.tree.leaves(state)[0] if output is None else output(state)


def _output_size(result: Any, state: Any, gives_output: bool, output: Callable | None) -> int:
    if gives_output and not (
        isinstance(result, tuple) and len(result) == 2 and _alike(result[0], state)
    ):
        raise ValueError(
            "expected the function to give a state like init_state, or (state, y); from "
            f"{show(state)} it gave {show(result)}"
        )
    y = result[1] if gives_output else jax.eval_shape(lambda s: _read(output, s), state)
    if not hasattr(y, "shape") or len(y.shape) != 1:
        raise ValueError(f"expected an output of shape (size,), got {show(y)}")
    return y.shape[0]
