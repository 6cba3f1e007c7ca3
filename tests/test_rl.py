"""Agents: environments, rollouts and their replays, advantages, and the loss of PPO."""

import functools
import math
import sys
import types

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
MANY, STEPS, LENGTH = 3, 7, 4


@pytest.mark.parametrize(**ids([*DEFAULTS, *LAYERED], kinds=True))
def test_a_rollout_equals_its_replay(case):
    episodes.a_rollout_equals_its_replay(subject(case))


# --- environments ---------------------------------------------------------------------------------


def played(environment, actions, seed=0):
    """Observations before each action, then rewards and ends, without a start anew."""

    @jax.jit
    def run(key):
        state, observation = environment.reset(key=key)

        def step(carry, at):
            state, observation = carry
            action, key = at
            moved = environment.transition(state, action, key=key)
            return (moved.state, moved.observation), (observation, moved.reward, moved.done)

        keys = jr.split(key, len(actions))
        return jax.lax.scan(step, (state, observation), (actions, keys))[1]

    return jax.device_get(run(jr.key(seed)))


def test_repeat_previous_pays_for_the_suit_seen_before():
    environment = rz.rl.RepeatPrevious(4)
    assert (environment.observation_size, environment.actions) == (4, 4)
    seen, _, done = played(environment, np.zeros(52, int))
    suits = seen.argmax(axis=1)
    assert (seen.sum(axis=1) == 1).all()
    assert np.bincount(suits).tolist() == [13] * 4  # a deck
    assert done.tolist() == [False] * 51 + [True]
    for shift, total in ((4, 1.0), (3, None)):
        said = np.concatenate([np.zeros(shift, int), suits[:-shift]])
        _, reward, _ = played(environment, said)
        right = said[4:] == suits[:-4]
        np.testing.assert_allclose(reward, [0] * 4 + list(np.where(right, 1, -1) / 48), rtol=1e-6)
        if total is not None:
            np.testing.assert_allclose(reward.sum(), total, rtol=1e-6)
    other, _, _ = played(environment, np.zeros(52, int), seed=1)
    assert (other != seen).any()


def gym_step(state, action):
    """Gym's cart pole, from its source of 1983, in float64."""
    x, x_dot, theta, theta_dot = state
    total, moment = 0.1 + 1.0, 0.1 * 0.5
    force = 10.0 if action == 1 else -10.0
    temp = (force + moment * theta_dot**2 * math.sin(theta)) / total
    acc = (9.8 * math.sin(theta) - math.cos(theta) * temp) / (
        0.5 * (4.0 / 3.0 - 0.1 * math.cos(theta) ** 2 / total)
    )
    x_acc = temp - moment * acc * math.cos(theta) / total
    return x + 0.02 * x_dot, x_dot + 0.02 * x_acc, theta + 0.02 * theta_dot, theta_dot + 0.02 * acc


def test_cart_pole_moves_as_in_gym():
    actions = np.random.default_rng(0).integers(0, 2, 60)
    environment = rz.rl.CartPole(velocities=True)
    seen, reward, done = played(environment, actions)
    state = tuple(map(float, seen[0]))
    assert max(map(abs, state)) <= 0.05
    fallen = []
    for t, action in enumerate(actions):
        np.testing.assert_allclose(seen[t], state, rtol=1e-4, atol=1e-5)
        state = gym_step(state, action)
        fallen.append(abs(state[0]) > 2.4 or abs(state[2]) > 12 * 2 * math.pi / 360)
    assert done.tolist() == fallen
    assert any(fallen)
    assert (reward == 1).all()
    hidden, _, _ = played(rz.rl.CartPole(), actions)
    np.testing.assert_array_equal(hidden, seen[:, [0, 2]])
    _, _, done = played(rz.rl.CartPole(length=5), np.array([0, 1] * 3))
    assert done.tolist() == [False] * 4 + [True] * 2


