"""The command line."""

import csv
import os
import re
import signal
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo import viz
from rnn_zoo.cli import main


matplotlib.use("Agg")

TINY = ["--hidden-size", "6", "--steps", "4", "--batch-size", "16"]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def is_picture(path):
    return path.read_bytes()[:4] == b"\x89PNG"


def test_train_prints_the_figure_and_writes_everything(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *TINY, "--seed", "3", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    first, *others = captured.out.splitlines()
    assert first.startswith("test_accuracy=0.")
    model, history, plot, *others = others
    assert len(others) == len(rz.data.load("japanese_vowels").info.baselines)
    assert all(line.startswith("baseline ") for line in others)
    written = [f"wrote {out / name}" for name in ("model.rz", "history.csv", "training.png")]
    assert [model, history, plot] == written
    assert "4/4" in captured.err
    assert "compiling" in captured.err
    assert sorted(p.name for p in out.iterdir()) == ["history.csv", "model.rz", "training.png"]
    assert [row["step"] for row in rows(out / "history.csv")] == ["1", "2", "3", "4"]
    assert [row["test_loss"] != "" for row in rows(out / "history.csv")] == [True] * 4
    assert is_picture(out / "training.png")
    model = rz.train.load(out / "model.rz")
    test = rz.data.load("japanese_vowels").test
    accuracy = rz.train.evaluate(model, test, loss=rz.train.cross_entropy)["accuracy"]
    assert first == f"test_accuracy={accuracy:.3f}"
    assert float(rows(out / "history.csv")[-1]["test_accuracy"]) == pytest.approx(accuracy)


def test_everything_is_written_before_anything_is_printed(tmp_path, monkeypatch):
    said = []

    def say(line):
        said.append((line, sorted(path.name for path in tmp_path.iterdir())))

    monkeypatch.setattr("rnn_zoo.cli.train.say", say)
    assert main(["train", *TINY, "--out", str(tmp_path)]) == 0
    assert said[0][0].startswith("test_accuracy=")
    assert said[0][1] == ["history.csv", "model.rz", "training.png"]


# Both at once, since importing takes most of the time: a checkout that was never installed, and a
# reader who has gone (`| head`).
UNREAD = """
import importlib.metadata, os
real = importlib.metadata.version
def version(name):
    if name == "rnn-zoo":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
import rnn_zoo
from rnn_zoo.cli.recipes import say
assert rnn_zoo.__version__ == "0+unknown"
say("nobody reads this")
say("nor this")
"""


def test_the_package_imports_without_installation_and_prints_into_nothing():
    done = subprocess.run([sys.executable, "-c", UNREAD], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("data", ["co2_weekly", "adding"])
def test_train_on_numbers(tmp_path, monkeypatch, capsys, data):
    # co2_weekly has gaps and a time between steps, of which a GRU has no use.
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", data, *TINY]) == 0
    assert capsys.readouterr().out.startswith("test_mse=")
    assert is_picture(tmp_path / "runs" / f"{data}-gru" / "training.png")


def test_a_timed_cell_is_given_the_time(tmp_path, capsys):
    command = ["train", "--data", "co2_weekly", "--cell", "leaky_elman", *TINY]
    assert main([*command, "--out", str(tmp_path)]) == 0


def test_compare_prints_a_table(tmp_path, capsys):
    command = ["compare", "--data", "japanese_vowels", "--cells", "elman,mingru", "--seeds", "2"]
    assert main([*command, *TINY, "--out", str(tmp_path)]) == 0
    heading, *table = capsys.readouterr().out.splitlines()
    assert heading.split() == ["cell", "parameters", "state", "test_accuracy", "range", "seconds"]
    assert [line.split()[0] for line in table[:3]] == ["elman", "mingru", "baseline"]
    figures = [float(row["test_accuracy"]) for row in rows(tmp_path / "compare.csv")]
    assert len(figures) == 4
    assert [line.split()[2] for line in table[:2]] == ["12", "24"], "2 ways; 2 blocks"
    np.testing.assert_allclose(float(table[0].split()[3]), np.mean(figures[:2]), atol=1e-4)
    assert is_picture(tmp_path / "compare.png")


@pytest.mark.parametrize("what", ["cells", pytest.param("data", marks=pytest.mark.slow)])
def test_list(what, capsys):
    assert main(["list", what]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == list(rz.list_cells() if what == "cells" else rz.data.list_datasets())


def test_data_that_are_missing_say_what_brings_them(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    module = sys.modules["rnn_zoo.cli.main"]
    monkeypatch.setattr(module, "list_datasets", lambda: ("digits",))
    assert main(["list", "data"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"digits +missing +the digits come .*pip install .*\[data\]\"", line)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "--cell", "gruu"], "unknown cell 'gruu': did you mean 'gru'"),
        (["train", "--data", "japanese"], "unknown data set 'japanese'"),
        (["train", "--hidden-size", "0"], "hidden_size"),
        (["train", "--dropout", "1.5"], "dropout in"),
        (["train", "--steps", "0"], "--steps of at least 1"),
        (["train", "--learning-rate", "-1"], "--learning-rate of at least 0, got -1"),
        (["train", "--out", __file__], "File exists"),
        (["train", "--epochs", "3"], "counted in --steps"),
        (["train", "--lr=0.1"], "train takes no --lr: it is --learning-rate here"),
        (["train", "--hiden-size", "3"], "did you mean '--hidden-size'"),
        (["compare", "--cell", "gru"], "it is --cells"),
        (["list", "cells", "data"], "list takes no data"),
        (["compare", "--cells", "gru,,lru"], "unknown cell ''"),
    ],
)
def test_a_wrong_argument_is_explained_in_one_line(command, message, capsys):
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_no_command_gives_help(capsys):
    assert main([]) == 2
    assert "python -m rnn_zoo train" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["matplotlib.figure", "tqdm"])
