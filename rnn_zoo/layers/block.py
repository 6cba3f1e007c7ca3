"""The residual block around a recurrent layer, and what it mixes features with."""

from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._checks import check_parts, check_steps, spread_keys
from ..base import AbstractCell, State, advance, contract, half_as, replace, working_dtype
from ..init import check_choice
from ..scan import unroll
from .base import AbstractLayer, Directions, hide, mixed, require_step
from .dropout import Dropout, SequenceDropout, drop_steps, make_dropout
from .pointwise import Elementwise
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


class HalfGLU1(eqx.Module):
    r"""$g \odot \sigma(W g)$ with $g = \mathrm{gelu}(x)$: the value is not mapped."""

    gate: eqx.nn.Linear

    def __init__(self, input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray):
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key)

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " input"]:
        g = jax.nn.gelu(x)
        return g * jax.nn.sigmoid(self.gate(g))


class HalfGLU2(eqx.Module):
    r"""$x \odot \sigma(W\, \mathrm{gelu}(x))$: only the gate is non-linear."""

    gate: eqx.nn.Linear

    def __init__(self, input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray):
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key)

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " input"]:
        return x * jax.nn.sigmoid(self.gate(jax.nn.gelu(x)))


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


def _without_map(function):
    def make(input_size: int, output_size: int, *, dtype: Any = None, key: PRNGKeyArray):
        return function

    return make


MIXERS = {
    "glu": GLU,
    "half_glu1": HalfGLU1,
    "half_glu2": HalfGLU2,
    "gelu": _without_map(Elementwise(jax.nn.gelu)),
    "mlp": MLP,
    "none": _without_map(eqx.nn.Identity()),
}
# The others map to any size.
_KEEP_THE_SIZE = ("half_glu1", "half_glu2", "gelu", "none")


class Block(AbstractLayer, AbstractCell):
    r"""A recurrent layer with a skip connection, after S4 and S5.

    $$y_t = x_t + \mathrm{dropout}\big(\mathrm{mix}(\mathrm{layer}(\mathrm{norm}(x))_t)\big)$$

    norm is LayerNorm over features; without `prenorm` it comes last,
    $y_t = \mathrm{norm}(x_t + \mathrm{dropout}(\mathrm{mix}(\mathrm{layer}(x)_t)))$. mix is
    `GLU` ("glu", S5's full GLU), `HalfGLU1`, `HalfGLU2`, "gelu" alone, `MLP`, or "none" for
    layers that mix their features themselves, such as `MambaBlock`. "glu" and "mlp" bring the
    layer's outputs back to the block's size, so that a bidirectional layer fits as well. A
    layer, and a cell where the layer inside steps. Outputs of masked steps are zero. The
    state is the layer's; with `broadcast_dropout` (layer's, `SequenceDropoutState`).
    """

    norm: eqx.nn.LayerNorm
    layer: Any
    mix: Any
    dropout: Dropout | SequenceDropout | None
    prenorm: bool = eqx.field(static=True)

    def __init__(
        self,
        layer: Any,
        *,
        mix: str = "glu",
        prenorm: bool = True,
        dropout: float = 0.0,
        broadcast_dropout: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `layer`: a cell or layer.
        - `mix`: "glu", "mlp", or, where the layer keeps the size, "half_glu1", "half_glu2",
          "gelu", "none".
        - `prenorm`: the norm before the layer, or after the skip.
        - `dropout`: in [0, 1).
        - `broadcast_dropout`: one draw for all steps of a sequence.

        ValueError for any other.
        """
        self.layer = as_layer(layer)
        size, given = self.layer.input_size, self.layer.output_size
        check_choice("mix", mix, MIXERS)
        if mix in _KEEP_THE_SIZE and given != size:
            raise ValueError(
                f"expected a layer that gives the {size} features that it reads for mix={mix!r}, "
                f'got {given}: "glu" and "mlp" map them back'
            )
        self.norm = eqx.nn.LayerNorm(size, dtype=dtype)
        self.mix = MIXERS[mix](given, size, dtype=dtype, key=key)
        self.dropout = make_dropout(dropout)
        if broadcast_dropout and self.dropout is not None:
            self.dropout = SequenceDropout(size, dropout)
        self.prenorm = prenorm

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
        inner = self.layer.init_state()
        if isinstance(self.dropout, SequenceDropout):
            return (inner, self.dropout.init_state())
        return inner

    def prepare(self) -> "Block":
        return replace(self, layer=self.layer.prepare())

    @contract
    def step(
        self, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of the layer inside, mixed and added to x."""
        require_step(self.layer)
        keys = [None, None] if key is None else jr.split(key)
        shared = isinstance(self.dropout, SequenceDropout)
        inner = state[0] if shared else state
        after, z = advance(self.layer, inner, self._before(x), dt, key=keys[0])
        z = self.mix(z)
        if isinstance(self.dropout, SequenceDropout):
            kept, z = self.dropout.step(state[1], z, key=keys[1])
            after = (after, kept)
        elif self.dropout is not None:
            z = self.dropout(z, key=keys[1])
        return after, self._after(x + z)

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
        shared = isinstance(self.dropout, SequenceDropout)
        inner, kept = (
            check_parts(state, 2, "a block with broadcast_dropout") if shared else (state, None)
        )
        keys = spread_keys(steps.key, 2)
        # Before the norm: a NaN in padding would come back through its gradient.
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        after, zs = self.layer.scan(
            jax.vmap(self._before)(xs),
            inner,
            dt=steps.dt,
            mask=steps.mask,
            reset=steps.reset,
            key=keys[0],
        )
        zs = jax.vmap(self.mix)(zs)
        if isinstance(self.dropout, SequenceDropout):
            kept, zs = unroll(
                self.dropout, zs, kept, mask=steps.mask, reset=steps.reset, key=keys[1]
            )
            after = (after, kept)
        elif self.dropout is not None:
            zs = drop_steps(self.dropout, zs, keys[1])
        ys = jax.vmap(self._after)(xs + zs)
        return after, hide(steps.mask, half_as(steps.x, ys))

    def _before(self, x: Array) -> Array:
        return self.norm(x) if self.prenorm else x

    def _after(self, y: Array) -> Array:
        return y if self.prenorm else self.norm(y)
