"""Chunks side by side give what the loop gives, on whatever level, and say what it took."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, DEFAULTS, assert_close, draw, float64, ids, subject

import rnn_zoo as rz
from rnn_zoo.base import AbstractCell
from rnn_zoo.linear import Diagonal
from rnn_zoo.scan import Chunks, chunk_report, unroll
from rnn_zoo.testing import evaluating
from rnn_zoo.testing.evaluating import inputs_with_gaps, outcome


SIZE, TIME = 5, 22  # three chunks of five steps and seven more steps, which fill none
# One of each kind of state; every cell, some wrapped and adopted ones too, in the slow run.
SOME = {"elman", "lstm", "clockwork", "unitary", "cfc"}
OTHERS = {"adopted-eqx-lstm", "strided-gru", "zoneout-lstm", "residual-gru", "fast_slow"}
# The mLSTM has chunks of its own.
CELLS = [
    case
    for case in ALL
    if not case.linear and case.id != "mlstm" and (case in DEFAULTS or case.id in OTHERS)
]


@pytest.mark.parametrize(**ids(CELLS, only=SOME))
def test_chunks_equal_the_loop(case):
    reverse = case.id in ("elman", "clockwork", "cfc")
    evaluating.chunks_side_by_side_equal_the_loop(subject(case), reverse)


@pytest.mark.parametrize("time", [1, 2, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE])
def test_lengths(time):
    with float64() as dtype:
        cell = rz.make_cell("gru", 3, 4, key=jax.random.key(0), dtype=dtype)
        xs, state, keywords = inputs_with_gaps(cell, time)
        one = unroll(cell, xs, state, **keywords)
        assert_close(one, unroll(cell, xs, state, method=Chunks(SIZE), **keywords), 1e-12)


# --- networks whose memory is known ---------------------------------------------------------------


class Toggle(AbstractCell):
    """h' = tanh(g h x): an x of -1 turns the state over, one of 1 keeps it. It forgets nothing."""

    gain: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.full(1, 0.5, self.gain.dtype)

    def equation(self, c, state, x):
        h = jnp.tanh(self.gain * state * x)
        return h, h


class FlipFlop(AbstractCell):
    """h' = tanh(g (h + 3 x)): a pulse sets a unit, and nothing else does: 8 states to keep."""

    gain: jax.Array
    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=3)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.full(3, 0.9, self.gain.dtype)

    def equation(self, c, state, x):
        h = jnp.tanh(self.gain * (state + 3 * x))
        return h, h


class Turning(AbstractCell):
    """A turn that the input pushes, and a slight bend: nothing ever merges."""

    angle: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=2)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.ones(2, self.angle.dtype)

    def equation(self, c, state, x):
        turned = jnp.stack([-state[1], state[0]])
        h = jnp.cos(self.angle) * state + jnp.sin(self.angle) * turned
        h = h + 0.1 * x + 0.002 * jnp.sin(state)
        return h, h


class Chaotic(AbstractCell):
    """h' = 4 h (1 - h): what is off by a rounding is lost in 50 steps."""

    scale: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    state_jacobian: type | None = eqx.field(static=True, default=None)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.full(1, 0.3, self.scale.dtype)

    def equation(self, c, state, x):
        h = self.scale * state * (1 - state)
        return h, h


class Adding(AbstractCell):
    """h' = h + r tanh(x): forgets nothing, and moves little in a chunk."""

    rate: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros(1, self.rate.dtype)

    def equation(self, c, state, x):
        h = state + self.rate * jnp.tanh(x)
        return h, h


def signs(time, share, seed=0):
    return np.where(np.random.default_rng(seed).random((time, 1)) < share, -1.0, 1.0)


def pulses(time, share, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.choice([-1.0, 1.0], (time, 3)) * (rng.random((time, 3)) < share))