def test_a_missing_extra_is_named(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["train"]) == 2
    assert re.search(r"pip install .*\[demo\]", capsys.readouterr().err)


def test_the_flag_that_the_board_had_says_the_new_call(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "--jobs", "2", "--all"])
    assert "python -m benchmarks board" in capsys.readouterr().err


def test_tokens_are_embedded(tmp_path, capsys):
    """Shakespeare has tokens without being asked: the model, its file and its picture take them."""
    options = ["--steps", "2", "--hidden-size", "4", "--batch-size", "2", "--out", str(tmp_path)]
    assert main(["train", "--data", "shakespeare", *options]) == 0
    assert capsys.readouterr().out.startswith("test_accuracy=0.")
    assert rz.train.load(tmp_path / "model.rz").encoder.embedding_size == 4
    assert is_picture(tmp_path / "training.png")


def test_a_loss_that_is_not_finite_is_explained(tmp_path, capsys):
    command = ["train", *TINY, "--learning-rate", "nan", "--out", str(tmp_path)]
    assert main(command) == 1
    assert "error: the loss or its gradient is not finite" in capsys.readouterr().err


def test_ctrl_c_saves_and_evaluates(tmp_path):
    # A process started in the background of a shell inherits a SIGINT that is ignored.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from rnn_zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["train", "--steps", "1000000", "--hidden-size", "4", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    ) as process:
        seen = b""
        try:
            while b" 1/1000000" not in seen and process.poll() is None:
                seen += process.stderr.read(64)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert out.startswith(b"test_accuracy=0.")
    assert rows(tmp_path / "history.csv")[-1]["interrupted"] == "True"
    rz.train.load(tmp_path / "model.rz")


# Pictures


