"""On an accelerator: is every cell right, how fast, what should "auto" run?

Run it with JAX_PLATFORMS unset: the host's CPU takes part. A bare
machine needs `pip install -e . "jax[cuda13]"` (or "jax[cuda12]"). Where jax is there already,
`pip install --no-deps -e . equinox optax jaxtyping wadler-lindig` leaves it alone. flax and torch
take part if they are installed.

With `--rehearse` all of it runs on a CPU, at sizes of no meaning. With `--write` the rows that
follow for "auto" and for sizes are written into `rnn_zoo/_engine/backends.py`, and else printed.
Rows are written after each section.

Sections, in the order of their worth:

- cells: each registered cell, outputs and the gradient with respect to parameters and inputs, on
  the accelerator and on the host's CPU, matrix products at full precision. "error" is the largest
  difference of an array by its norm; above `TOLERANCE` the cell is wrong.
- evaluators: a cell of each kind by each evaluator, with gaps and resets, likewise.
- recurrence: h_t = a_t h_{t-1} + b_t by the algorithms of `rnn_zoo._engine.recurrence`, its kernel
  among them, and by `lax.associative_scan`; "of_copy" is the rate at which the least bytes were
  moved, over that of a large copy in the same run. From these rows follows the table of
  `rnn_zoo/_engine/backends.py`, printed last.
- layers: LSTM and GRU, outputs and a training step, against plain `lax.scan`, flax and cuDNN
  (`jax.experimental.rnn` and torch), products at the precision that each has by default. "ours,
  cudnn" is `method="cudnn"`.
- chunks: GRU 32 and LSTM 128, 65,536 steps, batches of 1 and 64, networks that forget and networks
  that keep one of two things, in chunks side by side, against the loop and cuDNN; "of_ours" is over
  the loop.
- sizes: those of `rnn_zoo/_engine/backends.py`, each in turn.
- lowered: an update of `fit(compute_dtype=jnp.bfloat16)`, "of_ours" over that of float32.
- precision: the cells once more, with products in TF32, and with inputs of bfloat16.

Rows stand in the order of their worth too; one that finds no time or no memory is written as
skipped, one that fails with its error, and the run goes on. It exits with 0 if every cell was
compared and is right, with 1 otherwise.
"""

import contextlib
import itertools
import os
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any


# Room for torch beside JAX, which takes three quarters of the memory otherwise.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.85")

import jax

from rnn_zoo._engine import backends, cudnn
from rnn_zoo._engine.backends import Choice

from .. import call
from ..tables import Table
from .gpu_more import MORE
from .gpu_sections import EVERY, SECTIONS as FIRST


BACKENDS = Path(backends.__file__)
SECTIONS = {
    name: (FIRST | MORE)[name]
    for name in (
        "cells",
        "evaluators",
        "recurrence",
        "layers",
        "chunks",
        "sizes",
        "lowered",
        "precision",
    )
}
"""With the share of the time left that each may take."""
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
        self.layers: dict[str, dict[str, dict[str, float]]] = {}
        """Seconds by case, rival, pass."""
        self.sizes: dict[str, dict[int, float]] = {}
        """Seconds by name and value of a size."""
        self.write, self.rehearse = False, False

    def inside(self) -> contextlib.AbstractContextManager:
        """What holds while programs are made."""
        return cudnn.stand_in() if self.rehearse else contextlib.nullcontext()

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
            with self.inside():  # such settings hold for one thread
                work_on()

        def work_on() -> None:
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
        self.choose()
        wrong = [name for name, fine in self.right.items() if not fine]
        print("\ncells that differ or were not compared:", ", ".join(wrong) or "none", flush=True)
        return 1 if wrong else 0

    def choose(self) -> None:
        """Prints what follows for `rnn_zoo/_engine/backends.py`, and with `write` writes it."""
        source = f"{self.about[1]}, jax {self.about[0]}, {date()}"
        text = BACKENDS.read_text()
        for name, found in (
            ("AUTO", shown_choices(choices(self.recurrence, source))),
            ("LSTM", shown_choices(of_lstm(self.layers, source))),
            ("SIZES", shown_sizes(self.sizes, source)),
        ):
            if found:
                print(f"\n{name} of rnn_zoo/_engine/backends.py:")
                print(f'    "{self.device.platform}": {found},')
                text = with_entry(text, name, self.device.platform, found)
        if self.write:
            BACKENDS.write_text(text)


def shown_choices(rows: tuple[Choice, ...]) -> str:
    lines = [f'        Choice({r.steps}, "{r.algorithm}", "{r.measured}"),\n' for r in rows]
    return f"(\n{''.join(lines)}    )" if rows else ""


