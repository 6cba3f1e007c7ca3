"""Losses over batches: `loss(model, batch, *, key=None) -> (scalar, metrics)`."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from .._common.checks import check_positive
from ..data.batches import Batch
from ..data.dataset import NO_TARGET
from ..layers.batching import batch as batched
from ..models.missing_inputs import takes_missing
from ..reservoir._samples import check_finite, check_targets
from .feeds import in_memory


Metrics = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class PredictionLoss:
    """A loss that sees the model's predictions only, which any loss here is.

    - `function(predictions, batch) -> (scalar, metrics)`: gives a mean over targets, and a dict of
      scalars that are means over the same targets.
    - `check(shape, batch)`: is called once on the host by `fit` and `evaluate`, with the shape of
      the predictions for one sample, and raises for what cannot be checked under jit.

    Called with a model it runs `rz.batch(model)` on what the batch holds. Being apart from the
    model, `function` also applies to a part of a sequence, as truncated backpropagation needs.
    """

    function: Callable[[Any, Batch], tuple[Any, Metrics]]
    check: Callable[[tuple[int, ...], Batch], None] | None = None

    def __call__(self, model: Any, batch: Batch, *, key: Any = None) -> tuple[Any, Metrics]:
        """The loss and the metrics of a model on a batch."""
        return self.function(predict(model, batch, key=key), batch)


def predict(model: Any, batch: Batch, *, key: Any = None) -> Array:
    """What a model says of each sample of a batch."""
    return batched(model)(batch.x, mask=batch.mask, dt=batch.dt, reset=batch.reset, key=key)


def count_targets(batch: Batch) -> Any:
    """The number of targets: valid steps that have one where targets are per step, samples where
    they are not. A vector counts by the share of its entries that were observed."""
    if jnp.issubdtype(batch.y.dtype, jnp.inexact):
        seen, mask = ~jnp.isnan(jnp.asarray(batch.y)), _target_mask(batch)
        entries = max(math.prod(seen.shape[2 if batch.per_step else 1 :]), 1)
        return jnp.sum(seen if mask is None else seen & _align(mask, seen)) / entries
    if not batch.per_step:
        return len(batch)
    mask = _target_mask(batch)
    return np.prod(batch.x.shape[:2]) if mask is None else jnp.sum(mask)


def _mean(values: Array, mask: Array | None) -> Array:
    """The mean over all axes, of what `mask` (a prefix of the axes) selects."""
    if mask is None:
        return jnp.mean(values)
    values = jnp.where(_align(mask, values), values, 0)
    count = jnp.sum(mask) * (values.size // max(mask.size, 1))
    return jnp.sum(values) / jnp.maximum(count, 1).astype(values.dtype)


def _align(mask: Array, values: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))


def _target_mask(batch: Batch) -> Array | None:
    """Where there are targets, (samples, time); None where that is everywhere."""
    if not batch.per_step:
        return None
    mask, y = None if batch.mask is None else jnp.asarray(batch.mask), jnp.asarray(batch.y)
    if y.ndim > 2 or not jnp.issubdtype(y.dtype, jnp.integer):
        return mask
    return (y != NO_TARGET) if mask is None else mask & (y != NO_TARGET)


def _at_least_float32(values: Array) -> Array:
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _cross_entropy(
    predictions: Array,
    batch: Batch,
    class_weights: tuple[float, ...] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Array, Metrics]:
    labels, mask = jnp.asarray(batch.y), _target_mask(batch)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"expected y to hold integer labels, got {labels.dtype}")
    if labels.shape != predictions.shape[:-1]:
        raise _misfit(predictions.shape, labels.shape, labels.shape + ("classes",))
    logits = _at_least_float32(predictions)
    if mask is not None:
        # Hidden steps must not reach the gradient either, so they are exchanged beforehand.
        logits = jnp.where(mask[..., None], logits, 0)
        labels = jnp.where(mask, labels, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if label_smoothing:
        even = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * even
    if class_weights is not None:
        losses = losses * jnp.asarray(class_weights, losses.dtype)[labels]
    right = (jnp.argmax(logits, axis=-1) == labels).astype(losses.dtype)
    return _mean(losses, mask), {"accuracy": _mean(right, mask)}


def _entries(predictions: Array, batch: Batch) -> tuple[Array, Array, Array]:
    """Predictions and targets of one shape, and which targets were observed. The others are 0 in
    both: they must not reach the gradient either."""
    targets, mask = jnp.asarray(batch.y), _target_mask(batch)
    if targets.shape != predictions.shape:
        raise _misfit(predictions.shape, targets.shape, targets.shape)
    predictions = _at_least_float32(predictions)
    targets = targets.astype(predictions.dtype)
    seen = ~jnp.isnan(targets)
    if mask is not None:
        seen &= _align(mask, targets)
    predictions, targets = (jnp.where(seen, a, 0) for a in (predictions, targets))
    return predictions, targets, seen


def _over_seen(values: Array, seen: Array) -> Array:
    """The mean over what was observed."""
    total = jnp.sum(jnp.where(seen, values, 0))
    return total / jnp.maximum(jnp.sum(seen), 1).astype(total.dtype)


def _mse(predictions: Array, batch: Batch) -> tuple[Array, Metrics]:
    predictions, targets, seen = _entries(predictions, batch)
    total = jnp.sum(optax.squared_error(predictions, targets))
    return total / jnp.maximum(jnp.sum(seen), 1).astype(total.dtype), {}


def _binary_cross_entropy(predictions: Array, batch: Batch) -> tuple[Array, Metrics]:
    logits, targets, seen = _entries(predictions, batch)
    losses = optax.sigmoid_binary_cross_entropy(logits, targets)
    right = ((logits > 0) == (targets > 0.5)).astype(losses.dtype)
    return _over_seen(losses, seen), {"accuracy": _over_seen(right, seen)}


def _misfit(predictions: tuple, targets: tuple, expected: tuple) -> ValueError:
    mend = "the last axis of the predictions is the model's output_size"
    if len(predictions) > len(expected):
        mend = 'for one target per sample build the model with pool="last" or pool="mean"'
        if predictions[: len(targets)] == targets and predictions[len(targets) :] == (1,):
            mend = "give y a feature axis, y[..., None]"
    elif len(predictions) < len(expected):
        mend = "build the model with pool=None for per-step targets"
    wanted = ", ".join(map(str, expected))
    return ValueError(
        f"the predictions have shape {predictions} and y has shape {targets}, for which "
        f"predictions of shape ({wanted}) are needed: {mend}"
    )


def _check_labels(shape: tuple[int, ...], batch: Batch) -> None:
    labels, classes = np.asarray(batch.y), shape[-1]
    mask = _target_mask(batch)
    labels = labels if mask is None else labels[np.asarray(mask)]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise ValueError(
            f"expected labels from 0 to {classes - 1}, the model's {classes} outputs, got "
            f"{wrong[0]}: steps without a label have {NO_TARGET}"
        )


def _check_observed(shape: tuple[int, ...], batch: Batch) -> None:
    if not jnp.issubdtype(batch.y.dtype, jnp.inexact):
        return
    targets, mask = np.asarray(batch.y, np.float64), _target_mask(batch)
    keep = np.ones(targets.shape[:1], bool) if mask is None else np.asarray(mask)
    if np.isinf(targets).any():
        axes = ("sample", "step", "feature") if batch.per_step else ("sample", "feature")
        check_targets(jnp.asarray(batch.y), keep, axes)
    keep = keep.reshape(keep.shape + (1,) * (targets.ndim - keep.ndim))
    if keep.any() and not (keep & ~np.isnan(targets)).any():
        raise ValueError("expected at least one target, got NaN, a missing one, at every step")


def _check_shares(shape: tuple[int, ...], batch: Batch) -> None:
    _check_observed(shape, batch)
    targets, mask = np.asarray(batch.y), _target_mask(batch)
    keep = np.ones(targets.shape, bool)
    if mask is not None:
        keep &= np.asarray(mask).reshape(mask.shape + (1,) * (targets.ndim - mask.ndim))
    wrong = targets[keep & ((targets < 0) | (targets > 1))]
    if wrong.size:
        raise ValueError(
            f"expected y from 0 to 1, the probability of yes, got {wrong[0]}: a target that was "
            "not observed is NaN"
        )


cross_entropy = PredictionLoss(_cross_entropy, _check_labels)
"""The softmax cross-entropy of logits with whole-number labels, one a sample or one a step.

