"""From a rule that draws samples to the three parts of a data set."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import Array

from ._generator import generator
from .batches import Batch, to_jax


# A number of samples to the fields of their batch, in the order of `Batch`.
Sample = Callable[[np.random.Generator, int], tuple[Any, ...]]


def draw(
    sample: Sample,
    key: Array,
    sizes: tuple[int, int, int],
    *,
    test_sample: Sample | None = None,
) -> tuple[Batch, Batch | None, Batch]:
    """Train, valid and test parts from streams of their own, so that the size of one part never
    changes the samples of another. `test_sample` draws the test part where its rule differs."""
    n_train, n_valid, n_test = sizes
    if n_train < 1 or n_valid < 0 or n_test < 1:
        raise ValueError(f"expected n_train >= 1, n_valid >= 0 and n_test >= 1, got {sizes}")

    def part(rule, rng, n):
        return to_jax(Batch(*rule(rng, n)))

    train, valid, test = generator(key).spawn(3)
    return (
        part(sample, train, n_train),
        part(sample, valid, n_valid) if n_valid else None,
        part(test_sample or sample, test, n_test),
    )


def drawn_splits(sizes: tuple[int, int, int]) -> str:
    return "{} train, {} valid, {} test sequences, drawn independently".format(*sizes)


def encode(tokens: np.ndarray, size: int, encoding: str) -> np.ndarray:
    """Tokens as they are, or one-hot: (samples, time, size) float32."""
    if encoding not in ("one_hot", "tokens"):
        raise ValueError(f"expected encoding 'one_hot' or 'tokens', got {encoding!r}")
    return np.eye(size, dtype=np.float32)[tokens] if encoding == "one_hot" else tokens
