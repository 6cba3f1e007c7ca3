"""Reinforcement learning with any cell: environments, rollouts, replays, and the losses of PPO.

Nothing here trains: `rollout` and `ppo_loss` are what a loop of your own calls, and the page on
agents has such a loop. What a policy remembered while it acted is what `replay` computes again from
the stored state, by the evaluators that run every other sequence.
"""

from .._common.moved import listing as _listing
from .acting import (
    Rollout as Rollout,
    RunnerState as RunnerState,
    replay as replay,
    rollout as rollout,
    start as start,
)
from .environments import (
    AbstractEnvironment as AbstractEnvironment,
    CartPole as CartPole,
    CartPoleState as CartPoleState,
    RepeatPrevious as RepeatPrevious,
    RepeatPreviousState as RepeatPreviousState,
    Transition as Transition,
)
from .gymnax_adapter import GymnaxEnvironment as GymnaxEnvironment
from .policies import ActorCritic as ActorCritic, PolicyValue as PolicyValue
from .ppo import gae as gae, ppo_loss as ppo_loss


__dir__ = _listing(__name__)
