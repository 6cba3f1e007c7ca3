"""h_t = a_t h_{t-1} + b_t in one pass over memory: a kernel for diagonal recurrences.

A program of the grid has some channels of one sample. It goes through time in chunks, one after the
other: the next chunk of a and b is on its way from memory, and the last one of h on its way back,
while the steps of this one are taken in registers. What passes from chunk to chunk is kept beside
the chunks. So a and b are read once and h is written once; the associative form does that
log2(time) times over.

Complex numbers are pairs of real ones, and the flags of a step one number (`_KEEP`, `_HOLD`,
`_FORGET`). Time backwards, and A behind its step in the place of before, as in a derivative, are
ways of the same loop. The derivative itself is that of `recurrence.py`: this kernel the other way,
and a product over time.

**It has not been run on a device.** Tests interpret it on a CPU, and see whether it can be lowered
for a GPU.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..linear import Diagonal
from .backends import tuned
from .unstable import varying
from .unstable_devices import Blocks, call_kernel, has_kernels


_KEEP, _HOLD, _FORGET = range(3)


class _Loop(NamedTuple):
    """What a kernel is made for."""

    planes: int
    """1 for real numbers, 2 for complex ones."""
    steps: int
    """Of a chunk."""
    flags: bool
    constant: bool
    """Whether a is one for all steps."""
    reverse: bool
    late: bool


def takes(kind: type, offsets: Array) -> bool:
    """Whether the kernel has this recurrence: a diagonal one of one device, on a GPU of float32."""
    fits = offsets.dtype in (jnp.float32, jnp.complex64) or not has_kernels()
    return issubclass(kind, Diagonal) and fits and not varying(jax.typeof(offsets))


def diagonal(
    a: Array, offsets: Array, flags: dict[str, Array], *, reverse: bool, late: bool
) -> Array:
    """All states.

    **Arguments:**

    - `a`: (*batch, time, channels), `offsets`: the same in full; an axis of length 1 in `a`, also
      that of time, is the same for all.
    - `flags`: "mask" and "barrier", (*batch, time), as `recurrence.solve` has them.
    - `late`: a acts after its step.
    """
    *batch, time, channels = offsets.shape
    planes = 2 if jnp.iscomplexobj(offsets) else 1
    steps, width = min(tuned("kernel_steps") // planes, time), tuned("kernel_channels")
    chunks, blocks = -(-time // steps), -(-channels // width)
    padded = chunks * steps, blocks * width
    b = _padded(offsets.reshape(-1, time, channels), padded)
    a = _padded(_flat(a, batch, 2), padded)
    how = _Loop(planes, steps, bool(flags), a.shape[1] == 1, reverse, late)
    time_of = (lambda k: chunks - 1 - k) if reverse else (lambda k: k)
    arrays = []
    if flags:
        code = _flat(_coded(flags), batch, 1)
        code = jnp.broadcast_to(code, (code.shape[0], time))
        code = jnp.pad(code, [(0, 0), (0, padded[0] - time)])
        arrays.append((code, Blocks((steps,), _place(code, time_of))))
    of_a = Blocks((steps, width), _place(a, time_of))
    if how.constant:
        of_a = Blocks((1, width), _place(a, lambda k: 0))
    of_b = Blocks((steps, width), _place(b, time_of))
    arrays += [(plane, of_a) for plane in _planes(a)] + [(plane, of_b) for plane in _planes(b)]
    plane = jax.ShapeDtypeStruct(b.shape, b.real.dtype)
    carry = [jax.ShapeDtypeStruct((width,), plane.dtype)] * planes
    chunk = functools.partial(_chunk, how)
    grid = (b.shape[0], blocks, chunks)
    found = call_kernel(chunk, grid, arrays, [(plane, of_b)] * planes, carry)
    states = lax.complex(*found) if planes == 2 else found[0]
    return states[:, :time, :channels].reshape(offsets.shape)


def _place(x: Array, time_of: Callable) -> Callable:
    """Where the block of x lies that a point of the grid reads."""

    def place(sample: Any, block: Any, chunk: Any) -> tuple:
        sample = sample if x.shape[0] > 1 else 0
        return (sample, time_of(chunk), block)[: x.ndim]

    return place


def _flat(x: Array, batch: list[int], rest: int) -> Array:
    """With one axis for all samples, of length 1 where x is the same for all of them."""
    own = x.shape[: x.ndim - rest]
    if any(n != 1 for n in own):
        x = jnp.broadcast_to(x, (*batch, *x.shape[x.ndim - rest :]))
    return x.reshape(-1, *x.shape[x.ndim - rest :])


def _padded(x: Array, sizes: tuple[int, int]) -> Array:
    """Zeros behind the last step and channel, where there is more than one step."""
    time = 0 if x.shape[1] == 1 else sizes[0] - x.shape[1]
    return jnp.pad(x, [(0, 0), (0, time), (0, sizes[1] - x.shape[2])])


def _coded(flags: dict[str, Array]) -> Array:
    """What a step does with the state before it, as one number."""
    code = jnp.int32(_KEEP)
    if "mask" in flags:
        code = jnp.where(flags["mask"], code, jnp.int32(_HOLD))
    if "barrier" in flags:
        code = jnp.where(flags["barrier"], jnp.int32(_FORGET), code)
    return code


def _planes(x: Array) -> list[Array]:
    return [x.real, x.imag] if jnp.iscomplexobj(x) else [x]


def _chunk(how: _Loop, refs: list, carry: list[Array]) -> list[Array]:
    """Some steps of some channels of one sample; what the next chunk is handed."""
    code = refs.pop(0) if how.flags else None
    n = how.planes
    a, b, h = refs[:n], refs[n : 2 * n], refs[2 * n :]

    def step(i: Array, carry: list[Array]) -> list[Array]:
        t = how.steps - 1 - i if how.reverse else i
        factor = [ref[0 if how.constant else t] for ref in a]
        flag = None if code is None else code[t]
        if not how.late:
            carry = _through(factor, carry, flag)
        carry = [x + ref[t] for x, ref in zip(carry, b)]
        for ref, value in zip(h, carry):
            ref[t] = value
        return _through(factor, carry, flag) if how.late else carry

    return lax.fori_loop(0, how.steps, step, carry)


def _through(a: list[Array], h: list[Array], code: Array | None) -> list[Array]:
    """What is left of h after a step."""
    if len(a) == 1:
        after = [a[0] * h[0]]
    else:
        after = [a[0] * h[0] - a[1] * h[1], a[0] * h[1] + a[1] * h[0]]
    if code is None:
        return after
    # Written out in full: such kernels broadcast nothing by themselves.
    code = jnp.broadcast_to(code, h[0].shape)
    hold, forget = code == jnp.full_like(code, _HOLD), code == jnp.full_like(code, _FORGET)
    held = [lax.select(hold, before, new) for before, new in zip(h, after)]
    return [lax.select(forget, jnp.zeros_like(new), new) for new in held]
