"""What sequences must look like, and what to say when they do not.

Shapes are known when a function is traced, so these are ordinary exceptions.
"""

import difflib
import weakref
from numbers import Integral
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._engine.chunks import Length
from .._engine.unstable import Tracer
from .keys import is_key, step_keys
from .numbers import exactly, on_host, place
from .runtime import runtime_error_if


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


def check_steps(part: Any, xs, dt, mask, reset, key) -> Steps:
    """The inputs of a sequence, checked against a cell, layer or model."""
    xs = check_inputs(xs, part.input_size)
    return beside(part, xs, dt, mask, reset, key)


def beside(part: Any, xs: Array, dt, mask, reset, key) -> Steps:
    """`check_steps` for inputs that are checked already."""
    length = xs.shape[0]
    mask = check_flags("mask", mask, length)
    return Steps(
        xs,
        refuse_backwards(check_dt(part, dt, length), mask),
        mask,
        check_flags("reset", reset, length),
        step_keys(key, length) if part.stochastic else None,
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


def check_parts(state: Any, parts: int, what: str) -> tuple:
    """The states of several parts, (None, ...) for None."""
    if state is None:
        return (None,) * parts
    if type(state) not in (tuple, list) or len(state) != parts:
        raise ValueError(
            f"expected the state of {what} as a tuple of {parts}, one entry each, got {show(state)}"
        )
    return tuple(state)


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


_FORWARDS: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def refuse_backwards(dt: Any, mask: Any = None) -> Any:
    """`dt`, where no valid step has one below 0: time does not run backwards.

    A ValueError where the numbers are known, a runtime error where they are traced; of the layers
    of a model the first looks, for all.
    """
    if dt is None or _FORWARDS.get(id(dt)) is dt:
        return dt
    flags = None if mask is None else on_host(mask)
    known = on_host(dt) if mask is None or flags is not None else None
    if known is None:
        wrong = dt < 0 if mask is None else (dt < 0) & mask
        dt = runtime_error_if(dt, jnp.any(wrong), f"dt must not be negative: {_SORTED}")
        _FORWARDS[id(dt)] = dt
        return dt
    wrong = known < 0 if flags is None else (known < 0) & flags
    if wrong.any():
        at = place(wrong)
        where = f" at step {at[0]}" if at else ""
        raise ValueError(f"expected dt of at least 0, got {known[at]}{where}: {_SORTED}")
    return dt


_SORTED = "sort the samples by time; rz.elapsed(times) gives dt from time stamps"


def check_state(cell: Any, state: Any) -> PyTree[Array]:
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


def _check_arrays(cell: Any, state: Any) -> None:
    for leaf in jax.tree.leaves(state):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise TypeError(
                f"expected init_state() of {_name(cell)} to give arrays, got {leaf!r} in "
                f"{show(state)}: a number has no dtype of its own, write jnp.zeros(()) for 0.0 or "
                "jnp.zeros((), int) for a counter"
            )


def check_step(cell: Any, before: PyTree, after: Any, y: Any) -> None:
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


def check_output(cell: Any, y: Any) -> None:
    """A ValueError for an output of another size than the cell says."""
    if getattr(y, "shape", None) != (cell.output_size,):
        raise ValueError(
            f"expected the output of {_name(cell)} as one array of shape ({cell.output_size},), "
            f"as its output_size says, got {show(y)}"
        )


def _in_dtype(given: Any, expected: Any) -> Any:
    return given if is_key(expected) else jnp.asarray(exactly("state", given), expected.dtype)


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


def _name(part: PyTree) -> str:
    return type(part).__name__


def check_sizes(**sizes: int) -> None:
    """Every size is an integer of at least 1, or a ValueError names the first that is not."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"expected {name} to be an integer of at least 1, got {size!r}")


def check_place(place: tuple[int, int]) -> tuple[int, int]:
    """Which of how many, (0, n) to (n - 1, n), or a ValueError."""
    index, count = place
    if not 0 <= index < count:
        raise ValueError(
            "expected place to be (index, count) with 0 <= index < count, a block of a stack, "
            f"got {place}"
        )
    return index, count


def check_positive(name: str, value: float, *, zero: bool = False) -> float:
    """A positive number (or, with `zero`, one that is not negative), or a ValueError."""
    if not (value > 0 or (zero and value == 0)):
        bound = "at least 0" if zero else "above 0"
        raise ValueError(f"expected {name} {bound}, got {value}")
    return float(value)


def check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds of a log-uniform number, or a ValueError."""
    low, high = bounds
    if not 0 < low <= high:
        raise ValueError(f"expected a range (low, high) with 0 < low <= high, got {bounds}")
    return low, high


def check_choice(name: str, value: Any, known: Any) -> Any:
    """`value` where it is one of the known, or a ValueError."""
    if value not in known:
        raise ValueError(f"expected {name} to be one of {tuple(known)}, got {value!r}")
    return value


def check_traced(value: Any, holds: Any, expected: str) -> Any:
    """`value` where the condition holds, else a ValueError; where it is traced, a runtime error."""
    if isinstance(holds, Tracer):
        return eqx.error_if(value, ~holds, f"expected {expected}")
    if not holds:
        raise ValueError(f"expected {expected}, got {value}")
    return value


def no_time_message(name: str) -> str:
    """What to say when a cell without a physical time is given a `dt`."""
    return (
        f"{name} has no physical time and takes no dt: rz.list_cells(timed=True) names the cells "
        "that do"
    )


def show(tree: PyTree) -> str:
    """A tree with the dtypes and shapes of its arrays, for error messages."""
    return eqx.tree_pformat(tree, struct_as_array=True)


def one_like(name: str, known: Any) -> str:
    """The end of an error message about an unknown name."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known are: {', '.join(known)}" if hint else f"; known are: {', '.join(known)}"
