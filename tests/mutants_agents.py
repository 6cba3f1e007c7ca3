"""Planted mistakes of agents, rollouts and PPO; see test_mutants.py."""

RL = "test_rl.py -k {}"
REPLAY = RL.format("'equals_its_replay and mingru'")
AGENTS = {
    "a replay forgets where episodes begin": ("rl/acting.py", 'given = {"reset": rollout.reset, "mask"', 'given = {"mask"', REPLAY),
    "a replay sees what stands behind an end": ("rl/acting.py", '"mask": rollout.mask, "key": rollout.key}', '"key": rollout.key}', REPLAY),
    "the memory goes on into the next episode": ("rl/acting.py", "before = restart(policy, runner.policy, runner.begins)", "before = runner.policy", REPLAY),
    "a rollout keeps the last states": ("rl/acting.py", "state=before, last_value", "state=runner.policy, last_value", REPLAY),
    "memory behind an end": ("rl/acting.py", "select(runner.over, before, after)", "after", RL.format("'one_episode_ends'")),
    "an episode begins a step late": ("rl/acting.py", '"reset": runner.begins', '"reset": done', REPLAY),
    "an episode that is over pays on": ("rl/acting.py", "jnp.where(runner.over, jnp.zeros_like(moved.reward), moved.reward)", "moved.reward", RL.format("one_episode_ends")),
    "actions without chance": ("rl/acting.py", "jnp.argmax(said.logits + at.noise)", "jnp.argmax(said.logits)", RL.format("drawn_from")),
    "gradients into a burn-in": ("rl/acting.py", "        state = jax.tree.map(lax.stop_gradient, state)\n", "", RL.format("up_to_date")),
    "advantages from the value now": ("rl/ppo.py", "jnp.concatenate([value[..., 1:], last_value[..., None]], axis=-1)", "value", RL.format("generalised")),
    "an end does not mask the bootstrap": ("rl/ppo.py", "discount * jnp.where(done, jnp.zeros_like(value), following)", "discount * following", RL.format("generalised")),
    "traces go through an end": ("rl/ppo.py", "jnp.where(done, jnp.zeros_like(later), later)", "later", RL.format("generalised")),
    "ratios are not clipped": ("rl/ppo.py", "jnp.minimum(ratio * gain, clipped * gain)", "ratio * gain", RL.format("loss_of_ppo")),
    "entropy is punished": ("rl/ppo.py", "return loss - entropy_weight", "return loss + entropy_weight", RL.format("loss_of_ppo")),
    "steps that did not happen count": ("rl/ppo.py", "weight = rollout.mask[:, burn_in:].astype(gain.dtype)", "pass", RL.format("loss_of_ppo")),
    "burnt-in steps keep their advantages": ("rl/ppo.py", "(a[:, burn_in:] for a in (rollout.action", "(a[:, : a.shape[1] - burn_in] for a in (rollout.action", RL.format("no_part_of_the_loss")),
    "a card too early": ("rl/environments.py", "action == state.seen[self.delay]", "action == state.seen[self.delay - 1]", RL.format("repeat_previous")),
    "cards come back into the deck": ("rl/environments.py", "state.remaining - taken", "state.remaining", RL.format("repeat_previous")),
    "a pole without its mass": ("rl/environments.py", "(4 / 3 - POLE * cosine**2 / mass)", "4 / 3", RL.format("cart_pole")),
    "no next episode": ("rl/environments.py", "select(moved.done, fresh,", "select(moved.done & False, fresh,", RL.format("begins_the_next")),
    "what gymnax cuts off goes on": ("rl/gymnax_adapter.py", "done = done | jnp.asarray(cut_off(state, self.parameters), bool)", "pass", RL.format("words_of_gymnax")),
}  # fmt: skip
