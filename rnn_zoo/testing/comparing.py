"""What laws compare: steps and loops in Python, gradients, and how close two trees are."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._common.checks import show
from .._common.keys import is_key
from ..scan import unroll


# All laws that ask for gradients over many steps share one program of each cell: of a segment of so
# many steps. A longer sequence is several, and silence and short ones are padded.
SEGMENT = 500


def assert_close(one: Any, two: Any, tolerance: float | int) -> None:
    """Two trees: same structure, shapes and dtypes, values to a tolerance; the second is expected.

    AssertionError with the place that is furthest off.
    """
    if jax.tree.structure(one) != jax.tree.structure(two):
        raise AssertionError(f"expected {show(two)}, got {show(one)}")
    found = jax.tree_util.tree_leaves_with_path(one)
    for (path, a), b in zip(found, jax.tree.leaves(two)):
        a, b = _plain(a), _plain(b)
        at = jax.tree_util.keystr(path)
        at = at and f" at {at}"
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise AssertionError(
                f"expected {b.dtype}{list(b.shape)}, got {a.dtype}{list(a.shape)}{at}"
            )
        _assert_near(a, b, tolerance, at)


def _plain(leaf: Any) -> Any:
    # A Python number has the dtype that JAX gives it.
    leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    return np.asarray(jr.key_data(leaf) if is_key(leaf) else leaf)


def _assert_near(a: Any, b: Any, tolerance: float | int, at: str) -> None:
    inexact = jnp.issubdtype(a.dtype, jnp.inexact)
    if inexact and a.dtype.itemsize == 2:
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    margin = {"rtol": tolerance, "atol": tolerance} if inexact else {"rtol": 0, "atol": 0}
    near = np.isclose(a, b, equal_nan=inexact, **margin)
    if near.all():
        return
    with np.errstate(invalid="ignore"):
        off = np.where(near, 0, np.abs(a - b) if inexact else 1)
    worst = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), a.shape)
    place = at or (a.ndim and " at ") or ""
    place += str(list(map(int, worst))) if a.ndim else ""
    raise AssertionError(
        f"{near.size - near.sum()} of {near.size} numbers differ by more than {tolerance:.0e}, "
        f"most{place}: got {a[worst]}, expected {b[worst]}"
    )


def same(one: Any, two: Any) -> bool:
    """Whether two trees are equal to the bit; compared by NumPy, which compiles nothing."""
    leaves, others = (list(map(_plain, jax.tree.leaves(tree))) for tree in (one, two))
    return jax.tree.structure(one) == jax.tree.structure(two) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(leaves, others)
    )


def finite(tree: Any) -> bool:
    """Whether all numbers of a tree are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array_like(leaf)]
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves)


