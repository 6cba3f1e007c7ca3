"""Piecewise linear networks for the reconstruction of dynamical systems."""

__all__ = ["ALRNNCell", "PLRNNCell", "ShallowPLRNNCell"]

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.ranges import held
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    drawn,
    drawn_from,
    filled,
    option,
)
from ..init import fan_in_uniform, glorot, normal
from ..registry import register


def _definite(given: Given, shape: None, key: PRNGKeyArray) -> Array:
    """R^T R / hidden + I over its largest eigenvalue, (hidden, hidden), R from N(0, 1)."""
    size = given.hidden_size
    # The factorisation behind it has no 16-bit form.
    wide = jnp.promote_types(given.dtype, jnp.float32)
    root = normal(key, (size, size), wide, std=1.0)
    matrix = root.T @ root / size + jnp.eye(size, dtype=wide)
    return (matrix / jnp.linalg.eigvalsh(matrix)[-1]).astype(given.dtype)


def _its_diagonal(given: Given, shape: tuple[int, ...]) -> Array:
    return jnp.diag(given.definite)


def _off_its_diagonal(given: Given, shape: tuple[int, ...]) -> Array:
    return _without_diagonal(given.definite)


def _without_diagonal(matrix: Array) -> Array:
    return jnp.where(jnp.eye(len(matrix), dtype=bool), 0, matrix)


