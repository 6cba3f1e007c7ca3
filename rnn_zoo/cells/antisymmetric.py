"""Recurrent networks read as a stable ordinary differential equation."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, StateMatrix
from ..init import normal, skew
from ..registry import register


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
class AntisymmetricCell(AbstractCell):
    r"""AntisymmetricRNN (Chang et al. 2019, arXiv:1902.09689).

    $$M = A - A^\top - \gamma I, \qquad
    h' = h + dt\,\epsilon \tanh(M h + W_{ih} x + b), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` multiplies `epsilon`; dt = 0 holds
    the state. A is strictly upper triangular and only its hidden (hidden - 1) / 2 entries
    are parameters (`weight_hh`, row by row), drawn from N(0, 1 / hidden); $W_{ih}$ from
    N(0, 1 / input), b zero; the authors published no code. For long memories; neither gates
    nor orthogonality are needed.

    The spectrum of M is $\lambda = -\gamma \pm i \omega$: imaginary less the diffusion `gamma`,
    which pays for the growth of Euler's rule. Stable while $|1 + dt\,\epsilon \lambda| \le 1$,
    which is $dt\,\epsilon (\gamma^2 + \omega^2) \le 2 \gamma$: take gamma a little above
    dt epsilon omega^2 / 2. The largest omega is about 2 at the start, whatever the size (below
    2.4 in some 1500 draws of 2 to 256 units), and grows as training makes the weights larger.
    The defaults obey the bound up to omega = 4.36, which leaves room for that: beyond it states
    grow without end. Slow modes decay within about 1 / (epsilon gamma) steps: for longer
    memories take both smaller, such as epsilon 0.03 and gamma 0.3.
    """

    weight_ih: Float[Array, "hidden input"]
    weight_hh: Float[Array, " triangle"]
    bias: Float[Array, " hidden"] | None
    epsilon: float = eqx.field(static=True)
    gamma: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        epsilon: float = 0.1,
        gamma: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """Step `epsilon` > 0 and diffusion `gamma` >= 0, chosen as above (ValueError otherwise)."""
        self.weight_ih, self.weight_hh, self.bias = _weights(
            input_size, hidden_size, 1, use_bias, dtype, key
        )
        self.epsilon = check_positive("epsilon", epsilon)
        self.gamma = check_positive("gamma", gamma, zero=True)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

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
        h = state + dt * self.epsilon * jnp.tanh(z if self.bias is None else z + self.bias)
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
class GatedAntisymmetricCell(AbstractCell):
    r"""AntisymmetricRNN with a gate (Chang et al. 2019, arXiv:1902.09689).

    $$z = \sigma(M h + W_z x + b_z), \qquad
    h' = h + dt\,\epsilon\, z \odot \tanh(M h + W_h x + b_h), \qquad y = h'$$

    State: h, (hidden,), zero at the start. Both non-linearities share M. Blocks of the input
    weights in the order z, h. Time and initialisation as in `AntisymmetricCell`.
    """

    weight_ih: Float[Array, "2*hidden input"]
    weight_hh: Float[Array, " triangle"]
    bias: Float[Array, " 2*hidden"] | None
    epsilon: float = eqx.field(static=True)
    gamma: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        epsilon: float = 0.1,
        gamma: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """As `AntisymmetricCell`."""
        self.weight_ih, self.weight_hh, self.bias = _weights(
            input_size, hidden_size, 2, use_bias, dtype, key
        )
        self.epsilon = check_positive("epsilon", epsilon)
        self.gamma = check_positive("gamma", gamma, zero=True)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

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
        from_x_z, from_x_h = jnp.split(from_x if self.bias is None else from_x + self.bias, 2)
        from_h = c @ state
        gate = jax.nn.sigmoid(from_h + from_x_z)
        h = state + dt * self.epsilon * gate * jnp.tanh(from_h + from_x_h)
        return h, h


def _damped(triangle: Array, size: int, gamma: float) -> Array:
    dtype = state_dtype(triangle)
    return skew(triangle.astype(dtype), size) - gamma * jnp.eye(size, dtype=dtype)


def _weights(input_size, hidden_size, gates, use_bias, dtype, key):
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    dtype = working_float(dtype)
    key_ih, key_hh = jr.split(key)
    half = hidden_size * (hidden_size - 1) // 2
    return (
        normal(key_ih, (gates * hidden_size, input_size), dtype, std=1 / math.sqrt(input_size)),
        normal(key_hh, (half,), dtype, std=1 / math.sqrt(hidden_size)),
        jnp.zeros(gates * hidden_size, dtype) if use_bias else None,
    )
