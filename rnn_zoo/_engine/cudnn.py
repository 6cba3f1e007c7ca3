"""The LSTM of cuDNN: several layers, in one direction or both, with `vmap` and every derivative.

JAX calls it for a batch, has no rule for `vmap`, and knows lengths in the place of a mask. Here
samples are single, so the call is a primitive of its own, whose arrays have the axis of samples
that cuDNN needs; `vmap` makes that axis longer. Whether a mask is a length is seen when it runs,
for all samples together; if it is not, they run in the loop.

Operands are x (batch, time, inputs), h and c (layers * directions, batch, hidden), the weights as
cuDNN reads them (`packed`), and the mask (batch, time) or nothing. On the way there are, too, the
outputs y (batch, time, directions * hidden), and what cuDNN itself keeps for the way back.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .chunks import Way
from .loop import loop
from .mesh import vary_alike
from .unstable import as_array, define, is_asked, on_jvp, on_transpose, on_vmap
from .unstable_devices import (
    cudnn_lstm,
    cudnn_lstm_back,
    cudnn_reference,
    default_precision,
    has_cudnn,
)


# Whether JAX's own reference stands in for cuDNN, so that all but the call itself runs on any
# device: for tests and for the rehearsal of a benchmark. Part of the key of jax's caches.
_STAND_IN = jax.make_user_context(False)


@contextlib.contextmanager
def stand_in() -> Iterator[None]:
    """Inside, JAX's reference implementation is taken for cuDNN."""
    with _STAND_IN(True):
        yield


