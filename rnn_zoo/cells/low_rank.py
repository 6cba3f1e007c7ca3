"""Networks whose connectivity has a low rank."""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.activations import portable
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import AbstractDeclaredCell, at_least_one, drawn, filled, option
from ..init import normal
from ..registry import register
from .vanilla import leak_over, leaking


@register(
    "lowrank_rnn",
    family="vanilla",
    paper="Mastrogiuseppe & Ostojic 2018, arXiv:1711.09672",
    equation="h' = (1 - a) h + a (M N^T tanh(h + b) / n + W x), y = tanh(h')",
    covers={"rank-one network": {"rank": 1}},
    full="""
        alpha = 1 - (1 - leak)^dt
        r = N^T phi(h + b) / columns(N^T)
        h' = (1 - alpha) h + alpha (M r + W x)
        y = phi(h')
        where M = weight_m; N = weight_n; W = weight_ih; b = bias; phi = activation; h = state
    """,
)
class LowRankRNNCell(AbstractDeclaredCell, init=False):
    r"""Rates with a connectivity of low rank (Mastrogiuseppe & Ostojic 2018, arXiv:1711.09672;
    Dubreuil et al. 2022, doi:10.1038/s41593-022-01088-4).

    $$h' = (1 - \alpha_{dt}) h + \alpha_{dt} \Big(\frac{1}{n} M N^\top \phi(h + b) + W_{ih} x\Big),
    \qquad \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad y = \phi(h')$$

    State: h, (hidden,), zero at the start. M and N are (hidden, `rank`): what the n units do
    together lives in the few dimensions that the columns of M span, and can be read as a system of
    `rank` variables $N^\top \phi(h + b) / n$. The matrix of all connections is never formed: a step
    costs 2 n rank products. Timed: `dt` is in units of the step that `leak` $\alpha$ belongs
    to; dt = 0 holds the state. `activation` $\phi$ is any elementwise function, tanh by default; b
    is not in y, as in the authors' code.

    M, N and $W_{ih}$ are from N(0, 1), b zero, as in the authors' code. Columns of M and N that are
    drawn apart overlap by some 1/sqrt(n), so that activity dies out at first and training starts
    slowly. The cell is for networks whose computation is to be understood.
    """

    weight_m: Float[Array, "hidden rank"] = drawn(normal, std=1.0)
    weight_n: Float[Array, "hidden rank"] = drawn(normal, std=1.0)
    weight_ih: Float[Array, "hidden input"] = drawn(normal, std=1.0)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    rank: ClassVar[int] = option(2, at_least_one)
    leak: float = option(0.2, leaking)
    activation: Callable = option(jnp.tanh, converter=portable)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_n.T / self.output_size)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        overlaps = c @ self.activation(plus(state, self.bias))
        alpha = leak_over(self.leak, dt)
        h = (1 - alpha) * state + alpha * (self.weight_m @ overlaps + self.weight_ih @ x)
        return h, self.activation(h)
