"""Environments of gymnax."""

import importlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._common.extras import missing
from .environments import AbstractEnvironment, Transition


class GymnaxEnvironment(AbstractEnvironment):
    """An environment of gymnax (Lange 2022), by its name or as it is.

        environment = rz.rl.GymnaxEnvironment("MemoryChain-bsuite")

    Observations are laid flat, as floats; where they are one of n things, one-hot. An episode that
    gymnax cuts off is over, as one that ends by itself.
    """

    environment: Any = eqx.field(static=True)
    parameters: Any
    observation_size: int = eqx.field(static=True)
    actions: int = eqx.field(static=True)
    kinds: int | None = eqx.field(static=True)
    """Of how many things an observation is one, None where it is numbers."""

    def __init__(self, environment: Any, parameters: Any = None):
        """`environment`: a name that `gymnax.make` knows, or a gymnax environment; `parameters`:
        its own by default.

        **Raises:** ImportError where a name is given and gymnax is not installed; TypeError for
        actions that are not one of n, and for observations of several parts.
        """
        if isinstance(environment, str):
            environment, made = _made(environment)
            parameters = made if parameters is None else parameters
        if parameters is None:
            parameters = environment.default_params
        self.environment = environment
        self.parameters = parameters
        actions = environment.action_space(parameters)
        if not hasattr(actions, "n"):
            raise TypeError(
                f"expected an environment whose actions are one of n, got {type(actions).__name__}"
            )
        seen = environment.observation_space(parameters)
        if not hasattr(seen, "shape"):
            raise TypeError(
                f"expected observations of one array, got {type(seen).__name__}: wrap the "
                "environment in one that joins them"
            )
        self.actions = int(actions.n)
        self.kinds = int(seen.n) if hasattr(seen, "n") else None
        self.observation_size = self.kinds or int(np.prod(seen.shape))

    def reset(self, *, key: PRNGKeyArray) -> tuple[Any, Array]:
        observation, state = self.environment.reset_env(key, self.parameters)
        return state, self._flat(observation)

    def transition(self, state: Any, action: ArrayLike, *, key: PRNGKeyArray) -> Transition:
        given = self.environment.step_env(key, state, action, self.parameters)
        observation, state, reward, done, _ = given
        # Since gymnax 1.0 what cuts an episode off is told apart from what ends it.
        cut_off = getattr(self.environment, "is_truncated", None)
        done = jnp.asarray(done, bool)
        if cut_off is not None:
            done = done | jnp.asarray(cut_off(state, self.parameters), bool)
        return Transition(state, self._flat(observation), jnp.asarray(reward, float), done)

    def _flat(self, observation: Any) -> Array:
        if self.kinds is not None:
            return jax.nn.one_hot(jnp.asarray(observation).reshape(()), self.kinds)
        return jnp.ravel(jnp.asarray(observation, float))


def _made(name: str) -> tuple[Any, Any]:
    try:
        gymnax = importlib.import_module("gymnax")
    except ImportError as error:
        raise missing("an environment by name needs gymnax", "gymnax", error) from error
    return gymnax.make(name)
