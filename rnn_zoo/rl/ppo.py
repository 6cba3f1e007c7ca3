"""Proximal policy optimisation: advantages, and the loss over stretches of episodes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike

from .._common.checks import show
from .acting import Rollout, log_prob, replay


def gae(
    reward: ArrayLike,
    value: ArrayLike,
    done: ArrayLike,
    last_value: ArrayLike,
    *,
    discount: float = 0.99,
    trace_decay: float = 0.95,
) -> Array:
    r"""Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).

    $$\delta_t = r_t + \gamma (1 - d_t) V_{t+1} - V_t, \qquad
    A_t = \delta_t + \gamma \lambda (1 - d_t) A_{t+1}$$

    with the discount $\gamma$, the decay of traces $\lambda$, and $d_t$ = 1 where the episode is
    over with step t, so that nothing of the next one counts. $A_t + V_t$ is what the value should
    have been.

    **Arguments:**

    - `reward`, `value`, `done`: (..., time), as a `Rollout` has them; `done` is bool.
    - `last_value`: (...), $V$ behind the last step.

    **Returns:** the advantages, (..., time).

    **Raises:** ValueError for shapes that do not agree, and for a discount or a decay outside of
    [0, 1]; TypeError for a `done` that is not bool.
    """
    for name, share in {"discount": discount, "trace_decay": trace_decay}.items():
        if not 0 <= share <= 1:
            raise ValueError(f"expected {name} from 0 to 1, got {share}")
    reward, value, done = jnp.asarray(reward), jnp.asarray(value), jnp.asarray(done)
    last_value = jnp.asarray(last_value)
    if done.dtype != bool:
        raise TypeError(f"expected done of dtype bool, got {done.dtype}: write done == 1")
    shapes = {reward.shape, value.shape, done.shape, (*last_value.shape, *reward.shape[-1:])}
    if len(shapes) != 1 or reward.ndim == 0:
        raise ValueError(
            "expected reward, value and done of one shape (..., time) and last_value of the shape "
            f"without time, got {show((reward, value, done, last_value))}"
        )
    following = jnp.concatenate([value[..., 1:], last_value[..., None]], axis=-1)
    # By `where`, so that a value behind an end reaches nothing even where it is NaN.
    error = reward + discount * jnp.where(done, jnp.zeros_like(value), following) - value

    def earlier(later: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        own, done = at
        advantage = own + discount * trace_decay * jnp.where(done, jnp.zeros_like(later), later)
        return advantage, advantage

    steps = jnp.moveaxis(error, -1, 0), jnp.moveaxis(done, -1, 0)
    _, advantages = lax.scan(earlier, jnp.zeros_like(error[..., 0]), steps, reverse=True)
    return jnp.moveaxis(advantages, 0, -1)


def ppo_loss(
    policy: Any,
    rollout: Rollout,
    advantage: Array,
    *,
    clip: float = 0.2,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
    burn_in: int = 0,
) -> tuple[Array, dict[str, Array]]:
    r"""The loss of PPO with clipped ratios (Schulman et al. 2017, arXiv:1707.06347).

    $$L = -\langle \min(\rho_t A_t,\; \mathrm{clip}(\rho_t, 1 - \epsilon, 1 + \epsilon) A_t) \rangle
    + w_V \langle (V_t - R_t)^2 \rangle - w_H \langle H_t \rangle$$

    where $\rho_t$ is how likely the action is now over how likely it was, $H_t$ the entropy of the
    actions, and $R_t$ the advantage and the old value together. Means are over the steps that
    happened. The advantages are brought to mean 0 and variance 1 first. What the policy says now
    comes from `replay`, so the loss is one of whole stretches: minibatches are some of the
    environments, `jax.tree.map(lambda a: a[rows], (rollout, advantage))`.

    **Arguments:**

    - `advantage`: (environments, time), as `gae` gives it.
    - `clip`: $\epsilon$. `value_weight`, `entropy_weight`: $w_V$ and $w_H$.
    - `burn_in`: as in `replay`; these steps are no part of the loss.

    **Returns:** the loss, and by name its parts, how far the policy has moved, "kl", and the share
    of ratios that are clipped, "clipped".

    **Raises:** ValueError for advantages of another shape than the rewards, and for a `burn_in`
    that leaves no step.
    """
    if advantage.shape != rollout.reward.shape:
        raise ValueError(
            f"expected advantages of shape {rollout.reward.shape}, one for each step of the "
            f"rollout, got {advantage.shape}"
        )
    said = replay(policy, rollout, burn_in=burn_in)
    target = (advantage + rollout.value)[:, burn_in:]
    action, before, gain = (a[:, burn_in:] for a in (rollout.action, rollout.log_prob, advantage))
    weight = jnp.ones_like(gain)
    if rollout.mask is not None:
        weight = rollout.mask[:, burn_in:].astype(gain.dtype)

    def mean(x: Array) -> Array:
        return jnp.sum(weight * x) / jnp.maximum(jnp.sum(weight), 1)

    centred = gain - mean(gain)
    gain = centred / jnp.sqrt(mean(centred**2) + 1e-8)
    change = log_prob(said.logits, action) - before
    ratio = jnp.exp(change)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    parts = {
        "policy_loss": -mean(jnp.minimum(ratio * gain, clipped * gain)),
        "value_loss": mean((said.value - target) ** 2),
        "entropy": mean(_entropy(said.logits)),
    }
    loss = parts["policy_loss"] + value_weight * parts["value_loss"]
    moved = {"kl": mean(ratio - 1 - change), "clipped": mean(ratio != clipped)}
    return loss - entropy_weight * parts["entropy"], parts | moved


def _entropy(logits: Array) -> Array:
    likely = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(likely) * likely, axis=-1)
