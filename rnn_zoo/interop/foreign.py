"""Recurrent cells of flax, haiku and brainstate as functions `f(state, x) -> (state, y)`.

Nothing of them is imported: a cell that is handed in has its library with it.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PyTree

from .._common.fixed import fix, unfix
from ..base import State


class Found(NamedTuple):
    """What `adopt` needs of a cell."""

    function: Callable
    input_size: int
    init_state: State


def read_cell(cell: Any, input_size: int | None, key: Any) -> Found | None:
    """A cell of another library, None for anything else. TypeError for one that is not of jax."""
    roots = {base.__module__.partition(".")[0] for base in type(cell).__mro__}
    for library, reader in _NOT_OF_JAX.items():
        if library in roots:
            raise TypeError(
                f"expected a function of jax or a cell of one of its libraries, got "
                f"{type(cell).__name__} of {library}: rz.interop.{reader} carries its weights over"
            )
    for library, read in _READERS.items():
        if any(base.__module__.startswith(library) for base in type(cell).__mro__):
            return read(cell, input_size, key)
    if inspect.isclass(cell) or not callable(cell):
        return None
    made_of = getattr(cell, "func", cell)  # of a functools.partial
    if inspect.isclass(made_of) and made_of.__module__.startswith("haiku."):
        return _haiku(cell, input_size, key)
    return None


class _Linen(eqx.Module):
    variables: PyTree
    cell: Any = eqx.field(static=True)

    def __call__(self, state: State, x: Array) -> tuple[State, Array]:
        return self.cell.apply(unfix(self.variables), state, x)


def _linen(cell: Any, input_size: int | None, key: Any) -> Found:
    _check_cell(cell, "initialize_carry")
    size, key = _given(cell, input_size, key)
    state = cell.initialize_carry(jr.key(0), (size,))
    _check_start(cell, state, cell.initialize_carry(jr.key(1), (size,)))
    variables = cell.init(key, state, jnp.zeros(size))
    # Statistics and their like are no parameters.
    kept = {name: part if name == "params" else fix(part) for name, part in variables.items()}
    return Found(_Linen(kept, cell), size, state)


class _Nnx(eqx.Module):
    params: PyTree
    rest: PyTree
    graph: Any = eqx.field(static=True)

    def __call__(self, state: State, x: Array) -> tuple[State, Array]:
        nnx = importlib.import_module("flax.nnx")
        return nnx.merge(self.graph, self.params, unfix(self.rest))(state, x)


def _nnx(cell: Any, input_size: int | None, key: Any) -> Found:
    _check_cell(cell, "initialize_carry")
    nnx = importlib.import_module("flax.nnx")
    size = cell.in_features if input_size is None else input_size
    state = cell.initialize_carry((size,), nnx.Rngs(0))
    _check_start(cell, state, cell.initialize_carry((size,), nnx.Rngs(1)))
    graph, params, rest = nnx.split(cell, nnx.Param, ...)
    copy = nnx.clone(cell)
    copy(state, jnp.zeros(size, jax.tree.leaves(state)[0].dtype))
    # What a step leaves behind beside the carry would be lost: counts of draws, running means.
    if not _same(nnx.split(copy, nnx.Param, ...)[2], rest):
        raise ValueError(
            f"expected a cell that keeps its state in the carry, got a {type(cell).__name__} that "
            "changes variables of its own in a step, such as the keys of a dropout or running "
            "statistics: put it into evaluation (cell.eval()), or put them into the carry"
        )
    return Found(_Nnx(params, fix(rest), graph), size, state)


def _check_cell(cell: Any, method: str) -> None:
    if not hasattr(cell, method):
        raise TypeError(
            f"expected a recurrent cell, got {type(cell).__name__}, which has no {method}: of a "
            "layer adopt the cell, adopt(layer.cell), or read its arrays, rz.interop.from_flax"
        )


def _check_start(cell: Any, state: State, other: State) -> None:
    """A ValueError where two keys give two initial states."""
    if not _same(state, other):
        raise ValueError(
            f"expected an initial carry that is not random, got a {type(cell).__name__} with "
            "a random start: build it without, and give adopt the state to start from, "
            "init_state=..., or learn it, rz.LearnedInitialState(adopted)"
        )


def _same(one: Any, two: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(bool(jnp.array_equal(_numbers(a), _numbers(b))) for a, b in pairs)


def _numbers(leaf: Any) -> Array:
    """An array, or the numbers of a key."""
    is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    return jr.key_data(leaf) if is_key else jnp.asarray(leaf)


class _Haiku(eqx.Module):
    params: PyTree
    apply: Callable = eqx.field(static=True)

    def __call__(self, state: State, x: Array) -> tuple[State, Array]:
        y, state = self.apply(self.params, x, state)
        return state, y


def _haiku(make: Any, input_size: int | None, key: Any) -> Found:
    haiku = importlib.import_module("haiku")
    size, key = _given(make, input_size, key)
    run = haiku.without_apply_rng(haiku.transform(lambda x, state: make()(x, state)))
    first = haiku.without_apply_rng(haiku.transform(lambda: make().initial_state(None)))
    state = first.apply(first.init(key))
    return Found(_Haiku(run.init(key, jnp.zeros(size), state), run.apply), size, state)


class _Brainstate(eqx.Module):
    variables: PyTree
    graph: Any = eqx.field(static=True)
    form: Any = eqx.field(static=True)  # of the state, which is its arrays alone

    def __call__(self, state: State, x: Array) -> tuple[State, Array]:
        peer = importlib.import_module("brainstate")
        hidden = jax.tree.unflatten(self.form, state)
        cell = peer.graph.treefy_merge(self.graph, self.variables, hidden)
        y = cell.update(x)
        return tuple(jax.tree.leaves(peer.graph.treefy_states(cell, peer.HiddenState))), y


def _brainstate(cell: Any, input_size: int | None, key: Any) -> Found:
    _check_cell(cell, "update")
    peer = importlib.import_module("brainstate")
    size = cell.in_size[-1] if input_size is None else input_size
    cell.init_state()
    graph, hidden, variables = peer.graph.treefy_split(cell, peer.HiddenState, ...)
    state, form = jax.tree.flatten(hidden)
    cell.init_state()
    _check_start(cell, state, jax.tree.leaves(peer.graph.treefy_states(cell, peer.HiddenState)))
    return Found(_Brainstate(variables, graph, form), size, tuple(state))


def _given(cell: Any, input_size: int | None, key: Any) -> tuple[int, Any]:
    if input_size is None:
        raise ValueError(
            f"expected input_size: {type(cell).__name__} learns it from its first input, give for "
            "example adopt(cell, input_size=3, key=key)"
        )
    if key is None:
        raise ValueError(f"expected key: the parameters of {type(cell).__name__} are drawn here")
    return input_size, key


# In that order: a module of ncps is one of torch too.
_NOT_OF_JAX = {
    "ncps": "from_ncps",
    "torch": "from_torch",
    "keras": "from_keras",
    "tf_keras": "from_keras",
    "tensorflow": "from_keras",
}
# By the module of a base class.
_READERS = {"flax.linen": _linen, "flax.nnx": _nnx, "brainstate": _brainstate}
