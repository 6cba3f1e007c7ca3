"""Losses and metrics of a model on data it is not trained on."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from ..data import batches
from ..data.batches import Batch
from .devices import place
from .feeds import in_memory
from .losses import BatchCheck, check_batch, count_targets
from .step import split_loss


def evaluate(
    model: Any, data: Any, *, loss: Callable[..., Any], batch_size: int = 256
) -> dict[str, float]:
    """The loss and the metrics over all of `data`, a `Batch`, in inference mode.

    Batches are weighted by their targets (valid steps where there is a target for each step,
    samples otherwise), so `batch_size` does not change the result of a loss that is a mean.
    ValueError for labels that the model has no output for, and without any valid target.
    """
    check_batch(loss, model, data)
    return assess(model, data, loss, batch_size)


def assess(
    model: Any, data: Batch, loss: Callable, batch_size: int, sharding: Any = None
) -> dict[str, float]:
    """`evaluate` for data that are checked, whose batches may lie on several devices."""
    model = eqx.nn.inference_mode(model)
    parts = batches(data, batch_size)
    if not in_memory(data):
        parts = map(BatchCheck(functools.partial(check_batch, loss, model), loss), parts)
    outcomes = [_assess(model, place(part, sharding), loss) for part in parts]
    parts = [(outcome, float(weight)) for outcome, weight in jax.device_get(outcomes)]
    total = sum(weight for _, weight in parts)
    if not total:
        raise ValueError("there is nothing to evaluate: no step of any sample is valid")
    # The loss of a batch without a valid step means nothing.
    parts = [(outcome, weight) for outcome, weight in parts if weight]
    names = sorted(parts[0][0], key=lambda name: name != "loss")
    return {name: sum(float(o[name]) * w for o, w in parts) / total for name in names}


@eqx.filter_jit
def _assess(model: Any, batch: Batch, loss: Callable):
    value, metrics = split_loss(loss(model, batch, key=None))
    return {"loss": value, **metrics}, count_targets(batch)
