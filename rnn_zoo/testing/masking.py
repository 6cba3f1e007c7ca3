"""Laws of masks, resets and gaps: they mean what they say, in values and in gradients."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..scan import trajectory, unroll
from .comparing import assert_close, finite, loop
from .law import law, require
from .subject import MASK, TIME, Subject, inputs, methods, only


STATE = (
    "keep all that a step changes in the state, and read no time and no position but through dt "
    "and the state: a masked step leaves the state as it is, a reset gives init_state()"
)
NAN = (
    "let a gradient not depend on values that are not used: jnp.where(ok, f(x), 0) has the "
    "derivative of f at all x, so write f(jnp.where(ok, x, safe)); and let a step change only what "
    "it gives back"
)


def take(keywords: dict[str, Any], index: Any) -> dict[str, Any]:
    """Those of the steps at an index; taken by NumPy, which compiles nothing."""
    own = {k: v for k, v in keywords.items() if k not in ("mask", "reset")}
    return {k: jnp.asarray(np.asarray(v)[index]) for k, v in own.items()}


@law("masks", "steady", mend=STATE)
def gaps_equal_the_sequence_without_those_steps(subject: Subject) -> None:
    """A masked step does not happen, and its output is zero."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    mask, dt = jnp.asarray(MASK), only(keywords, "dt")
    short, own = np.asarray(xs)[MASK], take(keywords, MASK)
    for reverse in (False, True):
        final, _, ys_short = loop(cell, short, state, reverse=reverse, **own)
        for method in methods(cell):
            run = {"reverse": reverse, "method": method, **dt}
            after, ys = unroll(cell, xs, state, mask=mask, **run)
            ys = np.asarray(ys)
            assert_close((after, ys[MASK]), (final, ys_short), 1e-5)
            require(not ys[~MASK].any(), "the output of a masked step is not zero")


@law("masks", "steady", mend=STATE)
def padded_equals_unpadded(subject: Subject) -> None:
    """Steps of NaN before or behind a sequence, masked, change nothing."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    right = np.arange(TIME) < 6
    xs = np.asarray(xs)
    for mask in (right, right[::-1]):
        own = take(keywords, mask)
        padded = jnp.asarray(np.where(mask[:, None], xs, np.float32(np.nan)))
        times = only(keywords, "dt").items()
        dt: dict[str, Any] = {k: jnp.where(mask, v, jnp.nan) for k, v in times}
        for reverse in (False, True):
            final, _, ys = loop(cell, xs[mask], state, reverse=reverse, **own)
            given = jnp.asarray(mask)
            after, ys_padded = unroll(cell, padded, state, mask=given, reverse=reverse, **dt)
            assert_close((after, np.asarray(ys_padded)[mask]), (final, ys), 1e-5)


@law("masks", "steady", mend=STATE)
def resets_equal_separate_sequences(subject: Subject) -> None:
    """A reset starts the next sequence from `init_state()`."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    reset = jnp.zeros(TIME, bool).at[jnp.array([4, 6])].set(True)
    parts, last = [], None
    for start, stop, first in [(0, 4, state), (4, 6, None), (6, TIME, None)]:
        piece = take(keywords, slice(start, stop))
        last, _, y = loop(cell, np.asarray(xs)[start:stop], first, **piece)
        parts.append(y)
    for method in methods(cell):
        run = {"method": method, **only(keywords, "dt")}
        final, ys = unroll(cell, xs, state, reset=reset, **run)
        assert_close((final, ys), (last, np.concatenate(parts)), 1e-5)


@law("masks", mend=STATE)
def reset_acts_first_even_on_a_masked_step(subject: Subject) -> None:
    """The state after a step that is reset and masked is the initial one."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    keywords = only(keywords)
    mask = jnp.ones(TIME, bool).at[2].set(False)
    reset = jnp.zeros(TIME, bool).at[2].set(True)
    for method in methods(cell):
        states, _ = trajectory(cell, xs, state, mask=mask, reset=reset, method=method, **keywords)
        assert_close(jax.tree.map(lambda s: s[2], states), cell.init_state(), 1e-7)


@law("masks", mend=NAN)
def nan_in_masked_steps_reaches_no_gradient(subject: Subject) -> None:
    """Neither parameters nor inputs that are seen get NaN from what is masked."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    keywords.pop("reset")
    mask = keywords["mask"]
    broken = jnp.where(mask[:, None], xs, jnp.nan)
    if "dt" in keywords:
        keywords["dt"] = jnp.where(mask, keywords["dt"], jnp.nan)

    @eqx.filter_grad
    def gradient(trained: Any, method: str) -> Any:
        cell, xs, dt = trained
        time = {} if dt is None else {"dt": dt}
        return jnp.sum(unroll(cell, xs, state, method=method, **{**keywords, **time})[1] ** 2)

    gradients = eqx.filter_jit(lambda trained: [gradient(trained, m) for m in methods(cell)])
    for grads in gradients((cell, broken, keywords.get("dt"))):
        require(finite(grads), "a gradient is not finite where masked inputs are NaN")
        require(not np.asarray(grads[1][~MASK]).any(), "masked inputs have a gradient")


@law("masks", mend=NAN)
def nan_state_that_is_reset_at_once_reaches_no_gradient(subject: Subject) -> None:
    """What a state held before a reset reaches no gradient, NaN and infinities included."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    keywords = only(keywords, "dt")
    reset = jnp.zeros(TIME, bool).at[0].set(True)
    inexact, rest = eqx.partition(state, eqx.is_inexact_array)
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), inexact)

    @eqx.filter_grad
    def gradient(trained: Any, method: str) -> Any:
        cell, inexact = trained
        state = eqx.combine(inexact, rest)
        given = {"reset": reset, "method": method, **keywords}
        return jnp.sum(unroll(cell, xs, state, **given)[1] ** 2)

    gradients = eqx.filter_jit(lambda trained: [gradient(trained, m) for m in methods(cell)])
    for grads in gradients((cell, broken)):
        require(finite(grads), "a gradient is not finite where a state of NaN is reset at once")
