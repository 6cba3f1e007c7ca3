"""The residual block around a recurrent layer, and what it mixes features with."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import Steps, check_choice, check_parts, check_steps
from .._common.dropout import Dropout, make_dropout
from .._common.dtypes import half_as, working_dtype, working_float
from .._common.keys import spread_keys
from .._engine.rows import by_rows
from ..base import AbstractCell, State
from ..scan import unroll
from .base import AbstractLayer, Directions, hide, mixed, require_step
from .norms import FrozenBatchNorm, make_norm
from .pointwise import Elementwise
from .sequence_dropout import SequenceDropout, drop_steps
from .stacked import as_layer


class AbstractMix(eqx.Module):
    """A map of features in two parts, between which a block may drop some."""

    exact_gelu: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def inner(self, x: Array) -> Array:
        """What the learned maps, or the last of them, read."""

    @abc.abstractmethod
    def outer(self, x: Array, g: Array) -> Array:
        """The output, from x and `inner(x)`."""

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.outer(x, self.inner(x))


class GLU(AbstractMix):
    r"""Gated linear unit, $V g \odot \sigma(W g)$ with $g = \mathrm{gelu}(x)$ (S5's full GLU).

    gelu is the tanh approximation, here and below, and exact with `exact_gelu`.
    """

    value: eqx.nn.Linear
    gate: eqx.nn.Linear
    exact_gelu: bool = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        exact_gelu: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        key_value, key_gate = jr.split(key)
        self.value = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_value)
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_gate)
        self.exact_gelu = exact_gelu

    def inner(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=not self.exact_gelu)

    def outer(self, x: Array, g: Array) -> Array:
        return self.value(g) * jax.nn.sigmoid(self.gate(g))


class HalfGLU1(AbstractMix):
    r"""$g \odot \sigma(W g)$ with $g = \mathrm{gelu}(x)$: the value is not mapped."""

    gate: eqx.nn.Linear
    exact_gelu: bool = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        exact_gelu: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key)
        self.exact_gelu = exact_gelu

    def inner(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=not self.exact_gelu)

    def outer(self, x: Array, g: Array) -> Array:
        return g * jax.nn.sigmoid(self.gate(g))


class HalfGLU2(AbstractMix):
    r"""$x \odot \sigma(W\, \mathrm{gelu}(x))$: only the gate is non-linear."""

    gate: eqx.nn.Linear
    exact_gelu: bool = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        exact_gelu: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key)
        self.exact_gelu = exact_gelu

    def inner(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=not self.exact_gelu)

    def outer(self, x: Array, g: Array) -> Array:
        return x * jax.nn.sigmoid(self.gate(g))


class MLP(AbstractMix):
    r"""Two-layer perceptron, $V \mathrm{gelu}(W x)$ with twice `output_size` hidden units."""

    hidden: eqx.nn.Linear
    output: eqx.nn.Linear
    exact_gelu: bool = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        exact_gelu: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        key_hidden, key_output = jr.split(key)
        width = 2 * output_size
        self.hidden = eqx.nn.Linear(input_size, width, dtype=dtype, key=key_hidden)
        self.output = eqx.nn.Linear(width, output_size, dtype=dtype, key=key_output)
        self.exact_gelu = exact_gelu

    def inner(self, x: Array) -> Array:
        return jax.nn.gelu(self.hidden(x), approximate=not self.exact_gelu)

    def outer(self, x: Array, g: Array) -> Array:
        return self.output(g)


def exact_gelu(x: Array) -> Array:
    """x times the normal distribution function, without the approximation by tanh."""
    return jax.nn.gelu(x, approximate=False)


def _elementwise(
    input_size: int, output_size: int, *, exact_gelu: bool, dtype: Any, key: PRNGKeyArray
) -> Elementwise:
    return _EXACT if exact_gelu else _APPROXIMATE


def _identity(
    input_size: int, output_size: int, *, exact_gelu: bool, dtype: Any, key: PRNGKeyArray
) -> eqx.nn.Identity:
    return eqx.nn.Identity()


_APPROXIMATE, _EXACT = Elementwise(jax.nn.gelu), Elementwise(exact_gelu)
MIXERS = {
    "glu": GLU,
    "half_glu1": HalfGLU1,
    "half_glu2": HalfGLU2,
    "gelu": _elementwise,
    "mlp": MLP,
    "none": _identity,
}
# The others map to any size.
_KEEP_THE_SIZE = ("half_glu1", "half_glu2", "gelu", "none")


class Block(AbstractLayer, AbstractCell):
    r"""A recurrent layer with a skip connection, after S4 and S5.

    $$y_t = x_t + \mathrm{dropout}\big(\mathrm{mix}(\mathrm{layer}(\mathrm{norm}(x))_t)\big)$$

    norm is over features; without `prenorm` it comes last,
    $y_t = \mathrm{norm}(x_t + \mathrm{dropout}(\mathrm{mix}(\mathrm{layer}(x)_t)))$. mix is
    `GLU` ("glu", S5's full GLU), `HalfGLU1`, `HalfGLU2`, "gelu" alone, `MLP`, or "none" for
    layers that mix their features themselves, such as `MambaBlock`. "glu" and "mlp" bring the
    layer's outputs back to the block's size, so that a bidirectional layer fits as well. A
    layer, and a cell where the layer inside steps. Outputs of masked steps are zero. The
    state is the layer's; with `broadcast_dropout` (layer's, a `SequenceDropoutState` for each
    rate that is not 0, `dropout`'s first).
    """

    norm: eqx.nn.LayerNorm | eqx.nn.RMSNorm | FrozenBatchNorm
    layer: Any
    mix: Any
    dropout: Dropout | SequenceDropout | None
    mix_dropout: Dropout | SequenceDropout | None
    prenorm: bool = eqx.field(static=True)

    def __init__(
        self,
        layer: Any,
        *,
        mix: str = "glu",
        norm: str = "layer",
        eps: float = 1e-5,
        prenorm: bool = True,
        exact_gelu: bool = False,
        dropout: float = 0.0,
        mix_dropout: float = 0.0,
        broadcast_dropout: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `layer`: a cell or layer.
        - `mix`: "glu", "mlp", or, where the layer keeps the size, "half_glu1", "half_glu2",
          "gelu", "none".
        - `norm`: "layer", "rms" (without a bias) or "batch", a `FrozenBatchNorm`; `eps`: what it
          adds to the variance. Flax has 1e-6 in its layer norm, 1e-5 in its batch norm.
        - `prenorm`: the norm before the layer, or after the skip.
        - `exact_gelu`: the gelu of `mix` by the error function, as torch has it by default.
        - `dropout`: in [0, 1), of what is added to x; `mix_dropout`: of what the last map of `mix`
          reads. S5 and LRU have one rate at both places.
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
        self.norm = make_norm(norm, size, eps=eps, dtype=dtype)
        self.mix = MIXERS[mix](given, size, exact_gelu=exact_gelu, dtype=dtype, key=key)
        self.dropout, self.mix_dropout = make_dropout(dropout), make_dropout(mix_dropout)
        if self.mix_dropout is not None and not isinstance(self.mix, AbstractMix):
            raise ValueError(
                f"mix_dropout={mix_dropout} acts before the map of mix, and mix={mix!r} has none: "
                "give dropout alone"
            )
        if broadcast_dropout and self.dropout is not None:
            self.dropout = SequenceDropout(size, dropout)
        if broadcast_dropout and self.mix_dropout is not None:
            x = jax.ShapeDtypeStruct((given,), working_float(dtype))
            width = eqx.filter_eval_shape(lambda mix, x: mix.inner(x), self.mix, x).shape[0]
            self.mix_dropout = SequenceDropout(width, mix_dropout)
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
        drops = (self.dropout, self.mix_dropout)
        return drops != (None, None) or self.layer.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(before + self.layer.directions(), self.output_size)

    def init_state(self) -> State:
        drops = [d for d in (self.dropout, self.mix_dropout) if isinstance(d, SequenceDropout)]
        inner = self.layer.init_state()
        return (inner, *(d.init_state() for d in drops)) if drops else inner

    def constants(self) -> Any:
        """Those of the layer inside. TypeError where it cannot step."""
        require_step(self.layer)
        return self.layer.constants()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of the layer inside, mixed and added to x."""
        inner, *kept = self._opened(state)
        keys = [None] * 3 if key is None else jr.split(key, self._draws)
        inner, z = self.layer.advance(c, inner, self._before(x), dt, keys[0])
        if self.mix_dropout is None:
            z = self.mix(z)
        else:
            kept[1], g = _dropped(self.mix_dropout, kept[1], self.mix.inner(z), keys[2])
            z = self.mix.outer(z, g)
        kept[0], z = _dropped(self.dropout, kept[0], z, keys[1])
        return self._closed(inner, kept), self._after(x + z)

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
        inner, *kept = self._opened(state)
        keys = spread_keys(steps.key, self._draws)
        # Before the norm: a NaN in padding would come back through its gradient.
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        inner, zs = self.layer.scan(
            jax.vmap(self._before)(xs),
            inner,
            dt=steps.dt,
            mask=steps.mask,
            reset=steps.reset,
            key=keys[0],
        )
        if self.mix_dropout is None:
            zs = jax.vmap(by_rows(self.mix))(zs)
        else:
            gs = jax.vmap(by_rows(self.mix.inner))(zs)
            kept[1], gs = _dropped_over_time(self.mix_dropout, kept[1], gs, steps, keys[2])
            zs = jax.vmap(by_rows(self.mix.outer))(zs, gs)
        kept[0], zs = _dropped_over_time(self.dropout, kept[0], zs, steps, keys[1])
        ys = jax.vmap(self._after)(xs + zs)
        return self._closed(inner, kept), hide(steps.mask, half_as(steps.x, ys))

    @property
    def _draws(self) -> int:
        """Keys of a step: the layer's, and one for each dropout."""
        return 2 if self.mix_dropout is None else 3

    def _opened(self, state: Any) -> tuple[Any, Any, Any]:
        """The states of the layer, of `dropout` and of `mix_dropout`, None where there is none."""
        shared = [isinstance(d, SequenceDropout) for d in (self.dropout, self.mix_dropout)]
        if not any(shared):
            return state, None, None
        inner, *kept = check_parts(state, 1 + sum(shared), "a block with broadcast_dropout")
        return inner, kept.pop(0) if shared[0] else None, kept.pop(0) if shared[1] else None

    def _closed(self, inner: Any, kept: list[Any]) -> State:
        """The inverse of `_opened`."""
        states = [
            state
            for state, dropout in zip(kept, (self.dropout, self.mix_dropout))
            if isinstance(dropout, SequenceDropout)
        ]
        return (inner, *states) if states else inner

    def _before(self, x: Array) -> Array:
        return self.norm(x) if self.prenorm else x

    def _after(self, y: Array) -> Array:
        return y if self.prenorm else self.norm(y)


def _dropped(dropout: Any, kept: Any, z: Array, key: Any) -> tuple[Any, Array]:
    """The state of a dropout after a step, and what it leaves of z."""
    if isinstance(dropout, SequenceDropout):
        return dropout.step(kept, z, key=key)
    return kept, z if dropout is None else dropout(z, key=key)


def _dropped_over_time(
    dropout: Any, kept: Any, zs: Array, steps: Steps, keys: Any
) -> tuple[Any, Array]:
    """`_dropped` for every step of a sequence."""
    if isinstance(dropout, SequenceDropout):
        return unroll(dropout, zs, kept, mask=steps.mask, reset=steps.reset, key=keys)
    return kept, zs if dropout is None else drop_steps(dropout, zs, keys)
