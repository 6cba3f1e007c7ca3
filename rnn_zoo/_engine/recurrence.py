"""h_t = A_t h_{t-1} + b_t for all t: one primitive, several algorithms, one derivative.

`lax.scan` and `lax.associative_scan` can do this, at a price: `vmap` moves the batch axis of
every array a scan reads and writes, autodiff keeps every intermediate, and broadcasts an A
that never changes over time. So the recurrence is a primitive of its own. It is linear in b;
its transpose is the same recurrence run the other way with A transposed, the states are all
that is kept for a derivative, and `vmap` adds a leading axis in place. Derivatives of any
order and mode follow from these rules.

Arrays of the primitives have the axes (*batch, time, *rest); an axis of length 1 in A, the
mask or the barrier is the same for all.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from ..linear import AbstractLinearMap, AbstractOneHot, Block2x2, Diagonal, select, varies
from .across_devices import before, handed_on, power, product
from .backends import tuned
from .chunks import Way
from .diagonal_kernel import diagonal, takes
from .mesh import vary, vary_alike
from .one_hot import packed
from .products import at_time, batched, ends, plus_at, product_over_time, shifted
from .unstable import as_array, define, is_asked, is_zero, on_jvp, on_transpose, on_vmap


def solve(
    linear: AbstractLinearMap,
    offsets: Array,
    way: Way,
    *,
    mask: Bool[Array, " time"] | None,
    barrier: Bool[Array, " time"] | None,
    algorithm: str,
) -> Array:
    """All states (time, ...) from the offsets (time, ...); the state before the first is 0.

    **Arguments:**

    - `linear`: A of all steps, or one for all (`varies`).
    - `mask`: False: the state is held, plus the offset.
    - `barrier`: True: the step forgets what came before, by a select, so that not even a NaN
      passes.
    - `way`: its direction, and the mesh axis that time is spread over; all else is this device's.
    - `algorithm`: a key of `ALGORITHMS`, or "kernel" (`diagonal_kernel.py`), which takes diagonals
      alone and leaves all else to the associative form.
    """
    a = linear.a if varies(linear) else linear.a[None]
    given = {"mask": mask, "barrier": barrier}
    flags = {name: flag for name, flag in given.items() if flag is not None}
    names = tuple(flags)
    dtype = jnp.result_type(a, offsets)
    operands = vary_alike(a.astype(dtype), offsets.astype(dtype), *flags.values())
    if way.mesh_axis is not None:
        operands = [vary(x, frozenset([way.mesh_axis])) for x in operands]
    form = Form(names, type(linear), way.reverse, False, algorithm, way.mesh_axis)
    return _recurrence_p.bind(*operands, form=form)


class Form(NamedTuple):
    """A recurrence without its operands."""

    names: tuple[str, ...]  # of the flags: "mask", "barrier"
    kind: Any  # what A is, a class of `linear`
    reverse: bool
    late: bool  # A acts after its step, on h_t + b_t, and not before: so it is in the transpose
    algorithm: str
    mesh_axis: str | None  # time is spread over it


class _Steps:
    """What a state goes through from one step to the next, read off the operands."""

    def __init__(self, a: Array, flags: tuple[Array, ...], names: tuple[str, ...], kind: type):
        self.a, self.flags, self.names, self.kind = a, flags, names, kind

    @property
    def time(self) -> int:
        """The axis of time."""
        return self.a.ndim - 1 - self.kind.rank

    def through(self, h: Array) -> Array:
        """What is left of h, the state or states before, after the steps."""
        return self.finish(self.kind(self.a).apply(h), h)

    def finish(self, after: Array, h: Array) -> Array:
        """The part of the flags in it: `after` is A h."""
        flags = dict(zip(self.names, self.flags))
        if "mask" in flags:
            after = select(flags["mask"], after, h)
        if "barrier" in flags:
            after = select(flags["barrier"], jnp.zeros_like(after), after)
        return after

    def at(self, t: Array) -> "_Steps":
        """One step."""
        flags = tuple(at_time(flag, t, self.time) for flag in self.flags)
        return _Steps(at_time(self.a, t, self.time), flags, self.names, self.kind)

    def cut(self, t: int) -> "_Steps":
        """One step, with the axis of time."""
        return self.map(lambda x: lax.slice_in_dim(x, t, t + 1, axis=self.time))

    def whole(self, length: int) -> "_Steps":
        """All steps as one."""
        flags, axis = dict(zip(self.names, self.flags)), self.time
        if self.a.shape[axis] > 1 or length == 1:
            a = product(self.unmasked().a, self.kind, axis)
        else:
            count = jnp.full((1,) * (axis + 1), length)
            if "mask" in flags:
                count = jnp.sum(flags["mask"], axis, keepdims=True)
            a = power(self.a, self.kind, count, length)
        flags.pop("mask", None)
        ever = tuple(flag.any(axis, keepdims=True) for flag in flags.values())
        return _Steps(a, ever, tuple(flags), self.kind)

    def unmasked(self) -> "_Steps":
        """The same with the mask worked into A."""
        flags = dict(zip(self.names, self.flags))
        if "mask" not in flags:
            return self
        linear = self.kind(self.a)
        linear = select(flags.pop("mask"), linear, linear.identity())
        return _Steps(linear.a, tuple(flags.values()), tuple(flags), self.kind)

    def map(self, function: Callable[[Array], Array]) -> "_Steps":
        """A function of each array that changes over time."""
        a, *flags = (x if x.shape[self.time] == 1 else function(x) for x in (self.a, *self.flags))
        return _Steps(a, tuple(flags), self.names, self.kind)


# --- algorithms -----------------------------------------------------------------------------------


def _loop(steps: _Steps, offsets: Array, reverse: bool, late: bool) -> Array:
    """One step after the other; each state is written over the offset that it came from.

    Tuned for few kernels in the body, of which XLA makes one for any arithmetic on t that two
    others share: so t itself is counted, and never checked for being negative.
    """
    axis, length = steps.time, offsets.shape[steps.time]
    first, last, ahead = (length - 1, 0, -1) if reverse else (0, length - 1, 1)

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        t, h, states = carry
        h = at_time(states, t, axis) + steps.at(t - ahead if late else t).through(h)
        states = lax.dynamic_update_index_in_dim(states, h, t, axis, allow_negative_indices=False)
        return t + ahead, h, states

    start = lax.index_in_dim(offsets, first, axis, keepdims=False)
    t = jnp.array(first + ahead, jnp.int32)
    more = (lambda carry: carry[0] >= last) if reverse else (lambda carry: carry[0] <= last)
    return lax.while_loop(more, body, (t, start, offsets))[2]


def _in_order(
    algorithm: Callable, steps: _Steps, offsets: Array, reverse: bool, late: bool
) -> Array:
    """An algorithm for steps without a mask, from the first to the last, A before the offset."""
    steps, axis = steps.unmasked(), steps.time
    if late:
        # Before step t comes the A of the step before. What is rolled round acts on zeros.
        steps = steps.map(lambda x: jnp.roll(x, -1 if reverse else 1, axis))
    if not reverse:
        return algorithm(steps, offsets)
    turned = steps.map(lambda x: jnp.flip(x, axis))
    return jnp.flip(algorithm(turned, jnp.flip(offsets, axis)), axis)


def _associative(steps: _Steps, offsets: Array) -> Array:
    """In log2(time) parallel passes, by the odd-even reduction of `lax.associative_scan`.

    For the states alone: prefix products of A are never formed, and an A that never changes
    stays one matrix on every level.
    """
    return _reduced(steps, offsets, _logarithm(steps))


def _logarithm(steps: _Steps) -> Array | None:
    """log|A| where A is real, diagonal and one for all steps, else None.

    Each squaring doubles the relative error of a power, so that a power of n steps is n
    roundings off; its exponential is off by one rounding of its exponent.
    """
    constant = steps.kind is Diagonal and steps.a.shape[steps.time] == 1
    return jnp.log(jnp.abs(steps.a)) if constant and not jnp.iscomplexobj(steps.a) else None


def _reduced(steps: _Steps, offsets: Array, logarithm: Array | None) -> Array:
    """The states; `logarithm` as `_logarithm` gives it, times the steps that `steps` stand for."""
    axis, length = steps.time, offsets.shape[steps.time]
    if length == 1:
        return offsets

    def every_other(start: int, stop: int) -> tuple[_Steps, Array]:
        def take(x: Array) -> Array:
            return lax.slice_in_dim(x, start, stop, 2, axis)

        return steps.map(take), take(offsets)

    (earlier, b_earlier), (later, b_later) = every_other(0, length - 1), every_other(1, length)
    if logarithm is None:
        a = later.kind(later.a).compose(earlier.kind(earlier.a)).a
    else:
        logarithm = 2 * logarithm
        a = jnp.exp(logarithm)
    flags = tuple(before | after for before, after in zip(earlier.flags, later.flags))
    pairs = _Steps(a, flags, steps.names, steps.kind)
    odd = _reduced(pairs, later.through(b_earlier) + b_later, logarithm)
    rest, b_rest = every_other(2, length)
    even = rest.through(lax.slice_in_dim(odd, 0, b_rest.shape[axis], axis=axis)) + b_rest
    even = jnp.concatenate([lax.slice_in_dim(offsets, 0, 1, axis=axis), even], axis)
    return _interleave(even, odd, axis)


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    count = odd.shape[axis]
    paired = jnp.stack([lax.slice_in_dim(even, 0, count, axis=axis), odd], axis + 1)
    merged = paired.reshape((*odd.shape[:axis], 2 * count, *odd.shape[axis + 1 :]))
    return jnp.concatenate([merged, lax.slice_in_dim(even, count, None, axis=axis)], axis)


def _products(a: Array, kind: type, axis: int, block: int) -> Array:
    """A_t ... A_1 for the steps of a block along an axis, one after the other, as states are."""

    def body(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        product, products = carry
        product = kind(at_time(a, t, axis)).compose(kind(product)).a
        return product, lax.dynamic_update_index_in_dim(products, product, t, axis)

    first = at_time(a, jnp.array(0), axis)
    products = jnp.broadcast_to(a, (*a.shape[:axis], block, *a.shape[axis + 1 :]))
    return lax.fori_loop(1, block, body, (first, products))[1]


def _blocked(steps: _Steps, offsets: Array) -> Array:
    """Blocks of time side by side, one step after the other in each, and then what each block
    hands to the next: block + time / block steps in a row instead of time."""
    axis, length = steps.time, offsets.shape[steps.time]
    block = tuned("block")
    count = -(-length // block)
    if count == 1:
        return _loop(steps, offsets, reverse=False, late=False)

    def cut(x: Array) -> Array:
        if x.shape[axis] == 1:
            return jnp.expand_dims(x, axis)
        # What is added comes after the last step and is cut off again.
        rest = [(0, count * block - length if i == axis else 0) for i in range(x.ndim)]
        return jnp.pad(x, rest).reshape((*x.shape[:axis], count, block, *x.shape[axis + 1 :]))

    inside = _Steps(cut(steps.a), tuple(map(cut, steps.flags)), steps.names, steps.kind)
    states = _loop(inside, cut(offsets), reverse=False, late=False)
    # What becomes of the state before a block: the products of A, and whether one forgot it.
    products = _products(inside.a, steps.kind, axis + 1, block)
    forgotten = tuple(lax.cummax(flag.astype(jnp.int8), axis + 1) > 0 for flag in inside.flags)
    since = _Steps(products, forgotten, steps.names, steps.kind)

    def end(x: Array) -> Array:
        return lax.index_in_dim(x, block - 1, axis + 1, keepdims=False)

    whole = _Steps(end(products), tuple(map(end, forgotten)), steps.names, steps.kind)
    before = shifted(_loop(whole, end(states), reverse=False, late=False), 1, axis)
    states = states + _handed_on(since, jnp.expand_dims(before, axis + 1))
    states = states.reshape((*offsets.shape[:axis], count * block, *offsets.shape[axis + 1 :]))
    return lax.slice_in_dim(states, 0, length, axis=axis)


def _handed_on(since: _Steps, before: Array) -> Array:
    """What is left of the state before a block, after each of its steps.

    A 2x2 block acts by its entries here. As a sum over an axis of two products, which the compiler
    fuses into the addition that follows, it gives wrong numbers on the CPU with jaxlib 0.10.2.
    """
    if since.kind is not Block2x2:
        return since.through(before)
    rows = [[since.a[..., i, j, :] * before[..., j, :] for j in range(2)] for i in range(2)]
    return since.finish(jnp.stack([one + other for one, other in rows], -2), before)


ALGORITHMS = {
    "loop": _loop,
    "blocked": functools.partial(_in_order, _blocked),
    "associative": functools.partial(_in_order, _associative),
}


# --- the primitive of the recurrence --------------------------------------------------------------


def _run(a, offsets, *flags, form: Form):
    kind = form.kind
    if form.algorithm == "kernel":
        if takes(kind, offsets):
            given = dict(zip(form.names, flags))
            return diagonal(a, offsets, given, reverse=form.reverse, late=form.late)
        form = form._replace(algorithm="associative")
    if issubclass(kind, AbstractOneHot):
        a, kind = packed(a, kind)
    steps = _Steps(a, flags, form.names, kind)
    if form.mesh_axis is not None and lax.axis_size(form.mesh_axis) > 1:
        return _over_devices(steps, offsets, form)
    return ALGORITHMS[form.algorithm](steps, offsets, form.reverse, form.late)


def _over_devices(steps: _Steps, offsets: Array, form: Form) -> Array:
    """The states of this device's steps: as if nothing came before, to know what it hands on; and
    again, with what it is handed."""
    axis, mesh_axis, reverse, late = steps.time, form.mesh_axis, form.reverse, form.late
    assert mesh_axis is not None
    first, last = ends(offsets, axis, reverse)
    states = ALGORITHMS[form.algorithm](steps, offsets, reverse, late)
    end = lax.slice_in_dim(states, last, last + 1, axis=axis)
    if late:
        end = _handed_on(steps.cut(last), end)
    whole = steps.whole(offsets.shape[axis])

    def compose(later: tuple, earlier: tuple) -> tuple:
        (a, flags, b), (a_earlier, flags_earlier, b_earlier) = later, earlier
        b = _handed_on(_Steps(a, flags, whole.names, whole.kind), b_earlier) + b
        flags = tuple(one | other for one, other in zip(flags, flags_earlier))
        return whole.kind(a).compose(whole.kind(a_earlier)).a, flags, b

    entering = before((whole.a, whole.flags, end), compose, mesh_axis, reverse)[2]
    if not late:
        entering = _handed_on(steps.cut(first), entering)
    offsets = plus_at(offsets, first, entering, axis)
    return ALGORITHMS[form.algorithm](steps, offsets, reverse, late)


def _recurrence_jvp(primals, tangents, *, form: Form):
    """h_t + dh_t for A_t + dA_t, b_t + db_t: the same recurrence with dA_t h_{t-1} + db_t."""
    a, offsets, *flags = primals
    a_dot, offsets_dot, *_ = tangents
    states = _recurrence_p.bind(*primals, form=form)
    if is_zero(a_dot):
        offsets_dot = as_array(offsets_dot)
        return states, _recurrence_p.bind(a, offsets_dot, *flags, form=form)
    steps = _Steps(a_dot, tuple(flags), form.names, form.kind)
    ahead = -1 if form.reverse else 1
    moved = product_over_time(a_dot, states, form.kind, 0 if form.late else ahead)
    first, last = ends(states, steps.time, form.reverse)
    if form.mesh_axis is not None and not form.late:
        entering = lax.slice_in_dim(states, last, last + 1, axis=steps.time)
        entering = handed_on(entering, form.mesh_axis, form.reverse)
        at_first = _Steps(a_dot, (), (), form.kind).cut(first)
        moved = plus_at(moved, first, _handed_on(at_first, entering), steps.time)
    # What a mask holds or a barrier forgets does not depend on A.
    moved = steps.finish(moved, jnp.zeros_like(moved))
    if form.late:
        end = lax.slice_in_dim(moved, last, last + 1, axis=steps.time)
        moved = shifted(moved, ahead, steps.time)
        if form.mesh_axis is not None:
            entering = handed_on(end, form.mesh_axis, form.reverse)
            moved = plus_at(moved, first, entering, steps.time)
    forcing = moved if is_zero(offsets_dot) else moved + offsets_dot
    return states, _recurrence_p.bind(a, forcing, *flags, form=form)


def _recurrence_transpose(cotangent, a, offsets, *flags, form: Form):
    """Linear in the offsets: A_t transposed, the other way round, after its step not before it."""
    if is_asked(a):
        raise TypeError("a recurrence is linear in its offsets alone: A has no transpose")
    if is_zero(cotangent):
        return None, cotangent, *(None for _ in flags)
    transposed = form.kind(a).transpose()
    mirrored = form._replace(kind=type(transposed), reverse=not form.reverse, late=not form.late)
    cotangent = _recurrence_p.bind(transposed.a, cotangent, *flags, form=mirrored)
    return None, cotangent, *(None for _ in flags)


def _recurrence_batch(arguments, dims, *, form: Form):
    a, offsets, *flags = batched(arguments, dims)
    (size,) = jnp.broadcast_shapes(*(x.shape[:1] for x in (a, offsets, *flags)))
    offsets = jnp.broadcast_to(offsets, (size, *offsets.shape[1:]))
    return _recurrence_p.bind(a, offsets, *flags, form=form), 0


_recurrence_p = define(
    "linear_recurrence",
    _run,
    lambda a, offsets, *flags, form: offsets.update(weak_type=False),
    static=["form"],
    several=False,
)
on_jvp(_recurrence_p, _recurrence_jvp)
on_transpose(_recurrence_p, _recurrence_transpose)
on_vmap(_recurrence_p, _recurrence_batch)
