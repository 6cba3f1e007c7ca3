"""`python -m benchmarks gpu` on a CPU at small sizes, and the table of choices that it fills."""

import csv
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.experimental import rnn as cudnn_rnn

import rnn_zoo as rz
from rnn_zoo._engine import backends as _auto


sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed import gpu, gpu_sections


def run(tmp_path, *arguments):
    """The exit code, and the rows by section."""
    path = tmp_path / "rows.csv"
    code = gpu.main(["--small", "--out", str(path), *arguments])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return code, {s: [r for r in rows if r["section"] == s] for s in {r["section"] for r in rows}}


def test_a_small_run_compares_measures_and_chooses(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_sections.peers, "flax", lambda *_: None)  # slow to import
    code, rows = run(tmp_path, "cells", "recurrence", "layers")
    printed = capsys.readouterr().out
    assert code == 0
    assert rows["environment"][0]["note"]
    assert {r["rival"] for r in rows["cells"]} == set(gpu_sections.SOME_CELLS)
    assert all(r["note"].startswith("right") for r in rows["cells"])
    rivals = {*gpu_sections.EVERY, "lax.associative_scan", "copy"}
    for what in ("forward", "gradient"):
        found = {r["rival"]: r for r in rows["recurrence"] if r["pass"] == what}
        assert set(found) == rivals
        assert float(found.pop("copy")["gb_per_s"]) > 0
        assert all(float(r["ms"]) > 0 and float(r["error"]) < 1e-5 for r in found.values())
        assert all(float(r["gb_per_s"]) >= 0 and r["of_copy"] for r in found.values())
    for what in ("forward", "training"):
        found = [r for r in rows["layers"] if r["pass"] == what and r["ms"]]
        assert [r["rival"] for r in found] == ["ours", "lax.scan"] * 2
    skipped = {r["rival"] for r in rows["layers"] if r["note"].startswith("skipped")}
    assert skipped == {"ours, cudnn", "cudnn, jax.experimental.rnn", "cudnn, torch", "flax"}
    assert f'"{jax.default_backend()}": (\n        Choice(0, "' in printed


def test_a_cell_that_differs_or_fails_gives_1_and_the_run_goes_on(tmp_path, monkeypatch):
    def both(name, there, here):
        if name == gpu_sections.SOME_CELLS[0]:
            raise MemoryError("no room\nat all")
        right = {"forward": jnp.ones(3), "gradient": [jnp.ones(2)]}
        wrong = {"forward": jnp.ones(3), "gradient": [jnp.array([1.0, 1.001])]}
        return [(lambda: wrong, ()), (lambda: right, ())]

    monkeypatch.setattr(gpu_sections, "both", both)
    code, rows = run(tmp_path, "cells")
    failed, wrong = (r["note"] for r in rows["cells"])
    assert code == 1
    assert failed == "failed: MemoryError: no room at all"
    assert wrong == "WRONG: more than 0.0001; forward 0.0e+00, gradient 7.1e-04"


def test_what_finds_no_time_or_memory_is_a_row(tmp_path, monkeypatch):
    run = gpu.Run(60.0, tmp_path / "rows.csv", True)
    gpu_sections.cells(run, 0.0)
    monkeypatch.setattr(run, "memory", lambda: 1000.0)
    gpu_sections.recurrence(run, run.ends)
    assert run.finish() == 1  # a cell that was not compared is not right
    with run.table.path.open(newline="") as file:
        notes = [r["note"] for r in csv.DictReader(file) if r["rival"] != "copy"]
    assert notes == ["skipped: no time left"] * 2 + ["skipped: needs 0.0 GB at least"] * 10


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([jnp.array([1.0, jnp.nan])], np.inf),
        ([jnp.array([1.0, 1.0])], 0.0),
        ([jnp.array([1.0, 2.0])], 1 / np.sqrt(2)),
    ],
)
def test_the_difference_of_arrays(found, expected):
    assert gpu_sections.difference(found, [jnp.ones(2)]) == pytest.approx(expected)


