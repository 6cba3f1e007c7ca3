"""Where the batches of a training run come from: a `Batch` of all the samples, or any iterable.

Where several processes train together, each reads its own rows of a `Batch`, which all of them are
given; an iterable gives the part of this process alone.
"""

import base64
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np

from ..data.batches import Batch, gather, is_indexed, on_host, own_batches, to_jax
from .agreement import together
from .placement import is_shared, own_rows, place, require_parts, whole_size


class Stream(NamedTuple):
    """Batches as they are trained on, pass after pass."""

    batches: Iterator[Batch]
    position: Callable[[], Any] | None
    """Where the source is, as JSON holds it; None where it cannot say so."""


class Feed(NamedTuple):
    """A batch with all the samples, and how it is cut into batches."""

    data: Batch
    batch_size: int
    lengths: Sequence[int] | None

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch: only full batches count."""
        return len(self.data) // self.batch_size

    def settings(self) -> dict[str, Any]:
        """What the order of the data depends on."""
        return {"batch_size": self.batch_size, "samples": len(self.data)}

    def ends(self) -> Batch:
        """The first and the last sample, by which two processes know that they have the same."""
        return ends_of(self.data)

    def open(self, key: Any, first: int, position: Any, sharding: Any) -> Stream:
        """The batches after the `first` ones: their number alone says where they are."""
        return Stream(self._cut(key, first, sharding), lambda: None)

    def _cut(self, key: Any, first: int, sharding: Any) -> Iterator[Batch]:
        # The order of an epoch depends on the key and its number alone, so a run that goes on finds
        # its place without the epochs before.
        epoch, skip = divmod(first, self.per_epoch)
        while True:
            order = own_batches(
                self.data,
                self.batch_size,
                key=jr.fold_in(key, epoch),
                drop_last=True,
                lengths=self.lengths,
                own=functools.partial(own_rows, sharding),
            )
            for i, batch in enumerate(order):
                if i >= skip:
                    yield batch
            epoch, skip = epoch + 1, 0


class Source(NamedTuple):
    """An iterable of batches, which come as they come."""

    data: Iterable[Batch]
    exact: bool
    """Whether every pass must have the length that the source says it has: epochs depend on it."""

    @property
    def per_epoch(self) -> int | None:
        """The batches of a pass; None where the source does not say."""
        return len(self.data) if hasattr(self.data, "__len__") else None  # pyright: ignore

    def settings(self) -> dict[str, Any]:
        """What distinguishes it from a batch of all the samples."""
        return {"batch_size": "that of the source"}

    def ends(self) -> None:
        """Each process has its own."""

    def open(self, key: Any, first: int, position: Any, sharding: Any) -> Stream:
        """The batches after a position, or all of them."""
        passes = _Passes(self)
        if position is not None:
            passes.seek(position)
        return Stream(passes, passes.position if passes.tells() else None)


@dataclasses.dataclass
class _InOrder:
    """A list of batches, which knows its place by number."""

    data: Sequence[Batch]
    place: int = 0

    def __next__(self) -> Batch:
        if self.place == len(self.data):
            raise StopIteration
        self.place += 1
        return self.data[self.place - 1]

    def get_state(self) -> int:
        return self.place

    def set_state(self, state: int) -> None:
        self.place = state


class _Passes:
    """Goes through a source, and again from its beginning where it can begin again."""

    def __init__(self, source: Source):
        self.source, self.taken = source, 0
        self.iterator = self._begin()

    def __iter__(self) -> "_Passes":
        return self

    def __next__(self) -> Batch:
        try:
            batch = next(self.iterator)
        except StopIteration:
            self._end_of_pass()
            batch = next(self.iterator)
        self.taken += 1
        if self.source.exact and self.taken > self._length():
            raise ValueError(f"train has a length of {self._length()}, and gave more in a pass")
        return _as_batch("train", batch)

    def _begin(self) -> Any:
        data = self.source.data
        return _InOrder(data) if isinstance(data, Sequence) else iter(data)

    def _length(self) -> Any:
        return self.source.per_epoch

    def _end_of_pass(self) -> None:
        if not self.taken:
            raise ValueError("train gave no batch")
        if self.source.exact and self.taken != self._length():
            raise ValueError(
                f"train has a length of {self._length()}, and a pass ended after {self.taken}"
            )
        if self.iterator is self.source.data:
            raise ValueError(
                f"train ended after {self.taken} batches and cannot begin again, as an iterator "
                "or a generator: give fewer steps, or what can be gone through again"
            )
        self.taken, self.iterator = 0, self._begin()

    def tells(self) -> bool:
        return hasattr(self.iterator, "get_state") and hasattr(self.iterator, "set_state")

    def position(self) -> dict[str, Any]:
        """Where the source is: its own state, and the batches of this pass."""
        state = self.iterator.get_state()
        if isinstance(state, bytes):
            return {"bytes": base64.b64encode(state).decode(), "taken": self.taken}
        try:
            kept = json.loads(json.dumps(state)) == state
        except (TypeError, ValueError):
            kept = False
        if not kept:
            raise TypeError(f"expected get_state() to give bytes or what JSON holds, got {state!r}")
        return {"state": state, "taken": self.taken}

    def seek(self, position: dict[str, Any]) -> None:
        """Go where a source was; one that cannot is refused by who asked."""
        if not self.tells():
            return
        in_bytes = "bytes" in position
        state = base64.b64decode(position["bytes"]) if in_bytes else position["state"]
        self.iterator.set_state(state)
        self.taken = position["taken"]


def _as_batch(name: str, item: Any) -> Batch:
    """What an iterable gave, in JAX arrays. TypeError for anything but a `Batch`."""
    if not isinstance(item, Batch):
        raise TypeError(
            f"expected {name} as a rnn_zoo.data.Batch or an iterable of them, and one that gives "
            f"a {type(item).__name__} came: make each a Batch(x, y), in a collate_fn of a "
            "torch DataLoader, by .map of Grain, or in a generator"
        )
    return to_jax(item)


def held_out(
    name: str, data: Any, check: Callable[[Batch], Batch], batch_size: int, sharding: Any
) -> Iterator[Batch]:
    """Batches of data that are not trained on, on their devices: cut from a `Batch`, or as an
    iterable gives them.

    Those that could not be checked before are checked as they come. Where several processes go
    through them and one of them fails, all do.
    """
    if isinstance(data, Batch):
        own = functools.partial(own_rows, sharding)
        parts = own_batches(data, batch_size, own=own)
        sizes = (min(batch_size, len(data) - first) for first in range(0, len(data), batch_size))
        if not in_memory(data):
            parts = _agreed(name, map(check, parts), sharding)
        return (place(part, sharding, size) for part, size in zip(parts, sizes))
    require_batches(name, data)
    parts = map(check, (_own_part(name, item, sharding) for item in data))
    parts = _agreed(name, parts, sharding)
    return (place(part, sharding, whole_size(sharding, len(part))) for part in parts)


def _agreed(name: str, parts: Iterator[Batch], sharding: Any) -> Iterator[Batch]:
    return together(name, parts) if is_shared(sharding) else parts


def _own_part(name: str, item: Any, sharding: Any) -> Batch:
    batch = _as_batch(name, item)
    if is_shared(sharding):
        require_parts(sharding, len(batch), f"a batch of {name}", own=True)
    return batch


def require_batches(name: str, data: Any) -> None:
    """TypeError for what cannot be gone through, or is seen to hold something else."""
    items = data if isinstance(data, Sequence) else ()
    if not isinstance(data, Iterable) or not all(isinstance(item, Batch) for item in items):
        raise TypeError(
            f"expected {name} as a rnn_zoo.data.Batch or an iterable of them, got "
            f"{type(data).__name__}"
        )


def feed_of(
    train: Any, batch_size: int | None, lengths: Sequence[int] | None, epochs: int | None
) -> Feed | Source:
    """What `train` is. TypeError or ValueError for what cannot be gone through."""
    if isinstance(train, Batch):
        return Feed(train, 32 if batch_size is None else batch_size, lengths)
    require_batches("train", train)
    if batch_size is not None or lengths is not None:
        raise ValueError(
            "batch_size and lengths say how a Batch of all the samples is cut, and this train "
            "gives batches that are cut already: leave them out"
        )
    return Source(train, exact=epochs is not None)


def ends_of(data: Batch) -> Batch:
    """The first and the last sample."""
    return gather(on_host(data), np.array([0, len(data) - 1]), None)


def in_memory(data: Batch) -> bool:
    """Whether all arrays of a batch are in memory, to be looked through before training."""
    fields = (data.x, data.y, data.mask, data.dt, data.reset)
    return not any(is_indexed(field) for field in fields if field is not None)