def shown_sizes(sizes: Mapping[str, Mapping[int, float]], source: str) -> str:
    """The value of each size that took the least time."""
    lines = [
        f'        "{name}": Size({min(found, key=found.__getitem__)}, "{source}; {_all(found)}"),\n'
        for name, found in sizes.items()
        if len(found) > 1
    ]
    return "{\n" + "".join(lines) + "    }" if lines else ""


def _all(found: Mapping[int, float]) -> str:
    return ", ".join(f"{value}: {1e3 * seconds:.3g} ms" for value, seconds in found.items())


def with_entry(text: str, table: str, key: str, entry: str) -> str:
    """The source of backends.py with an entry of one of its tables, in the place of one that it
    has for this backend. ValueError where the table is not found."""
    head = re.search(rf"^{table}: dict\[.*\] = {{(}}?)\n?", text, re.M)
    if head is None:
        raise ValueError(f"expected a table {table} in {BACKENDS}, found none")
    start = head.end()
    if head[1]:  # an empty one, in one line
        whole = f'{head[0].rstrip()[:-1]}\n    "{key}": {entry},\n}}\n'
        return text[: head.start()] + whole + text[start:]
    end = text.index("\n}\n", start) + 1
    old = re.search(rf'^    "{key}": [({{]\n(?:        .*\n)*    [)}}],\n', text[start:end], re.M)
    inside = text[start:end] if old is None else text[start:end].replace(old[0], "")
    return f'{text[:start]}{inside}    "{key}": {entry},\n{text[end:]}'


def of_lstm(
    measured: Mapping[str, Mapping[str, Mapping[str, float]]], source: str
) -> tuple[Choice, ...]:
    """cuDNN for every LSTM where it took less time in both passes of every case, else nothing."""
    cases = [found for case, found in measured.items() if case.startswith("lstm")]
    passes = ("forward", "training")
    ours = [c.get("ours", {}) for c in cases]
    theirs = [c.get("ours, cudnn", {}) for c in cases]
    if not cases or not all(p in c for c in (*ours, *theirs) for p in passes):
        return ()
    faster = all(t[p] < o[p] for o, t in zip(ours, theirs) for p in passes)
    return (Choice(0, "cudnn", source),) if faster else ()


def choices(
    measured: Mapping[tuple, Mapping[str, tuple[float, float]]], source: str
) -> tuple[Choice, ...]:
    """The rows of `rnn_zoo/_engine/backends.py` that follow from seconds (forward, gradient).

    At each length that was measured wins the algorithm with the least geometric mean, over the
    cases and both passes, of its time over the best; within 5 % the one that stands first in
    `ALGORITHMS`, which is the simpler one. One that is missing in a case of a length is out, and so
    is the kernel where it is not 1.5 times as fast as the associative form.
    """
    rows: list[Choice] = []
    for steps in sorted({case[0][1] for case in measured}):
        cases = [found for case, found in measured.items() if case[0][1] == steps]
        whole = [name for name in EVERY if all(name in found for found in cases)]
        if not whole:
            continue
        score = {name: 1.0 for name in whole}
        for found, i in itertools.product(cases, (0, 1)):
            best = min(found[name][i] for name in whole)
            for name in whole:
                score[name] *= (found[name][i] / best) ** (1 / (2 * len(cases)))
        if "kernel" in score and 1.5 * score["kernel"] > score.get("associative", 0.0):
            del score["kernel"]
        winner = next(name for name in score if score[name] <= 1.05 * min(score.values()))
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
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="the same, with JAX's reference implementation in the place of cuDNN",
    )
    parser.add_argument("--write", action="store_true", help="write backends.py, too")
    parser.add_argument("--seconds", type=float, default=560.0, help="the time that all may take")
    parser.add_argument("--out", type=Path, help="another file for the rows")
    options = parser.parse_args(arguments)
    run = Run(options.seconds, options.out, options.small or options.rehearse)
    run.write, run.rehearse = options.write, options.rehearse
    with run.inside():
        return measure(run, options.seconds, options.section)


def measure(run: Run, seconds: float, wanted: Sequence[str]) -> int:
    """The sections, one after the other; the exit code."""
    # A program that compiles or runs longer than all may take can't be stopped otherwise.
    watch = threading.Timer(seconds, give_up, (run,))
    watch.daemon = True
    watch.start()
    environment(run)
    chosen = [name for name in SECTIONS if name in wanted]
    for name in chosen:
        section, share = SECTIONS[name]
        last = name == chosen[-1]
        until = time.monotonic() + run.left() * (0.9 if last else share)
        try:
            section(run, until)
        except Exception as error:
            run.fail(name, "", "", "", error)
        run.table.write()
    watch.cancel()
    return run.finish()
