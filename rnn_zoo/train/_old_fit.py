"""Arguments that `fit` had once: they work for one release, with a warning that says the new call.

`fit` did two things, one model and a population of them, and three arguments said where the
checkpoints go. A population has a function of its own now, and checkpoints are one argument.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

from .checkpoint import Checkpoints
from .members import population_size
from .population import fit_population
from .settled import FitResult


_OF_CHECKPOINTS = ("checkpoint_dir", "checkpoint_every", "resume")
_OLD = ("population", "settings", *_OF_CHECKPOINTS)
_P = ParamSpec("_P")


def takes_old_arguments(fit: Callable[_P, FitResult]) -> Callable[_P, FitResult]:
    """`fit` that understands its old arguments too; its signature stays the new one."""

    @functools.wraps(fit)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> FitResult:
        old = {name: kwargs.pop(name) for name in _OLD if name in kwargs}
        if old.get("population") is not None:
            return _fit_population(old, *args, **kwargs)
        if old.get("settings") is not None:
            raise ValueError("settings are those of a population: use fit_population")
        if old:
            kwargs.update(_checkpoints(old))
        return fit(*args, **kwargs)

    return call


def _fit_population(old: dict[str, Any], *args: Any, **kwargs: Any) -> FitResult:
    members = old["population"]
    _warn(
        f"fit(model, ..., population={members}) is now fit_population(models, ...), which counts "
        "the members itself"
    )
    models, *others = args if args else (kwargs.pop("model"),)
    size = population_size(models)
    if size != members:
        raise ValueError(f"expected a model of {members} members, got {size}")
    if any(old.get(name) for name in _OF_CHECKPOINTS):
        raise ValueError("a population writes no checkpoints: leave out checkpoint_dir")
    return fit_population(models, *others, settings=old.get("settings"), **kwargs)


def _checkpoints(old: dict[str, Any]) -> dict[str, Checkpoints]:
    """What the old arguments are in the new call."""
    directory, every, resume = (old.get(name) for name in _OF_CHECKPOINTS)
    if directory is None:
        if resume or every is not None:
            raise ValueError("resume and checkpoint_every need checkpoint_dir")
        _warn(f"fit has no {' and no '.join(old)} any more, and needs none here")
        return {}
    checkpoints = Checkpoints(directory, every, bool(resume))
    given = ", ".join(f"{name}=..." for name in old)
    _warn(f"fit(..., {given}) is now fit(..., checkpoints=rz.train.{checkpoints})")
    return {"checkpoints": checkpoints}


def _warn(message: str) -> None:
    # Past `_warn`, its caller and `call`, to the line that calls `fit`.
    message = f"{message}; the old form goes with the next release"
    warnings.warn(message, DeprecationWarning, stacklevel=4)
