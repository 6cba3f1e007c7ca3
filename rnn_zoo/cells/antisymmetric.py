"""Recurrent networks read as a stable ordinary differential equation."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.dtypes import state_dtype
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    derived,
    drawn,
    filled,
    non_negative,
    option,
    positive,
)
from ..init import fan_in_normal, skew
from ..registry import register


def above_diagonal(given: Given) -> int:
    """How many entries a (hidden, hidden) matrix has above its diagonal."""
    return given.hidden_size * (given.hidden_size - 1) // 2


def _damped(
    triangle: Float[Array, " triangle"], size: int, gamma: float
) -> Float[Array, "hidden hidden"]:
    """M = A - A^t - gamma I."""
    dtype = state_dtype(triangle)
    return skew(triangle.astype(dtype), size) - gamma * jnp.eye(size, dtype=dtype)


@register(
    "antisymmetric",
    family="antisymmetric",
    paper="Chang et al. 2019, arXiv:1902.09689",
    equation="h' = h + e tanh((A - A^T - g I) h + W x + b)",
    full="""
        M = A - A^T - gamma I
        h' = h + dt epsilon tanh(M h + W x + b)
        y = h'
        where A = upper(weight_hh); W = weight_ih; b = bias; h = state
    """,
)
class AntisymmetricCell(AbstractDeclaredCell, init=False):
    r"""AntisymmetricRNN (Chang et al. 2019, arXiv:1902.09689).

    $$M = A - A^\top - \gamma I, \qquad
    h' = h + dt\,\epsilon \tanh(M h + W_{ih} x + b), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` multiplies `epsilon`; dt = 0 holds
    the state. A is strictly upper triangular and only its hidden (hidden - 1) / 2 entries
    are parameters (`weight_hh`, row by row), drawn from N(0, 1 / hidden); $W_{ih}$ is from
    N(0, 1 / input) and b zero. The authors published no code. The cell is for long memories and
    needs neither gates nor orthogonality.

    The spectrum of M is $\lambda = -\gamma \pm i \omega$: imaginary less the diffusion `gamma`,
    which pays for the growth of Euler's rule. The step is stable while
    $|1 + dt\,\epsilon \lambda| \le 1$, which is $dt\,\epsilon (\gamma^2 + \omega^2) \le 2 \gamma$:
    take gamma a little above dt epsilon omega^2 / 2. The largest omega is about 2 at the start,
    whatever the size (below 2.4 in some 1500 draws of 2 to 256 units), and grows as training makes
    the weights larger. The defaults obey the bound up to omega = 4.36, which leaves room for that:
    beyond it states grow without end. Slow modes decay within about 1 / (epsilon gamma) steps: for
    longer memories take both smaller, such as epsilon 0.03 and gamma 0.3.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(fan_in_normal)
    weight_hh: Float[Array, " triangle"] = drawn(fan_in_normal, fan_in="hidden")
    bias: Float[Array, " hidden"] | None = filled(0.0)
    triangle: ClassVar[int] = derived(above_diagonal)
    epsilon: float = option(0.1, positive)
    gamma: float = option(1.0, non_negative)

    def constants(self) -> StateMatrix:
        return StateMatrix(_damped(self.weight_hh, self.output_size, self.gamma))

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = c @ state + self.weight_ih @ x
        h = state + dt * self.epsilon * jnp.tanh(plus(z, self.bias))
        return h, h


@register(
    "gated_antisymmetric",
    family="antisymmetric",
    paper="Chang et al. 2019, arXiv:1902.09689",
    equation="h' = h + e z * tanh(M h + W x + b), z = sig(M h + ...)",
    full="""
        M = A - A^T - gamma I
        z = sig(M h + W_z x + b_z)
        h' = h + dt epsilon z * tanh(M h + W_h x + b_h)
        y = h'
        where A = upper(weight_hh); W_z, W_h = weight_ih; b_z, b_h = bias; h = state
    """,
)
class GatedAntisymmetricCell(AbstractDeclaredCell, init=False):
    r"""AntisymmetricRNN with a gate (Chang et al. 2019, arXiv:1902.09689).

    $$z = \sigma(M h + W_z x + b_z), \qquad
    h' = h + dt\,\epsilon\, z \odot \tanh(M h + W_h x + b_h), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Both non-linearities share M. The blocks of the
    input weights are in the order z, h. Time and initialisation are those of `AntisymmetricCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(fan_in_normal)
    weight_hh: Float[Array, " triangle"] = drawn(fan_in_normal, fan_in="hidden")
    bias: Float[Array, " 2*hidden"] | None = filled(0.0)
    triangle: ClassVar[int] = derived(above_diagonal)
    epsilon: float = option(0.1, positive)
    gamma: float = option(1.0, non_negative)

    def constants(self) -> StateMatrix:
        return StateMatrix(_damped(self.weight_hh, self.output_size, self.gamma))

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x_z, from_x_h = jnp.split(plus(from_x, self.bias), 2)
        from_h = c @ state
        gate = jax.nn.sigmoid(from_h + from_x_z)
        h = state + dt * self.epsilon * gate * jnp.tanh(from_h + from_x_h)
        return h, h
