"""PPO on RepeatPrevious: how soon an agent says what it saw four cards ago.

Each seed trains until the mean return of fresh episodes, 256 of them, is at least 0.9 of the
possible 1 (guessing gives -0.5), or until its steps end. `steps` are those in the environments,
`seconds` are those of the clock, with compiling, and `processor` those of all cores. GRU, LRU and
`mingru` of 64 units; "none" is a perceptron of that width, which sees one card at a time.
"""

import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax import lax

import rnn_zoo as rz

from .. import call
from ..tables import Kept


class Setting(NamedTuple):
    """What PPO is told."""

    environments: int = 64
    steps: int = 104  # two episodes
    epochs: int = 4
    minibatches: int = 4
    rate: float = 2e-3
    discount: float = 0.9
    trace_decay: float = 0.9
    entropy_weight: float = 0.01
    iterations: int = 1000
    every: int = 10  # iterations between evaluations


WIDTH, ENOUGH, EPISODES = 64, 0.9, 256
SEEDS = (0, 1, 2)
# One layer of minGRU is far behind, and what does not remember cannot learn it: fewer show it.
FEWER = {"mingru": 200, "none": 100}
CELLS = ("gru", "lru", "mingru", "none")
PLACES = [(cell, seed) for cell in CELLS for seed in SEEDS]
KEPT = Kept("agents", ("cell", "seed"), PLACES)


def network(cell, size, key):
    if cell == "none":
        mlp = eqx.nn.MLP(size, WIDTH, WIDTH, 1, activation=jnp.tanh, key=key)
        return rz.layers.Pointwise(mlp, size, WIDTH)
    return rz.layers.deep(rz.cell_info(cell).cls, size, WIDTH, key=key)


def make_policy(cell, environment, key):
    key_network, key_heads = jr.split(key)
    made = network(cell, environment.observation_size, key_network)
    return rz.rl.ActorCritic(made, environment.actions, key=key_heads)


def optimiser(setting):
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(setting.rate))


def iteration(environment, setting):
    """One rollout, and the epochs over it, as one program."""
    adam = optimiser(setting)

    def loss(policy, seen, advantage):
        return rz.rl.ppo_loss(policy, seen, advantage, entropy_weight=setting.entropy_weight)

    @eqx.filter_jit
    def run(policy, state, runner, key):
        key_act, key_rows = jr.split(key)
        runner, seen = rz.rl.rollout(policy, environment, runner, setting.steps, key=key_act)
        advantage = rz.rl.gae(
            seen.reward,
            seen.value,
            seen.done,
            seen.last_value,
            discount=setting.discount,
            trace_decay=setting.trace_decay,
        )
        params, rest = eqx.partition(policy, eqx.is_inexact_array)

        def update(carry, rows):
            params, state = carry
            some = jax.tree.map(lambda a: a[rows], (seen, advantage))
            policy = eqx.combine(params, rest)
            grads, parts = eqx.filter_grad(loss, has_aux=True)(policy, *some)
            moves, state = adam.update(grads, state)
            return (optax.apply_updates(params, moves), state), parts

        order = [
            jr.permutation(k, setting.environments) for k in jr.split(key_rows, setting.epochs)
        ]
        rows = jnp.stack(order).reshape(setting.epochs * setting.minibatches, -1)
        (params, state), parts = lax.scan(update, (params, state), rows)
        return eqx.combine(params, rest), state, runner, jax.tree.map(jnp.mean, parts)

    return run


@eqx.filter_jit
def mean_return(policy, environment, key):
    """Of fresh episodes, actions drawn as in training."""
    key_start, key = jr.split(key)
    runner = rz.rl.start(policy, environment, EPISODES, key=key_start)
    length = environment.length
    _, seen = rz.rl.rollout(policy, environment, runner, length, auto_reset=False, key=key)
    return seen.reward.sum(axis=1).mean()


def trained(policy, environment, setting, key, enough=ENOUGH):
    """The policy, and (steps, mean return) at each evaluation."""
    run = iteration(environment, setting)
    key_start, key_act, key_test = jr.split(key, 3)
    runner = rz.rl.start(policy, environment, setting.environments, key=key_start)
    state = optimiser(setting).init(eqx.filter(policy, eqx.is_inexact_array))
    curve = []
    for i in range(1, setting.iterations + 1):
        policy, state, runner, _ = run(policy, state, runner, jr.fold_in(key_act, i))
        if i % setting.every and i != setting.iterations:
            continue
        found = float(mean_return(policy, environment, jr.fold_in(key_test, i)))
        curve.append((i * setting.steps * setting.environments, found))
        if found >= enough:
            break
    return policy, curve


def row(cell, seed, setting=None):
    setting = setting or Setting(iterations=FEWER.get(cell, Setting().iterations))
    environment = rz.rl.RepeatPrevious(4)
    began, busy = time.perf_counter(), time.process_time()
    policy = make_policy(cell, environment, jr.key(seed))
    _, curve = trained(policy, environment, setting, jr.key(100 + seed))
    steps, found = curve[-1]
    return {
        "cell": cell,
        "seed": seed,
        "solved": "yes" if found >= ENOUGH else "no",
        "return": round(found, 3),
        "steps": steps,
        "seconds": round(time.perf_counter() - began),
        "processor": round(time.process_time() - busy),
        "jax": jax.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "cell", CELLS)
    parser.add_argument("--seed", type=int, nargs="*", default=[*SEEDS], help="some only")
    options = parser.parse_args(arguments)
    chosen = [place for place in PLACES if place[0] in options.cell and place[1] in options.seed]
    KEPT.fill(chosen, row)
