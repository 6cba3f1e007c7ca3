"""Steps of environments in a second: PPO with a GRU, beside the same in torch.

    pip install torch

The task is RepeatPrevious. "rollout" acts for 104 steps in 64 environments; "iteration" is a
rollout, its advantages, and four epochs of four minibatches, gradients through all steps. The
policy is a GRU of 64 units with two heads. The torch form is written as is usual there (as
CleanRL's PPO with an LSTM): environments as tensors, an `nn.GRUCell` step by step that is set
back where an episode begins, two threads. Both have the same weights, and before anything is
timed both have to give the same logits, advantages and losses on one rollout. Medians of
interleaved rounds. `processor_ms` is the time of all cores together, which says something on a
machine that is not at rest, best with `--threads 1`; the ratios are torch's time over ours, by
the clock and by the processor.
"""

import statistics
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..quality.agents import Setting, iteration, make_policy, optimiser
from ..tables import Table, versions


SETTING = Setting()
ENVIRONMENT = rz.rl.RepeatPrevious(4)
VALUES = ("rival", "ms", "processor_ms", "steps_per_second", "torch_over", "processor_torch_over")
TABLE = Table("rollouts", ("jax", "part", "threads"), VALUES)


class Cards:
    """RepeatPrevious for many environments in torch: decks are shuffled, not drawn from."""

    def __init__(self, torch, environments):
        self.torch, self.many = torch, environments
        self.deck = torch.arange(52) % 4
        self.decks = torch.stack([self.deck[torch.randperm(52)] for _ in range(environments)])
        self.time = torch.zeros(environments, dtype=torch.long)
        self.rows = torch.arange(environments)

    def seen(self):
        suits = self.decks[self.rows, self.time]
        return self.torch.nn.functional.one_hot(suits, 4).float()

    def step(self, action):
        torch = self.torch
        before = self.decks[self.rows, (self.time - 4).clamp(min=0)]
        reward = torch.where(action == before, 1 / 48, -1 / 48)
        reward = torch.where(self.time >= 4, reward, torch.zeros_like(reward))
        done = self.time == 51
        self.time = torch.where(done, torch.zeros_like(self.time), self.time + 1)
        if done.any():
            order = torch.rand(int(done.sum()), 52).argsort(dim=1)
            self.decks[done] = self.deck[order]
        return reward, done


class Theirs:
    """The same policy and the same loop in torch."""

    def __init__(self, torch, policy):
        self.torch, nn = torch, torch.nn
        self.cell = rz.interop.to_torch(policy.network.layers[0].cell)
        size = policy.network.output_size
        self.actor, self.critic = nn.Linear(size, 4), nn.Linear(size, 1)
        for theirs, ours in ((self.actor, policy.actor), (self.critic, policy.critic)):
            with torch.no_grad():
                theirs.weight.copy_(torch.from_numpy(np.array(ours.weight)))
                theirs.bias.copy_(torch.from_numpy(np.array(ours.bias)).reshape(-1))
        parts = (self.cell, self.actor, self.critic)
        self.parameters = [p for part in parts for p in part.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=SETTING.rate, foreach=True)
        self.environments = Cards(torch, SETTING.environments)
        self.state = torch.zeros(SETTING.environments, size)
        self.begins = torch.ones(SETTING.environments, dtype=torch.bool)

    def stretch(self, observation, state, reset):
        """Logits and values, (time, environments, ...)."""
        keep, states = (~reset).float()[..., None], []
        for x, kept in zip(observation, keep):
            state = self.cell(x, kept * state)
            states.append(state)
        states = self.torch.stack(states)
        return self.actor(states), self.critic(states)[..., 0]

    def rollout(self):
        torch, rows, before = self.torch, [], self.state
        with torch.no_grad():
            for _ in range(SETTING.steps):
                x, begins = self.environments.seen(), self.begins
                self.state = self.cell(x, (~begins).float()[:, None] * self.state)
                chances = torch.distributions.Categorical(
                    logits=self.actor(self.state), validate_args=False
                )
                action = chances.sample()
                value = self.critic(self.state)[:, 0]
                reward, self.begins = self.environments.step(action)
                log_prob = chances.log_prob(action)
                rows.append((x, action, reward, self.begins, log_prob, value, begins))
            last = self.cell(self.environments.seen(), (~self.begins).float()[:, None] * self.state)
            last = self.critic(last)[:, 0]
        return [torch.stack(column) for column in zip(*rows)], before, last

    def advantages(self, seen, last):
        torch, (_, _, reward, done, _, value, _) = self.torch, seen
        after, ahead, found = torch.zeros_like(last), last, []
        goes_on = (~done).float()
        for t in reversed(range(len(reward))):
            error = reward[t] + SETTING.discount * goes_on[t] * ahead - value[t]
            after = error + SETTING.discount * SETTING.trace_decay * goes_on[t] * after
            found.append(after)
            ahead = value[t]
        return torch.stack(found[::-1])

    def loss(self, seen, before, advantage):
        torch, (x, action, _, _, log_prob, value, reset) = self.torch, seen
        logits, now = self.stretch(x, before, reset)
        chances = torch.distributions.Categorical(logits=logits, validate_args=False)
        gain = (advantage - advantage.mean()) / torch.sqrt(advantage.var(correction=0) + 1e-8)
        ratio = torch.exp(chances.log_prob(action) - log_prob)
        worse = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        error = ((now - advantage - value) ** 2).mean()
        return -worse + 0.5 * error - SETTING.entropy_weight * chances.entropy().mean()

    def iteration(self):
        torch = self.torch
        seen, before, last = self.rollout()
        advantage = self.advantages(seen, last)
        for _ in range(SETTING.epochs):
            order = torch.randperm(SETTING.environments)
            for rows in order.chunk(SETTING.minibatches):
                some = [column[:, rows] for column in seen]
                self.adam.zero_grad()
                self.loss(some, before[rows], advantage[:, rows]).backward()
                torch.nn.utils.clip_grad_norm_(self.parameters, 0.5)
                self.adam.step()


