"""Time stamps and lengths: what becomes of them before a cell sees a sequence.

Time stamps are large and their differences small, so differences are taken in the bits that the
time stamps came with, on the host wherever the numbers are known.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, ArrayLike, Bool, Shaped

from .._engine.unstable import Tracer, is_mapped
from .checks import check_positive
from .numbers import on_host, place
from .runtime import runtime_error_if


def lengths_to_mask(lengths: ArrayLike | Sequence, time: int) -> Bool[Array, "..."]:
    """A mask that is True for the first `lengths` steps: (...,) int to (..., time) bool.

    A length below 0 or above `time` is a ValueError, a runtime error where lengths are traced:
    nothing is cut off in silence.
    """
    known = on_host(lengths)
    counts: Any = jnp.asarray(lengths) if known is None else known
    if not jnp.issubdtype(counts.dtype, jnp.integer):
        raise TypeError(f"expected integer lengths, got {counts.dtype}")
    outside = (counts < 0) | (counts > time)
    if known is None:
        message = f"lengths must lie in [0, {time}]"
        counts = runtime_error_if(counts, jnp.any(outside), message)
    elif np.any(outside):
        at = place(np.asarray(outside))
        raise ValueError(f"lengths must lie in [0, {time}], got {known[at]} at {list(at)}")
    steps = jnp.arange(time).reshape((1,) * counts.ndim + (time,))
    return steps < jnp.expand_dims(jnp.asarray(counts, steps.dtype), -1)


def elapsed(
    times: ArrayLike | Sequence,
    mask: ArrayLike | Sequence | None = None,
    *,
    first: ArrayLike = 1.0,
    scale: Any = 1.0,
) -> Shaped[Array, " time"]:
    """The time since the last valid step, for each step: the `dt` of irregular samples.

    `times` (time,) holds the time of each sample; `scale` is how much of it one nominal step of the
    cell is: 3600.0 for times in seconds and a step of an hour. Dates, `np.datetime64`, take a
    `np.timedelta64(1, "h")`. The first valid step, which has nothing before it, gets `first`, by
    default one nominal step (with 0 most timed cells would not see that sample at all). Masked
    steps get 1, as the evaluators give them.

    Differences are taken in the 64 bits of the host, or exactly for integers, before anything
    becomes a float32: for lists, for NumPy and JAX arrays, with any mask, under `jax.vmap` of
    NumPy arrays too. A JAX array made of 64-bit times, and an argument of a jitted function,
    has lost them before it comes here; that shows where two neighbours are one float apart or
    less and a float at this time covers more than a tenth of a step, and is an error as well.

    **Raises:** ValueError, a runtime error where the numbers are traced, for a time that runs
    backwards over the valid steps, that is not finite, or that its dtype cannot tell from the
    time before, and for a `scale` that is not above 0; TypeError for dates without the `scale` that
    says their unit.
    """
    times, scale = _counted(times, scale)
    stamps, flags = _stamps(times, mask)
    shape = jnp.shape(stamps)
    if len(shape) != 1:
        raise ValueError(f"expected times of shape (time,), got {shape}: use jax.vmap")
    if flags is not None and (flags.shape != shape or flags.dtype != bool):
        raise ValueError(
            f"expected mask of shape {shape} and dtype bool, got {flags.shape}, {flags.dtype}"
        )
    return _elapsed(stamps, flags, first, scale)


def _counted(times: Any, scale: Any) -> tuple[Any, float]:
    """Dates as whole numbers of their own unit, and the scale in this unit."""
    if isinstance(scale, np.timedelta64):
        dates = np.asarray(times)
        if dates.dtype.kind != "M":
            raise TypeError(
                f"expected scale as a number for times of dtype {dates.dtype}, got {scale!r}: a "
                "time span is for dates, np.datetime64"
            )
        if np.isnat(dates).any():
            raise ValueError("expected times that are known, got NaT: leave those samples out")
        unit, count = np.datetime_data(dates.dtype)
        times, scale = dates.astype(np.int64), scale / np.timedelta64(count, unit)
    return times, check_positive("scale", scale)


def _stamps(times: Any, mask: Any) -> tuple[Any, Any]:
    """Both on the host where they are known."""
    known = on_host(times)
    stamps: Any = jnp.asarray(times) if known is None else known
    if not jnp.issubdtype(stamps.dtype, jnp.floating) and stamps.dtype.kind not in "iu":
        dates = stamps.dtype.kind in "mM"
        mend = ': say what one nominal step is, scale=np.timedelta64(1, "s")' if dates else ""
        raise TypeError(f"expected times as real numbers, got {stamps.dtype}{mend}")
    flags = None if mask is None else on_host(mask)
    return stamps, jnp.asarray(mask) if mask is not None and flags is None else flags


def _is_float(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _elapsed(times: Any, mask: Any, first: Any, scale: float) -> Array:
    """`elapsed` with leading axes, (..., time), of checked arguments."""
    if isinstance(times, np.ndarray) and not isinstance(mask, Tracer):
        return _on_host(times, mask, first, scale)
    # Of an argument of vmap its own array may be one of the host, with all of its bits.
    if is_mapped(times) or is_mapped(mask):
        return _mapped(times, mask, first, scale)
    dtype = _dtype(times)
    parts = _split(times) if isinstance(times, np.ndarray) else _Parts((times,), _reach(times))
    mask = jnp.ones(jnp.shape(times), bool) if mask is None else mask
    return _traced(parts, mask, jnp.asarray(first, dtype), dtype, scale)


def _dtype(times: Any) -> Any:
    """The float of the result, never below float32."""
    if _is_float(times):
        given = np.float64 if times.dtype == np.longdouble else times.dtype
        return jnp.promote_types(jax.dtypes.canonicalize_dtype(given), jnp.float32)
    return jnp.result_type(float)


# Neighbours are not told apart where they are one float apart or less, and a float covers more than
# this share of a nominal step: smaller ones are simultaneous samples.
COARSE = 0.1


# --- on the host ----------------------------------------------------------------------------------


def _on_host(times: np.ndarray, mask: np.ndarray | None, first: Any, scale: float) -> Array:
    dtype, given = _dtype(times), times.dtype
    times = _wide(times)
    mask = np.ones(times.shape, bool) if mask is None else np.broadcast_to(mask, times.shape)
    _refuse(mask & ~np.isfinite(times), times, "be finite")
    valid = np.where(mask, times, np.zeros_like(times))
    steps = np.arange(times.shape[-1])
    last = np.maximum.accumulate(np.where(mask, steps, -1), axis=-1)
    before = np.concatenate([np.full((*last.shape[:-1], 1), -1), last], axis=-1)[..., :-1]
    earlier = np.take_along_axis(valid, np.maximum(before, 0), axis=-1)
    counts = mask & (before >= 0)
    _refuse(counts & (valid < earlier), times, "not decrease over the valid steps")
    if times.dtype.kind in "iu":
        # Right for every pair of 64-bit integers, since what wraps around wraps back.
        passed = np.float64(valid.astype(np.uint64) - earlier.astype(np.uint64))
    else:
        passed, spacing = valid - earlier, _spacing(valid, given)
        _refuse(counts & (passed <= spacing) & (spacing > COARSE * scale), times, _apart(given))
    dt = jnp.asarray(np.where(counts, passed / scale, 1.0).astype(dtype))
    return jnp.where(jnp.asarray(mask & ~counts), jnp.asarray(first, dtype), dt)


def _wide(times: np.ndarray) -> np.ndarray:
    """16-bit floats as float32, which NumPy computes with."""
    half = _is_float(times) and times.dtype.itemsize == 2
    return times.astype(np.float32) if half else times


def _spacing(times: np.ndarray, dtype: Any) -> np.ndarray:
    """How far apart neighbours of `dtype` are at these times."""
    return np.ldexp(np.float64(jnp.finfo(dtype).eps), np.frexp(times)[1] - 1)


def _apart(dtype: Any) -> str:
    return (
        f"be told apart from the one before in {dtype}, where neighbours look alike: give them in "
        "float64 or as integers, in NumPy, or count them from the first one"
    )


def _refuse(wrong: np.ndarray, times: np.ndarray, rule: str) -> None:
    if wrong.any():
        at = place(wrong)
        at = at[0] if len(at) == 1 else at
        raise ValueError(f"times must {rule}; at step {at} stands {times[at]}")


# --- in a traced program --------------------------------------------------------------------------


class _Parts(NamedTuple):
    """Times as a sum of arrays (..., time), the largest first, and the distance of floats there."""

    arrays: tuple[Any, ...]
    spacing: Any


def _reach(times: Array) -> Array | None:
    """The distance to the next float; None for integers."""
    if not _is_float(times):
        return None
    size = lax.stop_gradient(jnp.abs(times))
    return jnp.nextafter(size, jnp.full_like(size, jnp.inf)) - size


def _split(times: np.ndarray) -> _Parts:
    """Times of the host in three arrays that JAX holds as they are."""
    dtype = jnp.result_type(float)
    if times.dtype.kind in "iu":
        # From the earliest on, since a traced mask does not say which is the first.
        rest = times.astype(np.uint64) - times.min(initial=np.iinfo(times.dtype).max).astype(
            np.uint64
        )
        low = np.uint64(2**22 - 1)
        cut = (
            rest >> np.uint64(44) << np.uint64(44),
            (rest >> np.uint64(22) & low) << np.uint64(22),
        )
        return _Parts(tuple(a.astype(dtype) for a in (*cut, rest & low)), None)
    spacing, times = _spacing(times, times.dtype), _wide(times)
    start = times[np.isfinite(times)]
    rest, arrays = times - (start[0] if start.size else 0), []
    for _ in range(3):
        arrays.append(rest.astype(dtype))
        rest = np.where(np.isfinite(rest), rest - arrays[-1].astype(rest.dtype), 0)
    return _Parts(tuple(arrays), spacing.astype(dtype))


def _traced(parts: _Parts, mask: Array, first: Array, dtype: Any, scale: float) -> Array:
    whole = jnp.asarray(parts.arrays[0])
    # Index of the last valid step at or before each step, then shifted by one.
    steps = jnp.arange(whole.shape[-1])
    last = lax.cummax(jnp.where(mask, steps, -1), mask.ndim - 1)
    before = jnp.concatenate([jnp.full_like(last[..., :1], -1), last], axis=-1)[..., :-1]
    counts = mask & (before >= 0)
    passed, wrong = jnp.zeros(whole.shape, dtype), jnp.zeros(whole.shape, bool)
    for array in map(jnp.asarray, parts.arrays):
        valid = jnp.where(mask, array, jnp.zeros_like(array))
        earlier = jnp.take_along_axis(valid, jnp.maximum(before, 0), axis=-1)
        if _is_float(array):
            wrong |= mask & ~jnp.isfinite(array)
            passed += (valid - earlier).astype(dtype)
        else:
            wrong |= counts & (valid < earlier)
            wide = jnp.dtype(f"uint{8 * array.dtype.itemsize}")
            passed += (valid.astype(wide) - earlier.astype(wide)).astype(dtype)
    wrong |= counts & (passed < 0)
    if parts.spacing is not None:
        spacing = jnp.asarray(parts.spacing)
        wrong |= counts & (passed <= spacing.astype(dtype)) & (spacing > COARSE * scale)
    passed = passed / scale
    dt = jnp.where(counts, passed, jnp.ones_like(passed))
    dt = jnp.where(mask & ~counts, first, dt)
    message = "times must be finite, not decrease over the valid steps, and " + _apart(whole.dtype)
    return runtime_error_if(dt, jnp.any(wrong), message)


def _mapped(times: Any, mask: Any, first: Any, scale: float) -> Array:
    """`_elapsed` inside of vmap, of the arrays that vmap was given."""
    given = {"times": times, "mask": mask, "first": first}
    # What is no argument of vmap stays out of it, and keeps its bits.
    moving = {name: value for name, value in given.items() if isinstance(value, Tracer)}
    rank = jnp.ndim(times)

    def call(moving: dict[str, Any]) -> Array:
        return _elapsed(**{**given, **moving}, scale=scale)

    def batched(size: int, in_batched: Any, moving: dict[str, Any]) -> tuple[Array, bool]:
        mapped = {name for name, yes in in_batched[0].items() if yes}
        spread = {
            name: None if value is None else _spread(value, name in mapped, rank)
            for name, value in {**given, **moving}.items()
        }
        spread["times"] = _broadcast(spread["times"], size)
        return _elapsed(**spread, scale=scale), True

    rule = custom_vmap(call)
    rule.def_vmap(batched)
    return rule(moving)


def _spread(value: Any, mapped: bool, rank: int) -> Any:
    """(size, ..., time), or (size, ..., 1) of a scalar; 1 for the size of what is not mapped."""
    known = on_host(value)
    array = value if known is None else known
    array = array if mapped else array[None]
    missing = (1,) * (rank + 1 - array.ndim)
    return array.reshape(*array.shape[:1], *missing, *array.shape[1:])


def _broadcast(array: Any, size: int) -> Any:
    module: Any = np if isinstance(array, np.ndarray) else jnp
    return module.broadcast_to(array, (size, *array.shape[1:]))
