"""What several processes say to each other outside of a step.

A process that left alone would let the others wait: so all learn of the fault of one, and all end.
"""

from collections.abc import Iterator

import jax
import numpy as np

from .._engine.unstable import of_all_processes
from ..data.batches import Batch


def texts(own: str) -> list[str]:
    """The texts of all processes, in their order. Each has to call this."""
    content = np.frombuffer(own.encode(), np.uint8)
    sizes = of_all_processes(np.array([content.size], np.int32))
    padded = np.zeros(max(int(sizes.max()), 1), np.uint8)
    padded[: content.size] = content
    rows = of_all_processes(padded)
    return [bytes(row[: int(size)]).decode() for row, size in zip(rows, sizes.ravel())]


def told(error: Exception | None) -> str:
    """What the others are told of the fault of this process; nothing where there is none."""
    return "" if error is None else f"!{type(error).__name__}: {error}"


def form_of(batch: Batch | None) -> str:
    """The fields of a batch with their shapes and dtypes."""
    if batch is None:
        return "no batch"
    fields = vars(batch).items()
    return ", ".join(f"{k} {v.dtype}{tuple(v.shape)}" for k, v in fields if v is not None)


def require_one_form(name: str, batch: Batch | None, fault: Exception | None) -> None:
    """An error where one process has a fault, or a batch of a form that no program could join.
    Each has to call this."""
    said = texts(form_of(batch) if fault is None else told(fault))
    if fault is not None:
        raise fault
    for process, one in enumerate(said):
        if one.startswith("!"):
            raise ValueError(f"{name} failed in process {process}: {one[1:]}")
        if one != form_of(batch):
            raise ValueError(
                "expected batches of one form in all processes, got "
                f"{form_of(batch)} in process {jax.process_index()} and {one} in process {process}"
            )


def together(name: str, parts: Iterator[Batch]) -> Iterator[Batch]:
    """The batches of this process, each once all processes have theirs; they end together."""
    while True:
        part, fault = None, None
        try:
            part = next(parts, None)
        except Exception as error:
            fault = error
        require_one_form(name, part, fault)
        if part is None:
            return
        yield part
