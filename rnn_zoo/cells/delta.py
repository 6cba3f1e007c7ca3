"""Cells with the delta rule: what a key finds in the state moves toward the value."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.terms import affine
from ..base import AbstractMatrixCell
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    derived,
    drawn,
    drawn_from,
    option,
    said,
)
from ..init import fan_in_uniform
from ..linear import Parts
from ..registry import register
from .heads import (
    cut,
    features_map,
    first_rates,
    first_steps,
    half_value,
    heads,
    like_value,
    unit,
    value_size,
    widths,
    zero_matrices,
)
from .modes import has_map, wide


__all__ = ["DeltaNetCell", "GatedDeltaNetCell", "KDACell"]

negative = said(
    "whether beta lies in (0, 2) instead of (0, 1), so that a step can turn the sign of what is "
    "kept along its key; the cell then takes no dt"
)


# --- what the cells of this family share ----------------------------------------------------------


def activated(cell: Any, *parts: Array) -> list[Array]:
    """SiLU behind the cell's own map. Without one, what stands before the cell has applied it."""
    return list(parts if cell.weight_ih is None else map(jax.nn.silu, parts))


def written(
    z: Float[Array, "*heads"], negative: bool, dt: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "*heads"]:
    """beta, the share of the way to the value; two gaps go as far as one that is their sum."""
    return 2 * jax.nn.sigmoid(z) if negative else -jnp.expm1(-jnp.asarray(dt) * jax.nn.softplus(z))


def delta_rule(
    q: Float[Array, "heads key"],
    k: Float[Array, "*steps heads key"],
    v: Float[Array, "*steps heads value"],
    beta: Float[Array, "*steps heads"],
    log_decay: Float[Array, "*steps heads channels"] | None = None,
) -> Parts:
    """S' = D S + beta k (v - (D S)^T k)^T with D = diag(exp(log_decay)), read by q / sqrt(key)."""
    q, k = unit(q) * q.shape[-1] ** -0.5, unit(k)
    # The key reads what the decay has left.
    a = k if log_decay is None else jnp.exp(log_decay) * k
    return Parts(q, beta[..., None] * k, v, log_decay, a=a)


# --- the cells ------------------------------------------------------------------------------------


def _delta_rows(given: Given) -> int:
    """Of q, k, v and beta."""
    return given.num_heads * (2 * given.key_size + given.value_size + 1)


