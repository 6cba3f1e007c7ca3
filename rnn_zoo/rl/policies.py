"""Policies: any network, with a head for the actions and one for the value."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._common.checks import check_sizes
from ..base import State, replace
from ..layers.base import hide
from ..layers.stacked import as_layer


class PolicyValue(NamedTuple):
    """What an actor-critic says of an observation."""

    logits: Array
    """(actions,): the logarithms of how likely each action is, but for a constant."""
    value: Array
    """A number: the discounted rewards that are expected from here on."""


class ActorCritic(eqx.Module):
    r"""A network that remembers, with two linear heads on its outputs h_t.

    $$\pi_t = \mathrm{softmax}(W_\pi h_t + b_\pi), \qquad V_t = w_V h_t + b_V$$

    `step` is for acting and `scan` for learning: both give a `PolicyValue`, the second with a
    leading axis of time. The heads start with weights near zero, so all actions are about as likely
    at first.
    """

    network: Any
    actor: eqx.nn.Linear
    critic: eqx.nn.Linear

    def __init__(self, network: Any, actions: int, *, dtype: Any = None, key: PRNGKeyArray):
        """`network`: a cell, a layer that steps, or a model with `pool=None`; its outputs are what
        the heads read. `dtype` and `key` are those of the heads.

        **Raises:** TypeError for what cannot step, ValueError for fewer than one action.
        """
        check_sizes(actions=actions)
        layer = as_layer(network)
        if not hasattr(layer, "step") or getattr(layer, "pool", None) is not None:
            raise TypeError(
                f"expected a network that steps, got {type(network).__name__}: an agent sees its "
                "observations one by one, so take a cell, a layer that is not backward, or a model "
                "with pool=None"
            )
        key_actor, key_critic = jax.random.split(key)
        self.network = layer
        self.actor = _small(layer.output_size, actions, dtype, key_actor)
        self.critic = _small(layer.output_size, "scalar", dtype, key_critic)

    @property
    def input_size(self) -> int:
        """Numbers in an observation."""
        return self.network.input_size

    @property
    def actions(self) -> int:
        """Actions to choose from."""
        return int(self.actor.out_features)

    @property
    def stochastic(self) -> bool:
        """Whether the network draws at random, as one with dropout does."""
        return self.network.stochastic

    def init_state(self) -> State:
        """The network's."""
        return self.network.init_state()

    def step(
        self, state: State, x: ArrayLike, *, reset: ArrayLike | None = None, key: Any = None
    ) -> tuple[State, PolicyValue]:
        """One observation, (input_size,). Where `reset` is True an episode begins with it.

        Errors as in the `step` of the network.
        """
        keywords = {"key": key} if self.stochastic else {}
        state, y = self.network.step(state, x, reset=reset, **keywords)
        return state, PolicyValue(self.actor(y), self.critic(y))

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, PolicyValue]:
        """A stretch of observations, (time, input_size): the network's `scan` and the heads.

        Logits are (time, actions) and values (time,), zero where masked. Keywords and errors are
        those of `rz.scan.unroll`.
        """
        state, ys = self.network.scan(xs, state, mask=mask, reset=reset, key=key)
        given = PolicyValue(jax.vmap(self.actor)(ys), jax.vmap(self.critic)(ys))
        if mask is None:
            return state, given
        flags = jnp.asarray(mask)
        return state, PolicyValue(hide(flags, given.logits), hide(flags, given.value))


def _small(size: int, outputs: Any, dtype: Any, key: PRNGKeyArray) -> eqx.nn.Linear:
    made = eqx.nn.Linear(size, outputs, dtype=dtype, key=key)
    assert made.bias is not None
    return replace(made, weight=0.01 * made.weight, bias=jnp.zeros_like(made.bias))
