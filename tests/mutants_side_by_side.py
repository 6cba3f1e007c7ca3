"""Planted mistakes of the chunks that run side by side."""

LAW = "test_chunks.py -k {}"
ROWS = {
    "joints one off": (
        "_evaluators/problem.py",
        "self.ends[:-1] - self.starts[1:]",
        "self.ends[1:] - self.starts[1:]",
        LAW.format("forgets_takes"),
    ),
    "a chunk starts where another one ended": (
        "_evaluators/problem.py",
        "return jnp.concatenate([self.starts[:1], self.ends[:-1]])",
        "return jnp.concatenate([self.starts[:1], self.ends[1:]])",
        LAW.format("forgets_takes"),
    ),
    "steps that fill a chunk are taken": (
        "_evaluators/problem.py",
        "rest = jnp.zeros_like(rest) if leaf.dtype == bool else rest",
        "rest = rest",
        LAW.format("lengths"),
    ),
    "a pass is kept with the starts of the next": (
        "_evaluators/levels.py",
        "run = jax.tree.map(lambda leaf: leaf[0], both)",
        "run = jax.tree.map(lambda leaf: leaf[1], both)",
        LAW.format("forgets_takes"),
    ),
    "joints are all that counts": (
        "_evaluators/levels.py",
        "fits = (wrong == 0) & (error <= ERROR * tol) & known",
        "fits = wrong == 0",
        LAW.format("not_enough"),
    ),
    "no branch but the first": (
        "_evaluators/coalescence.py",
        "return jnp.concatenate([jnp.zeros(1, whole.dtype), whole[:, 0]])",
        "return jnp.concatenate([jnp.zeros(1, whole.dtype), 0 * whole[:, 0]])",
        LAW.format("state_tracker"),
    ),
    "maps between branches the wrong way round": (
        "_evaluators/coalescence.py",
        "jnp.take_along_axis(b, a, axis=-1)",
        "jnp.take_along_axis(a, b, axis=-1)",
        LAW.format("eight_states"),
    ),
    "ends that differ are one branch": (
        "_evaluators/coalescence.py",
        "new = distance[best] > MERGED",
        "new = distance[best] > 1e3",
        LAW.format("'state_tracker or eight_states'"),
    ),
    "too many branches go unseen": (
        "_evaluators/coalescence.py",
        "return found, count + (jnp.max(distance) > MERGED)",
        "return found, count",
        LAW.format("more_branches"),
    ),
    "jacobians of chunks transposed": (
        "_evaluators/newton.py",
        "return _solved(jnp.concatenate([none, inner]), offsets",
        "return _solved(jnp.concatenate([none, jnp.swapaxes(inner, 1, 2)]), offsets",
        LAW.format("'equal_the_loop and lstm'"),
    ),
    "corrections from the chunk after": (
        "_evaluators/newton.py",
        "inner, none = matrices[:-1],",
        "inner, none = matrices[1:],",
        LAW.format("'equal_the_loop and lstm'"),
    ),
    "the first state has no derivative": (
        "_evaluators/side_by_side.py",
        "offsets = jnp.concatenate([first[None], own.ends[:-1]])",
        "offsets = jnp.concatenate([0 * first[None], own.ends[:-1]])",
        LAW.format("'equal_the_loop and lstm'"),
    ),
    "the end lets open chunks be": (
        "_evaluators/levels.py",
        "jnp.where(near, next_open(i + 2), i + 1), count + 1",
        "jnp.where(near | True, next_open(i + 2), i + 1), count + 1",
        LAW.format("chunk_by_chunk"),
    ),
    "joints are all that counts in the end": (
        "_evaluators/levels.py",
        "jnp.minimum(1, ERROR / growth)",
        "1.0",
        LAW.format("not_enough"),
    ),
    "clocks begin anew in each chunk": (
        "_evaluators/clocks.py",
        "return [rows[count] for rows in table]",
        "return [rows[0 * count] for rows in table]",
        LAW.format("'equal_the_loop and clockwork'"),
    ),
    "clocks count masked steps": (
        "_evaluators/clocks.py",
        "before = jnp.cumsum(happens) - happens",
        "before = jnp.arange(steps.length)",
        LAW.format("'equal_the_loop and clockwork'"),
    ),
    "a reset sets the clock of its own step": (
        "_evaluators/clocks.py",
        "last = jnp.concatenate([jnp.full(1, -1), last[:-1]])",
        "last = jnp.concatenate([jnp.full(2, -1), last[:-2]])",
        LAW.format("'equal_the_loop and clockwork'"),
    ),
    "a large number hides a small one": (
        "_evaluators/levels.py",
        "return jnp.maximum(largest(states), 1)",
        "return jnp.maximum(jnp.max(largest(states)), 1)",
        LAW.format("beside"),
    ),
    "growth is looked for in one direction": (
        "_evaluators/levels.py",
        "moved = _turned(change, size, before.moved)",
        "moved = before.moved",
        LAW.format("direction_of"),
    ),
    "growth is believed after one pass": (
        "_evaluators/levels.py",
        "known = (jnp.max(gains) <= FORGOTTEN) | (passes >= TURNED) | (joint == 0)",
        "known = jnp.array(True)",
        LAW.format("direction_of"),
    ),
    "products of jacobians overflow": (
        "_evaluators/newton.py",
        "safe = growth < 0.5 * jnp.log(jnp.finfo(matrices.dtype).max)",
        "safe = growth < jnp.inf",
        LAW.format("first_steps"),
    ),
    "a clock that is nowhere stands at its start": (
        "_evaluators/clocks.py",
        "~equal.any(),",
        "~equal.any() & False,",
        LAW.format("told"),
    ),
    "a clock comes round to its start": (
        "_evaluators/clocks.py",
        "count = jnp.where(count < length, count, back + (count - back) % (length - back))",
        "count = count % length",
        LAW.format("told"),
    ),
    "loops begin with what is the same on all devices": (
        "_evaluators/common.py",
        "return jax.tree.map(lambda leaf: vary(leaf, axes), tree) if axes else tree",
        "return tree",
        LAW.format("over_devices"),
    ),
}
