"""A training run as it is written, from which it goes on as if it had not been interrupted.

What is written is the same for one file (here) and for folders by Orbax (`orbax_folder.py`): a
tree of arrays, and a header of JSON with the rest.
"""

import abc
import dataclasses
import math
import os
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from . import _format
from ._structure import UnnamedError, structure_of
from .processes import own_position, positions_of, writes
from .step import Progress, averaged, trainable


FORMAT, VERSION, NAME = "rnn_zoo.checkpoint", 1, "checkpoint.rzc"
_SUBJECTS = {"optimizer": "the state of another optimizer", "average": "an average of another ema"}


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where and how often `fit` writes what it has done, so that a run that ends early goes on.

    - `directory`: a folder, made where it is not there; the file in it is `checkpoint.rzc`.
    - `every`: steps between two writings; by default `eval_every`. The last step is written too.
    - `resume`: go on from what is there, with the result of a run that was never interrupted, to
      the bit on the same devices; where nothing is there, start. `"must"` refuses to start.
    - `keep`: None for one file, written by one process in the place of the one before while the
      training waits. With a number the last so many are kept, each a folder named by its step,
      which Orbax writes beside the training, every process a part of it. This needs
      Orbax, the extra `checkpoint`.

    Another number of devices or processes may go on. Of several processes all need to see the
    directory.
    """

    directory: str | os.PathLike
    every: int | None = None
    resume: bool | Literal["must"] = False
    keep: int | None = None


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
    processes: Any = None
    """Where several processes train together, the `Processes` of them."""

    def note(self, valid_loss: float) -> None:
        """Keep the models if this is the best loss so far."""
        if valid_loss < self.best_loss:
            self.best = (self.progress.model, averaged(self.progress))
            self.best_loss, self.waited = valid_loss, 0
        else:
            self.waited += 1


class AbstractStore(abc.ABC):
    """Where the runs of one `fit` are written."""

    @abc.abstractmethod
    def read(self, run: Run) -> Run:
        """The run that was written last, or `run`, a fresh one like it, where none was."""

    @abc.abstractmethod
    def write(self, run: Run) -> None:
        """Write a run, and forget those that need not be kept. Every process calls this."""

    @abc.abstractmethod
    def close(self) -> None:
        """Wait until all is written."""


class OneFile(AbstractStore):
    """`checkpoint.rzc` in a directory, in place of the one before."""

    def __init__(self, checkpoints: Checkpoints, settings: dict, sharding: Any):
        self.path = Path(checkpoints.directory) / NAME
        self.settings, self.sharding = settings, sharding

    def read(self, run: Run) -> Run:
        """The run in the file."""
        if not self.path.exists():
            self._refuse_folders()
            return run
        header, payload = _format.read(self.path, FORMAT, VERSION)
        check_header(self.path, header, self.settings, run)
        tree = _format.unpack(self.path, payload, header["leaves"], tree_of(run))
        return run_of(self.path, header, tree, run, self.sharding)

    def write(self, run: Run) -> None:
        """Process 0 writes."""
        header = header_of(run, self.settings, self.sharding)
        if writes(self.sharding):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _format.write(self.path, header, _format.pack(tree_of(run)))

    def close(self) -> None:
        """Nothing is left to write."""

    def _refuse_folders(self) -> None:
        """ValueError where a run with `keep` is there, which would be begun anew in silence."""
        there = [path.parent.name for path in self.path.parent.glob("*/header")]
        if any(name.isdigit() for name in there):
            raise ValueError(
                f"{self.path.parent} has checkpoints that were written with keep: give keep, or "
                "start anew in another directory"
            )


def header_of(run: Run, settings: dict, sharding: Any) -> dict[str, Any]:
    """What belongs to a run beside its arrays. Every process calls this."""
    run.pending = [{k: float(v) for k, v in row.items()} for row in jax.device_get(run.pending)]
    position = None if run.stream is None else run.stream.position()
    return {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings,
        "optimizer": _kinds(run.progress.opt_state),
        "step": int(run.progress.step),
        "best_loss": run.best_loss,
        "waited": run.waited,
        "history": run.history,
        "pending": run.pending,
        "seconds": run.seconds,
        "position": positions_of(position, sharding),
        "structure": _structure(run.progress.model),
        "leaves": _format.describe(tree_of(run)),
    }


def _structure(model: Any) -> Any:
    """What the model is made of, so that `load` builds it; None where a file cannot say."""
    try:
        return structure_of(model)
    except UnnamedError:
        return None


def tree_of(run: Run) -> dict[str, Any]:
    """The arrays of a run."""
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


def check_header(path: Path, header: dict, settings: dict, run: Run) -> None:
    """ValueError for a run of another model, optimiser or `ema`, or of one with other settings,
    which would go on with other data than it began with."""
    for name, value in settings.items():
        if header["settings"].get(name) != value:
            raise ValueError(
                f"{path} belongs to a run with {name}={header['settings'].get(name)}, not {value}: "
                "resume with the same one, or start anew in another directory"
            )
    kinds = _kinds(run.progress.opt_state)
    saved = header.get("optimizer", kinds)  # files of a release before it do not say
    if saved != kinds:
        raise ValueError(
            f"{path} belongs to a run of another optimizer, whose state is ({', '.join(saved)}), "
            f"not ({', '.join(kinds)}): resume with the same one, or start anew in another "
            "directory"
        )
    expected = _format.describe(tree_of(run))
    for part in ("model", "best", "optimizer", "average", "best_average"):
        saved, own = (_of_part(leaves, part) for leaves in (header["leaves"], expected))
        _format.compare(path, saved, own, _SUBJECTS.get(part, "another model"))


def _of_part(leaves: _format.Leaves, part: str) -> _format.Leaves:
    return [leaf for leaf in leaves if leaf[0].startswith(f"['{part}']")]


def _kinds(state: Any) -> list[str]:
    """The kinds of states that an optimiser's state is made of: two optimisers may have arrays of
    the same shapes."""
    if isinstance(state, dict):
        return [name for part in state.values() for name in _kinds(part)]
    if not isinstance(state, tuple):
        return []
    own = [type(state).__name__] if hasattr(state, "_fields") else []
    return own + [name for part in state for name in _kinds(part)]


def run_of(path: Path, header: dict, tree: dict[str, Any], run: Run, sharding: Any) -> Run:
    """The run that was written, `run` being a fresh one like it."""
    step = jnp.asarray(header["step"], jnp.int32)
    progress = Progress(
        tree["model"], tree["optimizer"], step, run.progress.finite, tree["average"]
    )
    best, average = tree["best"], tree["best_average"]
    return Run(
        progress,
        (best, None if average is None else eqx.combine(average, best)),
        **{name: header[name] for name in ("best_loss", "waited", "history", "pending", "seconds")},
        position=own_position(path, header.get("position"), sharding),
        processes=run.processes,
    )
