"""Two processes that train together: the run of one, faults, and runs that are killed."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from conftest import PROGRAMS
from in_processes import in_segments, task, train

import rnn_zoo as rz
from rnn_zoo.train import Checkpoints, cross_entropy, evaluate


HERE = Path(__file__).parent


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def begin(command, *, count=2, **settings):
    """Start `command(port, process)` in each of them."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
        "JAX_COMPILATION_CACHE_DIR": str(PROGRAMS),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **settings,
    }
    port = free_port()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([sys.executable, *command(port, i)], env=environment, **pipes)
        for i in range(count)
    ]


def case(folder, name, *, count=2, **settings):
    folder.mkdir(exist_ok=True)

    def command(port, process):
        script = str(HERE / "in_processes.py")
        return map(str, (script, port, count, process, folder, name))

    return begin(command, count=count, **settings)


def end(processes, seconds=100):
    """What each printed and wrote to stderr, once all have ended well."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error) in zip(processes, said):
        assert process.returncode == 0, error
    return said


def returned(folder, name):
    return [json.loads((folder / f"{name}{i}.json").read_text()) for i in range(2)]


def close(one, other, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def rows(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_two_processes_give_the_run_of_one(tmp_path):
    said = end(case(tmp_path, "runs"))
    data, options = task(), {"mesh": None}
    whole = train(data, task(257), batch_size=16, **options)
    parts = [data[start : start + 16] for start in range(0, 64, 16)]
    source = train(parts, task(80), ema=optax.ema(0.9), **options)
    trained = {"batch": whole, "source": source, "segments": in_segments(**options)}
    for name, expected in trained.items():
        close(rz.train.load(tmp_path / f"{name}.rz"), expected.model)
        history = json.loads((tmp_path / f"{name}.json").read_text())
        for row, other in zip(history, rows(expected.history), strict=True):
            assert row == pytest.approx(other, abs=1e-6)
    # Process 0 alone shows a bar, and writes the checkpoint, from which one process goes on.
    assert ["8/8" in error for _, error in said] == [True, False]
    first, second = returned(tmp_path, "runs")
    assert first == second
    assert evaluate(whole.model, task(257), loss=cross_entropy) == pytest.approx(first, abs=1e-6)
    resume = {"checkpoints": Checkpoints(tmp_path / "one", resume="must"), **options}
    more = train(data, task(257), batch_size=16, steps=10, **resume)
    close(more.model, train(data, batch_size=16, steps=10, **options).model)


@pytest.mark.slow
def test_faults_of_one_are_errors_of_all(tmp_path):
    end(case(tmp_path, "faults"))
    first, second = returned(tmp_path, "faults")
    for said in (first, second):
        assert said["later"][0] == "DataSourceError"
        assert "at step 4: process 1: OSError: the disk is gone" in said["later"][1]
        assert said["later"][2] == 3
        assert "batches of one form in all processes" in said["form"][1]
        assert said["valid breaks"][0] == "DataSourceError"
        assert "valid failed after step 6, at its batch 4: " in said["valid breaks"][1]
        assert "OSError: the disk is gone" in said["valid breaks"][1]
        assert said["valid breaks"][2] == 1
        assert "after step 3, at its batch 3: ValueError: expected batch" in said["valid ends"][1]
        assert "no batch in process 1" in said["valid ends"][1]
        assert "process 1: ValueError: expected every batch in the form" in said["grows"][1]
        for name in ("key", "train", "steps"):
            assert f"expected the same {name}" in said[name][1]
        assert "keep=1 writes with all 2 processes" in said["alone"]
        assert said["stop"] == [2]
        assert said["pressed"] == [11, True]  # asked at 2, said in step 3, looked at 8 steps later
    assert first["first"][1] == "train failed in process 1: ValueError: train gave no batch"
    assert second["first"][1] == "train gave no batch"
    assert first["mesh"] == ["fine"]
    assert "devices of all 2 processes" in second["mesh"][1]


# Runs that are killed


KEEP = pytest.param("2", id="orbax")
ONE_FILE = pytest.param(None, id="one file")


def settings_for(keep, **more):
    if keep is not None:
        pytest.importorskip("orbax.checkpoint")
        more["KEEP"] = keep
    return more


def wait_for(processes, step):
    """Until process 0 has said this step."""
    for line in processes[0].stdout:
        if line.strip() == str(step):
            return
    raise AssertionError(processes[0].communicate()[1])


def killed(processes, seconds=0.0):
    """Kill all: a cluster does so where one process is lost."""
    time.sleep(seconds)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves that is not killed, however its checkpoints are written."""
    folder = tmp_path_factory.mktemp("whole")
    end(case(folder, "kept"))
    return folder


