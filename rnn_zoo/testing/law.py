"""What a law is: a function of a `Subject` that raises where the cell breaks it."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from ..base import runs_in_chunks
from .subject import Subject


_Check = TypeVar("_Check", bound=Callable[..., Any])
LAWS: dict[str, "Law"] = {}


@dataclasses.dataclass(frozen=True)
class Law:
    """A law in the table: what it is called, which cells it is for, and how to mend a breach."""

    name: str
    group: str
    check: Callable[[Subject], Any]
    """What it gives, if anything, is a remark for the report."""
    mend: str
    needs: tuple[str, ...]
    basic: bool
    """It is asked of the cell as it is; the others of the cell as it says that it is."""

    def missing(self, subject: Subject) -> str:
        """Why the law is not for this cell; "" where it is."""
        cell = subject.plain()
        return next((NEEDS[n][1] for n in self.needs if not NEEDS[n][0](subject, cell)), "")


NEEDS: dict[str, tuple[Callable[[Subject, Any], bool], str]] = {
    "linear": (lambda s, c: c.linear, "it is not linear"),
    "not linear": (lambda s, c: not c.linear and not runs_in_chunks(c), "it has a parallel form"),
    "timed": (lambda s, c: c.timed, "it has no physical time"),
    "stochastic": (lambda s, c: c.stochastic, "it draws nothing at random"),
    "steady": (lambda s, c: not c.stochastic, "it draws at random"),
    "keyed": (lambda s, c: s.keyed, "make takes no key"),
    "straight": (lambda s, c: s.straight, "its derivative is another one on purpose"),
    "reference": (lambda s, c: s.reference is not None, "no reference was given"),
    "holds": (lambda s, c: s.holds is not False, "its author says that it does not"),
    "halves": (lambda s, c: s.halves is not False, "its author says that they are not"),
}


def law(group: str, *needs: str, mend: str, basic: bool = False) -> Callable[[_Check], _Check]:
    """Puts a function into the table of laws; it stays a function."""

    def add(check: _Check) -> _Check:
        name = check.__name__
        LAWS[name] = Law(name, group, check, mend, needs, basic)
        return check

    return add


def require(holds: Any, message: str) -> None:
    """An AssertionError with this message unless it holds; `python -O` leaves it in."""
    if not holds:
        raise AssertionError(message)
