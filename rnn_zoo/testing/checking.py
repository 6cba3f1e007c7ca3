"""All laws over one cell: a report in words, or one test for each law."""

import dataclasses
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jaxtyping
import numpy as np

from ..scan import unroll
from . import (
    deriving as deriving,
    episodes as episodes,
    evaluating as evaluating,
    masking as masking,
    precision as precision,
    promises as promises,
    timing as timing,
)
from .comparing import finite
from .law import LAWS, Law
from .subject import HIDDEN, INPUTS, Subject, as_maker, draw, keyed


# Where lines stand that are not the author's.
_OTHERS = (
    str(Path(__file__).parent.parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    *(str(Path(str(package.__file__)).parent) for package in (jax, eqx, np, jaxtyping)),
)
PURE = promises.a_step_is_a_pure_function.__name__
PASSED, BROKEN, SKIPPED = "passed", "BROKEN", "skipped"
ORDER = (
    *("promises", "dtypes", "reference", "time", "gradients", "masks", "evaluators"),
    *("transformations", "devices"),
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one law says of a cell."""

    law: str
    """Its name."""
    group: str
    status: str
    """"passed", "BROKEN" or "skipped"."""
    remark: str = ""
    """What was measured where it is broken, why it was skipped, what else was found."""
    mend: str = ""
    """What to change, where it is broken."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What all laws say of a cell: `print(report)` shows it. It is true where none is broken."""

    name: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """What was done so that the laws behind a broken one could be asked."""

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The laws that the cell breaks."""
        return tuple(one for one in self.findings if one.status == BROKEN)

    def __bool__(self) -> bool:
        return not self.broken

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{sum(one.status == status for one in self.findings)} {status}"
            for status in (PASSED, BROKEN, SKIPPED)
        )
        lines = [f"{self.name}: {len(self.findings)} laws, {counts}", *self.notes]
        said: dict[str, str] = {}
        group = None
        for one in self.findings:
            if one.group != group:
                lines.append(f"  {one.group}")
                group = one.group
            lines += _lines(one, said)
        return "\n".join(lines)


def _lines(one: Finding, said: dict[str, str]) -> list[str]:
    """A finding in words. What an earlier law said already is not said again."""
    head = f"    {one.status:<8}{one.law}"
    if one.status != BROKEN:
        return [f"{head}: {one.remark}" if one.remark else head]
    if one.remark in said:
        return [f"{head}: as {said[one.remark]}"]
    said[one.remark] = one.law
    indent = " " * 12
    what = one.remark.replace("\n", f"\n{indent}")
    return [head, f"{indent}{what}", f"{indent}mend: {one.mend}"]


class BrokenLaws(AssertionError):
    """Some laws are broken; `report` is the whole report."""

    def __init__(self, report: Report):
        said: dict[str, str] = {}
        lines = [line for one in report.broken for line in _lines(one, said)]
        counts = f"{len(report.broken)} of {len(report.findings)} laws"
        self.report = report
        Exception.__init__(
            self, "\n".join([f"{report.name} breaks {counts}", *report.notes, *lines])
        )


class BoundLaw:
    """A law and a cell: a function without arguments, for a test. `str` of it is the law's name."""

    def __init__(self, law: Law, subject: Subject):
        self.law, self.subject = law, subject
        self.__name__ = law.name

    def __call__(self) -> None:
        """AssertionError where the cell breaks the law."""
        finding = _asked(self.law, self.subject)
        if finding.status == BROKEN:
            raise AssertionError(f"{finding.remark}\nmend: {finding.mend}")

    def __repr__(self) -> str:
        return self.__name__


def check_cell(
    make: Any,
    reference: Callable[..., Any] | None = None,
    *,
    input_size: int = INPUTS,
    hidden_size: int = HIDDEN,
    holds: bool | None = None,
    halves: bool | None = None,
    straight: bool = True,
    idle: Iterable[str] = (),
    noise: float = 0.3,
    skip: Iterable[str] = (),
    strict: bool = True,
) -> Report:
    """Asks every law of a cell that is for it: sizes, states, dtypes, time, gradients, masks, and
    that all evaluators and transformations give what a loop in Python gives.

        report = rz.testing.check_cell(lambda key: MyCell(3, 5, key=key))

    It takes about half a minute, most of it for compiling. In a test, `laws` has one test for each.

    **Arguments:**

    - `make`: what makes the cell: a function called as `make(key=key)`, as
      `make(input_size, hidden_size, key=key)`, or as `make()`, and with `dtype=` where it has that
      argument; a made cell; or the name of a registered one.
    - `reference`: `reference(cell, xs, dt=None) -> ys`, the same network in NumPy and float64,
      written from the paper: xs is (time, input_size), dt (time,) for a timed cell, ys
      (time, output_size). The parameters of the cell are arrays of float64.
    - `input_size`, `hidden_size`: for a `make` that takes them.
    - `holds`: whether a step over dt = 0 leaves the state as it is; `halves`: whether two steps
      over parts of a time give the state of one step over all of it, with the input held. True is a
      law, False is not asked, None is tried and reported.
    - `straight`: False where the derivative is that of another function on purpose.
    - `idle`: names of fields whose gradient may be zero.
    - `noise`: every parameter is moved by normal numbers times this, so that no bias of zero hides
      a mistake. Where a parameter has to stay in a range, give a smaller one.
    - `skip`: names of laws not to ask.
    - `strict`: raise where a law is broken; False gives the report in any case.

    **Returns:** a `Report`, whose `findings` say of each law whether it passed, was broken (what
    was measured, and what to change) or does not apply.

    **Raises:** `BrokenLaws`, an AssertionError with the list of all broken laws; TypeError for a
    `make` that makes no cell; ValueError for an unknown law in `skip`.
    """
    subject = _subject(make, reference, (input_size, hidden_size), holds, halves)
    subject.straight, subject.idle, subject.noise = straight, frozenset(idle), noise
    asked = _chosen(skip)
    with jax.enable_x64(False):
        notes = _settle(subject)
        findings = [_asked(one, subject) for one in asked if one.basic]
        if any(one.status == BROKEN for one in findings):
            notes += _mend(subject)
        if any(one.status == BROKEN and one.law == PURE for one in findings):
            notes += ("  a step is no pure function: mend that first, other laws may break by it",)
        findings += [_asked(one, subject) for one in asked if not one.basic]
    place = {one.name: i for i, one in enumerate(asked)}
    findings.sort(key=lambda one: place[one.law])
    report = Report(subject.name, tuple(findings), notes)
    if strict and not report:
        raise BrokenLaws(report)
    return report


def laws(
    make: Any,
    reference: Callable[..., Any] | None = None,
    *,
    input_size: int = INPUTS,
    hidden_size: int = HIDDEN,
    holds: bool | None = None,
    halves: bool | None = None,
    straight: bool = True,
    idle: Iterable[str] = (),
    noise: float = 0.3,
    skip: Iterable[str] = (),
) -> list[BoundLaw]:
    """The laws that are for a cell, each a function without arguments, for one test each.

        @pytest.mark.parametrize("law", rz.testing.laws(MyCell), ids=str)
        def test_my_cell(law):
            law()

    Arguments and errors as in `check_cell`. The cell is made once, here.
    """
    subject = _subject(make, reference, (input_size, hidden_size), holds, halves)
    subject.straight, subject.idle, subject.noise = straight, frozenset(idle), noise
    with jax.enable_x64(False):
        return [BoundLaw(one, subject) for one in _chosen(skip) if not one.missing(subject)]


def _subject(
    make: Any, reference: Callable | None, sizes: tuple[int, int], holds: Any, halves: Any
) -> Subject:
    maker, name, keyed = as_maker(make, *sizes)
    subject = Subject(maker, name=name, reference=reference, keyed=keyed)
    subject.holds, subject.halves = holds, halves
    if name == "<lambda>":
        subject.name = type(subject.plain()).__name__
    return subject


def _chosen(skip: Iterable[str]) -> list[Law]:
    left_out = set(skip)
    unknown = left_out - set(LAWS)
    if unknown:
        raise ValueError(
            f"expected skip to name laws, got {sorted(unknown)}; known are: {', '.join(LAWS)}"
        )
    found = [one for one in LAWS.values() if one.name not in left_out]
    return sorted(found, key=lambda one: ORDER.index(one.group))


def _asked(law: Law, subject: Subject) -> Finding:
    with jax.enable_x64(False):
        reason = law.missing(subject)
        if reason:
            return Finding(law.name, law.group, SKIPPED, reason)
        try:
            remark = law.check(subject)
        except AssertionError as error:
            return Finding(law.name, law.group, BROKEN, str(error).strip(), law.mend)
        except Exception as error:
            return Finding(law.name, law.group, BROKEN, _said(error), law.mend)
    return Finding(law.name, law.group, PASSED, remark or "")


def _said(error: Exception) -> str:
    """What an error of the cell or of the library says, and the line that it is from."""
    message = " ".join(str(error).split())
    message = message if len(message) < 600 else f"{message[:600]} ..."
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(("<", *_OTHERS))]
    where = f", at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {message}{where}"


def _settle(subject: Subject) -> tuple[str, ...]:
    """Less noise where the cell stands no noise, so that other laws say something."""
    try:
        plain = subject.plain()
        xs = draw(0, (3, plain.input_size))
        bare = finite(unroll(plain, xs, **keyed(plain)))
        if not bare or finite(unroll(subject.cell(), xs, **keyed(plain))):
            return ()
    except Exception:  # a law says what it is
        return ()
    noise, subject.noise = subject.noise, 0.0
    subject.forget()
    return (
        f"  with noise of {noise} on its parameters the outputs are not finite, so it is checked "
        "without: give noise=, or keep what must be positive as its logarithm",
    )


def _mend(subject: Subject) -> tuple[str, ...]:
    """Lets the laws behind a broken promise be asked of a cell that keeps it, where that helps."""
    try:
        promises.abstract_step(promises.promised(subject.cell()))
    except Exception:
        return ()
    subject.mend = promises.promised
    subject.forget()
    return (
        "  it breaks a promise of its sizes or states; other laws are asked of the cell with its "
        "true output size and its states cast to those of init_state()",
    )
