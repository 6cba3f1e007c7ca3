"""One update: the jitted steps that training repeats."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax import Array, lax
from jax.sharding import NamedSharding
from jaxtyping import PyTree

from ..data.batches import Batch
from ..layers.batching import batch as batched
from .devices import gradient_over, keys_of_samples
from .forcing import TeacherForcing
from .losses import PredictionLoss, count_targets
from .lowered import in_dtype
from .placement import replicate


# How many batches may be under way before the oldest one is waited for: waiting for each would make
# the device wait for the host as well.
LOOK_BACK = 8


class Progress(NamedTuple):
    """What one update hands to the next."""

    model: Any
    opt_state: Any
    step: Array
    """Updates done so far."""
    finite: Array
    """False from the first loss or gradient on that is not finite; then nothing changes."""
    average: Any = None
    """With `ema`, its state and the averaged parameters."""


class UpdateRule(NamedTuple):
    """How an update is made. It stays the same object over a run, so that jit compiles once."""

    loss: Any
    optimizer: Any
    """Of a population it may be a function, of which each member makes its own optimiser."""
    augment: Callable | None
    truncate: int | None
    """Steps of a segment of truncated backpropagation through time; None for whole sequences."""
    ema: Any = None
    """An optax transformation that turns the parameters of each update into their average."""
    sharding: NamedSharding | None = None
    """How the samples of a batch lie on devices."""
    compute_dtype: Any = None
    """What matrices and inputs are cast to for the loss; None for what they have."""


def trainable(model: PyTree) -> PyTree:
    """Which leaves of a model train: a tree of bools, for `eqx.partition` and `eqx.filter`.

    All floating-point arrays do; what must not train is not stored as one (`rz.Frozen`).
    """
    return jax.tree.map(eqx.is_inexact_array, model)


def start(model: Any, optimizer: Any, opt_state: Any = None, ema: Any = None) -> Progress:
    """Progress before the first update. ValueError for the state of another optimiser."""
    params = eqx.filter(model, trainable(model))
    if opt_state is None:
        opt_state = optimizer.init(params)
    else:
        _check_opt_state(optimizer, params, opt_state)
    average = None if ema is None else (ema.init(params), params)
    step, finite = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    return Progress(_settle(model), _settle(opt_state), step, finite, _settle(average))


def _check_opt_state(optimizer: Any, params: PyTree, given: PyTree) -> None:
    def form(tree):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]

    if form(given) != form(eqx.filter_eval_shape(optimizer.init, params)):
        raise ValueError(
            "expected opt_state as this optimizer makes it for this model, got one of another "
            "structure, shape or dtype: give `result.opt_state` of a run with the same optimizer "
            "and model, or leave it out to start anew"
        )


def averaged(progress: Progress) -> Any:
    """The model with the averaged parameters; None without `ema`."""
    if progress.average is None:
        return None
    return eqx.combine(progress.average[1], progress.model)


def _settle(tree: PyTree) -> PyTree:
    """JAX arrays without weak types, as an update returns them: else it would compile twice."""

    def settle(leaf):
        plain = eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jnp.asarray(leaf, leaf.dtype) if plain else leaf

    return jax.tree.map(settle, tree)


def take_step(
    progress: Progress, batch: Batch, key: Any, rule: UpdateRule
) -> tuple[Progress, dict[str, Array]]:
    """One step on one batch: the progress after it, and its loss and metrics."""
    if rule.truncate is not None:
        return _in_segments(progress, batch, key, rule, rule.truncate)
    batch, key_loss = _augmented(rule, batch, jr.fold_in(key, progress.step))

    def of_part(params, rest, batch, key, state):
        value, metrics = split_loss(loss(eqx.combine(params, rest), batch, key=key))
        return value, (metrics, state)

    loss = _at(rule.loss, progress.step)
    progress, value, (metrics, _) = _descend(progress, of_part, rule, (batch, key_loss, None))
    return replicate(progress, rule.sharding), {"loss": value, **metrics}


def _at(loss: Callable, step: Array) -> Callable:
    """A loss as it is at this step, where it has a schedule."""
    return functools.partial(loss, step=step) if isinstance(loss, TeacherForcing) else loss


def _gradient_of(rule: UpdateRule, of_part: Callable, on: tuple[Batch, Any, PyTree]) -> Callable:
    """`(params, rest) -> ((value, more), gradient)` of a loss on a batch, which several devices
    may share."""
    batch, key, state = on
    if rule.sharding is None:

        def objective(params, rest):
            return of_part(params, rest, batch, key, state)

        return eqx.filter_value_and_grad(objective, has_aux=True)

    def one(params, rest, batch, keys, state):
        own = keys if isinstance(rule.loss, PredictionLoss) else keys[0]
        return of_part(params, rest, batch, own, state)

    keys = keys_of_samples(rule.loss, key, len(batch), rule.sharding)
    return gradient_over(rule.sharding, one, batch, keys, state)


def _augmented(rule: UpdateRule, batch: Batch, key: Any) -> tuple[Batch, Any]:
    key_augment, key_loss = jr.split(key)
    return (batch if rule.augment is None else rule.augment(batch, key_augment)), key_loss


def split_loss(returned: Any) -> tuple[Array, dict[str, Array]]:
    """The scalar and the metrics of a loss that returns one or both."""
    value, metrics = returned if isinstance(returned, tuple) else (returned, {})
    if jnp.shape(value) != ():
        raise ValueError(f"expected the loss to be a scalar, got shape {jnp.shape(value)}")
    return jnp.asarray(value), metrics


def _descend(
    progress: Progress,
    of_part: Callable,
    rule: UpdateRule,
    on: tuple[Batch, Any, PyTree],
    wanted: Any = True,
):
    """The progress after an update along the gradient of `of_part(params, rest, *on) -> (loss,
    more)`, the loss, and what else it gives. `on` is a batch, a key and the states of its samples,
    or None. Where the update is not `wanted`, or is not finite, nothing changes."""
    of_part = in_dtype(of_part, rule.compute_dtype)
    params, rest = eqx.partition(progress.model, trainable(progress.model))
    (value, more), grads = _gradient_of(rule, of_part, on)(params, rest)
    # The device alone knows whether this is finite: the update is made there and dropped there, by
    # `choose`, so that the host need not wait for each step.
    finite = progress.finite & jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(grads))
    updates, opt_state = optax.with_extra_args_support(rule.optimizer).update(
        grads,
        progress.opt_state,
        params,
        value=value,
        grad=grads,
        value_fn=lambda p: of_part(p, rest, *on)[0],
    )
    model = eqx.apply_updates(progress.model, updates)
    average = progress.average
    if rule.ema is not None:
        new, state = rule.ema.update(eqx.filter(model, trainable(model)), average[0])
        average = (state, new)
    taken = Progress(model, opt_state, progress.step + 1, finite, average)
    kept = progress._replace(finite=finite)
    return choose(finite & wanted, taken, kept), value, more


def choose(condition: Any, one: PyTree, other: PyTree) -> PyTree:
    """A select over the arrays of two trees, in the dtypes of the second: a product would let
    NaN through, and another dtype would compile the next step anew."""

    def choose(a, b):
        if not eqx.is_array(b):
            return b
        return jnp.where(condition, a if a.dtype == b.dtype else a.astype(b.dtype), b)

    return jax.tree.map(choose, one, other)


update = eqx.filter_jit(take_step)


def _in_segments(
    progress: Progress, batch: Batch, key: Any, rule: UpdateRule, size: int
) -> tuple[Progress, dict[str, Array]]:
    """One pass over a batch in segments of `size` steps, an update after each.

    The state is carried from segment to segment, the gradient is not, so memory does not grow
    with the length of the sequence.
    """
    batch, key = _augmented(rule, batch, jr.fold_in(key, progress.step))
    segments = _segments(batch, size)
    first = jnp.arange(segments.x.shape[0]) == 0
    keys = jr.split(key, segments.x.shape[0])
    weights = jax.vmap(lambda segment: jnp.asarray(count_targets(segment)))(segments)
    arrays, static = eqx.partition(progress, eqx.is_array)

    def body(carry, at):
        arrays, state = carry
        progress, state, metrics = _segment(eqx.combine(arrays, static), state, at, rule)
        return (eqx.filter(progress, eqx.is_array), state), metrics

    state = _initial(progress.model, len(batch))
    (arrays, _), metrics = lax.scan(body, (arrays, state), (segments, first, keys, weights))
    after = eqx.combine(arrays, static)
    # One batch counts as one step, however many segments it has.
    after = replicate(after._replace(step=progress.step + after.finite), rule.sharding)
    weights = weights / jnp.maximum(jnp.sum(weights), 1)
    return after, jax.tree.map(lambda m: jnp.sum(jnp.where(weights > 0, weights * m, 0)), metrics)


def _segment(progress: Progress, state: PyTree, at: tuple, rule: UpdateRule):
    batch, first, key, count = at

    def of_part(params, rest, batch, key, carried):
        model = eqx.combine(params, rest)
        # Only the first segment starts from the model's own state, which may be a parameter.
        before = choose(first, _initial(model, len(batch)), carried)
        after, predictions = batched(model.scan)(
            batch.x, before, mask=batch.mask, dt=batch.dt, reset=batch.reset, key=key
        )
        value, metrics = split_loss(rule.loss.function(predictions, batch))
        return value, (metrics, after)

    # A segment of padding has nothing to learn from; momentum or decay must not move it.
    on = (batch, key, lax.stop_gradient(state))
    progress, value, (metrics, state) = _descend(progress, of_part, rule, on, count > 0)
    return progress, state, {"loss": value, **metrics}


def _initial(model: Any, samples: int) -> PyTree:
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (samples, *jnp.shape(a))), model.init_state())


def _segments(batch: Batch, truncate: int) -> Batch:
    """(samples, time, ...) to (segments, samples, truncate, ...), padded behind a mask."""
    samples, time = batch.x.shape[:2]
    size = min(truncate, time)
    missing = -time % size
    mask = batch.mask
    if missing and mask is None:
        mask = jnp.ones((samples, time), bool)

    def pad(array, fill):
        if array is None or not missing:
            return array
        width = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
        return jnp.pad(array, width, constant_values=fill)

    padded = Batch(
        pad(batch.x, 0),
        pad(batch.y, 0),
        pad(mask, False),
        pad(batch.dt, 1),
        pad(batch.reset, False),
    )

    def cut(array):
        parts = array.reshape(samples, -1, size, *array.shape[2:])
        return jnp.moveaxis(parts, 1, 0)

    return jax.tree.map(cut, padded)


def check_truncate(model: Any, rule: UpdateRule, batch: Batch, key: Any) -> None:
    """What truncated backpropagation needs. TypeError or ValueError where it is missing."""
    if rule.truncate is None:
        return
    if rule.truncate < 1:
        raise ValueError(f"expected truncate of at least 1 step, got {rule.truncate}")
    if not isinstance(rule.loss, PredictionLoss):
        raise TypeError(
            "truncate applies the loss to parts of a sequence and needs a PredictionLoss, "
            f"such as cross_entropy or mse, got {rule.loss!r}"
        )
    if not batch.per_step:
        raise TypeError(
            f"truncate needs a target for every step; x has shape {batch.x.shape} and y has "
            f"shape {batch.y.shape}"
        )
    if not hasattr(model, "scan") or not hasattr(model, "init_state"):
        raise TypeError(f"truncate needs a model with a state, got {type(model).__name__}")
    # Stepping is what pooling and backward layers cannot do, and they say so themselves.
    eqx.filter_eval_shape(_one_step, model, batch.x[0, 0], key)


def _one_step(model: Any, x: Any, key: Any):
    return model.step(model.init_state(), x, key=key)
