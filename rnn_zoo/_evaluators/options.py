"""What a user says of `method="chunks"`, and what they are told."""

import contextlib
import dataclasses
import math
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._common.checks import check_choice


GRADIENTS = ("exact", "two-pass")
# Steps of a chunk by "auto", over the square root of the length. A guess.
SHARE = 0.5
SHORTEST = 16


@dataclasses.dataclass(frozen=True)
class Chunks:
    """Options of `method="chunks"`; the object stands where the string does.

    - `size`: steps of a chunk; `"auto"`: a power of two near half the square root of the length, at
      least 16. A chunk in which the network forgets what it does not mean to keep needs the fewest
      passes.
    - `tol`: the largest joint that counts as closed, each number of a state in units of the larger
      of 1 and the largest that it becomes; None: 1e-5, in double precision 1e-12.
    - `seeds`: how many states a pass of level 1 starts each chunk from; three rounds may follow.
    - `branches`: the most that are told apart at a joint.
    - `newton`: whether level 3 is tried, whose Jacobians of chunks take chunks times n^2 numbers.
    - `gradient`: `"exact"`: one linear solve over the joints; `"two-pass"`: what a chunk hands on
      to the next but one is left out, which is cheaper, and as wrong as a chunk remembers.
    - `at_once`: how many chunks a gradient goes through at once, on each device; None: all. With a
      number it keeps the steps of so many chunks, and of the others their starts alone. That takes
      one more pass, each chunk once more in a gradient, and one group of chunks after the other.
    - `strict`: an error where chunks are left to level 4, in place of the time that it takes.

    ValueError or TypeError for what is none of these.
    """

    size: int | str = "auto"
    tol: float | None = None
    seeds: int = 16
    branches: int = 8
    newton: bool = True
    gradient: str = "exact"
    at_once: int | None = None
    strict: bool = False

    def __post_init__(self):
        if not isinstance(self.size, str) or self.size != "auto":
            _at_least("size", self.size, 1)
        _at_least("seeds", self.seeds, 2)
        _at_least("branches", self.branches, 1)
        if self.at_once is not None:
            _at_least("at_once", self.at_once, 1)
        if self.tol is not None and not (math.isfinite(self.tol) and self.tol > 0):
            raise ValueError(f"expected tol to be a positive number or None, got {self.tol!r}")
        check_choice("gradient", self.gradient, GRADIENTS)

    def steps(self, length: int) -> int:
        """The steps of a chunk of a sequence."""
        if not isinstance(self.size, str):
            return operator.index(self.size)
        wanted = SHARE * math.sqrt(max(length, 1))
        return max(SHORTEST, 1 << math.ceil(math.log2(wanted)) if wanted > 1 else 1)

    def closed(self, dtype: Any) -> float:
        """The largest joint that counts as closed."""
        if self.tol is not None:
            return self.tol
        return 1e-5 if jnp.finfo(dtype).bits <= 32 else 1e-12


# What `method="auto"` means for cells that are not linear. A part of the key of jax's caches.
_INSIDE = jax.make_user_context("auto")


def check_method(method: str | Chunks) -> str | Chunks:
    """The method of a model, whose cells choose among the others. ValueError for one of those."""
    if not isinstance(method, Chunks) and method not in ("auto", "chunks", "cudnn"):
        raise ValueError(
            'expected method to be "auto", "chunks", "cudnn" or a rnn_zoo.scan.Chunks, '
            f"got {method!r}"
        )
    return method


def options_inside(method: str | Chunks) -> contextlib.AbstractContextManager:
    """Inside, "auto" is this method; "auto" leaves it as it is."""
    return contextlib.nullcontext() if method == "auto" else _INSIDE(method)


def chosen_inside() -> str | Chunks:
    """What "auto" means here."""
    return _INSIDE.value


class Report(NamedTuple):
    """What a run by `method="chunks"` did."""

    level: Array
    """0: the network forgets; 1: branches; 2: branches found late; 3: Newton; 4: chunk by chunk."""
    passes: Array
    """How often all chunks ran side by side."""
    reruns: Array
    """Chunks that ran one after the other at the end."""
    branches: Array
    """The most that were told apart at a joint, one more than allowed where they did not merge; 0
    where none were looked for."""
    wrong: Array
    """Joints that were open after the passes."""
    joint: Array
    """The largest joint after the passes, in the units of `tol`."""
    error: Array
    """How far the states are from those of the loop, estimated from the joints and from what chunks
    do to small changes of their start, in the units of `tol`; 0 where chunks ran again."""
    size: int
    """Steps of a chunk."""
    chunks: int

    @property
    def steps_in_a_row(self) -> Array:
        """What the loop takes one step for each of; passes and reruns take a chunk each."""
        return (self.passes + self.reruns) * self.size


def one_chunk(length: int) -> Report:
    """Of a sequence that one chunk holds, which the loop runs."""
    number, none = jnp.int32(0), jnp.zeros(())
    return Report(number, number + 1, number, number, number, none, none, length, 1)


def _at_least(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"expected {name} to be a whole number, got {value!r}")
    if operator.index(value) < least:
        raise ValueError(f"expected {name} to be at least {least}, got {value!r}")