def test_a_step_begins_the_next_episode():
    environment = rz.rl.CartPole(length=1)
    state, _ = environment.reset(key=KEY)
    moved = environment.step(state, 1, key=KEY)
    assert bool(moved.done)
    assert int(moved.state.time) == 0
    key_step, key_new = jr.split(KEY)
    assert_close((moved.state, moved.observation), environment.reset(key=key_new), 1e-6)
    longer = rz.rl.CartPole(length=9)
    assert_close(longer.step(state, 1, key=KEY), longer.transition(state, 1, key=key_step), 1e-6)


# --- rollouts -------------------------------------------------------------------------------------


ENVIRONMENT = rz.rl.RepeatPrevious(1, suits=2, length=LENGTH)


@functools.cache
def policy(seed=0):
    cell = rz.make_cell("gru", 2, 5, key=jr.key(seed))
    made = rz.rl.ActorCritic(cell, 2, key=jr.key(seed + 1))
    # Heads near zero would hide mistakes.
    return eqx.tree_at(lambda p: p.actor.weight, made, 500 * made.actor.weight)


@functools.cache
def stretches():
    """Two rollouts after each other: the second begins in the middle of an episode."""

    @eqx.filter_jit
    def run(policy):
        runner = rz.rl.start(policy, ENVIRONMENT, MANY, key=KEY)
        runner, first = rz.rl.rollout(policy, ENVIRONMENT, runner, STEPS, key=jr.key(1))
        return first, rz.rl.rollout(policy, ENVIRONMENT, runner, STEPS, key=jr.key(2))[1]

    return run(policy())


@functools.cache
def single():
    """One episode in each environment, and steps behind its end."""

    @eqx.filter_jit
    def run(policy):
        runner = rz.rl.start(policy, ENVIRONMENT, MANY, key=KEY)
        options = {"auto_reset": False, "key": jr.key(1)}
        runner, seen = rz.rl.rollout(policy, ENVIRONMENT, runner, STEPS, **options)
        return seen, rz.rl.rollout(policy, ENVIRONMENT, runner, 2, **options)[1]

    return run(policy())