def compared(cell, xs, tolerance, **options):
    """The report, once values and gradients equal the loop's."""
    options = Chunks(**options)
    state = cell.init_state()
    one = outcome((cell, xs, state), "sequential", {})
    two = outcome((cell, xs, state), options, {})
    assert_close(one, two, tolerance)
    return chunk_report(cell, xs, method=options)


def test_a_network_that_forgets_takes_few_passes():
    with float64() as dtype:
        cell = rz.make_cell("gru", 3, 4, key=jax.random.key(0), dtype=dtype)
        report = compared(cell, draw(0, (40 * 64, 3)), 1e-9, size=64)
        assert (report.level, report.reruns, report.wrong, report.branches) == (0, 0, 0, 0)
        assert report.passes <= 4
        assert report.error < 1e-11
        assert report.steps_in_a_row == report.passes * 64


def test_a_state_tracker_runs_along_its_branches():
    """Two branches, and the way between them, which no chunk knows from itself."""
    with float64():
        report = compared(Toggle(jnp.array(3.0)), jnp.asarray(signs(40 * 32, 0.3)), 1e-9, size=32)
        assert (report.level, report.branches, report.reruns) == (1, 2, 0)
        assert report.passes <= 5, "the way from seed to seed takes no pass of its own"


def test_a_memory_of_eight_states_runs_along_its_branches():
    with float64():
        report = compared(FlipFlop(jnp.array(3.0)), pulses(64 * 32, 0.004), 1e-9, size=32)
        assert report.level in (1, 2)
        assert 2 <= report.branches <= 8
        assert report.reruns == 0
        assert report.passes <= 16


def test_more_branches_than_allowed_end_chunk_by_chunk():
    with float64():
        report = compared(
            FlipFlop(jnp.array(3.0)),
            pulses(64 * 32, 0.004),
            1e-9,
            size=32,
            branches=1,
            newton=False,
        )
        assert (report.level, report.branches) == (4, 2)
        assert 0 < report.reruns <= 64


def test_what_never_merges_is_solved_by_newton():
    with float64():
        xs = draw(1, (20 * 16, 1))
        report = compared(Turning(jnp.array(0.3)), xs, 1e-8, size=16, tol=1e-9)
        assert (report.level, report.reruns) == (3, 0)
        assert report.passes <= 12


def test_what_never_merges_ends_chunk_by_chunk_without_newton():
    with float64():
        xs = draw(1, (20 * 16, 1))
        report = compared(Turning(jnp.array(0.3)), xs, 1e-8, size=16, newton=False)
        assert report.level == 4
        assert report.passes + report.reruns <= 20 + 3


class Ledger(AbstractCell):
    """A bit that pulses set, and a sum of what it was, which never merges."""

    rate: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.full(1, 0.9, self.rate.dtype), jnp.zeros(1, self.rate.dtype)

    def equation(self, c, state, x):
        h, total = state
        h = jnp.tanh(3 * h + x)
        return (h, total + self.rate * h), h + total


def test_a_bit_beside_a_sum_is_found_before_newton_solves_the_rest():
    with float64():
        xs = (6 * pulses(64 * 16, 0.05)[:, :1]).at[400:].set(0).at[400].set(-6)
        cell = Ledger(jnp.array(0.02))
        report = chunk_report(cell, xs, method=Chunks(16))
        assert (report.level, report.reruns) == (3, 0)
        assert report.passes <= 8
        one, two = (unroll(cell, xs, method=method)[1] for method in ("sequential", Chunks(16)))
        assert_close(one, two, 1e-9)


@pytest.mark.parametrize("newton", [True, False])
def test_joints_that_fit_are_not_enough(newton):
    """Each is smaller than what counts as closed; together they are the whole way."""
    with float64():
        cell, xs = Adding(jnp.array(2e-3)), jnp.ones((64 * 16, 1))
        options = Chunks(16, tol=0.03, newton=newton)
        one, two = (unroll(cell, xs, method=method) for method in ("sequential", options))
        assert one[0] > 1
        assert_close(one, two, 1e-9)
        report = chunk_report(cell, xs, method=options)
        assert report.level == (3 if newton else 4)


