"""Data sets of strings of their own lengths, from a rule that labels them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax import Array

from ._drawing import draw, encode
from .dataset import GENERATED, NO_TARGET, Baseline, Dataset, DatasetInfo


# Tokens (samples, time) to the labels after every step, NO_TARGET where there is none.
Labels = Callable[[np.ndarray], np.ndarray]
Lengths = tuple[int, int]
Sizes = tuple[int, int, int]


class Card(NamedTuple):
    name: str
    symbols: int
    classes: int
    description: str
    citation: str


class Rule(NamedTuple):
    strings: Callable  # generator, samples, time -> tokens
    labels: Labels
    asked: Callable | None = None  # tokens -> which steps are asked; None: all
    every: int = 1  # lengths are 1 more than a multiple of this


class Draws(NamedTuple):
    """What the parts of a data set are drawn by."""

    key: Array
    lengths: tuple[Lengths, Lengths]  # of train and valid, of test
    sizes: Sizes


def _possible(name: str, lengths: Lengths, every: int) -> np.ndarray:
    """All lengths of this range that strings have."""
    low, high = lengths
    possible = np.arange(max(low, 1), high + 1)
    possible = possible[(possible - 1) % every == 0]
    if low < 1 or not len(possible):
        raise ValueError(f"expected {name} as (shortest, longest), at least 1, got {lengths}")
    return possible


def make_language(card: Card, rule: Rule, draws: Draws, targets: str, encoding: str) -> Dataset:
    """Strings with the labels that the rule gives them."""
    if targets not in ("last", "steps"):
        raise ValueError(f"expected targets 'last' or 'steps', got {targets!r}")

    def sampler(possible):
        def sample(rng, n):
            length, time = rng.choice(possible, n), possible[-1]
            tokens = rule.strings(rng, n, time)
            labels = rule.labels(tokens).astype(np.int32)
            mask = np.arange(time) < length[:, None]
            if targets == "last":
                y = labels[np.arange(n), length - 1]
            else:
                asked = mask if rule.asked is None else mask & rule.asked(tokens)
                y = np.where(asked, labels, NO_TARGET)
            return encode(np.where(mask, tokens, 0), card.symbols, encoding), y, mask

        return sample

    return _drawn(card, draws, sampler, rule.every)


def make_answers(card: Card, answer: Callable, draws: Draws, encoding: str) -> Dataset:
    """A string, then its answer asked for symbol by symbol."""
    if card.classes < 2:
        raise ValueError(f"expected n_symbols of at least 2, got {card.classes}")

    def sampler(possible):
        time = possible[-1] + len(answer(np.arange(possible[-1])))

        def sample(rng, n):
            tokens = np.zeros((n, time), np.int32)
            y = np.full((n, time), NO_TARGET, np.int32)
            mask = np.zeros((n, time), bool)
            for i, length in enumerate(rng.choice(possible, n)):
                string = rng.integers(0, card.classes, length, np.int32)
                said = answer(string)
                end = length + len(said)
                tokens[i, :length], tokens[i, length:end] = string, card.classes
                y[i, length:end], mask[i, :end] = said, True
            return encode(tokens, card.symbols, encoding), y, mask

        return sample

    return _drawn(card, draws, sampler)


def _drawn(card: Card, draws: Draws, sampler: Callable, every: int = 1) -> Dataset:
    names = ("lengths", "test_lengths")
    possible = [_possible(name, pair, every) for name, pair in zip(names, draws.lengths)]
    sizes = draws.sizes
    parts = draw(sampler(possible[0]), draws.key, sizes, test_sample=sampler(possible[1]))
    labels = np.asarray(parts[-1].y)
    counts = np.bincount(labels[labels != NO_TARGET], minlength=card.classes)
    spans = [f"{each[0]} to {each[-1]}" for each in possible]
    info = DatasetInfo(
        name=card.name,
        task="classification",
        input_size=card.symbols,
        output_size=card.classes,
        description=card.description,
        source="generated",
        citation=card.citation,
        licence=GENERATED,
        splits=f"{sizes[0]} train and {sizes[1]} valid strings of length {spans[0]}, "
        f"{sizes[2]} test strings of length {spans[1]}",
        baselines=(
            Baseline("guessing", "accuracy", 1 / card.classes, "1 / number of classes"),
            Baseline(
                "the most frequent label",
                "accuracy",
                float(counts.max() / max(counts.sum(), 1)),
                "its share in the test part",
            ),
        ),
    )
    return Dataset(*parts, info)