def agree(torch, policy: Any, theirs: Theirs) -> None:
    """Both say the same of one rollout of torch's: logits and values, advantages, the loss."""
    seen, before, last = theirs.rollout()
    columns = [jnp.asarray(np.array(column)).swapaxes(0, 1) for column in seen]
    state = (jnp.asarray(np.array(before)),)  # of one layer
    ours = rz.rl.Rollout(*columns, None, None, state, jnp.array(last.numpy()))
    said = rz.rl.replay(policy, ours)
    logits, values = theirs.stretch(seen[0], before, seen[6])
    advantage = rz.rl.gae(
        ours.reward,
        ours.value,
        ours.done,
        ours.last_value,
        discount=SETTING.discount,
        trace_decay=SETTING.trace_decay,
    )
    their_advantage = theirs.advantages(seen, last)
    for one, two in ((said.logits, logits), (said.value, values), (advantage, their_advantage)):
        expected = two.detach().numpy().swapaxes(0, 1)
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    loss, _ = rz.rl.ppo_loss(policy, ours, advantage, entropy_weight=SETTING.entropy_weight)
    expected = theirs.loss(seen, before, their_advantage).item()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def ours(policy):
    run = iteration(ENVIRONMENT, SETTING)
    runner = rz.rl.start(policy, ENVIRONMENT, SETTING.environments, key=jr.key(1))
    moments = optimiser(SETTING).init(eqx.filter(policy, eqx.is_inexact_array))

    def act():
        return rz.rl.rollout(policy, ENVIRONMENT, runner, SETTING.steps, key=jr.key(2))[1].reward

    return {"rollout": act, "iteration": lambda: run(policy, moments, runner, jr.key(2))[3]}


def timed(rivals, rounds):
    """Median seconds of each rival, by the clock and of the processor, called in turn."""
    for run in rivals.values():
        jax.block_until_ready(run())
    found = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            began, busy = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            found[name].append((time.perf_counter() - began, time.process_time() - busy))
    return {name: [statistics.median(column) for column in zip(*v)] for name, v in found.items()}


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    parser.add_argument("--threads", type=int, default=2, help="of torch, 2 by default")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    policy = make_policy("gru", ENVIRONMENT, jr.key(0))
    runs = {part: {"ours": run} for part, run in ours(policy).items()}
    try:
        import torch
    except ImportError:
        print("not installed: torch")
    else:
        torch.set_num_threads(options.threads)
        theirs = Theirs(torch, policy)
        agree(torch, policy, theirs)
        # Their tensors are no business of jax.
        runs["rollout"]["torch"] = lambda: (theirs.rollout(), None)[1]
        runs["iteration"]["torch"] = theirs.iteration
    steps = SETTING.environments * SETTING.steps
    for part, rivals in runs.items():
        found = timed(rivals, options.rounds)
        key = (versions()["jax"], part, str(options.threads))
        for name, (clock, processor) in found.items():
            ratios = [f"{t / o:.2f}" for t, o in zip(found.get("torch", ()), (clock, processor))]
            ratios = ratios or ["", ""]
            shown = f"{1e3 * clock:.1f}", f"{1e3 * processor:.1f}", f"{steps / clock:.0f}"
            TABLE.add(key, name, *shown, *ratios)
    TABLE.write()
