"""Cells for small devices: FastRNN and FastGRNN."""

__all__ = ["FastGRNNCell", "FastRNNCell"]

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.terms import affine, plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    filled,
    option,
)
from ..init import normal
from ..registry import register


@register(
    "fastrnn",
    family="gated",
    paper="Kusupati et al. 2018, arXiv:1901.02358",
    equation="h' = sig(alpha) tanh(W x + U h + b) + sig(beta) h",
    full="""
        h' = sig(alpha) phi(W x + U h + b) + sig(beta) h
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; phi = activation; h = state
              alpha = number(alpha); beta = number(beta)
    """,
)
class FastRNNCell(AbstractDeclaredCell, init=False):
    r"""FastRNN (Kusupati et al. 2018, arXiv:1901.02358): an Elman unit with a skip connection.

    $$h' = \sigma(\alpha) \phi(W x + U h + b) + \sigma(\beta) h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. `alpha` and `beta` are two trained numbers, (1,) each,
    which start at -3 and 3, as in the authors' code: 0.95 of the state is kept, and the
    candidate is a twentieth. (Other libraries start them the other way round, which keeps a
    twentieth.)
    Weights are from N(0, 0.01), biases 1, as theirs. `activation` $\phi$ is tanh. It has two
    numbers more than `ElmanCell`, and gradients that pass many more steps.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(normal, std=0.1)
    weight_hh: Float[Array, "hidden hidden"] = drawn(normal, std=0.1)
    bias: Float[Array, " hidden"] | None = filled(1.0)
    alpha: Float[Array, " 1"] = filled(-3.0)
    beta: Float[Array, " 1"] = filled(3.0)
    activation: Callable = option(jnp.tanh, converter=portable)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state
        candidate = self.activation(plus(z, self.bias))
        h = jax.nn.sigmoid(self.alpha) * candidate + jax.nn.sigmoid(self.beta) * state
        return h, h


def _rank(name: str, value: int | None, given: Given) -> int | None:
    """an integer of at least 1, or None for a matrix of full rank"""
    return value if value is None else at_least_one(name, value, given)


def _low_rank_ih(given: Given) -> bool:
    return given.rank_ih is not None


def _low_rank_hh(given: Given) -> bool:
    return given.rank_hh is not None


@register(
    "fastgrnn",
    family="gated",
    paper="Kusupati et al. 2018, arXiv:1901.02358",
    equation="h' = (s (1 - z) + n) * tanh(a) + z * h, z = sig(a), a = W x + U h",
    full="""
        a = W x + U h
        z = sig(a + b_z)
        c = tanh(a + b_h)
        h' = (sig(zeta) (1 - z) + sig(nu)) * c + z * h
        y = h'
        where W = weight_ih weight_ih_right; U = weight_hh weight_hh_right; b_z, b_h = bias
              h = state; zeta = number(zeta); nu = number(nu)
    """,
)
class FastGRNNCell(AbstractDeclaredCell, init=False):
    r"""FastGRNN (Kusupati et al. 2018, arXiv:1901.02358): a gate that shares its matrices with
    the candidate.

    $$a = W x + U h, \qquad z = \sigma(a + b_z), \qquad
    h' = (\sigma(\zeta) (1 - z) + \sigma(\nu)) \odot \tanh(a + b_h) + z \odot h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. The blocks of `bias` are in the order z, h. `zeta` and
    `nu` are two trained numbers, (1,) each, which start at 1 and -4; weights are from N(0, 0.01),
    biases 1, as in the authors' code. (Other libraries take tanh for the gate; the paper has the
    logistic function.) As many parameters as an Elman unit, less with
    `rank_ih` r: W is then the product of `weight_ih`, (hidden, r), and `weight_ih_right`,
    (r, input); and so U with `rank_hh`. For devices of a few kilobytes.
    """

    weight_ih: Float[Array, "hidden columns_ih"] = drawn(normal, std=0.1)
    weight_ih_right: Float[Array, "columns_ih input"] | None = drawn(
        normal, std=0.1, when=_low_rank_ih
    )
    weight_hh: Float[Array, "hidden columns_hh"] = drawn(normal, std=0.1)
    weight_hh_right: Float[Array, "columns_hh hidden"] | None = drawn(
        normal, std=0.1, when=_low_rank_hh
    )
    bias: Float[Array, " 2*hidden"] | None = filled(1.0)
    zeta: Float[Array, " 1"] = filled(1.0)
    nu: Float[Array, " 1"] = filled(-4.0)
    rank_ih: ClassVar[int | None] = option(None, _rank)
    rank_hh: ClassVar[int | None] = option(None, _rank)
    columns_ih: ClassVar[int] = derived(lambda given: given.rank_ih or given.input_size)
    columns_hh: ClassVar[int] = derived(lambda given: given.rank_hh or given.hidden_size)

    def constants(self) -> StateMatrix:
        """What multiplies the state first."""
        right = self.weight_hh_right
        return StateMatrix(self.weight_hh if right is None else right)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        a = self.weight_ih @ affine(self.weight_ih_right, x, None)
        a += c @ state if self.weight_hh_right is None else self.weight_hh @ (c @ state)
        b_z, b_h = (None, None) if self.bias is None else jnp.split(self.bias, 2)
        z = jax.nn.sigmoid(plus(a, b_z))
        share = jax.nn.sigmoid(self.zeta) * (1 - z) + jax.nn.sigmoid(self.nu)
        h = share * jnp.tanh(plus(a, b_h)) + z * state
        return h, h
