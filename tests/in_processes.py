"""What `test_processes.py` runs in several processes at once.

`in_processes.py PORT COUNT PROCESS FOLDER CASE` leaves what the test looks at in FOLDER.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax


PORT, COUNT, PROCESS = map(int, sys.argv[1:4]) if __name__ == "__main__" else (0, 1, 0)
if COUNT > 1:
    # Seconds rather than minutes until a failure of one is one of all.
    limits = {"heartbeat_timeout_seconds": 10, "shutdown_timeout_seconds": 10}
    jax.distributed.initialize(f"localhost:{PORT}", COUNT, PROCESS, **limits)

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train import Checkpoints, DataSourceError, cross_entropy, evaluate, fit, mse


KEY = jax.random.key(0)
ADAM = optax.adam(1e-2)


def mesh():
    return jax.make_mesh((jax.device_count(),), ("data",)) if jax.device_count() > 1 else None


def task(samples=64):
    x = np.asarray(jax.random.normal(KEY, (samples, 5, 1)))
    mask = np.arange(5) < 2 + np.arange(samples)[:, None] % 4
    return Batch(x, (x[:, 0, 0] > 0).astype(np.int32), mask)


def model():
    return rz.make_model("elman", 1, 2, hidden_size=4, dropout=0.2, key=KEY)


def train(data, valid=None, **options):
    options = {"steps": 8, "eval_every": 4, "mesh": mesh(), **options}
    return fit(model(), data, valid, loss=cross_entropy, optimizer=ADAM, key=KEY, **options)


def shares(data, size=16):
    """The batches of a list, of which each process has its part."""
    own = size // COUNT
    starts = range(own * PROCESS, len(data), size)
    return [data[start : start + own] for start in starts]


def uneven():
    """Batches of 32 samples and one of 16."""
    data = task(80)
    return shares(data[:64], 32) + shares(data[64:])


def in_segments(**options):
    """Truncated backpropagation; the last of three segments is padded."""
    data = task()
    data = Batch(data.x, np.cumsum(data.x, 1), data.mask)
    model = rz.make_model("elman", 1, 1, hidden_size=4, pool=None, dropout=0.2, key=KEY)
    options = {"steps": 4, "batch_size": 16, "truncate": 2, "mesh": mesh(), **options}
    return fit(model, data, data, loss=mse, optimizer=ADAM, key=KEY, **options)


class Broken:
    """A list of batches that breaks in the last process, after the third one or in a later pass."""

    def __init__(self, parts, breaks, passes=0):
        self.parts, self.breaks, self.passes = parts, breaks, passes

    def __iter__(self):
        yield from self.parts[:3]
        if self.passes:
            self.passes -= 1
            return
        if self.breaks:
            raise OSError("the disk is gone")
        yield from self.parts * 9


def write(folder, name, result):
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]
    (folder / f"{name}.json").write_text(json.dumps(history))
    rz.train.save(folder / f"{name}.rz", result.model)


def runs(folder):
    """Both kinds of data, and validation with a rest that the devices do not share."""
    data = task()
    # 257 samples: a batch of 256 and one of 1.
    options = {"batch_size": 16, "checkpoints": Checkpoints(folder / "one", 4)}
    result = train(data, task(257), show_progress=True, **options)
    source = train(shares(data), uneven(), ema=optax.ema(0.9))
    segments = in_segments()
    figures = evaluate(result.model, task(257), loss=cross_entropy, mesh=mesh())
    assert figures["loss"] == result.history[-1]["valid_loss"]
    again = evaluate(source.ema_model, iter(uneven()), loss=cross_entropy, mesh=mesh())
    assert again["loss"] == source.history[-1]["valid_loss"]
    if PROCESS == 0:
        write(folder, "batch", result)
        write(folder, "source", source)
        write(folder, "segments", segments)
    return figures


def faults(folder):
    """Faults of one process are errors of all, after the same step."""
    said = {}
    data = shares(task())
    for name, broken in (
        ("later", Broken(data, PROCESS == COUNT - 1)),
        ("first", iter([]) if PROCESS == COUNT - 1 else data),
        ("form", [part[: 4 + 4 * (PROCESS == 0)] for part in data]),
        ("grows", [data[0], data[1][: 8 - 4 * PROCESS]]),
    ):
        try:
            train(broken, steps=30)
        except (ValueError, DataSourceError) as error:
            step = getattr(getattr(error, "result", None), "step", None)
            said[name] = [type(error).__name__, str(error), step]
    for name, valid in (
        ("valid breaks", Broken(data, PROCESS == COUNT - 1, passes=1)),
        ("valid ends", Broken(data[: 3 - PROCESS], False, passes=9)),
    ):
        try:
            train(task(), valid, steps=9, eval_every=3)
        except (ValueError, DataSourceError) as error:
            said[name] = [type(error).__name__, str(error), len(error.result.history)]
    for name, change in (
        ("key", {"key": jax.random.key(PROCESS)}),
        ("train", {"train": task(64 + 16 * PROCESS)}),
        ("steps", {"steps": 3 + PROCESS}),
        ("mesh", {"mesh": jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])}),
    ):
        options = {"train": task(), "key": KEY, "steps": 3, "mesh": mesh(), **change}
        try:
            fit(model(), loss=cross_entropy, optimizer=ADAM, **options)
            said[name] = ["fine"]
        except ValueError as error:
            said[name] = [type(error).__name__, str(error)]
    try:
        train(task(), mesh=None, checkpoints=Checkpoints(folder / "alone", keep=1))
    except ValueError as error:
        said["alone"] = str(error)
    # One process asks to stop, by its callback and by Ctrl-C.
    stops = train(task(), steps=12, eval_every=2, callback=lambda step, row: PROCESS == 1)
    said["stop"] = [stops.step]

    def press(step, row):
        if PROCESS == 1 and step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    pressed = train(task(), steps=40, eval_every=2, callback=press, checkpoints=Checkpoints(folder))
    said["pressed"] = [pressed.step, pressed.history[-1].get("interrupted")]
    return said


def unseen(folder):
    """A checkpoint in a folder of which the other process has its own."""
    train(task(), steps=4, checkpoints=Checkpoints(folder / "0"))
    try:
        train(task(), steps=8, checkpoints=Checkpoints(folder / str(PROCESS), resume=True))
    except ValueError as error:
        return str(error)


def kept(folder):
    """A run with KEEP checkpoints; with DIE_AT process 0 dies while it writes that one."""
    keep, die = os.environ.get("KEEP"), os.environ.get("DIE_AT")
    moves = {name: getattr(os, name) for name in ("rename", "replace")}
    writings = []

    def moving(name):
        def move(source, target, **options):
            whole = str(target).endswith(("checkpoint.rzc", f"kept/{die}"))
            writings.extend([target] if whole else [])
            # The one file is moved once in every 3 steps.
            if whole and die and (keep or len(writings) == int(die) // 3):
                os.kill(os.getpid(), signal.SIGKILL)
            return moves[name](source, target, **options)

        return move

    if PROCESS == 0 and die:
        os.rename, os.replace = moving("rename"), moving("replace")

    def tell(step, row):
        print(step, flush=True)
        time.sleep(0.01)

    checkpoints = Checkpoints(folder / "kept", 3, resume=True, keep=keep and int(keep))
    options = {"batch_size": 16, "steps": 48, "eval_every": 1}
    result = train(task(), task(), callback=tell, checkpoints=checkpoints, **options)
    if PROCESS == 0:
        write(folder, "kept", result)


if __name__ == "__main__":
    out = Path(sys.argv[4])
    returned = globals()[sys.argv[5]](out)
    (out / f"{sys.argv[5]}{PROCESS}.json").write_text(json.dumps(returned))
