"""A model as a table: what its parts are, what they hold, what they can."""

import math
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ._common.fixed import Fixed
from .base import AbstractCell
from .layers.base import AbstractLayer


HEAD = ("part", "class", "in -> out", "parameters", "fixed", "state", "")


def summary(model: Any) -> str:
    """A table of a cell, a layer or a model, one row for each part that is a module.

    - "parameters": numbers that train, `eqx.is_inexact_array`; complex ones count twice.
    - "fixed": numbers in arrays that nothing trains, such as a reservoir's or a permutation.
    - "state": numbers that a step hands to the next, of what has a state.
    - behind them: linear, timed, stochastic, where the part is.

    A row has all that its parts have, so the first row is the model's. TypeError for what is no
    `eqx.Module`.
    """
    if not isinstance(model, eqx.Module):
        raise TypeError(f"expected a cell, a layer or a model, got {type(model).__name__}")
    rows = [HEAD, *(_row(name, depth, part) for name, depth, part in _parts("", 0, model))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    right = {3, 4, 5}
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], _size(model)])


def _parts(name: str, depth: int, part: Any) -> Iterator[tuple[str, int, eqx.Module]]:
    """Modules inside modules, by field or place; those of Equinox are shown whole."""
    if isinstance(part, eqx.Module) and not isinstance(part, Fixed):
        yield name, depth, part
        if not type(part).__module__.startswith("equinox."):
            for field, value in vars(part).items():
                yield from _parts(field, depth + 1, value)
    elif isinstance(part, tuple | list):
        for i, value in enumerate(part):
            yield from _parts(f"{name}[{i}]", depth, value)


def _row(name: str, depth: int, part: eqx.Module) -> tuple[str, ...]:
    sizes = [getattr(part, f"{side}_size", None) for side in ("input", "output")]
    if isinstance(part, eqx.nn.Linear | eqx.nn.Embedding):
        sizes = part.weight.shape[::-1] if isinstance(part, eqx.nn.Linear) else part.weight.shape
    trained = count_numbers(eqx.filter(part, eqx.is_inexact_array))
    flags = [f for f in ("linear", "timed", "stochastic") if getattr(part, f, False) is True]
    return (
        "  " * depth + name,
        type(part).__name__,
        "" if None in sizes else f"{sizes[0]} -> {sizes[1]}",
        _number(trained),
        _number(count_numbers(eqx.filter(part, eqx.is_array)) - trained),
        _number(_state(part)),
        ", ".join(flags),
    )


def _state(part: eqx.Module) -> int:
    if not isinstance(part, AbstractCell | AbstractLayer):
        return 0
    return count_numbers(jax.eval_shape(part.init_state))


def count_numbers(tree: Any) -> int:
    """Real numbers in the arrays of a tree, or in their shapes; complex ones count twice."""
    return sum(
        math.prod(leaf.shape) * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
        for leaf in jax.tree.leaves(tree)
    )


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _size(model: eqx.Module) -> str:
    arrays = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    return f"arrays: {sum(leaf.nbytes for leaf in arrays):,} bytes"