@pytest.mark.parametrize("blocks", [None, Diagonal])
def test_chaos_is_the_loop(blocks):
    """The values; a gradient of chaos over so many steps is no number."""
    with float64():
        cell = Chaotic(jnp.array(4.0), state_jacobian=blocks)
        xs = jnp.zeros((20 * 16, 1))
        report = chunk_report(cell, xs, method=Chunks(16))
        assert report.level == 4
        assert report.passes + report.reruns <= 20 + (12 if blocks is None else 25)
        one, two = (unroll(cell, xs, method=method) for method in ("sequential", Chunks(16)))
        assert_close(one, two, 0)


class Beside(AbstractCell):
    """A memory that keeps signs, or adds up a little, beside a number of a million."""

    rate: jax.Array
    adds: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.full(1, 1e6, self.rate.dtype), jnp.zeros(1, self.rate.dtype)

    def equation(self, c, state, x):
        large, h = state
        h = h + self.rate * jnp.tanh(x) if self.adds else jnp.tanh(3 * h + x)
        return (0.9 * large + 1e5, h), h


@pytest.mark.parametrize("adds", [False, True])
def test_what_is_small_counts_beside_what_is_large(adds):
    xs = np.where(np.random.default_rng(0).random((512, 1)) < 0.02, 6 * signs(512, 0.5), 0.0)
    cell = Beside(jnp.array(2e-3, jnp.float32), adds)
    xs = jnp.ones((512, 1)) if adds else jnp.asarray(xs, jnp.float32)
    report = chunk_report(cell, xs, method=Chunks(16))
    assert report.level == (3 if adds else 1)
    one, two = (unroll(cell, xs, method=method)[1] for method in ("sequential", Chunks(16)))
    np.testing.assert_allclose(one, two, atol=1e-4)


class Aside(AbstractCell):
    """Forgets, but for one direction of many, in which it grows slowly."""

    way: jax.Array
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=64)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros_like(self.way)

    def equation(self, c, state, x):
        h = jnp.tanh(0.3 * state + (0.72 * (self.way @ state) + x[0]) * self.way)
        return h, h


def test_growth_in_one_direction_of_many_is_seen():
    with float64():
        way = np.random.default_rng(1).normal(size=64)
        cell, xs = Aside(jnp.asarray(way / np.linalg.norm(way))), jnp.full((1920, 1), 1e-14)
        one, two = (unroll(cell, xs, method=method)[1] for method in ("sequential", Chunks(16)))
        assert jnp.max(jnp.abs(one)) > 0.1
        assert_close(one, two, 1e-9)


def test_a_gradient_of_the_first_steps_of_chaos_is_finite():
    """What comes later does not matter to it, and products of its Jacobians are infinite."""
    with float64():
        cell, xs = Chaotic(jnp.array(4.0)), jnp.zeros((160 * 16, 1))

        def early(x, method):
            return jnp.sum(unroll(cell, x, jnp.full(1, 0.3) + x[0], method=method)[1][:20])

        one, two = (jax.grad(early)(xs, method) for method in ("sequential", Chunks(16)))
        assert_close(one, two, 1e-6)
        batch = jnp.stack([xs, xs + 0.01])
        one, two = (
            jax.vmap(jax.grad(lambda x, m=method: early(x, m)))(batch)
            for method in ("sequential", Chunks(16))
        )
        assert_close(one, two, 1e-6)


class Clock(AbstractCell):
    """Reads its inputs by a clock that runs up to 2 once, and then from 2 to 5 and round."""

    count: jax.Array | None = None
    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros(1), jnp.zeros((), jnp.int32) if self.count is None else self.count

    def equation(self, c, state, x):
        h, n = state
        h = jnp.tanh(0.5 * h + n * x)
        return (h, jnp.where(n == 5, 2, n + 1)), h


