"""Losses and metrics of a model on data it is not trained on."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from ..data.batches import Batch, own_batches
from .feeds import in_memory
from .losses import BatchCheck, check_batch, count_targets
from .placement import own_rows, place, sharding_of, spread
from .step import split_loss


def evaluate(
    model: Any,
    data: Any,
    *,
    loss: Callable[..., Any],
    batch_size: int = 256,
    mesh: Any = None,
) -> dict[str, float]:
    """The loss and the metrics over all of `data`, a `Batch`, in inference mode.

    Batches are weighted by their targets (valid steps where there is a target for each step,
    samples otherwise), so `batch_size` does not change the result of a loss that is a mean.

    `mesh`, as of `fit`: its devices share each batch that they can share equally. Where they are
    those of several processes, each calls this with the same data, reads its own rows, and gets
    the figures of all. Without it a process evaluates by itself.

    ValueError for labels that the model has no output for, and without any valid target.
    """
    sharding = sharding_of(mesh)
    check_batch(loss, model, data)
    return assess(spread(model, sharding), data, loss, batch_size, sharding)


def assess(
    model: Any, data: Batch, loss: Callable, batch_size: int, sharding: Any = None
) -> dict[str, float]:
    """`evaluate` for data that are checked, whose batches may lie on several devices."""
    model = eqx.nn.inference_mode(model)
    parts = own_batches(data, batch_size, own=functools.partial(own_rows, sharding))
    if not in_memory(data):
        parts = map(BatchCheck(functools.partial(check_batch, loss, model), loss), parts)
    sizes = (min(batch_size, len(data) - first) for first in range(0, len(data), batch_size))
    placed = (place(part, sharding, size) for part, size in zip(parts, sizes))
    outcomes = [_assess(model, part, loss) for part in placed]
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
