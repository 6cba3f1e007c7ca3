"""Environments as small pure modules: each is one environment, and `jax.vmap` makes many."""

import abc
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._common.checks import check_sizes
from ..linear import select


class Transition(NamedTuple):
    """What an action leads to."""

    state: Any
    """The state of the environment afterwards."""
    observation: Array
    """What is seen of it, (observation_size,)."""
    reward: Array
    """A number."""
    done: Array
    """A bool: the episode is over, by its rules or by its limit of steps."""


class AbstractEnvironment(eqx.Module):
    """An environment with a finite number of actions.

    `reset(key=key)` gives the state and the observation that an episode starts with, and
    `transition(state, action, key=key)` what an action leads to. Both are pure functions of arrays,
    so they run under `jax.jit` and `jax.vmap`. What parameters an environment has are its fields.
    """

    observation_size: eqx.AbstractVar[int]
    """Numbers in an observation."""
    actions: eqx.AbstractVar[int]
    """Actions to choose from; an action is an integer from 0 to `actions` - 1."""

    @abc.abstractmethod
    def reset(self, *, key: PRNGKeyArray) -> tuple[Any, Array]:
        """The state at the start of an episode, and its observation, (observation_size,)."""

    @abc.abstractmethod
    def transition(self, state: Any, action: ArrayLike, *, key: PRNGKeyArray) -> Transition:
        """What the action leads to. Behind the end of an episode it may give anything."""

    def step(self, state: Any, action: ArrayLike, *, key: PRNGKeyArray) -> Transition:
        """`transition`, and where it ends the episode the next one begins at once.

        State and observation are then those of `reset`; reward and done are of the step itself.
        """
        key_step, key_reset = jr.split(key)
        moved = self.transition(state, action, key=key_step)
        fresh = self.reset(key=key_reset)
        return moved._replace(**anew(moved, fresh))


def anew(moved: Transition, fresh: tuple[Any, Array]) -> dict[str, Any]:
    """The state and the observation behind a step: those of a fresh episode where one ended."""
    state, observation = select(moved.done, fresh, (moved.state, moved.observation))
    return {"state": state, "observation": observation}


class RepeatPreviousState(NamedTuple):
    """The state of `RepeatPrevious`."""

    remaining: Int[Array, " suits"]
    """Cards of each suit that are still in the deck."""
    seen: Int[Array, " delay+1"]
    """The suits that were seen last, the newest first."""
    time: Int[Array, ""]
    """Steps since the start of the episode."""


