"""Rows of `test_mutants.py`: mistakes in linear cells, in Legendre memories and on grids."""

EQUATION = "test_equations.py -k 'equals_the_paper and {}'"
SRU, QRNN, RTU = EQUATION.format("sru"), EQUATION.format("qrnn"), EQUATION.format("rtu")
LMU, LINEAR = EQUATION.format("lmu and not linear"), EQUATION.format("lmu_linear")
TIMES = "test_lmu.py -k matrix_exponential"
SPACE = "test_convolutional.py -k equals_the_paper"
FRAMES = "test_convolutional.py -k laid_flat"
INPUT = "test_linear_cells.py -k '{}'"
FULL = "test_full_equations.py -k 'computes_the_step and {}'"
ROWS = {
    "sru gates read the c after the step": ("cells/sru.py", "gates = gates + self.weight_hh * jnp.tile(state, 2)\n        f, r = jnp.split(jax.nn.sigmoid(gates), 2)\n        state = f * state + (1 - f) * u\n", "gates = gates + self.weight_hh * jnp.tile(state, 2)\n        f, r = jnp.split(jax.nn.sigmoid(gates), 2)\n        state = f * state + (1 - f) * u\n        if self.weight_hh is not None:\n            r = jax.nn.sigmoid(self._of_input(x)[1] + self.weight_hh * jnp.tile(state, 2))[len(r) :]\n", SRU),
    "sru gates f and r swapped": ("cells/sru.py", "f, r = jnp.split(jax.nn.sigmoid(gates), 2)", "r, f = jnp.split(jax.nn.sigmoid(gates), 2)", SRU),
    "sru skips without its scale": ("cells/sru.py", "return self.scale * x if", "return x if", FULL.format("sru")),
    "sru replaces by f": ("cells/sru.py", "state = f * state + (1 - f) * u", "state = (1 - f) * state + f * u", SRU),
    "sru in parallel by the other gate": ("cells/sru.py", "f = jax.nn.sigmoid(plus(z[size:], None if self.bias is None else self.bias[:size]))", "f = jax.nn.sigmoid(plus(z[size:], None if self.bias is None else self.bias[size:]))", INPUT.format("forms and sru")),
    "sru says that it is linear": ("cells/sru.py", "return not self.recurrent", "return True", INPUT.format("recurrent_sru")),
    "sru without s in the skip's weights": ("cells/sru.py", "gate, gate, given.scale]", "gate, gate, 1.0]", INPUT.format("sru_starts")),
    "qrnn f is the share replaced": ("cells/qrnn.py", "jax.nn.sigmoid(f), jax.nn.sigmoid(-f)", "jax.nn.sigmoid(-f), jax.nn.sigmoid(f)", QRNN),
    "qrnn gates z and f swapped": ("cells/qrnn.py", "z, f, *gates = ", "f, z, *gates = ", QRNN),
    "qrnn writes by o": ("cells/qrnn.py", "jax.nn.sigmoid(gates[1])", "jax.nn.sigmoid(gates[0])", FULL.format("qrnn")),
    "qrnn without the tanh of z": ("cells/qrnn.py", "write * jnp.tanh(z)", "write * z", QRNN),
    "delay line shows the oldest first": ("cells/qrnn.py", "window[::-1].reshape(-1)", "window.reshape(-1)", INPUT.format("delay_line")),
    "rtu turns the other way": ("cells/rtu.py", "jnp.stack([g, -p]), jnp.stack([p, g])", "jnp.stack([g, p]), jnp.stack([-p, g])", RTU),
    "rtu without its gain": ("cells/rtu.py", "gain[None, :, None] * weight)", "weight)", RTU),
    "rtu gain of r": ("cells/rtu.py", "jnp.sqrt(-jnp.expm1(-2 * decay))", "jnp.sqrt(-jnp.expm1(-decay))", RTU),
    "rtu activation forgotten": ("cells/rtu.py", "self.activation(state.reshape(-1)[: self.output_size])", "state.reshape(-1)[: self.output_size]", RTU),
    "lmu h reads the old m": ("cells/lmu.py", "h = self.weight_ih @ x + c.weight_hh @ h + self.weight_mh @ m.reshape(-1)", "h = self.weight_ih @ x + c.weight_hh @ h + self.weight_mh @ state.m.reshape(-1)", LMU),
    "lmu u without its memory": ("cells/lmu.py", "c.encoder_h @ h + self.encoder_m @ m.reshape(-1)", "c.encoder_h @ h", LMU),
    "lmu by Euler": ("cells/lmu.py", "m = step(m, u, c.nominal)", "m = m + step(m, u, jnp.asarray(delay(self.order, self.theta).rate, m.dtype))", EQUATION.replace("equals_the_paper", "defaults_to_one").format("lmu and not linear")),
    "lmu over any gap the same": ("cells/lmu.py", "m = moved(m, u, dt, delay(self.order, self.theta))", "m = step(m, u, c.nominal)", LMU),
    "legendre signs the other way": ("cells/legendre.py", "np.where(i < j, -1.0,", "np.where(i > j, -1.0,", LMU),
    "legendre input without its sign": ("cells/legendre.py", "(2.0 * j + 1) * (-1.0) ** j", "2.0 * j + 1", LINEAR),
    "linear lmu transposed": ("linear.py", "jnp.matmul(h, jnp.swapaxes(_beside(self.a, h), -2, -1), precision", "jnp.matmul(h, _beside(self.a, h), precision", LINEAR),
    "linear lmu reads without x": ("cells/lmu.py", "state.reshape(-1) + self.weight_ih @ x\n", "state.reshape(-1)\n", LINEAR),
    "linear lmu over any gap the same": ("cells/lmu.py", "        if dt is not None:\n            A, B", "        if False:\n            A, B", LINEAR),
    "a time without its rest": ("cells/legendre.py", "m = before + rest / k *", "m = before + 0 * rest / k *", TIMES),
    "a time with one double too many": ("cells/legendre.py", "halves - 2 * jnp.floor(halves / 2) == 1", "halves - 2 * jnp.floor(halves / 2) >= 0", TIMES),
    "a long time starts anew": ("cells/legendre.py", "jnp.minimum(jnp.floor(dt / flow.shortest), 2.0 ** len(flow.doubled) - 1)", "jnp.floor(dt / flow.shortest)", TIMES),
    "conv lstm output gate sees the old c": ("cells/convolutional.py", "h = jax.nn.sigmoid(o + p_o * memory) * jnp.tanh(memory)", "h = jax.nn.sigmoid(o + p_o * state.c) * jnp.tanh(memory)", SPACE),
    "conv lstm gates i and f swapped": ("cells/convolutional.py", "i, f, g, o = jnp.split(z, 4)", "f, i, g, o = jnp.split(z, 4)", SPACE),
    "conv gru resets after": ("cells/convolutional.py", "_convolved(c.hh[gates:], r * state)", "r * _convolved(c.hh[gates:], state)", SPACE),
    "conv gru keeps by z": ("cells/convolutional.py", "h = (1 - z) * state + z * n", "h = z * state + (1 - z) * n", SPACE),
    "convolutions look back": ("cells/convolutional.py", "[(k // 2, k // 2) for k", "[(k - 1, 0) for k", SPACE),
    "frames laid flat by their last axis": ("layers/framewise.py", "ys.reshape(ys.shape[0], *self.output_shape)", "ys.reshape(ys.shape[0], *self.output_shape[::-1]).T", FRAMES),
}  # fmt: skip
