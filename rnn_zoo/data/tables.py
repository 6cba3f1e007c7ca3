"""Tables with gaps: from a file of comma-separated values, or from a data frame, to a batch."""

import csv
import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._common.checks import one_like
from .._common.times import elapsed
from .batches import Batch, to_jax


MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?")
"""What stands for a missing value in a file, unless it is said otherwise."""


def read_csv(
    path: str | os.PathLike, *, delimiter: str = ",", missing: Sequence[str] = MISSING
) -> dict[str, np.ndarray]:
    """The columns of a file of comma-separated values, by the names in its first line.

    A column of numbers is float64, with NaN where one of the words of `missing` stands. Any other
    column is of strings, as they stand there. A file that ends with ".gz" is unpacked. What comes
    back is a table for `from_table`.

    **Raises:** ValueError for a file without a line, for names that are empty or stand there twice,
    and for a row that has more or fewer values than names, which is named.
    """
    opened: Callable[..., Any] = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    name = Path(path).name
    if not rows:
        raise ValueError(f"expected a line of names in {name}, got an empty file")
    names, rows = [word.strip() for word in rows[0]], rows[1:]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"expected a name of its own for each column of {name}, got {names}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(
                f"expected {len(names)} values in each row of {name}, got {len(row)} in row "
                f"{number}: is {delimiter!r} the delimiter?"
            )
    words = np.array([[word.strip() for word in row] for row in rows], str)
    words = words.reshape(len(rows), len(names))
    return {name: _column(words[:, i], frozenset(missing)) for i, name in enumerate(names)}


def _column(words: np.ndarray, missing: frozenset[str]) -> np.ndarray:
    absent = np.isin(words, list(missing))
    try:
        return np.where(absent, "nan", words).astype(np.float64)
    except ValueError:
        return words


def from_table(
    table: Any,
    x: Sequence[str],
    y: Sequence[str] | None = None,
    *,
    label: str | None = None,
    sequence: str | None = None,
    time: str | None = None,
    unit: str | float | int = 1.0,
) -> Batch:
    """A batch of sequences from a table with one row for each step; NaN where x has gaps.

    `table` is a mapping from names to columns, as `read_csv` gives it, or a data frame: what has
    `columns`, and at `table[name]` something with `to_numpy()`. Columns of x and y are numbers,
    and what is missing (NaN, None, NA) becomes NaN; x and y are float32. A cell such as
    `rz.cells.GRUDCell`, or any cell in `rz.Imputed`, takes x as it is, and `rz.train.mse` a y with
    gaps.

    **Arguments:**

    - `x`: the columns that are the features.
    - `y` or `label`, one of the two: the columns that are targets of each step, y of shape
      (samples, time, targets); or a column of whole numbers, the same in all rows of a sequence, y
      of shape (samples,).
    - `sequence`: the column that tells sequences apart. They come in the order in which they begin
      in the table, and a mask says where each ends. Without it all rows are one sequence.
    - `time`: the column of times. The rows of a sequence are put in their order, and `dt` is the
      time since the row before, 1 for the first. Without it rows are in order, and there is no dt.
    - `unit`: of the nominal step, a number of the column's own unit; for dates, datetime64 or
      ISO 8601, a unit of NumPy such as "s", "h" or "D". Gaps near 1 are what cells are made for.

    **Raises:** KeyError for a column that is not there; TypeError for one that is not of
    numbers; ValueError for an empty table, for labels that differ within a sequence or are missing,
    and for times that are missing.
    """
    if (y is None) == (label is None):
        raise ValueError("expected y, the targets of each step, or label, one for each sequence")
    if isinstance(x, str) or isinstance(y, str):
        raise TypeError("expected x and y as lists of columns, x=['a'], got one name")
    values = _matrix(table, x)
    parts = _parts(_raw(table, sequence) if sequence is not None else np.zeros(len(values)))
    times = None if time is None else _times(time, _raw(table, time), unit)
    if times is not None:
        parts = [part[np.argsort(times[part], kind="stable")] for part in parts]
    # Padding reads the row behind the last one, which holds what padding holds.
    length = max(map(len, parts))
    rows = np.full((len(parts), length), len(values))
    for i, part in enumerate(parts):
        rows[i, : len(part)] = part
    mask = None if sequence is None else rows < len(values)
    return to_jax(
        Batch(
            _laid(values, rows),
            _labels(label, _raw(table, label), parts)
            if label is not None
            else _laid(_matrix(table, y or ()), rows),
            mask,
            None if times is None else _gaps(times, parts, length),
        )
    )


