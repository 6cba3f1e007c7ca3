"""The state-space dual of attention, Mamba-2."""

__all__ = ["Mamba2Cell"]

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.terms import affine, plus
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    drawn_from,
    filled,
    one_of,
    option,
    said,
)
from ..init import fan_in_uniform
from ..linear import Parts
from ..registry import register
from .discretise import exprel
from .heads import (
    cut,
    features_map,
    first_rates,
    first_steps,
    heads,
    value_size,
    zero_matrices,
)
from .modes import has_map, has_map_bias, step_bounds, wide


_negative = said("whether the transition lies in (-1, 1) instead of (0, 1)")


def _key_size(name: str, value: int, given: Given) -> int:
    """the width of B and C, N in the paper, which has 128 for values of 64"""
    return at_least_one(name, value, given)


def _groups(name: str, value: int, given: Given) -> int:
    """they divide the heads; the heads of a group share B and C"""
    at_least_one(name, value, given)
    if given.num_heads % value:
        raise ValueError(f"expected num_groups to divide num_heads={given.num_heads}, got {value}")
    return value


def _rows(given: Given) -> int:
    """Those of u, B, C and the steps."""
    return given.hidden_size + 2 * given.num_groups * given.key_size + given.num_heads


@register(
    "mamba2",
    family="matrix",
    paper="Dao & Gu 2024, arXiv:2405.21060",
    equation="S' = exp(d(x) A) S + d(x) B(x) u^T, y = S'^T C(x) + D u, u = W x",
    covers={"SSD": {}},
    full="""
        for each head
        u, p = pieces(W x + b, value_size)
        q, r = split(p, num_groups key_size)
        s, delta = split(r, num_groups key_size)
        B = shared(q, num_groups)
        C = shared(s, num_groups)
        Delta = softplus(head(delta) + head(b_d))      if negative_eigenvalues
        Delta = dt softplus(head(delta) + head(b_d))   otherwise
        A = -exp(head(alpha))
        a = 2 exp(Delta A) - 1   if negative_eigenvalues
        a = exp(Delta A)         otherwise
        g = Delta                      if discretisation = euler
        g = (exp(Delta A) - 1) / A     otherwise
        S' = a S + g outer(B, u)
        y = S'^T C + head(D) u
        where W = weight_ih; b = bias; b_d = bias_dt; alpha = A_log; S = state
    """,
    block="Mamba2Block",
)
class Mamba2Cell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Selective state space with one decay a head (Mamba-2, SSD; Dao & Gu 2024, arXiv:2405.21060).

    $$u, B, C, \delta = W x + b, \qquad \Delta = \mathrm{softplus}(\delta + b_\Delta), \qquad
    A = -e^{\alpha}$$
    $$S' = e^{dt\, \Delta A} S + dt\, \Delta\, B u^\top, \qquad y = S'^\top C + D u$$

    of each head, with $\Delta, A, D$ one number each. State: (heads, key, value), zero at the
    start; the paper's h, of (value, key), is its transpose. `weight_ih` holds the rows of u, head
    by head, of B and of C, group by group, and of $\delta$, one a head; `A_log` is $\alpha$,
    `bias_dt` is $b_\Delta$. $e^\alpha$ starts uniform on (1, 16), $\Delta$ where its input is 0
    log-uniform on `step_range`, and at least 1e-4. `discretisation` "euler" is the authors' code
    and the equation above; "zoh" has $(e^{\Delta A} - 1) / A$ for $\Delta$ in what is written, the
    exact flow for an input that is constant. The convolution, the gate and the norm of the paper
    stand around the cell, in its block. It is for long sequences, of tokens above all, with more
    state than `MambaCell` at the same cost. It is linear: put it in a `Block`.

    With `negative_eigenvalues` S is kept by $2 e^{\Delta A} - 1$, in (-1, 1), which tracks states
    that the other cannot (Grazzi et al. 2024, arXiv:2411.12537). Such a cell counts steps and is
    not `timed`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " rows"] | None = filled(0.0, when=has_map_bias)
    A_log: Float[Array, " num_heads"] = drawn_from(first_rates)
    bias_dt: Float[Array, " num_heads"] = drawn_from(first_steps)
    D: Float[Array, " num_heads"] = filled(1.0)
    num_heads: int = option(None, heads)
    key_size: int = option(16, _key_size)
    value_size: int = derived(value_size)
    num_groups: int = option(1, _groups)
    discretisation: str = option("euler", one_of("euler", "zoh"))
    negative_eigenvalues: bool = option(False, _negative)
    step_range: ClassVar[tuple[float, float]] = option((0.001, 0.1), step_bounds)
    rows: ClassVar[int] = derived(_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    use_bias: ClassVar[bool] = option(True)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "D", "bias_dt")

    @property
    def timed(self) -> bool:
        """Whether the state decays with time: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def constants(self) -> Float[Array, " heads"]:
        """A."""
        return -jnp.exp(wide(self.A_log)[0])

    def parts(
        self,
        c: Float[Array, " heads"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> Parts:
        values, by_group = (self.num_heads, self.value_size), (self.num_groups, self.key_size)
        shapes = values, by_group, by_group, (self.num_heads,)
        u, B, C, delta = cut(affine(self.weight_ih, x, self.bias), *shapes)
        step = jnp.asarray(dt) * jax.nn.softplus(delta + self.bias_dt)
        log_decay = step * c
        gain = step * exprel(log_decay) if self.discretisation == "zoh" else step
        B, C = (jnp.repeat(one, self.num_heads // self.num_groups, 0) for one in (B, C))
        log_decay, negative = log_decay[:, None], None
        if self.negative_eigenvalues:
            log_decay, negative = _about_zero(log_decay)
        return Parts(C, B, gain[:, None] * u, log_decay, negative=negative)

    def output(
        self,
        c: Float[Array, " heads"],
        read: Float[Array, "heads value"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        size = self.output_size
        u = x[:size] if self.weight_ih is None else self.weight_ih[:size] @ x
        u = plus(u, None if self.bias is None else self.bias[:size])
        return (read + self.D[:, None] * u.reshape(read.shape)).ravel()


def _about_zero(log_decay: Float[Array, "heads 1"]) -> tuple[Array, Array]:
    """The logarithm of the modulus of 2 exp(log_decay) - 1, and where that is negative."""
    negative = 2 * jnp.exp(log_decay) < 1
    # The modulus less 1, exact where the decay is near 1; at 0 the logarithm would end.
    less = jnp.where(negative, -2 * jnp.exp(log_decay), 2 * jnp.expm1(log_decay))
    return jnp.log1p(jnp.maximum(less, -1 + jnp.finfo(less.dtype).epsneg)), negative
