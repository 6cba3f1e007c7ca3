"""Batches: arrays with samples on axis 0, and the few ways to make and cut them.

All of it runs on the host with NumPy and hands over JAX arrays; none of it belongs inside a jit.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike

from .._common.numbers import checked, exactly, place
from .._common.times import lengths_to_mask
from .._engine.unstable import Tracer
from ._generator import generator


AnyArray = Array | np.ndarray
Field = AnyArray | Any  # or what has a shape, a dtype and rows by index
Index = int | np.integer | slice | Sequence | AnyArray


class Batch(eqx.Module):
    """Samples of one kind, each field with the samples on axis 0.

    - `x`: (samples, time, features), or whole-number tokens (samples, time). NaN is a value that
      is missing, for models that take it: `rz.cells.GRUDCell`, or any cell in `rz.Imputed`.
    - `y`: labels (samples,), one target a sample (samples, features), or one target a step
      (samples, time, ...), with `NO_TARGET` (-1) for a step without a label; see `per_step`.
    - `mask`: (samples, time) bool, False where a step does not happen (padding, gaps). Where
      samples end early and have no gaps, `lengths`, (samples,) whole numbers, make it.
    - `dt`: (samples, time) float, the time since the step before, in units of the nominal step.
    - `reset`: (samples, time) bool, True where a new document starts.

    A field may be a mapped file (`np.memmap`) or something with `shape`, `dtype` and rows by index
    (Zarr, HDF5): `batches`, `fit` and `evaluate` read the rows of each batch and never the whole.

    Fields that are None stay None everywhere. Raises ValueError when the shapes or the kinds of
    the fields do not fit each other, for a `dt` of NumPy below 0 at a valid step, for `mask` and
    `lengths` together, and for a length that x has no room for.
    """

    x: Field
    y: Field
    mask: Field | None = None
    dt: Field | None = None
    reset: Field | None = None

    def __init__(
        self,
        x: Field,
        y: Field,
        mask: Field | None = None,
        dt: Field | None = None,
        reset: Field | None = None,
        *,
        lengths: ArrayLike | Sequence[int] | None = None,
    ):
        if lengths is not None:
            if mask is not None:
                raise ValueError("expected mask or lengths, got both: lengths make a mask")
            mask = _mask_of(lengths, x)
        self.x, self.y, self.mask, self.dt, self.reset = x, y, mask, dt, reset

    def __check_init__(self):
        # Transformations also build batches of things that are not arrays.
        if not hasattr(self.x, "shape"):
            return
        if len(self.x.shape) < 2:
            raise ValueError(
                "expected x of shape (samples, time, features) or (samples, time), "
                f"got {self.x.shape}: one sequence is a batch of one, x[None]"
            )
        _check_numbers("x", self.x)
        for name in ("y", "mask", "dt", "reset"):
            value = getattr(self, name)
            if hasattr(value, "shape"):
                _check_field(name, value, self.x.shape)
        _check_times(self.dt, self.mask)

    def __len__(self) -> int:
        """The number of samples."""
        return self.x.shape[0]

    def __getitem__(self, index: Index) -> "Batch":
        """The same selection of every field: a slice or an array of positions gives a batch, a
        single position gives one sample without the sample axis.

        Raises IndexError for positions that do not exist.
        """
        inside = _inside(index, len(self))
        return jax.tree.map(lambda leaf: leaf[inside], self)

    @property
    def per_step(self) -> bool:
        """Whether `y` holds one target for every step.

        It does when its axis 1 is as long as x's and it is either whole numbers or has three axes
        or more: a float target for every step always carries a feature axis, so (samples, features)
        is never mistaken for it.
        """
        y, x = self.y, self.x
        if y.ndim < 2 or y.shape[1] != x.shape[1]:
            return False
        return y.ndim > 2 or not jnp.issubdtype(y.dtype, jnp.inexact)


def _mask_of(lengths: Any, x: Field) -> AnyArray:
    if np.shape(lengths) != x.shape[:1]:
        raise ValueError(
            f"expected lengths of shape {x.shape[:1]}, one for each sample of x, got "
            f"{np.shape(lengths)}"
        )
    mask = lengths_to_mask(lengths, x.shape[1])
    return mask if isinstance(x, Array) else np.asarray(mask)


def _check_times(dt: Any, mask: Any) -> None:
    # Of what lies on a device, or in a file, models look at the numbers that they get.
    if not isinstance(dt, np.ndarray) or is_indexed(dt) or isinstance(mask, Tracer):
        return
    backwards = dt < 0
    if backwards.any() and mask is not None:
        backwards &= np.asarray(mask)
    if backwards.any():
        at = place(backwards)
        raise ValueError(
            f"expected dt of at least 0, got {dt[at]} at sample {at[0]}, step {at[1]}: sort the "
            "samples by time; rz.elapsed(times) gives dt from time stamps"
        )


def _check_numbers(name: str, value: Field) -> None:
    # What is only indexed is looked at when a batch of it is made.
    if isinstance(value, np.ndarray) and not is_indexed(value):
        checked(name, value)


def _check_field(name: str, value: Field, x_shape: tuple[int, ...]) -> None:
    _check_numbers(name, value)
    if value.shape[:1] != x_shape[:1]:
        raise ValueError(
            f"expected as many samples in {name} as in x: x has shape {x_shape}, "
            f"{name} has shape {value.shape}"
        )
    if name == "y":
        return
    if value.shape != x_shape[:2]:
        raise ValueError(
            f"expected {name} of shape (samples, time) = {x_shape[:2]}, got {value.shape}"
        )
    kind, word = (jnp.floating, "float") if name == "dt" else (jnp.bool_, "bool")
    if not jnp.issubdtype(value.dtype, kind):
        raise ValueError(f"expected {name} to be {word}, got {value.dtype}")


def _inside(index: Index, size: int):
    """The index, once it is known to lie within `size`: JAX would clamp it in silence."""
    if isinstance(index, slice | Tracer):
        return index
    positions = np.asarray(index)
    if positions.dtype == bool and positions.shape == (size,):
        return np.flatnonzero(positions)
    if positions.size == 0:
        return positions.astype(int)
    if not np.issubdtype(positions.dtype, np.integer):
        raise TypeError(f"expected a position, a slice or an array of positions, got {index!r}")
    if positions.min() < -size or positions.max() >= size:
        raise IndexError(f"position {index} is not among {size} samples")
    return int(positions) if positions.ndim == 0 else positions


def batches(
    data: Batch,
    batch_size: int,
    *,
    key: Array | None = None,
    drop_last: bool = False,
    lengths: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Go through `data` once, `batch_size` samples at a time.

    Every sample comes exactly once, in the order of `data`, or shuffled with `key`. The last batch
    is smaller when `batch_size` does not divide the number of samples; `drop_last` leaves it out
    instead, so that all batches have one shape and a jitted step compiles once.

    `lengths` (for example `(16, 32)`) is for padded data: each batch is trimmed or padded in time
    to the smallest of these lengths that holds its longest sample, so that only so many shapes are
    ever compiled. The longest sample ends at the last True of the mask. Padding is 0, with the
    mask False, dt 1 and reset False; `y` follows when it is `per_step`.

    Raises ValueError, when called, if there would be no batch, if `lengths` comes without a mask,
    or if no length holds the longest sample.
    """
    return own_batches(data, batch_size, key=key, drop_last=drop_last, lengths=lengths)


