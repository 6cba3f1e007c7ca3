"""A model that runs on its own outputs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, ArrayLike

from .._common.activations import portable
from .._common.checks import check_sizes
from .._common.keys import check_key
from .._common.numbers import exactly
from ..base import AbstractCell, State, check_cell
from ..layers.base import AbstractLayer
from ..scan import unroll
from ..wrappers.held import hold


class Autoregressive(eqx.Module):
    """Warm up on data, then run on: the next input is made of the last output.

    `model`: a cell, a stack, or a model without pooling, trained to say the next input. With
    `feedback` None the output itself is read again; else `feedback(y, key)` makes the input of
    it, as `Sample` does for tokens. A model that reads more than that, known inputs of the
    steps to come, takes them as `inputs`, behind what is fed back.

    Everything runs in one `lax.scan` and has derivatives; `rz.metrics.valid_prediction_time`
    says how long a forecast of a chaotic system holds.
    """

    model: Any
    feedback: Callable[[Array, Any], Array] | None = eqx.field(static=True, converter=portable)

    def __init__(self, model: Any, *, feedback: Callable[[Array, Any], Array] | None = None):
        """TypeError for what does not step."""
        if not isinstance(model, AbstractLayer):
            check_cell(model)
        self.model, self.feedback = model, feedback

    def __call__(
        self,
        xs: ArrayLike,
        steps: int,
        state: Any = None,
        *,
        inputs: ArrayLike | None = None,
        dt: ArrayLike | None = None,
        future_dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        key: Any = None,
    ) -> Array:
        """What follows xs, (steps, output_size).

        - `xs`: (time, input_size), the data to warm up on; `state`, `dt` and `mask` belong to it.
        - `inputs`: (steps - 1, ...), beside what is fed back; the first output follows from xs.
        - `future_dt`: a scalar or (steps - 1,).
        - `key`: of a stochastic model, and for `feedback`.

        ValueError for sizes that do not fit.
        """
        check_sizes(steps=steps)
        warm, ahead = (None, None) if key is None else jr.split(check_key(key))
        state, y = self.warm_up(xs, state, dt=dt, mask=mask, key=warm)
        _, ys = self.generate(state, y, steps - 1, inputs=inputs, dt=future_dt, key=ahead)
        return jnp.concatenate([y[None], ys])

    def warm_up(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The state after xs, and the output at its last valid step: the first forecast.

        ValueError for a sequence without a step.
        """
        if jnp.shape(xs)[0] == 0:
            raise ValueError("expected at least one step to warm up on, got none")
        layer = isinstance(self.model, AbstractLayer)
        run = self.model.scan if layer else lambda *a, **k: unroll(self.model, *a, **k)
        key = key if self.model.stochastic else None
        state, ys = run(xs, state, dt=dt, mask=mask, key=key)
        if jnp.ndim(ys) != 2:
            raise ValueError(
                f"expected a model with an output per step, got one output of shape {ys.shape}: "
                "build it with pool=None"
            )
        last = -1 if mask is None else len(ys) - 1 - jnp.argmax(jnp.asarray(mask)[::-1])
        return state, ys[last]

    def generate(
        self,
        state: State,
        y: Array,
        steps: int,
        *,
        inputs: ArrayLike | None = None,
        dt: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The state after `steps` more steps and their outputs, the first one from reading y.

        `inputs` (steps, ...) and `dt`, a scalar or (steps,), belong to those steps. Chunks give
        what the whole gives: go on from the state and the last output (with keys (steps,)).
        """
        if inputs is not None and jnp.shape(inputs)[0] != steps:
            raise ValueError(
                f"expected inputs for {steps} steps, one for each output that is fed back, got "
                f"{jnp.shape(inputs)}"
            )
        if dt is not None:
            dt = jnp.broadcast_to(exactly("dt", dt), (steps,))
        if key is not None and check_key(key).ndim == (0 if _typed(key) else 1):
            key = jr.split(key, steps)
        inputs = None if inputs is None else exactly("inputs", inputs)
        self._check_sizes(y, inputs)
        return _generate(self, state, y, (inputs, dt, key), steps)

    def _check_sizes(self, y: Array, inputs: Array | None) -> None:
        tokens = getattr(self.model, "reads_tokens", False)
        wanted = () if tokens else (self.model.input_size,)
        extra = None if inputs is None else jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype)
        got = eqx.filter_eval_shape(self._next_input, y, extra, jr.key(0)).shape
        if got != wanted:
            raise ValueError(
                f"expected what is fed back to be an input of shape {wanted}, got {got}: give a "
                "feedback(y, key) that makes one, or the missing inputs"
            )

    def _next_input(self, y: Array, extra: Array | None, key: Any) -> Array:
        x = y if self.feedback is None else self.feedback(y, key)
        return x if extra is None else jnp.concatenate([x, extra])


class Sample:
    """A `feedback` that draws a token from logits y / temperature; the likeliest at 0."""

    def __init__(self, temperature: float = 1.0):
        """ValueError for a temperature below 0."""
        if not temperature >= 0:
            raise ValueError(f"expected a temperature of at least 0, got {temperature}")
        self.temperature = float(temperature)

    def __call__(self, y: Array, key: Any) -> Array:
        """RuntimeError without a key where the temperature is above 0."""
        if self.temperature == 0:
            return jnp.argmax(y)
        if key is None:
            raise RuntimeError("sampling draws at random and needs key=...")
        return jr.categorical(key, y / self.temperature)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sample) and self.temperature == other.temperature

    def __hash__(self) -> int:
        return hash((Sample, self.temperature))


@eqx.filter_jit
def _generate(run: Autoregressive, state: State, y: Array, given: Any, steps: int):
    model = hold(run.model)

    def body(carry, at):
        state, y = carry
        extra, dt, key = at
        own, drawn = (None, None) if key is None else jr.split(key)
        x = run._next_input(y, extra, drawn)
        state, y_next = _step(model, state, x, dt, own)
        return (state, y_next.astype(y.dtype)), y_next

    (state, _), ys = lax.scan(body, (state, y), given, length=steps)
    return state, ys


def _step(model: Any, state: State, x: Array, dt: Any, key: Any) -> tuple[State, Array]:
    if isinstance(model, AbstractCell):
        return model.advance(model.constants(), state, x, dt, key)
    return model.step(state, x, dt, key=key if model.stochastic else None)


def _typed(key: Any) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
