"""Learning at every step, with a memory that does not grow with time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from .._common.checks import check_choice, check_steps
from .._common.vectors import state_vector, with_vector
from .influence import Pattern, find_pattern, no_influence, push_influence, weighed
from .step import trainable


METHODS = ("rtrl", "snap1")


class OnlineState(NamedTuple):
    """What `OnlineLearner` hands from step to step."""

    model: Any
    state: Any
    influence: tuple[Array, ...]
    """dh/dtheta, for each array of parameters (slots, *shape)."""
    opt_state: Any


class OnlineLearner(eqx.Module):
    r"""Gradients without a past: real-time recurrent learning (RTRL) and its sparse form.

    $$P_t = \frac{\partial h_t}{\partial h_{t-1}} P_{t-1} + \frac{\partial h_t}{\partial \theta},
    \qquad \frac{d L_t}{d \theta} = \frac{\partial L_t}{\partial h_{t-1}} P_{t-1}
    + \frac{\partial L_t}{\partial \theta}$$

    The influence P of the parameters on the state is carried along (Williams and Zipser 1989,
    doi:10.1162/neco.1989.1.2.270), so a stream of any length takes the memory of one step, and no
    gradient is cut off.

    - "rtrl": all of P. For a single layer whose numbers act on themselves alone, or in pairs (LRU,
      S5, S4D, LinOSS, IndRNN, RTU, minGRU, SRU ...), a parameter influences one unit, and P is as
      large as the parameters. For a dense recurrence it is n times as large.
    - "snap1": of P only what one step makes (Menick et al. 2021, arXiv:2006.07232): the influence
      on the units that a parameter touches itself. `exact` says whether that is all of it.

    A stack of layers counts as one state: the parameters of a layer touch all units of the next.

    `model` is any cell, or a layer or a model that steps; `loss(y, target)` a number for one step.
    Parameters that change while P is carried make the gradient that of a moving target, as in all
    of online learning; with `optimizer` an `optax.set_to_zero()` it is that of backpropagation.

    **Raises:** TypeError for a cell that draws random numbers; ValueError for another method or a
    model too large to look at all pairs of a parameter and a unit.
    """

    loss: Callable = eqx.field(static=True)
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    pattern: Pattern = eqx.field(static=True)
    method: str = eqx.field(static=True)

    def __init__(
        self,
        model: Any,
        loss: Callable[[Array, Any], Array],
        optimizer: optax.GradientTransformation,
        *,
        method: str = "rtrl",
    ):
        check_choice("method", method, METHODS)
        if model.stochastic:
            raise TypeError(f"{type(model).__name__} is random, and its influence not known")
        self.loss, self.optimizer, self.method = loss, optimizer, method
        params, static = eqx.partition(model, trainable(model))
        state = model.init_state()

        def step(params: PyTree, vector: Array, x: Array) -> Array:
            moved = with_vector(state, vector)
            time = (jnp.ones(()),) if model.timed else ()
            return state_vector(eqx.combine(params, static).step(moved, x, *time)[0])

        x = jnp.zeros(model.input_size, state_vector(state).dtype)
        self.pattern = find_pattern(step, params, state_vector(state), x, method == "rtrl")

    @property
    def exact(self) -> bool:
        """Whether no influence is left out."""
        return self.pattern.exact

    def init(self, model: Any, state: Any = None) -> OnlineState:
        """The start of a stream: no influence, and the state `state` or the model's first."""
        params = eqx.filter(model, trainable(model))
        leaves = jax.tree.leaves(params)
        state = model.init_state() if state is None else state
        influence = no_influence(self.pattern, leaves)
        return OnlineState(model, state, influence, self.optimizer.init(params))

    def gradient(
        self,
        now: OnlineState,
        x: ArrayLike,
        target: Any,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
    ) -> tuple[Array, PyTree, OnlineState]:
        """Loss and gradient of one step, and what follows, with the parameters as they were.

        `x` (input_size,), `dt` a number; where `mask` is False the step is none: no loss, no
        gradient, state and influence stay. Where `reset` is True the state is the first one before
        the step, and owes nothing to any parameter.
        """
        mask, reset = (None if one is None else jnp.asarray(one)[None] for one in (mask, reset))
        steps = check_steps(now.model, jnp.asarray(x)[None], dt, mask, reset, None)
        at = jax.tree.map(lambda leaf: leaf[0] if jnp.ndim(leaf) else leaf, steps)
        return self._gradient(now, at, target)

    def step(
        self,
        now: OnlineState,
        x: ArrayLike,
        target: Any,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
    ) -> tuple[OnlineState, Array]:
        """One step and one update of the parameters; arguments as in `gradient`. With the loss."""
        value, gradient, after = self.gradient(now, x, target, dt=dt, mask=mask, reset=reset)
        return self._updated(after, gradient), value

    def run(
        self,
        now: OnlineState,
        xs: ArrayLike,
        targets: Any,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
    ) -> tuple[OnlineState, Float[Array, " time"]]:
        """Steps and updates over a part of a stream, (time, input_size), and the losses."""
        steps = check_steps(now.model, xs, dt, mask, reset, None)
        if steps.dt is not None:
            steps = steps._replace(dt=jnp.broadcast_to(steps.dt, (steps.length,)))
        return _run(self, now, steps, targets)

    def _gradient(self, now: OnlineState, at: Any, target: Any) -> tuple:
        start = now.model.init_state()
        state, influence = now.state, now.influence
        if at.reset is not None:
            state = _where(at.reset, start, state)
            influence = tuple(jnp.where(at.reset, 0, one) for one in influence)
        params, static = eqx.partition(now.model, trainable(now.model))
        leaves, structure = jax.tree.flatten(params)
        time = () if at.dt is None else (at.dt,)

        def go(leaves: list[Array], vector: Array) -> tuple[Array, Any]:
            model = eqx.combine(jax.tree.unflatten(structure, leaves), static)
            after, y = model.step(with_vector(state, vector), at.x, *time)
            return self.loss(y, target), after

        vector = state_vector(state)
        (value, after), (direct, on_state) = jax.value_and_grad(go, (0, 1), has_aux=True)(
            leaves, vector
        )
        past = weighed(self.pattern, influence, on_state)
        gradient = [a + b for a, b in zip(direct, past)]
        _, pushed = push_influence(
            self.pattern, lambda p, h: state_vector(go(p, h)[1]), leaves, vector, influence
        )
        if at.mask is not None:
            value = jnp.where(at.mask, value, 0)
            gradient = [jnp.where(at.mask, one, 0) for one in gradient]
            pushed = _where(at.mask, pushed, influence)
            after = _where(at.mask, after, state)
        gradient = jax.tree.unflatten(structure, gradient)
        return value, gradient, now._replace(state=after, influence=pushed)

    def _updated(self, now: OnlineState, gradient: PyTree) -> OnlineState:
        params = eqx.filter(now.model, trainable(now.model))
        updates, opt_state = self.optimizer.update(gradient, now.opt_state, params)
        model = eqx.apply_updates(now.model, updates)
        return now._replace(model=model, opt_state=opt_state)


@eqx.filter_jit
def _run(learner: OnlineLearner, now: OnlineState, steps: Any, targets: Any) -> tuple:
    arrays, static = eqx.partition(now, eqx.is_array)

    def body(arrays, part):
        at, target = part
        value, gradient, after = learner._gradient(eqx.combine(arrays, static), at, target)
        after = learner._updated(after, gradient)
        return eqx.filter(after, eqx.is_array), value

    arrays, values = lax.scan(body, arrays, (steps, targets))
    return eqx.combine(arrays, static), values


def _where(flag: Bool[Array, ""], yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)
