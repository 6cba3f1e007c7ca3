"""Many models as one module, whose arrays have the members on axis 0.

`eqx.filter_vmap(make)(jax.random.split(key, n))` makes such a population.
"""

from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..data.batches import Batch
from .evaluate import weighed
from .losses import count_targets, predict
from .step import split_loss


def member(population: Any, index: int) -> Any:
    """One model of a population. IndexError where there is none of this number."""
    size = population_size(population)
    if not -size <= index < size:
        raise IndexError(f"expected a member from 0 to {size - 1}, got {index}")
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, population)


def ensemble(
    population: Any, batch: Batch, *, transform: Callable = lambda predictions: predictions
) -> tuple[Array, Array]:
    """The mean and the standard deviation of what the members say of a batch, in inference mode.

    `transform` is applied to each member's predictions first: `jax.nn.softmax` for classes, whose
    probabilities are what one averages.
    """
    population_size(population)
    models = eqx.nn.inference_mode(population)
    said = eqx.filter_vmap(lambda model: transform(predict(model, batch)))(models)
    return jnp.mean(said, axis=0), jnp.std(said, axis=0)


def population_size(population: Any) -> int:
    """How many members there are. ValueError where arrays do not agree on it."""
    arrays = [leaf for leaf in jax.tree.leaves(population) if eqx.is_array(leaf)]
    sizes = {leaf.shape[:1] for leaf in arrays}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "expected a population, arrays with the members on axis 0: make one by "
            "eqx.filter_vmap(make)(jax.random.split(key, n))"
        )
    return sizes.pop()[0]


def over_members(function: Callable) -> Callable:
    """The function for every member of its arguments: at once, or on a CPU in turn.

    XLA has no fast product of stacked matrices there, so that 16 GRUs at once take twice as long as
    one after the other.
    """
    if jax.default_backend() != "cpu":
        return eqx.filter_vmap(function)

    def in_turn(*arguments):
        arrays, static = eqx.partition(arguments, eqx.is_array)
        # `lax.map` carries arrays alone; what else a result holds is the same for every member,
        # and tracing the function once leaves it here.
        others = []

        def one(arrays):
            results, other = eqx.partition(function(*eqx.combine(arrays, static)), eqx.is_array)
            others.append(other)
            return results

        return eqx.combine(jax.lax.map(one, arrays), others[0])

    return in_turn


def assess_members(
    population: Any, parts: Iterable[Batch], loss: Callable
) -> dict[str, np.ndarray]:
    """`evaluate` of every member, for batches that are checked."""
    models = eqx.nn.inference_mode(population)
    return weighed(lambda part: _assess(models, part, loss), parts)


@eqx.filter_jit
def _assess(models: Any, batch: Batch, loss: Callable):
    def one(model):
        value, metrics = split_loss(loss(model, batch, key=None))
        return {"loss": value, **metrics}

    return over_members(one)(models), count_targets(batch)
