"""Several checkpoints of a run, each a folder that Orbax writes beside the training."""

import json
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._common.extras import missing
from . import _format
from .checkpoint import (
    AbstractStore,
    Checkpoints,
    OneFile,
    Run,
    check_header,
    header_of,
    run_of,
    tree_of,
)
from .placement import is_shared
from .processes import writes


class OrbaxFolder(AbstractStore):
    """The folders of a run, named by their steps."""

    def __init__(self, checkpoints: Checkpoints, settings: dict, sharding: Any):
        if jax.process_count() > 1 and not is_shared(sharding):
            raise ValueError(
                f"keep={checkpoints.keep} writes with all {jax.process_count()} processes: give a "
                "mesh over the devices of all, or leave out keep for one file of this process alone"
            )
        self.settings, self.sharding = settings, sharding
        self.path = Path(checkpoints.directory).resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        self.manager = _manager(self.path, checkpoints.keep)
        self.before = OneFile(checkpoints, settings, sharding)
        steps = sorted(self.manager.all_steps())
        if checkpoints.resume is False and steps:
            self.close()
            raise ValueError(
                f"{self.path} has checkpoints of steps {steps}: resume=True goes on from the last "
                "one; start anew in another directory"
            )

    def read(self, run: Run) -> Run:
        """The run of the last folder that is whole; a warning names those that are not. Where there
        is none, the run of the one file that a run without `keep` wrote.

        ValueError where there are folders, and none can be read.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        for step in steps:
            header = self._tried(run, self._header, step)
            if header is not None:
                check_header(self.path / str(step), header, self.settings, run)
                tree = self._tried(run, self._tree, step, header, run)
                if tree is not None:
                    return run_of(self.path / str(step), header, tree, run, self.sharding)
            self._set_aside(step)
        if steps:
            raise ValueError(
                f"{self.path} has no checkpoint that can be read (steps {steps}): start anew in "
                "another directory"
            )
        return self.before.read(run)

    def write(self, run: Run) -> None:
        """Copy what is to be written, and leave the writing to Orbax."""
        ocp = _orbax()
        header = json.loads(json.dumps(header_of(run, self.settings, self.sharding)))
        arrays = _format.arrays(tree_of(run))
        items = {
            "arrays": ocp.args.StandardSave(_named(arrays)),
            "header": ocp.args.JsonSave(header),
        }
        self.manager.save(header["step"], args=ocp.args.Composite(**items))

    def close(self) -> None:
        """Wait until all is written."""
        self.manager.close()

    def _header(self, step: int) -> dict[str, Any]:
        ocp = _orbax()
        items = ocp.args.Composite(header=ocp.args.JsonRestore())
        return self.manager.restore(step, args=items)["header"]

    def _tree(self, step: int, header: dict[str, Any], run: Run) -> dict[str, Any]:
        ocp = _orbax()
        # On the host, so that nothing depends on the devices that it was written from.
        empty = [np.empty(shape, dtype) for _, shape, dtype in _kinds(header["leaves"], run)]
        items = ocp.args.Composite(arrays=ocp.args.StandardRestore(_named(empty)))
        found = self.manager.restore(step, args=items)["arrays"]
        arrays = [found.get(_name(i), one) for i, one in enumerate(empty)]
        return _format.with_arrays(tree_of(run), arrays)

    def _tried(self, run: Run, read: Any, *given: Any) -> Any:
        """What is read; None where that fails in any process."""
        fault, found = None, None
        try:
            found = read(*given)
        except Exception as error:
            fault = error
        failed = fault is not None
        if run.processes is not None:
            failed = run.processes.any(failed)
        if not failed:
            return found
        why = "in another process" if fault is None else f"{type(fault).__name__}: {fault}"
        warnings.warn(
            f"the checkpoint {self.path / str(given[0])} cannot be read and is passed over: "
            f"{why[:200]}",
            stacklevel=6,
        )
        return None

    def _set_aside(self, step: int) -> None:
        """Give the number of a broken folder to the one that will be written next."""
        if writes(self.sharding):
            place, copies = self.path / str(step), len(list(self.path.glob(f"{step}.broken*")))
            place.rename(self.path / f"{step}.broken{copies or ''}")
        self.manager.reload()


def last_step(path: Path) -> Path | None:
    """The folder of the last step in a directory, or the directory itself where it is one."""
    if (path / "header").exists():
        return path
    steps = [part.parent for part in path.glob("*/header") if part.parent.name.isdigit()]
    return max(steps, key=lambda folder: int(folder.name), default=None)


def header_and_arrays(folder: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What is in the folder of a step, on the host; the directory is left as it is."""
    ocp, step = _orbax(), int(folder.name)
    options = ocp.CheckpointManagerOptions(read_only=True)
    manager = ocp.CheckpointManager(
        folder.resolve().parent, options=options, item_names=("arrays", "header")
    )
    try:
        items = ocp.args.Composite(header=ocp.args.JsonRestore())
        header = manager.restore(step, args=items)["header"]
        like = [np.asarray(_format.empty(shape, kind)) for _, shape, kind in header["leaves"]]
        items = ocp.args.Composite(arrays=ocp.args.StandardRestore(_named(like)))
        found = manager.restore(step, args=items)["arrays"]
    finally:
        manager.close()
    return header, [np.asarray(found.get(_name(i), one)) for i, one in enumerate(like)]


def _kinds(leaves: _format.Leaves, run: Run) -> _format.Leaves:
    """The header's leaves with dtypes for Python's numbers, which are those of the run."""
    kinds = zip(leaves, _format.arrays(tree_of(run)))
    return [[name, shape, own.dtype] for (name, shape, _), own in kinds]


def _named(arrays: list[Any]) -> dict[str, Any]:
    # Orbax does not write arrays without a number, and there is nothing to write.
    return {_name(i): array for i, array in enumerate(arrays) if array.size}


def _name(i: int) -> str:
    return f"{i:05d}"


def _manager(path: Path, keep: int | None) -> Any:
    ocp = _orbax()
    # `cleanup` takes away what was half-written when a run was killed.
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=False, cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(path, options=options, item_names=("arrays", "header"))


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise missing(
            "keep (leave it out for one file) needs Orbax", "checkpoint", error
        ) from error
    return orbax.checkpoint
