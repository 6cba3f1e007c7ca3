"""Planted mistakes of fixed points, exponents, online learning and trials; see test_mutants.py."""

POINTS = "test_points.py -k {}"
ONLINE = "test_online.py -k {}"
FORCED = "test_forcing.py -k {}"
MASKED = "test_masked.py -k '{}'"
LAB = {
    "fixed points whatever their speed": ("dynamics/search.py", "fits = np.isfinite(speeds) & (speeds <= max(tol, slow))", "fits = np.isfinite(speeds)", POINTS.format("slow_points")),
    "orbits that come back sooner": ("dynamics/search.py", "fits &= np.linalg.norm(rounds[:, d - 1] - ends, axis=1) > apart", "pass", POINTS.format("quarter_turn")),
    "every point is isolated": ("dynamics/search.py", "labels[labels == labels[one]] = labels[other]", "pass", POINTS.format("'ring or line'")),
    "a direction without change grows": ("dynamics/search.py", "np.sum((np.abs(values) > 1) & ~still, axis=1)", "np.sum(np.abs(values) >= 1, axis=1)", POINTS.format("ring")),
    "basins after one step": ("dynamics/points.py", "after(system, vectors, steps)", "after(system, vectors, 1)", POINTS.format("basins_are")),
    "left eigenvectors are right ones": ("dynamics/points.py", "np.linalg.inv(modes)", "modes.T", POINTS.format("basin_ends")),
    "errors of one block": ("dynamics/exponents.py", " / np.sqrt(blocks)", "", POINTS.format("random_matrices")),
    "the dimension divides by the wrong exponent": ("dynamics/exponents.py", "abs(float(values[k]))", "abs(float(values[k - 1]))", POINTS.format("kaplan")),
    "influence is forgotten": ("train/influence.py", "new.append(carried + jnp.where(slot.touched, own, 0))", "new.append(jnp.where(slot.touched, own, 0))", ONLINE.format("'equals_backpropagation and mingru'")),
    "influence goes the other way": ("train/influence.py", "slopes[of_row[to], by] if", "slopes[of_row[by], to] if", ONLINE.format("'equals_backpropagation and lru'")),
    "a reset keeps its influence": ("train/online_learner.py", "influence = tuple(jnp.where(at.reset, 0, one) for one in influence)", "pass", ONLINE.format("'equals_backpropagation and mingru'")),
    "a masked step has influence": ("train/online_learner.py", "pushed = _where(at.mask, pushed, influence)", "pass", ONLINE.format("'equals_backpropagation and mingru'")),
    "gradients of the past alone": ("train/online_learner.py", "[a + b for a, b in zip(direct, past)]", "past", ONLINE.format("'equals_backpropagation and mingru'")),
    "what one step makes is called exact": ("train/influence.py", "exact = whole or all(", "exact = True or all(", ONLINE.format("snap1")),
    "decisions by the other context": ("data/trials.py", "asked = signs[np.arange(n), context]", "asked = signs[np.arange(n), 1 - context]", "test_trials.py -k context"),
    "an interval from its first pulse": ("data/trials.py", "np.arange(time) - (ready + interval)[:, None]", "np.arange(time) - ready[:, None]", "test_trials.py -k interval"),
    "matches are no matches": ("data/trials.py", "np.where(same, 1, 2)", "np.where(same, 2, 1)", "test_trials.py -k delayed_matches"),
    "forced whatever the share": ("models/forced.py", "share * gap", "gap", FORCED.format("'of_a_loop and first_units'")),
    "the readout goes back by its transpose": ("models/forced.py", "jnp.linalg.solve(gram, self.weight).T", "self.weight.T", FORCED.format("'of_a_loop and readout'")),
    "a forecast begins anew": ("models/forced.py", "state.seen + said if self.skip else said", "said", FORCED.format("closed_loop")),
    "what the encoder read is forced again": ("train/forcing.py", "x[-len(shares) :], shares", "x[: len(shares)], shares", FORCED.format("encoder")),
    "sparse forcing a sample late": ("train/forcing.py", "% self.every == 0", "% self.every == 1", FORCED.format("'of_a_loop and 3'")),
    "growth of the last step alone": ("train/forcing.py", "total + jnp.log(size)", "jnp.log(size)", FORCED.format("growth")),
    "segments end where they began": ("train/forcing.py", "model.starts[jnp.minimum(number + 1, last)]", "model.starts[number]", FORCED.format("follow_one_another")),
    "schedules that do not know the step": ("train/step.py", "functools.partial(loss, step=step) if isinstance(loss, TeacherForcing) else loss", "loss", FORCED.format("schedule")),
    "lost states are left out": ("metrics.py", "np.log(len(centres))", "np.log(len(finite))", "test_attractors.py -k mixture_by_hand"),
    "noise on the test part": ("data/chaos.py", "values[: len(values) - sizes[2]]", "values", "test_data_chaos.py -k noise"),
    "a mask of the first moment alone": ("wrappers/masked.py", "return tuple(_hide(found[path], mask) for path, mask in zip(self.paths, self.masks))", "return tuple(found[path] for path in self.paths)", MASKED.format("stays_zero")),
    "a mask that hides nothing": ("wrappers/masked.py", "return jnp.where(mask, weight, jnp.zeros_like(weight))", "return weight", MASKED.format("with_zeros")),
    "masked constants, and bare weights": ("wrappers/masked.py", "return _put(self.dense, self.paths, c.weights)", "return self.dense", MASKED.format("stays_zero or behind")),
    "masked steps count for rates": ("train/penalties.py", "jnp.maximum(jnp.sum(mask), 1)", "jnp.maximum(mask.size, 1)", MASKED.format("formula")),
    "penalties without their strengths": ("train/penalties.py", "one.strength * cost", "cost", MASKED.format("formula")),
}  # fmt: skip
