"""Acting in many environments at once, and computing again what was remembered meanwhile."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from .._common.checks import check_sizes
from ..base import restart
from ..layers.batching import batch
from ..linear import select
from ..wrappers.held import hold
from .environments import AbstractEnvironment, Transition, anew
from .policies import PolicyValue


class RunnerState(NamedTuple):
    """Environments and what a policy remembers of them. Each array has their axis in front."""

    environment: Any
    """Their states."""
    observation: Array
    """What is seen now, (environments, observation_size)."""
    policy: Any
    """The states of the policy before it sees that."""
    begins: Array
    """(environments,): whether what is seen now is the first of an episode."""
    over: Array
    """(environments,): whether the only episode is over; never with `auto_reset=True`."""


class Rollout(NamedTuple):
    """A stretch of steps in many environments. Each array has their axis in front, so that
    `jax.tree.map(lambda a: a[rows], rollout)` is the same of some of them."""

    observation: Array
    """(environments, time, observation_size)."""
    action: Array
    """(environments, time), as integers: what was chosen."""
    reward: Array
    """(environments, time): what came of it; 0 behind the end of the only episode."""
    done: Array
    """(environments, time): the episode is over with this step, or was before."""
    log_prob: Array
    """(environments, time): the logarithm of how likely the action was."""
    value: Array
    """(environments, time): what the policy expected before the action."""
    reset: Array
    """(environments, time): an episode begins before this step, which is `done` moved by one."""
    mask: Array | None
    """(environments, time): whether the step is part of an episode; None where all are."""
    key: Array | None
    """(environments, time): keys of a network that draws at random, else None."""
    state: Any
    """The states of the policy before the first step."""
    last_value: Array
    """(environments,): what the policy expects behind the last step."""


def start(
    policy: Any, environment: AbstractEnvironment, environments: int, *, key: PRNGKeyArray
) -> RunnerState:
    """So many environments at the start of their first episodes.

    ValueError for fewer than one, and where the policy and the environment do not fit.
    """
    check_sizes(environments=environments)
    _check_fit(policy, environment)
    return _started(policy, environment, jr.split(key, environments))


def rollout(
    policy: Any,
    environment: AbstractEnvironment,
    runner: RunnerState,
    steps: int,
    *,
    auto_reset: bool = True,
    key: PRNGKeyArray,
) -> tuple[RunnerState, Rollout]:
    """Acts for so many steps: `runner, seen = rollout(policy, environment, runner, 128, key=key)`.

    Actions are drawn from the policy. All is one program, a `lax.scan` under `jax.vmap`, which is
    compiled at the first call, and may be part of a larger one.

    **Arguments:**

    - `policy`: an `ActorCritic`, or what has its `init_state`, `step` and `scan`.
    - `environment`: one environment; how many there are `runner` says.
    - `runner`: what `start` gave, or the rollout before.
    - `steps`: of each environment.
    - `auto_reset`: where an episode ends the next one begins, in the environment and in the memory
      of the policy. False: each environment has one episode, and the steps behind its end are
      masked: they do not happen, whatever the observations there hold, NaN among it.

    **Returns:** the runner to go on with, and the `Rollout`, which has the states of the policy
    before its first step.

    **Raises:** ValueError for fewer than one step, and where the policy and the environment do not
    fit.
    """
    check_sizes(steps=steps)
    _check_fit(policy, environment)
    keys = jr.split(key, runner.begins.shape[0])
    runner, seen = _run((policy, environment), runner, steps, auto_reset, keys)
    if not policy.stochastic:
        seen = seen._replace(key=None)
    return runner, seen if not auto_reset else seen._replace(mask=None)


def replay(policy: Any, rollout: Rollout, *, burn_in: int = 0) -> PolicyValue:
    """What a policy says of the observations of a rollout, computed anew and all at once.

    It is the policy's `scan`, so linear cells run in parallel and gradients go through time, from
    the stored states and with the resets and the mask of the rollout. With the parameters that
    acted it gives what was said then; with others, what they would have said.

    **Arguments:**

    - `burn_in`: over so many steps at the start the states are only brought up to date with these
      parameters (R2D2; Kapturowski et al. 2019): nothing is said of them, and no gradient goes
      into them.

    **Returns:** logits (environments, time - burn_in, actions) and values
    (environments, time - burn_in).

    **Raises:** ValueError for a `burn_in` that is negative or leaves no step.
    """
    _check_burn_in(burn_in, rollout.reward.shape[1])
    run = batch(policy.scan)
    state = rollout.state
    if burn_in:
        # The head is of the same evaluator, and no part of the gradient.
        state, _ = run(*_steps(rollout, slice(None, burn_in)), **_flags(rollout, None, burn_in))
        state = jax.tree.map(lax.stop_gradient, state)
    later = rollout._replace(state=state)
    return run(*_steps(later, slice(burn_in, None)), **_flags(rollout, burn_in, None))[1]


def log_prob(logits: Array, action: Array) -> Array:
    """The logarithm of how likely the action is, over any axes in front."""
    likely = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(likely, action[..., None], -1)[..., 0]


@eqx.filter_jit
def _started(policy: Any, environment: AbstractEnvironment, keys: Array) -> RunnerState:
    def one(key: PRNGKeyArray) -> RunnerState:
        state, observation = environment.reset(key=key)
        yes, no = jnp.array(True), jnp.array(False)
        return RunnerState(state, observation, policy.init_state(), yes, no)

    return jax.vmap(one)(keys)


@eqx.filter_jit
def _run(
    both: tuple[Any, AbstractEnvironment],
    runner: RunnerState,
    steps: int,
    auto_reset: bool,
    keys: Array,
) -> tuple[RunnerState, Rollout]:
    policy, environment = both
    held = hold(policy)

    def one(runner: RunnerState, key: PRNGKeyArray) -> tuple[RunnerState, Rollout]:
        return _acted((held, environment), runner, _draws(environment, steps, key), auto_reset)

    return jax.vmap(one)(runner, keys)


class _Draws(NamedTuple):
    """All that is random in a stretch: drawn at once, which is quicker than step by step."""

    noise: Array
    step: Array
    network: Array
    fresh: tuple[Any, Array]
    """An episode's start for each step; it is taken where one ended."""