def test_episodes_follow_each_other():
    first, second = jax.device_get(stretches())
    time = np.arange(2 * STEPS)
    both = [np.concatenate(pair, axis=1) for pair in zip(first[:7], second[:7])]
    observation, _, reward, done, _, _, reset = both
    assert (done == (time % LENGTH == LENGTH - 1)).all()
    assert (reset == (time % LENGTH == 0)).all()
    assert (reward[:, time % LENGTH == 0] == 0).all()
    assert (abs(reward[:, time % LENGTH > 0]) > 0.3).all()
    suits = observation.argmax(axis=-1)[:, :12].reshape(MANY, 3, LENGTH)
    assert (suits.sum(axis=-1) == LENGTH // 2).all(), "each episode has a deck of its own"
    assert first.mask is None
    assert first.key is None
    # The states before the second stretch are those behind the first.
    state, _ = rz.batch(policy().scan)(first.observation, first.state, reset=first.reset)
    assert_close(state, second.state, 1e-6)
    assert np.ptp(second.state) > 0.01
    # What was expected behind the last step is what is expected at the first of the next stretch.
    np.testing.assert_allclose(first.last_value, second.value[:, 0], rtol=1e-5, atol=1e-7)


def test_actions_are_drawn_from_the_policy():
    seen, _ = stretches()
    said = rz.rl.replay(policy(), seen)
    likely = np.asarray(jax.nn.log_softmax(said.logits))
    expected = np.take_along_axis(likely, np.asarray(seen.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(seen.log_prob, expected, rtol=1e-5)

    @eqx.filter_jit
    def run(policy):
        runner = rz.rl.start(policy, ENVIRONMENT, 300, key=KEY)
        return rz.rl.rollout(policy, ENVIRONMENT, runner, STEPS, key=KEY)[1].action

    even = eqx.tree_at(lambda p: p.actor.weight, policy(), 0 * policy().actor.weight)
    sure = eqx.tree_at(lambda p: p.actor.bias, even, jnp.array([0.0, 50.0]))
    assert (np.asarray(run(sure)) == 1).all()
    action = np.asarray(run(even), float)
    assert 0.45 < action.mean() < 0.55
    together = np.corrcoef(action, rowvar=False)
    assert abs(together[~np.eye(STEPS, dtype=bool)]).max() < 0.2, "steps draw apart"


def test_one_episode_ends_and_nothing_happens_behind_it():
    seen, later = jax.device_get(single())
    assert (seen.mask == (np.arange(STEPS) < LENGTH)).all()
    assert (seen.done == (np.arange(STEPS) >= LENGTH - 1)).all()
    assert (seen.reset == (np.arange(STEPS) == 0)).all()
    assert not seen.reward[:, LENGTH:].any()
    assert not seen.value[:, LENGTH:].any()
    assert not later.mask.any()
    assert not later.reward.any()
    np.testing.assert_allclose(abs(seen.reward).sum(axis=1), 1.0, rtol=1e-6)
    state, _ = rz.batch(policy().scan)(seen.observation[:, :LENGTH])
    assert_close(later.state, state, 1e-6)


# --- learning -------------------------------------------------------------------------------------


def behind(policy, seen, steps):
    """The states behind the first steps of a rollout."""
    reset = seen.reset[:, :steps]
    return rz.batch(policy.scan)(seen.observation[:, :steps], seen.state, reset=reset)[0]


def test_a_burn_in_brings_states_up_to_date_without_a_gradient():
    _, seen = stretches()
    other = policy(3)

    def in_parts(policy):
        state, reset = jax.lax.stop_gradient(behind(policy, seen, 3)), seen.reset[:, 3:]
        return rz.batch(policy.scan)(seen.observation[:, 3:], state, reset=reset)[1]

    def of(run):
        return eqx.filter_jit(eqx.filter_value_and_grad(lambda p: jnp.sum(run(p).value ** 2)))

    expected = of(in_parts)(other)
    assert_close(of(lambda p: rz.rl.replay(p, seen, burn_in=3))(other), expected, 1e-6)
    assert rz.rl.replay(other, seen, burn_in=3).logits.shape == (MANY, STEPS - 3, 2)


def advantages(reward, value, done, last, discount, decay):
    """The sums as they stand in the paper, backwards, in float64."""
    out, after, ahead = np.zeros_like(reward), 0.0, last
    for t in reversed(range(len(reward))):
        goes_on = 0.0 if done[t] else 1.0
        error = reward[t] + discount * goes_on * ahead - value[t]
        after = error + discount * decay * goes_on * after
        out[t], ahead = after, value[t]
    return out


def test_generalised_advantages():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, 3, 9))
    done, last = rng.random((3, 9)) < 0.3, rng.normal(size=3)
    assert done[:, 1:-1].any()
    found = rz.rl.gae(reward, value, done, last, discount=0.9, trace_decay=0.8)
    each = [advantages(*one, 0.9, 0.8) for one in zip(reward, value, done, last)]
    np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-5)
    one = rz.rl.gae(reward[0], value[0], done[0], last[0], discount=0.9, trace_decay=0.8)
    np.testing.assert_allclose(one, each[0], rtol=1e-4, atol=1e-5)
    # What stands behind an end reaches nothing.
    done, value = np.arange(9) == 4, value[0].copy()
    before = rz.rl.gae(reward[0], value, done, last[0])[:5]
    value[5:] = np.nan
    np.testing.assert_array_equal(rz.rl.gae(reward[0], value, done, np.nan)[:5], before)


