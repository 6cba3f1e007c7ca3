"""What a class says by its formula: its flags, and whether it has constants."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any


FORMULAS = ("parts", "signals", "transition", "equation", "step")
FLAGS = {"timed": "dt", "stochastic": "key"}
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def read_formula(cls: Any, contract: type) -> None:
    """Sets what the formula of a new class says, where the class does not say it itself.

    `contract` is the class that all cells come from.
    """
    own = vars(cls)
    _take_old_form(cls)
    formulas = (own.get(name) for name in FORMULAS)
    formula = next((f for f in formulas if f is not None and not _is_abstract(f)), None)
    if formula is None:
        return
    parameters = inspect.signature(formula).parameters
    cls._flags_read_off = set()
    for flag, name in FLAGS.items():
        # `*dt` is for classes that come from this one to say.
        open_ended = name in parameters and parameters[name].kind in _STARRED
        if not open_ended and not _says(cls, flag, contract):
            setattr(cls, flag, name in parameters)
            cls._flags_read_off.add(flag)
    if not _says(cls, "linear", contract):
        cls.linear = False
        cls._flags_read_off.add("linear")
    if "constants" not in own and _is_abstract(cls.constants):
        cls.constants = _none
    if "step" in own and "equation" not in own:
        cls.equation = _of_step(own["step"])


def _says(cls: type, flag: str, contract: type) -> bool:
    """Whether the class or one between it and the contract gives this flag itself.

    What was read off the formula of a class says nothing of the formula that a child has.
    """
    below = cls.__mro__[: cls.__mro__.index(contract)]
    said = (k for k in below if flag in vars(k) or flag in inspect.get_annotations(k))
    return any(flag not in vars(k).get("_flags_read_off", ()) for k in said)


def _is_abstract(member: Any) -> bool:
    return getattr(member, "__isabstractmethod__", False)


def _none(self: Any) -> None:
    """Nothing is computed once."""


def _of_step(step: Callable) -> Callable:
    def equation(self: Any, c: Any, state: Any, x: Any, *dt: Any, **key: Any) -> Any:
        """The step."""
        return step(self, state, x, *dt, **key)

    return equation


# --- the form of the last release -----------------------------------------------------------------


def _take_old_form(cls: type) -> None:
    """Transitions and readouts that take no constants, for one release."""
    if "prepare" in vars(cls):
        warnings.warn(
            f"{cls.__name__}.prepare is not called any more: what it computes belongs into "
            "constants(self), and equation(self, c, state, x) takes it",
            DeprecationWarning,
            stacklevel=5,
        )
    for name, first in (("transition", "x"), ("readout", "state")):
        old = vars(cls).get(name)
        if old is None or _is_abstract(old):
            continue
        taken = [*inspect.signature(old).parameters][1:]
        if taken[:1] == [first]:
            warnings.warn(
                f"{cls.__name__}.{name}({', '.join(taken)}) takes the constants of the cell "
                f"first now: write {name}(self, c, {', '.join(taken)}), where c is what "
                "constants() gives, None without it",
                DeprecationWarning,
                stacklevel=5,
            )
            setattr(cls, name, _without_constants(old))


def prepare(self: Any) -> Any:
    """Itself: `rz.Stream` computes constants once for whoever runs a model step by step."""
    warnings.warn(
        "prepare() does nothing any more and goes with the next release: rz.Stream(model) computes "
        "what does not change along a sequence once",
        DeprecationWarning,
        stacklevel=2,
    )
    return self


def contract(step: Callable) -> Callable:
    """The step. `AbstractCell` checks what comes from outside; a class needs no decorator."""
    warnings.warn(
        "contract is not needed any more and goes with the next release: write equation(self, c, "
        "state, x), or step without a decorator",
        DeprecationWarning,
        stacklevel=2,
    )
    return step


def advance(cell: Any, state: Any, x: Any, dt: Any = None, *, key: Any = None) -> Any:
    """`cell.advance` with constants computed anew."""
    warnings.warn(
        "advance(cell, ...) goes with the next release: write cell.advance(c, state, x, dt, key), "
        "with c = cell.constants() computed once for a sequence",
        DeprecationWarning,
        stacklevel=2,
    )
    return cell.advance(cell.constants(), state, x, dt, key)


def _without_constants(old: Callable) -> Callable:
    def new(self: Any, c: Any, *arguments: Any) -> Any:
        return old(self, *arguments)

    new.__signature__ = inspect.signature(old)  # type: ignore[attr-defined]
    return new
