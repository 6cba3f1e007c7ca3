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
from mutants_abreast import ROWS as ABREAST
from mutants_agents import AGENTS
from mutants_attention import ATTENTION
from mutants_blocks import BLOCKS
from mutants_chunks import ROWS as CHUNKS
from mutants_delta import ROWS as DELTA
from mutants_device import ROWS as DEVICE
from mutants_gated_matrix import GATED_MATRIX
from mutants_gates import ROWS as GATES
from mutants_interop import INTEROP
from mutants_lab import LAB
from mutants_linear import ROWS as LINEAR
from mutants_rates import ROWS as RATES
from mutants_side_by_side import ROWS as SIDE_BY_SIDE
from mutants_timed import TIMED

import rnn_zoo as rz


PACKAGE = Path(rz.__file__).parent
TESTS = Path(__file__).parent

# name: (file, what stands there, what the mutant writes, the tests that must fail)
EQUATION = "test_equations.py -k 'step_equals_the_paper and {}'"
FULL = "test_full_equations.py -k 'computes_the_step and {}'"
MUTANTS = {
    "elman ignores its bias": ("cells/vanilla.py", "z = self.weight_ih @ x + c @ state\n        h = self.activation(plus(z, self.bias))", "z = self.weight_ih @ x + c @ state\n        h = self.activation(z)", EQUATION.format("elman")),
    "leak on the wrong side": ("cells/vanilla.py", "h = (1 - alpha) * state + alpha * target", "h = alpha * state + (1 - alpha) * target", EQUATION.format("leaky_elman")),
    "dt multiplies the leak": ("cells/vanilla.py", "return -jnp.expm1(dt * math.log1p(-leak))", "return leak * jnp.asarray(dt)", EQUATION.format("leaky_elman")),
    "dt dropped": ("cells/vanilla.py", "return -jnp.expm1(dt * math.log1p(-leak))", "return jnp.asarray(leak) + 0 * jnp.asarray(dt)", "test_equations.py -k dt_"),
    "wilson-cowan input outside": ("cells/wilson_cowan.py", "rate = self._rate(plus(z, self.bias))", "rate = self._rate(z - self.weight_ih @ x + self.bias) + self.weight_ih @ x", EQUATION.format("wilson")),
    "wilson-cowan inhibition excites": ("cells/wilson_cowan.py", "self._each((1.0, -1.0), raw.dtype)", "self._each((1.0, 1.0), raw.dtype)", EQUATION.format("wilson")),
    "wilson-cowan signs by row": ("cells/wilson_cowan.py", "* self._each((1.0, -1.0), raw.dtype)[None])", "* self._each((1.0, -1.0), raw.dtype)[:, None])", EQUATION.format("wilson")),
    "wilson-cowan rests above zero": ("cells/wilson_cowan.py", " - jax.nn.sigmoid(-gain * threshold)", "", EQUATION.format("wilson")),
    "wilson-cowan never tires": ("cells/wilson_cowan.py", "alpha * (1 - self.refractory * state) * rate", "alpha * rate", EQUATION.format("wilson_cowan-1972")),
    "wilson-cowan starts too strong": ("cells/wilson_cowan.py", "[:, kind] / read", "[:, kind]", "test_sources.py -k weights_of_the_paper"),
    "indrnn unclipped": ("_common/ranges.py", "return jnp.clip(here, low, high) + moved", "return here + moved", EQUATION.format("indrnn")),
    "indrnn clip kills the gradient": ("_common/ranges.py", "return jnp.clip(here, low, high) + moved", "return jnp.clip(here, low, high)", "test_gradients.py -k indrnn_comes_back"),
    "a range lets gradients out": ("_common/ranges.py", "return jnp.where(out, 0, gradient)", "return gradient", "test_sources.py -k 'lead_out or come_back'"),
    "a range lets gradients out below": ("_common/ranges.py", "((here <= low) & (gradient > 0))", "((here <= low) & (gradient < 0))", "test_sources.py -k 'lead_out or conductances'"),
    "indrnn starts as wide as others": ("init.py", "(1 + 8**2)", "1.0", "test_sources.py -k weights_are_those"),
    "hcornn starts with one fan": ("cells/oscillatory.py", "weight_hh: Float[Array, \"hidden hidden\"] = drawn(fan_in_uniform)\n    bias", "weight_hh: Float[Array, \"hidden hidden\"] = drawn(fan_in_uniform, fan_in=\"input\")\n    bias", "test_sources.py -k weights_are_those"),
    "antisymmetric with too little diffusion": ("cells/antisymmetric.py", "2*hidden\"] | None = filled(0.0)\n    triangle: ClassVar[int] = derived(above_diagonal)\n    epsilon: float = option(0.1, positive)\n    gamma: float = option(1.0,", "2*hidden\"] | None = filled(0.0)\n    triangle: ClassVar[int] = derived(above_diagonal)\n    epsilon: float = option(0.1, positive)\n    gamma: float = option(0.1,", "test_sources.py -k obey_their_own"),
    "lstm gates i and f swapped": ("cells/gated.py", "jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)", "jax.nn.sigmoid(i) * state.c + jax.nn.sigmoid(f) * jnp.tanh(g)", EQUATION.format("lstm")),
    "lstm gates g and o swapped": ("cells/gated.py", "i, *f, g, o = jnp.split", "i, *f, o, g = jnp.split", EQUATION.format("lstm")),
    "lstm without the last tanh": ("cells/gated.py", "h = jax.nn.sigmoid(o) * jnp.tanh(memory)", "h = jax.nn.sigmoid(o) * memory", EQUATION.format("lstm")),
    "lstm state swapped": ("cells/gated.py", "return LSTMState(h, memory), h", "return LSTMState(memory, h), h", EQUATION.format("lstm")),
    "lstm forget bias on g": ("cells/gated.py", "forgetting(0 if given.coupled else 1, given.blocks)", "forgetting(0 if given.coupled else 2, given.blocks)", "test_init.py -k forget"),
    "lstmp gates i and f swapped": ("cells/projected.py", "i, f, g, o = jnp.split", "f, i, g, o = jnp.split", EQUATION.format("lstmp")),
    "lstmp without the last tanh": ("cells/projected.py", "h = self.weight_hr @ (jax.nn.sigmoid(o) * jnp.tanh(memory))", "h = self.weight_hr @ (jax.nn.sigmoid(o) * memory)", EQUATION.format("lstmp")),
    "gru update gate inverted": ("cells/gated.py", "h = (1 - z) * n + z * state", "h = z * n + (1 - z) * state", EQUATION.format("gru")),
    "gru reset before for after": ("cells/gated.py", "        if self.reset_after:\n            from_h", "        if not self.reset_after:\n            from_h", EQUATION.format("gru")),
    "gru gates r and z swapped": ("cells/gated.py", "r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)", "z, r = jnp.split(jax.nn.sigmoid((from_x + from_h)", EQUATION.format("gru")),
    "gru bias_n outside the reset": ("cells/gated.py", "reset = r * plus(u, self.bias_n)", "reset = r * u + (0 if self.bias_n is None else self.bias_n)", EQUATION.format("gru")),
    "gru candidate reads the old gate weights": ("cells/gated.py", "reset = c[-self.output_size :] @ (r * state)", "reset = c[: self.output_size] @ (r * state)", EQUATION.format("gru")),
    "mgu gate inverted": ("cells/gated.py", "h = (1 - f) * state + f * candidate", "h = f * state + (1 - f) * candidate", EQUATION.format("mgu")),
    "mingru keeps with the wrong sign": ("cells/min_gated.py", 'else jax.nn.sigmoid(-z)\n', 'else jax.nn.sigmoid(z)\n', EQUATION.format("mingru")),
    "mingru never turns its sign": ("cells/min_gated.py", "jnp.tanh(-z / 2) if", "jax.nn.sigmoid(-z) if", "test_equations.py -k 'mingru-negative'"),
    "rglru root of the positive form": ("cells/rglru.py", "1 + 2 * less, -4 * less * (1 + less)", "1 + 2 * less, -less * (2 + less)", "test_equations.py -k 'rglru-negative'"),
    "minlstm not normalised": ("cells/min_gated.py", 'else jax.nn.sigmoid(log_ratio)\n', 'else jax.nn.sigmoid(f)\n', EQUATION.format("minlstm")),
    "lru without normalisation": ("cells/lru.py", "B = jnp.exp(self.gamma_log)[None, :, None] * self.B", "B = self.B", EQUATION.format("lru")),
    "modes read conjugated": ("cells/modes.py", "[scale * C[0], -scale * C[1], D]", "[scale * C[0], scale * C[1], D]", EQUATION.format("lru")),
    "lru phase flipped": ("cells/lru.py", "modulus * jnp.sin(phase)", "-modulus * jnp.sin(phase)", EQUATION.format("lru")),
    "lru normalisation cancels": ("cells/lru.py", "0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))", "jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log)))", "test_init.py -k lru"),
    "orthogonal blocks from one key": ("init.py", "return jnp.concatenate([make(k) for k in jr.split(key, blocks)])", "return jnp.concatenate([make(key) for k in jr.split(key, blocks)])", "test_init.py -k orthogonal"),
    "glu halves from one key": ("layers/block.py", "self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_gate)", "self.gate = eqx.nn.Linear(input_size, output_size, dtype=dtype, key=key_value)", "test_layers.py -k halves"),
    "compose in the wrong order": ("linear.py", "return AffineMap(self.linear.compose(earlier.linear), self.apply(earlier.offset))", "return AffineMap(self.linear.compose(earlier.linear), earlier.apply(self.offset))", "test_affine.py"),
    "reset by a product": ("_engine/recurrence.py", 'after = select(flags["barrier"], jnp.zeros_like(after), after)', 'after = after * (1 - flags["barrier"]).reshape(flags["barrier"].shape + (1,) * (after.ndim - flags["barrier"].ndim))', "test_evaluators.py -k nan_before"),
    "reset by a product in the loop": ("_evaluators/sequential.py", "            state = select(at.reset, initial, state)\n", "            state = jax.tree.map(lambda s, i: s * (1 - at.reset) + i * at.reset, state, initial)\n", "test_evaluators.py -k 'nan_before or nan_state' test_semantics.py -k nan_"),
    "reset one step late": ("_evaluators/sequential.py", "        x, *dt = visible(at if scalar_dt is None else at._replace(dt=scalar_dt))\n", "        x, *dt = visible(at if scalar_dt is None else at._replace(dt=scalar_dt))\n        at = at._replace(reset=None if at.reset is None else at.reset & False)\n", "test_semantics.py -k resets_equal"),
    "mask lets the state move": ("_evaluators/sequential.py", "after = select(at.mask, after, state)", "after = after", "test_semantics.py -k gaps"),
    "mask leaves the output": ("_evaluators/sequential.py", "y = jnp.where(at.mask, y, jnp.zeros_like(y))", "y = y", "test_semantics.py -k gaps"),
    "padding is seen": ("_evaluators/common.py", "x = select(steps.mask, steps.x, jnp.zeros_like(steps.x))", "x = steps.x", "test_semantics.py -k nan_in_masked"),
    "masked dt is seen": ("_evaluators/common.py", "return [x, jnp.where(steps.mask, steps.dt, jnp.ones_like(steps.dt))]", "return [x, steps.dt]", "test_semantics.py -k nan_in_masked"),
    "reset only where the mask lets it": ("_evaluators/sequential.py", "            state = select(at.reset, initial, state)\n", "            state = select(at.reset if at.mask is None else at.reset & at.mask, initial, state)\n", "test_semantics.py -k reset_acts_first"),
    "parallel forgets the initial state": ("_engine/offsets.py", "start = offset[first] + through(at_first, mask, state)", "start = offset[first]", "test_evaluators.py -k parallel_at_small"),
    "parallel reverse not flipped back": ("_engine/recurrence.py", "return jnp.flip(algorithm(turned, jnp.flip(offsets, axis)), axis)", "return algorithm(turned, jnp.flip(offsets, axis))", "test_recurrence.py -k 'states and associative and Diagonal'"),
    "auto changes one step late": ("_engine/backends.py", "or length >= row.steps", "or length > row.steps", "test_gpu_benchmark.py -k auto_takes"),
    "auto keeps its first row": ("_engine/backends.py", "            chosen = row.algorithm\n", "            return row.algorithm\n", "test_gpu_benchmark.py -k auto_takes"),
    "adjoint reads A of its own step": ("_engine/recurrence.py", "steps.at(t - ahead if late else t)", "steps.at(t)", "test_recurrence.py -k 'derivatives and loop and varying and Diagonal'"),
    "adjoint of a block not transposed": ("_engine/recurrence.py", "_recurrence_p.bind(transposed.a, cotangent", "_recurrence_p.bind(a, cotangent", "test_recurrence.py -m slow -k 'derivatives and Block2x2-constant-loop'"),
    "derivative of A through a mask": ("_engine/recurrence.py", "moved = steps.finish(moved, jnp.zeros_like(moved))", "moved = moved", "test_recurrence.py -k 'derivatives and loop and constant and Diagonal'"),
    "late steps not rolled": ("_engine/recurrence.py", "jnp.roll(x, -1 if reverse else 1, axis)", "x", "test_recurrence.py -k 'derivatives and associative and varying and Diagonal'"),
    "block forgets what it was handed": ("_engine/recurrence.py", " + _handed_on(since, jnp.expand_dims(before, axis + 1))\n", "\n", "test_recurrence.py -k 'states and blocked and varying and Diagonal'"),
    "block passes a barrier": ("_engine/recurrence.py", "forgotten = tuple(lax.cummax(flag.astype(jnp.int8), axis + 1) > 0 for flag in inside.flags)", "forgotten = inside.flags", "test_recurrence.py -k 'states and blocked and constant and Diagonal'"),
    "sum of products over one sample": ("_engine/products.py", "return x.sum(axes, keepdims=True) if axes else x", "return x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))]", "test_recurrence.py -k 'vmap_equals and loop and constant and Diagonal'"),
    "rest of a reversed loop comes last": ("_engine/chunks.py", "for bound in reversed(bounds) if reverse else bounds:", "for bound in bounds:", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "a product that others use is taken up": ("_engine/program.py", "uses[operand.number] == 1", "uses[operand.number] >= 1", "test_loop.py -k 'loop_equals and 9 and sides'"),
    "what x does to a sum is lost": ("_engine/tangents.py", "terms = [site.products[i].row(m, v) for i, m, v in factors]", "terms = []", "test_loop.py -k 'loop_equals and 9 and chained'"),
    "what matrices do to a sum is lost": ("_engine/recall.py", "terms = [] if is_zero(moved) else [moved]", "terms = []", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "an activation recalled has no slope": ("_engine/recall.py", "SLOPES[op.equation.primitive](value) * tangents[1]", "tangents[1]", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "a bias of a loop stands still": ("_engine/tangents.py", "return total([*terms, offset])", "return total([*terms, None])", "test_loop.py -k 'loop_equals and 9 and merged'"),
    "products of x alone stand still": ("_engine/program.py", "self.level_of(vector) == STATE or vector.number in follow", "self.level_of(vector) == STATE", "test_loop.py -k 'loop_equals and 9 and chained'"),
    "an unknown step is taken apart": ("_engine/known.py", "return name in names and len(equation.outvars) > 0", "return len(equation.outvars) > 0", "test_user_steps.py -k 'which_steps and custom_vjp'"),
    "a jit with shardings is inlined": ("_engine/known.py", "if name == JIT and asks_for_placement(equation):", "if False:", "test_engine.py -k shardings_stays"),
    "a rule that asks for zeros is taken apart": ("_engine/known.py", "if name == CUSTOM_JVP and asks_for_zeros(equation):", "if False:", "test_user_steps.py -k 'which_steps and filter_custom_jvp'"),
    "scopes of a jit inside are lost": ("_engine/program.py", "filter(None, [outer, scope_of(", "filter(None, [scope_of(", "test_engine.py -k scopes"),
    "samples begin at zero": ("_engine/loop.py", "x = repeat(x, size, leader, axis)", "x = repeat(jnp.zeros_like(x), size, leader, axis)", "test_loop.py -k batches_of"),
    "samples of inputs come before time": ("_engine/loop.py", "jnp.moveaxis(x, dim, 1 if i in columns else 0)", "jnp.moveaxis(x, dim, 0)", "test_loop.py -k batches_of"),
    "the first level of samples comes last": ("_engine/loop.py", "(*run.sizes, size), (*run.batched, tuple(batched))", "(*run.sizes, size), (tuple(batched), *run.batched)", "test_loop.py -k batches_of"),
    "sizes of outputs in the order of levels": ("_engine/loop.py", "ShapedArray((run.length, *run.sizes[::-1], *a.shape), a.dtype)", "ShapedArray((run.length, *run.sizes, *a.shape), a.dtype)", "test_loop.py -k batches_of"),
    "an output that is a state comes last": ("_engine/run.py", "outputs.insert(i, kept.states[state])", "outputs.append(kept.states[state])", "test_user_steps.py -k 'equals_the_scan and nested_state'"),
    "the rest of a division is dropped": ("_engine/chunks.py", "return length // size, size, length % size", "return length // size, size, 0", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "reversed chunks begin a chunk late": ("_engine/chunks.py", "(chunks - 1, (chunk + 1) * size)", "(chunks - 1, chunk * size)", "test_loop.py -k 'loop_equals and 37 and merged'"),
    "reversed states come after their step": ("_engine/chunks.py", "return jnp.concatenate([after[1:], first[None]])", "return after", "test_loop.py -k 'loop_equals and 8 and merged'"),
    "a state is the same on all devices": ("_engine/mesh.py", "missing = axes - varying(jax.typeof(array))", "missing = frozenset()", "test_engine.py -k 'over_devices and explicit-gru'"),
    "a repeated state is on every device": ("_engine/mesh.py", "return beside(repeated, jnp.moveaxis(like, axis, 0), 1)", "return repeated", "test_engine.py -k 'over_devices and explicit-gru'"),
    "the door leads nowhere": ("scan.py", 'plain=_CHOSEN.value == "scan"', "plain=False", "test_engine.py -k door"),
    "plain resets forget nothing": ("_engine/plain.py", "select(reset, maps, maps.compose(earlier[1]))", "maps.compose(earlier[1])", "test_engine.py -k 'plain_parallel and lru'"),
    "plain resets go back to the given state": ("_engine/plain.py", "maps.apply(jnp.broadcast_to(initial, maps.offset.shape))", "maps.apply(jnp.broadcast_to(state, maps.offset.shape))", "test_engine.py -k 'plain_parallel and lru'"),
    "orthogonal matrices all at once": ("init.py", "    @jax.custom_batching.sequential_vmap\n", "", "test_init.py -k one_by_one"),
    "ranks promoted in a window": ("_engine/window.py", "valid[None] & (age[None] ==", "valid & (age ==", "test_windows.py -k promotes"),
    "a segment begins where the first began": ("_evaluators/parallel.py", "        return final, (states, ys)\n", "        return state, (states, ys)\n", "test_segments.py -k 'whole and mingru'"),
    "a segment has another time step": ("_evaluators/parallel.py", "steps._replace(dt=scalar_dt)", "steps._replace(dt=2 * scalar_dt)", "test_segments.py -k 'whole and linoss'"),
    "a transition is broadcast in silence": ("_evaluators/parallel.py", "    check_transition(cell, shapes, state)\n", "", "test_engine.py -k does_not_fit"),
    "a block product of the wrong entries": ("linear.py", "rows = [[a * e + b * g,", "rows = [[a * e + c * g,", "test_affine.py"),
    "a loop in segments loses its end": ("_engine/loop.py", "division = length // segment, segment, length % segment", "division = length // segment, segment, 0", "test_loop.py -k segments"),
    "keys in input order when reversed": ("_common/keys.py", "return keys[::-1] if reverse else keys", "return keys", "test_evaluators.py -k reverse_equals"),
    "16-bit inputs lower the state": ("base.py", "state, y = self.equation(c, state, jnp.asarray(x, dtype), *time, **keywords)", "state, y = self.equation(c, state, jnp.asarray(x), *time, **keywords)", "test_states.py -k 'working or float32_cell'"),
    "the gradient of W is not turned back": ("_engine/rows.py", "_sum_of_outer(vectors, cotangent)).T", "_sum_of_outer(vectors, cotangent))", "test_rows.py -k values"),
    "devices: what came before is dropped": ("_engine/recurrence.py", "    offsets = plus_at(offsets, first, entering, axis)\n", "", "test_across_devices.py -k 'one_device and lru'"),
    "devices: powers one too high": ("_engine/across_devices.py", "count = count[..., None]\n", "count = count[..., None] + 1\n", "test_across_devices.py -k powers"),
    "devices: A through the first step has no derivative": ("_engine/recurrence.py", "moved = plus_at(moved, first, _handed_on(at_first, entering), steps.time)", "moved = moved", "test_across_devices.py -k 'one_device and lru'"),
    "devices: windows add up to more than they hold": ("_engine/window.py", "count = jnp.minimum(self.count + earlier.count, len(self.rows))", "count = self.count", "test_across_devices.py -k windows"),
    "bidirectional resets not shifted": ("layers/recurrent.py", "ended = _ends(ended)", "ended = ended", "test_semantics.py -k bidirectional_packed"),
    "pooling reads the last step": ("layers/pooling.py", "last = steps.length - 1 - jnp.argmax(mask[::-1])", "last = steps.length - 1", "test_layers.py -k pooling"),
    "backward pools its last step": ("layers/pooling.py", "(first if backward else last)[start:stop]", "last[start:stop]", "test_layers.py -k pooling"),
    "mean over masked steps": ("layers/pooling.py", "steps.length if mask is None else jnp.sum(mask)", "steps.length", "test_layers.py -k pooling"),
    "frozen by stop_gradient only": ("wrappers/frozen.py", "self.fixed = fix(cell)", "self.fixed = cell", "test_gradients.py -k 'weight_decay and frozen'"),
    "zoneout keeps with 1 - rate": ("wrappers/zoneout.py", "return jnp.where(jr.bernoulli(key, rate, new.shape), old, new)", "return jnp.where(jr.bernoulli(key, rate, new.shape), new, old)", "test_wrappers.py -k zoneout_holds"),
    "zoneout rescales in inference": ("wrappers/zoneout.py", "return rate * old + (1 - rate) * new", "return new", "test_wrappers.py -k zoneout_in_inference"),
    "block norms what is masked": ("layers/block.py", "xs = hide(steps.mask, steps.x).astype", "xs = steps.x.astype", "test_layers.py -k masked_outputs"),
    "block without skip": ("layers/block.py", "ys = jax.vmap(self._after)(xs + zs)", "ys = jax.vmap(self._after)(zs)", "test_layers.py -k 'equation or steps_equal'"),
    "jacobian of the real part twice": ("_common/vectors.py", "jnp.concatenate([leaf.real, leaf.imag])", "jnp.concatenate([leaf.real, leaf.real])", "test_dynamics.py -k 'jacobians_equal and lru'"),
    "exponents per step, whatever dt": ("dynamics/exponents.py", "time = steps.dt[washout:].sum()", "time = 0 * steps.dt.sum() + steps.length - washout", "test_dynamics.py -k elapsed"),
    "washout in the mean": ("dynamics/exponents.py", "counted[counted >= washout]", "counted", "test_dynamics.py -k elapsed"),
    "a frame that is left to collapse": ("dynamics/exponents.py", "return (after, frame), growth", "return (after, pushed), growth", "test_dynamics.py -k logarithms"),
    "a frame along the axes": ("dynamics/exponents.py", "jnp.linalg.qr(jr.normal(jr.key(0), (vector.shape[0], count), vector.dtype))[0]", "jnp.eye(vector.shape[0], count, dtype=vector.dtype)", "test_dynamics.py -k logarithms"),
    "jacobians multiplied from the left": ("dynamics/along.py", "product = product @ jacobian", "product = jacobian @ product", "test_dynamics.py -k 'whole_run'"),
    "gradients from the start": ("dynamics/along.py", "lax.scan(body, start, matrices, reverse=True)", "lax.scan(body, start, matrices)", "test_dynamics.py -k 'whole_run'"),
    "antisymmetric diffusion as a shift": ("cells/antisymmetric.py", "return skew(triangle.astype(dtype), size) - gamma * jnp.eye(size, dtype=dtype)", "return skew(triangle.astype(dtype), size) - gamma", "test_by_name.py -k antisymmetric_spectrum"),
    "antisymmetric symmetric": ("init.py", "return upper - upper.T", "return upper + upper.T", "test_by_name.py -k antisymmetric_spectrum"),
    "antisymmetric without its step size": ("cells/antisymmetric.py", "h = state + dt * self.epsilon * jnp.tanh(plus", "h = state + dt * jnp.tanh(plus", EQUATION.format("antisymmetric")),
    "antisymmetric gate on the other input": ("cells/antisymmetric.py", "gate = jax.nn.sigmoid(from_h + from_x_z)", "gate = jax.nn.sigmoid(from_h + from_x_h)", EQUATION.format("gated_antisymmetric")),
    "clockwork squashes idle blocks": ("cells/clockwork.py", "h = jnp.where(due, proposed, state.h)", "h = jnp.where(due, proposed, jnp.tanh(state.h))", "test_by_name.py -k idle_clockwork"),
    "clockwork reads faster blocks": ("cells/clockwork.py", "return period[:, None] <= period[None, :]", "return period[:, None] >= period[None, :]", "test_by_name.py -k clockwork_reads"),
    "clockwork starts late": ("cells/clockwork.py", "due = state.t %", "due = (state.t + 1) %", EQUATION.format("clockwork")),
    "clockwork trains absent weights": ("cells/clockwork.py", "return StateMatrix(jnp.where(allowed, self.weight_hh, 0.0))", "return StateMatrix(self.weight_hh)", "test_by_name.py -k clockwork_reads"),
    "lipschitz damping as a shift": ("cells/lipschitz.py", "(M - M.T) - gamma * eye", "(M - M.T) - gamma", "test_by_name.py -k lipschitz_reads"),
    "lipschitz reads its input late": ("cells/lipschitz.py", "drive = plus(self.weight_ih @ x, self.bias)", "drive = plus(0 * (self.weight_ih @ x), self.bias)", "test_by_name.py -k lipschitz_reads"),
    "lipschitz symmetric part the wrong way": ("cells/lipschitz.py", "(1 - beta) * (M + M.T) + beta * (M - M.T)", "beta * (M + M.T) + (1 - beta) * (M - M.T)", EQUATION.format("lipschitz")),
    "midpoint at the full step": ("cells/lipschitz.py", "state + 0.5 * step * f(state)", "state + step * f(state)", "test_by_name.py -k midpoint"),
    "unitary reflection with the norm": ("cells/unitary.py", "unit = v / jnp.sqrt(jnp.sum(v**2, axis=(0, 2), keepdims=True))", "unit = v / jnp.sqrt(jnp.sqrt(jnp.sum(v**2, axis=(0, 2), keepdims=True)))", "test_by_name.py -k unitary_matrix"),
    "unitary reflection unconjugated": ("cells/unitary.py", "unit * jnp.vdot(unit, h)", "unit * jnp.dot(unit, h)", "test_by_name.py -k unitary_matrix"),
    "unitary fourier unnormalised": ("cells/unitary.py", "jnp.fft.fft(d_1 * h, norm=\"ortho\")", "jnp.fft.fft(d_1 * h)", "test_by_name.py -k unitary_matrix"),
    "unitary identity permutation": ("cells/unitary.py", "norm=\"ortho\"))[self.permutation]", "norm=\"ortho\"))", EQUATION.format("unitary")),
    "modrelu without relu": ("cells/unitary.py", "gain = jax.nn.relu(modulus + bias) / modulus", "gain = (modulus + bias) / modulus", "test_by_name.py -k modrelu"),
    "modrelu of a bare modulus": ("cells/unitary.py", "z.imag**2 + tiny**2)", "z.imag**2)", "test_sources.py -k any_silence"),
    "modrelu steep at zero": ("cells/unitary.py", "    gain = jnp.where(z == 0, 0, gain)\n", "", "test_sources.py -k any_silence"),
    "exprnn cayley transposed": ("cells/unitary.py", "jnp.linalg.solve(eye + A, eye - A)", "jnp.linalg.solve(eye - A, eye + A)", EQUATION.format("exprnn-cayley")),
    "exprnn cayley in halves": ("cells/unitary.py", "jnp.linalg.solve(eye + A, eye - A)", "jnp.linalg.solve(eye + A / 2, eye - A / 2)", "test_sources.py -k scornn_is_that"),
    "exprnn cayley without D": ("cells/unitary.py", "eye - A) * signs", "eye - A)", "test_sources.py -k scornn_turns"),
    "exprnn cayley turns rows": ("cells/unitary.py", "signs.astype(A.dtype)[None]", "signs.astype(A.dtype)[:, None]", EQUATION.format("exprnn-cayley")),
    "lipschitz forgets its spread": ("cells/lipschitz.py", "std=given.init_std / given.hidden_size", "std=1 / given.hidden_size", "test_sources.py -k are_offered"),
    "oscillators of the wrong radius": ("reservoir/factories.py", "return (eye + (flow - eye) / square).astype(dtype)", "return flow.astype(dtype)", "test_sources.py -k radius_of_a_random"),
    "cornn without dt on the damping": ("cells/oscillatory.py", "z = z + delta * (force - self.epsilon * z)", "z = z + delta * force - self.epsilon * z", "test_by_name.py -k time_stands"),
    "cornn moves by the old velocity": ("cells/oscillatory.py", "            z = (z + delta * force) / (1 + self.epsilon * delta)\n        h = h + delta * z", "            z = (z + delta * force) / (1 + self.epsilon * delta)\n        h = h + delta * state.z", EQUATION.format("cornn")),
    "imex as explicit": ("cells/oscillatory.py", "z = (z + delta * force) / (1 + self.epsilon * delta)", "z = z + delta * (force - self.epsilon * z)", EQUATION.format("cornn-imex")),
    "damping drawn from the range of the stiffness": ("cells/oscillatory.py", "_fixed_in(\"epsilon\")", "_fixed_in(\"gamma\")", "test_by_name.py -k heterogeneous"),
    "hcornn trains its stiffness": ("cells/oscillatory.py", "return Fixed(uniform(key, (given.hidden_size,), given.dtype, low=low, high=high))", "return uniform(key, (given.hidden_size,), given.dtype, low=low, high=high)", EQUATION.format("hcornn")),
    "lem reads the old z": ("cells/oscillatory.py", "target = jnp.tanh(c.W_hz @ z + from_x", "target = jnp.tanh(c.W_hz @ state.z + from_x", EQUATION.format("lem")),
    "lem time scales swapped": ("cells/oscillatory.py", "one, two, pre_z = jnp.split(pre, 3)", "two, one, pre_z = jnp.split(pre, 3)", EQUATION.format("lem")),
    "unicornn spring with the wrong sign": ("cells/oscillatory.py", "jnp.tanh(plus(u, self.bias)) + self.alpha * h", "jnp.tanh(plus(u, self.bias)) - self.alpha * h", EQUATION.format("unicornn")),
    "residual forgets the input": ("wrappers/outputs.py", "return x + y", "return y", "test_wrappers.py -k residual_adds"),
    "variational masks drawn at every step": ("wrappers/variational.py", "return jnp.where(state.drawn, before,", "return jnp.where(False, before,", "test_wrappers.py -k draws_once"),
    "variational dropout not rescaled": ("base.py", "jnp.where(self.keep, h / self.share, jnp.zeros_like(h))", "jnp.where(self.keep, h, jnp.zeros_like(h))", "test_wrappers.py -k 'columns_of and elman'"),
    "cfc without its tanh": ("cells/liquid.py", "h = first + s * jnp.tanh(f_2)", "h = first + s * f_2", EQUATION.format("cfc")),
    "cfc time with the other sign": ("cells/liquid.py", "s = jax.nn.sigmoid(a * time + b)", "s = jax.nn.sigmoid(-a * time + b)", EQUATION.format("cfc")),
    "cfc time constant is dead at its start": ("cells/liquid.py", "-time * (jnp.abs(w_tau)", "-time * (jnp.sign(w_tau) * w_tau", "test_liquid.py -k time_constant"),
    "cfc drops nothing behind the first layer": ("cells/liquid.py", "u = u if self.dropout is None else", "u = u if self.dropout is None or layer is self.backbone[0] else", "test_liquid.py -k backbone_dropout"),
    "wired cfc without masks": ("cells/wired.py", "weight=jnp.where(mask, weight, 0.0)", "weight=weight", EQUATION.format("wired_cfc")),
    "wired cfc masks its time gates": ("cells/wired.py", "dense = [np.ones_like(present)] * (blocks - 2)", "dense = [present] * (blocks - 2)", EQUATION.format("wired_cfc")),
    "wired cfc reads a diagonal": ("cells/wired.py", "inside = wiring.adjacency[np.ix_(own, own)]", "inside = np.diag(wiring.adjacency[own, own])", EQUATION.format("wired_cfc")),
    "mixed memory keeps the old state": ("wrappers/mixed_memory.py", "start, seen = (h, x) if", "start, seen = (state.h, x) if", "test_liquid.py -k rewrites"),
    "strides lose time": ("wrappers/strided.py", "passed = state.elapsed + (1.0 if dt is None else dt)", "passed = 0 * state.elapsed + (1.0 if dt is None else dt)", "test_liquid.py -k 'third_step or longer'"),
    "a longer wait makes a shorter step": ("wrappers/strided.py", "self.time_scale * passed", "self.time_scale / passed", "test_liquid.py -k longer"),
    "strides act on their last step": ("wrappers/strided.py", "select(state.k == 0,", "select(state.k == self.stride - 1,", "test_liquid.py -k third_step"),
    "ncps forget bias lost": ("interop/ncps.py", 'fields["bias"][1] = fields["bias"][1] + 1.0', 'fields["bias"][1] = fields["bias"][1]', "test_ncps_parity.py -k 'equals_ncps and mixed'"),
    "torch biases not added": ("interop/_from_gates.py", "return bias_ih + bias_hh", "return bias_ih", "test_interop.py -k 'torch_layers and lstm'"),
    "gru's bias of the candidate outside the reset": ("interop/_from_gates.py", "np.concatenate([r_z, np.zeros_like(n)])", "bias_hh", "test_interop.py -k 'torch_layers and gru'"),
    "torch directions swapped": ("interop/torch_layers.py", "Bidirectional(*cells) if len(cells) == 2", "Bidirectional(*cells[::-1]) if len(cells) == 2", "test_interop.py -k 'torch_layers and gru'"),
    "to_torch doubles the bias": ("interop/torch_layers.py", 'arrays["bias_hh"] = np.zeros(rows, dtype)', 'arrays["bias_hh"] = np.array(arrays["bias_ih"])', "test_interop.py -k to_torch_and_back"),
    "keras gates in their own order": ("interop/keras_layers.py", "np.concatenate([r, z, n], axis=-1)", "np.concatenate([z, r, n], axis=-1)", "test_interop.py -k 'keras_layers and gru'"),
    "flax bias of the candidate lost": ("interop/flax_layers.py", "return gru(from_x, from_h, bias, bias_h)\n    if names == ", "return gru(from_x, from_h, bias)\n    if names == ", "test_interop.py -k 'flax_layers and gru'"),
    "ltc polarity ignored": ("cells/ltc.py", "weight, weight * polarity, slope,", "weight, weight, slope,", EQUATION.format("ltc")),
    "ltc reads by target": ("cells/ltc.py", "np.flatnonzero(targets == neuron)", "np.flatnonzero(sources == neuron)[: np.sum(targets == neuron)]", "test_ltc.py -k neurons_read"),
    "ltc time left out of the unfolds": ("cells/ltc.py", "tau = jnp.asarray(dt, state.dtype) / (self.ode_unfolds * c.c_m)", "tau = jnp.asarray(dt, state.dtype) / c.c_m", EQUATION.format("ltc")),
    "ltc clips away its gradient": ("cells/ltc.py", "return held(raw, least, math.inf)", "return jnp.maximum(raw, least)", "test_ltc.py -k comes_back"),
    "ltc raw ranges under softplus": ("cells/ltc.py", "inverse = constraint == \"implicit\" and initialisation != \"ncps\"", "inverse = False", "test_ltc.py -k published"),
    "ltc sensory polarity dropped": ("cells/ltc.py", "conductance_x = drive_x + leak,", "conductance_x = conductance_x + leak,", EQUATION.format("ltc")),
    "ncp unmasked": ("cells/wired_elman.py", "jnp.where(mask, weight, 0.0)", "weight", "test_ltc.py -k ncp_keeps"),
    "s5 transposed for adjoint": ("cells/s5.py", "return jnp.stack([V.real.T @ B, -V.imag.T @ B])", "return jnp.stack([V.real.T @ B, V.imag.T @ B])", "test_ssm.py -k input_matrix"),
    "s5 eigenvalues left unclipped": ("cells/s5.py", "if self.clip_eigs:", "if False:", "test_ssm.py -k clipped"),
    "s5 clip kills the gradient": ("cells/s5.py", "real = held(real, -math.inf, LARGEST_REAL_PART)", "real = jnp.minimum(real, LARGEST_REAL_PART)", "test_ssm.py -k clipped"),
    "s5 eigenvalues drift beyond their clip": ("cells/s5.py", "real = held(real, -math.inf, LARGEST_REAL_PART)", "real = lax.stop_gradient(jnp.minimum(real, LARGEST_REAL_PART)) + (real - lax.stop_gradient(real))", "test_ssm.py -k clipped"),
    "s5 draws C as wide as its other name": ("cells/s5.py", 'fan = states if name', 'fan = states if True or name', "test_ssm.py -k three_ways"),
    "s4d legs without their input": ("cells/s4d.py", 'np.abs(legs_input(given.state_size)) if legs else 1.0', '1.0', "test_ssm.py -k s4d_eigenvalues"),
    "s5 forgets the conjugate": ("cells/s5.py", "joint_readout(self.C, self.D, 2.0 if self.conj_sym else 1.0)", "joint_readout(self.C, self.D)", EQUATION.format("s5")),
    "s5 keeps the other half": ("cells/s5.py", "np.tile(eigenvalues[:kept], blocks)", "np.tile(eigenvalues[::-1][:kept], blocks)", "test_ssm.py -k half_the_pairs"),
    "steps uniform and not log-uniform": ("init.py", "return uniform(key, shape, dtype, low=math.log(low), high=math.log(high))", "return jnp.log(uniform(key, shape, dtype, low=low, high=high))", "test_ssm.py -k log_uniform"),
    "dt dropped from the input": ("cells/discretise.py", "return jnp.exp(z), step * exprel(z)", "return jnp.exp(z), exprel(z)", EQUATION.format("s5")),
    "s4d modes read without their conjugates": ("cells/s4d.py", "return 2 * from_h + self.D", "return from_h + self.D", EQUATION.format("s4d")),
    "series for every modulus": ("cells/discretise.py", "return jnp.where(small, series, jnp.expm1(far) / far)", "return jnp.expm1(z) / z", "test_gradients.py -m '' -k 'finite_at_zero and s5'"),
    "tustin at half the step": ("cells/discretise.py", "return (1 + half) / (1 - half), step / (1 - half)", "return (1 + half) / (1 - half), 0.5 * step / (1 - half)", EQUATION.format("s5-bilinear")),
    "rglru root of the wrong sign": ("cells/rglru.py", '1 + less, -less * (2 + less)', '1 + less, less * (2 + less)', EQUATION.format("rglru")),
    "rglru unbounded slope": ("cells/rglru.py", "jnp.maximum(x, 0.25 / _STEEPEST**2)", "x", "test_ssm.py -k bounded_slope"),
    "rglru gates swapped": ("cells/rglru.py", "r, i = self._gates(u)", "i, r = self._gates(u)", EQUATION.format("rglru")),
    "linoss im and imex swapped": ("cells/linoss.py", 'if self.scheme == "im":\n            return', 'if self.scheme != "im":\n            return', EQUATION.format("linoss")),
    "linoss damping explicit": ("cells/oscillate.py", "1 / root, step / (1 + step * damping)", "1 / root, step * (1 - step * damping)", EQUATION.format("linoss-damped")),
    "linoss turns without time": ("cells/oscillate.py", "jnp.exp(real), dt * sinc,", "jnp.exp(real), sinc,", "test_ssm.py -k 'compose and linoss'"),
    "linoss force without its second part": ("cells/oscillate.py", "dt * (a * to_y + dt * b * to_y_late)", "dt * a * to_y", EQUATION.format("linoss")),
    "linoss angles up to pi": ("cells/oscillate.py", "WIDEST = math.pi * 63 / 64", "WIDEST = math.pi", "test_linoss.py -k widest"),
    "powers by squares of squares": ("_engine/recurrence.py", "        a = jnp.exp(logarithm)\n", "        a = later.kind(later.a).compose(earlier.kind(earlier.a)).a\n", "test_ssm.py -k near_the_unit"),
    "mamba takes time whatever its eigenvalues": ("cells/mamba.py", "return not self.negative_eigenvalues", "return True", "test_gaps.py -k take_no_time"),
    "rglru leaves the root out for ever": ("cells/rglru.py", "jnp.stack([none, none])", "jnp.stack([none, jnp.ones_like(none)])", "test_ssm.py -k leave_the_root"),
    "rglru keeps the root at the start": ("cells/rglru.py", "(1 - root) * written", "0 * written", "test_ssm.py -k leave_the_root"),
    "rglru decays as in its code": ("cells/rglru.py", "else (1, SHARPNESS)", "else (2, 2)", "test_ssm.py -k rglru_starts"),
    "mamba writes whatever it reads": ("cells/mamba.py", "scaled(gain * B[:, None], u[None])", "scaled(gain * jnp.ones_like(B)[:, None], u[None])", EQUATION.format("mamba")),
    "rglru turns without its gate": ("cells/rglru.py", "a, squared = jnp.exp(log_a), -jnp", "a, squared = jnp.exp(log_a.real) * jnp.exp(1j * c.imag) if self.theta is not None else jnp.exp(log_a), -jnp", "test_equations.py -k 'rglru-complex'"),
    "complex mamba reads half": ("cells/mamba.py", "2 * read.real", "read.real", "test_equations.py -k 'mamba-complex'"),
    "mamba without time": ("cells/mamba.py", "step = jnp.asarray(dt) * jax.nn.softplus", "step = jax.nn.softplus", "test_equations.py -k 'dt_ and mamba'"),
    "convolution from the oldest": ("cells/short_conv.py", "zip(self.weight, inputs, strict=True)", "zip(self.weight[::-1], inputs, strict=True)", "test_ssm.py -k short_convolution"),
    "convolution that forgets an input too early": ("cells/by_window.py", "jnp.concatenate([state, x[None]])[1:]", "jnp.concatenate([state, x[None]])[:-1]", "test_windows.py -k 'one_pass and short_conv and plain'"),
    "mamba block without its gate": ("layers/gated_block.py", "self.project_out(self.gated(v, g))", "self.project_out(v)", "test_ssm.py -k mamba_block"),
    "mamba's rank of its inner width": ("layers/mamba_block.py", "rank = -(-size // 16)", "rank = -(-expand * size // 16)", "test_blocks.py -k mamba_has"),
    "mamba's last projection as large in every depth": ("layers/published.py", "made.project_out.weight / math.sqrt(num_layers)", "made.project_out.weight / 1", "test_blocks.py -k adds_them"),
    "mamba by name is the cell alone": ("models/sequence.py", "(published(info.name, info.block) if info.block else plainly)(", "plainly(", "test_blocks.py -k model_named_mamba"),
    "mamba's convolution from the oldest": ("interop/blocks.py", "weight=kernel[:, 0, ::-1].T", "weight=kernel[:, 0].T", "test_blocks.py -k 'published and mamba'"),
    "griffin's gates swapped": ("interop/arrays.py", 'given.take(f"{part}{name}.w", None, None, None) for name in ("a_gate", "input_gate")', 'given.take(f"{part}{name}.w", None, None, None) for name in ("input_gate", "a_gate")', "test_blocks.py -k 'published and griffin'"),
    "griffin's scales as they stand": ("interop/blocks.py", "weight=1 + scale", "weight=scale", "test_blocks.py -k 'published and griffin'"),
    "griffin's angles by the sharpness": ("interop/arrays.py", 'given.take(part + "a_imag_param") / 8', 'given.take(part + "a_imag_param")', "test_blocks.py -k 'published and griffin and complex'"),
    "s5's second direction without its own readout": ("interop/arrays.py", "cell(two, jnp.zeros_like(D))", "cell(one, jnp.zeros_like(D))", "test_blocks.py -k 'published and s5'"),
    "D in both directions": ("interop/arrays.py", "cell(two, jnp.zeros_like(D))", "cell(two, D)", "test_blocks.py -k 'published and s5'"),
    "flax's layer norm with the other eps": ("interop/blocks.py", "eps=1e-5 if norm == \"batch\" else 1e-6", "eps=1e-5", "test_blocks.py -k 'published and lru'"),
    "arrays left over pass": ("interop/_named.py", "if self._left:\n            raise ValueError(\n                f\"the arrays", "if False:\n            raise ValueError(\n                f\"the arrays", "test_blocks.py -k every_array"),
    "the statistics of a batch norm train": ("layers/norms.py", "Fixed(jnp.zeros(size, dtype)), Fixed(jnp.ones(size, dtype))", "tuple(type('Open', (eqx.Module,), {'__annotations__': {'value': Array}})(v) for v in (jnp.zeros(size, dtype), jnp.ones(size, dtype)))", "test_blocks.py -k batch_norm"),
    "a sum of directions has both sizes": ("layers/recurrent.py", 'return size if self.merge == "sum" else', 'return size if False else', "test_blocks.py -k sum_of"),
    "a sum of directions is one of them": ("layers/recurrent.py", "both = outputs[0] + outputs[1]", "both = outputs[0]", "test_blocks.py -k sum_of"),
    "both dropouts from one key": ("layers/block.py", "kept[1], gs, steps, keys[2])", "kept[1], gs, steps, keys[1])", "test_blocks.py -k 'before_the_last or drops_twice'"),
    "exact gelu by tanh": ("layers/block.py", "return jax.nn.gelu(x, approximate=False)", "return jax.nn.gelu(x)", "test_blocks.py -k exact"),
    "subclasses are read as their base": ("interop/_plain_objects.py", "    if replaced:\n", "    if False:\n", "test_interop.py -k 'code_of and not real'"),
    "hooks are not looked for": ("interop/torch_layers.py", 'check_hooks(module, ("torch",))', "None", "test_interop.py -k no_code_of_their_own"),
    "explicit constraints are not looked at": ("interop/ncps.py", "        _check_ranges(arrays, adjacency, sensory)\n", "        pass\n", "test_ncps_parity.py -k outside_its"),
    "two cells look like two directions": ("interop/keras_layers.py", "if stacked is None and one[0].ndim", "if False and one[0].ndim", "test_interop.py -k two_directions"),
    "to_torch puts a sum side by side": ("interop/torch_layers.py", 'part.merge != "concat"', "False", "test_interop.py -k 'bad_to_torch and sum'"),
    "every step draws the same": ("train/step.py", "_augmented(rule, batch, jr.fold_in(key, progress.step))\n\n    def of_part", "_augmented(rule, batch, key)\n\n    def of_part", "test_train.py -k draws_anew"),
    "esn keeps the radius of the draw": ("cells/echo_state.py", "return matrix / radius, eigenvalues / radius.astype(eigenvalues.dtype)", "return matrix, eigenvalues", "test_reservoir.py -k matrix_has"),
    "esn leaky radius of the matrix": ("cells/echo_state.py", 'if self.radius_of == "leaky":', "if False:", "test_reservoir.py -k leaky_form"),
    "esn trains its recurrence": ("cells/echo_state.py", "self.weight_hh = Fixed(matrix.astype(dtype))", "self.weight_hh = type('Open', (eqx.Module,), {'__annotations__': {'value': Array}})(matrix.astype(dtype))", "test_reservoir.py -k nothing_in"),
    "esn scales everything but its input": ("cells/echo_state.py", "z = self.input_scaling.value * (self.weight_ih.value @ x)", "z = self.weight_ih.value @ x", EQUATION.format("esn")),
    "the bias is penalised": ("reservoir/ridge.py", "squares = self.squares - count * jnp.outer(centre, centre)", "squares = self.squares", "test_readout.py -k ridge_equals"),
    "normal equations in float32": ("reservoir/ridge.py", "r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32))))", "r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32)))); r = r.astype(jnp.float32)", "test_readout.py -k ridge_equals"),
    "forgetting forgets nothing": ("reservoir/online.py", "scale = jnp.asarray(1 / math.sqrt(self.forgetting), S.dtype)", "scale = jnp.asarray(1.0, S.dtype)", "test_readout.py -k forgetting"),
    "forgetting without a bound": ("reservoir/online.py", "if self.forgetting < 1:", "if False:", "test_missing.py -k constant_input"),
    "nothing is forgotten at the bound": ("reservoir/online.py", "directed = jnp.where(along, (1 - 1 / jnp.sqrt(total)) / known, 0.0)", "directed = share", "test_missing.py -k constant_input"),
    "missing targets are zeros": ("train/losses.py", "seen = ~jnp.isnan(targets)\n", "seen = jnp.ones(targets.shape, bool); targets = jnp.nan_to_num(targets)\n", "test_missing.py -k mean_over_the_targets"),
    "batches weigh by their steps": ("train/losses.py", "return jnp.sum(seen if mask is None else seen & _align(mask, seen)) / entries", "return len(batch)", "test_missing.py -k mean_over_the_targets"),
    "one set of samples for all targets": ("reservoir/_samples.py", "return targets, bool(some.any())", "return targets, False", "test_missing.py -k leaves_its_step_out"),
    "equations in float32 are solved": ("reservoir/ridge.py", "if leaf.dtype != np.float64:", "if False:", "test_missing.py -k refused"),
    "an output not observed is taught": ("reservoir/online.py", "return jax.tree.map(lambda new, old: jnp.where(seen, new, old), after, readout)", "return after", "test_missing.py -k learns_each_output"),
    "padding of a list is learned": ("reservoir/readouts.py", 'padded("mask", valid, False), reset', "None, reset", "test_missing.py -k as_a_list"),
    "integers are cut": ("_common/numbers.py", "    if wrong.any():\n        at = place(wrong)\n", "    if False:\n        at = place(wrong)\n", "test_numbers.py -k 'named and unroll'"),
    "time stamps are cut first": ("_common/times.py", "    times = _wide(times)\n    mask =", "    times = times.astype(np.float32) if _is_float(times) else times\n    mask =", "test_numbers.py -k 'come_before and array'"),
    "time stamps with a traced mask in one part": ("_common/times.py", "    for _ in range(3):", "    for _ in range(0):", "test_numbers.py -k 'come_before and traced'"),
    "unsigned times wrap": ("_common/times.py", "_refuse(counts & (valid < earlier), times", "_refuse(counts & (valid - earlier < 0), times", "test_numbers.py -k unsigned"),
    "a scale that multiplies": ("_common/times.py", "dt = jnp.asarray(np.where(counts, passed / scale, 1.0).astype(dtype))", "dt = jnp.asarray(np.where(counts, passed * scale, 1.0).astype(dtype))", "test_numbers.py -k nominal_step"),
    "time runs backwards": ("_common/checks.py", "wrong = known < 0 if flags is None", "wrong = known < -9 if flags is None", "test_inputs.py -k backwards"),
    "smoothing without the label": ("train/losses.py", "losses = (1 - label_smoothing) * losses +", "losses = losses +", "test_train.py -k losses_are_those_of_optax"),
    "float32 tells neighbours apart": ("_common/times.py", "_refuse(counts & (passed <= spacing) & (spacing > COARSE * scale), times, _apart(given))", "pass", "test_numbers.py -k say_nothing"),
    "activations by identity": ("_common/activations.py", "return self.function == other.function and self.given == other.given", "return self is other", "test_travel.py -k 'elman or known_by_name'"),
    "functions are copied": ("_common/activations.py", "return function if name is None and compared else Function(function, name)", "return function", "test_travel.py -k 'compiled'"),
    "zoneout by identity": ("_common/origins.py", "program = called(equation)", "program = None", "test_wrappers.py -k divided"),
    "dropout takes any matrix": ("wrappers/variational.py", "return isinstance(node, StateMatrix)", "return isinstance(node, StateMatrix) or getattr(node, 'ndim', 0) == 2", "test_wrappers.py -k needs_a_recurrent"),
    "the washout ends once": ("reservoir/readouts.py", "jnp.where(reset, count - valid.astype(count.dtype), 0)", "jnp.where(reset, 0, 0)", "test_echo_state.py -k washout_again"),
    "one step more of washout": ("reservoir/readouts.py", "count - started > washout", "count - started >= washout", "test_echo_state.py -k settled_states"),
    "FORCE is told the truth": ("reservoir/readouts.py", "taught, y)\n", "taught, target.astype(dtype))\n", "test_echo_state.py -k force"),
    "the forecast begins a step late": ("models/autoregressive.py", "return jnp.concatenate([y[None], ys])", "return self.generate(state, y, steps, inputs=inputs, dt=future_dt, key=ahead)[1]", "test_echo_state.py -k reads_its_own"),
    "the model space pairs across padding": ("reservoir/model_space.py", "mask[:-1] & mask[1:]", "mask[:-1]", "test_echo_state.py -k model_space_holds"),
    "a cascade in parallel": ("layers/branches.py", "return before[-1] if before else xs", "return before[0] if before else xs", "test_branches.py"),
    "a run that must go on starts": ("train/keeping.py", "if found is run and checkpoints.resume == \"must\":", "if False:", "test_train.py -k must_go_on"),
    "another optimizer goes on": ("train/checkpoint.py", "    if saved != kinds:", "    if False:", "test_train.py -k of_another_optimizer"),
    "a process cuts its own rows": ("data/batches.py", "_longest(batch.mask if own is None else _rows(host.mask, positions))", "_longest(batch.mask)", "test_data.py -k rows_of_one_process"),
    "grid axes in another order": ("train/grid.py", "[list(values).index(n) for n in order]", "range(len(order))", "test_grid.py"),
    "state spaces decay": ("train/groups.py", "own = {name: _all(getattr(node, name), \"ssm\") for name in node.ssm_parameters}", "own = {}", "test_ssm.py -k 'labels or by_group'"),
    "one mask for all documents": ("layers/block.py", "dropout, zs, kept, mask=steps.mask, reset=steps.reset, key", "dropout, zs, kept, mask=steps.mask, key", "test_layers.py -k broadcast"),
    "a mask for each step": ("layers/sequence_dropout.py", "keep = jnp.where(state.drawn, state.keep, drawn)", "keep = drawn", "test_layers.py -k broadcast"),
    "modules hear against the wiring": ("graphs/messages.py", "return self.weight.value.T @ said", "return self.weight.value @ said", "test_modular.py -k 'modular_steps_equal and alike and dense'"),
    "sparse messages to their senders": ("graphs/messages.py", "_along_edges(self.weight.value, self.senders, self.receivers, said)", "_along_edges(self.weight.value, self.receivers, self.senders, said)", "test_modular.py -k message_kinds"),
    "learned messages along every pair": ("graphs/messages.py", "np.nonzero(wiring)", "np.nonzero(np.ones_like(wiring))", "test_modular.py -k 'makes_no_edge and learned'"),
    "modules go on saying the same": ("graphs/modular.py", "        return ModularState(states, said), ys\n", "        return ModularState(states, jnp.zeros_like(said)), ys\n", "test_modular.py -k 'modular_steps_equal and alike and dense'"),
    "every module reads": ("graphs/modular.py", "jnp.where(self.reads[:, None], x, jnp.zeros_like(x))", "jnp.broadcast_to(x, (self.messages.size, *x.shape))", "test_modular.py -k 'read_as_asked'"),
    "modules draw alike": ("graphs/modular.py", "jr.split(key, self.messages.size)", "jnp.stack([key] * self.messages.size)", "test_modular.py -k modular_draws"),
    "unlike cells are stacked": ("graphs/modular.py", "if any(form != first for form in others):", "if any(form[0] != first[0] for form in others):", "test_modular.py -k only_equal_cells"),
    "edge messages without tanh": ("graphs/messages.py", "e = jnp.tanh(sent + heard + jnp.atleast_2d(edge))", "e = sent + heard + jnp.atleast_2d(edge)", "test_modular.py -k message_passing_steps"),
    "both ends of an edge speak as the receiver": ("graphs/messages.py", "(y @ self.weight_sender.T)[self.senders]", "(y @ self.weight_sender.T)[self.receivers]", "test_modular.py -k message_passing_steps"),
    "edge messages go back to the sender": ("graphs/messages.py", "jax.ops.segment_sum(e, self.receivers, self.num_nodes)", "jax.ops.segment_sum(e, self.senders, self.num_nodes)", "test_modular.py -k along_their_edge"),
    "edge features of another edge": ("graphs/messages.py", "term = self.edge_features.value @", "term = self.edge_features.value[::-1] @", "test_modular.py -k message_passing_steps"),
    "nodes draw alike": ("graphs/messages.py", "jr.split(key, self.num_nodes)", "jnp.stack([key] * self.num_nodes)", "test_modular.py -k takes_time_and_keys"),
    "cornn half the friction": ("cells/oscillatory.py", "z = z + delta * (force - self.epsilon * z)", "z = z + delta * (force - 0.5 * self.epsilon * z)", FULL.format("cornn and not hcornn")),
    "cfc time gate without its offset": ("cells/liquid.py", "s = jax.nn.sigmoid(a * time + b)\n", "s = jax.nn.sigmoid(a * time)\n", FULL.format("cfc and not wired")),
    "lipschitz midpoint from a whole step": ("cells/lipschitz.py", "state + 0.5 * step * f(state)", "state + step * f(state)", FULL.format("lipschitz")),
    "lru gain not exponential": ("cells/lru.py", "B = jnp.exp(self.gamma_log)[None, :, None] * self.B", "B = self.gamma_log[None, :, None] * self.B", FULL.format("lru and not rglru")),
    "esn leaky form without its shift": ("cells/echo_state.py", "shift = (1 - leak) * (gain - 1) / leak", "shift = 0 * gain", FULL.format("esn")),
    "a text with a wrong gate": ("cells/projected.py", "        h' = V (o * tanh(c'))\n        y", "        h' = V (i * tanh(c'))\n        y", FULL.format("lstmp")),
    "a text that forgets dt": ("cells/oscillatory.py", "d = dt delta sig(c)", "d = delta sig(c)", FULL.format("unicornn")),
    "a step's time is not read": ("_common/formulas.py", 'FLAGS = {"timed": "dt", "stochastic": "key"}', 'FLAGS = {"timed": "time", "stochastic": "key"}', "test_contract.py -k read_off"),
    "constants at every step": ("_evaluators/sequential.py", "cell.advance(c, state, x, *dt, key=at.key)", "cell.advance(cell.constants(), state, x, *dt, key=at.key)", "test_contract.py -k computed_once"),
    "streams compute constants anew": ("wrappers/held.py", "        return self.c\n", "        return self.cell.constants()\n", "test_contract.py -k computed_once"),
    "declared keys in another order": ("declared.py", "free = iter(range(len(keyed)))", "free = iter(reversed(range(len(keyed))))", "test_contract.py -k takes_what_the_class_says"),
    "declared options unchecked": ("declared.py", "value = value if one.check is None else one.check(name, value, given)", "value = value if one.asked else one.check(name, value, given)", "test_contract.py -k bad_arguments"),
    "a name for two cells": ("registry.py", "if before is not None and _place(before.cls) != _place(make):", "if False:", "test_contract.py -k registered"),
}  # fmt: skip
MUTANTS |= GATED_MATRIX
MUTANTS |= ATTENTION
MUTANTS |= CHUNKS
MUTANTS |= RATES
MUTANTS |= SIDE_BY_SIDE
MUTANTS |= DELTA
MUTANTS |= DEVICE
MUTANTS |= GATES
MUTANTS |= ABREAST | LINEAR
MUTANTS |= BLOCKS
MUTANTS |= TIMED
MUTANTS |= INTEROP
MUTANTS |= LAB
MUTANTS |= AGENTS


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
