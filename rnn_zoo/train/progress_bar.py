"""A progress bar on stderr."""

import time
from typing import Any

from .._common.extras import missing


class ProgressBar:
    """A bar of tqdm's, or nothing where none is wanted.

    The first step and the first evaluation compile, which says nothing of the steps to come: the
    bar says so, and the time that is left is reckoned from the other steps.
    """

    def __init__(self, show: bool, steps: int, done: int):
        self.bar = None
        self.steps, self.done = steps, done
        self.counted, self.rows = 0, 0
        self.began = self.last = time.perf_counter()
        if show:
            self.bar = _tqdm()(total=steps, initial=done, unit="step", bar_format=_format(None))

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self) -> None:
        """Count one step."""
        if self.bar is None:
            return
        self.last = time.perf_counter()
        self.done += 1
        if self.counted == 0:
            self.began = self.last
        elif self.last > self.began:
            self.bar.bar_format = _format(self._left())
        self.counted += 1
        self.bar.update()

    def show(self, row: dict[str, Any]) -> None:
        """Write the figures of a row of the history behind the bar."""
        if self.bar is None:
            return
        if self.rows == 0:
            self.began += time.perf_counter() - self.last
        self.rows += 1
        figures = {k: f"{v:.4g}" for k, v in row.items() if k.startswith(("train", "valid"))}
        self.bar.set_postfix(figures)

    def _left(self) -> str:
        seconds = (self.last - self.began) / self.counted
        left = _tqdm().format_interval((self.steps - self.done) * seconds)
        return f"{left}, {1 / seconds:.3g} step/s"


def _format(left: str | None) -> str:
    """The form of tqdm's bar, with the time that is left, or that it compiles."""
    behind = ", compiling" if left is None else f"<{left}"
    return "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}" + behind + "{postfix}]"


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise missing("show_progress needs tqdm", "demo", error) from error
    return tqdm