def test_a_small_array_is_held_to_a_thousandth_of_all():
    error = gpu_sections.difference([jnp.array(1e-6), jnp.array(1.0)], [0.0, jnp.array(1.0)])
    assert error == pytest.approx(1e-3)


def test_the_rows_of_auto_follow_from_the_times():
    """Geometric means over passes and cases; the simpler within 5 %; what is missing is out."""
    long = ((8, 4096, 128), "float32", True)
    other = ((8, 4096, 128), "complex64", False)
    measured = {
        long: {"loop": (8.0, 8.0), "blocked": (1.0, 4.0), "associative": (3.0, 1.0)},
        other: {"loop": (8.0, 8.0), "blocked": (1.0, 3.0), "associative": (2.0, 1.0)},
        ((8, 128, 128), "float32", True): {"loop": (1.04, 1.0), "associative": (1.0, 1.0)},
        ((8, 512, 128), "float32", True): {"loop": (1.0, 1.0), "associative": (1.0, 1.2)},
        ((8, 65536, 128), "float32", True): {"loop": (9.0, 9.0), "associative": (1.0, 1.0)},
    }
    rows = gpu.choices(measured, "here")
    # At 4096: blocked sqrt(12) to associative sqrt(6), by products of the ratios to the best.
    assert [row[:2] for row in rows] == [(0, "loop"), (4096, "associative")]
    del measured[other]["associative"]
    rows = gpu.choices(measured, "here")
    assert [row[:2] for row in rows] == [(0, "loop"), (4096, "blocked"), (65536, "associative")]
    assert all(row.measured == "here" for row in rows)
    assert gpu.choices({}, "here") == ()


def test_the_kernel_has_to_be_half_as_fast_again():
    case = ((8, 128, 128), "float32", True)
    for factor, winner in ((1.45, "associative"), (1.55, "kernel")):
        found = {"loop": (9.0, 9.0), "associative": (factor, factor), "kernel": (1.0, 1.0)}
        assert [row.algorithm for row in gpu.choices({case: found}, "here")] == [winner]


def test_cudnn_has_to_win_every_case_and_pass():
    ours, faster = {"forward": 2.0, "training": 3.0}, {"forward": 1.0, "training": 2.0}
    won = {"lstm a": {"ours": ours, "ours, cudnn": faster}, "gru a": {"ours": ours}}
    assert gpu.of_lstm(won, "here") == (_auto.Choice(0, "cudnn", "here"),)
    lost = {**won, "lstm b": {"ours": faster, "ours, cudnn": {**faster, "training": 2.5}}}
    assert gpu.of_lstm(lost, "here") == gpu.of_lstm({}, "here") == ()
    assert gpu.of_lstm({**won, "lstm b": {"ours": faster}}, "here") == ()


def test_what_follows_is_written_where_it_is_read(tmp_path, monkeypatch):
    """Twice: an entry takes the place of the one before, and all else stays."""
    copy = tmp_path / "backends.py"
    copy.write_text(Path(_auto.__file__).read_text())
    monkeypatch.setattr(gpu, "BACKENDS", copy)
    made = gpu.Run(60.0, tmp_path / "rows.csv", True)
    made.write, made.about = True, ("0", "a card")
    for block, loop in ((64, 2.0), (256, 0.5)):
        made.sizes = {"block": {64: 1.0, 256: 2.0 if block == 64 else 0.5}, "chunk": {8: 1.0}}
        made.recurrence = {((1, 9, 2), "float32", True): {"loop": (loop,) * 2, "blocked": (1, 1)}}
        times = {"forward": loop, "training": loop}
        made.layers = {"lstm": {"ours": times, "ours, cudnn": {"forward": 1, "training": 1}}}
        made.device = type("Device", (), {"platform": "gpu"})()
        made.choose()
        space = {"__package__": "rnn_zoo._engine", "__name__": "rnn_zoo._engine.copy"}
        exec(compile(copy.read_text(), str(copy), "exec"), space)
        assert space["SIZES"]["gpu"].keys() == {"block"}
        assert space["SIZES"]["gpu"]["block"].value == block
        assert space["SIZES"]["cpu"].keys() == _auto.SIZES["cpu"].keys()
        winner = "blocked" if loop == 2.0 else "loop"
        assert [row.algorithm for row in space["AUTO"]["gpu"]] == [winner]
        assert [row.algorithm for row in space["LSTM"]["gpu"]] == ["cudnn"]
        assert space["AUTO"]["cpu"] == _auto.AUTO["cpu"]


