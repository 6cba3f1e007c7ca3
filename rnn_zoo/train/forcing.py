"""Losses of systems that learn to run alone: teacher forcing and multiple shooting."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import ArrayLike, Float

from .._common.checks import check_sizes
from .._common.vectors import state_vector, with_vector
from ..base import State
from ..data.batches import Batch
from ..models.forced import (
    AbstractForced,
    EncodedStart,
    FreeStarts,
    check_observed,
    with_shares,
)
from ..scan import trajectory, unroll
from .losses import Metrics, PredictionLoss, mse


# A step behind all training, at which schedules have come to their end.
_AT_THE_END = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class TeacherForcing:
    r"""The loss of forecasts while the state is drawn to the data: for `StateForced`,
    `InputForced` and `EncodedStart` of `rz.models`.

    $$\tilde z_t = z_t + \alpha_t B^+ (y_t - G(z_t)), \qquad
    L = \frac{1}{T} \sum_t | y_{t+1} - G(F(\tilde z_t)) |^2$$

    - `alpha`: the share of the way to the data, from 0, the free run, to 1. A function is a
      schedule of the step, as those of optax are. `"adaptive"` is $\max(0, 1 - 1 / \sigma)$ with
      $\sigma$ the largest, over the sequences of the batch, of the growth
      $\| J_T \cdots J_1 \|^{1/T}$ along the forced states: the least share with which gradients
      do not explode (Hess et al. 2023, arXiv:2306.04406, who average it over batches; here each
      batch has its own). It pushes a frame of the size of the state through every step.
    - `every`: forcing at each so many steps only, with none in between. `alpha=1, every=k` is
      sparse forcing (Mikhaeil et al. 2022, arXiv:2110.07238).
    - `loss`: a `PredictionLoss` of the forecasts, `mse` by default.

    x of the batch, (samples, time, observed), are observations and y those one step later, as
    `rz.data.load("lorenz", ...)` gives them. The first step of a sequence is forced entirely, since
    the state before it knows nothing. An entry of x that is NaN was not observed, and draws to
    nothing. Of an `EncodedStart` of k steps the first k - 1 targets do not count. The metric is
    `alpha`. Validation, where no step is known, takes a schedule at its end.

    **Raises:** ValueError for an alpha outside of [0, 1], an `every` below 1 and a batch whose x is
    no observations; TypeError for a model that is not forced and batches with a mask or resets.
    """

    alpha: float | int | Callable[[Any], Any] | str = 1.0
    every: int = 1
    loss: PredictionLoss = mse

    def __post_init__(self):
        alpha = self.alpha
        known = (
            alpha == "adaptive" if isinstance(alpha, str) else callable(alpha) or 0 <= alpha <= 1
        )
        if not known:
            raise ValueError(
                f'expected alpha from 0 to 1, a schedule or "adaptive", got {self.alpha!r}'
            )
        check_sizes(every=self.every)

    def __call__(
        self, model: Any, batch: Batch, *, key: Any = None, step: Any = _AT_THE_END
    ) -> tuple[Array, Metrics]:
        """The loss and the metrics; `fit` gives the `step`."""
        forced, skipped = _forced(model, batch)
        alpha = self._share(forced, batch, step)
        count = batch.x.shape[1] - skipped
        shares = jnp.where(jnp.arange(count) % self.every == 0, alpha, 0.0).at[0].set(1.0)
        said = _forecasts(model, batch, shares, key)
        value, metrics = self.loss.function(said, _without_first(batch, skipped))
        return value, {"alpha": jnp.asarray(alpha, value.dtype), **metrics}

    def _share(self, forced: AbstractForced, batch: Batch, step: Any) -> Any:
        if callable(self.alpha):
            return jnp.clip(self.alpha(step), 0.0, 1.0)
        if self.alpha != "adaptive":
            return self.alpha
        growth = eqx.filter_vmap(product_growth, in_axes=(None, 0))(forced, jnp.asarray(batch.x))
        return lax.stop_gradient(jnp.maximum(0.0, 1 - 1 / jnp.max(growth)))


def _forced(model: Any, batch: Batch) -> tuple[AbstractForced, int]:
    """The forced cell of a model, and how many steps its encoder reads before the first."""
    encoded = isinstance(model, EncodedStart)
    forced = model.model if encoded else model
    if not isinstance(forced, AbstractForced):
        raise TypeError(
            "expected a model that can be forced, rz.models.StateForced, InputForced or "
            f"EncodedStart, got {type(model).__name__}"
        )
    if batch.mask is not None or batch.reset is not None:
        raise TypeError(
            "expected a batch without mask and reset: give each stretch as a sample of its own, "
            "and NaN for what was not observed"
        )
    skipped = model.steps - 1 if encoded else 0
    size = forced.output_size
    if batch.x.ndim != 3 or batch.x.shape[2] != size or batch.x.shape[1] <= skipped:
        raise ValueError(
            f"expected x of shape (samples, time, {size}), observations over more than {skipped} "
            f"steps, got {batch.x.shape}"
        )
    return forced, skipped


def _without_first(batch: Batch, skipped: int) -> Batch:
    return jax.tree.map(lambda a: a[:, skipped:], batch)


def _forecasts(model: Any, batch: Batch, shares: Array, key: Any) -> Array:
    """(samples, time, observed): what the model says of the next observations, from the first that
    it does not read as its start."""
    x = jnp.asarray(batch.x)
    forced = model.model if isinstance(model, EncodedStart) else model
    keys = None if key is None or not forced.stochastic else jax.random.split(key, len(x))

    def one(x, dt, key):
        state = model.start(x) if isinstance(model, EncodedStart) else None
        dt = None if dt is None else dt[-len(shares) :]
        inputs = with_shares(x[-len(shares) :], shares)
        return unroll(forced, inputs, state, dt=dt, key=key)[1]

    return jax.vmap(one)(x, batch.dt, keys)


def product_growth(model: AbstractForced, xs: Float[ArrayLike, "time observed"]) -> Array:
    r"""$\| J_T \cdots J_1 \|^{1/T}$ along the states that are forced entirely, a scalar.

    J are the derivatives of the free step of a forced cell at the states that were drawn to xs,
    the norm is the spectral one. It is the growth factor in one step of the gradients of a run
    without forcing, and `max(0, 1 - 1 / growth)` the share of `TeacherForcing` that holds it.
    """
    xs = check_observed(model, xs, 1)
    c = model.constants()

    def body(carry, x):
        state, frame, total = carry
        gap = jnp.where(jnp.isnan(x), 0, x - model.observe(c, state))
        state = model.move(c, state, gap)

        def free(vector):
            after = model.run_on(c, with_vector(state, vector))
            return state_vector(after), after

        _, derivative, after = jax.linearize(free, state_vector(state), has_aux=True)
        frame = jax.vmap(derivative, in_axes=1, out_axes=1)(frame)
        size = jnp.maximum(jnp.linalg.norm(frame), jnp.finfo(frame.dtype).tiny)
        return (after, frame / size, total + jnp.log(size)), None

    start = model.init_state()
    vector = state_vector(start)
    first = (start, jnp.eye(vector.size, dtype=vector.dtype), jnp.zeros((), vector.dtype))
    (_, frame, total), _ = lax.scan(body, first, xs)
    return jnp.exp((total + jnp.log(jnp.linalg.norm(frame, 2))) / len(xs))


@dataclasses.dataclass(frozen=True)
class MultipleShooting:
    r"""The loss of free runs over segments whose first states are trained too.

    $$L = \langle | y_t - G(z_t) |^2 \rangle
    + \lambda \langle | z^{(i)}_{T} - s_{i+1} |^2 \rangle, \qquad z^{(i)}_0 = s_i$$

    Each segment of T steps runs alone from its own start $s_i$; the second term, with `weight`
    $\lambda$, asks that it ends where the next one begins (Bock 1981). Both means are over all
    entries. A model with its starts, and the batch to train on, are made by `segments`. The metric
    is `gap`, the second mean. TypeError for another model, ValueError for a weight below 0.
    """

    weight: float | int = 1.0

    def __post_init__(self):
        if not 0 <= self.weight < np.inf:
            raise ValueError(f"expected weight to be a number of at least 0, got {self.weight!r}")

    def __call__(self, model: Any, batch: Batch, *, key: Any = None) -> tuple[Array, Metrics]:
        """The loss and the metrics."""
        if not isinstance(model, FreeStarts):
            raise TypeError(
                "expected the model that rz.train.segments makes, a FreeStarts, got "
                f"{type(model).__name__}"
            )
        x, number = jnp.asarray(batch.x), jnp.asarray(batch.y)
        keys = None if key is None or not model.model.stochastic else jax.random.split(key, len(x))
        said, ends = jax.vmap(lambda n, k: _shot(model, n, x.shape[1] - 1, k))(number, keys)
        seen = ~jnp.isnan(x)
        errors = jnp.where(seen, said - jnp.where(seen, x, 0), 0) ** 2
        error = jnp.sum(errors) / jnp.maximum(jnp.sum(seen), 1).astype(errors.dtype)
        last = len(model.starts) - 1
        gaps = jnp.mean((ends - model.starts[jnp.minimum(number + 1, last)]) ** 2, axis=1)
        inside = number < last
        count = jnp.maximum(jnp.sum(inside), 1).astype(gaps.dtype)
        gap = jnp.sum(jnp.where(inside, gaps, 0)) / count
        return error + self.weight * gap, {"gap": gap}


def _shot(model: FreeStarts, number: Array, steps: int, key: Any) -> tuple[Array, Array]:
    """The observations of a free run, its start's among them, and the state at its end."""
    forced, start = model.model, model.start(number)
    quiet = jnp.zeros((steps, forced.input_size), model.starts.dtype)
    end, said = unroll(forced, quiet, start, key=key)
    first = forced.observe(forced.constants(), start)
    return jnp.concatenate([first[None], said]), state_vector(end)


