"""Make japanese_vowels.npz from the wheel of aeon (or sktime), which carries the UEA .ts files.

    pip download --no-deps aeon==1.6.0
    python datasets/japanese_vowels/prepare.py aeon-1.6.0-py3-none-any.whl

Utterances are stored one after the other: `train_x` is (frames, 12), and `train_lengths` says how
many frames belong to each utterance. Labels are 0 to 8 (the .ts files say 1 to 9).
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np


TARGET = Path(__file__).parent / "japanese_vowels.npz"


def read_ts(text):
    """Read a .ts file: a list of (time, 12) utterances and their labels, counted from 0."""
    body = text.split("@data", 1)[1]
    utterances, labels = [], []
    for line in body.strip().splitlines():
        *dimensions, label = line.split(":")
        utterances.append(np.array([row.split(",") for row in dimensions], np.float32).T)
        labels.append(int(label) - 1)
    return utterances, np.array(labels, np.uint8)


def arrays(wheel):
    """The six arrays of the file, by name."""
    result = {}
    with zipfile.ZipFile(wheel) as archive:
        for split in ("train", "test"):
            ending = f"/JapaneseVowels/JapaneseVowels_{split.upper()}.ts"
            (name,) = [n for n in archive.namelist() if n.endswith(ending)]
            utterances, labels = read_ts(archive.read(name).decode("utf-8"))
            result[f"{split}_x"] = np.concatenate(utterances)
            result[f"{split}_lengths"] = np.array([len(u) for u in utterances], np.uint8)
            result[f"{split}_y"] = labels
    return result


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
