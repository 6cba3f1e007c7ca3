"""Readouts that learn while a sequence runs: recursive least squares, least mean squares."""

import abc
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import check_positive
from .ridge import linear


BOUND = 1e6
"""How much larger than at the start the trace of P may become by forgetting."""


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


class _Factors(NamedTuple):
    """How the root of P changes: S' = scale (S - share P r (S^T r)^T)."""

    scale: Array
    share: Array


class RecursiveLeastSquares(AbstractOnlineRule):
    r"""Recursive least squares (Haykin, "Adaptive Filter Theory"; FORCE: Sussillo & Abbott 2009).

    $$k = \frac{P r}{\lambda + r^\top P r}, \qquad W' = W + (y - W r) k^\top, \qquad
    P' = \lambda^{-1} (P - k\, r^\top P), \qquad P_0 = I / \alpha$$

    with a 1 appended to r for the bias. From zero weights and with `forgetting` $\lambda$ = 1,
    n updates give the ridge regression of the n samples with the penalty `ridge` $\alpha$ on
    weights and bias. Smaller $\lambda$ forgets a sample by $\lambda$ per step.

    Kept is the square root S of P = S S^T (Potter 1963; Bierman, "Factorization Methods for
    Discrete Sequential Estimation", 1977), so P stays positive definite however it is rounded.
    What r does not excite is forgotten without being learned again, and P grows there by 1 /
    $\lambda$ a step: where its trace would pass a million times that of $P_0$, only the direction
    of r is forgotten, as fast as before (directional forgetting, Kulhavy 1987).
    """

    ridge: float = eqx.field(static=True)
    forgetting: float = eqx.field(static=True)

    def __init__(self, *, ridge: float = 1.0, forgetting: float = 1.0):
        """`ridge` > 0, `forgetting` in (0, 1]; ValueError otherwise."""
        if not 0 < forgetting <= 1:
            raise ValueError(f"expected forgetting in (0, 1], got {forgetting}")
        self.ridge, self.forgetting = check_positive("ridge", ridge), float(forgetting)

    def init(self, weight: Float[Array, "outputs columns"]) -> OnlineReadout:
        root = jnp.eye(weight.shape[1], dtype=weight.dtype) / math.sqrt(self.ridge)
        return OnlineReadout(weight, root)

    def update(
        self,
        readout: OnlineReadout,
        features: Float[Array, " features"],
        target: Float[Array, " outputs"],
    ) -> OnlineReadout:
        r = _with_one(features)
        S = readout.memory
        seen = S.T @ r
        Pr = S @ seen
        total = self.forgetting + seen @ seen
        weight = readout.weight + jnp.outer(target - readout.predict(features), Pr / total)
        # S' S'^T = (P - Pr Pr^T / total) / forgetting.
        share = 1 / (total + jnp.sqrt(self.forgetting * total))
        scale = jnp.asarray(1 / math.sqrt(self.forgetting), S.dtype)
        factors = _Factors(scale, share)
        if self.forgetting < 1:
            factors = self._bounded(S, seen, Pr, total, factors)
        return OnlineReadout(weight, factors.scale * (S - jnp.outer(factors.share * Pr, seen)))

    def _bounded(
        self, S: Array, seen: Array, Pr: Array, total: Array, factors: _Factors
    ) -> _Factors:
        """The factors with which the trace of P stays bounded."""
        limit, trace = BOUND * S.shape[0] / self.ridge, jnp.sum(S * S)
        known, step = jnp.maximum(seen @ seen, jnp.finfo(S.dtype).tiny), Pr @ Pr
        # r^T P r becomes r^T P r / total in both ways of forgetting.
        everywhere = (trace - step / total) / self.forgetting <= limit
        along = trace - (1 - 1 / total) / known * step <= limit
        directed = jnp.where(along, (1 - 1 / jnp.sqrt(total)) / known, 0.0)
        scale = jnp.where(everywhere, factors.scale, jnp.ones_like(factors.scale))
        return _Factors(scale, jnp.where(everywhere, factors.share, directed))


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


class ObservedOnly(AbstractOnlineRule):
    """A rule that learns nothing where a target is missing, NaN.

    `per_target`: each output by itself, with a memory of its own.
    """

    rule: Any
    per_target: bool = eqx.field(static=True)

    def init(self, weight: Float[Array, "outputs columns"]) -> OnlineReadout:
        if not self.per_target:
            return self.rule.init(weight)
        return OnlineReadout(weight, jax.vmap(lambda row: self.rule.init(row[None]).memory)(weight))

    def update(
        self,
        readout: OnlineReadout,
        features: Float[Array, " features"],
        target: Float[Array, " outputs"],
    ) -> OnlineReadout:
        if not self.per_target:
            return self._taught(readout, features, target)

        def one(row: Array, memory: Any, y: Array) -> tuple[Array, Any]:
            after = self._taught(OnlineReadout(row[None], memory), features, y[None])
            return after.weight[0], after.memory

        return OnlineReadout(*jax.vmap(one)(readout.weight, readout.memory, target))

    def _taught(self, readout: OnlineReadout, features: Array, target: Array) -> OnlineReadout:
        seen = ~jnp.any(jnp.isnan(target))
        after = self.rule.update(readout, features, jnp.where(seen, target, 0))
        return jax.tree.map(lambda new, old: jnp.where(seen, new, old), after, readout)


def _with_one(features: Float[Array, " features"]) -> Array:
    return jnp.append(features, jnp.ones((), features.dtype))