def by_hand(said, seen, advantage, clip=0.2):
    """The loss of PPO and its parts in NumPy, over the steps that happened."""
    keep = np.ones(seen.reward.shape, bool) if seen.mask is None else np.asarray(seen.mask)
    likely = np.asarray(jax.nn.log_softmax(said.logits), np.float64)
    now = np.take_along_axis(likely, np.asarray(seen.action)[..., None], -1)[..., 0]
    ratio = np.exp(now - np.asarray(seen.log_prob))[keep]
    target = (advantage + np.asarray(seen.value))[keep]
    gain = advantage[keep]
    gain = (gain - gain.mean()) / gain.std()
    worse = np.minimum(ratio * gain, np.clip(ratio, 1 - clip, 1 + clip) * gain)
    value = np.mean((np.asarray(said.value)[keep] - target) ** 2)
    entropy = -(np.exp(likely) * likely).sum(axis=-1)[keep].mean()
    parts = {"policy_loss": -worse.mean(), "value_loss": value, "entropy": entropy}
    parts["clipped"] = np.mean(abs(ratio - 1) > clip)
    return parts["policy_loss"] + 0.5 * value - 0.01 * entropy, parts


loss_and_gradient = eqx.filter_jit(eqx.filter_value_and_grad(rz.rl.ppo_loss, has_aux=True))


@pytest.mark.parametrize("made", [lambda: stretches()[1], lambda: single()[0]])
def test_the_loss_of_ppo(made):
    seen = made()
    advantage = np.random.default_rng(1).normal(size=seen.reward.shape).astype(np.float32)
    if seen.mask is not None:  # nothing behind the end is seen, NaN neither
        hidden = jnp.where(seen.mask[..., None], seen.observation, jnp.nan)
        seen = seen._replace(observation=hidden)
    (loss, parts), gradient = loss_and_gradient(policy(3), seen, jnp.asarray(advantage))
    expected, others = by_hand(rz.rl.replay(policy(3), seen), seen, advantage)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    for name, value in others.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-4, err_msg=name)
    assert 0 < float(parts["clipped"]) < 1
    assert float(parts["kl"]) > 0
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    (_, parts), _ = loss_and_gradient(policy(), seen, jnp.asarray(advantage))
    assert float(parts["clipped"]) == 0
    np.testing.assert_allclose(parts["kl"], 0, atol=1e-6)


def test_a_burn_in_is_no_part_of_the_loss():
    _, seen = stretches()
    advantage = jnp.asarray(np.random.default_rng(1).normal(size=seen.reward.shape), jnp.float32)
    loss, _ = rz.rl.ppo_loss(policy(), seen, advantage, burn_in=3)
    # With the parameters that acted, the states behind the first steps are those of the rollout.
    middle = rz.batch(policy().scan)(seen.observation[:, :3], seen.state, reset=seen.reset[:, :3])[
        0
    ]
    cut = [a[:, 3:] for a in seen[:7]]
    rest = rz.rl.Rollout(*cut, None, None, middle, seen.last_value)
    expected, _ = rz.rl.ppo_loss(policy(), rest, advantage[:, 3:])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


# --- gymnax, and errors ---------------------------------------------------------------------------


class Told:
    """An environment with the words of gymnax: a number that grows to 3."""

    default_params = types.SimpleNamespace(most=3)

    def __init__(self, seen, cut_off=False):
        self.seen = seen
        if cut_off:
            self.is_truncated = lambda state, parameters: state >= 2

    def action_space(self, parameters):
        return types.SimpleNamespace(n=2)

    def observation_space(self, parameters):
        return self.seen

    def reset_env(self, key, parameters):
        return self._shown(jnp.asarray(0)), jnp.asarray(0)

    def step_env(self, key, state, action, parameters):
        state = state + 1
        done = state >= parameters.most
        return self._shown(state), state, jnp.asarray(action), done, {}

    def _shown(self, state):
        return state if hasattr(self.seen, "n") else jnp.full((2, 3), state)


