"""The reservoir model space: a sequence as the linear model that predicts its next state."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._common.checks import check_positive, check_sizes
from .._common.fixed import Fixed
from ..base import replace
from .ridge import NormalEquations, complete


class ModelSpace(eqx.Module):
    r"""A pool (Bianchi et al. 2018, arXiv:1803.07870): the parameters of a linear model.

    $$z_t = Q^\top (r_t - \bar r), \qquad
    \min_{U, u} \sum_t |z_{t+1} - U z_t - u|^2 + \lambda |U|^2, \qquad y = [U, u]$$

    Q holds the first `components` principal components of the states of the training
    sequences; `fit_readout` computes them. `ridge` is $\lambda$. Each sequence, whatever its
    length, becomes one vector of components (components + 1) numbers. A pair of neighbours counts
    where both of its steps are valid.
    """

    mean: Fixed | None
    basis: Fixed | None
    components: int = eqx.field(static=True)
    ridge: float = eqx.field(static=True)

    def __init__(self, components: int = 20, *, ridge: float = 1.0):
        """`components` >= 1, `ridge` > 0; ValueError otherwise."""
        check_sizes(components=components)
        self.mean = self.basis = None
        self.components, self.ridge = components, check_positive("ridge", ridge)

    @property
    def size(self) -> int:
        """How many numbers describe a sequence."""
        return self.components * (self.components + 1)

    def fit(self, states: NormalEquations) -> "ModelSpace":
        """The pool with the components of these states.

        ValueError where there are fewer features than components.
        """
        features = states.features.shape[0]
        if features < self.components:
            raise ValueError(
                f"expected at most {features} components, one per feature, got {self.components}"
            )
        mean, vectors = states.principal()
        return replace(self, mean=Fixed(mean), basis=Fixed(vectors[:, : self.components]))

    def __call__(
        self, rs: Float[Array, "time features"], mask: Bool[Array, " time"] | None
    ) -> Float[Array, " {self.size}"]:
        """The vector of one sequence. ValueError before `fit`."""
        if self.mean is None or self.basis is None:
            raise ValueError("the model space has no basis yet: call fit_readout first")
        zs = (rs - self.mean.value) @ self.basis.value
        pairs: Any = None if mask is None else mask[:-1] & mask[1:]
        model = complete(zs[:-1], zs[1:], pairs).solve(self.ridge, dtype=rs.dtype)
        assert model.bias is not None
        return jnp.concatenate([model.weight.ravel(), model.bias])
