"""Figures as CSV files in `rows/`, and what they were measured with."""

import abc
import csv
import functools
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jax


FOLDER = Path(__file__).parent
ROOT, ROWS = FOLDER.parent, FOLDER / "rows"
PICTURES = ROOT / "docs" / "pages" / "pictures"


def versions() -> dict[str, str]:
    """What figures are measured with."""
    return {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }


def machine() -> str:
    """The same as a line."""
    return "jax {jax}, Python {python}, {device}, {date}".format(**versions())


@functools.cache
def commit() -> str:
    """The commit of this checkout, where it is one."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows, with the columns of the last one."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def shown(path: Path) -> str:
    """A path as one types it at the repository's root."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


class Rows(abc.ABC):
    """The rows of a benchmark and their file."""

    path: Path

    @abc.abstractmethod
    def about(self) -> str:
        """What happens to the file, for `--help`."""

    def read(self) -> list[dict[str, str]]:
        return read(self.path)


class Table(Rows):
    """Rows by key, measured anew by each run; the last part of a key is the rival."""

    def __init__(self, name: str, keys: tuple[str, ...], values: tuple[str, ...]):
        self.path = ROWS / f"{name}.csv"
        self.keys, self.values = keys, values
        self.new: dict[tuple[str, ...], list[str]] = {}

    def about(self) -> str:
        return (
            f"Rows go to {shown(self.path)}, in the place of those with the same "
            f"{', '.join((*self.keys, self.values[0]))}."
        )

    def add(self, key: tuple[str, ...], *values: str) -> None:
        self.new[(*key, values[0])] = [*values[1:]]
        print("  ".join(map(str, (*key, *values))), flush=True)

    def write(self) -> None:
        """The file with the new rows in the place of those that had the same key."""
        columns = (*self.keys, *self.values, "python", "device", "date")
        about = [versions()[name] for name in columns[-3:]]
        made = {key: dict(zip(columns, [*key, *row, *about])) for key, row in self.new.items()}
        names = (*self.keys, self.values[0])
        kept = [r for r in self.read() if tuple(r[name] for name in names) not in made]
        if kept or made:
            write(self.path, [*kept, *made.values()])


class Kept(Rows):
    """Rows that take long: what stands in the file is not measured again."""

    def __init__(self, name: str, keys: tuple[str, ...], order: Iterable[tuple[Any, ...]]):
        """`order`: the places of all rows, as they are to stand in the file."""
        self.path, self.keys = ROWS / f"{name}.csv", keys
        self.order = [tuple(map(str, place)) for place in order]

    def about(self) -> str:
        return (
            f"Rows go to {shown(self.path)}. What stands there is not run again: a run that was "
            "ended goes on, and a row that is to be measured anew is deleted first."
        )

    def missing(self, places: Iterable[tuple]) -> list[tuple]:
        have = {self._place(row) for row in self.read()}
        return [place for place in places if tuple(map(str, place)) not in have]

    def fill(self, places: Sequence[tuple], measure: Callable[..., dict[str, Any]]) -> None:
        """`measure(*place)` for each place without a row."""
        for place in self.missing(places):
            row = measure(*place)
            print(row, flush=True)
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        # Read after measuring: another process may have added rows.
        rows = [r for r in self.read() if self._place(r) != self._place(row)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        columns = list(row)
        rows = sorted([*rows, row], key=self._rank)
        write(self.path, [{name: r.get(name, "") for name in columns} for r in rows])

    def _place(self, row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in self.keys)

    def _rank(self, row: dict[str, Any]) -> int:
        place = self._place(row)
        return [*self.order, place].index(place)
