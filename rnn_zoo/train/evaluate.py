"""Losses and metrics of a model on data it is not trained on."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..data.batches import Batch
from .feeds import held_out
from .losses import BatchCheck, check_batch, count_targets
from .placement import sharding_of, spread
from .step import LOOK_BACK, split_loss


def evaluate(
    model: Any,
    data: Any,
    *,
    loss: Callable[..., Any],
    batch_size: int | None = None,
    mesh: Any = None,
) -> dict[str, float]:
    """The loss and the metrics over all of `data`, in inference mode.

    `data`: a `Batch` with all the samples, which is cut into batches of `batch_size`, 256 by
    default; or any iterable of `Batch`es, which are taken as they come.

    Batches are weighted by their targets (valid steps where there is a target for each step,
    samples otherwise), so how the data are cut does not change the result of a loss that is a
    mean.

    `mesh`, as of `fit`: its devices share each batch that they can share equally. Where they are
    those of several processes, each calls this and gets the figures of all. A `Batch` is then the
    same in each, which reads its own rows; an iterable gives the part of its process alone.
    Without `mesh` a process evaluates by itself.

    ValueError for labels that the model has no output for, without any valid target, and for a
    `batch_size` of data that are cut already.
    """
    sharding = sharding_of(mesh)
    check = BatchCheck(functools.partial(check_batch, loss, model), loss)
    if isinstance(data, Batch):
        check_batch(loss, model, data)
    elif batch_size is not None:
        raise ValueError(
            "batch_size says how a Batch of all the samples is cut, and these data are batches "
            "that are cut already: leave it out"
        )
    size = 256 if batch_size is None else batch_size
    return assess(spread(model, sharding), held_out("data", data, check, size, sharding), loss)


def assess(model: Any, parts: Iterable[Batch], loss: Callable) -> dict[str, float]:
    """`evaluate` for batches that are checked, and lie on the devices of the model."""
    model = eqx.nn.inference_mode(model)
    figures = weighed(lambda part: _assess(model, part, loss), parts)
    return {name: float(figure) for name, figure in figures.items()}


def weighed(assess: Callable[[Batch], tuple], parts: Iterable[Batch]) -> dict[str, np.ndarray]:
    """The means, over all targets, of the figures that `assess(part) -> (figures, targets)` gives.

    ValueError where there is no target.
    """
    outcomes: list[tuple] = []
    for part in parts:
        outcomes.append(assess(part))
        # Batches that wait for the device take memory.
        jax.block_until_ready(outcomes[-LOOK_BACK:][0])
    found = [(outcome, float(weight)) for outcome, weight in jax.device_get(outcomes)]
    total = sum(weight for _, weight in found)
    if not total:
        reason = "no step of any sample is valid" if found else "the data gave no batch"
        raise ValueError(f"there is nothing to evaluate: {reason}")
    # The loss of a batch without a valid step means nothing.
    found = [(outcome, weight) for outcome, weight in found if weight]
    names = sorted(found[0][0], key=lambda name: name != "loss")
    return {
        name: np.asarray(sum(np.asarray(o[name], np.float64) * w for o, w in found) / total)
        for name in names
    }


@eqx.filter_jit
def _assess(model: Any, batch: Batch, loss: Callable):
    value, metrics = split_loss(loss(model, batch, key=None))
    return {"loss": value, **metrics}, count_targets(batch)