def _first_threshold(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """Off 0 in the clipped form, which would have no non-linearity there."""
    if given.clipped:
        return fan_in_uniform(key, shape, given.dtype)
    return jnp.zeros(shape, given.dtype)


def _twice_hidden(name: str, value: int | None, given: Given) -> int:
    """an integer of at least 1, by default twice `hidden_size`"""
    return at_least_one(name, 2 * given.hidden_size if value is None else value, given)


def _some_units(name: str, value: int | None, given: Given) -> int:
    """an integer from 1 to `hidden_size`, by default half of it, rounded down"""
    size = given.hidden_size
    count = at_least_one(name, max(1, size // 2) if value is None else value, given)
    if count > size:
        raise ValueError(f"expected {name} as an integer from 1 to hidden_size={size}, got {count}")
    return count


class Piecewise(NamedTuple):
    """What multiplies a state entry by entry, a (hidden,), and what multiplies it as a matrix."""

    a: Float[Array, " hidden"]
    W: StateMatrix


@register(
    "plrnn",
    family="vanilla",
    paper="Durstewitz 2017",
    equation="z' = a * z + W relu(z) + C x + b, W without diagonal, |a| <= 1",
    full="""
        a = clip(diagonal, -1, 1)
        W = weight_hh * (1 - I)
        z' = a * z + W relu(z) + C x + b
        y = z'
        where C = weight_ih; b = bias; z = state
    """,
)
class PLRNNCell(AbstractDeclaredCell, init=False):
    r"""Piecewise linear RNN (Durstewitz 2017, doi:10.1371/journal.pcbi.1005542).

    $$z' = a \odot z + W \max(z, 0) + C x + b, \qquad y = z'$$

    State: z, (hidden,), zero at the start. W is `weight_hh` without its diagonal, which is not
    used: a, `diagonal`, stands there, held to [-1, 1] where it is used, as u is in `IndRNNCell`.
    Between kinks the map is linear, so its fixed points, cycles and Lyapunov exponents can be
    computed exactly; that, and the reconstruction of dynamical systems from data, is what the cell
    is for. Nothing bounds its states: see the clipped `ShallowPLRNNCell`. To learn a chaotic
    system, train it with sparse or generalised teacher forcing
    (`rz.models.StateForced` and `rz.train.TeacherForcing`). The cell is a map from one sample to
    the next and has no physical time.

    a and W start as the diagonal and the rest of $(R^\top R / n + I) / \lambda_{max}$ with R
    from N(0, 1) and n units (Talathi & Vartak 2016), C Glorot-uniform, b zero, as in the code of
    the authors.
    """

    definite: ClassVar[Array] = drawn_from(_definite)
    diagonal: Float[Array, " hidden"] = computed(_its_diagonal)
    weight_hh: Float[Array, "hidden hidden"] = computed(_off_its_diagonal)
    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    bias: Float[Array, " hidden"] | None = filled(0.0)

    def constants(self) -> Piecewise:
        W = _without_diagonal(self.weight_hh)
        return Piecewise(held(self.diagonal, -1.0, 1.0), StateMatrix(W))

    def equation(
        self,
        c: Piecewise,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        driven = plus(self.weight_ih @ x + c.W @ jax.nn.relu(state), self.bias)
        z = c.a * state + driven
        return z, z


@register(
    "shallow_plrnn",
    family="vanilla",
    paper="Hess et al. 2023, arXiv:2306.04406",
    equation="z' = a * z + W1 (relu(W2 z + b2) - relu(W2 z)) + C x + b, |a| <= 1",
    covers={"clipped shPLRNN": {"clipped": True}, "shPLRNN": {"clipped": False}},
    full="""
        a = clip(diagonal, -1, 1)
        u = W_2 z
        v = relu(u + b_2) - relu(u)   if clipped
        v = relu(u + b_2)             otherwise
        z' = a * z + W_1 v + C x + b
        y = z'
        where W_1 = weight_1; W_2 = weight_2; C = weight_ih; b = bias; b_2 = bias_2; z = state
    """,
)
class ShallowPLRNNCell(AbstractDeclaredCell, init=False):
    r"""Shallow piecewise linear RNN, clipped or not (Hess et al. 2023, arXiv:2306.04406).

    $$z' = a \odot z + W_1 \big[\max(W_2 z + b_2, 0) - \max(W_2 z, 0)\big] + C x + b, \qquad
    y = z'$$

    State: z, (hidden,), zero at the start. One hidden layer of `latent_size` L units, twice the
    state by default, inside of the step: few state variables, often those that are observed, and a
    rich map of them. `clipped=False` leaves the second maximum out. Clipped, the bracket is at most
    $|b_2|$, so that states stay bounded where |a| < 1; a, `diagonal`, is held to [-1, 1] where it
    is used. As `PLRNNCell`, for the reconstruction of dynamical systems, with the teacher forcing
    named there; a map without a physical time.

    $W_1$ (hidden, L) starts as U(±1/sqrt(L)), $W_2$ (L, hidden) as U(±1/sqrt(hidden)), a as in
    `PLRNNCell`, C Glorot-uniform, b zero, $b_2$ as U(±1/sqrt(L)), and zero where nothing is
    clipped, as in the code of the authors. `use_bias=False` leaves b out and keeps $b_2$.
    """

    definite: ClassVar[Array] = drawn_from(_definite)
    diagonal: Float[Array, " hidden"] = computed(_its_diagonal)
    weight_1: Float[Array, "hidden latent"] = drawn(fan_in_uniform)
    weight_2: Float[Array, "latent hidden"] = drawn(fan_in_uniform)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    bias_2: Float[Array, " latent"] = drawn_from(_first_threshold)
    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    latent_size: ClassVar[int | None] = option(None, _twice_hidden)
    clipped: bool = option(True)

    def constants(self) -> Piecewise:
        return Piecewise(held(self.diagonal, -1.0, 1.0), StateMatrix(self.weight_2))

    def equation(
        self,
        c: Piecewise,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        u = c.W @ state
        v = jax.nn.relu(u + self.bias_2)
        if self.clipped:
            v = v - jax.nn.relu(u)
        z = c.a * state + plus(self.weight_1 @ v + self.weight_ih @ x, self.bias)
        return z, z


@register(
    "alrnn",
    family="vanilla",
    paper="Brenner et al. 2024, arXiv:2410.14240",
    equation="z' = a * z + W [z_1, relu(z_2)] + C x + b",
    covers={"almost-linear RNN": {}},
    full="""
        z_1, z_2 = split(z, columns(W) - rectified_units)
        z' = diagonal * z + W [z_1, relu(z_2)] + C x + b
        y = z'
        where W = weight_hh; C = weight_ih; b = bias; z = state
    """,
)
class ALRNNCell(AbstractDeclaredCell, init=False):
    r"""Almost-linear RNN (Brenner et al. 2024, arXiv:2410.14240).

    $$z' = a \odot z + W [z_1, \dots, z_{n-P}, \max(z_{n-P+1}, 0), \dots, \max(z_n, 0)] + C x + b,
    \qquad y = z'$$

    State: z, (hidden,), zero at the start. Of the n units the last P, `rectified_units` (half of
    them by default, and at least one), are piecewise linear and the others linear, so that the
    state space has at most $2^P$ regions with one linear map each: with P = 2, a system such as
    Lorenz's is described by three or four matrices. What is observed is read off the first
    units. As `PLRNNCell`, for the reconstruction of dynamical systems, with the teacher forcing
    named there; a map without a physical time. Nothing bounds its states.

    a, `diagonal`, starts as in `PLRNNCell`, W from N(0, 0.01^2), C Glorot-uniform, b zero, as in
    the code of the authors. W has a diagonal of its own.
    """

    definite: ClassVar[Array] = drawn_from(_definite)
    diagonal: Float[Array, " hidden"] = computed(_its_diagonal)
    weight_hh: Float[Array, "hidden hidden"] = drawn(normal, std=0.01)
    bias: Float[Array, " hidden"] | None = filled(0.0)
    weight_ih: Float[Array, "hidden input"] = drawn(glorot)
    rectified_units: int = option(None, _some_units)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        linear = jnp.arange(self.output_size) < self.output_size - self.rectified_units
        bent = jnp.where(linear, state, jax.nn.relu(state))
        z = self.diagonal * state + plus(c @ bent + self.weight_ih @ x, self.bias)
        return z, z
