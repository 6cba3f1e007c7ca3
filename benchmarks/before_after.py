"""Every figure of speed in two checkouts side by side, and beside a peer.

    git worktree add ../before COMMIT
    python -m benchmarks before_after --base ../before [--figures lstm ltc ...]

A process for each checkout and one for the peer run in turn, one call of each a round; medians of
the rounds. LSTM and GRU stand beside torch (pip install torch), the GRU at batch 1 beside Equinox's
cell in a scan, linear layers beside the faster of plain `lax.associative_scan` and `lax.scan`.
`asked` is the aim: `before` for after / before, `peer` for after / peer.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import call
from .tables import ROOT, Table, versions
from .timing import PAUSE


ROUNDS = 9
VALUES = ("pass", "before", "after", "after_of_before", "peer", "peer_ms", "after_of_peer", "asked")
TABLE = Table("before_after", ("jax", "figure"), VALUES)
LAYERS = ((32, 256, 64, 128), (16, 113, 1, 128), (64, 50, 500, 500), (1, 1000, 32, 64))
LINEAR = ((8, 1024, 64), (8, 4096, 128), (4, 17984, 64), (1, 65536, 64))
PASSES = {"forward": False, "training": True}


class Figure(NamedTuple):
    """What two builds run, and what its peers run; the faster of these counts."""

    group: str
    name: str
    part: str
    kind: str
    arguments: tuple
    peers: dict[str, tuple[str, tuple, dict[str, str]]]
    asked: str


def figures() -> list[Figure]:
    found = []
    for what, training in PASSES.items():
        for shape in LAYERS:
            given = ("lstm", *shape, training)
            name = f"lstm {'x'.join(map(str, shape))}"
            peer = {"torch": ("torch layer", given, {})}
            found.append(Figure("lstm", name, what, "layer", given, peer, "peer 1.3"))
        given = ("gru", *LAYERS[-1], training)
        peer = {"equinox": ("equinox layer", given, {})}
        name = "gru 1x1000x32x64"
        found.append(Figure("gru", name, what, "layer", given, peer, "peer 1.05"))
        for cell in ("lru", "s5"):
            for batch, length, size in LINEAR:
                given = (cell, batch, length, size, size, training)
                plain = {
                    "associative_scan": ("layer", given, {"engine": "scan", "method": "parallel"}),
                    "scan": ("layer", given, {"engine": "scan", "method": "sequential"}),
                }
                name = f"{cell} {batch}x{length}x{size}"
                found.append(Figure("linear", name, what, "layer", given, plain, "peer 1.0"))
        asked = "before 0.4" if training else "before 0.5"
        found.append(Figure("ltc", "ltc AutoNCP(64, 8)", what, "ltc", (training,), {}, asked))
    for cell, asked in {"mamba": "0.5", "rglru": "0.5", "s4d": "0.4", "lru": "1.0"}.items():
        name = f"{cell}, two layers"
        found.append(Figure("board", name, "training", "board", (cell,), {}, f"before {asked}"))
    for cell in ("lstm", "lru", "mamba"):
        peer = {"equinox": ("equinox compiling", (cell,), {})} if cell == "lstm" else {}
        asked = "before 0.7" + (", peer 1.0" if peer else "")
        name, place = f"six layers of {cell}", (cell,)
        found.append(Figure("compiling", name, "compiling", "compiling", place, peer, asked))
    for size, asked in {(8, 32): "before 0.8", (64, 512): "peer 1.0"}.items():
        peer = {"torch": ("torch stream", size, {})}
        name = f"stream of an lstm {size[0]}x{size[1]}, 256 steps"
        found.append(Figure("stream", name, "forward", "stream", size, peer, asked))
    return found


class Build:
    """A process that has one checkout on its path."""

    def __init__(self, path: Path):
        environment = {
            **os.environ,
            "PYTHONPATH": str(path),
            "PYTHONWARNINGS": "ignore",
            "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
            "JAX_ENABLE_COMPILATION_CACHE": "0",
        }
        command = [sys.executable, str(Path(__file__).with_name("before_after_worker.py"))]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        errors = subprocess.DEVNULL
        self.process = subprocess.Popen(command, **pipes, stderr=errors, env=environment)

    def ask(self, *words: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(words) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            sys.exit(f"the process of a build ended at {words}")
        return json.loads(answer)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(figure: Figure, builds: dict[str, Build], rounds: int) -> dict[str, float]:
    """Median milliseconds of each that runs; a figure that a build lacks ends the program."""
    wanted = {who: (figure.kind, figure.arguments, {}) for who in ("before", "after")}
    kinds = {}
    for who, program in (wanted | figure.peers).items():
        wrong = builds[who].ask("prepare", *program)
        if wrong and who in wanted:
            sys.exit(f"{figure.name}, {who}: {wrong}")
        if wrong:
            print(f"{figure.name}, {who}: {wrong}")
        else:
            kinds[who] = program[0]
    taken: dict[str, list[float]] = {who: [] for who in kinds}
    for turn in range(rounds):
        order = [*kinds] if turn % 2 == 0 else [*kinds][::-1]
        for who in order:
            time.sleep(PAUSE)  # threads of the one before may still spin
            taken[who].append(builds[who].ask("run", kinds[who]))
    return {who: statistics.median(found) for who, found in taken.items()}


def add(figure: Figure, taken: dict[str, float]) -> tuple[float, float | None]:
    """A row; and the ratios in it."""
    before, after = taken["before"], taken["after"]
    peers = {who: ms for who, ms in taken.items() if who in figure.peers}
    peer = min(peers, key=peers.__getitem__, default="")
    of_peer = after / peers[peer] if peer else None
    beside = (peer, f"{peers[peer]:.3f}", f"{of_peer:.2f}") if peer else ("", "", "")
    times = f"{before:.3f}", f"{after:.3f}", f"{after / before:.2f}"
    key = (versions()["jax"], figure.name)
    TABLE.add(key, figure.part, *times, *beside, figure.asked)
    return after / before, of_peer


def add_means(ratios: dict[tuple[str, str], list[tuple[float, float | None]]]) -> None:
    """Geometric means of the figures that an aim is set for as a group."""
    asked = {"lstm": "peer 1.0", "linear": "peer 0.63"}
    for (group, part), found in ratios.items():
        if group in asked:
            key = versions()["jax"], f"{group}, geometric mean"
            of_peer = [ratio for _, ratio in found if ratio is not None]
            shown = f"{_mean(of_peer):.2f}" if of_peer else ""
            before = f"{_mean([ratio for ratio, _ in found]):.2f}"
            TABLE.add(key, part, "", "", before, "", "", shown, asked[group])


def _mean(ratios: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def main(arguments: list[str]) -> None:
    options, every = call.parser(__name__, TABLE), figures()
    options.add_argument("--base", required=True, type=Path, help="the checkout before")
    options.add_argument("--after", default=ROOT, type=Path, help="the one after; this one")
    options.add_argument("--rounds", default=ROUNDS, type=int, help=f"{ROUNDS} if not given")
    call.add_names(options, "--figures", dict.fromkeys(figure.group for figure in every))
    given = options.parse_args(arguments)
    for path in (given.base, given.after):
        if not (path / "rnn_zoo" / "__init__.py").is_file():
            options.error(f"expected a checkout with a folder rnn_zoo, got {path}")
    builds = {who: Build(path) for who, path in (("before", given.base), ("after", given.after))}
    # Peers run in processes of their own: torch and JAX have threads that spin.
    for figure in every:
        for who in figure.peers:
            if figure.group in given.figures and who not in builds:
                builds[who] = Build(given.after)
    ratios: dict[tuple[str, str], list] = {}
    for figure in every:
        if figure.group in given.figures:
            found = add(figure, measure(figure, builds, given.rounds))
            ratios.setdefault((figure.group, figure.part), []).append(found)
    add_means(ratios)
    for build in builds.values():
        build.end()
    TABLE.write()
