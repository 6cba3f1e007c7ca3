"""The laws are judged by mutants: known mistakes, planted one at a time, must be found.

Each row of `MUTANTS` changes one place of the package; a copy with that change runs the
tests named beside it, and they have to fail. The mistakes are those of other
implementations, sign flips, gate swaps, dropped time steps and off-by-one resets.
`pytest -m slow tests/test_mutants.py` prints the score.
"""

import multiprocessing
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from forked import run_tests

import rnn_zoo as rz


PACKAGE = Path(rz.__file__).parent
TESTS = Path(__file__).parent

# name: (file, what stands there, what the mutant writes, the tests that must fail)
EQUATION = "test_equations.py -k 'step_equals_the_paper and {}'"
MUTANTS = {
    "elman ignores its bias": ("cells/vanilla.py", "h = self.activation(z if self.bias is None else z + self.bias)\n        return h, h\n\n\nclass LeakyElmanCell", "h = self.activation(z)\n        return h, h\n\n\nclass LeakyElmanCell", EQUATION.format("elman")),
    "leak on the wrong side": ("cells/vanilla.py", "h = (1 - alpha) * state + alpha * target\n        return h, h\n\n\nclass WilsonCowanCell", "h = alpha * state + (1 - alpha) * target\n        return h, h\n\n\nclass WilsonCowanCell", EQUATION.format("leaky_elman")),
    "dt multiplies the leak": ("cells/vanilla.py", "return -jnp.expm1(dt * math.log1p(-leak))", "return leak * jnp.asarray(dt)", EQUATION.format("leaky_elman")),
    "dt dropped": ("cells/vanilla.py", "return -jnp.expm1(dt * math.log1p(-leak))", "return jnp.asarray(leak) + 0 * jnp.asarray(dt)", "test_equations.py -k dt_"),
    "wilson-cowan input inside": ("cells/vanilla.py", "+ self.weight_ih @ x\n        h = (1 - alpha)", "* 1.0\n        h = (1 - alpha)", EQUATION.format("wilson")),
    "indrnn unclipped": ("cells/vanilla.py", "clipped = lax.stop_gradient(jnp.clip(weight, -high, high))", "clipped = lax.stop_gradient(weight)", EQUATION.format("indrnn")),
    "indrnn clip kills the gradient": ("cells/vanilla.py", "return clipped + (weight - lax.stop_gradient(weight))", "return clipped", "test_gradients.py -k indrnn_comes_back"),
    "lstm gates i and f swapped": ("cells/gated.py", "i, f, g, o = jnp.split", "f, i, g, o = jnp.split", EQUATION.format("lstm")),
    "lstm gates g and o swapped": ("cells/gated.py", "i, f, g, o = jnp.split", "i, f, o, g = jnp.split", EQUATION.format("lstm")),
    "lstm without the last tanh": ("cells/gated.py", "h = jax.nn.sigmoid(o) * jnp.tanh(c)", "h = jax.nn.sigmoid(o) * c", EQUATION.format("lstm")),
    "lstm state swapped": ("cells/gated.py", "return LSTMState(h, c), h", "return LSTMState(c, h), h", EQUATION.format("lstm")),
    "lstm forget bias on g": ("cells/gated.py", "bias.at[hidden_size : 2 * hidden_size]", "bias.at[2 * hidden_size : 3 * hidden_size]", "test_init.py -k forget"),
    "lstmp gates i and f swapped": ("cells/projected.py", "i, f, g, o = jnp.split", "f, i, g, o = jnp.split", EQUATION.format("lstmp")),
    "lstmp without the last tanh": ("cells/projected.py", "h = self.weight_hr @ (jax.nn.sigmoid(o) * jnp.tanh(c))", "h = self.weight_hr @ (jax.nn.sigmoid(o) * c)", EQUATION.format("lstmp")),
    "gru update gate inverted": ("cells/gated.py", "h = (1 - z) * n + z * state", "h = z * n + (1 - z) * state", EQUATION.format("gru")),
    "gru reset before for after": ("cells/gated.py", "        if self.reset_after:\n            from_h", "        if not self.reset_after:\n            from_h", EQUATION.format("gru")),
    "gru gates r and z swapped": ("cells/gated.py", "r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)", "z, r = jnp.split(jax.nn.sigmoid((from_x + from_h)", EQUATION.format("gru")),
    "gru bias_n outside the reset": ("cells/gated.py", "reset = r * (u if self.bias_n is None else u + self.bias_n)", "reset = r * u + (0 if self.bias_n is None else self.bias_n)", EQUATION.format("gru")),
    "gru candidate reads the old gate weights": ("cells/gated.py", "reset = self.weight_hh[-self.output_size :] @ (r * state)", "reset = self.weight_hh[: self.output_size] @ (r * state)", EQUATION.format("gru")),
    "mgu gate inverted": ("cells/gated.py", "h = (1 - f) * state + f * candidate", "h = f * state + (1 - f) * candidate", EQUATION.format("mgu")),
    "mingru keeps with the wrong sign": ("cells/gated.py", 'else jax.nn.sigmoid(-z)\n', 'else jax.nn.sigmoid(z)\n', EQUATION.format("mingru")),
    "mingru never turns its sign": ("cells/gated.py", "jnp.tanh(-z / 2) if", "jax.nn.sigmoid(-z) if", "test_equations.py -k 'mingru-negative'"),
    "rglru root of the positive form": ("ssm/rglru.py", "-4 * jnp.expm1(log_a) * jnp.exp(log_a)", "-jnp.expm1(2 * log_a)", "test_equations.py -k 'rglru-negative'"),
    "minlstm not normalised": ("cells/gated.py", 'else jax.nn.sigmoid(log_ratio)\n', 'else jax.nn.sigmoid(f)\n', EQUATION.format("minlstm")),
    "lru without normalisation": ("ssm/lru.py", "B = jnp.exp(self.gamma_log)[:, None] * self.B", "B = self.B", EQUATION.format("lru")),
    "modes read conjugated": ("ssm/modes.py", "[scale * C[0], -scale * C[1], D]", "[scale * C[0], scale * C[1], D]", EQUATION.format("lru")),
    "lru phase flipped": ("ssm/lru.py", "modulus * jnp.sin(phase)", "-modulus * jnp.sin(phase)", EQUATION.format("lru")),
    "lru normalisation cancels": ("ssm/lru.py", "0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))", "jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))", "test_init.py -k lru"),
    "orthogonal blocks from one key": ("init.py", "return jnp.concatenate([make(k) for k in jr.split(key, gates)])", "return jnp.concatenate([make(key) for k in jr.split(key, gates)])", "test_init.py -k orthogonal"),
    "glu halves from one key": ("layers/block.py", "self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_gate)", "self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_value)", "test_layers.py -k halves"),
    "compose in the wrong order": ("_affine.py", "return AffineMap(self.linear.compose(earlier.linear), self.apply(earlier.offset))", "return AffineMap(self.linear.compose(earlier.linear), earlier.apply(self.offset))", "test_affine.py"),
    "reset by a product": ("_recurrence.py", 'after = select(flags["barrier"], jnp.zeros_like(after), after)', 'after = after * (1 - flags["barrier"]).reshape(flags["barrier"].shape + (1,) * (after.ndim - flags["barrier"].ndim))', "test_evaluators.py -k nan_before"),
    "reset by a product in the loop": ("scan.py", "            state = select(at.reset, initial, state)\n", "            state = jax.tree.map(lambda s, i: s * (1 - at.reset) + i * at.reset, state, initial)\n", "test_evaluators.py -k 'nan_before or nan_state' test_semantics.py -k nan_"),
    "reset one step late": ("scan.py", "        x, *dt = _visible(at if scalar_dt is None else at._replace(dt=scalar_dt))\n", "        x, *dt = _visible(at if scalar_dt is None else at._replace(dt=scalar_dt))\n        at = at._replace(reset=None if at.reset is None else at.reset & False)\n", "test_semantics.py -k resets_equal"),
    "mask lets the state move": ("scan.py", "after = select(at.mask, after, state)", "after = after", "test_semantics.py -k gaps"),
    "mask leaves the output": ("scan.py", "y = jnp.where(at.mask, y, jnp.zeros_like(y))", "y = y", "test_semantics.py -k gaps"),
    "padding is seen": ("scan.py", "x = select(steps.mask, steps.x, jnp.zeros_like(steps.x))", "x = steps.x", "test_semantics.py -k nan_in_masked"),
    "masked dt is seen": ("scan.py", "return [x, jnp.where(steps.mask, steps.dt, jnp.ones_like(steps.dt))]", "return [x, steps.dt]", "test_semantics.py -k nan_in_masked"),
    "reset only where the mask lets it": ("scan.py", "            state = select(at.reset, initial, state)\n", "            state = select(at.reset if at.mask is None else at.reset & at.mask, initial, state)\n", "test_semantics.py -k reset_acts_first"),
    "parallel forgets the initial state": ("scan.py", "start = offset[first] + through(at_first, mask, state)", "start = offset[first]", "test_evaluators.py -k parallel_at_small"),
    "parallel reverse not flipped back": ("_recurrence.py", "return jnp.flip(algorithm(turned, jnp.flip(offsets, axis)), axis)", "return algorithm(turned, jnp.flip(offsets, axis))", "test_recurrence.py -k 'states and associative and Diagonal'"),
    "adjoint reads A of its own step": ("_recurrence.py", "steps.at(t - ahead if late else t)", "steps.at(t)", "test_recurrence.py -k 'derivatives and loop and varying and Diagonal'"),
    "adjoint of a block not transposed": ("_recurrence.py", "    a = kind(a).transpose().a\n    return None, _recurrence_p", "    return None, _recurrence_p", "test_recurrence.py -m slow -k 'derivatives and Block2x2-constant-loop'"),
    "derivative of A through a mask": ("_recurrence.py", "moved = steps.finish(moved, jnp.zeros_like(moved))", "moved = moved", "test_recurrence.py -k 'derivatives and loop and constant and Diagonal'"),
    "late steps not rolled": ("_recurrence.py", "jnp.roll(x, -1 if reverse else 1, axis)", "x", "test_recurrence.py -k 'derivatives and associative and varying and Diagonal'"),
    "block forgets what it was handed": ("_recurrence.py", "    states = states + since.through(jnp.expand_dims(before, axis + 1))\n", "", "test_recurrence.py -k 'states and blocked and varying and Diagonal'"),
    "block passes a barrier": ("_recurrence.py", "forgotten = tuple(lax.cummax(flag.astype(jnp.int8), axis + 1) > 0 for flag in inside.flags)", "forgotten = inside.flags", "test_recurrence.py -k 'states and blocked and constant and Diagonal'"),
    "sum of products over one sample": ("_recurrence.py", "return x.sum(axes, keepdims=True) if axes else x", "return x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))]", "test_recurrence.py -k 'vmap_equals and loop and constant and Diagonal'"),
    "rest of a reversed loop comes last": ("_chunks.py", "for bound in reversed(bounds) if reverse else bounds:", "for bound in bounds:", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "a product that others use is taken up": ("_program.py", "uses[operand.number] == 1", "uses[operand.number] >= 1", "test_loop.py -k 'loop_equals and 9 and sides'"),
    "what x does to a sum is lost": ("_tangents.py", "terms = [site.products[i].row(m, v) for i, m, v in zip(follow, originals, moved)]", "terms = []", "test_loop.py -k 'loop_equals and 9 and chained'"),
    "what matrices do to a sum is lost": ("_plan.py", "terms = [] if is_zero(moved) else [moved]", "terms = []", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "an activation recalled has no slope": ("_plan.py", "SLOPES[op.equation.primitive](value) * tangents[1]", "tangents[1]", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "a bias of a loop stands still": ("_tangents.py", "return total([*terms, offset])", "return total([*terms, None])", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "products of x alone stand still": ("_program.py", "self.level_of(vector) == STATE or vector.number in follow", "self.level_of(vector) == STATE", "test_loop.py -k 'loop_equals and 9 and chained'"),
    "an unknown step is taken apart": ("_known.py", "return name in names and len(equation.outvars) > 0", "return len(equation.outvars) > 0", "test_user_steps.py -k 'which_steps and custom_vjp'"),
    "a jit with shardings is inlined": ("_known.py", "return _is_plain(params) and _all_in", "return _all_in", "test_engine.py -k shardings_stays"),
    "a rule that asks for zeros is taken apart": ("_known.py", 'return not params["symbolic_zeros"] and _all_in', "return _all_in", "test_user_steps.py -k 'which_steps and filter_custom_jvp'"),
    "scopes of a jit inside are lost": ("_program.py", "filter(None, [outer, str(", "filter(None, [str(", "test_engine.py -k scopes"),
    "samples begin at zero": ("_loop.py", "x = repeat(x, size, leader, axis)", "x = repeat(jnp.zeros_like(x), size, leader, axis)", "test_loop.py -k batches_of"),
    "samples of inputs come before time": ("_loop.py", "jnp.moveaxis(x, dim, 1 if i in columns else 0)", "jnp.moveaxis(x, dim, 0)", "test_loop.py -k batches_of"),
    "the first level of samples comes last": ("_loop.py", "(*run.sizes, size), (*run.batched, tuple(batched))", "(*run.sizes, size), (tuple(batched), *run.batched)", "test_loop.py -k batches_of"),
    "sizes of outputs in the order of levels": ("_loop.py", "ShapedArray((run.length, *run.sizes[::-1], *a.shape), a.dtype)", "ShapedArray((run.length, *run.sizes, *a.shape), a.dtype)", "test_loop.py -k batches_of"),
    "an output that is a state comes last": ("_loop.py", "outputs.insert(i, kept[0][state])", "outputs.append(kept[0][state])", "test_user_steps.py -k 'equals_the_scan and nested_state'"),
    "the rest of a division is dropped": ("_chunks.py", "return length // size, size, length % size", "return length // size, size, 0", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "reversed chunks begin a chunk late": ("_chunks.py", "after[size : last + 1 : size], first[None]", "after[: last + 1 - size : size], first[None]", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "reversed states come after their step": ("_chunks.py", "return jnp.concatenate([after[1:], first[None]])", "return after", "test_loop.py -k 'loop_equals and 8 and merged'"),
    "a state is the same on all devices": ("_mesh.py", "missing = axes - varying(jax.typeof(array))", "missing = frozenset()", "test_engine.py -k 'over_devices and explicit-gru'"),
    "a repeated state is on every device": ("_mesh.py", "return beside(repeated, jnp.moveaxis(like, axis, 0), 1)", "return repeated", "test_engine.py -k 'over_devices and explicit-gru'"),
    "the door leads nowhere": ("scan.py", 'plain = _CHOSEN.value == "scan"', "plain = False", "test_engine.py -k door"),
    "plain resets forget nothing": ("_plain.py", "select(reset, maps, maps.compose(earlier[1]))", "maps.compose(earlier[1])", "test_engine.py -k 'plain_parallel and lru'"),
    "plain resets go back to the given state": ("_plain.py", "maps.apply(jnp.broadcast_to(initial, maps.offset.shape))", "maps.apply(jnp.broadcast_to(state, maps.offset.shape))", "test_engine.py -k 'plain_parallel and lru'"),
    "a transition is broadcast in silence": ("scan.py", "    check_transition(cell, out_shape, state)\n", "", "test_engine.py -k does_not_fit"),
    "a block product of the wrong entries": ("_affine.py", "rows = [[a * e + b * g,", "rows = [[a * e + c * g,", "test_affine.py"),
    "a loop in segments loses its end": ("_loop.py", "division = length // segment, segment, length % segment", "division = length // segment, segment, 0", "test_loop.py -k segments"),
    "keys in input order when reversed": ("_checks.py", "return keys[::-1] if reverse else keys", "return keys", "test_evaluators.py -k reverse_equals"),
    "16-bit inputs lower the state": ("base.py", "state, y = step(cell, state, jnp.asarray(x, dtype), *time, **keywords)", "state, y = step(cell, state, jnp.asarray(x), *time, **keywords)", "test_states.py -k 'working or float32_cell'"),
    "bidirectional resets not shifted": ("layers/recurrent.py", "ended = jnp.concatenate([ended[1:], jnp.zeros((1,), bool)])[: steps.length]", "ended = ended", "test_semantics.py -k bidirectional_packed"),
    "pooling reads the last step": ("layers/pooling.py", "last = steps.length - 1 - jnp.argmax(mask[::-1])", "last = steps.length - 1", "test_layers.py -k pooling"),
    "backward pools its last step": ("layers/pooling.py", "(first if backward else last)[start:stop]", "last[start:stop]", "test_layers.py -k pooling"),
    "mean over masked steps": ("layers/pooling.py", "steps.length if mask is None else jnp.sum(mask)", "steps.length", "test_layers.py -k pooling"),
    "frozen by stop_gradient only": ("cells/wrappers.py", "self.fixed = fix(cell)", "self.fixed = cell", "test_gradients.py -k 'weight_decay and frozen'"),
    "zoneout keeps with 1 - rate": ("cells/wrappers.py", "return jnp.where(jr.bernoulli(key, rate, new.shape), old, new)", "return jnp.where(jr.bernoulli(key, rate, new.shape), new, old)", "test_wrappers.py -k zoneout_holds"),
    "zoneout rescales in inference": ("cells/wrappers.py", "return rate * old + (1 - rate) * new", "return new", "test_wrappers.py -k zoneout_in_inference"),
    "block norms what is masked": ("layers/block.py", "xs = hide(steps.mask, steps.x).astype", "xs = steps.x.astype", "test_layers.py -k masked_outputs"),
    "block without skip": ("layers/block.py", "ys = jax.vmap(self._after)(xs + zs)", "ys = jax.vmap(self._after)(zs)", "test_layers.py -k 'equation or steps_equal'"),
    "jacobian of the real part twice": ("dynamics.py", "jnp.concatenate([leaf.real, leaf.imag])", "jnp.concatenate([leaf.real, leaf.real])", "test_dynamics.py -k 'jacobians_equal and lru'"),
    "exponents per step, whatever dt": ("dynamics.py", "time = steps.dt[washout:].sum()", "time = 0 * steps.dt.sum() + steps.length - washout", "test_dynamics.py -k elapsed"),
    "washout in the mean": ("dynamics.py", "growth[washout:].sum(axis=0)", "growth.sum(axis=0)", "test_dynamics.py -k elapsed"),
    "a frame that is left to collapse": ("dynamics.py", "return (after, frame), jnp.log", "return (after, pushed), jnp.log", "test_dynamics.py -k logarithms"),
    "a frame along the axes": ("dynamics.py", "jnp.linalg.qr(jr.normal(jr.key(0), (vector.shape[0], count), vector.dtype))[0]", "jnp.eye(vector.shape[0], count, dtype=vector.dtype)", "test_dynamics.py -k logarithms"),
    "jacobians multiplied from the left": ("dynamics.py", "product = product @ jacobian", "product = jacobian @ product", "test_dynamics.py -k 'whole_run'"),
    "gradients from the start": ("dynamics.py", "lax.scan(body, start, matrices, reverse=True)", "lax.scan(body, start, matrices)", "test_dynamics.py -k 'whole_run'"),
    "antisymmetric diffusion as a shift": ("cells/antisymmetric.py", "return skew(triangle.astype(dtype), size) - gamma * jnp.eye(size, dtype=dtype)", "return skew(triangle.astype(dtype), size) - gamma", "test_by_name.py -k antisymmetric_spectrum"),
    "antisymmetric symmetric": ("init.py", "return upper - upper.T", "return upper + upper.T", "test_by_name.py -k antisymmetric_spectrum"),
    "antisymmetric without its step size": ("cells/antisymmetric.py", "h = state + dt * self.epsilon * jnp.tanh(z if", "h = state + dt * jnp.tanh(z if", EQUATION.format("antisymmetric")),
    "antisymmetric gate on the other input": ("cells/antisymmetric.py", "gate = jax.nn.sigmoid(from_h + from_x_z)", "gate = jax.nn.sigmoid(from_h + from_x_h)", EQUATION.format("gated_antisymmetric")),
    "clockwork squashes idle blocks": ("cells/clockwork.py", "h = jnp.where(due, proposed, state.h)", "h = jnp.where(due, proposed, jnp.tanh(state.h))", "test_by_name.py -k idle_clockwork"),
    "clockwork reads faster blocks": ("cells/clockwork.py", "return period[:, None] <= period[None, :]", "return period[:, None] >= period[None, :]", "test_by_name.py -k clockwork_reads"),
    "clockwork starts late": ("cells/clockwork.py", "due = state.t %", "due = (state.t + 1) %", EQUATION.format("clockwork")),
    "clockwork trains absent weights": ("cells/clockwork.py", "return replace(self, matrix=jnp.where(allowed, self.weight_hh, 0.0))", "return replace(self, matrix=self.weight_hh)", "test_by_name.py -k clockwork_reads"),
    "lipschitz damping as a shift": ("cells/lipschitz.py", "(M - M.T) - gamma * eye", "(M - M.T) - gamma", "test_by_name.py -k lipschitz_reads"),
    "lipschitz reads its input late": ("cells/lipschitz.py", "drive = self.weight_ih @ x\n", "drive = 0 * (self.weight_ih @ x)\n", "test_by_name.py -k lipschitz_reads"),
    "lipschitz symmetric part the wrong way": ("cells/lipschitz.py", "(1 - beta) * (M + M.T) + beta * (M - M.T)", "beta * (M + M.T) + (1 - beta) * (M - M.T)", EQUATION.format("lipschitz")),
    "midpoint at the full step": ("cells/lipschitz.py", "state + 0.5 * step * f(state)", "state + step * f(state)", "test_by_name.py -k midpoint"),
    "unitary reflection with the norm": ("cells/unitary.py", "unit = v / jnp.sqrt(jnp.sum(v**2, axis=(0, 2), keepdims=True))", "unit = v / jnp.sqrt(jnp.sqrt(jnp.sum(v**2, axis=(0, 2), keepdims=True)))", "test_by_name.py -k unitary_matrix"),
    "unitary reflection unconjugated": ("cells/unitary.py", "unit * jnp.vdot(unit, h)", "unit * jnp.dot(unit, h)", "test_by_name.py -k unitary_matrix"),
    "unitary fourier unnormalised": ("cells/unitary.py", "jnp.fft.fft(d_1 * h, norm=\"ortho\")", "jnp.fft.fft(d_1 * h)", "test_by_name.py -k unitary_matrix"),
    "unitary identity permutation": ("cells/unitary.py", "norm=\"ortho\"))[self.permutation]", "norm=\"ortho\"))", EQUATION.format("unitary")),
    "modrelu without relu": ("cells/unitary.py", "return jax.nn.relu(modulus + bias) / modulus * z", "return (modulus + bias) / modulus * z", "test_by_name.py -k modrelu"),
    "modrelu of a bare modulus": ("cells/unitary.py", "z.imag**2 + tiny**2)", "z.imag**2)", "test_by_name.py -k modrelu"),
    "exprnn cayley transposed": ("cells/unitary.py", "jnp.linalg.solve(eye + A / 2, eye - A / 2)", "jnp.linalg.solve(eye - A / 2, eye + A / 2)", EQUATION.format("exprnn-cayley")),
    "cornn without dt on the damping": ("cells/oscillatory.py", "z = z + delta * (force - self.epsilon * z)", "z = z + delta * force - self.epsilon * z", "test_by_name.py -k time_stands"),
    "cornn moves by the old velocity": ("cells/oscillatory.py", "            z = (z + delta * force) / (1 + self.epsilon * delta)\n        h = h + delta * z", "            z = (z + delta * force) / (1 + self.epsilon * delta)\n        h = h + delta * state.z", EQUATION.format("cornn")),
    "imex as explicit": ("cells/oscillatory.py", "z = (z + delta * force) / (1 + self.epsilon * delta)", "z = z + delta * (force - self.epsilon * z)", EQUATION.format("cornn-imex")),
    "damping drawn from the range of the stiffness": ("cells/oscillatory.py", "_fixed_range(\"epsilon\", epsilon, hidden_size", "_fixed_range(\"epsilon\", gamma, hidden_size", "test_by_name.py -k heterogeneous"),
    "hcornn trains its stiffness": ("cells/oscillatory.py", "return Fixed(uniform(key, (size,), low, high, dtype))", "return uniform(key, (size,), low, high, dtype)", EQUATION.format("hcornn")),
    "lem reads the old z": ("cells/oscillatory.py", "target = jnp.tanh(self.weight_hz @ z + from_x", "target = jnp.tanh(self.weight_hz @ state.z + from_x", EQUATION.format("lem")),
    "lem time scales swapped": ("cells/oscillatory.py", "one, two, pre_z = jnp.split(pre, 3)", "two, one, pre_z = jnp.split(pre, 3)", EQUATION.format("lem")),
    "unicornn spring with the wrong sign": ("cells/oscillatory.py", "u + self.bias) + self.alpha * h", "u + self.bias) - self.alpha * h", EQUATION.format("unicornn")),
    "residual forgets the input": ("cells/wrappers.py", "return x + y", "return y", "test_wrappers.py -k residual_adds"),
    "variational masks drawn at every step": ("cells/dropout.py", "return jnp.where(state.drawn, before,", "return jnp.where(False, before,", "test_wrappers.py -k draws_once"),
    "variational dropout not rescaled": ("cells/dropout.py", "jnp.where(self.keep, h / self.share, jnp.zeros_like(h))", "jnp.where(self.keep, h, jnp.zeros_like(h))", "test_wrappers.py -k 'columns_of and elman'"),
    "cfc without its tanh": ("cells/liquid.py", "return (1 - s) * jnp.tanh(f_1) + s * jnp.tanh(f_2)", "return (1 - s) * f_1 + s * f_2", EQUATION.format("cfc")),
    "cfc time with the other sign": ("cells/liquid.py", "s = jax.nn.sigmoid(a * time + b)", "s = jax.nn.sigmoid(-a * time + b)", EQUATION.format("cfc")),
    "cfc time constant is dead at its start": ("cells/liquid.py", "-time * (jnp.abs(w_tau)", "-time * (jnp.sign(w_tau) * w_tau", "test_liquid.py -k time_constant"),
    "cfc drops nothing behind the first layer": ("cells/liquid.py", "u = u if self.dropout is None else", "u = u if self.dropout is None or layer is self.backbone[0] else", "test_liquid.py -k backbone_dropout"),
    "wired cfc without masks": ("cells/wired.py", "weight=jnp.where(mask, weight, 0.0)", "weight=weight", EQUATION.format("wired_cfc")),
    "wired cfc masks its time gates": ("cells/wired.py", "dense = [np.ones_like(present)] * (blocks - 2)", "dense = [present] * (blocks - 2)", EQUATION.format("wired_cfc")),
    "wired cfc reads a diagonal": ("cells/wired.py", "inside = wiring.adjacency[np.ix_(own, own)]", "inside = np.diag(wiring.adjacency[own, own])", EQUATION.format("wired_cfc")),
    "mixed memory keeps the old state": ("cells/mixed_memory.py", "start, seen = (h, x) if", "start, seen = (state.h, x) if", "test_liquid.py -k rewrites"),
    "strides lose time": ("cells/strided.py", "passed = state.elapsed + (1.0 if dt is None else dt)", "passed = 0 * state.elapsed + (1.0 if dt is None else dt)", "test_liquid.py -k 'third_step or longer'"),
    "a longer wait makes a shorter step": ("cells/strided.py", "self.time_scale * passed", "self.time_scale / passed", "test_liquid.py -k longer"),
    "strides act on their last step": ("cells/strided.py", "select(state.k == 0,", "select(state.k == self.stride - 1,", "test_liquid.py -k third_step"),
    "ncps forget bias lost": ("interop/ncps.py", 'fields["bias"][1] = fields["bias"][1] + 1.0', 'fields["bias"][1] = fields["bias"][1]', "test_ncps_parity.py -k 'equals_ncps and mixed'"),
    "torch biases not added": ("interop/_cells.py", "return bias_ih + bias_hh", "return bias_ih", "test_interop.py -k 'torch_layers and lstm'"),
    "gru's bias of the candidate outside the reset": ("interop/_cells.py", "np.concatenate([r_z, np.zeros_like(n)])", "bias_hh", "test_interop.py -k 'torch_layers and gru'"),
    "torch directions swapped": ("interop/torch_layers.py", "Bidirectional(*cells) if len(cells) == 2", "Bidirectional(*cells[::-1]) if len(cells) == 2", "test_interop.py -k 'torch_layers and gru'"),
    "to_torch doubles the bias": ("interop/torch_layers.py", 'arrays["bias_hh"] = np.zeros(rows, dtype)', 'arrays["bias_hh"] = np.array(arrays["bias_ih"])', "test_interop.py -k to_torch_and_back"),
    "keras gates in their own order": ("interop/keras_layers.py", "np.concatenate([r, z, n], axis=-1)", "np.concatenate([z, r, n], axis=-1)", "test_interop.py -k 'keras_layers and gru'"),
    "flax bias of the candidate lost": ("interop/flax_layers.py", "return gru(from_x, from_h, bias, bias_h)\n    if names == ", "return gru(from_x, from_h, bias)\n    if names == ", "test_interop.py -k 'flax_layers and gru'"),
    "ltc polarity ignored": ("cells/ltc.py", "weight, weight * polarity, mu, sigma)", "weight, weight, mu, sigma)", EQUATION.format("ltc")),
    "ltc reads by target": ("cells/ltc.py", "np.flatnonzero(targets == neuron)", "np.flatnonzero(sources == neuron)[: np.sum(targets == neuron)]", "test_ltc.py -k neurons_read"),
    "ltc time left out of the unfolds": ("cells/ltc.py", "tau = jnp.asarray(dt, state.dtype) / (self.ode_unfolds * constants.c_m)", "tau = jnp.asarray(dt, state.dtype) / constants.c_m", EQUATION.format("ltc")),
    "ltc clips away its gradient": ("cells/ltc.py", "return lax.stop_gradient(jnp.maximum(raw, least)) + (raw - lax.stop_gradient(raw))", "return jnp.maximum(raw, least)", "test_ltc.py -k comes_back"),
    "ltc raw ranges under softplus": ("cells/ltc.py", "inverse = constraint == \"implicit\" and initialisation == \"effective\"", "inverse = False", "test_ltc.py -k published"),
    "ltc sensory polarity dropped": ("cells/ltc.py", "drive_x = drive_x + constants.leak", "drive_x = conductance_x + constants.leak", EQUATION.format("ltc")),
    "ncp unmasked": ("cells/ncp.py", "jnp.where(mask, weight, 0.0)", "weight", "test_ltc.py -k ncp_keeps"),
    "s5 transposed for adjoint": ("ssm/s5.py", "return jnp.stack([V.real.T @ B, -V.imag.T @ B])", "return jnp.stack([V.real.T @ B, V.imag.T @ B])", "test_ssm.py -k input_matrix"),
    "s5 eigenvalues left unclipped": ("ssm/s5.py", "if self.clip_eigs:", "if False:", "test_ssm.py -k clipped"),
    "s5 clip kills the gradient": ("ssm/s5.py", "real = clipped + (real - lax.stop_gradient(real))", "real = clipped", "test_ssm.py -k clipped"),
    "s5 forgets the conjugate": ("ssm/s5.py", "joint_readout(self.C, self.D, 2.0 if self.conj_sym else 1.0)", "joint_readout(self.C, self.D)", EQUATION.format("s5")),
    "s5 keeps the other half": ("ssm/s5.py", "np.tile(eigenvalues[:kept], blocks)", "np.tile(eigenvalues[::-1][:kept], blocks)", "test_ssm.py -k half_the_pairs"),
    "steps uniform and not log-uniform": ("init.py", "return uniform(key, shape, math.log(low), math.log(high), dtype)", "return jnp.log(uniform(key, shape, low, high, dtype))", "test_ssm.py -k log_uniform"),
    "dt dropped from the input": ("ssm/discretise.py", "return jnp.exp(z), step * exprel(z)", "return jnp.exp(z), exprel(z)", EQUATION.format("s5")),
    "s4d modes read without their conjugates": ("ssm/s4d.py", "return 2 * from_h + self.D", "return from_h + self.D", EQUATION.format("s4d")),
    "series for every modulus": ("ssm/discretise.py", "return jnp.where(small, series, jnp.expm1(far) / far)", "return jnp.expm1(z) / z", "test_gradients.py -m '' -k 'finite_at_zero and s5'"),
    "tustin at half the step": ("ssm/discretise.py", "return (1 + half) / (1 - half), step / (1 - half)", "return (1 + half) / (1 - half), 0.5 * step / (1 - half)", EQUATION.format("s5-bilinear")),
    "rglru root of the wrong sign": ("ssm/rglru.py", 'jnp.exp(log_a), -jnp.expm1(2 * log_a.real)', 'jnp.exp(log_a), jnp.expm1(2 * log_a.real)', EQUATION.format("rglru")),
    "rglru unbounded slope": ("ssm/rglru.py", "jnp.maximum(x, 0.25 / _STEEPEST**2)", "x", "test_ssm.py -k bounded_slope"),
    "rglru gates swapped": ("ssm/rglru.py", "r, i = self._gates(u)", "i, r = self._gates(u)", EQUATION.format("rglru")),
    "linoss im and imex swapped": ("ssm/linoss.py", 'if self.scheme == "im":\n            return', 'if self.scheme != "im":\n            return', EQUATION.format("linoss")),
    "linoss damping explicit": ("ssm/discretise.py", "shrink = 1 / (1 + step * damping)", "shrink = 1 - step * damping", EQUATION.format("linoss-damped")),
    "mamba writes whatever it reads": ("ssm/mamba.py", "(gain * self._joined(B) * u[:, None]).ravel()", "(gain * jnp.ones_like(self._joined(B)) * u[:, None]).ravel()", EQUATION.format("mamba")),
    "rglru turns without its gate": ("ssm/rglru.py", "a, squared = jnp.exp(log_a), -jnp", "a, squared = jnp.exp(log_a.real) * jnp.exp(1j * rate.imag) if self.theta is not None else jnp.exp(log_a), -jnp", "test_equations.py -k 'rglru-complex'"),
    "complex mamba reads half": ("ssm/mamba.py", "2 * read.real", "read.real", "test_equations.py -k 'mamba-complex'"),
    "mamba without time": ("ssm/mamba.py", "step = jnp.asarray(dt) * jax.nn.softplus", "step = jax.nn.softplus", "test_equations.py -k 'dt_ and mamba'"),
    "convolution from the oldest": ("ssm/short_conv.py", "self.weight[::-1] * window", "self.weight * window", "test_ssm.py -k short_convolution"),
    "convolution that forgets an input too early": ("ssm/short_conv.py", "return window[1:], y", "return window[:-1], y", "test_ssm.py -k short_convolution"),
    "mamba block without its gate": ("layers/mamba.py", "vs * jax.nn.silu(gates)", "vs", "test_ssm.py -k mamba_block"),
    "every step draws the same": ("train/step.py", "_augmented(augment, batch, jr.fold_in(key, progress.step))\n\n    def objective", "_augmented(augment, batch, key)\n\n    def objective", "test_train.py -k draws_anew"),
    "esn keeps the radius of the draw": ("cells/reservoir.py", "return matrix / radius, eigenvalues / radius", "return matrix, eigenvalues", "test_reservoir.py -k matrix_has"),
    "esn leaky radius of the matrix": ("cells/reservoir.py", 'if self.radius_of == "leaky":', "if False:", "test_reservoir.py -k leaky_form"),
    "esn trains its recurrence": ("cells/reservoir.py", "self.weight_hh = Fixed(matrix.astype(dtype))", "self.weight_hh = type('Open', (eqx.Module,), {'__annotations__': {'value': Array}})(matrix.astype(dtype))", "test_reservoir.py -k nothing_in"),
    "esn scales everything but its input": ("cells/reservoir.py", "z = self.input_scaling.value * (self.weight_ih.value @ x)", "z = self.weight_ih.value @ x", EQUATION.format("esn")),
    "the bias is penalised": ("readout/ridge.py", "squares = self.squares - count * jnp.outer(centre, centre)", "squares = self.squares", "test_readout.py -k ridge_equals"),
    "normal equations in float32": ("readout/ridge.py", "r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32))))", "r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32)))); r = r.astype(jnp.float32)", "test_readout.py -k ridge_equals"),
    "forgetting forgets nothing": ("readout/online.py", ") / self.forgetting\n", ") / 1.0\n", "test_readout.py -k forgetting"),
    "the washout ends once": ("models/_fitting.py", "jnp.where(reset, count - valid, 0)", "jnp.where(reset, 0, 0)", "test_echo_state.py -k washout_again"),
    "one step more of washout": ("models/_fitting.py", "count - started > washout", "count - started >= washout", "test_echo_state.py -k settled_states"),
    "FORCE is told the truth": ("models/_fitting.py", "taught, y)\n", "taught, target.astype(dtype))\n", "test_echo_state.py -k force"),
    "the forecast begins a step late": ("models/autoregressive.py", "return jnp.concatenate([y[None], ys])", "return self.generate(state, y, steps, inputs=inputs, dt=future_dt, key=ahead)[1]", "test_echo_state.py -k reads_its_own"),
    "the model space pairs across padding": ("models/model_space.py", "mask[:-1] & mask[1:]", "mask[:-1]", "test_echo_state.py -k model_space_holds"),
    "a cascade in parallel": ("layers/branches.py", "return before[-1] if before else xs", "return before[0] if before else xs", "test_branches.py"),
    "grid axes in another order": ("train/grid.py", "[list(values).index(n) for n in order]", "range(len(order))", "test_grid.py"),
    "state spaces decay": ("train/groups.py", "own = {name: _all(getattr(node, name), \"ssm\") for name in node.ssm_parameters}", "own = {}", "test_ssm.py -k 'labels or by_group'"),
    "one mask for all documents": ("layers/block.py", "self.dropout, zs, kept, mask=steps.mask, reset=steps.reset, key", "self.dropout, zs, kept, mask=steps.mask, key", "test_layers.py -k broadcast"),
    "a mask for each step": ("layers/dropout.py", "keep = jnp.where(state.drawn, state.keep, drawn)", "keep = drawn", "test_layers.py -k broadcast"),
    "modules hear against the wiring": ("cells/messages.py", "return self.weight.value.T @ said", "return self.weight.value @ said", "test_modular.py -k 'modular_steps_equal and alike and dense'"),
    "sparse messages to their senders": ("cells/messages.py", "_along_edges(self.weight.value, self.senders, self.receivers, said)", "_along_edges(self.weight.value, self.receivers, self.senders, said)", "test_modular.py -k message_kinds"),
    "learned messages along every pair": ("cells/messages.py", "np.nonzero(wiring)", "np.nonzero(np.ones_like(wiring))", "test_modular.py -k 'makes_no_edge and learned'"),
    "modules go on saying the same": ("cells/modular.py", "        return ModularState(states, said), ys\n", "        return ModularState(states, jnp.zeros_like(said)), ys\n", "test_modular.py -k 'modular_steps_equal and alike and dense'"),
    "every module reads": ("cells/modular.py", "jnp.where(self.reads[:, None], x, jnp.zeros_like(x))", "jnp.broadcast_to(x, (self.messages.size, *x.shape))", "test_modular.py -k 'read_as_asked'"),
    "modules draw alike": ("cells/modular.py", "jr.split(key, self.messages.size)", "jnp.stack([key] * self.messages.size)", "test_modular.py -k modular_draws"),
    "unlike cells are stacked": ("cells/modular.py", "if any(form != first for form in others):", "if any(form[0] != first[0] for form in others):", "test_modular.py -k only_equal_cells"),
    "edge messages without tanh": ("cells/messages.py", "e = jnp.tanh(sent + heard + edge)", "e = sent + heard + edge", "test_modular.py -k message_passing_steps"),
    "both ends of an edge speak as the receiver": ("cells/messages.py", "(y @ self.weight_sender.T)[self.senders]", "(y @ self.weight_sender.T)[self.receivers]", "test_modular.py -k message_passing_steps"),
    "edge messages go back to the sender": ("cells/messages.py", "jax.ops.segment_sum(e, self.receivers, self.num_nodes)", "jax.ops.segment_sum(e, self.senders, self.num_nodes)", "test_modular.py -k along_their_edge"),
    "edge features of another edge": ("cells/messages.py", "return self.edge_features.value @", "return self.edge_features.value[::-1] @", "test_modular.py -k message_passing_steps"),
    "nodes draw alike": ("cells/messages.py", "jr.split(key, self.num_nodes)", "jnp.stack([key] * self.num_nodes)", "test_modular.py -k takes_time_and_keys"),
}  # fmt: skip


# Each mutant has a process of its own, forked from one that has loaded the libraries already.
METHODS = multiprocessing.get_all_start_methods()
FORKS: Any = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
FORKS.set_forkserver_preload(["equinox", "jax", "numpy", "optax", "pytest"])


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_still_applies(name):
    file, old, new, _ = MUTANTS[name]
    found = (PACKAGE / file).read_text().count(old)
    assert found == 1, f"{file}: found {found} times, expected once (lengthen the row): {old!r}"
    assert old != new


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, tmp_path):
    file, old, new, tests = MUTANTS[name]
    shutil.copytree(PACKAGE, tmp_path / "rnn_zoo")  # compiled files too: times stay, so they fit
    target = tmp_path / "rnn_zoo" / file
    target.write_text(target.read_text().replace(old, new))
    log = tmp_path / "log"
    # Without the options of the project: checks of every call would take half of the time.
    options = f"-x -q -o addopts= -m 'not slow' -p no:cacheprovider --rootdir={TESTS.parent}"
    process = FORKS.Process(
        target=run_tests, args=(tmp_path, log, shlex.split(f"{options} {tests}"))
    )
    process.start()
    process.join()
    # 1: tests failed. Anything else (an import error, no test selected) kills nothing.
    assert process.exitcode == 1, f"{name} survives {tests}\n{log.read_text()[-2000:]}"