def own_batches(
    data: Batch,
    batch_size: int,
    *,
    key: Array | None = None,
    drop_last: bool = False,
    lengths: Sequence[int] | None = None,
    own: Callable[[int], np.ndarray | None] = lambda size: None,
) -> Iterator[Batch]:
    """`batches`, but of each batch of `size` samples the rows `own(size)` alone, all for None.

    Only these are read; the length in time is that of the whole batch.
    """
    samples = len(data)
    if batch_size < 1:
        raise ValueError(f"expected batch_size of at least 1, got {batch_size}")
    if drop_last and batch_size > samples:
        raise ValueError(
            f"batch_size {batch_size} with drop_last leaves nothing of {samples} samples: "
            "lower batch_size or keep the last batch"
        )
    host = on_host(data)
    if lengths is not None:
        _check_lengths(host, lengths)
    parts = orders(samples, batch_size, key=key, drop_last=drop_last)
    return (gather(host, part, lengths, own(len(part))) for part in parts)


def is_indexed(array: Any) -> bool:
    """Whether an array is not in memory: a mapped file, or something like an array."""
    return isinstance(array, np.memmap) or not isinstance(array, np.ndarray | np.generic | Array)


def on_host(data: Batch) -> Batch:
    """Arrays of the host; what is only indexed stays what it is."""
    return jax.tree.map(lambda leaf: leaf if is_indexed(leaf) else np.asarray(leaf), data)