Its metric is `accuracy`. Masked steps count for neither.
"""
mse = PredictionLoss(_mse, _check_observed)
"""The mean squared error over samples, features and, where targets are per step, valid steps.

A NaN in y is a target that was not observed: the mean is over the others, entry by entry.
"""


binary_cross_entropy = PredictionLoss(_binary_cross_entropy, _check_shares)
"""The cross-entropy of yes or no for each output, which is a logit: for labels that exclude each
other take `cross_entropy`.

y has the shape of the predictions, (samples, outputs) or (samples, time, outputs), and holds 0, 1
or what lies between; a NaN in it was not observed. The metric is `accuracy`, of each output.
"""


@functools.cache
def _cross_entropy_with(
    class_weights: tuple[float, ...] | None, label_smoothing: float
) -> PredictionLoss:
    def function(predictions: Array, batch: Batch) -> tuple[Array, Metrics]:
        return _cross_entropy(predictions, batch, class_weights, label_smoothing)

    def check(shape: tuple[int, ...], batch: Batch) -> None:
        if class_weights is not None and len(class_weights) != shape[-1]:
            raise ValueError(
                f"expected class_weights for the model's {shape[-1]} outputs, got "
                f"{len(class_weights)}"
            )
        _check_labels(shape, batch)

    return PredictionLoss(function, check)


def cross_entropy_with(
    *, class_weights: Any = None, label_smoothing: float = 0.0
) -> PredictionLoss:
    """`cross_entropy` for classes of unequal weight, or with softened labels.

    - `class_weights`: a number of at least 0 for each class, which multiplies the losses of its
      targets. The mean is over the targets, whatever their weights, so that it does not depend on
      how the data are cut; torch divides by the sum of the weights.
    - `label_smoothing`, in [0, 1): this share of each label is spread evenly over all classes.

    Equal arguments give one object, so that a step does not compile twice. ValueError for other
    numbers, and when it is used for another number of classes than the model has outputs.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"expected label_smoothing in [0, 1), got {label_smoothing}")
    weights = None if class_weights is None else tuple(map(float, class_weights))
    if weights is not None and not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"expected class_weights of at least 0 each, got {weights}")
    return _cross_entropy_with(weights, float(label_smoothing))


