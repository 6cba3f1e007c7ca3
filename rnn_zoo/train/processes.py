"""Several processes that train one model together, and what they have to agree on.

Each takes the same steps in the same order: one that leaves alone would let the others wait. What a
process alone can know, that its data failed or that somebody pressed Ctrl-C, is a word that it
gives to the step. The words come back with the step's results, and all read them after the same
step.
"""

import contextlib
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import PyTree

from .._engine.unstable import of_all_processes
from ..data.batches import Batch
from .agreement import form_of, require_one_form, texts, told
from .placement import is_shared, place, whole_size
from .settled import Plan
from .step import Progress, UpdateRule, take_step


GO, STOP, FAILED = 0, 1, 2


def writes(sharding: NamedSharding | None) -> bool:
    """Whether this process writes files and shows a bar: in a shared run the first one alone."""
    return not is_shared(sharding) or jax.process_index() == 0


def positions_of(own: Any, sharding: NamedSharding | None) -> Any:
    """Where the sources of all processes are, as one value of JSON."""
    if not is_shared(sharding):
        return own
    found = [json.loads(text) for text in texts(json.dumps(own))]
    return None if all(one is None for one in found) else {"processes": found}


def own_position(name: Any, found: Any, sharding: NamedSharding | None) -> Any:
    """Where the source of this process was, of what `positions_of` gave.

    ValueError where another number of processes had sources, whose parts are not those of these.
    """
    there = found["processes"] if isinstance(found, dict) and "processes" in found else [found]
    count = jax.process_count() if is_shared(sharding) else 1
    if found is None or len(there) == count == 1:
        return there[0]
    if len(there) != count:
        raise ValueError(
            f"{name} belongs to a run whose train came from {len(there)} processes, each with its "
            f"own part, not {count}: resume with as many, or give a Batch of all the samples"
        )
    return there[jax.process_index()]


class Processes:
    """The processes of a shared run, as one of them sees them."""

    sharding: NamedSharding
    stopping: bool
    """Whether all know that the run ends here."""

    def __init__(self, sharding: NamedSharding):
        self.sharding, self.stopping = sharding, False
        self._word = GO
        self._failure: Exception | None = None
        self._last: Batch | None = None
        self._words: dict[int, jax.Array] = {}

    def require_same(self, what: dict[str, Any]) -> None:
        """ValueError where another process began with something else."""
        own = {name: _digest(value) for name, value in what.items()}
        for process, text in enumerate(texts(json.dumps(own))):
            wrong = [name for name, value in json.loads(text).items() if own.get(name) != value]
            if wrong:
                raise ValueError(
                    f"expected the same {wrong[0]} in every process, and process {process} has "
                    f"another than process {jax.process_index()}: make it from the same seed and "
                    "the same data, and give the same arguments"
                )

    def any(self, own: bool) -> bool:
        """Whether it is so in one of them. Each has to call this."""
        return bool(of_all_processes(np.array([own])).any())

    def next(self, take: Callable[[], Batch], first: bool) -> Batch:
        """The next batch. Where there is none any more, the one before, for a step that will not
        count, so that all know of it after the same step.

        Before the first step, ValueError where another process has none; else the error of `take`.
        """
        batch, fault = self._last, self._failure
        try:
            batch = batch if fault is not None else take()
        except Exception as error:
            fault = error
        if first:
            require_one_form("train", batch, fault)
        elif fault is None and form_of(batch) != form_of(self._last):
            fault = ValueError(
                "expected every batch in the form of the first one where several processes train "
                f"together, {form_of(self._last)}, got {form_of(batch)}"
            )
        if fault is not None:
            self._failure, self._word, batch = fault, FAILED, self._last
        self._last = batch
        assert batch is not None  # the first one came
        return batch

    def failures(self) -> tuple[str, Exception | None]:
        """Which processes have no batches any more and why, and the error of this one. Each has
        to call this."""
        said = enumerate(texts(told(self._failure)))
        return "; ".join(f"process {i}: {one[1:]}" for i, one in said if one), self._failure

    def update(
        self, progress: Progress, batch: Batch, key: Any, rule: UpdateRule
    ) -> tuple[Progress, dict[str, Any], jax.Array]:
        """One step of all of them: progress, loss and metrics, and the largest word."""
        samples = whole_size(self.sharding, len(batch))
        batch = place(batch, self.sharding, samples)
        return _update(progress, batch, self._said(self._word), key, rule)

    def _said(self, word: int) -> jax.Array:
        """The word of this process on its devices."""
        if word not in self._words:
            shape, sharding = (self.sharding.mesh.size,), self._spread()
            devices = sharding.addressable_devices_indices_map(shape)
            own = [jax.device_put(jnp.full(1, word, jnp.int32), device) for device in devices]
            made = jax.make_array_from_single_device_arrays(shape, sharding, own)
            self._words[word] = made
        return self._words[word]

    def _spread(self) -> NamedSharding:
        mesh = self.sharding.mesh
        return NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))

    def ask_to_stop(self) -> None:
        """All end at the same step, which comes soon."""
        self._word = max(self._word, STOP)


def join(progress: Progress, plan: Plan, checkpoints: Any) -> Processes | None:
    """The processes that train together, once all have come with the same things; None where this
    one trains by itself."""
    sharding, watch = plan.rule.sharding, plan.watch
    if sharding is None or not is_shared(sharding):
        return None
    together = Processes(sharding)
    together.require_same(
        {
            "model, opt_state and ema": progress,
            "key": plan.key,
            "train": plan.feed.ends(),
            "valid": watch.ends(),
            "steps and eval_every": (plan.steps, plan.eval_every),
            "max_patience and return_best": (watch.max_patience, watch.return_best),
            "checkpoints": checkpoints
            and (checkpoints.every, checkpoints.keep, checkpoints.resume is False),
        }
    )
    return together


@contextlib.contextmanager
def listening(processes: Processes | None) -> Iterator[None]:
    """Within, Ctrl-C asks all processes to end at the same step; a second one ends this one."""
    if processes is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        processes.ask_to_stop()

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@eqx.filter_jit
def _update(progress: Progress, batch: Batch, words: jax.Array, key: Any, rule: UpdateRule):
    word = jnp.max(words)
    # Without a batch in one of them the step must not count in any.
    finite = progress.finite & (word < FAILED)
    progress, outcome = take_step(progress._replace(finite=finite), batch, key, rule)
    return progress, outcome, word


def _digest(tree: PyTree) -> str:
    """What tells apart the numbers of two trees; functions among the leaves say nothing."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree, is_leaf=lambda leaf: leaf is None):
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if eqx.is_array_like(leaf):
            array = np.asarray(leaf)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        elif leaf is None:
            found.update(b"None")
    return found.hexdigest()
