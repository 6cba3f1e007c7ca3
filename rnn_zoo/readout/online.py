"""Readouts that learn while a sequence runs: recursive least squares, least mean squares."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..init import check_positive
from .ridge import linear


class OnlineReadout(NamedTuple):
    """A readout on its way: weights with the bias as last column, and what its rule keeps."""

    weight: Float[Array, "outputs columns"]
    memory: Any

    def predict(self, features: Float[Array, " features"]) -> Float[Array, " outputs"]:
        """W r + b."""
        return self.weight[:, :-1] @ features + self.weight[:, -1]

    def linear(self) -> eqx.nn.Linear:
        """The readout as it stands."""
        return linear(self.weight[:, :-1], self.weight[:, -1])


class AbstractOnlineRule(eqx.Module):
    """How a readout changes when a target comes in."""

    @abc.abstractmethod
    def init(self, weight: Float[Array, "outputs columns"]) -> OnlineReadout:
        """The readout before the first target, from weights to begin with."""

    @abc.abstractmethod
    def update(
        self,
        readout: OnlineReadout,
        features: Float[Array, " features"],
        target: Float[Array, " outputs"],
    ) -> OnlineReadout:
        """The readout after one pair of features and target."""


class RecursiveLeastSquares(AbstractOnlineRule):
    r"""Recursive least squares (Haykin, "Adaptive Filter Theory"; FORCE: Sussillo & Abbott 2009).

    $$k = \frac{P r}{\lambda + r^\top P r}, \qquad W' = W + (y - W r) k^\top, \qquad
    P' = \lambda^{-1} (P - k\, r^\top P), \qquad P_0 = I / \alpha$$

    with a 1 appended to r for the bias. From zero weights and with `forgetting` $\lambda$ = 1,
    n updates give the ridge regression of the n samples with the penalty `ridge` $\alpha$ on
    weights and bias. Smaller $\lambda$ forgets a sample by $\lambda$ per step.
    """

    ridge: float = eqx.field(static=True)
    forgetting: float = eqx.field(static=True)

    def __init__(self, *, ridge: float = 1.0, forgetting: float = 1.0):
        """`ridge` > 0, `forgetting` in (0, 1]; ValueError otherwise."""
        if not 0 < forgetting <= 1:
            raise ValueError(f"expected forgetting in (0, 1], got {forgetting}")
        self.ridge, self.forgetting = check_positive("ridge", ridge), float(forgetting)

    def init(self, weight: Float[Array, "outputs columns"]) -> OnlineReadout:
        return OnlineReadout(weight, jnp.eye(weight.shape[1], dtype=weight.dtype) / self.ridge)

    def update(
        self,
        readout: OnlineReadout,
        features: Float[Array, " features"],
        target: Float[Array, " outputs"],
    ) -> OnlineReadout:
        r = _with_one(features)
        P = readout.memory
        Pr = P @ r
        k = Pr / (self.forgetting + r @ Pr)
        weight = readout.weight + jnp.outer(target - readout.predict(features), k)
        # P is symmetric; the outer product of a vector with itself keeps it so when rounded.
        P = (P - jnp.outer(Pr, Pr) / (self.forgetting + r @ Pr)) / self.forgetting
        return OnlineReadout(weight, P)


class LeastMeanSquares(AbstractOnlineRule):
    r"""Least mean squares (Widrow & Hoff 1960).

    $$W' = W + \eta\, (y - W r)\, r^\top$$

    with a 1 appended to r for the bias. Stable for a `rate` $\eta$ below $2 / |r|^2$.
    """

    rate: float = eqx.field(static=True)

    def __init__(self, rate: float = 1e-3):
        """`rate` > 0; ValueError otherwise."""
        self.rate = check_positive("rate", rate)

    def init(self, weight: Float[Array, "outputs columns"]) -> OnlineReadout:
        return OnlineReadout(weight, None)

    def update(
        self,
        readout: OnlineReadout,
        features: Float[Array, " features"],
        target: Float[Array, " outputs"],
    ) -> OnlineReadout:
        error = target - readout.predict(features)
        weight = readout.weight + self.rate * jnp.outer(error, _with_one(features))
        return OnlineReadout(weight, None)


def _with_one(features: Float[Array, " features"]) -> Array:
    return jnp.append(features, jnp.ones((), features.dtype))
