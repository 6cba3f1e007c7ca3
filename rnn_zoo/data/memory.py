"""Tasks that test memory: what was seen early decides what is right late."""

import math

import numpy as np
from jax import Array

from ._drawing import draw, drawn_splits, encode
from .dataset import GENERATED, NO_TARGET, Baseline, Dataset, DatasetInfo


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
    time, vocabulary = delay + 2 * n_items, n_symbols + 2

    def sample(rng, n):
        items = rng.integers(1, n_symbols + 1, (n, n_items), np.int32)
        tokens, y = np.zeros((2, n, time), np.int32)
        tokens[:, :n_items] = y[:, -n_items:] = items
        tokens[:, n_items + delay - 1] = n_symbols + 1
        return encode(tokens, vocabulary, encoding), y

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


def selective_copy(
    *,
    key: Array,
    length: int = 256,
    n_items: int = 16,
    n_symbols: int = 14,
    encoding: str = "one_hot",
    n_train: int = 10_000,
    n_valid: int = 500,
    n_test: int = 1_000,
) -> Dataset:
    """Repeat the symbols of a sequence that is mostly blank.

    `n_items` symbols (tokens 1 to `n_symbols`) lie at random places among `length` steps of blanks
    (token 0); then `n_items` steps of the token `n_symbols + 1` ask for them in order. `y`
    (samples, length + n_items) holds symbol - 1 at those, and no target (-1) before. Where to
    remember depends on the input, so gates that do not read it cannot do it. Guessing is right once
    in `n_symbols`. Raises ValueError unless 1 <= n_items <= length.

    Jing et al. (2019), arXiv:1706.02761; in this form Gu and Dao (2023), arXiv:2312.00752, with
    length 4096.
    """
    if not 1 <= n_items <= length or n_symbols < 2:
        raise ValueError(
            "expected 1 <= n_items <= length and n_symbols of at least 2, got "
            f"{n_items=}, {length=}, {n_symbols=}"
        )

    def sample(rng, n):
        items = rng.integers(0, n_symbols, (n, n_items), np.int32)
        places = np.sort(np.argsort(rng.random((n, length)), axis=1)[:, :n_items], axis=1)
        tokens = np.zeros((n, length + n_items), np.int32)
        np.put_along_axis(tokens, places, items + 1, axis=1)
        tokens[:, length:] = n_symbols + 1
        y = np.full(tokens.shape, NO_TARGET, np.int32)
        y[:, length:] = items
        return encode(tokens, n_symbols + 2, encoding), y

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="selective_copy",
        task="classification",
        input_size=n_symbols + 2,
        output_size=n_symbols,
        description=f"Repeat {n_items} symbols that lie among {length} steps.",
        source="generated",
        citation="Jing et al. 2019, arXiv:1706.02761; Gu and Dao 2023, arXiv:2312.00752",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(Baseline("guessing", "accuracy", 1 / n_symbols, "1 / n_symbols"),),
    )
    return Dataset(*draw(sample, key, sizes), info)


