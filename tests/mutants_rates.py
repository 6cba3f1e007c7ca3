"""Rows of `test_mutants.py`: mistakes in piecewise linear networks, in rates, in fast-slow cells."""

EQUATION = "test_equations.py -k 'step_equals_the_paper and {}'"
OWN = "test_rates.py -k {}"
SLOW_FAST = "test_fast_slow.py -k {}"

PLRNN, EI, LOW, FAST = (
    "cells/plrnn.py",
    "cells/ei_rates.py",
    "cells/low_rank.py",
    "wrappers/fast_slow.py",
)
ROWS = {
    "plrnn keeps the diagonal of W": (
        PLRNN,
        "W = _without_diagonal(self.weight_hh)",
        "W = self.weight_hh",
        EQUATION.format("plrnn and not shallow"),
    ),
    "plrnn rectifies what a multiplies": (
        PLRNN,
        "z = c.a * state + driven",
        "z = c.a * jax.nn.relu(state) + driven",
        EQUATION.format("plrnn and not shallow"),
    ),
    "plrnn not rectified": (
        PLRNN,
        "c.W @ jax.nn.relu(state), self.bias",
        "c.W @ state, self.bias",
        EQUATION.format("plrnn and not shallow"),
    ),
    "plrnn a not held": (
        PLRNN,
        "return Piecewise(held(self.diagonal, -1.0, 1.0), StateMatrix(W))",
        "return Piecewise(self.diagonal, StateMatrix(W))",
        OWN.format("acts_as_one"),
    ),
    "plrnn starts with too large a norm": (
        PLRNN,
        "jnp.linalg.eigvalsh(matrix)[-1]",
        "jnp.linalg.eigvalsh(matrix)[0]",
        OWN.format("authors"),
    ),
    "shallow plrnn never clipped": (
        PLRNN,
        "            v = v - jax.nn.relu(u)\n",
        "            pass\n",
        EQUATION.format("shallow_plrnn"),
    ),
    "shallow plrnn clipped at the threshold": (
        PLRNN,
        "v = v - jax.nn.relu(u)\n",
        "v = v - jax.nn.relu(self.bias_2)\n",
        EQUATION.format("shallow_plrnn"),
    ),
    "shallow plrnn without its threshold": (
        PLRNN,
        "v = jax.nn.relu(u + self.bias_2)",
        "v = jax.nn.relu(u)",
        EQUATION.format("shallow_plrnn"),
    ),
    "shallow plrnn starts without a kink": (
        PLRNN,
        "if given.clipped:",
        "if not given.clipped:",
        OWN.format("authors"),
    ),
    "alrnn rectifies the first units": (
        PLRNN,
        "jnp.where(linear, state, jax.nn.relu(state))",
        "jnp.where(linear[::-1], state, jax.nn.relu(state))",
        EQUATION.format("alrnn-1"),
    ),
    "alrnn counts the linear units": (
        PLRNN,
        "self.output_size - self.rectified_units",
        "self.rectified_units",
        EQUATION.format("alrnn-1"),
    ),
    "alrnn rectifies all": (
        PLRNN,
        "bent = jnp.where(linear, state, jax.nn.relu(state))",
        "bent = jax.nn.relu(state) + 0 * linear",
        EQUATION.format("alrnn"),
    ),
    "ei signs by the reader": (
        EI,
        "signed = jnp.abs(raw) * signs[None]\n",
        "signed = jnp.abs(raw) * signs[:, None]\n",
        EQUATION.format("ei_rnn"),
    ),
    "ei magnitudes of any sign": (
        EI,
        "signed = jnp.abs(raw) * signs[None]\n",
        "signed = raw * signs\n",
        OWN.format("changes_its_sign"),
    ),
    "ei units hear themselves": (
        EI,
        "return signed if self_connections else",
        "return signed if not self_connections else",
        EQUATION.format("ei_rnn"),
    ),
    "ei says currents": (EI, "return v, jax.nn.relu(v)", "return v, v", EQUATION.format("ei_rnn")),
    "ei currents drive": (EI, "c @ jax.nn.relu(state) +", "c @ state +", EQUATION.format("ei_rnn")),
    "ei noise of small steps": (
        EI,
        "jnp.sqrt(jnp.where(moves, share, 1))",
        "jnp.sqrt(2 * leak_over(self.leak, dt))",
        OWN.format("deviation"),
    ),
    "low rank without its mean": (
        LOW,
        "self.weight_n.T / self.output_size",
        "self.weight_n.T",
        EQUATION.format("lowrank"),
    ),
    "low rank over the rank": (
        LOW,
        "self.weight_n.T / self.output_size",
        "self.weight_n.T / self.weight_n.shape[1]",
        EQUATION.format("lowrank"),
    ),
    "low rank sides swapped": (
        LOW,
        "self.weight_m @ overlaps",
        "self.weight_n @ overlaps",
        EQUATION.format("lowrank"),
    ),
    "low rank bias in the output": (
        LOW,
        "return h, self.activation(h)",
        "return h, self.activation(plus(h, self.bias))",
        EQUATION.format("lowrank"),
    ),
    "fast cells do not share their state": (
        FAST,
        "self.fast[1].advance(c.fast[1], h, read",
        "self.fast[1].advance(c.fast[1], state.fast, read",
        SLOW_FAST.format("loop_of_the_paper"),
    ),
    "slow cell reads the input": (
        FAST,
        "self.slow.advance(c.slow, state.slow, y, dt",
        "self.slow.advance(c.slow, state.slow, 0 * y, dt",
        SLOW_FAST.format("loop_of_the_paper"),
    ),
    "later fast cells read the slow one": (
        FAST,
        "jnp.zeros(cell.input_size, y.dtype)",
        "read[: cell.input_size]",
        SLOW_FAST.format("loop_of_the_paper"),
    ),
    "highway gate inverted": (
        "wrappers/outputs.py",
        "return gate * y + (1 - gate) * x",
        "return gate * x + (1 - gate) * y",
        SLOW_FAST.format("highway"),
    ),
}
