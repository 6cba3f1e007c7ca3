"""A gated cell that reads features of which some are missing: GRU-D."""

__all__ = ["GRUDCell", "GRUDState"]

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.dtypes import state_dtype, zero_state
from .._common.fixed import Fixed
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    computed,
    drawn,
    drawn_from,
    filled,
    option,
    positive,
)
from ..init import glorot, orthogonal, uniform
from ..registry import register


class GRUDState(NamedTuple):
    """State of a GRU-D: hidden h, (hidden,); of each feature, (input,), the value that was last
    seen, and the time since then."""

    h: Float[Array, " hidden"]
    x_last: Float[Array, " input"]
    age: Float[Array, " input"]


def checked_means(name: str, value: Any, size: int) -> np.ndarray:
    """(size,) float64, from one finite number for all features or one for each."""
    means = np.asarray(value, np.float64)
    if means.shape not in ((), (size,)) or not np.isfinite(means).all():
        raise ValueError(
            f"expected {name} as one finite number or ({size},) of them, one for each feature, "
            f"got {value!r}: np.nanmean(xs, axis=(0, 1)) leaves missing values out"
        )
    return np.broadcast_to(means, (size,))


def _means(name: str, value: Any, given: Given) -> np.ndarray:
    """what a feature is taken for that was not seen for long: one number, or (input,) of them"""
    return checked_means(name, value, given.input_size)


def _fixed_means(given: Given, shape: None) -> Fixed:
    return Fixed(jnp.asarray(given.input_mean, given.dtype))


def _decays(given: Given, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    # Above 0, since a decay at 0 or below has no gradient; a state reads the ages of all features.
    share = given.decay / (shape[-1] if len(shape) == 2 else 1)
    return uniform(key, shape, given.dtype, low=0.0, high=share)


@register(
    "gru_d",
    family="gated",
    paper="Che et al. 2018, arXiv:1606.01865",
    equation="h' = GRU of decayed x, decayed h, and which features are seen",
    full="""
        m = seen(x)
        delta = age + dt
        gamma_x = exp(-relu(d_x * delta + c_x))
        gamma_h = exp(-relu(D delta + c_h))
        x_last' = m * known(x) + (1 - m) * x_last
        u = m * known(x) + (1 - m) * (gamma_x * x_last + (1 - gamma_x) * mu)
        v = gamma_h * h
        r = sig(W_r u + U_r v + V_r m + b_r)
        z = sig(W_z u + U_z v + V_z m + b_z)
        n = tanh(W_n u + U_n (r * v) + V_n m + b_n)
        h' = (1 - z) * v + z * n
        age' = (1 - m) * delta
        y = h'
        where W_r, W_z, W_n = weight_ih
              U_r, U_z, U_n = weight_hh
              V_r, V_z, V_n = weight_mask
              b_r, b_z, b_n = bias
              d_x = decay_x; c_x = bias_decay_x; D = decay_h; c_h = bias_decay_h
              mu = mean; h, x_last, age = state
    """,
)
class GRUDCell(AbstractDeclaredCell, init=False):
    r"""GRU-D (Che et al. 2018, arXiv:1606.01865): a GRU for features that are missing at times.

    A feature of x that is NaN was not seen at this step. With m = 1 where a feature was seen, and
    $\delta$ = age + dt the time since it was seen before this step,

    $$\gamma_x = e^{-\max(0, d_x \odot \delta + c_x)}, \qquad
    \gamma_h = e^{-\max(0, D \delta + c_h)}$$
    $$\hat x = m\,x + (1 - m) \big(\gamma_x x_{last} + (1 - \gamma_x) \bar x\big), \qquad
    \hat h = \gamma_h \odot h$$
    $$r, z = \sigma(W \hat x + U \hat h + V m + b)_{r,z}, \qquad
    n = \tanh(W_n \hat x + U_n (r \odot \hat h) + V_n m + b_n)$$
    $$h' = (1 - z) \odot \hat h + z \odot n, \qquad y = h'$$

    State: `GRUDState(h, x_last, age)`, at the start 0, the mean, 0. Blocks in the order r, z, n; z
    is the paper's, the share that is replaced, and the update keeps the decayed state. Timed: `dt`
    is the time since the step before. The decay of h acts at every step, so dt = 0 does not
    hold the state. Give times in a unit in which gaps are near 1: of $\delta$ in seconds nothing
    would be left. A feature that was not seen at the first step is as old as the first dt, which
    `rz.elapsed` makes 1, and 0 with `first=0` as the paper has it.

    $\bar x$ is `input_mean`, a number or (input,) of the training part, and does not train; with 0
    standardise x first, without its missing values. Decays of x start as U(0, `decay`), those of h
    as U(0, decay / input), biases of decays at 0: at 0 or below they had no gradient. Other weights
    as in `GRUCell`. Masked steps are something else: there no step happens at all. NaN belongs to
    the input of this cell alone, so nothing may mix features in front of it; infinite values are
    not taken for missing.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "3*hidden hidden"] = drawn(orthogonal, blocks=3)
    weight_mask: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    bias: Float[Array, " 3*hidden"] | None = filled(0.0)
    decay_x: Float[Array, " input"] = drawn_from(_decays)
    bias_decay_x: Float[Array, " input"] = filled(0.0)
    decay_h: Float[Array, "hidden input"] = drawn_from(_decays)
    bias_decay_h: Float[Array, " hidden"] = filled(0.0)
    mean: Fixed = computed(_fixed_means)
    input_mean: ClassVar[ArrayLike] = option(0.0, _means)
    decay: ClassVar[float] = option(0.1, positive)
    takes_missing: ClassVar[bool] = True

    def init_state(self) -> GRUDState:
        dtype = state_dtype(self.weight_hh)
        return GRUDState(
            zero_state(self.output_size, self.weight_hh),
            self.mean.value.astype(dtype),
            jnp.zeros(self.input_size, dtype),
        )

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: GRUDState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[GRUDState, Float[Array, " {self.output_size}"]]:
        seen = ~jnp.isnan(x)
        delta = state.age + jnp.asarray(dt, state.age.dtype)
        gamma_x = jnp.exp(-jax.nn.relu(self.decay_x * delta + self.bias_decay_x))
        gamma_h = jnp.exp(-jax.nn.relu(self.decay_h @ delta + self.bias_decay_h))
        faded = gamma_x * state.x_last + (1 - gamma_x) * self.mean.value
        # Chosen before anything is multiplied: 0 times NaN is NaN, in gradients as well.
        u, h = jnp.where(seen, x, faded), gamma_h * state.h
        from_x = self.weight_ih @ u + self.weight_mask @ seen.astype(u.dtype)
        from_x = plus(from_x, self.bias)
        split = 2 * self.output_size
        r, z = jnp.split(jax.nn.sigmoid(from_x[:split] + c[:split] @ h), 2)
        n = jnp.tanh(from_x[split:] + c[split:] @ (r * h))
        h = (1 - z) * h + z * n
        age = jnp.where(seen, jnp.zeros_like(delta), delta)
        return GRUDState(h, jnp.where(seen, x, state.x_last), age), h
