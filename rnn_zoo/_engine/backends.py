"""Which algorithm `method="auto"` takes for the recurrence of a linear cell.

Rows stand here for what `python -m benchmarks gpu` measured, backend by backend: that program
prints the rows to put here, with what set them. A backend without rows gets `PARALLEL`.
"""

from typing import NamedTuple

from .chunks import Length


class Choice(NamedTuple):
    """An algorithm for sequences of at least so many steps."""

    steps: int
    algorithm: str
    measured: str
    """The device, the versions and the file that hold the measurement."""


# The backends of `jax.default_backend()`; rows with more steps stand later. A GPU ("gpu") and a
# TPU ("tpu") have no row: nothing is measured there yet.
AUTO: dict[str, tuple[Choice, ...]] = {
    "cpu": (
        # The loop won at every shape of benchmarks/rows/linear_scan.txt.
        Choice(0, "loop", "two cores, jax 0.10.2 and 0.12.0.1, benchmarks/rows/linear_scan.txt"),
    ),
}

PARALLEL = "associative"
"""What method="parallel" runs, and "auto" where nothing is measured. The thousands of small kernels
of a loop should lose there to log2(time) large ones; that is a guess."""


def choose(backend: str, length: Length) -> str:
    """The algorithm of "auto" on a backend; a length that is not known yet counts as long."""
    chosen = PARALLEL
    for row in AUTO.get(backend, ()):
        if not isinstance(length, int) or length >= row.steps:
            chosen = row.algorithm
    return chosen
