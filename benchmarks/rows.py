"""Tables of figures as CSV files: a run replaces the rows that it measures."""

import csv
import os
import platform
from datetime import date
from pathlib import Path

import jax


FOLDER = Path(__file__).parent


def versions() -> dict[str, str]:
    """What figures are measured with."""
    return {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict]) -> None:
    """All rows, with the columns of the last one."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Table:
    """Rows by key; the last part of a key is the rival."""

    def __init__(self, name: str, keys: tuple[str, ...], values: tuple[str, ...]):
        self.path = FOLDER / f"{name}.csv"
        self.keys, self.values = keys, values
        self.new: dict[tuple[str, ...], list[str]] = {}

    def add(self, key: tuple[str, ...], *values: str) -> None:
        self.new[(*key, values[0])] = [*values[1:]]
        print("  ".join(map(str, (*key, *values))), flush=True)

    def read(self) -> list[dict[str, str]]:
        return read(self.path)

    def write(self) -> None:
        """The file with the new rows in the place of those that had the same key."""
        columns = (*self.keys, *self.values, "python", "device", "date")
        about = [versions()[name] for name in columns[-3:]]
        made = {key: dict(zip(columns, [*key, *row, *about])) for key, row in self.new.items()}
        names = (*self.keys, self.values[0])
        kept = [r for r in self.read() if tuple(r[name] for name in names) not in made]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*kept, *made.values()])