def test_a_clock_starts_where_it_is_told():
    cell, reset = Clock(), jnp.arange(40) == 33
    xs = draw(0, (40, 1))
    for count in (0, 1, 4, 7):
        state = jnp.ones(1), jnp.int32(count)
        run = lambda method, state=state: unroll(cell, xs, state, reset=reset, method=method)  # noqa: E731
        if count == 7:
            with pytest.raises(Exception, match="Clock was given a state whose integers"):
                jax.block_until_ready(run(Chunks(8)))
        else:
            assert_close(run("sequential"), run(Chunks(8)), 1e-5)


@pytest.mark.parametrize("time", [0, 1, 5])
def test_a_sequence_of_one_chunk_has_a_report(time):
    cell = rz.make_cell("gru", 3, 4, key=jax.random.key(0))
    report = chunk_report(cell, jnp.ones((time, 3)))
    assert (report.level, report.passes, report.reruns, report.error) == (0, 1, 0, 0)
    assert report.steps_in_a_row == time


def test_nan_ends_as_in_the_loop():
    with float64() as dtype:
        cell = rz.make_cell("gru", 3, 4, key=jax.random.key(0), dtype=dtype)
        xs, reset = draw(0, (8 * 16, 3)).at[50].set(jnp.nan), jnp.arange(8 * 16) == 90
        one, two = (
            unroll(cell, xs, reset=reset, method=method) for method in ("sequential", Chunks(16))
        )
        np.testing.assert_array_equal(np.isnan(one[1]), np.isnan(two[1]))
        np.testing.assert_allclose(one[1], two[1], atol=1e-11)


def test_a_batch_ends_together_and_each_sample_as_it_is():
    with float64():
        cell = Toggle(jnp.array(3.0))
        xs = jnp.stack([jnp.asarray(signs(16 * 16, share, 3)) for share in (0.0, 0.5, 0.01)])
        one, two = (
            eqx.filter_vmap(lambda x, m=method: unroll(cell, x, method=m))(xs)
            for method in ("sequential", Chunks(16))
        )
        assert_close(one, two, 1e-10)


@pytest.mark.parametrize("name", ["unicornn", pytest.param("indrnn", marks=pytest.mark.slow)])
def test_blocks_that_a_class_declares_are_solved_step_by_step(name):
    """Units that keep what they see: no chunk forgets, and no branches merge."""
    with float64() as dtype:
        options = {"recurrent_range": (1.0, 1.0), "activation": jnp.tanh}
        options = options if name == "indrnn" else {"delta": 0.2}
        cell = rz.make_cell(name, 2, 3, key=jax.random.key(0), dtype=dtype, **options)
        xs = 0.05 * draw(0, (40 * 16, 2))
        report = chunk_report(cell, xs, method=Chunks(16))
        assert (report.level, report.reruns, report.branches) == (3, 0, 0)
        assert report.passes <= 20
        one, two = (unroll(cell, xs, method=method)[1] for method in ("sequential", Chunks(16)))
        assert_close(one, two, 1e-10)


@pytest.mark.parametrize("name", [pytest.param("cfc", marks=pytest.mark.slow), "elman"])
def test_a_gradient_of_some_chunks_at_once(name):
    with float64() as dtype:
        cell = rz.make_cell(name, 3, 4, key=jax.random.key(0), dtype=dtype)
        xs, state, keywords = inputs_with_gaps(cell, 33)
        keywords |= {"dt": 0.7} if cell.timed else {}
        one = outcome((cell, xs, state), "sequential", keywords)
        two = outcome((cell, xs, state), Chunks(5, at_once=3), keywords)
        assert_close(one[0], two[0], 1e-11)
        assert_close(one[1], two[1], 1e-9)


