"""How benchmarks are called, how rows are kept, and the board."""

import csv
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import rnn_zoo as rz


ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import benchmarks.__main__
from benchmarks import call
from benchmarks.quality import board, scores
from benchmarks.tables import Kept, Table


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def is_picture(path):
    return path.read_bytes()[:4] == b"\x89PNG"


def run(*arguments):
    board.main([*arguments])


def tiny_board(monkeypatch):
    def load():
        return rz.data.load(
            "adding", key=jax.random.key(0), length=6, n_train=40, n_valid=8, n_test=8
        )

    monkeypatch.setattr(board, "TASKS", {"tiny": board.Task(load, 4, 1 / 6, batch_size=8)})
    monkeypatch.setattr(board, "PARAMETERS", 300)


@pytest.mark.slow
def test_the_board_fills_its_table_and_goes_on(tmp_path, monkeypatch, capsys):
    tiny_board(monkeypatch)
    run("--out", str(tmp_path / "a"), "--cell", "elman")
    run("--out", str(tmp_path / "a"), "--cell", "elman", "lru")
    assert len(capsys.readouterr().out.splitlines()) == 2, "one row for each run"
    first, second = rows(tmp_path / "a" / "board.csv")
    assert (first["cell"], second["cell"], second["layers"]) == ("elman", "lru", "2")
    assert (first["steps"], first["of_steps"], first["failed"]) == ("4", "4", "0")
    model = rz.make_model(
        "elman", 2, 1, hidden_size=int(first["hidden_size"]), key=jax.random.key(0)
    )
    assert int(first["parameters"]) == sum(
        leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    )
    assert int(first["state"]) == int(first["hidden_size"])
    assert float(first["lowest"]) <= float(first["median"]) <= float(first["highest"])
    assert is_picture(tmp_path / "a" / "board.png")
    run("--out", str(tmp_path / "b"), "--cell", "elman")
    (again,) = rows(tmp_path / "b" / "board.csv")
    for name in set(first) - {"seconds"}:
        assert again[name] == first[name]


@pytest.mark.slow
def test_a_run_of_the_board_ends_by_time(tmp_path, monkeypatch):
    tiny_board(monkeypatch)
    out = tmp_path / "board"
    run("--cell", "gru", "--seconds", "0", "--out", str(out))
    (row,) = rows(out / "board.csv")
    assert (row["steps"], row["of_steps"]) == ("1", "4")
    # With the same steps, whatever the time, come the same figures.
    again = tmp_path / "again"
    steps_of = ["--steps-of", str(out / "board.csv"), "--out", str(again)]
    run("--cell", "elman", "gru", *steps_of)
    (other,) = rows(again / "board.csv")
    assert (row["cap"], other["cap"]) == ("0", "")
    assert {**other, "seconds": row["seconds"], "cap": "0"} == row


@pytest.mark.slow
def test_the_board_runs_on_several_cores(tmp_path):
    """Rows come in any order and stand in one; a run of its own core gives the same row."""
    options = ["japanese_vowels", "--seconds", "0", "--cell", "esn", "elman", "--jobs"]
    for jobs, out in (("2", "a"), ("1", "b")):
        run(*options, jobs, "--out", str(tmp_path / out))
    together, alone = (rows(tmp_path / out / "board.csv") for out in "ab")
    assert [row["cell"] for row in together] == ["elman", "esn"]
    for row, same in zip(together, alone):
        assert {**row, "seconds": same["seconds"]} == same


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jobs", "0"], "expected --jobs of at least 1, got 0"),
        (["--steps-of", "x"], "there is no table x"),
        (["parrity"], "unknown 'parrity': did you mean 'parity'"),
        (["--cell", "gruu"], "unknown 'gruu': did you mean 'gru'"),
    ],
)
def test_the_board_refuses_wrong_options(options, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*options)
    assert said in capsys.readouterr().err


def test_the_board_knows_its_tasks():
    assert set(board.TASKS) >= {"parity", "modular_arithmetic", "mqar_small", "copy_50"}