def huber(delta: float = 1.0) -> PredictionLoss:
    """`mse` for data with outliers: half the squared error up to `delta`, above it `delta` times
    the distance, less half of `delta` squared.

    Equal arguments give one object. ValueError for a `delta` that is not above 0.
    """
    return _huber(check_positive("delta", delta))


@functools.cache
def _huber(delta: float) -> PredictionLoss:
    def function(predictions: Array, batch: Batch) -> tuple[Array, Metrics]:
        predictions, targets, seen = _entries(predictions, batch)
        return _over_seen(optax.huber_loss(predictions, targets, delta=delta), seen), {}

    return PredictionLoss(function, _check_observed)


def fault_of(name: str, batch: Any, model: Any) -> str:
    """The first value of a batch, at a valid step, that is not finite, in words; or that there is
    none. NaN in x is no fault for a model that takes missing values."""
    if not isinstance(batch, Batch) or not in_memory(batch):
        return f"{name}, read batch by batch, were not searched for NaN"
    x = np.asarray(batch.x)
    if takes_missing(model):
        x = np.where(np.isnan(x), np.zeros_like(x), x)
    try:
        check_finite("x", x, batch.mask, ("sample", "step", "feature"))
        if batch.dt is not None:
            check_finite("dt", batch.dt, batch.mask, ("sample", "step"))
    except ValueError as error:
        return f"in {name}: {error}"
    return f"{name} are finite"


def of_data(loss: Any) -> Any:
    """The loss without its penalties, which says what data it takes."""
    return getattr(loss, "data_loss", loss)


class BatchCheck:
    """Checks batches as they come: the first of each shape entirely, the targets of all."""

    def __init__(self, check: Callable[[Batch], tuple[int, ...] | None], loss: Any):
        self.check, self.loss = check, of_data(loss)
        self.shapes: dict[Any, tuple[int, ...] | None] = {}

    def __call__(self, batch: Batch) -> Batch:
        form = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(batch))
        form = (jax.tree.structure(batch), form)
        if form not in self.shapes:
            self.shapes[form] = self.check(batch)
        elif (shape := self.shapes[form]) is not None and self.loss.check is not None:
            self.loss.check(shape, batch)
        return batch


def check_batch(loss: Any, model: Any, batch: Any) -> tuple[int, ...] | None:
    """What a `PredictionLoss` can say of a batch before anything runs. The shape of what the model
    says of a sample, where it is known.

    Targets that are only indexed are not read.
    """
    if not isinstance(batch, Batch):
        raise TypeError(f"expected a rnn_zoo.data.Batch, got {type(batch).__name__}")
    if len(batch) == 0:
        raise ValueError("expected at least one sample, got an empty batch")
    loss = of_data(loss)
    if not isinstance(loss, PredictionLoss):
        return None
    reads_tokens = getattr(model, "reads_tokens", None)
    if reads_tokens is False and np.ndim(batch.x) == 2:
        raise ValueError(
            f"expected x of shape (samples, time, {model.input_size}), got {np.shape(batch.x)}: "
            "for tokens give the model an embedding, make_model(..., embedding_size=...), or load "
            'them with encoding="one_hot"; numbers need an axis of features, x[..., None]'
        )
    model, one = eqx.nn.inference_mode(model), batch[:1]
    predictions = eqx.filter_eval_shape(predict, model, one)
    eqx.filter_eval_shape(loss.function, predictions, one)
    if loss.check is not None and in_memory(batch):
        loss.check(predictions.shape[1:], batch)
    return predictions.shape[1:]