class Form(NamedTuple):
    """An LSTM without its operands."""

    input_size: int
    hidden_size: int
    layers: int
    both: bool
    tf32: bool
    stand_in: bool

    @property
    def directions(self) -> int:
        return 2 if self.both else 1

    @property
    def sizes(self) -> tuple:
        return self[:4]

    def shapes(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Of the matrices of each direction of each layer, in the order of cuDNN."""
        rows, found = 4 * self.hidden_size, []
        for i in range(self.layers * self.directions):
            wide = self.input_size if i < self.directions else self.directions * self.hidden_size
            found.append(((rows, wide), (rows, self.hidden_size)))
        return found


def missing() -> str:
    """What this machine lacks for cuDNN, in words; "" where it is there."""
    if _STAND_IN.value:
        return ""
    backend = jax.default_backend()
    version = jax.devices()[0].client.platform_version.lower()
    if backend != "gpu" or "cuda" not in version:
        return f"a CUDA device as JAX's default backend, which is {backend!r}"
    return "" if has_cudnn() else "a jaxlib with cuDNN, which this one is without"


def form(input_size: int, hidden_size: int, layers: int, both: bool) -> Form:
    """With the precision that matrix products have here: less than "highest" or "float32" lets
    cuDNN take TF32, as no word on it does."""
    precision = default_precision()
    exact = precision in ("highest", "float32") or precision.startswith("f32_f32")
    return Form(input_size, hidden_size, layers, both, not exact, _STAND_IN.value)


def packed(parts: Sequence[tuple[Array, Array, Array | None]]) -> Array:
    """(W_ih, W_hh, bias) of each direction of each layer as cuDNN reads them: all matrices, then
    all biases, of which it has two where our cells have one."""
    matrices, biases = [], []
    for w, u, bias in parts:
        zeros = jnp.zeros(w.shape[0], w.dtype)
        matrices += [w.ravel(), u.ravel()]
        biases += [zeros if bias is None else bias, zeros]
    return jnp.concatenate([*matrices, *biases])


def lstm(how: Form, x: Array, h: Array, c: Array, weights: Array, *mask: Array) -> list[Array]:
    """Outputs, and the last h and c, of one batch."""
    return _lstm_p.bind(*vary_alike(x, h, c, weights, *mask), form=how)


# --- what is computed -----------------------------------------------------------------------------


def _forward(x, h, c, w, *mask, form: Form) -> list[Array]:
    return _forward_kept(x, h, c, w, *mask, form=form)[:3]


def _forward_kept(x, h, c, w, *mask, form: Form) -> list[Array]:
    """Outputs, h, c, and what cuDNN keeps."""
    lengths, fits = _as_lengths(x, *mask)
    direct = functools.partial(_call, form, (x, h, c, w, lengths))
    if fits is None:
        return direct()

    def stepwise() -> list[Array]:
        kept = jax.eval_shape(direct)[-1]
        return [*_stepwise(form, mask, x, h, c, w), jnp.zeros(kept.shape, kept.dtype)]

    return lax.cond(fits, direct, stepwise)


def _call(form: Form, operands: tuple) -> list[Array]:
    if form.stand_in:
        return [*cudnn_reference(operands, form.sizes), jnp.zeros(1, operands[0].dtype)]
    return list(cudnn_lstm(operands, form.sizes, form.tf32))


def _backward(dy, dh, dc, x, h, c, w, y, kept, *mask, form: Form) -> list[Array]:
    """The cotangents of x, h, c and the weights."""
    lengths, fits = _as_lengths(x, *mask)
    cotangents, operands = (dy, dh, dc), (x, h, c, w)

    def direct() -> list[Array]:
        if form.stand_in:
            run = lambda *at: cudnn_reference((*at, lengths), form.sizes)  # noqa: E731
            return list(jax.vjp(run, *operands)[1](cotangents))
        of_call = (*operands, lengths, y, kept)
        return list(cudnn_lstm_back(cotangents, of_call, form.sizes, form.tf32))

    if fits is None:
        return direct()
    pull = functools.partial(_pulled, form, mask, cotangents, *operands)
    return lax.cond(fits, direct, pull)


def _pulled(form: Form, mask: tuple, cotangents: tuple, *operands: Array) -> list[Array]:
    run = functools.partial(_stepwise, form, mask)
    return list(jax.vjp(run, *operands)[1](list(cotangents)))


def _moved(dx, dh, dc, dw, x, h, c, w, y, kept, *mask, form: Form) -> list[Array]:
    """The tangents of outputs, h and c, which cuDNN does not compute."""
    run = functools.partial(_stepwise, form, mask)
    return jax.jvp(run, (x, h, c, w), (dx, dh, dc, dw))[1]


def _as_lengths(x: Array, *mask: Array) -> tuple[Array, Array | None]:
    """How many steps of each sample are valid, and whether all samples have one at least and none
    behind one that is not; None without a mask."""
    if not mask:
        return jnp.full(x.shape[0], x.shape[1], jnp.int32), None
    (valid,) = mask
    lengths = valid.sum(1, dtype=jnp.int32)
    return lengths, jnp.all(valid[:, 1:] <= valid[:, :-1]) & jnp.all(lengths > 0)


def _stepwise(form: Form, mask: tuple, x, h, c, w) -> list[Array]:
    """Outputs, h and c, step by step: for any mask."""
    after = []
    parts = _unpacked(form, w)
    for layer in range(form.layers):
        found = []
        for direction in range(form.directions):
            i = layer * form.directions + direction
            run = functools.partial(_one_direction, parts[i], bool(direction))
            state, ys = jax.vmap(run)(h[i], c[i], x, *mask)
            after.append(state)
            found.append(ys)
        x = jnp.concatenate(found, -1)
    return [x, *(jnp.stack(states) for states in zip(*after))]


def _one_direction(part: tuple, reverse: bool, h, c, x, *mask) -> tuple[tuple, Array]:
    """Of one sample: the last (h, c), and the outputs (time, hidden)."""
    w, u, bias = part

    def step(state: tuple, at: tuple) -> tuple[tuple, Array]:
        (h, c), (x, *valid) = state, at
        i, f, g, o = jnp.split(w @ x + u @ h + bias, 4)
        memory = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        y = jax.nn.sigmoid(o) * jnp.tanh(memory)
        if not valid:
            return (y, memory), y
        held = jnp.where(valid[0], y, h), jnp.where(valid[0], memory, c)
        return held, jnp.where(valid[0], y, jnp.zeros_like(y))

    return loop(step, (h, c), (x, *mask), Way(x.shape[0], reverse))


def _unpacked(form: Form, weights: Array) -> list[tuple[Array, Array, Array]]:
    """The inverse of `packed`, with the sum of both biases."""
    shapes, parts, at = form.shapes(), [], 0
    first_bias = sum(int(np.prod(shape)) for pair in shapes for shape in pair)
    for i, pair in enumerate(shapes):
        matrices = []
        for shape in pair:
            size = int(np.prod(shape))
            matrices.append(weights[at : at + size].reshape(shape))
            at += size
        rows = pair[0][0]
        biases = weights[first_bias + 2 * i * rows : first_bias + 2 * (i + 1) * rows]
        parts.append((*matrices, biases[:rows] + biases[rows:]))
    return parts


# --- the primitives -------------------------------------------------------------------------------


def _push(primals, tangents, *, form: Form):
    """The tangents as an operation that is linear in those of the operands, and whose transpose is
    the way back of cuDNN."""
    *results, kept = _kept_p.bind(*primals, form=form)
    moved = map(as_array, tangents[:4])
    operands, mask = primals[:4], primals[4:]
    return results, _moved_p.bind(*moved, *operands, results[0], kept, *mask, form=form)


def _transposed(cotangents, *operands, form: Form):
    asked = [is_asked(operand) for operand in operands[:4]]
    cotangents = map(as_array, cotangents)
    found = _back_p.bind(*cotangents, *operands[4:], form=form)
    wanted = [x if wants else None for x, wants in zip(found, asked)]
    return *wanted, *(None for _ in operands[4:])


def _push_by(primitive: Any, number: int, evaluate: Callable) -> Callable:
    """The rule of derivatives for what is part of one: `evaluate` computes the same by operations
    that JAX differentiates, from the first `number` operands and those behind."""

    def rule(primals, tangents, *, form: Form):
        results = primitive.bind(*primals, form=form)
        given, rest = primals[:number], primals[number:]
        moved = tuple(map(as_array, tangents[:number]))
        pushed = jax.jvp(lambda *at: evaluate(form, at, rest), given, moved)[1]
        return results, [*pushed, *(jnp.zeros_like(x) for x in results[len(pushed) :])]

    return rule


def _merging(primitive: Any, inwards: tuple, outwards: tuple) -> Callable:
    """The rule of `vmap`: samples of samples are samples.

    `inwards` and `outwards` say which axis of an operand or a result is that of samples; None: it
    has none. Where one of these is another for each, or is asked for each, one call follows the
    other.
    """

    def rule(arguments, dims, *, form: Form):
        places = inwards + (0,) * (len(arguments) - len(inwards))  # the mask
        size = next(x.shape[d] for x, d in zip(arguments, dims) if d is not None)
        shared = all(dim is None for place, dim in zip(places, dims) if place is None)
        if None in outwards or not shared:
            return _one_by_one(primitive, arguments, dims, form), (0,) * len(outwards)
        merged = []
        for x, dim, place in zip(arguments, dims, places):
            if place is not None:
                if dim is None:
                    x, dim = jnp.broadcast_to(x, (size, *x.shape)), 0
                x = jnp.moveaxis(x, dim, place)
                x = x.reshape((*x.shape[:place], -1, *x.shape[place + 2 :]))
            merged.append(x)
        results = primitive.bind(*merged, form=form)
        results = [
            y.reshape((*y.shape[:place], size, -1, *y.shape[place + 1 :]))
            for y, place in zip(results, outwards)
        ]
        return results, outwards

    return rule


def _one_by_one(primitive: Any, arguments: Sequence, dims: Sequence, form: Form) -> list[Array]:
    def one(given: list) -> list[Array]:
        left = iter(given)
        operands = [x if d is None else next(left) for x, d in zip(arguments, dims)]
        return primitive.bind(*operands, form=form)

    over = [jnp.moveaxis(x, d, 0) for x, d in zip(arguments, dims) if d is not None]
    return lax.map(one, over)


def _types(evaluate: Callable) -> Callable:
    """The types of results: those of shapes, and as spread over devices as x."""

    def types(*operands, form: Form):
        found = jax.eval_shape(functools.partial(evaluate, form=form), *operands)
        like = operands[0]
        return [like.update(shape=x.shape, dtype=x.dtype, weak_type=False) for x in found]

    return types


def _defined(name: str, evaluate: Callable) -> Any:
    return define(name, evaluate, _types(evaluate), static=["form"], several=True)


_lstm_p = _defined("cudnn_lstm", _forward)
_kept_p = _defined("cudnn_lstm_kept", _forward_kept)
_moved_p = _defined("cudnn_lstm_moved", _moved)
_back_p = _defined("cudnn_lstm_back", _backward)

on_jvp(_lstm_p, _push)
on_transpose(_moved_p, _transposed)
_OPERANDS = (0, 1, 1, None)
on_vmap(_lstm_p, _merging(_lstm_p, _OPERANDS, (0, 1, 1)))
on_vmap(_kept_p, _merging(_kept_p, _OPERANDS, (0, 1, 1, None)))
on_vmap(_moved_p, _merging(_moved_p, (*_OPERANDS, *_OPERANDS, 0, None), (0, 1, 1)))
on_vmap(_back_p, _merging(_back_p, (0, 1, 1, *_OPERANDS, 0, None), _OPERANDS))
# For derivatives of derivatives: what is differentiated again is the loop.
on_jvp(_kept_p, _push_by(_kept_p, 4, lambda form, at, mask: _stepwise(form, mask, *at)))
on_jvp(_moved_p, _push_by(_moved_p, 8, lambda form, at, rest: _moved(*at, *rest, form=form)))
on_jvp(
    _back_p,
    _push_by(_back_p, 7, lambda form, at, rest: _pulled(form, rest[2:], tuple(at[:3]), *at[3:])),
)