@pytest.mark.slow
def test_a_rehearsal_goes_through_every_section(tmp_path, capsys):
    names = ("evaluators", "chunks", "sizes", "lowered", "precision")
    code, rows = run(tmp_path, "--rehearse", *names)
    assert code == 0, rows
    for section in ("evaluators", "precision tf32", "precision bfloat16"):
        assert all(row["note"].startswith("right") for row in rows[section])
    passes = {(row["rival"], row["pass"]) for row in rows["chunks"] if row["ms"]}
    rivals = ("loop", "chunks of 16", "cudnn")
    assert passes == {(who, what) for who in rivals for what in ("forward", "gradient")}
    assert [row["rival"] for row in rows["lowered"] if row["ms"]] == ["float32", "bfloat16"]
    assert {(row["case"], row["rival"]) for row in rows["sizes"] if row["ms"]} == {
        ("kernel_steps", "16"),
        ("kernel_steps", "32"),
        ("block", "64"),
        ("block", "256"),
    }
    assert '"block": Size(' in capsys.readouterr().out


def test_auto_takes_what_the_table_says(monkeypatch):
    rows = (_auto.Choice(0, "loop", "a"), _auto.Choice(100, "blocked", "b"))
    monkeypatch.setitem(_auto.AUTO, "gpu", rows)
    assert [_auto.choose("gpu", n) for n in (1, 99, 100, 5000)] == ["loop"] * 2 + ["blocked"] * 2
    (length,) = jax.export.symbolic_shape("n")
    assert _auto.choose("gpu", length) == "blocked"
    assert _auto.choose("one without rows", 7) == _auto.PARALLEL


def test_every_row_of_auto_names_an_algorithm_and_what_set_it():
    for rows in _auto.AUTO.values():
        assert rows[0].steps == 0
        assert [row.steps for row in rows] == sorted({row.steps for row in rows})
        assert all(row.algorithm in gpu_sections.EVERY and row.measured for row in rows)
    cell = rz.make_cell("lru", 2, 3, key=jr.key(0))
    chosen = rz.scan.resolve_method(cell, "auto", 5)
    assert chosen == _auto.choose(jax.default_backend(), 5)


def test_the_arrays_handed_to_cudnn_are_those_of_the_cell():
    cell = rz.make_cell("lstm", 3, 4, key=jr.key(0))
    xs = jr.normal(jr.key(1), (2, 5, 3))
    arrays = cudnn_rnn.unpack_lstm_weights(gpu_sections.packed(cell), 3, 4, 1, False)
    zeros, lengths = jnp.zeros((1, 2, 4)), jnp.full(2, 5, jnp.int32)
    ys, _, _ = cudnn_rnn.lstm_ref(
        xs, zeros, zeros, *arrays, lengths, 3, 4, 1, dropout=0.0, bidirectional=False
    )
    np.testing.assert_allclose(ys, jax.vmap(rz.Recurrent(cell))(xs), atol=1e-6)


def test_a_backend_without_sizes_takes_those_of_the_cpu(monkeypatch):
    ours = {"chunk": _auto.Size(5, "here")}
    monkeypatch.setitem(_auto.SIZES, "one with a row", ours)
    monkeypatch.setattr(jax, "default_backend", lambda: "one with a row")
    assert _auto.tuned("chunk") == 5
    assert _auto.tuned("batch") == _auto.SIZES["cpu"]["batch"].value
    assert all(entry.measured for of in _auto.SIZES.values() for entry in of.values())
