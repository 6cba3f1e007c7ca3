"""Make sunspots_yearly.csv from the wheel of statsmodels, which carries it as sunspots.csv.

pip download --no-deps statsmodels==0.15.0
python datasets/sunspots_yearly/prepare.py statsmodels-0.15.0-*.whl
"""

import csv
import io
import sys
import zipfile
from pathlib import Path


TARGET = Path(__file__).parent / "sunspots_yearly.csv"


def table(wheel):
    """The text of the csv file."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("statsmodels/datasets/sunspots/sunspots.csv").decode("ascii")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    years = [int(year) for year, _ in rows]
    if years != list(range(years[0], years[0] + len(years))):
        raise ValueError("expected one row a year")
    return "\n".join(["year,sunspots", *(f"{year},{number}" for year, number in rows), ""])


def save(path, text):
    """Write with plain line ends on every system."""
    path.write_bytes(text.encode("ascii"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    save(TARGET, table(sys.argv[1]))
