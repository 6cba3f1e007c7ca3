"""What depends on the machine: sizes, and which algorithm `method="auto"` takes.

One table for each, by `jax.default_backend()`, with the measurement that set each entry. All of
today's come from two cores of one CPU. A backend without sizes of its own takes the CPU's, which
are guesses there: nothing is measured on a GPU or a TPU yet. No entry changes a result but for
rounding.
"""

from typing import Any, NamedTuple

import jax

from .unstable_devices import has_kernels


class Choice(NamedTuple):
    """An algorithm for sequences of at least so many steps."""

    steps: int
    algorithm: str
    measured: str
    """The device, the versions and the file that hold the measurement."""


class Size(NamedTuple):
    """A size, and what set it."""

    value: int
    measured: str


# --- sizes ----------------------------------------------------------------------------------------

# What stands there are the rows that a size was chosen by. The times of the sizes that lost were
# not filed, so a new choice has to measure both.
_LAYERS = "two cores, jax 0.10.2, benchmarks/rows/layers.csv"

# Two builds of the library in turn.
_BUILDS = "two cores, jax 0.10.2 and 0.12.0.1, benchmarks/rows/before_after.csv"

SIZES: dict[str, dict[str, Size]] = {
    "cpu": {
        # Steps whose products share one: enough rows for a full-speed product, few enough for the
        # cache.
        "chunk": Size(8, f"{_LAYERS}, training, 32x256x64x128; before, 16 and 32"),
        # With smaller batches a chunk has more steps, up to eight times as many, so that its
        # products have rows too.
        "batch": Size(32, f"{_LAYERS}, training, 16x113x1x128 and 1x1000x32x64; before, 16"),
        # Matrices up to this many numbers are laid out anew, once per sequence, for x @ W. Beyond,
        # they leave the cache between two steps, and W @ x is as fast.
        "matrix": Size(1 << 19, f"{_LAYERS}, forward, 64x50x500x500 beyond it, the others below"),
        # Products with vectors of up to this many numbers take less time than reading their result
        # from memory, so a derivative computes them anew.
        "vector": Size(128, f"{_LAYERS}, training, 16x113x1x128"),
        # Numbers of the matrices from which on a loop has its samples side by side.
        "abreast": Size(1 << 16, "two cores, jax 0.10.2, benchmarks/rows/abreast.csv"),
        # Half of the rows and the samples, times the columns of a product: the fewest that threads
        # share.
        "shared_product": Size(1 << 16, f"{_BUILDS}, forward, 32x256x64x128"),
        # Steps in a block of the blocked algorithm. No row of `AUTO` takes that one yet.
        "block": Size(256, "two cores, jax 0.10.2, benchmarks/linear_scan.py, no row filed"),
        # Steps of a matrix state that are worked out at once: with one decay a head, and with one
        # for each channel, where the scores take an exponential each.
        "matrix_chunk": Size(32, "two cores, jax 0.10.2, benchmarks/rows/matrix.txt; 16, 64, 128"),
        # From how many steps on "auto" does so.
        "matrix_steps": Size(16, "a guess: benchmarks/rows/matrix.txt has 2048 steps alone"),
        "channel_chunk": Size(16, "two cores, jax 0.10.2, benchmarks/rows/matrix.txt; 8 and 32"),
        # Numbers of the states of all samples that a linear recurrence in a loop works out at once,
        # and the fewest steps: arrays that stay in the cache, and that both cores share.
        "linear_values": Size(1 << 17, f"{_BUILDS}; 1 << 15 and 1 << 18"),
        "linear_steps": Size(16, "a guess: chunks of other loops have as many"),
        # Steps between two states with channels that a derivative keeps.
        "channel_segment": Size(4, "two cores, jax 0.10.2, steps of mamba and s4d on the board; 8"),
        # Steps and channels that one program of a kernel has at once: of three arrays, two blocks
        # each, 192 KiB of the 227 that an H100 has beside a multiprocessor.
        "kernel_steps": Size(64, "a guess, for a GPU: no kernel has run on one"),
        "kernel_channels": Size(128, "a guess, for a GPU: one for each thread of a warpgroup"),
        # Samples that enter normal equations at once: enough for a fast product, few to hold.
        "rows": Size(256, "two cores, jax 0.10.2, benchmarks/rows/echo_state.csv, fit"),
        # Sequences of which a reservoir pools the states at once.
        "sequences": Size(64, "two cores, jax 0.10.2, benchmarks/rows/echo_state.csv, grid"),
    },
}


def tuned(name: str) -> int:
    """A size for the backend in use; the CPU's where it has none of its own."""
    own = SIZES.get(jax.default_backend(), {})
    return (own[name] if name in own else SIZES["cpu"][name]).value


# --- algorithms -----------------------------------------------------------------------------------

# `python -m benchmarks gpu` measures these and prints the rows to put here, with what set them.
# Rows with more steps stand later. "kernel", of diagonal recurrences, gets a row where it takes at
# most 1 / 1.5 of the time of the associative form. A GPU ("gpu") and a TPU ("tpu") have no row.
AUTO: dict[str, tuple[Choice, ...]] = {
    "cpu": (
        # The loop won at every shape of benchmarks/rows/linear_scan.txt.
        Choice(0, "loop", "two cores, jax 0.10.2 and 0.12.0.1, benchmarks/rows/linear_scan.txt"),
    ),
}

PARALLEL = "associative"
"""What method="parallel" runs, and "auto" where nothing is measured. The thousands of small kernels
of a loop should lose there to log2(time) large ones; that is a guess."""


# Where "auto" hands an LSTM to cuDNN, from how many steps on: the rows that `python -m benchmarks
# gpu` prints. There is none, so that it does so nowhere.
LSTM: dict[str, tuple[Choice, ...]] = {}


def lstm_by(length: Any) -> bool:
    """Whether "auto" runs an LSTM of so many steps by cuDNN, where that is there."""
    if not isinstance(length, int):
        return False
    rows = [row for row in LSTM.get(jax.default_backend(), ()) if length >= row.steps]
    return bool(rows) and rows[-1].algorithm == "cudnn"


def enough_for_chunks(length: Any) -> bool:
    """Whether "auto" takes a matrix state through a sequence in chunks; a length that is not known
    yet has none."""
    return isinstance(length, int) and length >= tuned("matrix_steps")


def choose(backend: str, length: Any) -> str:
    """The algorithm of "auto" on a backend; a length that is not known yet counts as long."""
    chosen = PARALLEL
    for row in AUTO.get(backend, ()):
        if row.algorithm == "kernel" and not has_kernels():
            continue
        if not isinstance(length, int) or length >= row.steps:
            chosen = row.algorithm
    return chosen