def orders(
    samples: int, batch_size: int, *, key: Array | None, drop_last: bool
) -> Iterator[np.ndarray]:
    """The positions of the samples of each batch."""
    order = np.arange(samples) if key is None else generator(key).permutation(samples)
    stop = samples - samples % batch_size if drop_last else samples
    return (order[start : start + batch_size] for start in range(0, stop, batch_size))


def _check_lengths(data: Batch, lengths: Sequence[int]) -> None:
    if data.mask is None:
        raise ValueError("lengths needs a batch with a mask, which says where samples end")
    longest = _longest(data.mask)
    if not lengths or min(lengths) < 1 or max(lengths) < longest:
        raise ValueError(
            f"no length of {tuple(lengths)} holds the longest sample, which has {longest} steps: "
            f"add a length of at least {max(longest, 1)}"
        )


def _longest(mask: Any) -> int:
    """The number of steps up to the last valid one of any sample."""
    steps = np.flatnonzero(np.asarray(mask).any(axis=0))
    return int(steps[-1]) + 1 if steps.size else 0


def gather(
    host: Batch,
    positions: np.ndarray,
    lengths: Sequence[int] | None,
    own: np.ndarray | None = None,
) -> Batch:
    """Samples of a batch on the host, cut to one of these lengths, as JAX arrays.

    With `own`, the samples at these places of `positions`, as long as all of them together are.
    """
    read = positions if own is None else positions[own]
    batch = jax.tree.map(lambda leaf: _rows(leaf, read), host)
    if lengths is not None:
        longest = _longest(batch.mask if own is None else _rows(host.mask, positions))
        batch = _with_time(batch, min(length for length in lengths if length >= longest))
    return to_jax(batch)


def _rows(array: Any, positions: np.ndarray) -> np.ndarray:
    if isinstance(array, np.ndarray):
        rows = np.asarray(array[positions])
        if isinstance(array, np.memmap):
            _let_go(array)
        return rows
    # Formats of files want positions that ascend.
    ascending, places = np.unique(positions, return_inverse=True)
    return np.asarray(array[ascending])[places]


def _let_go(array: np.memmap) -> None:
    """Give the pages of a mapped file back, which count as memory of this process once read."""
    mapping = array
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    # Pages that are copied when they are written have no other place to be.
    if array.mode != "c" and isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def to_jax(batch: Batch) -> Batch:
    """The same batch in JAX arrays, whose numbers it holds exactly."""
    return jax.tree.map(lambda leaf: exactly("a field", leaf), batch)


def _with_time(batch: Batch, length: int) -> Batch:
    return Batch(
        _resize(batch.x, length, 0),
        _resize(batch.y, length, 0) if batch.per_step else batch.y,
        None if batch.mask is None else _resize(batch.mask, length, False),
        None if batch.dt is None else _resize(batch.dt, length, 1),
        None if batch.reset is None else _resize(batch.reset, length, False),
    )


def _resize(array: AnyArray, length: int, fill: int | bool) -> AnyArray:
    missing = length - array.shape[1]
    if missing <= 0:
        return array[:, :length]
    width = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, width, constant_values=fill)


def pad_sequences(
    sequences: Iterable[AnyArray | Sequence], length: int | None = None
) -> tuple[Array, Array]:
    """Put sequences of different lengths into one array, padded with zeros on the right.

    Each sequence is (time, ...) with the same trailing shape. Returns `x`, (samples, length, ...),
    and `mask`, (samples, length), True where x is not padding. `length` is by default that of the
    longest sequence. Raises ValueError when there is no sequence, when the trailing shapes differ,
    or when `length` would cut a sequence.
    """
    arrays = [np.atleast_1d(np.asarray(sequence)) for sequence in sequences]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) != 1:
        raise ValueError(
            "expected sequences (time, ...) with one trailing shape, "
            f"got {sorted(shapes) or 'no sequence'}"
        )
    steps = np.array([len(array) for array in arrays])
    length = int(steps.max()) if length is None else length
    if length < steps.max():
        raise ValueError(f"length {length} would cut a sequence of {steps.max()} steps")
    together = np.concatenate(arrays)
    mask = np.arange(length) < steps[:, None]
    x = np.zeros((*mask.shape, *together.shape[1:]), together.dtype)
    x[mask] = together
    return exactly("sequences", x), jnp.asarray(mask)