@pytest.mark.slow
def test_the_memory_of_a_gradient(capsys):
    """A twentieth of the Jacobians of all steps, which Newton's method over steps keeps."""
    time, size = 65_536, 64
    cell = rz.make_cell("gru", 8, size, key=jax.random.key(0))
    params, rest = eqx.partition(cell, eqx.is_inexact_array)

    def loss(params, xs):
        return jnp.sum(unroll(eqx.combine(params, rest), xs, method=Chunks(at_once=16))[1] ** 2)

    xs = jax.ShapeDtypeStruct((time, 8), jnp.float32)
    used = jax.jit(jax.grad(loss)).lower(params, xs).compile().memory_analysis()
    with capsys.disabled():
        print(f" {used.temp_size_in_bytes / 1e6:.1f} MB of {4 * time * size**2 / 1e6:.0f}", end=" ")
    assert used.temp_size_in_bytes <= 4 * time * size**2 / 20


def test_the_cheaper_derivative_is_as_wrong_as_chunks_remember():
    with float64() as dtype:
        cell = rz.make_cell("elman", 3, 4, key=jax.random.key(0), dtype=dtype)
        xs, state = draw(0, (12 * 16, 3)), cell.init_state()
        exact = outcome((cell, xs, state), Chunks(16), {})[1]
        cheap = outcome((cell, xs, state), Chunks(16, gradient="two-pass"), {})[1]
        assert_close(exact, cheap, 1e-2)
        off = [abs(a - b).max() for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(cheap))]
        assert max(off) > 1e-12


def test_forward_mode_and_second_derivatives():
    with float64() as dtype:
        cell = rz.make_cell("elman", 2, 3, key=jax.random.key(0), dtype=dtype)
        xs, moved = draw(0, (20, 2)), draw(1, (20, 2))

        def value(x, method):
            return jnp.sum(jnp.sin(unroll(cell, x, method=method)[1]))

        def both(method):
            slope = jax.jvp(lambda x: value(x, method), (xs,), (moved,))
            curve = jax.jvp(jax.grad(lambda x: value(x, method)), (xs,), (moved,))
            return slope, curve

        assert_close(both("sequential"), both(Chunks(5)), 1e-9)


def test_a_gradient_of_a_batch_over_devices():
    """By their types, in a `shard_map`, all that its loops carry differs between devices."""
    with float64() as dtype:
        cell = rz.make_cell("elman", 2, 3, key=jax.random.key(0), dtype=dtype)
        auto, axis = (jax.sharding.AxisType.Auto,), jax.P("batch")
        mesh = jax.make_mesh((1,), ("batch",), axis_types=auto)

        def slope(xs, method):
            run = jax.vmap(lambda x: unroll(cell, x, method=method)[1])
            return jax.grad(lambda x: jnp.sum(run(x) ** 2))(xs)

        def spread(xs):
            return slope(xs, Chunks(5))

        xs = draw(0, (2, 20, 2))
        found = jax.jit(jax.shard_map(spread, mesh=mesh, in_specs=axis, out_specs=axis))(xs)
        assert_close(slope(xs, "sequential"), found, 1e-11)


def test_layers_and_models_take_it():
    cell = rz.make_cell("gru", 3, 4, key=jax.random.key(0))
    xs = draw(0, (64, 3))
    one = rz.Recurrent(cell)(xs)
    np.testing.assert_allclose(rz.Recurrent(cell, method="chunks")(xs), one, atol=1e-5)
    model = rz.make_model("gru", 3, 2, hidden_size=4, key=jax.random.key(0), method=Chunks(16))
    plain = rz.make_model("gru", 3, 2, hidden_size=4, key=jax.random.key(0))
    np.testing.assert_allclose(model(xs), plain(xs), atol=1e-5)
    with rz.scan.in_chunks():
        np.testing.assert_allclose(plain(xs), model(xs), atol=1e-5)
    assert "while" in str(jax.make_jaxpr(model)(xs))


