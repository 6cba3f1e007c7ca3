"""On an accelerator: is every cell right, how fast, what should "auto" run?

Run it with JAX_PLATFORMS unset: the host's CPU takes part. A bare
machine needs `pip install -e . "jax[cuda13]"` (or "jax[cuda12]"). Where jax is there already,
`pip install --no-deps -e . equinox optax jaxtyping wadler-lindig` leaves it alone. flax and torch
take part if they are installed.

Sections, in the order of their worth:

- cells: each registered cell, outputs and the gradient with respect to parameters and inputs, on
  the accelerator and on the host's CPU, matrix products at full precision. "error" is the largest
  difference of an array by its norm; above `TOLERANCE` the cell is wrong.
- recurrence: h_t = a_t h_{t-1} + b_t by the algorithms of `rnn_zoo._engine.recurrence` and by
  `lax.associative_scan`; "of_copy" is the rate at which the least bytes were moved, over that of a
  large copy in the same run. From these rows follows the table of `rnn_zoo/_engine/backends.py`,
  printed last.
- layers: LSTM and GRU, outputs and a training step, against plain `lax.scan`, flax and cuDNN
  (`jax.experimental.rnn` and torch), products at the precision that each has by default.

Rows stand in the order of their worth too; one that finds no time or no memory is written as
skipped, one that fails with its error, and the run goes on. It exits with 0 if every cell was
compared and is right, with 1 otherwise.
"""

import contextlib
import itertools
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any


# Room for torch beside JAX, which takes three quarters of the memory otherwise.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.85")

import jax

from rnn_zoo._engine.backends import Choice
from rnn_zoo._engine.recurrence import ALGORITHMS

from .. import call
from ..tables import Table
from .gpu_sections import SECTIONS


KEYS = ("jax", "accelerator", "section", "case", "pass")
VALUES = ("rival", "ms", "error", "gb_per_s", "of_copy", "of_ours", "calls", "note")


class Run:
    """What a run has found, and how much of its time is left."""

    def __init__(self, seconds: float, path: Path | None, small: bool):
        self.small = small
        self.device, self.host = jax.devices()[0], jax.devices("cpu")[0]
        self.ends = time.monotonic() + seconds
        self.table = Table("gpu", KEYS, VALUES)
        self.table.path = path or self.table.path
        self.about = (jax.__version__, self.device.device_kind)
        self.skipped: list[str] = []
        self.right: dict[str, bool] = {}  # by cell
        self.recurrence: dict[tuple, dict[str, tuple[float, float]]] = {}
        """Seconds forward and of the gradient by case, algorithm."""

    def left(self) -> float:
        return self.ends - time.monotonic()

    def add(self, section: str, case: str, what: str, rival: str, **values: Any) -> None:
        row = [str(values.get(name, "")) for name in VALUES[1:]]
        self.table.add((*self.about, section, case, what), rival, *row)

    def skip(self, section: str, case: str, what: str, rival: str, why: str) -> None:
        self.skipped.append(" ".join((section, case, what, rival)))
        self.add(section, case, what, rival, note=f"skipped: {why}")

    def fail(self, section: str, case: str, what: str, rival: str, error: BaseException) -> None:
        if isinstance(error, TimeoutError):
            self.skip(section, case, what, rival, "no time left")
            return
        text = " ".join(str(error).split())[:200]
        self.add(section, case, what, rival, note=f"failed: {type(error).__name__}: {text}")

    def compiled(self, jobs: Mapping[Any, Callable[[], Any]], until: float) -> Iterator[tuple]:
        """The result of each job, or its error, in order; jobs run side by side.

        One that is not done `until` then gives a TimeoutError, and runs on: a compiler can't be
        interrupted.
        """
        results: dict[Any, Future] = {name: Future() for name in jobs}
        waiting: queue.SimpleQueue = queue.SimpleQueue()
        for item in jobs.items():
            waiting.put(item)

        def work() -> None:
            while time.monotonic() < until and not waiting.empty():
                with contextlib.suppress(queue.Empty):
                    name, job = waiting.get_nowait()
                    try:
                        results[name].set_result(job())
                    except Exception as error:
                        results[name].set_exception(error)

        for _ in range(min(8, os.cpu_count() or 1, len(jobs))):
            threading.Thread(target=work, daemon=True).start()
        for name, result in results.items():
            try:
                yield name, result.result(max(0.0, until - time.monotonic()))
            except Exception as error:
                yield name, error

    def memory(self) -> float:
        """Bytes that programs may take: the device's, or a quarter of the host's."""
        limit = (self.device.memory_stats() or {}).get("bytes_limit")
        return limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 4

    def finish(self) -> int:
        """Writes and prints what was found; the exit code."""
        self.table.write()
        print("\nskipped:", *(self.skipped or ["nothing"]), sep="\n    ")
        made = choices(self.recurrence, f"{self.about[1]}, jax {self.about[0]}, {date()}")
        if made:
            print(f'\nAUTO of rnn_zoo/_engine/backends.py:\n    "{self.device.platform}": (')
            for row in made:
                print(f'        Choice({row.steps}, "{row.algorithm}", "{row.measured}"),')
            print("    ),")
        wrong = [name for name, fine in self.right.items() if not fine]
        print("\ncells that differ or were not compared:", ", ".join(wrong) or "none", flush=True)
        return 1 if wrong else 0


