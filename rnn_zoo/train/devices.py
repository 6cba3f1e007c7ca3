"""The gradient of a batch over several devices, with one reduction.

Left to the compiler, the gradient of a loop over time is summed over the devices at every step of
the loop. So each device takes the gradient of its own part, and the parts are summed once.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec as P
from jaxtyping import PyTree

from ..data.batches import Batch
from .losses import PredictionLoss, count_targets
from .placement import parts


def gradient_over(
    sharding: NamedSharding, objective: Callable, batch: Batch, key: Any, state: PyTree = None
) -> Callable:
    """`(params, rest) -> ((value, (metrics, own)), gradient)` of a loss that is a mean over
    targets.

    `objective(params, rest, batch, key, state) -> (value, (metrics, own))` sees the part of a
    device, `state` and `own` with the samples on axis 0; the means of the parts are weighed by
    their targets, as `evaluate` weighs batches.
    """
    axes = sharding.spec[0]

    def gradient(params: PyTree, rest: PyTree) -> Any:
        arrays, static = eqx.partition((params, rest), eqx.is_array)

        def local(arrays, batch, key, state):
            params, rest = eqx.combine(arrays, static)
            of_part = eqx.filter_value_and_grad(objective, has_aux=True)
            (value, (metrics, own)), grads = of_part(params, rest, batch, key, state)
            count = jnp.asarray(count_targets(batch), value.dtype)
            found = (value, metrics), grads
            # The loss of a part without a target means nothing.
            weighed = jax.tree.map(lambda a: jnp.where(count > 0, count * a, 0), found)
            flat, whole = ravel_pytree((weighed, count))
            summed, total = whole(lax.psum(flat, axes))
            mean = jax.tree.map(lambda a: a / jnp.maximum(total, 1).astype(a.dtype), summed)
            return mean, own

        ((value, metrics), grads), own = jax.shard_map(
            local,
            mesh=sharding.mesh,
            in_specs=(P(), P(axes), P(axes), P(axes)),
            out_specs=(P(), P(axes)),
            check_vma=False,  # the gradient of a part stays that of the part
        )(arrays, batch, key, state)
        return (value, (metrics, own)), grads

    return gradient


def keys_of_samples(loss: Any, key: Any, samples: int, sharding: NamedSharding) -> Any:
    """Keys for each part: those that the samples have on one device, where the loss maps over
    samples; else one for each part."""
    return jr.split(key, samples if isinstance(loss, PredictionLoss) else parts(sharding))