class Mixed(AbstractCell):
    """A state of two precisions."""

    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=3)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros(3, jnp.bfloat16), jnp.zeros(3, jnp.float32)

    def equation(self, c, state, x):
        coarse, fine = state
        fine = jnp.tanh(0.5 * fine + coarse.astype(jnp.float32) + x)
        return (0.5 * coarse + 0.1 * fine.astype(jnp.bfloat16), fine), fine


def test_states_of_two_precisions():
    one, two = (
        unroll(Mixed(), draw(0, (64, 3), jnp.float32), method=m) for m in ("auto", "chunks")
    )
    assert two[0][0].dtype == jnp.bfloat16
    assert_close(jax.tree.leaves(one), jax.tree.leaves(two), 1e-5)


@pytest.mark.slow
def test_inside_a_scan():
    with float64() as dtype:
        cell, xs = rz.make_cell("gru", 3, 4, key=jax.random.key(0), dtype=dtype), draw(0, (64, 3))

        def parts(xs):
            run = lambda state, x: unroll(cell, x, state, method=Chunks(8))  # noqa: E731
            return jax.lax.scan(run, cell.init_state(), xs.reshape(2, 32, 3))[1].reshape(64, 4)

        slope = lambda function: jax.grad(lambda xs: jnp.sum(function(xs) ** 2))(xs)  # noqa: E731
        assert_close(slope(lambda xs: unroll(cell, xs)[1]), slope(parts), 1e-10)


@pytest.mark.slow
def test_a_model_streams_is_exported_and_saved(tmp_path):
    """A stream and a file know nothing of chunks; a program has them."""
    options = {"hidden_size": 4, "pool": None, "key": jax.random.key(0)}
    model = rz.make_model("gru", 3, 2, method=Chunks(16), **options)
    xs = draw(0, (64, 3), jnp.float32)
    expected, stream = model(xs), rz.Stream(model)
    assert_close(expected, stream.scan(xs, stream.init_state())[1], 1e-5)
    (time,) = jax.export.symbolic_shape("time")
    for length in (64, time):
        shape = jax.ShapeDtypeStruct((length, 3), jnp.float32)
        program = jax.export.export(jax.jit(lambda xs: model(xs)))(shape)
        assert_close(expected, jax.export.deserialize(program.serialize()).call(xs), 1e-5)
    rz.train.save(tmp_path / "model", model)
    assert rz.train.load(tmp_path / "model").method == "auto"
    again = rz.train.load(tmp_path / "model", like=model)
    assert again.method == Chunks(16)
    assert_close(expected, again(xs), 0)


def test_the_page_runs(capsys):
    page = (Path(__file__).parent.parent / "docs" / "pages" / "howto" / "chunks.md").read_text()
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.startswith("0 ")


# --- what is refused ------------------------------------------------------------------------------


def test_strict_says_what_did_not_fit():
    cell, xs = Chaotic(jnp.array(4.0)), jnp.zeros((20 * 16, 1))
    options = Chunks(16, strict=True)
    with pytest.raises(RuntimeError, match=r"Chaotic: \d+ of 20 chunks .*16 steps.*sequential"):
        unroll(cell, xs, method=options)
    with pytest.raises(Exception, match="chunks do not fit"):
        jax.jit(lambda x: unroll(cell, x, method=options))(xs)
    fits = rz.make_cell("gru", 3, 4, key=jax.random.key(0))
    xs = draw(0, (8 * 64, 3))
    assert_close(
        unroll(fits, xs, method=Chunks(64, strict=True)),
        unroll(fits, xs, method="sequential"),
        1e-5,
    )


class Counter(AbstractCell):
    """Counts the inputs above 0."""

    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros(1), jnp.zeros((), jnp.int32)

    def equation(self, c, state, x):
        h, n = state
        n = n + (x[0] > 0)
        return (0.5 * h + n, n), h


class Flag(AbstractCell):
    """Keeps nothing but which input it saw first."""

    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.array(False)

    def equation(self, c, state, x):
        return ~state, jnp.where(state, x, -x)


