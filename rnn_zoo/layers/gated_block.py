"""The form that the blocks of published models share: a recurrence beside a gate."""

import abc

import equinox as eqx
from jaxtyping import Array

from .inner_block import AbstractInnerBlock


class AbstractGatedBlock(AbstractInnerBlock):
    r"""A recurrence over the first part of a linear map of x, and a gate of the rest.

    $$(u, g) = W_{in} x, \qquad y = W_{out}\, \mathrm{gated}(\mathrm{inner}(u), g)$$

    u has as many features as `inner` reads. A layer and a cell: it streams, and masks and resets
    reach every part of `inner`.
    """

    project_in: eqx.AbstractVar[eqx.nn.Linear]
    project_out: eqx.AbstractVar[eqx.nn.Linear]

    @abc.abstractmethod
    def gated(self, v: Array, g: Array) -> Array:
        """What the last map reads in a step: the outputs v of the recurrence behind their gate."""

    @property
    def input_size(self) -> int:
        return int(self.project_in.in_features)

    @property
    def output_size(self) -> int:
        return self.input_size

    def opened(self, x: Array) -> tuple[Array, Array]:
        z, size = self.project_in(x), self.inner.input_size
        return z[:size], z[size:]

    def closed(self, v: Array, g: Array) -> Array:
        return self.project_out(self.gated(v, g))