class RepeatPrevious(AbstractEnvironment):
    """Say the suit of the card that was seen `delay` steps before (POPGym; Morad et al. 2023).

    A deck of cards is turned over, one card a step; the observation is its suit, one-hot. From step
    `delay` on, the action is paid with 1 / (length - delay) where it names the suit that was seen
    `delay` steps before, and with the negative of that otherwise. So the return of an episode lies
    between -1 and 1, and guessing gives 2 / suits - 1. An episode has `length` steps. In POPGym's
    code a delay of 4 counts the card on the table as the first, and is a delay of 3 here.
    """

    suits: int = eqx.field(static=True)
    delay: int = eqx.field(static=True)
    length: int = eqx.field(static=True)

    def __init__(self, delay: int = 4, *, suits: int = 4, length: int = 52):
        """`length` cards, as many of each suit. ValueError for a length that `suits` does not
        divide or that leaves no step behind the delay, and for sizes below 1."""
        check_sizes(delay=delay, suits=suits, length=length)
        if length % suits or length <= delay:
            raise ValueError(
                f"expected a length above the delay of {delay} that the {suits} suits divide, got "
                f"{length}: a deck has as many cards of each suit, one for each step"
            )
        self.suits, self.delay, self.length = suits, delay, length

    @property
    def observation_size(self) -> int:
        return self.suits

    @property
    def actions(self) -> int:
        return self.suits

    def reset(self, *, key: PRNGKeyArray) -> tuple[RepeatPreviousState, Array]:
        full = jnp.full(self.suits, self.length // self.suits)
        nothing = jnp.zeros(self.delay + 1, full.dtype)
        before = RepeatPreviousState(full, nothing, jnp.asarray(-1, full.dtype))
        state = self._turned(before, key)
        return state, self._observed(state)

    def transition(
        self, state: RepeatPreviousState, action: ArrayLike, *, key: PRNGKeyArray
    ) -> Transition:
        paid = jnp.where(action == state.seen[self.delay], 1.0, -1.0) / (self.length - self.delay)
        reward = jnp.where(state.time >= self.delay, paid, jnp.zeros_like(paid))
        done = state.time == self.length - 1
        state = self._turned(state, key)
        return Transition(state, self._observed(state), reward, done)

    def _turned(self, state: RepeatPreviousState, key: PRNGKeyArray) -> RepeatPreviousState:
        """The next card: each of those that are left is as likely, as in a shuffled deck."""
        place = jr.uniform(key) * state.remaining.sum()
        suit = jnp.sum(jnp.cumsum(state.remaining)[:-1] <= place)
        taken = jnp.arange(self.suits) == suit
        seen = jnp.concatenate([suit[None].astype(state.seen.dtype), state.seen[:-1]])
        return RepeatPreviousState(state.remaining - taken, seen, state.time + 1)

    def _observed(self, state: RepeatPreviousState) -> Array:
        return jax.nn.one_hot(state.seen[0], self.suits)


class CartPoleState(NamedTuple):
    """The state of `CartPole`: metres, radians and seconds."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]
    angle: Float[Array, ""]
    """Of the pole, from upright."""
    spin: Float[Array, ""]
    """Angular velocity."""
    time: Int[Array, ""]
    """Steps since the start of the episode."""


GRAVITY, FORCE, STEP = 9.8, 10.0, 0.02
CART, POLE, HALF_LENGTH = 1.0, 0.1, 0.5
FARTHEST, STEEPEST = 2.4, math.radians(12)


class CartPole(AbstractEnvironment):
    r"""A pole on a cart that is pushed left or right (Barto, Sutton & Anderson 1983; Gym's v1).

    With the force F = -10 N for action 0 and 10 N for action 1, the masses m_c = 1 kg and m_p =
    0.1 kg and half the length of the pole, l = 0.5 m,

    $$a = (F + m_p l \dot\theta^2 \sin\theta) / (m_c + m_p)$$
    $$\ddot\theta = \frac{g \sin\theta - a \cos\theta}
    {l (4/3 - m_p \cos^2\theta / (m_c + m_p))}, \qquad
    \ddot x = a - \frac{m_p l \ddot\theta \cos\theta}{m_c + m_p}$$

    in Euler steps of 0.02 s. Each step is paid with 1. An episode ends where the cart is more than
    2.4 m off or the pole more than 12 degrees, or after `length` steps. The observation is
    (position, angle); with `velocities=True` it is Gym's (position, velocity, angle, angular
    velocity). Without velocities a policy has to remember what it saw.
    """

    length: int = eqx.field(static=True)
    velocities: bool = eqx.field(static=True)

    def __init__(self, length: int = 500, *, velocities: bool = False):
        """An episode has at most `length` steps, 500 as in Gym's v1 or 200 as in v0. ValueError
        for a length below 1."""
        check_sizes(length=length)
        self.length, self.velocities = length, velocities

    @property
    def observation_size(self) -> int:
        return 4 if self.velocities else 2

    @property
    def actions(self) -> int:
        return 2

    def reset(self, *, key: PRNGKeyArray) -> tuple[CartPoleState, Array]:
        x, speed, angle, spin = jr.uniform(key, (4,), minval=-0.05, maxval=0.05)
        state = CartPoleState(x, speed, angle, spin, jnp.asarray(0))
        return state, self._observed(state)

    def transition(
        self, state: CartPoleState, action: ArrayLike, *, key: PRNGKeyArray
    ) -> Transition:
        """One Euler step. Nothing in it is random."""
        x, speed, angle, spin, time = state
        force = jnp.where(action == 1, FORCE, -FORCE).astype(x.dtype)
        sine, cosine, mass = jnp.sin(angle), jnp.cos(angle), CART + POLE
        push = (force + POLE * HALF_LENGTH * spin**2 * sine) / mass
        inertia = HALF_LENGTH * (4 / 3 - POLE * cosine**2 / mass)
        turning = (GRAVITY * sine - push * cosine) / inertia
        pulled = push - POLE * HALF_LENGTH * turning * cosine / mass
        state = CartPoleState(
            x + STEP * speed,
            speed + STEP * pulled,
            angle + STEP * spin,
            spin + STEP * turning,
            time + 1,
        )
        fallen = (abs(state.position) > FARTHEST) | (abs(state.angle) > STEEPEST)
        done: Bool[Array, ""] = fallen | (state.time >= self.length)
        return Transition(state, self._observed(state), jnp.ones_like(x), done)

    def _observed(self, state: CartPoleState) -> Array:
        return jnp.stack(state[:4] if self.velocities else (state.position, state.angle))