def mqar(
    *,
    key: Array,
    length: int = 64,
    n_pairs: int = 4,
    vocabulary: int = 64,
    power: float = 0.01,
    encoding: str = "tokens",
    n_train: int = 20_000,
    n_valid: int = 1_000,
    n_test: int = 1_000,
) -> Dataset:
    """Multi-query associative recall: pairs of key and value, then keys in any order.

    The first `2 * n_pairs` tokens are keys (1 to `vocabulary / 2 - 1`) and values (`vocabulary / 2`
    and up) in turn, no key and no value twice. Behind them every key comes once more, at even
    places whose distances follow a power law with exponent `power - 1`; all else is token 0. `y`
    (samples, length) is the key's value where a key is asked for, no target (-1) elsewhere.

    The preset is small. Zoology's settings are `vocabulary=8192`, 100 000 training samples, and
    (length, n_pairs) = (64, 4), (128, 8), (256, 16), (512, 64). Raises ValueError where the pairs
    and their questions do not fit: 4 * n_pairs <= length, `length` and `vocabulary` even,
    `n_pairs` < `vocabulary` / 2.

    Arora et al. (2023), arXiv:2312.04927.
    """
    half = vocabulary // 2
    if n_pairs < 1 or 4 * n_pairs > length or length % 2 or vocabulary % 2 or n_pairs >= half:
        raise ValueError(
            "expected even length and vocabulary, 4 n_pairs <= length, 2 n_pairs < vocabulary, got "
            f"{length=}, {n_pairs=}, {vocabulary=}"
        )
    context = 2 * n_pairs
    space = (length - context) // 2
    weights = np.arange(1, space + 1) ** (power - 1.0)

    def sample(rng, n):
        keys = 1 + np.argsort(rng.random((n, half - 1)), axis=1)[:, :n_pairs]
        values = half + np.argsort(rng.random((n, half)), axis=1)[:, :n_pairs]
        # The first of exponential races with these rates: draws without replacement by weight.
        races = rng.exponential(size=(n, space)) / weights
        asked = context + 2 * np.argsort(races, axis=1)[:, :n_pairs]
        tokens = np.zeros((n, length), np.int32)
        tokens[:, 0:context:2], tokens[:, 1:context:2] = keys, values
        y = np.full((n, length), NO_TARGET, np.int32)
        np.put_along_axis(tokens, asked, keys, axis=1)
        np.put_along_axis(y, asked, values, axis=1)
        return encode(tokens, vocabulary, encoding), y

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="mqar",
        task="classification",
        input_size=vocabulary,
        output_size=vocabulary,
        description=f"The values of {n_pairs} keys, asked once each within {length} steps.",
        source="generated",
        citation="Arora et al. 2023, arXiv:2312.04927",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(
            Baseline("one of the values seen", "accuracy", 1 / n_pairs, "1 / n_pairs"),
            Baseline("any value", "accuracy", 1 / half, "2 / vocabulary"),
        ),
    )
    return Dataset(*draw(sample, key, sizes), info)


def n_bit_flip_flop(
    *,
    key: Array,
    n_bits: int = 3,
    length: int = 100,
    pulse: float = 0.1,
    n_train: int = 1_000,
    n_valid: int = 100,
    n_test: int = 200,
) -> Dataset:
    """Hold the sign of the last pulse of each of `n_bits` channels.

    `x` (length, n_bits) has at each step and channel a pulse of +1 or -1 with probability `pulse`,
    else 0; every channel has a pulse at the first step. `y` (length, n_bits) holds the last pulse
    of each channel. The answer 0 always has a mean squared error of 1. Raises ValueError unless 0 <
    pulse <= 1.

    Sussillo and Barak (2013), doi:10.1162/NECO_a_00409.
    """
    if not 0 < pulse <= 1 or min(n_bits, length) < 1:
        raise ValueError(
            "expected 0 < pulse <= 1 and n_bits and length of at least 1, got "
            f"{pulse=}, {n_bits=}, {length=}"
        )

    def sample(rng, n):
        signs = 2.0 * rng.integers(0, 2, (n, length, n_bits)) - 1
        pulses = rng.random((n, length, n_bits)) < pulse
        pulses[:, 0] = True
        last = np.maximum.accumulate(np.where(pulses, np.arange(length)[:, None], 0), axis=1)
        y = np.take_along_axis(signs, last, axis=1)
        return np.where(pulses, signs, 0).astype(np.float32), y.astype(np.float32)

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="n_bit_flip_flop",
        task="regression",
        input_size=n_bits,
        output_size=n_bits,
        description=f"The sign of the last pulse of {n_bits} channels.",
        source="generated",
        citation="Sussillo and Barak 2013, doi:10.1162/NECO_a_00409",
        licence=GENERATED,
        splits=drawn_splits(sizes),
        baselines=(Baseline("always 0", "mse", 1.0, "the targets are 1 and -1"),),
    )
    return Dataset(*draw(sample, key, sizes), info)