@pytest.mark.parametrize(
    ("figure", "median", "chance", "expected"),
    [("accuracy", 0.75, 0.5, 0.5), ("accuracy", 0.4, 0.5, 0), ("mse", 0.1, 1, 1 / 3)]
    + [("mse", 2, 1, 0), ("mse", 1e-9, 1, 1)],
)
def test_scores_lie_between_chance_and_perfect(figure, median, chance, expected):
    row = {"figure": figure, "median": str(median), "chance": str(chance)}
    assert scores.score(row) == pytest.approx(expected)


def test_the_picture_shows_the_tasks_that_all_cells_have():
    def row(task, cell, median, seconds):
        numbers = {"median": median, "seconds": seconds, "chance": "0.5", "steps": "500"}
        return {"task": task, "cell": cell, "family": cell, "figure": "accuracy", **numbers}

    rows = [row("a", "gru", "1.0", "9"), row("a", "lru", "0.75", "90"), row("b", "gru", "0.5", "9")]
    ax = scores.picture(rows).axes[0]
    assert ax.get_ylabel() == "mean score over 1 tasks"
    assert [text.get_text() for text in ax.texts] == ["gru", "lru"]
    places = [line.get_xydata()[0] for line in ax.lines]
    np.testing.assert_allclose(places, [(2, 1), (20, 0.5)])


def test_strings_are_judged_by_their_last_answer():
    dataset = board._longer("parity")
    kept = np.asarray(dataset.test.y) != rz.data.NO_TARGET
    assert (kept.sum(axis=1) == 1).all()
    assert (kept.argmax(axis=1) == np.asarray(dataset.test.mask).sum(axis=1) - 1).all()
    ones = np.asarray(dataset.test.x)[..., 1] * np.asarray(dataset.test.mask)
    assert (np.asarray(dataset.test.y)[kept] == ones.sum(axis=1) % 2).all()


# How benchmarks are called


def test_every_benchmark_says_in_a_line_what_it_is():
    lines = call.listed().splitlines()
    for name, benchmark in call.found().items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith((".", "?")), line
        assert len(line) <= 100 or not benchmark.room, line


def test_help_says_where_rows_go_and_needs_no_peer(capsys):
    for name, benchmark in call.found().items():
        if not benchmark.room:
            continue
        with pytest.raises(SystemExit, match="0"):
            benchmark.module(name).main(["--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert f"python -m benchmarks {name}" in said
        assert benchmark.about.split()[0] in said
        assert ("benchmarks/rows/" in said) != ("no rows are written" in said), name


def test_a_wrong_name_is_told_the_nearest(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "layer"])
    with pytest.raises(SystemExit, match="2"):
        benchmarks.__main__.main()
    assert "unknown 'layer': did you mean 'layers'? known are " in capsys.readouterr().err


def test_a_missing_peer_ends_with_the_command_that_brings_it():
    with pytest.raises(SystemExit, match=r"no_such_peer is not installed .*: pip install it"):
        call.need("no_such_peer.part", "pip install it")


def test_rows_that_are_kept_are_measured_once_and_stand_in_order(tmp_path):
    asked = []

    def measure(task, width):
        asked.append((task, width))
        return {"task": task, "width": width, "figure": len(asked)}

    kept = Kept("x", ("task", "width"), [("a", 1), ("a", 2), ("b", 1)])
    kept.path = tmp_path / "new" / "x.csv"
    kept.fill([("b", 1), ("c", 7)], measure)
    kept.fill([("a", 2), ("b", 1)], measure)
    assert asked == [("b", 1), ("c", 7), ("a", 2)]
    found = [(row["task"], row["width"], row["figure"]) for row in kept.read()]
    assert found == [("a", "2", "3"), ("b", "1", "1"), ("c", "7", "2")]


def test_a_table_replaces_the_rows_of_its_keys_alone(tmp_path, capsys):
    for figures in ({"ours": "1", "theirs": "2"}, {"ours": "3"}):
        table = Table("x", ("case",), ("rival", "ms"))
        table.path = tmp_path / "x.csv"
        for rival, ms in figures.items():
            table.add(("small",), rival, ms)
        table.write()
    found = [(row["rival"], row["ms"]) for row in rows(table.path)]
    assert found == [("theirs", "2"), ("ours", "3")]