def test_a_heat_map_shows_every_state():
    states = np.random.default_rng(0).normal(size=(7, 5))
    ax = viz.states_heatmap(states)
    image = ax.images[0]
    assert sorted(image.get_array().ravel()) == sorted(states.ravel())
    assert image.get_clim() == (-np.abs(states).max(), np.abs(states).max())
    assert viz.states_heatmap(states * 1j, ax) is ax
    with pytest.raises(ValueError, match=r"\(time, units\)"):
        viz.states_heatmap(states[0])
    matplotlib.pyplot.close("all")


def test_curves_show_what_the_history_has():
    history = [
        {"step": s, "seconds": 0.0, "train_loss": 1 / s, "train_accuracy": 0.5, "valid_loss": 2 / s}
        for s in (1, 2, 3)
    ]
    axes = viz.training_curves(history)
    assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy"]
    assert [len(ax.lines) for ax in axes] == [2, 1]
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), [2, 1, 2 / 3])
    assert viz.training_curves(history[:1], axes)[0] is axes[0]
    with pytest.raises(ValueError, match="at least one row"):
        viz.training_curves([])
    with pytest.raises(ValueError, match="expected 2 axes"):
        viz.training_curves(history, axes[:1])
    matplotlib.pyplot.close("all")


def test_eigenvalues_lie_where_they_are():
    values = np.array([[0.5, 1j], [-1.5, 1 + 2e-6j]])
    ax = viz.eigenvalues(values)
    circle, points = ax.lines[0], ax.lines[-1]
    np.testing.assert_allclose(np.hypot(*circle.get_data()), 1)
    np.testing.assert_allclose(points.get_xdata() + 1j * points.get_ydata(), values.ravel())
    assert points.get_label() == "1 of 4 outside"
    assert ax.get_aspect() == 1
    before = len(ax.lines)
    assert viz.eigenvalues(2 * values, ax, label="doubled") is ax
    assert len(ax.lines) == before + 1, "one circle"
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["1 of 4 outside", "doubled: 3 of 4 outside"]
    for bad in ([], [np.nan]):
        with pytest.raises(ValueError, match="finite eigenvalues"):
            viz.eigenvalues(bad)
    matplotlib.pyplot.close("all")


def test_gradients_over_the_lag_begin_at_zero():
    ax = viz.gradient_lag([1.0, 0.1, 0.0])
    np.testing.assert_array_equal(ax.lines[-1].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), [1.0, 0.1, np.nan])
    assert ax.get_yscale() == "log"
    before = len(ax.lines)
    assert viz.gradient_lag(np.ones(4), ax, label="kept") is ax
    assert len(ax.lines) == before + 1, "one line at 1"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["kept"]
    with pytest.raises(ValueError, match=r"\(lags,\), got \(2, 2\)"):
        viz.gradient_lag(np.ones((2, 2)))
    matplotlib.pyplot.close("all")


def test_pictures_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install .*\[plot\]"):
        viz.states_heatmap(np.ones((2, 2)))


# What the defaults reach


@pytest.mark.slow
def test_the_default_model_tells_speakers_apart(tmp_path, capsys):
    accuracies = []
    for seed in range(5):
        assert main(["train", "--seed", str(seed), "--out", str(tmp_path)]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        accuracies.append(float(line.removeprefix("test_accuracy=")))
    assert np.mean(accuracies) >= 0.972
    assert min(accuracies) >= 0.955


def test_train_over_devices(tmp_path, capsys):
    figures = {}
    for devices in ("1", "2"):
        out = tmp_path / devices
        assert main(["train", *TINY, "--devices", devices, "--out", str(out)]) == 0
        figures[devices] = [float(row["train_loss"]) for row in rows(out / "history.csv")]
    np.testing.assert_allclose(figures["1"], figures["2"], rtol=1e-5)
    capsys.readouterr()
    assert main(["train", "--devices", "64"]) == 2
    assert "at most 2, the devices that JAX sees here, got 64" in capsys.readouterr().err
    assert main(["train", "--devices", "2", "--batch-size", "15"]) == 2
    assert "expected --batch-size that 2 devices share equally" in capsys.readouterr().err
    assert main(["train", "--devices", "0"]) == 2
