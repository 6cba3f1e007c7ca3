"""Rows of `test_mutants.py`: mistakes in cells with exponential gates, and in M2RNN."""

SLSTM = "test_matrix_references.py -k 'with_heads and slstm'"
MLSTM = "test_matrix_references.py -k 'with_heads and mlstm'"
M2RNN = "test_matrix_references.py -k 'with_heads and m2rnn'"
START = "test_xlstm.py -k {}"
ROWS = {
    "slstm gates i and f swapped": ("cells/slstm.py", "i, f, z, o = jnp.split(gates, 4)", "f, i, z, o = jnp.split(gates, 4)", SLSTM),
    "slstm gates z and o swapped": ("cells/slstm.py", "i, f, z, o = jnp.split(gates, 4)", "i, f, o, z = jnp.split(gates, 4)", SLSTM),
    "slstm keeps by the gate itself": ("cells/slstm.py", "kept = jax.nn.log_sigmoid(f) + state.m", "kept = f + state.m", SLSTM),
    "slstm heads mix": ("cells/slstm.py", '"ghij,hk->ghikj", self.weight_hh, own)', '"ghij,hk->gkihj", self.weight_hh, 1 - own)', SLSTM),
    "slstm matrices transposed": ("cells/slstm.py", '"ghij,hk->ghikj"', '"ghji,hk->ghikj"', SLSTM),
    "slstm divides by the old normaliser": ("cells/slstm.py", "memory / weight\n", "memory / (weight - write)\n", SLSTM),
    "slstm forgets its stabiliser": ("cells/slstm.py", "SLSTMState(y, memory, weight, m), y", "SLSTMState(y, memory, weight, state.m), y", SLSTM),
    "slstm feeds back its cell": ("cells/slstm.py", "c @ state.y", "c @ state.c", SLSTM),
    "slstm starts from m = 0": ("cells/slstm.py", "jnp.full_like(zeros, EMPTY)", "zeros", START.format("first_input")),
    "slstm forget bias on i": ("cells/slstm.py", ".at[1].set(along)", ".at[0].set(along)", START.format("starts")),
    "mlstm gates swapped": ("cells/mlstm.py", "i, f = plus(both", "f, i = plus(both", MLSTM),
    "mlstm q and k swapped": ("cells/mlstm.py", "q, k, v, both = cut", "k, q, v, both = cut", MLSTM),
    "mlstm keys scaled for queries": ("cells/mlstm.py", "Step(q / self.key_size**0.5, k, v", "Step(q, k / self.key_size**0.5, v", MLSTM),
    "mlstm over at least 1": ("cells/mlstm.py", "jnp.exp(jnp.minimum(-m, LARGEST))", "jnp.ones_like(m)", MLSTM),
    "mlstm with a signed denominator": ("cells/mlstm.py", "weight = jnp.abs(jnp.sum(q * n, 1))", "weight = jnp.sum(q * n, 1)", MLSTM),
    "mlstm normaliser without its gate": ("cells/mlstm.py", "n = keep * state.n + write * k", "n = keep * state.n + k", MLSTM),
    "mlstm stabiliser of the old scale": ("cells/mlstm.py", "m = jnp.maximum(kept, i)", "m = jnp.maximum(state.m, i)", MLSTM),
    "mlstm starts from m = 0": ("cells/mlstm.py", "jnp.full(self.num_heads, EMPTY, C.dtype)", "jnp.zeros(self.num_heads, C.dtype)", START.format("first_input")),
    "mlstm gates start with weights": ("cells/mlstm.py", ".at[-2 * given.num_heads :].set(0)", "", START.format("starts")),
    "m2rnn keeps what it should leak": ("cells/m2rnn.py", "jnp.exp(log_f) * state - jnp.expm1(log_f) * target", "jnp.exp(log_f) * target - jnp.expm1(log_f) * state", M2RNN),
    "m2rnn matrix on the left": ("cells/m2rnn.py", '"hkv,hvw->hkw"', '"hkv,hwv->hkw"', M2RNN),
    "m2rnn writes outside of tanh": ("cells/m2rnn.py", "jnp.tanh(mixed + k[:, :, None] * v[:, None, :])", "jnp.tanh(mixed) + k[:, :, None] * v[:, None, :]", M2RNN),
    "m2rnn reads what it would write": ("cells/m2rnn.py", '"hk,hkv->hv", q, state)', '"hk,hkv->hv", q, target)', M2RNN),
    "m2rnn without its skip": ("cells/m2rnn.py", " + self.D * v\n", "\n", M2RNN),
    "m2rnn gate without its bias": ("cells/m2rnn.py", "a + self.bias_dt, dt", "a, dt", M2RNN),
    "m2rnn drops dt": ("cells/m2rnn.py", "a + self.bias_dt, dt)", "a + self.bias_dt)", M2RNN),
    "m2rnn q and k swapped": ("cells/m2rnn.py", "q, k, v, a = cut", "k, q, v, a = cut", M2RNN),
    "m2rnn starts without its identity": ("cells/m2rnn.py", "jnp.eye(shape[-1], dtype=given.dtype)", "jnp.zeros(shape[-2:], given.dtype)", START.format("starts")),
}  # fmt: skip
