"""The real-gated linear recurrent unit."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Float, Inexact

from .._common.checks import check_choice
from .._common.dtypes import zero_state
from .._common.terms import affine
from ..base import AbstractLinearCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    drawn_from,
    filled,
    option,
    said,
)
from ..init import fan_in_normal, fan_in_uniform, uniform
from ..linear import AffineMap, Block2x2, Diagonal
from ..registry import register
from .modes import has_map, has_map_bias, mapped, not_both, wide


SHARPNESS = 8.0
_STEEPEST = 1000.0


def _complex(name: str, value: bool, given: Given) -> bool:
    """not with `negative_eigenvalues`; hidden_size must then be even"""
    not_both(name, value, given)
    if value and given.hidden_size % 2:
        raise ValueError(
            "expected an even hidden_size with complex_eigenvalues, from 2 up, "
            f"got {given.hidden_size}"
        )
    return value


def _blocks(name: str, value: int, given: Given) -> int:
    """they divide the units, hidden_size or with `complex_eigenvalues` half of it"""
    at_least_one(name, value, given)
    if given.units % value:
        raise ValueError(
            f"expected blocks to divide hidden_size={given.hidden_size}"
            f"{' / 2' if given.complex_eigenvalues else ''}, got {value}"
        )
    return value


def _initialisation(name: str, value: str, given: Given) -> str:
    r"""with "uniform", the paper's, $e^{-8\, \mathrm{softplus}(\Lambda)}$, a where r is 1, is
    uniform on `decay_range`; with "ring", the authors' code, its eighth root is uniform by area
    on the ring `decay_range`, which forgets eight times as fast"""
    return check_choice(name, value, ("uniform", "ring"))


def _decay_range(name: str, value: tuple[float, float], given: Given) -> tuple[float, float]:
    """(low, high) with 0 < low < high < 1"""
    low, high = value
    if not 0 < low < high < 1:
        raise ValueError(f"expected decay_range with 0 < low < high < 1, got {value}")
    return value


_max_phase = said(
    "$8 \\theta$ starts uniform on [0, max_phase), by default as in the authors' code"
)
_root_at_start = said("whether the root stands at the first step of a document too")


def _turns(given: Given) -> bool:
    return given.complex_eigenvalues


def _units(given: Given) -> int:
    return given.hidden_size // 2 if given.complex_eigenvalues else given.hidden_size


def _first_decay(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    dtype, (low, high) = jnp.promote_types(given.dtype, jnp.float32), given.decay_range
    power, root = (2, 2) if given.initialisation == "ring" else (1, SHARPNESS)
    decay = uniform(key, shape, dtype, low=low**power, high=high**power)
    # The inverse of softplus at -log of the decay, which is this root of what is drawn.
    return jnp.log(jnp.expm1(-jnp.log(decay) / root)).astype(given.dtype)


def _first_turn(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    high = given.max_phase / SHARPNESS
    return uniform(jr.fold_in(key, 0), shape, given.dtype, low=0.0, high=high)


@register(
    "rglru",
    family="state-space",
    paper="De et al. 2024, arXiv:2402.19427",
    equation="h' = a * h + sqrt(1 - a^2) * i(u) * u, a = exp(-8 sp(L) r(u)), u = W x",
    covers={"real-gated linear recurrent unit": {}},
    full="""
        u = W x + b
        r = sig(block_diagonal(B_r) u + b_r)
        i = sig(block_diagonal(B_i) u + b_i)
        a = 2 exp(-8 softplus(Lambda) * r) - 1        if negative_eigenvalues
        a = exp(8 r * (j theta - softplus(Lambda)))   if complex_eigenvalues
        a = exp(-8 softplus(Lambda) * r)              otherwise
        v = complex(u)                                if complex_eigenvalues
        v = u                                         otherwise
        m = sqrt(1 - abs(a)^2)                        if root_at_start
        m = f + (1 - f) * sqrt(1 - abs(a)^2)          otherwise
        h' = a * h + m * (i * v)
        f' = 0 f
        y = [re(h'), im(h')]   if complex_eigenvalues
        y = h'                 otherwise
        where W = weight_ih; b = bias
              h = state          if root_at_start
              h, f = parts(state)   otherwise
              B_r, B_i = parts(weight_gates); b_r, b_i = parts(bias_gates)
              complex_eigenvalues = given(theta)
    """,
)
class RGLRUCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Real-gated linear recurrent unit (Griffin; De et al. 2024, arXiv:2402.19427).

    $$u = W x + b, \qquad r = \sigma(W_r u + b_r), \qquad i = \sigma(W_i u + b_i)$$
    $$a = e^{-8\, \mathrm{softplus}(\Lambda) \odot r}, \qquad
    h' = a \odot h + \sqrt{1 - a^2} \odot (i \odot u), \qquad y = h'$$

    State: h, (hidden,), zero at the start; 0 < a < 1. $W_r, W_i$ are block-diagonal with
    `blocks` blocks, and start as N(0, 1 / width) of a block's width. The slope of the root is
    held to 1000, so that a near 1 gives no infinite gradient. The cell is for long memories that
    choose what to keep. It is linear: put it in a `Block`.

    The authors' code leaves the root out at the first step of a document. With
    `root_at_start=False` so does the cell, for weights that were trained so. It then has a
    second row in its state, (2, hidden), which is 1 before the first step and 0 after it, and
    $h' = a \odot h + (1 - m) \odot (i \odot u) \odot f + m \odot (i \odot u)$ with the root
    m and that row f: linear in both, so that resets, masks, chunks and the parallel form all
    keep to it, for some four times the arithmetic of the recurrence.

    With `negative_eigenvalues`, 2 a - 1 stands for a in the last line, in (-1, 1): such a state
    can turn its sign (Grazzi et al. 2024, arXiv:2411.12537). With `complex_eigenvalues`, appendix
    B of the paper (CG-LRU): pairs of hidden / 2, where u is a complex number of its two halves,
    $a = e^{8 r \odot (i \theta - \mathrm{softplus}(\Lambda))}$, $|a|^2$ stands under the root,
    the state is complex, (hidden / 2,), and y its real parts before its imaginary ones.
    """

    weight_ih: Float[Array, "hidden input"] | None = drawn(fan_in_uniform, when=has_map)
    bias: Float[Array, " hidden"] | None = filled(0.0, when=has_map_bias)
    weight_gates: Float[Array, "2 blocks rows width"] = drawn(fan_in_normal)
    bias_gates: Float[Array, "2 units"] | None = filled(0.0)
    Lambda: Float[Array, " units"] = drawn_from(_first_decay, key=2)
    theta: Float[Array, " units"] | None = drawn_from(_first_turn, key=2, when=_turns)
    negative_eigenvalues: bool = option(False)
    complex_eigenvalues: ClassVar[bool] = option(False, _complex)
    units: ClassVar[int] = derived(_units)
    blocks: ClassVar[int] = option(1, _blocks)
    rows: ClassVar[int] = derived(lambda given: given.units // given.blocks)
    width: ClassVar[int] = derived(lambda given: given.hidden_size // given.blocks)
    initialisation: ClassVar[str] = option("uniform", _initialisation)
    decay_range: ClassVar[tuple[float, float]] = option((0.9, 0.999), _decay_range)
    max_phase: ClassVar[float] = option(0.1 * math.pi, _max_phase)
    root_at_start: bool = option(True, _root_at_start)
    input_map: ClassVar[bool] = option(True, mapped)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("Lambda", "theta")

    def init_state(self) -> Inexact[Array, "*rows units"]:
        zeros = zero_state(self.Lambda.size, self.Lambda)
        state = zeros if self.root_at_start else jnp.stack([zeros, jnp.ones_like(zeros)])
        return state if self.theta is None else lax.complex(state, jnp.zeros_like(state))

    def constants(self) -> Inexact[Array, " units"]:
        """log a where r is 1."""
        rate = -SHARPNESS * jax.nn.softplus(wide(self.Lambda)[0])
        if self.theta is not None:
            rate = lax.complex(rate, SHARPNESS * self.theta.astype(rate.dtype))
        return rate

    def transition(
        self, c: Inexact[Array, " units"], x: Float[Array, " {self.input_size}"]
    ) -> AffineMap:
        u = affine(self.weight_ih, x, self.bias)
        r, i = self._gates(u)
        log_a = c * r.astype(c.dtype)
        # 1 - |a|^2 without cancellation near |a| = 1; where a is real, of one exponential.
        if self.theta is not None:
            a, squared = jnp.exp(log_a), -jnp.expm1(2 * log_a.real)
        else:
            less = jnp.expm1(log_a)
            a, squared = 1 + less, -less * (2 + less)
            if self.negative_eigenvalues:
                a, squared = 1 + 2 * less, -4 * less * (1 + less)
        u = u if self.theta is None else lax.complex(*jnp.split(u, 2))
        root, written = bounded_sqrt(squared).astype(u.dtype), i.astype(u.dtype) * u
        if self.root_at_start:
            return AffineMap(Diagonal(a), root * written)
        none = jnp.zeros_like(a)
        block = jnp.stack([jnp.stack([a, (1 - root) * written]), jnp.stack([none, none])])
        return AffineMap(Block2x2(block), jnp.stack([root * written, none]))

    def readout(
        self,
        c: Inexact[Array, " units"],
        state: Inexact[Array, "*rows units"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        state = state if self.root_at_start else state[0]
        return state if self.theta is None else jnp.concatenate([state.real, state.imag])

    def _gates(self, u: Float[Array, " hidden"]) -> Float[Array, "2 units"]:
        """r and i."""
        _, blocks, rows, width = self.weight_gates.shape
        if blocks == 1:  # a product of one matrix, which runs faster over many steps
            z = self.weight_gates.reshape(2 * rows, width) @ u
        else:
            z = jnp.einsum("gkij,kj->gki", self.weight_gates, u.reshape(blocks, width))
        z = z.reshape(2, -1)
        return jax.nn.sigmoid(z if self.bias_gates is None else z + self.bias_gates)


@jax.custom_jvp
def bounded_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root, with a derivative of at most 1000."""
    return jnp.sqrt(x)


@bounded_sqrt.defjvp
def _bounded_sqrt_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    slope = 0.5 / jnp.sqrt(jnp.maximum(x, 0.25 / _STEEPEST**2))
    return bounded_sqrt(x), slope * tangent
