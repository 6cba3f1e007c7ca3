"""Formal languages: short to train on, long to test on, with rules that are exact.

A string is a sequence of tokens of its own length; training and test lengths lie apart, since what
such tasks show is whether the rule was learned. Labels come from the rule, so 1.0 can be reached.
"""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ._strings import Card, Draws, Lengths, Rule, make_answers, make_language
from .batches import Batch
from .dataset import NO_TARGET, Dataset


CHOMSKY = "Delétang et al. 2023, arXiv:2207.02098"


def ask_last(batch: Batch) -> Batch:
    """Labels of strings as targets of their last steps: (samples,) -> (samples, time).

    All other steps have no target, -1. With it a model that answers at every step is judged by its
    last answer. Raises ValueError where targets are per step, or where there is no mask.
    """
    if batch.mask is None or np.ndim(batch.y) != 1:
        raise ValueError(
            "expected strings with one label each, as load(name, targets='last') gives them"
        )
    length = np.asarray(batch.mask).sum(axis=1)
    last = np.arange(batch.x.shape[1]) == length[:, None] - 1
    targets = np.where(last, np.asarray(batch.y)[:, None], NO_TARGET)
    return Batch(batch.x, jnp.asarray(targets, jnp.int32), batch.mask)


def even_pairs(
    *,
    key: Array,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "last",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Whether "ab" and "ba" together occur an even number of times: the first symbol is the last.

    Arguments, shapes and errors are those of `parity`; tokens 0, 1; label 1 for yes.

    Delétang et al. (2023), arXiv:2207.02098.
    """
    card = Card("even_pairs", 2, 2, "Are the first and the last symbol equal?", CHOMSKY)
    rule = Rule(_uniform(2), lambda tokens: (tokens == tokens[:, :1]).astype(np.int32))
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def parity(
    *,
    key: Array,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "last",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Whether the number of ones is odd.

    - `lengths`: the shortest and the longest string of the train and valid parts, all lengths
      alike; `test_lengths`: those of the test part.
    - `targets`: "last", a label for each string, `y` (samples,); or "steps", the label of the
      string so far at every step, (samples, time), with -1 (no target) at padding.
    - `encoding`: "one_hot", `x` (samples, time, symbols); or "tokens", (samples, time) int.

    `mask` marks the steps of the string. Raises ValueError for lengths that are none.

    Delétang et al. (2023), arXiv:2207.02098.
    """
    card = Card("parity", 2, 2, "Is the number of ones odd?", CHOMSKY)
    rule = Rule(_uniform(2), lambda tokens: np.cumsum(tokens, axis=1) % 2)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def cycle_navigation(
    *,
    key: Array,
    size: int = 5,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "last",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Where one stands on a cycle of `size` places after steps of 0, +1 and -1 (tokens 0, 1, 2).

    Arguments, shapes and errors are those of `parity`; the label is the place, 0 at the start.

    Delétang et al. (2023), arXiv:2207.02098.
    """
    if size < 2:
        raise ValueError(f"expected size of at least 2, got {size}")
    moves = np.array([0, 1, -1])
    card = Card(
        "cycle_navigation",
        3,
        size,
        f"The place on a cycle of {size} after steps of 0, +1 and -1.",
        CHOMSKY,
    )
    rule = Rule(_uniform(3), lambda tokens: np.cumsum(moves[tokens], axis=1) % size)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def modular_arithmetic(
    *,
    key: Array,
    modulus: int = 5,
    lengths: Lengths = (1, 39),
    test_lengths: Lengths = (41, 255),
    targets: str = "last",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """The value of an expression without brackets, modulo `modulus`; products come before sums.

    Digits (tokens 0 to `modulus` - 1) and the operations + - * (the three tokens behind them) take
    turns, so lengths are odd; bounds that are even are drawn in. With `targets="steps"` there is a
    target at every digit. Otherwise as `parity`.

    Delétang et al. (2023), arXiv:2207.02098.
    """
    if modulus < 2:
        raise ValueError(f"expected modulus of at least 2, got {modulus}")

    def strings(rng, n, time):
        digits = rng.integers(0, modulus, (n, time), np.int32)
        operations = rng.integers(modulus, modulus + 3, (n, time), np.int32)
        return np.where(np.arange(time) % 2, operations, digits)

    def labels(tokens):
        total, term = np.zeros((2, len(tokens)), np.int32)
        values = np.full(tokens.shape, NO_TARGET, np.int32)
        operation = np.full(len(tokens), modulus)  # + before the first digit
        for t in range(0, tokens.shape[1], 2):
            digit = tokens[:, t]
            if t:
                operation = tokens[:, t - 1]
            times = operation == modulus + 2
            total = np.where(times, total, total + term)
            sign = np.where(operation == modulus + 1, -1, 1)
            term = np.where(times, term * digit, sign * digit) % modulus
            values[:, t] = (total + term) % modulus
        return values

    card = Card(
        "modular_arithmetic",
        modulus + 3,
        modulus,
        f"The value of sums and products of digits modulo {modulus}.",
        CHOMSKY,
    )
    rule = Rule(strings, labels, every=2)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def flip_flop(
    *,
    key: Array,
    ignored: float = 0.8,
    lengths: Lengths = (2, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "steps",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """One bit of memory: what was written last?

    Tokens 0 and 1 write a bit, 2 asks for it, 3 and 4 are bits to be ignored. The first token
    writes; of the others a share `ignored` is ignored, the rest writes and asks alike. The target
    is the bit written last, with `targets="steps"` where it is asked, with "last" at the end.
    Otherwise as `parity`; ValueError unless 0 <= ignored < 1.

    In the manner of Liu et al. (2023), arXiv:2306.00946, with an instruction and its bit as one
    token.
    """
    if not 0 <= ignored < 1:
        raise ValueError(f"expected ignored in [0, 1), got {ignored}")
    half, rest = ignored / 2, (1 - ignored) / 2

    def strings(rng, n, time):
        tokens = rng.choice(5, (n, time), p=[rest / 2, rest / 2, rest, half, half]).astype(np.int32)
        tokens[:, 0] = rng.integers(0, 2, n)
        return tokens

    def labels(tokens):
        written = np.maximum.accumulate(np.where(tokens < 2, np.arange(tokens.shape[1]), 0), axis=1)
        return np.take_along_axis(tokens, written, axis=1)

    card = Card(
        "flip_flop", 5, 2, "The bit that was written last.", "Liu et al. 2023, arXiv:2306.00946"
    )
    rule = Rule(strings, labels, asked=lambda tokens: tokens == 2)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def dyck(
    *,
    key: Array,
    kinds: int = 2,
    max_depth: int = 8,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "steps",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Brackets of several kinds: which bracket may be closed next?

    Tokens 0 to `kinds` - 1 open, the next `kinds` close. Strings begin well-nested ones: a step
    opens (any kind) or closes the innermost bracket, each with probability 1/2, but opens
    where none is open and closes at `max_depth`. The label is the kind of the innermost open
    bracket, or `kinds` where none is open. Otherwise as `parity`.

    Hewitt et al. (2020), arXiv:2010.07515 (bounded depth); Schützenberger (1963).
    """
    if kinds < 1 or max_depth < 1:
        raise ValueError(f"expected kinds and max_depth of at least 1, got {kinds}, {max_depth}")

    def walk(n, time, step):
        """Stacks through time; `step(t, depth, top)` gives the tokens."""
        stack = np.full((n, max_depth + 1), kinds, np.int32)  # below everything: nothing is open
        depth, rows = np.zeros(n, np.int32), np.arange(n)
        for t in range(time):
            token = step(t, depth, stack[rows, depth])
            opens = token < kinds
            depth = depth + np.where(opens, 1, -1)
            stack[rows[opens], depth[opens]] = token[opens]
            yield token, stack[rows, depth]

    def strings(rng, n, time):
        opening = rng.random((n, time)) < 0.5
        fresh = rng.integers(0, kinds, (n, time), np.int32)

        def step(t, depth, top):
            opens = (opening[:, t] | (depth == 0)) & (depth < max_depth)
            return np.where(opens, fresh[:, t], top + kinds)

        return np.stack([token for token, _ in walk(n, time, step)], axis=1)

    def labels(tokens):
        steps = walk(tokens.shape[0], tokens.shape[1], lambda t, depth, top: tokens[:, t])
        return np.stack([top for _, top in steps], axis=1)

    card = Card(
        "dyck",
        2 * kinds,
        kinds + 1,
        f"The innermost open bracket of {kinds} kinds, depth up to {max_depth}.",
        "Hewitt et al. 2020, arXiv:2010.07515",
    )
    rule = Rule(strings, labels)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def permutation_group(
    *,
    key: Array,
    group: str = "S3",
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    targets: str = "steps",
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """The product of permutations: state tracking at its purest.

    `group`: "S3" (6 elements), "A5" (60, the smallest that is not solvable), "S5" (120), or a
    cyclic one such as "Z60", in which order does not matter. A token is an element, in the order of
    `itertools.permutations` (the even ones for A5; rotations for Z); the label is the product so
    far, each new element applied after those before it. Otherwise as `parity`.

    Liu et al. (2023), arXiv:2210.10749; Merrill et al. (2024), arXiv:2404.08819.
    """
    table = _products(group)
    size = len(table)

    def labels(tokens):
        products = [np.zeros(len(tokens), np.int32)]  # the identity comes first
        for token in tokens.T:
            products.append(table[token, products[-1]])
        return np.stack(products[1:], axis=1)

    card = Card(
        "permutation_group",
        size,
        size,
        f"The product of random elements of {group}.",
        "Liu et al. 2023, arXiv:2210.10749; Merrill et al. 2024, arXiv:2404.08819",
    )
    rule = Rule(_uniform(size), labels)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_language(card, rule, draws, targets, encoding)


def reverse_string(
    *,
    key: Array,
    n_symbols: int = 2,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Say a string backwards.

    A sequence is the string (tokens 0 to `n_symbols` - 1) and as many steps of the token
    `n_symbols`, which ask for the symbols from the last to the first; `y` (samples, time) has no
    target (-1) before. `lengths` are those of the string. Otherwise as `parity`.

    Delétang et al. (2023), arXiv:2207.02098; a longer string needs a larger memory, so a state of
    fixed size cannot have learned the rule.
    """
    card = Card("reverse_string", n_symbols + 1, n_symbols, "Say a string backwards.", CHOMSKY)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_answers(card, lambda s: s[::-1], draws, encoding)


def duplicate_string(
    *,
    key: Array,
    n_symbols: int = 2,
    lengths: Lengths = (1, 40),
    test_lengths: Lengths = (41, 256),
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Say a string twice: as `reverse_string`, with twice as many answers as symbols.

    Delétang et al. (2023), arXiv:2207.02098.
    """
    card = Card("duplicate_string", n_symbols + 1, n_symbols, "Say a string twice.", CHOMSKY)
    draws = Draws(key, (lengths, test_lengths), (n_train, n_valid, n_test))
    return make_answers(card, lambda s: np.concatenate([s, s]), draws, encoding)


def _uniform(symbols: int) -> Callable:
    return lambda rng, n, time: rng.integers(0, symbols, (n, time), np.int32)


def _products(group: str) -> np.ndarray:
    """table[g, h]: the number of "h, then g"."""
    kind, size = group[:1], group[1:]
    if kind not in ("S", "A", "Z") or not size.isdigit() or int(size) < 2:
        raise ValueError(f"expected a group such as 'S3', 'A5' or 'Z60', got {group!r}")
    if kind == "Z":
        numbers = np.arange(int(size), dtype=np.int32)
        return (numbers[:, None] + numbers) % int(size)
    if int(size) > 5:
        raise ValueError(f"expected a group of permutations of at most 5 things, got {group!r}")
    elements = np.array(list(itertools.permutations(range(int(size)))))
    if kind == "A":
        below = np.triu(elements[:, :, None] > elements[:, None, :], 1)
        elements = elements[below.sum((1, 2)) % 2 == 0]
    number = {tuple(element): i for i, element in enumerate(elements)}
    return np.array([[number[tuple(g[h])] for h in elements] for g in elements], np.int32)
