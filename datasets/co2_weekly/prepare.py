"""Make co2_weekly.csv.gz from the wheel of statsmodels, which carries the table as co2.csv.

    pip download --no-deps statsmodels==0.15.0
    python datasets/co2_weekly/prepare.py statsmodels-0.15.0-*.whl

Dates become ISO dates (1958-03-29); a missing week keeps its row with an empty value.
"""

import csv
import datetime
import gzip
import io
import sys
import zipfile
from pathlib import Path


TARGET = Path(__file__).parent / "co2_weekly.csv.gz"


def table(wheel):
    """The text of the csv file."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("statsmodels/datasets/co2/co2.csv").decode("ascii")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    dates = [datetime.datetime.strptime(date, "%Y%m%d").date() for date, _ in rows]
    if any((b - a).days != 7 for a, b in zip(dates, dates[1:])):
        raise ValueError("expected one row a week")
    lines = [f"{date.isoformat()},{value}" for date, (_, value) in zip(dates, rows)]
    return "\n".join(["date,co2", *lines, ""])


def save(path, text):
    """Write gzip without a time stamp and without a file name in its header."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as archive:
        archive.write(text.encode("ascii"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    save(TARGET, table(sys.argv[1]))
