"""Rows of `test_mutants.py`: mistakes in cells with a time, and in what fills in missing values."""

STEP = "test_equations.py -k 'step_equals_the_paper and {}'"
OWN = "test_timed_cells.py -k {}"
GAPS = "test_missing_inputs.py -k {}"
TABLES = "test_tables.py -k {}"

MISSING, IMPUTED = "cells/missing.py", "wrappers/imputed.py"
LSTMS, ODE, FLOW = "cells/timed_lstm.py", "cells/ode.py", "cells/runge_kutta.py"
TIMED = {
    "gru-d updates the state that did not decay": (MISSING, "h = (1 - z) * h + z * n", "h = (1 - z) * state.h + z * n", STEP.format("gru_d")),
    "gru-d keeps by z": (MISSING, "h = (1 - z) * h + z * n", "h = z * h + (1 - z) * n", STEP.format("gru_d")),
    "gru-d reads what is missing": (MISSING, "self.weight_mask @ seen.astype(u.dtype)", "self.weight_mask @ (1 - seen.astype(u.dtype))", STEP.format("gru_d")),
    "gru-d takes the age after this step": (MISSING, "delta = state.age + jnp.asarray(dt, state.age.dtype)", "delta = jnp.where(seen, 0.0, state.age + jnp.asarray(dt, state.age.dtype))", STEP.format("gru_d")),
    "gru-d fades to zero": (MISSING, "gamma_x * state.x_last + (1 - gamma_x) * self.mean.value", "gamma_x * state.x_last", GAPS.format("its_paper")),
    "gru-d multiplies NaN by zero": (MISSING, "u, h = jnp.where(seen, x, faded), gamma_h * state.h", "m = seen.astype(x.dtype)\n        u, h = m * x + (1 - m) * faded, gamma_h * state.h", GAPS.format("finite_and_miss_nothing")),
    "gru-d's decays start without a gradient": (MISSING, "low=0.0, high=share", "low=-share, high=0.0", GAPS.format("decays_of_a_gru_d")),
    "imputed forgets what it saw": (IMPUTED, "jnp.where(seen, x, state.x_last)", "state.x_last", GAPS.format("inside_reads")),
    "imputed never grows older": (IMPUTED, "jnp.where(seen, jnp.zeros_like(delta), delta)", "jnp.zeros_like(delta)", GAPS.format("inside_reads")),
    "imputed says what is missing": (IMPUTED, "*[seen.astype(x.dtype)] * self.mask", "*[(~seen).astype(x.dtype)] * self.mask", GAPS.format("inside_reads")),
    "imputed fades to zero": (IMPUTED, "gamma * last + (1 - gamma) * self.mean.value", "gamma * last", GAPS.format("inside_reads")),
    "imputed channels swapped": (IMPUTED, "read = [known, *[seen.astype(x.dtype)] * self.mask, *[delta] * self.age]", "read = [known, *[delta] * self.age, *[seen.astype(x.dtype)] * self.mask]", GAPS.format("inside_reads")),
    "a map in front of missing values": ("models/missing_inputs.py", "encoder is not None and takes_missing(layer)", "encoder is not None and False", GAPS.format("wrong_use")),
    "missing values are blamed": ("train/losses.py", "if takes_missing(model):", "if False:", GAPS.format("blame")),
    "t-lstm discounts all of its memory": (LSTMS, "kept = state.c - short + self._discount(", "kept = state.c - state.c + self._discount(", STEP.format("t_lstm")),
    "t-lstm grows over short gaps": (LSTMS, "1 / jnp.maximum(dt, 1.0)", "1 / jnp.maximum(dt, 1e-3)", STEP.format("t_lstm-inverse") + " -m 'slow or not slow'"),
    "t-lstm of log(1 + dt)": (LSTMS, "jnp.log(math.e + dt)", "(1 + jnp.log(1 + dt))", STEP.format("t_lstm")),
    "phased lstm adds its shift": (LSTMS, "start = -self.shift.astype(dtype)", "start = self.shift.astype(dtype)", OWN.format("opens_by_its_clock")),
    "phased lstm opens before the time passes": (LSTMS, "k = self._openness(phase, c.ratio)", "k = self._openness(state.phase, c.ratio)", STEP.format("phased_lstm")),
    "phased lstm stays open": (LSTMS, "closed = jnp.where(phase < ratio, falling, self.leak * phase)", "closed = falling", STEP.format("phased_lstm")),
    "phased lstm's o reads the old memory": (LSTMS, "jax.nn.sigmoid(o + p_o(memory))", "jax.nn.sigmoid(o + p_o(state.c))", STEP.format("phased_lstm")),
    "ode-rnn jumps before it flows": (ODE, "h = flow(self._rate, state, dt, self.method, self.substeps)", "h = state", STEP.format("ode_rnn")),
    "ode-rnn keeps the state before the flow": (ODE, "h = (1 - z) * n + z * h\n", "h = (1 - z) * n + z * state\n", STEP.format("ode_rnn")),
    "gru-ode keeps by z": (ODE, "return (1 - z) * (n - v)", "return z * (n - v)", STEP.format("gru_ode")),
    "gru-ode resets behind the product": (ODE, "from_x[split:] + c[split:] @ (r * v)", "from_x[split:] + r * (c[split:] @ v)", STEP.format("gru_ode")),
    "minimal gru-ode keeps by its candidate": (ODE, "gates[: self.output_size], gates[-self.output_size :]", "gates[: self.output_size], jnp.ones(self.output_size) / 2", STEP.format("gru_ode-minimal")),
    "a flow of one step only": (FLOW, "for _ in range(substeps):", "for _ in range(1):", STEP.format("gru_ode-euler") + " -m 'slow or not slow'"),
    "rk4 without its doubled slopes": (FLOW, "(first + 2 * second + 2 * third + fourth) / 6", "(first + second + third + fourth) / 4", STEP.format("gru_ode")),
    "midpoint of a whole step": (FLOW, "return rate(v + length / 2 * rate(v))", "return rate(v + length * rate(v))", OWN.format("order_of_their_method")),
    "a table in the order of its rows": ("data/tables.py", "parts = [part[np.argsort(times[part], kind=\"stable\")] for part in parts]", "parts = list(parts)", TABLES.format("file_with_gaps")),
    "a table's sequences sorted": ("data/tables.py", "for which in np.argsort(first)]", "for which in range(len(first))]", TABLES.format("file_with_gaps")),
    "moments of what is padding": ("data/gaps.py", "np.ones(x.shape[:2], bool) if train.mask is None else np.asarray(train.mask)", "np.ones(x.shape[:2], bool)", TABLES.format("dropped_and_scaled")),
}  # fmt: skip