@register(
    "deltanet",
    family="matrix",
    paper="Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484",
    equation="S' = S + beta k (v - S^T k)^T, y = S'^T q, by head",
    full="""
        for each head
        Q, K, V, z = pieces(W x, key_size, key_size, value_size, 1)
        phi = silu       if input_map
        phi = identity   otherwise
        q = unit(phi(Q))
        k = unit(phi(K))
        v = phi(V)
        beta = 2 sig(z)              if negative_eigenvalues
        beta = 1 - (1 - sig(z))^dt   otherwise
        S' = S + beta outer(k, v - S^T k)
        y = S'^T q / sqrt(key_size)
        where W = weight_ih; S = state; input_map = given(weight_ih)
    """,
    block="HeadsBlock",
)
class DeltaNetCell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""DeltaNet: fast weights by the delta rule (Schlag et al. 2021, arXiv:2102.11174), with the
    normalised keys of Yang et al. 2024 (arXiv:2406.06484).

    In each head

    $$S' = S + \beta\, k\, (v - S^\top k)^\top, \qquad
    y = \tfrac{1}{\sqrt{K}}\, S'^\top q, \qquad \beta = 1 - (1 - \sigma(z))^{dt}$$
    $$q = \mathrm{unit}(\mathrm{silu}(Q)), \qquad k = \mathrm{unit}(\mathrm{silu}(\hat K)), \qquad
    v = \mathrm{silu}(\hat V), \qquad \mathrm{unit}(u) = u / \sqrt{|u|^2 + 10^{-6}}$$

    State: S, (heads, key, value), zero at the start. What the key finds in the state, $S^\top k$,
    moves by a share $\beta$ of the way to the value: a new value takes the place of the old one,
    where linear attention would add the two. The rows of `weight_ih` @ x are $Q$, $\hat K$,
    $\hat V$ and z, each head by head. With `input_map=False` x is these features, and the
    activation has been applied to the first three of them. Schlag et al. have other features in
    the place of silu, normalised by their sum.

    With `negative_eigenvalues` $\beta = 2 \sigma(z)$ and a step can turn the sign of what is kept
    along its key, which counts parity (Grazzi et al. 2024, arXiv:2411.12537). Such a cell counts
    steps and is not `timed`. Otherwise a step over dt is the exact flow of
    $\dot S = c\, k\, (v - S^\top k)^\top$ with $1 - e^{-c} = \sigma(z)$.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    negative_eigenvalues: bool = option(False, negative)
    rows: ClassVar[int] = derived(_delta_rows)
    input_map: ClassVar[bool] = option(True, features_map)

    @property
    def timed(self) -> bool:
        """Whether a step has a duration: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def parts(
        self, c: None, x: Float[Array, " {self.input_size}"], dt: Float[ArrayLike, ""] = 1.0
    ) -> Parts:
        key, value = widths(self)
        q, k, v, z = cut(affine(self.weight_ih, x, None), key, key, value, (self.num_heads,))
        q, k, v = activated(self, q, k, v)
        return delta_rule(q, k, v, written(z, self.negative_eigenvalues, dt))

    def output(
        self, c: None, read: Float[Array, "heads value"], x: Float[Array, " {self.input_size}"]
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()


def _gated_rows(given: Given) -> int:
    """Of q, k, v, beta and the decay."""
    return _delta_rows(given) + given.num_heads


@register(
    "gated_deltanet",
    family="matrix",
    paper="Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464",
    equation="S' = alpha S + beta k (v - alpha S^T k)^T, y = S'^T q, by head",
    full="""
        for each head
        Q, K, V, z, a = pieces(W x, key_size, key_size, value_size, 1, 1)
        phi = silu       if input_map
        phi = identity   otherwise
        q = unit(phi(Q))
        k = unit(phi(K))
        v = phi(V)
        beta = 2 sig(z)              if negative_eigenvalues
        beta = 1 - (1 - sig(z))^dt   otherwise
        alpha = exp(-dt exp(A) softplus(a + b))
        P = alpha S
        S' = P + beta outer(k, v - P^T k)
        y = S'^T q / sqrt(key_size)
        where W = weight_ih; A = head(A_log); b = head(bias_dt); S = state
              input_map = given(weight_ih)
    """,
    block="HeadsBlock",
)
class GatedDeltaNetCell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Gated DeltaNet: the delta rule with one decay a head (Yang, Kautz & Hatamizadeh 2024,
    arXiv:2412.06464).

    In each head

    $$P = \alpha S, \qquad S' = P + \beta\, k\, (v - P^\top k)^\top, \qquad
    y = \tfrac{1}{\sqrt{K}}\, S'^\top q, \qquad
    \alpha = e^{-dt\, e^A\, \mathrm{softplus}(a + b)}$$

    with q, k, v and $\beta$ as in `DeltaNetCell`. State: S, (heads, key, value), zero at the start.
    The decay comes first: the key reads, and corrects, what is left after it. $\alpha$ clears the
    whole state, $\beta$ exchanges what is stored at one key. The rows of `weight_ih` @ x are those
    of q, k and v, z of $\beta$ and a, each head by head. `A_log` is A, `bias_dt` b.

    $e^A$ starts uniform on (1, 16), where the authors have (0, 16) and may draw a 0 whose logarithm
    is no number; softplus(b) starts log-uniform on (0.001, 0.1). A step over dt is decay and
    correction, one after the other, each over dt: of the first order in dt where both act. With
    `negative_eigenvalues`, and without an input map, all is as in `DeltaNetCell`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    A_log: Float[Array, " num_heads"] = drawn_from(first_rates)
    bias_dt: Float[Array, " num_heads"] = drawn_from(first_steps)
    num_heads: int = option(None, heads)
    key_size: int = option(None, half_value)
    value_size: int = derived(value_size)
    negative_eigenvalues: bool = option(False, negative)
    rows: ClassVar[int] = derived(_gated_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "bias_dt")

    @property
    def timed(self) -> bool:
        """Whether a step has a duration: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def constants(self) -> Float[Array, " heads"]:
        """exp(A)."""
        return jnp.exp(wide(self.A_log)[0])

    def parts(
        self,
        c: Float[Array, " heads"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> Parts:
        (key, value), single = widths(self), (self.num_heads,)
        q, k, v, z, a = cut(affine(self.weight_ih, x, None), key, key, value, single, single)
        q, k, v = activated(self, q, k, v)
        log_decay = -jnp.asarray(dt) * c * jax.nn.softplus(a + self.bias_dt)
        return delta_rule(q, k, v, written(z, self.negative_eigenvalues, dt), log_decay[:, None])

    def output(
        self,
        c: Float[Array, " heads"],
        read: Float[Array, "heads value"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()


def _rank(name: str, value: int | None, given: Given) -> int:
    """of the map to the decays, by default that of the values of one head"""
    return at_least_one(name, given.value_size if value is None else value, given)


def _kda_rows(given: Given) -> int:
    """Of q, k, v, beta and what the decays are made of."""
    return _delta_rows(given) + given.rank


@register(
    "kda",
    family="matrix",
    paper="Kimi Team 2025, arXiv:2510.26692",
    equation="S' = P + beta k (v - P^T k)^T, P = diag(alpha) S, y = S'^T q, by head",
    covers={"Kimi delta attention": {}},
    full="""
        for each head
        Q, K, V, z, r = pieces(W x, key_size, key_size, value_size, 1)
        phi = silu       if input_map
        phi = identity   otherwise
        q = unit(phi(Q))
        k = unit(phi(K))
        v = phi(V)
        beta = 2 sig(z)              if negative_eigenvalues
        beta = 1 - (1 - sig(z))^dt   otherwise
        alpha = exp(-dt exp(A) softplus(W_g r + b))
        P = diag(alpha) S
        S' = P + beta outer(k, v - P^T k)
        y = S'^T q / sqrt(key_size)
        where W = weight_ih; W_g = head(weight_gate); A = head(A_log); b = head(bias_dt); S = state
              input_map = given(weight_ih)
    """,
    block="HeadsBlock",
)
class KDACell(AbstractDeclaredCell, AbstractMatrixCell, init=False):
    r"""Kimi delta attention: the delta rule with a decay for each key channel (Kimi Team 2025,
    arXiv:2510.26692).

    In each head

    $$P = \mathrm{diag}(\alpha)\, S, \qquad S' = P + \beta\, k\, (v - P^\top k)^\top, \qquad
    y = \tfrac{1}{\sqrt{K}}\, S'^\top q, \qquad
    \alpha = e^{-dt\, e^A\, \mathrm{softplus}(W_g r + b)}$$

    with q, k, v and $\beta$ as in `DeltaNetCell`. State: S, (heads, key, value), zero at the start.
    As in `GatedDeltaNetCell` the decay comes first, and each row of the state has its own. The rows
    of `weight_ih` @ x are those of q, k and v and z of $\beta$, each head by head, then r, `rank`
    numbers for all heads together. `weight_gate` is $W_g$, `A_log` A, one number a head, `bias_dt`
    b.

    $e^A$ starts uniform on (1, 16), softplus(b) log-uniform on (0.001, 0.1). A step over dt is of
    the first order in dt. With `negative_eigenvalues`, and without an input map, all is as in
    `DeltaNetCell`.
    """

    weight_ih: Float[Array, "rows input"] | None = drawn(fan_in_uniform, when=has_map)
    weight_gate: Float[Array, "num_heads*key rank"] = drawn(fan_in_uniform)
    A_log: Float[Array, " num_heads"] = drawn_from(first_rates)
    bias_dt: Float[Array, " num_heads*key"] = drawn_from(first_steps)
    num_heads: int = option(None, heads)
    key_size: int = option(None, like_value)
    value_size: int = derived(value_size)
    rank: ClassVar[int | None] = option(None, _rank)
    negative_eigenvalues: bool = option(False, negative)
    rows: ClassVar[int] = derived(_kda_rows)
    input_map: ClassVar[bool] = option(True, features_map)
    ssm_parameters: ClassVar[tuple[str, ...]] = ("A_log", "bias_dt")

    @property
    def timed(self) -> bool:
        """Whether a step has a duration: not where eigenvalues are negative."""
        return not self.negative_eigenvalues

    def init_state(self) -> Float[Array, "heads key value"]:
        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)

    def constants(self) -> Float[Array, " heads"]:
        """exp(A)."""
        return jnp.exp(wide(self.A_log)[0])

    def parts(
        self,
        c: Float[Array, " heads"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> Parts:
        key, value = widths(self)
        shapes = (key, key, value, (self.num_heads,), (self.weight_gate.shape[1],))
        q, k, v, z, r = cut(affine(self.weight_ih, x, None), *shapes)
        q, k, v = activated(self, q, k, v)
        fading = jax.nn.softplus(self.weight_gate @ r + self.bias_dt).reshape(key)
        log_decay = -jnp.asarray(dt) * c[:, None] * fading
        return delta_rule(q, k, v, written(z, self.negative_eigenvalues, dt), log_decay)

    def output(
        self,
        c: Float[Array, " heads"],
        read: Float[Array, "heads value"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        return read.ravel()
