"""A training run in a file, from which it goes on as if it had not been interrupted."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from . import _format
from .step import Progress, averaged, trainable


FORMAT, VERSION, NAME = "rnn_zoo.checkpoint", 1, "checkpoint.rzc"


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where and how often `fit` writes what it has done, so that a run that ends early goes on.

    - `directory`: a folder, made where it is not there; the file in it is `checkpoint.rzc`.
    - `every`: steps between two writings; by default `eval_every`. The last step is written too.
    - `resume`: go on from the file where there is one, with the result of a run that was never
      interrupted, to the bit.
    """

    directory: str | os.PathLike
    every: int | None = None
    resume: bool = False


@dataclasses.dataclass
class Run:
    """What changes while `fit` runs."""

    progress: Progress
    best: tuple[Any, Any]
    """The best model, and with `ema` the one of the same moment with averaged parameters."""
    best_loss: float = math.inf
    waited: int = 0
    """Evaluations since the best one."""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pending: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Losses and metrics of the steps since the last row of the history."""
    seconds: float = 0.0
    position: Any = None
    """Where the source of the data was when the run was written."""
    stream: Any = None
    """The batches that are still to come; it is not written, but its position is."""

    def note(self, valid_loss: float) -> None:
        """Keep the models if this is the best loss so far."""
        if valid_loss < self.best_loss:
            self.best = (self.progress.model, averaged(self.progress))
            self.best_loss, self.waited = valid_loss, 0
        else:
            self.waited += 1


def write_run(directory: Path, run: Run, settings: dict) -> None:
    """Write `checkpoint.rzc` in `directory`, in place of the one before."""
    run.pending = [{k: float(v) for k, v in row.items()} for row in jax.device_get(run.pending)]
    tree = _tree(run)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings,
        "step": int(run.progress.step),
        "best_loss": run.best_loss,
        "waited": run.waited,
        "history": run.history,
        "pending": run.pending,
        "seconds": run.seconds,
        "position": None if run.stream is None else run.stream.position(),
        "leaves": _format.describe(tree),
    }
    directory.mkdir(parents=True, exist_ok=True)
    _format.write(directory / NAME, header, _format.pack(tree))


def _tree(run: Run) -> dict[str, Any]:
    # Without `ema` there is no leaf of an average, and the file is the one of a release before it.
    progress, (best, best_average) = run.progress, run.best
    average = None if best_average is None else eqx.filter(best_average, trainable(best_average))
    return {
        "model": progress.model,
        "best": best,
        "optimizer": progress.opt_state,
        "average": progress.average,
        "best_average": average,
    }


def read_run(directory: Path, run: Run, settings: dict) -> Run:
    """The run that was written, or `run`, a fresh one like it, where nothing was.

    ValueError if the file is damaged, of another model or optimiser, or of a run with other
    settings, which would go on with other data than it began with.
    """
    path = directory / NAME
    if not path.exists():
        return run
    header, payload = _format.read(path, FORMAT, VERSION)
    for name, value in settings.items():
        if header["settings"].get(name) != value:
            raise ValueError(
                f"{path} belongs to a run with {name}={header['settings'].get(name)}, not {value}: "
                "resume with the same one, or start anew in another directory"
            )
    tree = _format.unpack(path, payload, header["leaves"], _tree(run))
    step = jnp.asarray(header["step"], jnp.int32)
    progress = Progress(
        tree["model"], tree["optimizer"], step, run.progress.finite, tree["average"]
    )
    best, average = tree["best"], tree["best_average"]
    return Run(
        progress,
        (best, None if average is None else eqx.combine(average, best)),
        **{name: header[name] for name in ("best_loss", "waited", "history", "pending", "seconds")},
        position=header.get("position"),
    )
