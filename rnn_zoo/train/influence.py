"""Which parameter moves which number of a state: what real-time recurrent learning carries.

A parameter has an influence on a state, dh/dtheta. Of all pairs only those are carried that a
`Pattern` lists: for each parameter its `units`, a few numbers of the state. Derivatives of many
units come from one pass where no parameter touches two of them, a colour (Curtis, Powell and Reid
1974, doi:10.1093/imamat/13.1.117).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree


# Points at which a derivative is looked at: what is zero at all is no influence. A rectifier is
# closed at half of them.
DRAWS = 32
MOST = 1 << 28  # pairs of a parameter and a unit that are looked at


class Slots(NamedTuple):
    """The units of the parameters of one array; sizes of 1 are axes along which all is alike."""

    units: np.ndarray  # (slots, *shape or 1s), places in the state's vector
    held: np.ndarray  # bool, alike: whether there is such a unit
    touched: np.ndarray  # bool, alike: whether one step makes this influence
    kept: (
        np.ndarray
    )  # (slots, slots, ...), bool: whether a step hands influence from one to another


@dataclass(frozen=True, eq=False)
class Pattern:
    """What is carried of a state's derivative by the parameters, slots for each of their arrays.

    It equals itself alone, so that it may be a static field.
    """

    slots: tuple[Slots, ...]
    rows: np.ndarray  # (colours, n): which units a backward pass asks for together
    columns: np.ndarray  # (colours, n): which units a forward pass moves together; none if rows do
    exact: bool  # nothing is left out


def find_pattern(step: Callable, params: PyTree, vector: Array, x: Array, whole: bool) -> Pattern:
    """The pattern of `step(params, vector, x) -> vector`.

    It holds what one step touches, and with `whole` all that later steps make of it. Derivatives
    are looked at where parameters, state and input are random: a derivative that is zero there,
    every time, is zero.
    """
    leaves, structure = jax.tree.flatten(params)
    n, count = len(vector), sum(leaf.size for leaf in leaves)
    if n * count > MOST:
        raise ValueError(
            f"expected at most {MOST} pairs of a parameter and a number of the state, got {count} "
            f"parameters and {n} numbers: use a smaller model"
        )

    def row(flat: list[Array], vector: Array, x: Array, unit: Array) -> tuple[list[Array], Array]:
        def one(flat, vector):
            return step(jax.tree.unflatten(structure, flat), vector, x)[unit]

        return jax.tree.map(lambda g: g != 0, jax.grad(one, argnums=(0, 1))(flat, vector))

    touched = [np.zeros((n, *leaf.shape), bool) for leaf in leaves]
    linked = np.zeros((n, n), bool)
    look = eqx.filter_jit(lambda a, b, c: lax.map(lambda unit: row(a, b, c, unit), jnp.arange(n)))
    for key in jr.split(jr.key(0), DRAWS):
        keys = jr.split(key, len(leaves) + 2)
        flat = [leaf + 0.3 * jr.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys)]
        near = 0.5 * jr.normal(keys[-1], vector.shape, vector.dtype)
        found, links = look(flat, near, jr.normal(keys[-2], x.shape, x.dtype))
        touched = [a | np.asarray(b) for a, b in zip(touched, found)]
        linked |= np.asarray(links)
    reached = _reached(linked) if whole else np.eye(n, dtype=bool)
    slots = tuple(_slots(one, reached, linked) for one in touched)
    exact = whole or all(_closed(one, linked) for one in touched)
    flat = np.concatenate([one.reshape(n, -1) for one in touched], axis=1)
    rows = _colours(flat @ flat.T)
    shared = linked @ linked.T & ~np.eye(n, dtype=bool)
    together = (rows @ shared) & rows  # a unit that hears of another one of its colour
    columns = _colours(linked.T @ linked) if together.any() else np.zeros((0, n), bool)
    return Pattern(slots, rows, columns, exact)


def _reached(linked: Bool[np.ndarray, "n n"]) -> Bool[np.ndarray, "n n"]:
    """[u, v]: whether v moves u, now or in later steps."""
    reached = linked | np.eye(len(linked), dtype=bool)
    for _ in range(len(linked).bit_length()):
        reached = reached @ reached
    return reached


def _closed(touched: np.ndarray, linked: Bool[np.ndarray, "n n"]) -> bool:
    flat = touched.reshape(len(touched), -1)
    return not np.any((linked @ flat) & ~flat)


def _slots(touched: np.ndarray, reached: np.ndarray, linked: np.ndarray) -> Slots:
    """The units of each parameter, the same number of places for all of an array."""
    shape = touched.shape[1:]
    flat = touched.reshape(len(touched), -1)
    pairs = reached @ flat  # (n, parameters)
    most = max(int(pairs.sum(axis=0).max(initial=0)), 0)
    units = np.argsort(~pairs, axis=0, kind="stable")[:most]
    held = np.take_along_axis(pairs, units, axis=0)
    now = np.take_along_axis(flat, units, axis=0)
    parts = [a.reshape(most, *shape) for a in (units, held, now)]
    for axis in range(1, len(shape) + 1):
        if most and all((a == a.take([0], axis)).all() for a in parts):
            parts = [a.take([0], axis) for a in parts]
    units, held, now = parts
    kept = linked[units[:, None], units[None]] & held[:, None] & held[None]
    return Slots(units, held, now, kept)


def _colours(conflicts: Bool[np.ndarray, "n n"]) -> Bool[np.ndarray, "colours n"]:
    """Groups of units without conflicts, greedily."""
    groups: list[list[int]] = []
    for unit in range(len(conflicts)):
        for group in groups:
            if not conflicts[unit, group].any():
                group.append(unit)
                break
        else:
            groups.append([unit])
    rows = np.zeros((len(groups), len(conflicts)), bool)
    for row, group in zip(rows, groups):
        row[group] = True
    return rows


def no_influence(pattern: Pattern, leaves: list[Array]) -> tuple[Array, ...]:
    """Zeros: at the start a state depends on no parameter."""
    return tuple(
        jnp.zeros((len(slot.units), *leaf.shape), leaf.dtype)
        for slot, leaf in zip(pattern.slots, leaves)
    )


def push_influence(
    pattern: Pattern, step: Callable, leaves: list[Array], vector: Array, before: tuple[Array, ...]
) -> tuple[Float[Array, " n"], tuple[Array, ...]]:
    r"""The state after `step(leaves, vector)`, and the influence on it.

    $$P' = \frac{\partial h'}{\partial h} P + \frac{\partial h'}{\partial \theta}$$
    """
    rows = jnp.asarray(pattern.rows, vector.dtype)
    if len(pattern.columns):
        after, back = jax.vjp(lambda leaves: step(leaves, vector), leaves)
        (made,) = jax.vmap(back)(rows)
        _, forth = jax.linearize(lambda vector: step(leaves, vector), vector)
        columns = jnp.asarray(pattern.columns, vector.dtype)
        slopes = jax.vmap(forth)(columns).T
    else:
        after, back = jax.vjp(step, leaves, vector)
        made, slopes = jax.vmap(back)(rows)
    of_row = pattern.rows.argmax(axis=0)
    of_column = pattern.columns.argmax(axis=0) if len(pattern.columns) else None
    new = []
    for slot, leaf, old in zip(pattern.slots, made, before):
        if not len(slot.units):
            new.append(old)
            continue
        # Of this parameter, what the pass of each unit's colour says.
        own = _along(leaf, of_row[slot.units])
        to, by = slot.units[:, None], slot.units[None]
        slope = slopes[of_row[to], by] if of_column is None else slopes[to, of_column[by]]
        slope = jnp.where(slot.kept, slope, 0)
        carried = jnp.sum(slope * old[None], axis=1)
        new.append(carried + jnp.where(slot.touched, own, 0))
    return after, tuple(new)


def _along(made: Array, colour: np.ndarray) -> Array:
    """made[colour] of each parameter: (colours, *shape) to (slots, *shape)."""
    one = colour.reshape(len(colour), -1)
    if (one == one[:, :1]).all():  # a slot has one colour: no gathering
        return made if np.array_equal(one[:, 0], np.arange(len(made))) else made[one[:, 0]]
    return jnp.take_along_axis(made, jnp.asarray(colour), axis=0)


def weighed(pattern: Pattern, influence: tuple[Array, ...], gradient: Float[Array, " n"]) -> list:
    """The gradient by the parameters that a gradient by the state gives."""
    return [
        jnp.sum(jnp.where(slot.held, gradient[slot.units], 0) * one, axis=0)
        for slot, one in zip(pattern.slots, influence)
    ]
