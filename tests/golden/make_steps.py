"""Golden values of every cell: parameters, states, steps, sequences, gradients, in float32.

    PYTHONPATH=BUILD JAX_PLATFORMS=cpu python tests/golden/make_steps.py

writes tests/golden/steps.npz from the build at that path: `values`, all numbers in one row, and
`index`, which array they belong to: sample, name, dtype, shape. Make them anew only where results
are meant to change; `tests/test_same_results.py` says when they do.
"""

import json
import sys
from pathlib import Path

import numpy as np


FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from same_results import SAMPLES, results, sketch


def as_floats(array: np.ndarray) -> np.ndarray:
    """The numbers as float32, a complex one as two."""
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag])
    floats = array.astype(np.float32).ravel()
    assert array.dtype == np.float32 or np.array_equal(floats, array.ravel())
    return floats


def main() -> None:
    index, values = [], []
    for sample in SAMPLES:
        print(sample.id, flush=True)
        for name, array in sorted(results(sample, together=True).items()):
            array = sketch(array)
            index.append([sample.id, name, array.dtype.name, array.shape])
            values.append(as_floats(array))
    packed = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez_compressed(FOLDER / "steps.npz", index=packed, values=np.concatenate(values))


if __name__ == "__main__":
    main()
