"""What is added to a loss so that a network stays quiet and its weights small."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import check_choice, check_positive
from ..data.batches import Batch
from ..layers.batching import batch as batched
from .losses import Metrics, PredictionLoss


@dataclasses.dataclass(frozen=True)
class RatePenalty:
    """Made by `rate_penalty`."""

    strength: float
    power: int

    def __call__(self, rates: Array, mask: Any) -> Array:
        """The mean over valid steps and units."""
        costs = _sizes(rates, self.power).mean(axis=-1)
        if mask is None:
            return costs.mean()
        mask = jnp.asarray(mask)
        return jnp.sum(jnp.where(mask, costs, 0)) / jnp.maximum(jnp.sum(mask), 1)


@dataclasses.dataclass(frozen=True)
class WeightPenalty:
    """Made by `weight_penalty`."""

    strength: float
    power: int
    where: Callable[[Any], Any] | None

    def __call__(self, model: Any) -> Array:
        """The mean over the numbers of all weights together."""
        weights = _recurrent(model) if self.where is None else jax.tree.leaves(self.where(model))
        if not weights:
            raise ValueError(
                f"{type(model).__name__} has no weight_hh to penalise: say which weights, "
                "rz.train.weight_penalty(strength, where=lambda model: ...)"
            )
        total = jnp.sum(jnp.stack([_sizes(one, self.power).sum() for one in weights]))
        return total / sum(one.size for one in weights)


@dataclasses.dataclass(frozen=True)
class PenalisedLoss:
    """Made by `penalised`."""

    data_loss: PredictionLoss
    penalties: tuple[RatePenalty | WeightPenalty, ...]

    def __call__(self, model: Any, batch: Batch, *, key: Any = None) -> tuple[Array, Metrics]:
        """The loss with the penalties, and as metrics the loss alone and each penalty."""
        options = {"mask": batch.mask, "dt": batch.dt, "reset": batch.reset, "key": key}
        rates: Any = None
        if any(isinstance(one, RatePenalty) for one in self.penalties):
            if not hasattr(model, "observe"):
                raise TypeError(
                    f"rates are those that an rz.SequenceModel observes, got {type(model).__name__}"
                )
            predictions, rates = batched(model.observe)(batch.x, **options)
        else:
            predictions = batched(model)(batch.x, **options)
        value, metrics = self.data_loss.function(predictions, batch)
        metrics = {**metrics, "data_loss": value}
        for one in self.penalties:
            of_rates = isinstance(one, RatePenalty)
            cost = one(rates, batch.mask) if of_rates else one(model)
            value = value + one.strength * cost
            name = "rates" if of_rates else "weights"
            metrics[name] = metrics.get(name, 0) + cost
        return value, metrics


def penalised(loss: PredictionLoss, *penalties: RatePenalty | WeightPenalty) -> PenalisedLoss:
    """A loss with penalties, for `fit`: `penalised(mse, rate_penalty(1e-3), weight_penalty(1e-4))`.

    $$L + \\sum_i \\text{strength}_i \\, P_i$$

    The history shows the loss without them as `data_loss`, and `rates` and `weights`, the means
    that are penalised, without their strengths. The network runs once for all of it. Equal
    arguments give equal losses, so that a step does not compile twice. TypeError for a loss that is
    no `PredictionLoss` and for what is no penalty.
    """
    if not isinstance(loss, PredictionLoss):
        raise TypeError(f"expected a PredictionLoss such as rz.train.mse, got {loss!r}")
    for one in penalties:
        if not isinstance(one, RatePenalty | WeightPenalty):
            raise TypeError(
                f"expected rz.train.rate_penalty(...) or rz.train.weight_penalty(...), got {one!r}"
            )
    return PenalisedLoss(loss, penalties)


def rate_penalty(strength: float, *, power: int = 2) -> RatePenalty:
    r"""The cost of activity, for `penalised`: the mean over samples, valid steps and units of

    $$\text{strength} \cdot |r|^{\text{power}}$$

    with r what the last layer of an `rz.SequenceModel` gives (Sussillo et al. 2015,
    doi:10.1038/nn.4042; Yang et al. 2019, doi:10.1038/s41593-018-0310-2), `power` 2 or 1.
    ValueError for another power or a strength below 0.
    """
    return RatePenalty(*_given(strength, power))


def weight_penalty(
    strength: float, *, power: int = 2, where: Callable[[Any], Any] | None = None
) -> WeightPenalty:
    r"""The cost of weights, for `penalised`: the mean over all their numbers of

    $$\text{strength} \cdot |W|^{\text{power}}$$

    `power` 2 keeps them small, 1 makes many of them zero (Song et al. 2016,
    doi:10.1371/journal.pcbi.1004792). `where(model)` gives the weights, an array or a tree of them;
    by default they are the recurrent ones, every `weight_hh` of the model. ValueError for another
    power, a strength below 0 and a model without such weights.
    """
    return WeightPenalty(*_given(strength, power), where)


def _given(strength: float, power: int) -> tuple[float, int]:
    check_positive("strength", strength, zero=True)
    check_choice("power", power, (1, 2))
    return float(strength), power


def _sizes(values: Array, power: int) -> Float[Array, "..."]:
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.abs(values) if power == 1 else values**2


def _recurrent(model: Any) -> list[Array]:
    leaves = jax.tree_util.tree_leaves_with_path(model)
    return [leaf for path, leaf in leaves if jax.tree_util.keystr(path[-1:]) == ".weight_hh"]
