"""The residual block around a recurrent layer, and what it mixes features with."""

from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._checks import check_steps, spread_keys
from ..base import AbstractCell, State, advance, contract, half_as, replace, working_dtype
from .base import AbstractLayer, Directions, hide, mixed, require_step
from .dropout import Dropout, drop_steps, make_dropout
from .stacked import as_layer


class GLU(eqx.Module):
    r"""Gated linear unit, $V g \odot \sigma(W g)$ with $g = \mathrm{gelu}(x)$ (S5's full GLU)."""

    value: eqx.nn.Linear
    gate: eqx.nn.Linear

    def __init__(self, input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray):
        key_value, key_gate = jr.split(key)
        self.value = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_value)
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_gate)

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        g = jax.nn.gelu(x)
        return self.value(g) * jax.nn.sigmoid(self.gate(g))


class MLP(eqx.Module):
    r"""Two-layer perceptron, $V \mathrm{gelu}(W x)$ with twice `output_size` hidden units."""

    hidden: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(self, input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray):
        key_hidden, key_output = jr.split(key)
        width = 2 * output_size
        self.hidden = eqx.nn.Linear(input_size, width, dtype=dtype, key=key_hidden)
        self.output = eqx.nn.Linear(width, output_size, dtype=dtype, key=key_output)

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.output(jax.nn.gelu(self.hidden(x)))


MIXERS = {"glu": GLU, "mlp": MLP}


class Block(AbstractLayer, AbstractCell):
    r"""A recurrent layer with a skip connection, after S4 and S5.

    $$y_t = x_t + \mathrm{dropout}\big(\mathrm{mix}(\mathrm{layer}(\mathrm{norm}(x))_t)\big)$$

    norm is LayerNorm over features; mix is a `GLU` or `MLP` that brings the layer's outputs
    back to the block's size, so a bidirectional layer fits as well. A layer, and a cell
    where the layer inside steps. Outputs of masked steps are zero.
    """

    norm: eqx.nn.LayerNorm
    layer: Any
    mix: Any
    dropout: Dropout | None

    def __init__(
        self,
        layer: Any,
        *,
        mix: str = "glu",
        dropout: float = 0.0,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """A cell or layer; `mix` "glu" or "mlp" (ValueError otherwise); `dropout` in [0, 1)."""
        if mix not in MIXERS:
            raise ValueError(f"expected mix to be one of {tuple(MIXERS)}, got {mix!r}")
        self.layer = as_layer(layer)
        size = self.layer.input_size
        self.norm = eqx.nn.LayerNorm(size, dtype=dtype)
        self.mix = MIXERS[mix](self.layer.output_size, size, dtype=dtype, key=key)
        self.dropout = make_dropout(dropout)

    @property
    def input_size(self) -> int:
        return self.layer.input_size

    @property
    def output_size(self) -> int:
        return self.layer.input_size

    @property
    def timed(self) -> bool:
        return self.layer.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None or self.layer.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(before + self.layer.directions(), self.output_size)

    def init_state(self) -> State:
        return self.layer.init_state()

    def prepare(self) -> "Block":
        return replace(self, layer=self.layer.prepare())

    @contract
    def step(
        self, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of the layer inside, mixed and added to x."""
        require_step(self.layer)
        keys = [None, None] if key is None else jr.split(key)
        state, z = advance(self.layer, state, self.norm(x), dt, key=keys[0])
        z = self.mix(z)
        return state, x + (z if self.dropout is None else self.dropout(z, key=keys[1]))

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The final state of the layer inside, and the outputs."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        keys = spread_keys(steps.key, 2)
        # Before the norm: a NaN in padding would come back through its gradient.
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        state, zs = self.layer.scan(
            jax.vmap(self.norm)(xs),
            state,
            dt=steps.dt,
            mask=steps.mask,
            reset=steps.reset,
            key=keys[0],
        )
        zs = jax.vmap(self.mix)(zs)
        if self.dropout is not None:
            zs = drop_steps(self.dropout, zs, keys[1])
        return state, hide(steps.mask, half_as(steps.x, xs + zs))