def _names(table: Any) -> list[str]:
    return list(table) if isinstance(table, Mapping) else list(table.columns)


def _raw(table: Any, name: str) -> np.ndarray:
    """A column as it is."""
    names = _names(table)
    if name not in names:
        raise KeyError(f"no column {name!r}{one_like(name, [str(n) for n in names])}")
    column = table[name]
    array = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    if array.dtype == object and hasattr(column, "to_numpy"):
        try:  # what pandas calls NA is no number for NumPy
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            return array
    return array


def _matrix(table: Any, names: Sequence[str]) -> np.ndarray:
    """(rows, columns) float64."""
    if len(names) == 0:
        raise ValueError("expected the name of at least one column, got none")
    columns = [_numbers(name, _raw(table, name)) for name in names]
    if len(columns[0]) == 0:
        raise ValueError("expected a table with at least one row, got none")
    return np.stack(columns, axis=-1)


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    found = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            found[row] = np.nan if value is None else float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"expected numbers in column {name!r}, got {value!r} in row {row + 1}: mend it, or "
                "say in read_csv(..., missing=...) that it stands for a missing value"
            ) from None
    return found


def _parts(keys: np.ndarray) -> list[np.ndarray]:
    """The rows of each sequence, by the order in which sequences begin."""
    _, first, number = np.unique(keys.astype(str), return_index=True, return_inverse=True)
    return [np.flatnonzero(number == which) for which in np.argsort(first)]


def _times(name: str, column: np.ndarray, unit: str | float | int) -> np.ndarray:
    """In nominal steps, counted from the earliest on."""
    if isinstance(unit, str):
        dates = column.astype("datetime64[us]")
        if np.isnat(dates).any():
            raise ValueError(_no_time(name, np.isnat(dates)))
        return (dates - dates.min()) / np.timedelta64(1, unit)
    if column.dtype.kind == "M":
        raise TypeError(f'column {name!r} has dates, whose steps need a unit: unit="h" or "D"')
    if not 0 < unit < np.inf:
        raise ValueError(f"expected unit above 0, got {unit}")
    numbers = _numbers(name, column)
    if not np.isfinite(numbers).all():
        raise ValueError(_no_time(name, ~np.isfinite(numbers)))
    return (numbers - numbers.min()) / unit


def _no_time(name: str, wrong: np.ndarray) -> str:
    return (
        f"expected a time in each row of column {name!r}, got none in row "
        f"{int(np.flatnonzero(wrong)[0]) + 1}: leave such rows out"
    )


def _laid(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.zeros_like(values[:1])])[rows].astype(np.float32)


def _gaps(times: np.ndarray, parts: list[np.ndarray], length: int) -> np.ndarray:
    dt = np.ones((len(parts), length), np.float32)
    for i, part in enumerate(parts):
        dt[i, : len(part)] = np.asarray(elapsed(times[part]))
    return dt


def _labels(name: str, column: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    numbers = _numbers(name, column)
    found = np.empty(len(parts), np.int32)
    for i, part in enumerate(parts):
        own = np.unique(numbers[part])
        if len(own) != 1 or not np.isfinite(own[0]) or own[0] != np.int32(own[0]):
            raise ValueError(
                f"expected one whole number in column {name!r} for each sequence, got "
                f"{own.tolist()} in the rows of the sequence that begins in row {part[0] + 1}"
            )
        found[i] = own[0]
    return found
