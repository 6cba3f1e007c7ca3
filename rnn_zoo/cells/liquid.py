"""Closed-form continuous-time networks (CfC)."""

__all__ = ["CfCCell"]

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.activations import lecun_tanh, portable
from .._common.dropout import Dropout
from ..base import replace
from ..declared import (
    AbstractDeclaredCell,
    Given,
    at_least_one,
    computed,
    filled,
    one_of,
    option,
    positive,
)
from ..init import glorot
from ..registry import register


MODES = ("default", "pure", "no_gate")


# --- the start ------------------------------------------------------------------------------------


def _layers(name: str, value: int, given: Given) -> int:
    """an integer of at least 1, or 0 for no backbone"""
    return value if value == 0 else at_least_one(name, value, given)


def _units(name: str, value: int, given: Given) -> int:
    """an integer of at least 1"""
    return value if given.backbone_layers == 0 else at_least_one(name, value, given)


def _dropout(name: str, value: float, given: Given) -> float:
    """in [0, 1), and 0 without a backbone"""
    if value and given.backbone_layers == 0:
        raise ValueError(
            f"{name}={value} acts in the backbone and backbone_layers is 0: give the "
            "cell a backbone, or drop features between layers with rz.Stacked(..., dropout=)"
        )
    return value


def _is_pure(given: Given) -> bool:
    return given.mode == "pure"


def _drops(given: Given) -> bool:
    return given.backbone_dropout != 0


def _first_dropout(given: Given, shape: None) -> Dropout:
    return Dropout(given.backbone_dropout)


def _first_backbone(given: Given, shape: None) -> tuple[eqx.nn.Linear, ...]:
    sizes = _widths(given)
    keys = jr.split(given.key, len(sizes))[1:]
    return tuple(_dense(given, k, 1, *pair) for k, pair in zip(keys, zip(sizes[1:], sizes)))


def _first_heads(given: Given, shape: None) -> eqx.nn.Linear:
    sizes = _widths(given)
    blocks = 1 if given.mode == "pure" else 4
    key = jr.split(given.key, len(sizes))[0]
    return _dense(given, key, blocks, given.hidden_size, sizes[-1])


def _widths(given: Given) -> list[int]:
    """Of [x, h] and of the layers of the backbone."""
    return [
        given.input_size + given.hidden_size,
        *[given.backbone_units] * given.backbone_layers,
    ]


def _dense(given: Given, key: PRNGKeyArray, blocks: int, rows: int, columns: int) -> eqx.nn.Linear:
    key_weight, key_bias = jr.split(key)
    layer = eqx.nn.Linear(columns, blocks * rows, dtype=given.dtype, key=key_bias)
    weight = glorot(key_weight, (blocks * rows, columns), given.dtype, blocks=blocks)
    return replace(layer, weight=given.init_gain * weight)


# --- the cell -------------------------------------------------------------------------------------


def _pure(f_1, A, w_tau, time):
    # JAX gives |w| the slope 1 at 0; with PyTorch's slope 0, w_tau would never leave its start.
    return A - A * jnp.exp(-time * (jnp.abs(w_tau) + jnp.abs(f_1))) * f_1


@register(
    "cfc",
    family="liquid",
    paper="Hasani et al. 2022, arXiv:2106.13898",
    equation="h' = (1 - s) * tanh(f1) + s * tanh(f2), s = sig(a dt + b)",
    full="""
        u = layers(backbone, phi, [x, h])
        f_1 = W_1 u + c_1
        f_2 = W_2 u + c_2
        tau = kappa dt
        s = sig((W_a u + c_a) tau + W_b u + c_b)
        f = W u + c
        h' = (1 - s) * tanh(f_1) + s * tanh(f_2)           if mode = default
        h' = tanh(f_1) + s * tanh(f_2)                     if mode = no_gate
        h' = A - A * exp(-tau (abs(w_tau) + abs(f))) * f   if mode = pure
        y = h'
        where W_1, W_2, W_a, W_b = heads.weight; c_1, c_2, c_a, c_b = heads.bias
              W = heads.weight; c = heads.bias
              phi = activation; kappa = time_scale_factor; h = state
    """,
)
class CfCCell(AbstractDeclaredCell, init=False):
    r"""Closed-form continuous-time network (Hasani et al. 2022, arXiv:2106.13898).

    $$u = \mathrm{backbone}([x, h]), \qquad f_1, f_2, a, b = W u + c, \qquad
    s = \sigma(a \tau + b), \qquad \tau = \kappa\, dt, \qquad y = h'$$
    $$h' = (1 - s) \odot \tanh f_1 + s \odot \tanh f_2 \quad\text{(default)}, \qquad
    h' = \tanh f_1 + s \odot \tanh f_2 \quad\text{(no\_gate)}$$
    $$h' = A - A \odot e^{-\tau (|w_\tau| + |f_1|)} \odot f_1 \quad\text{(pure)}$$

    State: h, (hidden,), zero at the start. Timed; $\kappa$ is `time_scale_factor`. h acts
    through the backbone alone, so dt = 0 does not hold the state: it asks for the output at
    the time of the step before. The backbone is `backbone_layers` times linear, `activation`,
    dropout; without layers u = [x, h]. `backbone_dropout` acts after every layer, also where
    there is one only (the PyTorch package ncps then leaves it out); with a rate above 0 the
    cell is stochastic.

    Blocks of W in the order f_1, f_2, a, b; `pure` has f_1 alone. Weights Glorot-uniform times
    `init_gain`, biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)), $w_\tau = 0$, $A = 1$ as in the
    authors' code (ncps draws both at random), whose runs have gains from 0.5 to 1.35. For
    irregular samples, where an ODE solver is too slow.
    """

    backbone: tuple[eqx.nn.Linear, ...] = computed(_first_backbone)
    heads: eqx.nn.Linear = computed(_first_heads)
    A: Float[Array, " hidden"] | None = filled(1.0, when=_is_pure)
    w_tau: Float[Array, " hidden"] | None = filled(0.0, when=_is_pure)
    dropout: Dropout | None = computed(_first_dropout, when=_drops)
    mode: str = option("default", one_of(*MODES))
    activation: Callable = option(lecun_tanh, converter=portable)
    time_scale_factor: float = option(1.0, positive)
    backbone_layers: ClassVar[int] = option(1, _layers)
    backbone_units: ClassVar[int] = option(128, _units)
    backbone_dropout: ClassVar[float] = option(0.0, _dropout)
    init_gain: ClassVar[float] = option(1.0, positive)

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None

    def equation(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
        *,
        key: Any = None,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        z = self.heads(self._features(x, state, key))
        time = self.time_scale_factor * dt
        if self.mode == "pure":
            h = _pure(z, self.A, self.w_tau, time)
            return h, h
        f_1, f_2, a, b = jnp.split(z, 4)
        s = jax.nn.sigmoid(a * time + b)
        first = jnp.tanh(f_1) if self.mode == "no_gate" else (1 - s) * jnp.tanh(f_1)
        h = first + s * jnp.tanh(f_2)
        return h, h

    def _features(self, x: Array, h: Array, key: Any) -> Array:
        """What the heads read."""
        u = jnp.concatenate([x, h])
        keys = [None] * len(self.backbone) if key is None else jr.split(key, len(self.backbone))
        for layer, k in zip(self.backbone, keys):
            u = self.activation(layer(u))
            u = u if self.dropout is None else self.dropout(u, key=k)
        return u
