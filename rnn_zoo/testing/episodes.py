"""The law of agents: what a policy remembered while it acted is what its replay computes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from ..base import replace
from ..rl.acting import log_prob, replay, rollout, start
from ..rl.environments import AbstractEnvironment, Transition
from ..rl.policies import ActorCritic
from .comparing import assert_close, within
from .law import law
from .subject import Subject, float64, random_state


ENDS, STEPS = 3, 7
# Cheap to compile; under `jax.vmap` it draws what depends on the neighbours, so it is not for what
# has to draw the same again.
GENERATOR = "unsafe_rbg"


class _Noise(AbstractEnvironment):
    """Normal numbers, in episodes of three steps; what stands behind an end is NaN."""

    observation_size: int = eqx.field(static=True)
    actions: int = eqx.field(static=True, default=3)

    def reset(self, *, key: PRNGKeyArray) -> tuple[Array, Array]:
        return jnp.asarray(0), jr.normal(key, (self.observation_size,))

    def transition(self, state: Array, action: ArrayLike, *, key: PRNGKeyArray) -> Transition:
        done = state == ENDS - 1
        seen = jnp.where(done, jnp.nan, jr.normal(key, (self.observation_size,)))
        return Transition(state + 1, seen, jnp.sum(seen), done)


@law(
    "evaluators",
    mend="keep all that a later step needs in the state, and let a step depend on the cell, the "
    "state, x and key alone: what acted step by step is replayed as a whole sequence",
)
def a_rollout_equals_its_replay(subject: Subject) -> None:
    """Episodes that follow each other, and one that ends with NaN behind it; the first of them
    began before, so that its state is one that was stored."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        policy = ActorCritic(cell, 3, dtype=dtype, key=jr.key(0))
        # Heads near zero would hide what the cell does.
        heads = [100 * np.asarray(h.weight) for h in (policy.actor, policy.critic)]
        policy = replace(
            policy,
            actor=replace(policy.actor, weight=jnp.asarray(heads[0])),
            critic=replace(policy.critic, weight=jnp.asarray(heads[1])),
        )
        found, kept = _compared(policy, random_state(cell, 3))
        assert_close(found, kept, within(cell, 1e-12))


@eqx.filter_jit
def _compared(policy: Any, before: Any) -> tuple[Any, Any]:
    """What the replay says, and what was said while acting, in both kinds of rollouts."""
    environment = _Noise(policy.input_size)
    key = jr.key(1, impl=None if policy.stochastic else GENERATOR)
    runner = start(policy, environment, 2, key=key)
    # One goes on with an episode, the other begins one, for all that its state holds.
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), before)
    runner = runner._replace(policy=states, begins=jnp.array([False, True]))
    endless, one = (
        rollout(policy, environment, runner, STEPS, auto_reset=anew, key=key)[1]
        for anew in (True, False)
    )
    endless = endless._replace(mask=jnp.ones_like(endless.reset))
    seen = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), endless, one)
    said = replay(policy, seen)
    return (log_prob(said.logits, seen.action), said.value), (seen.log_prob, seen.value)
