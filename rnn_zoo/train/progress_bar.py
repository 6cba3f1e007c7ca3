"""A progress bar on stderr."""

from typing import Any


class ProgressBar:
    """A bar of tqdm's, or nothing where none is wanted."""

    def __init__(self, show: bool, steps: int, done: int):
        self.bar = _tqdm()(total=steps, initial=done, unit="step") if show else None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self) -> None:
        """Count one step."""
        if self.bar is not None:
            self.bar.update()

    def show(self, row: dict[str, Any]) -> None:
        """Write the figures of a row of the history behind the bar."""
        if self.bar is not None:
            figures = {k: f"{v:.4g}" for k, v in row.items() if k.startswith(("train", "valid"))}
            self.bar.set_postfix(figures)


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError('show_progress needs tqdm: pip install "rnn-zoo[demo]"') from error
    return tqdm
