"""Agents: environments, rollouts and their replays, advantages, and the loss of PPO."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import DEFAULTS, WRAPPED, assert_close, ids, subject

import rnn_zoo as rz
from rnn_zoo.testing import episodes


KEY = jr.key(0)
# A network that draws, and one of several parts, beside one cell of each kind.
LAYERED = [case for case in WRAPPED if case.id in ("zoneout-lstm", "stacked")]


@pytest.mark.parametrize(**ids([*DEFAULTS, *LAYERED], kinds=True))
def test_a_rollout_equals_its_replay(case):
    episodes.a_rollout_equals_its_replay(subject(case))
