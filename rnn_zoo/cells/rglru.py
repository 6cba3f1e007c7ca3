"""The real-gated linear recurrent unit."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractLinearCell
from ..init import fan_in_uniform, normal, uniform
from ..linear import AffineMap, Block2x2, Diagonal
from ..registry import register
from .modes import check_eigenvalues, check_map


SHARPNESS = 8.0
_STEEPEST = 1000.0


@register(
    "rglru",
    family="state-space",
    paper="De et al. 2024, arXiv:2402.19427",
    equation="h' = a * h + sqrt(1 - a^2) * i(u) * u, a = exp(-8 sp(L) r(u)), u = W x",
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
class RGLRUCell(AbstractLinearCell):
    r"""Real-gated linear recurrent unit (Griffin; De et al. 2024, arXiv:2402.19427).

    $$u = W x + b, \qquad r = \sigma(W_r u + b_r), \qquad i = \sigma(W_i u + b_i)$$
    $$a = e^{-8\, \mathrm{softplus}(\Lambda) \odot r}, \qquad
    h' = a \odot h + \sqrt{1 - a^2} \odot (i \odot u), \qquad y = h'$$

    State: h, (hidden,), zero at the start; 0 < a < 1. $W_r, W_i$ are block-diagonal with
    `blocks` blocks. The slope of the root is held to 1000, so that a near 1 gives no infinite
    gradient. For long memories that choose what to keep; linear: put it in a `Block`.

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

    weight_ih: Float[Array, "hidden input"] | None
    bias: Float[Array, " hidden"] | None
    weight_gates: Float[Array, "2 blocks rows width"]
    bias_gates: Float[Array, "2 units"] | None
    Lambda: Float[Array, " units"]
    theta: Float[Array, " units"] | None
    negative_eigenvalues: bool = eqx.field(static=True)
    root_at_start: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = False
    ssm_parameters: ClassVar[tuple[str, ...]] = ("Lambda", "theta")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        blocks: int = 1,
        initialisation: str = "uniform",
        decay_range: tuple[float, float] = (0.9, 0.999),
        max_phase: float = 0.1 * math.pi,
        root_at_start: bool = True,
        negative_eigenvalues: bool = False,
        complex_eigenvalues: bool = False,
        input_map: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `blocks`: they divide the units, hidden_size or with `complex_eigenvalues` half of it,
          which must then be even. Gate weights start as N(0, 1 / width) of a block's width.
        - `initialisation`: "uniform", the paper's: $e^{-8\\, \\mathrm{softplus}(\\Lambda)}$, a
          where r is 1, is uniform on `decay_range`; "ring", the authors' code: its eighth root
          is uniform by area on the ring `decay_range`, which forgets eight times as fast.
        - `decay_range`: 0 < low < high < 1.
        - `max_phase`: $8 \\theta$ starts uniform on [0, max_phase), by default as in that code.
        - `input_map`: False leaves W and b out, where x has `hidden_size` features.
        - `root_at_start`: whether the root stands at the first step of a document too.
        - `input_map=False` leaves W and b out, where x has `hidden_size` features.

        ValueError for any other, or both kinds of eigenvalues.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size, blocks=blocks)
        check_eigenvalues(negative_eigenvalues, complex_eigenvalues)
        check_map(input_map, input_size, hidden_size)
        if complex_eigenvalues and hidden_size % 2:
            raise ValueError(
                "expected an even hidden_size with complex_eigenvalues, from 2 up, "
                f"got {hidden_size}"
            )
        units = hidden_size // 2 if complex_eigenvalues else hidden_size
        if units % blocks:
            raise ValueError(
                f"expected blocks to divide hidden_size={hidden_size}"
                f"{' / 2' if complex_eigenvalues else ''}, got {blocks}"
            )
        low, high = decay_range
        if not 0 < low < high < 1:
            raise ValueError(f"expected decay_range with 0 < low < high < 1, got {decay_range}")
        dtype = working_float(dtype)
        key_W, key_gates, key_decay = jr.split(key, 3)
        rows, width = units // blocks, hidden_size // blocks
        size = (hidden_size, input_size)
        self.weight_ih = (
            fan_in_uniform(key_W, size, dtype, fan_in=input_size) if input_map else None
        )
        self.bias = jnp.zeros(hidden_size, dtype) if use_bias and input_map else None
        std = 1 / math.sqrt(width)
        self.weight_gates = normal(key_gates, (2, blocks, rows, width), dtype, std=std)
        self.bias_gates = jnp.zeros((2, units), dtype) if use_bias else None
        wide = jnp.promote_types(dtype, jnp.float32)
        check_choice("initialisation", initialisation, ("uniform", "ring"))
        drawn, root = (2, 2) if initialisation == "ring" else (1, SHARPNESS)
        decay = uniform(key_decay, (units,), wide, low=low**drawn, high=high**drawn)
        # The inverse of softplus at -log of the decay, which is this root of what is drawn.
        self.Lambda = jnp.log(jnp.expm1(-jnp.log(decay) / root)).astype(dtype)
        turn, key_turn = max_phase / SHARPNESS, jr.fold_in(key_decay, 0)
        self.theta = (
            uniform(key_turn, (units,), dtype, low=0.0, high=turn) if complex_eigenvalues else None
        )
        self.negative_eigenvalues = negative_eigenvalues
        self.root_at_start = root_at_start
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self) -> Inexact[Array, "*rows units"]:
        zeros = jnp.zeros(self.Lambda.size, state_dtype(self.Lambda))
        state = zeros if self.root_at_start else jnp.stack([zeros, jnp.ones_like(zeros)])
        return state if self.theta is None else lax.complex(state, jnp.zeros_like(state))

    def constants(self) -> Any:
        dtype = state_dtype(self.Lambda)
        rate = -SHARPNESS * jax.nn.softplus(self.Lambda.astype(dtype))
        if self.theta is not None:
            rate = lax.complex(rate, SHARPNESS * self.theta.astype(dtype))
        return rate

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        u = x if self.weight_ih is None else self.weight_ih @ x
        u = u if self.bias is None else u + self.bias
        r, i = self._gates(u)
        log_a = c * r.astype(c.dtype)
        # 1 - |a|^2 without cancellation near |a| = 1.
        if self.negative_eigenvalues:
            a, squared = 2 * jnp.exp(log_a) - 1, -4 * jnp.expm1(log_a) * jnp.exp(log_a)
        else:
            a, squared = jnp.exp(log_a), -jnp.expm1(2 * log_a.real)
        u = u if self.theta is None else lax.complex(*jnp.split(u, 2))
        root, written = bounded_sqrt(squared).astype(u.dtype), i.astype(u.dtype) * u
        if self.root_at_start:
            return AffineMap(Diagonal(a), root * written)
        none = jnp.zeros_like(a)
        block = jnp.stack([jnp.stack([a, (1 - root) * written]), jnp.stack([none, none])])
        return AffineMap(Block2x2(block), jnp.stack([root * written, none]))

    def readout(
        self, c: Any, state: Inexact[Array, "*rows units"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        state = state if self.root_at_start else state[0]
        return state if self.theta is None else jnp.concatenate([state.real, state.imag])

    def _gates(self, u: Array) -> Array:
        blocks = u.reshape(self.weight_gates.shape[1], -1)
        z = jnp.einsum("gkij,kj->gki", self.weight_gates, blocks).reshape(2, -1)
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
