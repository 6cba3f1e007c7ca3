"""What sequences must look like, and what to say when they do not.

Shapes are known when a function is traced, so these are ordinary exceptions.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree

from ._chunks import Length
from ._numbers import exactly
from .base import AbstractCell, State, no_time_message, show


# Values are known when a program runs; to complain, it calls back into Python.
_CALLS_BACK = ContextVar("calls_back", default=True)


@contextlib.contextmanager
def without_runtime_errors() -> Iterator[None]:
    """What is traced inside never calls back, so it can leave this process."""
    token = _CALLS_BACK.set(False)
    try:
        yield
    finally:
        _CALLS_BACK.reset(token)


def runtime_error_if(value: Any, wrong: Any, message: str) -> Any:
    """`value`, with a runtime error where `wrong` holds."""
    return eqx.error_if(value, wrong, message) if _CALLS_BACK.get() else value


class Steps(NamedTuple):
    """What each step of a sequence is given; an absent part is None. `dt` may be a scalar."""

    x: Array
    dt: Array | None = None
    mask: Array | None = None
    reset: Array | None = None
    key: Array | None = None

    @property
    def length(self) -> Length:
        return self.x.shape[0]


def check_steps(part: Any, xs, dt, mask, reset, key, *, reverse: bool = False) -> Steps:
    """The inputs of a sequence, checked against a cell, layer or model."""
    xs = check_inputs(xs, part.input_size)
    return beside(part, xs, dt, mask, reset, key, reverse=reverse)


def beside(part: Any, xs: Array, dt, mask, reset, key, *, reverse: bool = False) -> Steps:
    """`check_steps` for inputs that are checked already."""
    length = xs.shape[0]
    return Steps(
        xs,
        check_dt(part, dt, length),
        check_flags("mask", mask, length),
        check_flags("reset", reset, length),
        step_keys(key, length, reverse=reverse) if part.stochastic else None,
    )


def check_inputs(xs, input_size: int) -> Array:
    """xs as an array of shape (time, input_size)."""
    xs = exactly("xs", xs)
    if jnp.iscomplexobj(xs):
        raise TypeError("expected real xs, got complex: give real and imaginary part as features")
    if xs.ndim == 2 and xs.shape[1] == input_size:
        return xs
    if xs.ndim == 3:
        mend = ": for a batch use rz.batch(layer) or eqx.filter_vmap(layer)"
    elif xs.ndim == 1 and input_size == 1:
        mend = ": give each step its features, xs[:, None]"
    elif xs.ndim == 1:
        mend = ": for one step use step(state, x)"
    else:
        mend = f": the last axis must hold the {input_size} features that input_size promises"
    raise ValueError(f"expected xs of shape (time, {input_size}), got {xs.shape}{mend}")


def check_tokens(xs) -> Array:
    """xs as integer tokens of shape (time,)."""
    xs = exactly("xs", xs)
    if xs.ndim != 1 or not jnp.issubdtype(xs.dtype, jnp.integer):
        mend = ": for a batch use rz.batch(model)" if xs.ndim == 2 and xs.shape[1] > 1 else ""
        raise ValueError(f"expected integer tokens (time,), got {xs.dtype}{xs.shape}{mend}")
    return xs


def check_cell(cell: Any) -> None:
    """A TypeError for what is no cell."""
    if not isinstance(cell, AbstractCell):
        raise TypeError(
            f"expected a cell, or a layer that steps, got {type(cell).__name__}: rz.adopt makes a "
            "cell of a function f(h, x) or of another library's cell; layers that read a sequence "
            "from its end run with layer.scan(xs)"
        )


def check_parts(state: Any, parts: int, what: str) -> tuple:
    """The states of several parts, (None, ...) for None."""
    if state is None:
        return (None,) * parts
    if type(state) not in (tuple, list) or len(state) != parts:
        raise ValueError(
            f"expected the state of {what} as a tuple of {parts}, one entry each, got {show(state)}"
        )
    return tuple(state)


def check_key(key: Any) -> Any:
    """A TypeError for what is no key."""
    if not hasattr(key, "dtype") or not hasattr(key, "ndim"):
        raise TypeError(f"expected a key such as jax.random.key(0), got {key!r}")
    return key


def check_flags(name: str, flags, length: Length) -> Array | None:
    """A mask or reset: None, or a bool array with one entry per step."""
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    if flags.dtype != bool:
        raise TypeError(
            f"expected {name} of dtype bool, got {flags.dtype}: "
            + ("for lengths use rz.lengths_to_mask(lengths, time)" if name == "mask" else "")
            + ("write reset == 1 or reset.astype(bool)" if name == "reset" else "")
        )
    if flags.shape != (length,):
        raise ValueError(
            f"expected {name} of shape ({length},), one flag per step of xs, got {flags.shape}"
        )
    return flags


def check_dt(part: Any, dt, length: Length) -> Array | None:
    """A time step: None, a scalar, or one per step; only for what has a physical time."""
    if dt is None:
        return None
    if not part.timed:
        raise TypeError(no_time_message(_name(part)))
    dt = exactly("dt", dt)
    if not jnp.issubdtype(dt.dtype, jnp.floating) and not jnp.issubdtype(dt.dtype, jnp.integer):
        raise TypeError(f"expected dt of a real dtype, got {dt.dtype}")
    if dt.shape not in ((), (length,)):
        raise ValueError(
            f"expected dt as a scalar or of shape ({length},), the time since the step before "
            f"each step of xs, got {dt.shape}"
        )
    return dt


def check_state(cell: AbstractCell, state: Any) -> State:
    """The initial state of `cell`, or a given one with the same structure, shapes and dtypes."""
    if state is None:
        state = cell.init_state()
        _check_arrays(cell, state)
        return jax.tree.map(jnp.asarray, state)
    expected = jax.eval_shape(cell.init_state)
    problem = ValueError(
        f"expected a state of {_name(cell)} like its init_state(), {show(expected)}, "
        f"got {show(state)}"
    )
    if jax.tree.structure(state) != jax.tree.structure(expected):
        raise problem
    if any(
        np.shape(s) != e.shape for s, e in zip(jax.tree.leaves(state), jax.tree.leaves(expected))
    ):
        raise problem
    if not all(map(_same_kind, jax.tree.leaves(state), jax.tree.leaves(expected))):
        raise problem
    return jax.tree.map(_in_dtype, state, expected)


def _check_arrays(cell: AbstractCell, state: Any) -> None:
    for leaf in jax.tree.leaves(state):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise TypeError(
                f"expected init_state() of {_name(cell)} to give arrays, got {leaf!r} in "
                f"{show(state)}: a number has no dtype of its own, write jnp.zeros(()) for 0.0 or "
                "jnp.zeros((), int) for a counter"
            )


def check_step(cell: AbstractCell, before: State, after: Any, y: Any) -> None:
    """A ValueError for a step that does not give what the cell promises.

    `before` is the state before the step. Called while a step is traced, so once per sequence.
    """
    expected, given = jax.eval_shape(lambda: (before, after))
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(given))
    if jax.tree.structure(expected) != jax.tree.structure(given) or any(
        (e.shape, e.dtype) != (g.shape, g.dtype) for e, g in pairs
    ):
        raise ValueError(
            f"expected the step of {_name(cell)} to give a state like the one before it, "
            f"{show(expected)}, got {show(given)}: the structure, shapes and dtypes of "
            "init_state() stay what they are"
        )
    check_output(cell, y)


def check_output(cell: AbstractCell, y: Any) -> None:
    """A ValueError for an output of another size than the cell says."""
    if getattr(y, "shape", None) != (cell.output_size,):
        raise ValueError(
            f"expected the output of {_name(cell)} as one array of shape ({cell.output_size},), "
            f"as its output_size says, got {show(y)}"
        )


def _in_dtype(given: Any, expected: Any) -> Any:
    return given if _is_key(expected) else jnp.asarray(exactly("state", given), expected.dtype)


def _is_key(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jax.dtypes.prng_key))


def _same_kind(given, expected) -> bool:
    kinds = (
        jnp.complexfloating,
        jnp.floating,
        jnp.integer,
        jnp.bool_,
        jax.dtypes.prng_key,
    )
    kind = next(k for k in kinds if jnp.issubdtype(expected.dtype, k))
    dtype = given.dtype if hasattr(given, "dtype") else jnp.result_type(given)
    return bool(jnp.issubdtype(dtype, kind))


def step_keys(key, length: Length, *, reverse: bool = False) -> Array | None:
    """One key per step: a single key is split, (time,) keys are taken as they are.

    Splitting is in processing order, so that a reversed run draws what a run over the
    flipped sequence draws.
    """
    if key is None:
        return None
    rank = key_rank(key)
    if rank == 0:
        keys = jr.split(key, length)
        return keys[::-1] if reverse else keys
    if rank == 1 and key.shape[0] == length:
        return key
    raise ValueError(f"expected one key or {length} keys, one per step of xs, got {key.shape}")


def key_rank(key: Any) -> int:
    """The number of axes of an array of keys: 0 for one key, typed or old-style."""
    return key.ndim if _is_key(check_key(key)) else key.ndim - 1


def spread_keys(keys: Array | None, parts: int) -> list[Array | None]:
    """Independent (time,) keys for each of several parts, from (time,) keys."""
    if keys is None:
        return [None] * parts
    spread = jax.vmap(lambda key: jr.split(key, parts), out_axes=1)(keys)
    return [spread[i] for i in range(parts)]


def _name(part: PyTree) -> str:
    return type(part).__name__