class Segments(NamedTuple):
    """What `segments` makes: the model to train, and its batch."""

    model: FreeStarts
    batch: Batch


def segments(model: Any, series: ArrayLike, length: int) -> Segments:
    """A series cut for `MultipleShooting`: `fit(*segments(model, series, 50), loss=...)`.

    - `model`: a `StateForced` or `InputForced`.
    - `series`: (time, observed), finite or NaN where nothing was observed.
    - `length`: the steps of a segment; what is left at the end of the series is not used.

    x of the batch, (segments, length + 1, observed), begins each segment with the last sample of
    the one before, and y are the numbers of the segments. The starts are states of the model along
    the series, forced entirely. After training `result.model.model` is the forced cell.

    TypeError for another model, ValueError for a series that is not (time, observed) or is shorter
    than two segments.
    """
    if not isinstance(model, AbstractForced):
        raise TypeError(
            f"expected model as a StateForced or an InputForced, got {type(model).__name__}"
        )
    check_sizes(length=length)
    xs = check_observed(model, series, 2 * length + 1)
    count = (len(xs) - 1) // length
    places = np.arange(count)[:, None] * length + np.arange(length + 1)
    starts = _forced_states(model, xs[: (count - 1) * length + 1])[::length]
    return Segments(FreeStarts(model, starts), Batch(xs[places], jnp.arange(count)))


@eqx.filter_jit
def _forced_states(model: AbstractForced, xs: Array) -> Float[Array, "time state"]:
    """The state at each of xs, drawn to it entirely."""
    first = model.init_state()
    after, _ = trajectory(model, with_shares(xs[:-1], 1.0), first)
    before = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, after)
    c = model.constants()

    def drawn(state: State, x: Array) -> Array:
        gap = jnp.where(jnp.isnan(x), 0, x - model.observe(c, state))
        return state_vector(model.move(c, state, gap))

    return jax.vmap(drawn)(before, xs)
