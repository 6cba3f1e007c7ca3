"""A GRU for speech that has one gate and no tanh: LiGRU."""

__all__ = ["LiGRUCell"]

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.activations import portable
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, Given, drawn, filled, option
from ..init import glorot, orthogonal
from ..registry import register


def _norm(name: str, value: str | None, given: Given) -> str | None:
    """None or 'layer'"""
    if value not in (None, "layer"):
        raise ValueError(
            f"expected {name} to be None or 'layer', got {value!r}: batch normalisation, the "
            "paper's, needs more than one sample, which no cell sees"
        )
    return value


def _normed(given: Given) -> bool:
    return given.norm is not None


def _normed_bias(given: Given) -> bool:
    return given.norm is not None and given.use_bias


def _plain(given: Given) -> bool:
    return given.norm is None and given.use_bias


def _standard(v: Float[Array, " hidden"]) -> Float[Array, " hidden"]:
    centred = v - jnp.mean(v)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2) + 1e-5)


@register(
    "ligru",
    family="gated",
    paper="Ravanelli et al. 2018, arXiv:1803.10225",
    equation="h' = z * h + (1 - z) * relu(W x + U h), z = sig(V x + R h)",
    full="""
        u_z = standard(W_z x) * m_z + n_z   if normed
        u_z = W_z x + b_z                   otherwise
        u_a = standard(W_a x) * m_a + n_a   if normed
        u_a = W_a x + b_a                   otherwise
        z = sig(u_z + U_z h)
        a = phi(u_a + U_a h)
        h' = z * h + (1 - z) * a
        y = h'
        where W_z, W_a = weight_ih; U_z, U_a = weight_hh; b_z, b_a = bias
              m_z, m_a = norm_weight; n_z, n_a = norm_bias; normed = given(norm_weight)
              phi = activation; h = state
    """,
)
class LiGRUCell(AbstractDeclaredCell, init=False):
    r"""Light GRU (Ravanelli et al. 2018, arXiv:1803.10225): no reset gate, and ReLU for tanh.

    $$z = \sigma(N(W_z x) + U_z h), \qquad a = \phi(N(W_a x) + U_a h), \qquad
    h' = z \odot h + (1 - z) \odot a, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order z, a. In the paper N normalises
    over the batch, which a cell of one sample cannot. With `norm="layer"` it normalises each block
    of W x over its hidden entries and gives each a scale and an offset (`norm_weight`,
    `norm_bias`); by default, None, it adds a bias. $\phi$ is `activation`, ReLU, which nothing
    bounds: $U$ starts orthogonal, and gradients should be clipped. W is Glorot-uniform, biases
    are zero. For speech, in stacks; the authors draw dropout masks once per sequence, as
    `rz.VariationalDropout` does.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = filled(0.0, when=_plain)
    norm_weight: Float[Array, " 2*hidden"] | None = filled(1.0, when=_normed)
    norm_bias: Float[Array, " 2*hidden"] | None = filled(0.0, when=_normed_bias)
    norm: ClassVar[str | None] = option(None, _norm)
    activation: Callable = option(jax.nn.relu, converter=portable)
    use_bias: ClassVar[bool] = option(True)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        drive = plus(self.weight_ih @ x, self.bias)
        if self.norm_weight is not None:
            normed = jnp.concatenate([_standard(v) for v in jnp.split(drive, 2)])
            drive = plus(normed * self.norm_weight, self.norm_bias)
        z, a = jnp.split(drive + c @ state, 2)
        z = jax.nn.sigmoid(z)
        h = z * state + (1 - z) * self.activation(a)
        return h, h