def within(cell: Any, tolerance: float) -> float:
    """A tolerance of float64, or that of float32 where the state of the cell has no more."""
    leaves = jax.tree.leaves(jax.eval_shape(cell.init_state))
    kinds = [jnp.finfo(leaf.dtype) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return max([tolerance, *(1e3 * float(kind.eps) for kind in kinds if kind.bits < 64)])


# --- steps and loops ------------------------------------------------------------------------------

_one_step = eqx.filter_jit(lambda cell, *arguments, **keywords: cell.step(*arguments, **keywords))
_advance = eqx.filter_jit(
    lambda cell, state, x, dt, key: cell.advance(cell.constants(), state, x, dt, key)
)


def step(cell: Any, state: Any, x: Any, *dt: Any, **keywords: Any) -> tuple[Any, Any]:
    """One program of a step, rather than one of each of its operations, and one for all dt."""
    return _one_step(cell, state, x, *(np.asarray(time, float) for time in dt), **keywords)


def advanced(cell: Any, state: Any, x: Any, key: Any = None) -> tuple[Any, Any]:
    """One step as evaluators take it: x and dt in the working dtype, 16 bits out for 16 bits in."""
    return _advance(cell, state, x, None, key)


def loop(
    cell: Any,
    xs: Any,
    state: Any = None,
    *,
    dt: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any, Any]:
    """The semantics of the evaluators, spelled out in Python: (state, states, ys)."""
    time = len(xs)
    state = cell.init_state() if state is None else state
    order = range(time - 1, -1, -1) if reverse else range(time)
    keys = [None] * time if key is None else list(jr.split(key, time))
    keys = keys[::-1] if reverse and key is not None else keys
    states: list[Any] = [None] * time
    ys: list[Any] = [None] * time
    # Cut and joined by NumPy, which compiles nothing.
    xs = np.asarray(xs)
    for t in order:
        if reset is not None and reset[t]:
            state = cell.init_state()
        step_dt = dt if dt is None or jnp.ndim(dt) == 0 else np.asarray(np.asarray(dt)[t])
        new, y = _advance(cell, state, xs[t], step_dt, keys[t])
        if mask is not None and not mask[t]:
            new, y = state, np.zeros_like(y)
        state, states[t], ys[t] = new, new, y
    return state, jax.tree.map(lambda *s: np.stack(s), *states), np.stack(ys)


# --- gradients ------------------------------------------------------------------------------------


@eqx.filter_jit
def _segment(
    at: tuple[Any, Any, Any], own: tuple[Any, Any], ahead: Any, rest: Any
) -> tuple[Any, ...]:
    """The state after, and the gradients of what `weights` make of the outputs, plus `ahead`."""
    (cell, state, start), (xs, weights) = at, own
    params, others = eqx.partition((cell, state), eqx.is_inexact_array)
    keywords = {name: v for name, v in zip(("dt", "key"), rest) if v is not None}

    def run(params: Any) -> tuple[Any, Any]:
        cell, state = eqx.combine(params, others)
        # The first state may have parameters of its own.
        state = jax.tree.map(lambda a, b: jnp.where(start, a, b), cell.init_state(), state)
        after, ys = unroll(cell, xs, state, **keywords)
        value = jnp.sum(weights[0] @ ys**2) + jnp.sum(weights[1] @ jnp.sin(ys))
        moving, still = eqx.partition(after, eqx.is_inexact_array)
        return (value, moving), still

    (value, moving), back, still = jax.vjp(run, params, has_aux=True)
    ((grads, before),) = back((jnp.ones_like(value), ahead))
    return eqx.combine(moving, still), value, grads, before


def gradients(
    cell: Any, xs: Any, squares: Any = None, sines: Any = None, *, dt: Any = None, key: Any = None
) -> tuple[float, Any]:
    """The value and the gradients of weighted outputs, over segments one after the other.

    `squares` and `sines` weigh the squares and the sines of the outputs of each step.
    """
    none = np.zeros(len(xs), np.float32)
    weights = np.stack([none if squares is None else squares, none if sines is None else sines])
    size = len(xs) if len(xs) < SEGMENT else SEGMENT
    state, start = cell.init_state(), np.array(True)
    ahead = jax.tree.map(np.zeros_like, eqx.filter(state, eqx.is_inexact_array))
    parts, total, grads = [], 0.0, []
    for first in range(0, len(xs), size):
        at = slice(first, first + size)
        own = xs[at], weights[:, at]
        rest = None if dt is None else dt[at], key
        parts.append((state, start, own, rest))
        if first + size < len(xs):
            state, start = _segment((cell, state, start), own, ahead, rest)[0], np.array(False)
    for state, start, own, rest in reversed(parts):
        _, value, grad, ahead = _segment((cell, state, start), own, ahead, rest)
        total += float(value)
        grads.append(grad)
    return total, jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *grads)


def direction(tree: Any, seed: int) -> Any:
    """A tangent of a tree: normal numbers."""
    leaves, treedef = jax.tree.flatten(tree)

    def tangent(seed: int, leaf: Any) -> Any:
        shape = (2, *leaf.shape) if jnp.iscomplexobj(leaf) else leaf.shape
        real = np.random.default_rng(seed).normal(size=shape)
        return np.asarray(real[0] + 1j * real[1] if jnp.iscomplexobj(leaf) else real, leaf.dtype)

    seeds = range(100 * seed, 100 * seed + len(leaves))
    return jax.tree.unflatten(treedef, [tangent(*pair) for pair in zip(seeds, leaves)])
