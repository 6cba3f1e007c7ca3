"""Tables with gaps: what is missing in a file or a data frame is NaN in a batch."""

import gzip

import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo import data


NAN = np.nan
TEXT = """patient,hours,pulse,lactate,died,ward
b,0, 80 ,NA,1,north
a,3,61,1.5,0,
a,1,60,,0,south
b,2.5,nan,2,1,north
b,2,83,?,1,north
"""
X = np.array([[[80, NAN], [83, NAN], [NAN, 2]], [[60, NAN], [61, 1.5], [0, 0]]], np.float32)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "ward.csv").write_text(TEXT)
    return tmp_path / "ward.csv"


def equal(one, two):
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_file_with_gaps_becomes_a_batch(path):
    table = data.read_csv(path)
    assert list(table) == ["patient", "hours", "pulse", "lactate", "died", "ward"]
    equal(table["lactate"], [NAN, 1.5, NAN, 2, NAN])
    equal(table["ward"], ["north", "", "south", "north", "north"])
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    equal(data.read_csv(path.with_suffix(".csv.gz"))["hours"], table["hours"])
    batch = data.from_table(
        table, ["pulse", "lactate"], label="died", sequence="patient", time="hours", unit=0.5
    )
    equal(batch.x, X)
    equal(batch.y, [1, 0])
    equal(batch.mask, [[True] * 3, [True, True, False]])
    equal(batch.dt, np.float32([[1, 4, 1], [1, 4, 1]]))
    cell = rz.cells.GRUDCell(2, 4, key=jr.key(0))
    model = rz.SequenceModel(cell, 2, key=jr.key(1))
    assert np.isfinite(float(rz.train.cross_entropy(model, batch)[0]))
    # One sequence, with targets at each step, in the order of the rows.
    one = data.from_table(table, ["hours"], ["lactate", "pulse"])
    equal(one.x, np.float32(table["hours"])[None, :, None])
    equal(one.y, np.float32(np.stack([table["lactate"], table["pulse"]], -1))[None])
    assert one.per_step
    assert one.mask is one.dt is None
    # Targets are laid out as the inputs are.
    laid = data.from_table(table, ["lactate"], ["pulse"], sequence="patient", time="hours")
    equal(laid.y[..., 0], X[..., 0])


class Column:
    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values


class Frame:
    """What a data frame is asked for."""

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), columns

    def __getitem__(self, name):
        return Column(self._columns[name])


def test_a_frame_with_dates_and_none():
    days = np.array(["2020-01-03", "2020-01-01", "2020-01-02"], "datetime64[D]")
    seen = np.array([3, None, 2.5], object)
    frame = Frame(day=days, seen=seen, low=np.array([True, False, True]), k=np.arange(3))
    batch = data.from_table(frame, ["seen", "low"], ["k"], time="day", unit="h")
    equal(batch.x, np.float32([[[NAN, 0], [2.5, 1], [3, 1]]]))
    equal(batch.dt, np.float32([[1, 24, 24]]))
    equal(batch.y, np.float32([[[1], [2], [0]]]))
    text = {"day": days.astype(str), "k": np.arange(3.0)}
    equal(data.from_table(text, ["k"], ["k"], time="day", unit="D").dt, np.ones((1, 3)))


def test_a_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"id": [1, 1, 2], "v": pandas.array([1, None, 3], dtype="Int64"), "w": [0.5, None, 1]}
    )
    batch = data.from_table(frame, ["v", "w"], label="id", sequence="id")
    equal(batch.x, np.float32([[[1, 0.5], [NAN, NAN]], [[3, 1], [0, 0]]]))