def check_same(folder, whole):
    for name in ("kept.rz", "kept.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [KEEP, ONE_FILE])
def test_killed_at_a_random_moment(tmp_path, whole, keep):
    settings = settings_for(keep)
    moments = [random.SystemRandom().uniform(0, 1.5) for _ in range(2)]
    print("killed after", moments)
    for moment in moments:
        processes = case(tmp_path, "kept", **settings)
        if not list(tmp_path.glob("kept/*")):
            wait_for(processes, 1)
        killed(processes, moment)
    end(case(tmp_path, "kept", **settings))
    check_same(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [KEEP, ONE_FILE])
def test_killed_in_the_middle_of_a_checkpoint(tmp_path, whole, keep):
    settings = settings_for(keep)
    processes = case(tmp_path, "kept", DIE_AT="9", **settings)
    assert processes[0].wait(100) == -signal.SIGKILL
    killed(processes)
    there = sorted(path.name for path in (tmp_path / "kept").iterdir())
    half = "9.orbax-checkpoint-tmp" if keep else ".checkpoint.rzc.tmp"
    assert half in there
    assert "9" not in there
    end(case(tmp_path, "kept", **settings))
    check_same(tmp_path, whole)


@pytest.mark.slow
def test_other_numbers_of_processes_go_on(tmp_path, whole):
    settings = settings_for("2")
    processes = case(tmp_path, "kept", **settings)
    wait_for(processes, 20)
    killed(processes)
    assert [path.name for path in (tmp_path / "kept").iterdir() if path.name.isdigit()]
    end(case(tmp_path, "kept", count=1, **settings))
    close(*(rz.train.load(folder / "kept.rz") for folder in (tmp_path, whole)), 1e-5)


@pytest.mark.slow
def test_a_checkpoint_that_one_process_does_not_see(tmp_path):
    end(case(tmp_path, "unseen"))
    for said in returned(tmp_path, "unseen"):
        assert "expected the same checkpoint in" in said


# The page


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    """Each command prints what the page promises; the last one what one process would have."""
    page = (HERE.parent / "docs" / "pages" / "howto" / "devices.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.S)
    commands = re.findall(r"^    (.*python train\.py .*)$", page, re.M)
    promised = re.findall(r"^    (step \d+, .*)$", page, re.M)
    assert len(commands) == len(promised) == 3

    def run(folder, command):
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(script)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "PATH": path, "XLA_FLAGS": ""}
        done = subprocess.run(
            ["bash", "-c", command.replace("9911", str(free_port()))],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("step")]

    assert [run(tmp_path / "page", command) for command in commands] == [[p] for p in promised]
    assert sorted(p.name for p in (tmp_path / "page").iterdir()) == ["model.rz", "run", "train.py"]
    run(tmp_path / "one", "python train.py 60")
    close(*(rz.train.load(tmp_path / one / "model.rz") for one in ("page", "one")), 1e-5)


@pytest.mark.slow
def test_the_command_line(tmp_path):
    def command(port, process):
        tiny = ["--hidden-size", "6", "--steps", "4", "--batch-size", "16", "--out", str(tmp_path)]
        which = ["--coordinator", f"localhost:{port}", "--processes", "2", "--process"]
        return ["-m", "rnn_zoo", "train", *tiny, *which, str(process)]

    (said, bar), (silence, nothing) = end(begin(command))
    assert "test_accuracy=" in said
    assert "4/4" in bar
    assert "4/4" not in nothing
    assert "test_accuracy" not in silence
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.csv", "model.rz", "training.png"]
