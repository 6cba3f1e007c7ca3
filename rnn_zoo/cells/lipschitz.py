"""The Lipschitz network: a linear part and a Lipschitz non-linearity."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive
from .._common.dtypes import state_dtype
from .._common.terms import plus
from ..declared import (
    AbstractDeclaredCell,
    Given,
    drawn,
    drawn_from,
    non_negative,
    one_of,
    option,
    positive,
)
from ..init import fan_in_uniform, normal
from ..registry import register


class LipschitzConstants(NamedTuple):
    """The two matrices of a `LipschitzCell`."""

    A: Float[Array, "hidden hidden"]
    W: Float[Array, "hidden hidden"]


def _pair(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _shares(name: str, value: float | tuple[float, float], given: Given) -> tuple[float, float]:
    """in [0.5, 1], or a pair of such"""
    pair = _pair(value)
    if not all(0.5 <= share <= 1.0 for share in pair):
        raise ValueError(f"expected {name} in [0.5, 1], got {value}")
    return pair


def _shifts(name: str, value: float | tuple[float, float], given: Given) -> tuple[float, float]:
    """at least 0, or a pair of such"""
    pair = _pair(value)
    for shift in pair:
        check_positive(name, shift, zero=True)
    return pair


def _first_matrix(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    return normal(key, shape, given.dtype, std=given.init_std / given.hidden_size)


def _symmetric_skew(M: Array, beta: float, gamma: float) -> Array:
    """A of M_A, W of M_W."""
    M = M.astype(state_dtype(M))
    eye = jnp.eye(M.shape[0], dtype=M.dtype)
    return (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * eye


@register(
    "lipschitz",
    family="lipschitz",
    paper="Erichson et al. 2021, arXiv:2006.12070",
    equation="h' = h + e (A h + tanh(W h + U x + b))",
    full="""
        A = (1 - beta_A) (M_A + M_A^T) + beta_A (M_A - M_A^T) - gamma_A I
        U = (1 - beta_U) (M_U + M_U^T) + beta_U (M_U - M_U^T) - gamma_U I
        f = A h + tanh(U h + W x + b)
        k = h                        if method = euler
        k = h + dt epsilon / 2 * f   otherwise
        h' = h + dt epsilon (A k + tanh(U k + W x + b))
        y = h'
        where W = weight_ih; M_U = M_W; b = bias; h = state
              beta_A, beta_U = beta; gamma_A, gamma_U = gamma
    """,
)
class LipschitzCell(AbstractDeclaredCell, init=False):
    r"""LipschitzRNN (Erichson et al. 2021, arXiv:2006.12070).

    $$\dot h = f(h) = A h + \tanh(W h + W_{ih} x + b), \qquad y = h'$$
    $$A = (1 - \beta)(M_A + M_A^\top) + \beta (M_A - M_A^\top) - \gamma I, \qquad
    W \text{ likewise from } M_W$$

    State: h, (hidden,), zero at the start. `method` "euler": $h' = h + \epsilon f(h)$;
    "rk2", the midpoint rule: $h' = h + \epsilon f(h + \tfrac{\epsilon}{2} f(h))$. Timed: `dt`
    multiplies `epsilon`; dt = 0 holds the state; the rules are explicit, so stable for small steps
    only. `beta` in [1/2, 1] mixes the symmetric and the skew part, `gamma` > 0 shifts the spectra
    to the left; each is one number for both matrices or a pair (A, W). M are drawn from
    N(0, (`init_std` / hidden)^2), $W_{ih}$ and b from U(±1/sqrt(input)), as in the authors' code.

    The defaults are those of the authors' class. Their training script sets others: epsilon 0.1,
    beta 0.7, gamma 0.001, init_std 0.1 and the midpoint rule; their pixel MNIST has epsilon 0.03
    and beta 0.75. For sequences below some hundred steps take the larger `epsilon`. Their code
    multiplies rows, h A: a trained M is transposed here.
    """

    weight_ih: Float[Array, "hidden input"] = drawn(fan_in_uniform, key=2)
    M_A: Float[Array, "hidden hidden"] = drawn_from(_first_matrix, key=0)
    M_W: Float[Array, "hidden hidden"] = drawn_from(_first_matrix, key=1)
    bias: Float[Array, " hidden"] | None = drawn(fan_in_uniform, fan_in="input", key=3)
    beta: tuple[float, float] = option(0.8, _shares)
    gamma: tuple[float, float] = option(0.01, _shifts)
    epsilon: float = option(0.01, positive)
    init_std: ClassVar[float] = option(1.0, non_negative)
    method: str = option("euler", one_of("euler", "rk2"))

    def constants(self) -> LipschitzConstants:
        A, W = map(_symmetric_skew, (self.M_A, self.M_W), self.beta, self.gamma)
        return LipschitzConstants(A, W)

    def equation(
        self,
        c: LipschitzConstants,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        drive = plus(self.weight_ih @ x, self.bias)

        def f(h):
            return c.A @ h + jnp.tanh(c.W @ h + drive)

        step = dt * self.epsilon
        at = state if self.method == "euler" else state + 0.5 * step * f(state)
        h = state + step * f(at)
        return h, h
