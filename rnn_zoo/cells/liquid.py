"""Closed-form continuous-time networks (CfC)."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.activations import lecun_tanh, portable
from .._common.checks import check_positive, check_sizes
from .._common.dropout import Dropout, make_dropout
from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell, replace
from ..init import glorot
from ..registry import register


MODES = ("default", "pure", "no_gate")


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
class CfCCell(AbstractCell):
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

    backbone: tuple[eqx.nn.Linear, ...]
    heads: eqx.nn.Linear
    A: Float[Array, " hidden"] | None
    w_tau: Float[Array, " hidden"] | None
    dropout: Dropout | None
    mode: str = eqx.field(static=True)
    activation: Callable = eqx.field(static=True, converter=portable)
    time_scale_factor: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mode: str = "default",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        activation: Callable = lecun_tanh,
        backbone_dropout: float = 0.0,
        time_scale_factor: float = 1.0,
        init_gain: float = 1.0,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`mode`: "default", "pure" or "no_gate"; `backbone_layers` may be 0.

        ValueError for another mode, a dropout without backbone, a factor or gain that is not
        positive.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        _check_options(mode, backbone_units, backbone_layers, backbone_dropout)
        dtype = working_float(dtype)
        key_heads, *keys = jr.split(key, 1 + backbone_layers)
        sizes = [input_size + hidden_size] + [backbone_units] * backbone_layers
        gain = check_positive("init_gain", init_gain)
        self.backbone = tuple(
            _dense(k, 1, rows, columns, dtype, gain)
            for k, rows, columns in zip(keys, sizes[1:], sizes)
        )
        blocks = 1 if mode == "pure" else 4
        self.heads = _dense(key_heads, blocks, hidden_size, sizes[-1], dtype, gain)
        self.A = jnp.ones(hidden_size, dtype) if mode == "pure" else None
        self.w_tau = jnp.zeros(hidden_size, dtype) if mode == "pure" else None
        self.dropout = make_dropout(backbone_dropout)
        self.mode, self.activation = mode, activation
        self.time_scale_factor = check_positive("time_scale_factor", time_scale_factor)
        self.input_size, self.output_size = input_size, hidden_size

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return jnp.zeros(self.output_size, state_dtype(self.heads.weight))

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
        elif self.mode == "no_gate":
            h = _no_gate(z, time)
        else:
            h = _gated(z, time)
        return h, h

    def _features(self, x: Array, h: Array, key: Any) -> Array:
        """What the heads read."""
        u = jnp.concatenate([x, h])
        keys = [None] * len(self.backbone) if key is None else jr.split(key, len(self.backbone))
        for layer, k in zip(self.backbone, keys):
            u = self.activation(layer(u))
            u = u if self.dropout is None else self.dropout(u, key=k)
        return u


def _gated(z, time):
    f_1, f_2, a, b = jnp.split(z, 4)
    s = jax.nn.sigmoid(a * time + b)
    return (1 - s) * jnp.tanh(f_1) + s * jnp.tanh(f_2)


def _no_gate(z, time):
    f_1, f_2, a, b = jnp.split(z, 4)
    return jnp.tanh(f_1) + jax.nn.sigmoid(a * time + b) * jnp.tanh(f_2)


def _pure(f_1, A, w_tau, time):
    # JAX gives |w| the slope 1 at 0; with PyTorch's slope 0, w_tau would never leave its start.
    return A - A * jnp.exp(-time * (jnp.abs(w_tau) + jnp.abs(f_1))) * f_1


def _dense(
    key: PRNGKeyArray, blocks: int, rows: int, columns: int, dtype: Any, gain: float
) -> eqx.nn.Linear:
    key_weight, key_bias = jr.split(key)
    layer = eqx.nn.Linear(columns, blocks * rows, dtype=dtype, key=key_bias)
    return replace(
        layer, weight=gain * glorot(key_weight, (blocks * rows, columns), dtype, blocks=blocks)
    )


def _check_options(mode: str, units: int, layers: int, dropout: float) -> None:
    if mode not in MODES:
        raise ValueError(f"expected mode to be one of {MODES}, got {mode!r}")
    if layers != 0:
        check_sizes(backbone_units=units, backbone_layers=layers)
    elif dropout:
        raise ValueError(
            f"backbone_dropout={dropout} acts in the backbone and backbone_layers is 0: give the "
            "cell a backbone, or drop features between layers with rz.Stacked(..., dropout=)"
        )