def test_values_are_dropped_and_scaled():
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(3, 2, size=(40, 25, 4)))
    x[..., 3] = 7
    mask = np.arange(25) < rng.integers(5, 26, 40)[:, None]
    whole = data.Batch(np.where(mask[..., None], x, 0), np.zeros(40, np.int32), mask)
    gappy = data.drop_values(whole, 0.3, key=jr.key(0))
    missing = np.isnan(np.asarray(gappy.x))
    assert abs(missing.mean() - 0.3) < 0.02
    equal(np.asarray(gappy.x)[~missing], whole.x[~missing])
    equal(data.drop_values(whole, 0.3, key=jr.key(0)).x, gappy.x)
    equal(data.drop_values(whole, 0, key=jr.key(0)).x, whole.x)
    train, test = data.standardise(gappy, whole)
    known = np.asarray(train.x, np.float64)[mask]
    np.testing.assert_allclose(np.nanmean(known, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(known, 0), [1, 1, 1, 0], atol=1e-5)
    equal(np.asarray(test.x)[~mask], 0)
    equal(np.isnan(np.asarray(train.x)[mask]), missing[mask])
    equal(data.mark_missing(x, ~missing)[~missing], x[~missing])


ROWS = {"id": np.array([0, 0, 1]), "v": np.array([1.0, NAN, 2]), "t": np.array([0.0, 1, 2])}
BATCH = data.Batch(np.ones((2, 3, 1), np.float32), np.zeros(2, np.int32))
NEVER = data.Batch(np.full((2, 3, 1), NAN, np.float32), np.zeros(2, np.int32))
BAD = {
    "no target": (lambda: data.from_table(ROWS, ["v"]), ValueError, "expected y.*or label"),
    "two targets": (lambda: data.from_table(ROWS, ["v"], ["v"], label="id"), ValueError, "expected y.*or label"),
    "one name": (lambda: data.from_table(ROWS, "v", ["v"]), TypeError, r"lists of columns, x=\['a'\]"),
    "no name": (lambda: data.from_table(ROWS, [], ["v"]), ValueError, "at least one column"),
    "no column": (lambda: data.from_table(ROWS, ["w"], ["v"]), KeyError, "no column 'w'"),
    "no row": (lambda: data.from_table({"v": np.zeros(0)}, ["v"], ["v"]), ValueError, "at least one row"),
    "words": (lambda: data.from_table({"v": np.array(["1", "high"])}, ["v"], ["v"]), TypeError, "numbers in column 'v', got .*high.* in row 2"),
    "labels that differ": (lambda: data.from_table(ROWS, ["v"], label="t", sequence="id"), ValueError, r"one whole number in column 't'.*\[0.0, 1.0\]"),
    "label missing": (lambda: data.from_table(ROWS, ["t"], label="v", sequence="t"), ValueError, "one whole number in column 'v'"),
    "half a label": (lambda: data.from_table({"v": np.array([0.5])}, ["v"], label="v"), ValueError, "one whole number"),
    "time missing": (lambda: data.from_table(ROWS, ["v"], ["v"], time="v"), ValueError, "a time in each row of column 'v', got none in row 2"),
    "dates without a unit": (lambda: data.from_table({**ROWS, "t": ROWS["t"].astype("M8[D]")}, ["v"], ["v"], time="t"), TypeError, "dates, whose steps need a unit"),
    "unit": (lambda: data.from_table(ROWS, ["v"], ["v"], time="t", unit=0), ValueError, "unit above 0"),
    "observed": (lambda: data.mark_missing(np.ones((2, 3)), np.ones(2, bool)), ValueError, r"observed of shape \(2, 3\)"),
    "observed in numbers": (lambda: data.mark_missing(np.ones(2), np.ones(2)), ValueError, "dtype bool"),
    "tokens": (lambda: data.mark_missing(np.ones(2, int), np.ones(2, bool)), ValueError, "x of floats"),
    "share": (lambda: data.drop_values(BATCH, 1.5, key=jr.key(0)), ValueError, "share from 0 to 1"),
    "never seen": (lambda: data.standardise(NEVER), ValueError, r"none of \[0\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_table_is_named(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


FILES = {
    "empty": ("", "a line of names in t.csv"),
    "names": ("a,a\n1,2\n", "a name of its own"),
    "rows": ("a,b\n1,2\n1\n", "2 values in each row of t.csv, got 1 in row 2"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_values_is_named(name, tmp_path):
    text, message = FILES[name]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        data.read_csv(tmp_path / "t.csv")
