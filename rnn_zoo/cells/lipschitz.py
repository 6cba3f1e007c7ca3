"""The Lipschitz network: a linear part and a Lipschitz non-linearity."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_positive, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell
from ..init import fan_in_uniform, normal
from ..registry import register


METHODS = ("euler", "rk2")


class LipschitzConstants(NamedTuple):
    """What `LipschitzCell.constants` computes: the two matrices."""

    A: Float[Array, "hidden hidden"]
    W: Float[Array, "hidden hidden"]


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
class LipschitzCell(AbstractCell):
    r"""LipschitzRNN (Erichson et al. 2021, arXiv:2006.12070).

    $$\dot h = f(h) = A h + \tanh(W h + W_{ih} x + b), \qquad y = h'$$
    $$A = (1 - \beta)(M_A + M_A^\top) + \beta (M_A - M_A^\top) - \gamma I, \qquad
    W \text{ likewise from } M_W$$

    State: h, (hidden,), zero at the start. `method` "euler": $h' = h + \epsilon f(h)$;
    "rk2", the midpoint rule: $h' = h + \epsilon f(h + \tfrac{\epsilon}{2} f(h))$. Timed: `dt`
    multiplies `epsilon`; dt = 0 holds the state; explicit, so stable for small steps only.
    `beta` in [1/2, 1] mixes symmetric and skew parts, `gamma` > 0 shifts the spectra to the
    left; each is one number for both matrices or a pair (A, W). M from
    N(0, (`init_std` / hidden)^2) and $W_{ih}$, b from U(±1/sqrt(input)), as in the authors' code.

    The defaults are those of the authors' class. Their training script sets others: epsilon 0.1,
    beta 0.7, gamma 0.001, init_std 0.1 and the midpoint rule; their pixel MNIST has epsilon 0.03
    and beta 0.75. For sequences below some hundred steps take the larger `epsilon`. Their code
    multiplies rows, h A: trained M are transposed here.
    """

    weight_ih: Float[Array, "hidden input"]
    M_A: Float[Array, "hidden hidden"]
    M_W: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    beta: tuple[float, float] = eqx.field(static=True)
    gamma: tuple[float, float] = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)
    method: str = eqx.field(static=True)
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
        beta: float | tuple[float, float] = 0.8,
        gamma: float | tuple[float, float] = 0.01,
        epsilon: float = 0.01,
        init_std: float = 1.0,
        method: str = "euler",
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`beta`, `gamma`, `epsilon` > 0, `init_std` >= 0 and `method` as above (ValueError
        otherwise)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.beta, self.gamma = _pair(beta), _pair(gamma)
        if not all(0.5 <= b <= 1.0 for b in self.beta):
            raise ValueError(f"expected beta in [0.5, 1], got {beta}")
        for g in self.gamma:
            check_positive("gamma", g, zero=True)
        if method not in METHODS:
            raise ValueError(f"expected method to be one of {METHODS}, got {method!r}")
        self.epsilon = check_positive("epsilon", epsilon)
        self.method = method
        dtype = working_float(dtype)
        key_A, key_W, key_ih, key_b = jr.split(key, 4)
        square = (hidden_size, hidden_size)
        std = check_positive("init_std", init_std, zero=True) / hidden_size
        self.M_A = normal(key_A, square, dtype, std=std)
        self.M_W = normal(key_W, square, dtype, std=std)
        self.weight_ih = fan_in_uniform(key_ih, (hidden_size, input_size), dtype, fan_in=input_size)
        self.bias = (
            fan_in_uniform(key_b, (hidden_size,), dtype, fan_in=input_size) if use_bias else None
        )
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.weight_ih))

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
        drive = self.weight_ih @ x
        drive = drive if self.bias is None else drive + self.bias

        def f(h):
            return c.A @ h + jnp.tanh(c.W @ h + drive)

        step = dt * self.epsilon
        at = state if self.method == "euler" else state + 0.5 * step * f(state)
        h = state + step * f(at)
        return h, h


def _pair(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _symmetric_skew(M: Array, beta: float, gamma: float) -> Array:
    M = M.astype(state_dtype(M))
    eye = jnp.eye(M.shape[0], dtype=M.dtype)
    return (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * eye
