"""Results stay what they were: golden values of `tests/golden/make_steps.py`.

Parameters agree to 1e-6 of their norm, results to 1e-5 and gradients to 5e-5: what compilers and
processors differ by is less than a third of each (jax 0.10 and 0.12, SSE and AVX). To the bit, on
one machine, `python -m benchmarks house bits OLD NEW` compares two builds.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import KINDS
from same_results import SAMPLES, results, sketch, starts


def _read() -> dict[str, dict[str, np.ndarray]]:
    file = np.load(Path(__file__).parent / "golden" / "steps.npz")
    values, start, found = file["values"], 0, {}
    for sample, name, dtype, shape in json.loads(file["index"].tobytes()):
        pairs = 2 if np.dtype(dtype).kind == "c" else 1
        size = pairs * int(np.prod(shape))
        array = values[start : start + size].reshape((pairs, *shape))
        array = array[0] + 1j * array[1] if pairs == 2 else array[0]
        found.setdefault(sample, {})[name] = array.astype(dtype)
        start += size
    return found


GOLDEN = _read()
# What the brief results leave out.
SLOWEST = ("['whole']", "['parallel-reverse']", "['parallel-gradient']")


def tolerance(name: str) -> float:
    if name.startswith("parameters"):
        return 1e-6
    return 5e-5 if "gradient" in name else 1e-5


def _difference(one: np.ndarray, two: np.ndarray) -> float:
    """Of two arrays, by the norm of the second."""
    wide = np.complex128 if np.iscomplexobj(two) else np.float64
    one, two = one.astype(wide), two.astype(wide)
    return float(np.linalg.norm(one - two) / max(np.linalg.norm(two), 1e-30))


def test_no_cell_is_gone():
    assert set(GOLDEN) <= {sample.id for sample in SAMPLES}


def _check(found: dict[str, np.ndarray], golden: dict[str, np.ndarray]) -> None:
    wrong = {}
    for name, expected in golden.items():
        array = sketch(found[name])
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), name
        difference = _difference(array, expected)
        if not difference <= tolerance(name):
            wrong[name] = difference
    assert wrong == {}


@pytest.mark.parametrize("sample", [pytest.param(s, id=s.id) for s in SAMPLES if s.default])
def test_a_cell_starts_and_runs_the_same(sample):
    """Where each cell starts, and what one of each kind gives; the slow run asks it of all."""
    if sample.id not in GOLDEN:
        pytest.skip("newer than the golden values")
    runs = sample.id in KINDS
    found = results(sample, together=True, brief=True) if runs else starts(sample.build())
    golden = GOLDEN[sample.id]
    assert set(found) <= set(golden)
    left = [name for name in golden if name not in found]
    assert all(name.startswith(SLOWEST) for name in left) or not runs
    _check(found, {name: golden[name] for name in found})


@pytest.mark.slow
@pytest.mark.parametrize("sample", [pytest.param(s, id=s.id) for s in SAMPLES if s.id in GOLDEN])
def test_results_are_the_same(sample):
    golden, found = GOLDEN[sample.id], results(sample, together=True)
    assert sorted(found) == sorted(golden)
    _check(found, golden)