def _draws(environment: AbstractEnvironment, steps: int, key: PRNGKeyArray) -> _Draws:
    key_noise, *others = jr.split(key, 4)
    step, fresh, network = (jr.split(key, steps) for key in others)
    noise = jr.gumbel(key_noise, (steps, environment.actions))
    return _Draws(noise, step, network, jax.vmap(lambda key: environment.reset(key=key))(fresh))


def _acted(
    both: tuple[Any, AbstractEnvironment], runner: RunnerState, draws: _Draws, auto_reset: bool
) -> tuple[RunnerState, Rollout]:
    """One environment over all steps."""
    policy, environment = both

    def body(runner: RunnerState, at: _Draws) -> tuple[RunnerState, dict[str, Any]]:
        state, said = _seen(policy, runner, at.network)
        action = jnp.argmax(said.logits + at.noise)
        moved = environment.transition(runner.environment, action, key=at.step)
        moved, done = _ended(runner, moved, None if not auto_reset else at.fresh)
        row = {
            "observation": runner.observation,
            "action": action,
            "reward": moved.reward,
            "done": done,
            "log_prob": log_prob(said.logits, action),
            "value": said.value,
            "reset": runner.begins,
            "mask": ~runner.over,
            "key": at.network,
        }
        begins = done if auto_reset else jnp.zeros_like(done)
        over = runner.over if auto_reset else done
        return RunnerState(moved.state, moved.observation, state, begins, over), row

    before = runner.policy
    runner, rows = lax.scan(body, runner, draws)
    # The key of the last step serves again: what is said here is no part of the rollout.
    _, last = _seen(policy, runner, draws.network[-1])
    return runner, Rollout(**rows, state=before, last_value=last.value)


def _seen(policy: Any, runner: RunnerState, key: Array) -> tuple[Any, PolicyValue]:
    """What the policy says now, as the evaluators would: a reset first, then the mask."""
    before = restart(policy, runner.policy, runner.begins)
    # What stands behind an end is never seen, so that NaN reaches nothing.
    x = jnp.where(runner.over, jnp.zeros_like(runner.observation), runner.observation)
    after, said = policy.step(before, x, key=key)
    nothing = jax.tree.map(jnp.zeros_like, said)
    return select(runner.over, before, after), select(runner.over, nothing, said)


def _ended(runner: RunnerState, moved: Transition, fresh: Any) -> tuple[Transition, Array]:
    """What an action led to, and whether the episode is over; `fresh` is where another begins."""
    if fresh is not None:
        return moved._replace(**anew(moved, fresh)), moved.done
    # An environment behind its end stands still, and pays nothing.
    state = select(runner.over, runner.environment, moved.state)
    reward = jnp.where(runner.over, jnp.zeros_like(moved.reward), moved.reward)
    observation = jnp.where(runner.over, runner.observation, moved.observation)
    done = runner.over | moved.done
    return Transition(state, observation, reward, done), done


def _steps(rollout: Rollout, part: slice) -> tuple[Array, Any]:
    return rollout.observation[:, part], rollout.state


def _flags(rollout: Rollout, first: int | None, last: int | None) -> dict[str, Any]:
    given = {"reset": rollout.reset, "mask": rollout.mask, "key": rollout.key}
    return {name: value[:, first:last] for name, value in given.items() if value is not None}


def _check_burn_in(burn_in: int, time: int) -> None:
    if not isinstance(burn_in, int) or isinstance(burn_in, bool) or not 0 <= burn_in < time:
        raise ValueError(
            f"expected burn_in to be an integer from 0 to {time - 1}, got {burn_in!r}: it is the "
            f"steps at the start of a rollout of {time} that only bring the states up to date"
        )


def _check_fit(policy: Any, environment: AbstractEnvironment) -> None:
    if not isinstance(environment, AbstractEnvironment):
        raise TypeError(
            "expected an rz.rl.AbstractEnvironment, got "
            f"{type(environment).__name__}: rz.rl.GymnaxEnvironment takes one of gymnax"
        )
    sizes = policy.input_size, policy.actions
    if sizes != (environment.observation_size, environment.actions):
        raise ValueError(
            f"expected a policy for {environment.observation_size} numbers in an observation and "
            f"{environment.actions} actions, as {type(environment).__name__} has, got one for "
            f"{sizes[0]} and {sizes[1]}"
        )
