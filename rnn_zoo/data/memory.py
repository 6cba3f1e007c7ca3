"""Tasks that test memory: what was seen early decides what is right late."""

import math

import numpy as np
from jax import Array

from ._drawing import draw, drawn_splits
from .dataset import GENERATED, Baseline, Dataset, DatasetInfo


def adding(
    *,
    key: Array,
    length: int = 100,
    n_train: int = 10_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """The adding problem: add the two marked numbers of a long sequence.

    `x` is (length, 2): numbers drawn uniformly from [0, 1), and a marker that is 1 at one step of
    the first half and one of the second, else 0. `y` is (1,), the sum of the two marked numbers.
    The best constant, 1, has a mean squared error of 1/6. Raises ValueError below length 2.

    Hochreiter and Schmidhuber (1997); in this form Arjovsky et al. (2016), arXiv:1511.06464.
    """
    if length < 2:
        raise ValueError(f"expected length of at least 2 (a marker in each half), got {length}")

    def sample(rng, n):
        rows, half = np.arange(n), length // 2
        x = np.zeros((n, length, 2), np.float32)
        x[..., 0] = rng.random((n, length), np.float32)
        first, second = rng.integers(0, half, n), rng.integers(half, length, n)
        x[rows, first, 1] = x[rows, second, 1] = 1
        return x, (x[rows, first, 0] + x[rows, second, 0])[:, None]

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="adding",
        task="regression",
        input_size=2,
        output_size=1,
        description=f"Add the two marked numbers of a sequence of {length}.",
        source="generated",
        citation="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; "
        "Arjovsky et al. 2016, arXiv:1511.06464",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(Baseline("always 1", "mse", 1 / 6, "variance of the target"),),
    )
    return Dataset(*draw(sample, key, sizes), info)


def copy_memory(
    *,
    key: Array,
    delay: int = 100,
    n_items: int = 10,
    n_symbols: int = 8,
    encoding: str = "one_hot",
    n_train: int = 5_000,
    n_valid: int = 500,
    n_test: int = 1_000,
) -> Dataset:
    """The copy memory task: repeat `n_items` symbols after a delay.

    A sequence has `delay + 2 * n_items` steps: the items (tokens 1 to `n_symbols`), `delay - 1`
    blanks (token 0), the signal to begin (token `n_symbols + 1`) and `n_items` blanks. The target
    of every step, (time,) int, is a blank, and in the last `n_items` steps the items in order:
    `n_symbols + 1` classes. `x` is one-hot (time, n_symbols + 2), or with `encoding="tokens"`
    int (time,).

    A model without memory answers blanks and then guesses: cross-entropy
    `n_items * ln(n_symbols) / (delay + 2 * n_items)` nats a step.

    Hochreiter and Schmidhuber (1997); in this form Arjovsky et al. (2016), arXiv:1511.06464.
    """
    if min(delay, n_items, n_symbols) < 1:
        raise ValueError("expected delay, n_items and n_symbols of at least 1")
    if encoding not in ("one_hot", "tokens"):
        raise ValueError(f"expected encoding 'one_hot' or 'tokens', got {encoding!r}")
    time, vocabulary = delay + 2 * n_items, n_symbols + 2

    def sample(rng, n):
        items = rng.integers(1, n_symbols + 1, (n, n_items), np.int32)
        tokens, y = np.zeros((2, n, time), np.int32)
        tokens[:, :n_items] = y[:, -n_items:] = items
        tokens[:, n_items + delay - 1] = n_symbols + 1
        one_hot = encoding == "one_hot"
        return np.eye(vocabulary, dtype=np.float32)[tokens] if one_hot else tokens, y

    sizes = (n_train, n_valid, n_test)
    memoryless = n_items * math.log(n_symbols) / time
    info = DatasetInfo(
        name="copy_memory",
        task="classification",
        input_size=vocabulary,
        output_size=n_symbols + 1,
        description=f"Repeat {n_items} of {n_symbols} symbols after {delay} steps; "
        "a target for every step.",
        source="generated",
        citation="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; "
        "Arjovsky et al. 2016, arXiv:1511.06464",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(
            Baseline("without memory", "cross_entropy", memoryless, "n_items ln n_symbols / time"),
        ),
    )
    return Dataset(*draw(sample, key, sizes), info)


def delayed_recall(
    *,
    key: Array,
    length: int = 60,
    delay: int = 50,
    n_symbols: int = 8,
    n_train: int = 5_000,
    n_valid: int = 500,
    n_test: int = 1_000,
) -> Dataset:
    """Sequential delayed recall: keep one symbol of a stream and name it when asked.

    Every step but the last shows a random symbol. One of them, at least `delay` steps before the
    end, is flagged "keep"; the last step shows no symbol and the flag "recall". `x` is
    (length, n_symbols + 2): the symbol one-hot, keep, recall. `y` is the kept symbol, an int. The
    symbols after it are distractors of the same kind, so a model has to close its memory too.
    Guessing is right once in `n_symbols`. Raises ValueError unless 1 <= delay < length.
    """
    if not 1 <= delay < length:
        raise ValueError(f"expected 1 <= delay < length, got delay {delay} and length {length}")
    if n_symbols < 2:
        raise ValueError(f"expected n_symbols of at least 2, got {n_symbols}")

    def sample(rng, n):
        rows = np.arange(n)
        symbols = rng.integers(0, n_symbols, (n, length), np.int32)
        kept = rng.integers(0, length - delay, n)
        x = np.eye(n_symbols + 2, dtype=np.float32)[symbols]
        x[:, -1] = 0
        x[rows, kept, n_symbols] = 1
        x[:, -1, n_symbols + 1] = 1
        return x, symbols[rows, kept]

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="delayed_recall",
        task="classification",
        input_size=n_symbols + 2,
        output_size=n_symbols,
        description=f"Name the one flagged symbol of {length - 1}, at least {delay} steps later.",
        source="generated",
        citation="in the manner of Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(Baseline("guessing", "accuracy", 1 / n_symbols, "1 / n_symbols"),),
    )
    return Dataset(*draw(sample, key, sizes), info)