def choices(
    measured: Mapping[tuple, Mapping[str, tuple[float, float]]], source: str
) -> tuple[Choice, ...]:
    """The rows of `rnn_zoo/_engine/backends.py` that follow from seconds (forward, gradient).

    At each length that was measured wins the algorithm with the least geometric mean, over the
    cases and both passes, of its time over the best; within 5 % the one that stands first in
    `ALGORITHMS`, which is the simpler one. One that is missing in a case of a length is out.
    """
    rows: list[Choice] = []
    for steps in sorted({case[0][1] for case in measured}):
        cases = [found for case, found in measured.items() if case[0][1] == steps]
        whole = [name for name in ALGORITHMS if all(name in found for found in cases)]
        if not whole:
            continue
        score = {name: 1.0 for name in whole}
        for found, i in itertools.product(cases, (0, 1)):
            best = min(found[name][i] for name in whole)
            for name in whole:
                score[name] *= (found[name][i] / best) ** (1 / (2 * len(cases)))
        winner = next(name for name in whole if score[name] <= 1.05 * min(score.values()))
        if not rows or rows[-1].algorithm != winner:
            rows.append(Choice(steps if rows else 0, winner, source))
    return tuple(rows)


def date() -> str:
    return time.strftime("%Y-%m-%d")


def driver() -> str:
    """The version of NVIDIA's driver, where its tool is there to say it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "no nvidia-smi"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"driver unknown: {error}"
    return f"driver {' '.join(said.stdout.split()[:1]) or 'unknown'}"


def environment(run: Run) -> None:
    platform = " ".join(run.device.client.platform_version.split())
    jaxlib = f"jaxlib {jax.lib.__version__}"
    note = f"{run.device.platform}, {platform}, {jaxlib}, {driver()}, {os.cpu_count()} host cores"
    run.add("environment", "", "", "", note=note)


def give_up(run: Run) -> None:
    """Ends the program with what it has found so far."""
    code = 1
    try:
        code = run.finish()
    finally:
        os._exit(code)


def main(arguments: list[str]) -> int:
    parser = call.parser(__name__, Table("gpu", KEYS, VALUES))
    call.add_names(parser, "section", SECTIONS)
    parser.add_argument("--small", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--seconds", type=float, default=340.0, help="the time that all may take")
    parser.add_argument("--out", type=Path, help="another file for the rows")
    options = parser.parse_args(arguments)
    run = Run(options.seconds, options.out, options.small)
    # A program that compiles or runs longer than all may take can't be stopped otherwise.
    watch = threading.Timer(options.seconds, give_up, (run,))
    watch.daemon = True
    watch.start()
    environment(run)
    chosen = [name for name in SECTIONS if name in options.section]
    for name in chosen:
        section, share = SECTIONS[name]
        last = name == chosen[-1]
        until = time.monotonic() + run.left() * (0.9 if last else share)
        try:
            section(run, until)
        except Exception as error:
            run.fail(name, "", "", "", error)
    watch.cancel()
    return run.finish()
