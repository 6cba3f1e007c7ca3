"""Rows of `test_mutants.py`: mistakes in cells with exponential gates, and in M2RNN."""

SLSTM = "test_matrix_references.py -k 'with_heads and slstm'"
MLSTM = "test_matrix_references.py -k 'with_heads and mlstm'"
M2RNN = "test_matrix_references.py -k 'with_heads and m2rnn'"
CHUNKS = "test_scaled_chunks.py -k chunks_equal_the_steps"
BROKEN = "test_scaled_chunks.py -k ends_at_a_reset"
PD_SSM = "test_matrix_references.py -k 'with_heads and pd_ssm'"
START = "test_xlstm.py -k {}"
GATED_MATRIX = {
    "slstm gates i and f swapped": ("cells/slstm.py", "i, f, z, o = jnp.split(gates, 4)", "f, i, z, o = jnp.split(gates, 4)", SLSTM),
    "slstm gates z and o swapped": ("cells/slstm.py", "i, f, z, o = jnp.split(gates, 4)", "i, f, o, z = jnp.split(gates, 4)", SLSTM),
    "slstm keeps by the gate itself": ("cells/slstm.py", "kept = jax.nn.log_sigmoid(f) + state.m", "kept = f + state.m", SLSTM),
    "slstm heads mix": ("cells/slstm.py", '* own[None, :, None, :, None]', '* own[None, ::-1, None, :, None]', SLSTM),
    "slstm matrices transposed": ("cells/slstm.py", 'self.weight_hh[:, :, :, None]', 'jnp.swapaxes(self.weight_hh, 2, 3)[:, :, :, None]', SLSTM),
    "slstm divides by the old normaliser": ("cells/slstm.py", "memory / weight\n", "memory / (weight - write)\n", SLSTM),
    "slstm forgets its stabiliser": ("cells/slstm.py", "SLSTMState(y, memory, weight, m), y", "SLSTMState(y, memory, weight, state.m), y", SLSTM),
    "slstm feeds back its cell": ("cells/slstm.py", "c @ state.y", "c @ state.c", SLSTM),
    "slstm starts from m = 0": ("cells/slstm.py", "jnp.full_like(zeros, EMPTY)", "zeros", START.format("first_input")),
    "slstm forget bias on i": ("cells/slstm.py", ".at[1].set(along)", ".at[0].set(along)", START.format("starts")),
    "mlstm gates swapped": ("cells/mlstm.py", "i, f = plus(both", "f, i = plus(both", MLSTM),
    "mlstm q and k swapped": ("cells/mlstm.py", "q, k, v, both = cut", "k, q, v, both = cut", MLSTM),
    "mlstm keys scaled for queries": ("cells/mlstm.py", "Scaled(q / self.key_size**0.5, k, v", "Scaled(q, k / self.key_size**0.5, v", MLSTM),
    "mlstm over at least 1": ("linear.py", "light = weight * scale < 1", "light = weight < 1", MLSTM),
    "mlstm with a signed denominator": ("linear.py", "jnp.abs(weight)[..., None]", "weight[..., None]", MLSTM),
    "mlstm normaliser without its gate": ("linear.py", "n=keep * state.n + write * self.k", "n=keep * state.n + self.k", MLSTM),
    "mlstm stabiliser of the old scale": ("linear.py", "m = jnp.maximum(kept, self.log_write)", "m = jnp.maximum(state.m, self.log_write)", MLSTM),
    "mlstm starts from m = 0": ("cells/mlstm.py", "jnp.full(self.num_heads, EMPTY, C.dtype)", "jnp.zeros(self.num_heads, C.dtype)", START.format("start_empty")),
    "scaled chunks read before they write": ("_engine/scaled_chunks.py", "upto = index[:, None] >= index[None]", "upto = index[:, None] > index[None]", CHUNKS),
    "scaled chunks write with the wrong scale": ("_engine/scaled_chunks.py", "written = weights[:, -1, :, None] * parts.k", "written = weights[:, -1, :, None] * parts.k * 0.5", CHUNKS),
    "scaled chunks decay by their own gate twice": ("_engine/scaled_chunks.py", "behind = jnp.tril(lower, -1)", "behind = lower", CHUNKS),
    "scaled chunks see over a reset": ("_engine/scaled_chunks.py", "upto &= segment[:, None] == segment", "upto &= segment[:, None] >= segment", CHUNKS),
    "scaled chunks reset to what entered": ("_engine/scaled_chunks.py", "last = None if first is None else first[-1]", "last = None", BROKEN),
    "scaled chunks write at masked steps": ("_engine/scaled_chunks.py", "jnp.where((upto & does[None])[None], logs", "jnp.where(upto[None], logs", CHUNKS),
    "scaled chunks with exponents above 0": ("_engine/scaled_chunks.py", "m = jnp.maximum(since, logs.max(-1))", "m = since", CHUNKS),
    "scaled chunks without the old normaliser": ("_engine/scaled_chunks.py", "s.C, s.n[..., None]", "s.C, 0 * s.n[..., None]", CHUNKS),
    "scaled chunks hand NaN on": ("_engine/scaled_chunks.py", "(before & broken[None]).any(1)", "broken.any()", BROKEN),
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
    "scaled chunks let a reset NaN into gradients": ("_engine/scaled_chunks.py", "        state = select(first[0], state, initial)", "        state = select(first[0] | True, state, initial)", "test_scaled_chunks.py -k reset_at_once"),
    "pd_ssm one-hot in rows": ("cells/pd_ssm.py", "jax.nn.one_hot(scores.argmax(0), len(scores), dtype=scores.dtype, axis=0)", "jax.nn.one_hot(scores.argmax(1), len(scores), dtype=scores.dtype, axis=1)", PD_SSM),
    "pd_ssm transposed": ("cells/pd_ssm.py", "lax.complex(P @ kept.real, P @ kept.imag)", "lax.complex(P.T @ kept.real, P.T @ kept.imag)", PD_SSM),
    "pd_ssm phases without their sine": ("cells/pd_ssm.py", "phase), modulus * jnp.sin(phase)) * state\n", "phase), 0 * modulus * jnp.sin(phase)) * state\n", PD_SSM),
    "pd_ssm phases of half a turn": ("cells/pd_ssm.py", "phase = 2 * math.pi", "phase = math.pi", PD_SSM),
    "pd_ssm shares that are no softmax": ("cells/pd_ssm.py", "shares = jax.nn.softmax(self.S @ x)", "shares = self.S @ x", PD_SSM),
    "pd_ssm softmax in the place of one-hot": ("cells/pd_ssm.py", "return hard + (soft - lax.stop_gradient(soft))", "return soft", PD_SSM),
    "pd_ssm without the derivative of P": ("cells/pd_ssm.py", "return hard + (soft - lax.stop_gradient(soft))", "return hard", "test_pd_ssm.py -k derivative"),
    "pd_ssm softmax of the rows": ("cells/pd_ssm.py", "soft = jax.nn.softmax(scores, axis=0)", "soft = jax.nn.softmax(scores, axis=1)", "test_pd_ssm.py -k derivative"),
}  # fmt: skip