def test_an_environment_with_the_words_of_gymnax():
    box = rz.rl.GymnaxEnvironment(Told(types.SimpleNamespace(shape=(2, 3))))
    assert (box.observation_size, box.actions) == (6, 2)
    seen, reward, done = played(box, np.array([1, 0, 1]))
    np.testing.assert_array_equal(seen, np.repeat([[0.0], [1.0], [2.0]], 6, axis=1))
    assert reward.tolist() == [1, 0, 1]
    assert done.tolist() == [False, False, True]
    cut = rz.rl.GymnaxEnvironment(Told(types.SimpleNamespace(n=5, shape=()), cut_off=True))
    seen, _, done = played(cut, np.array([1, 0, 1]))
    np.testing.assert_array_equal(seen, np.eye(5)[:3])
    assert done.tolist() == [False, True, True]
    moved = box.step(jnp.asarray(2), 1, key=KEY)
    assert (int(moved.state), bool(moved.done)) == (0, True)


def test_gymnax():
    pytest.importorskip("gymnax")
    environment = rz.rl.GymnaxEnvironment("CartPole-v1")
    ours = rz.rl.CartPole(velocities=True)
    actions = np.array([0, 1, 1, 0, 1])
    state, seen = environment.reset(key=KEY)
    mine = rz.rl.CartPoleState(*seen, jnp.asarray(0))
    for action in actions:
        moved = environment.transition(state, action, key=KEY)
        own = ours.transition(mine, action, key=KEY)
        assert_close(moved.observation, own.observation, 1e-5)
        state, mine = moved.state, own.state


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: rz.rl.RepeatPrevious(4, length=50), ValueError, "that the 4 suits divide, got 50"),
        (lambda: rz.rl.RepeatPrevious(52), ValueError, "a length above the delay of 52"),
        (lambda: rz.rl.CartPole(0), ValueError, "length to be an integer of at least 1"),
        (
            lambda: rz.rl.ActorCritic(rz.Bidirectional(*cells()), 2, key=KEY),
            TypeError,
            "a network that steps, got Bidirectional",
        ),
        (
            lambda: rz.rl.ActorCritic(rz.make_model("gru", 2, 2, key=KEY), 2, key=KEY),
            TypeError,
            "pool=None",
        ),
        (
            lambda: rz.rl.start(policy(), rz.rl.RepeatPrevious(4), 2, key=KEY),
            ValueError,
            "4 numbers in an observation and 4 actions, as RepeatPrevious has, got one for 2 and 2",
        ),
        (
            lambda: rz.rl.start(policy(), "CartPole-v1", 2, key=KEY),
            TypeError,
            "rz.rl.GymnaxEnvironment",
        ),
        (
            lambda: rz.rl.replay(policy(), stretches()[0], burn_in=STEPS),
            ValueError,
            "burn_in to be an integer from 0 to 6, got 7",
        ),
        (
            lambda: rz.rl.ppo_loss(policy(), stretches()[0], jnp.zeros((MANY, 2))),
            ValueError,
            r"advantages of shape \(3, 7\)",
        ),
        (
            lambda: rz.rl.gae(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(())),
            TypeError,
            "done of dtype bool",
        ),
        (
            lambda: rz.rl.gae(np.zeros(3), np.zeros(3), np.zeros(3, bool), np.zeros(3)),
            ValueError,
            "last_value of the shape without time",
        ),
        (
            lambda: rz.rl.gae(*np.zeros((2, 3)), np.zeros(3, bool), 0.0, discount=1.5),
            ValueError,
            "discount from 0 to 1, got 1.5",
        ),
        (
            lambda: rz.rl.GymnaxEnvironment(Told(types.SimpleNamespace(parts=3))),
            TypeError,
            "observations of one array",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected(call, error, said):
    with pytest.raises(error, match=said):
        call()


def cells():
    return [rz.make_cell("gru", 2, 3, key=KEY)] * 2


def test_a_name_without_gymnax(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(ImportError, match=r"needs gymnax.*\[gymnax\]"):
        rz.rl.GymnaxEnvironment("CartPole-v1")