class Drawing(AbstractCell):
    """Splits a random key that it keeps."""

    input_size: int = eqx.field(static=True, default=1)
    output_size: int = eqx.field(static=True, default=1)
    linear = timed = stochastic = False

    def init_state(self):
        return jnp.zeros(1), jax.random.key(0)

    def equation(self, c, state, x):
        h = 0.5 * state[0] + x
        return (h, jax.random.split(state[1])[0]), h


BAD = {
    "no numbers": (lambda xs: unroll(Flag(), xs, method="chunks"), TypeError, "keeps no real"),
    "a key that moves": (
        lambda xs: unroll(Drawing(), xs, method="chunks"),
        TypeError,
        "random keys",
    ),
    "a clock from an array": (
        lambda xs: unroll(Clock(jnp.array(0, jnp.int32)), xs, method="chunks"),
        TypeError,
        "make it a static field",
    ),
    "a count of inputs": (
        lambda xs: unroll(Counter(), xs, method="chunks"),
        TypeError,
        "integers or",
    ),
    "a linear cell": (
        lambda xs: unroll(rz.make_cell("lru", 1, 2, key=jax.random.key(0)), xs, method="chunks"),
        ValueError,
        'use method="parallel"',
    ),
    "remat": (
        lambda xs: unroll(Toggle(jnp.ones(())), xs, method="chunks", remat=4),
        ValueError,
        "remat belongs",
    ),
    "a report of the loop": (
        lambda xs: chunk_report(Toggle(jnp.ones(())), xs, method="sequential"),
        ValueError,
        'to be "chunks"',
    ),
    "size": (lambda xs: Chunks(0), ValueError, "size to be at least 1"),
    "no number": (lambda xs: Chunks(2.5), TypeError, "size to be a whole number"),
    "at once": (lambda xs: Chunks(at_once=0), ValueError, "at_once to be at least 1"),
    "tol": (lambda xs: Chunks(tol=-1.0), ValueError, "tol to be a positive"),
    "gradient": (lambda xs: Chunks(gradient="none"), ValueError, "gradient to be one of"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name, unchecked):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call(jnp.ones((200, 1)))


@pytest.mark.slow
def test_no_draw_differs_in_silence():
    """Any cell, size, chunk, mask, reset, dt and weights: the loop's values, 300 times."""
    rng = np.random.default_rng(7)
    names = [
        "elman",
        "gru",
        "lstm",
        "antisymmetric",
        "cornn",
        "exprnn",
        "unicornn",
        "lem",
        "cfc",
        "esn",
    ]
    with float64() as dtype:
        for name in names:
            hidden, size, time = (int(n) for n in (rng.integers(2, 6), rng.integers(3, 9), 60))

            @eqx.filter_jit
            def apart(key, x, mask, reset, dt, name=name, hidden=hidden, size=size):
                cell = rz.make_cell(name, 2, hidden, key=key, dtype=dtype)
                cell = jax.tree.map(lambda p: 2 * p if eqx.is_inexact_array(p) else p, cell)
                given = {"mask": mask, "reset": reset, **({"dt": dt} if cell.timed else {})}
                one = unroll(cell, x, **given)[1]
                two = unroll(cell, x, method=Chunks(size), **given)[1]
                scale = jnp.maximum(1, jnp.max(jnp.abs(one)))
                return jnp.max(jnp.abs(one - two)) / scale

            keys = jax.random.split(jax.random.key(int(rng.integers(1000))), 30)
            draws = (
                rng.normal(size=(30, time, 2)),
                rng.random((30, time)) < rng.uniform(0.3, 1),
                rng.random((30, time)) < 0.05,
                rng.uniform(0.1, 2, (30, time)),
            )
            found = jax.vmap(apart)(keys, *(jnp.asarray(d) for d in draws))
            assert found.max() < 1e-9, name
