"""Where `fit` writes its run, and where it goes on from."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from .checkpoint import AbstractStore, Checkpoints, OneFile, Run
from .orbax_folder import OrbaxFolder
from .settled import Plan


class Kept(NamedTuple):
    """Where a run is written, and after how many steps."""

    store: AbstractStore
    every: int


@contextlib.contextmanager
def kept_in(checkpoints: Checkpoints | None, plan: Plan) -> Iterator[Kept | None]:
    """Where the checkpoints go; at the end all is written."""
    if checkpoints is None:
        yield None
        return
    store = _store(checkpoints, plan.settings(), plan.rule.sharding)
    try:
        yield Kept(store, checkpoints.every or plan.eval_every)
    finally:
        store.close()


def _store(checkpoints: Checkpoints, settings: dict, sharding: Any) -> AbstractStore:
    keep, resume = checkpoints.keep, checkpoints.resume
    if resume not in (False, True, "must"):
        raise ValueError(f'expected resume as False, True or "must", got {resume!r}')
    if keep is None:
        return OneFile(checkpoints, settings, sharding)
    if keep < 1:
        raise ValueError(f"expected keep of at least 1, or None for one file, got {keep}")
    return OrbaxFolder(checkpoints, settings, sharding)


def resumed(run: Run, checkpoints: Checkpoints | None, kept: Kept | None) -> Run:
    """The run that is there, or this fresh one. FileNotFoundError where one must be there."""
    if checkpoints is None or kept is None or checkpoints.resume is False:
        return run
    found = kept.store.read(run)
    if run.processes is not None:
        place = f"checkpoint in {checkpoints.directory}"
        run.processes.require_same({place: int(found.progress.step)})
    if found is run and checkpoints.resume == "must":
        raise FileNotFoundError(
            f"{checkpoints.directory} has no checkpoint to go on from: give resume=True to start "
            "where there is none"
        )
    return found
