"""What each wrapper does beyond being a cell."""

import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import DEFAULTS, KINDS, I, T, assert_close, build, random_state

import rnn_zoo as rz
from rnn_zoo._common.fixed import Fixed
from rnn_zoo.base import StateMatrix, replace
from rnn_zoo.scan import trajectory, unroll
from rnn_zoo.wrappers.held import Held


KEY = jr.key(0)
XS = jr.normal(jr.key(1), (T, I))
LSTM = rz.cells.LSTMCell(I, 5, key=KEY)


def test_fixed_keeps_every_bit_through_jit_vmap_and_grad():
    for value in (
        jnp.array([1.5, -0.0, jnp.inf]),
        jnp.array([1 + 2j, -3j]),
        jnp.ones(3, jnp.bfloat16),
    ):
        fixed = Fixed(value)
        assert fixed.value.dtype == value.dtype
        np.testing.assert_array_equal(fixed.value, value)
        np.testing.assert_array_equal(jax.jit(lambda f: f.value)(fixed), value)
        assert not eqx.is_inexact_array(fixed.bits)
    stacked = eqx.filter_vmap(Fixed)(jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(eqx.filter_vmap(lambda f: f.value)(stacked)[1], [3, 4, 5])


def test_frozen_equals_the_cell_inside():
    for case in (case for case in DEFAULTS if case.id in KINDS):
        cell = build(case)
        frozen = rz.Frozen(cell)
        assert (frozen.linear, frozen.timed) == (cell.linear, cell.timed)
        assert_close(unroll(frozen, XS), unroll(cell, XS), 1e-6)


def test_frozen_passes_gradients_to_inputs():
    grad = jax.grad(lambda xs: jnp.sum(unroll(rz.Frozen(LSTM), xs)[1]))(XS)
    assert (np.asarray(grad) != 0).all()


def test_learned_initial_state_starts_at_the_cells_own_and_learns():
    learned = rz.LearnedInitialState(LSTM)
    assert_close(unroll(learned, XS), unroll(LSTM, XS), 0)
    grads = eqx.filter_grad(lambda c: jnp.sum(unroll(c, XS)[1]))(learned)
    assert (np.asarray(grads.initial.h) != 0).all()
    given = rz.cells.LSTMState(jnp.ones(5), jnp.full(5, 2.0))
    assert_close(rz.LearnedInitialState(LSTM, given).init_state(), given, 0)


def test_learned_initial_state_is_reached_by_resets():
    learned = rz.LearnedInitialState(LSTM, rz.cells.LSTMState(jnp.ones(5), jnp.ones(5)))
    reset = jnp.zeros(T, bool).at[4].set(True)
    ys = unroll(learned, XS, reset=reset)[1]
    np.testing.assert_allclose(ys[4:], unroll(learned, XS[4:])[1], atol=1e-6)


def test_learned_complex_state_has_real_parameters():
    learned = rz.LearnedInitialState(rz.cells.LRUCell(I, 5, key=KEY))
    assert learned.initial.shape == (2, 5)
    assert learned.initial.dtype == jnp.float32
    assert learned.init_state().dtype == jnp.complex64


def test_zoneout_holds_the_asked_share_of_units():
    cell = rz.Zoneout(rz.cells.LSTMCell(I, 400, key=KEY), (0.2, 0.7))
    states, ys = trajectory(cell, XS, key=KEY)
    for name, rate in (("h", 0.2), ("c", 0.7)):
        values = np.asarray(getattr(states, name))
        held = np.mean(values[1:] == values[:-1])
        assert abs(held - rate) < 0.03
    np.testing.assert_array_equal(ys, states.h)


def test_zoneout_in_inference_is_the_mean():
    cell = eqx.nn.inference_mode(rz.Zoneout(LSTM, (0.2, 0.7)))
    state = rz.cells.LSTMState(jnp.ones(5), jnp.full(5, -1.0))
    new, _ = LSTM.step(state, XS[0])
    zoned, y = cell.step(state, XS[0])
    np.testing.assert_allclose(zoned.h, 0.2 * state.h + 0.8 * new.h, rtol=1e-6)
    np.testing.assert_allclose(zoned.c, 0.7 * state.c + 0.3 * new.c, rtol=1e-6)
    np.testing.assert_allclose(y, zoned.h)


class Jitted(rz.AbstractCell):
    """An LSTM whose step is divided into functions of its own, in one of four ways."""

    cell: rz.cells.LSTMCell
    road: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True, default=I)
    output_size: int = eqx.field(static=True, default=5)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def init_state(self):
        return self.cell.init_state()

    def step(self, state, x):
        def step(cell, state, x):
            return cell.step(state, x)

        if self.road == "checkpoint":
            return jax.checkpoint(functools.partial(step, self.cell))(state, x)
        if self.road == "custom_jvp":
            step = jax.custom_jvp(functools.partial(step, self.cell))
            step.defjvp(lambda primals, tangents: jax.jvp(step, primals, tangents))
            return step(state, x)
        if self.road == "inner":
            (h, c), y = jax.jit(step)(self.cell, state, x)
            h, y = jax.jit(lambda h, y: (h, h))(h, y)
            return rz.cells.LSTMState(h, c), y
        return jax.jit(step)(self.cell, state, x)


@pytest.mark.parametrize("road", ["jit", "inner", "checkpoint", "custom_jvp"])
def test_zoneout_does_not_depend_on_how_a_step_is_divided(road):
    cell = Jitted(LSTM, road)
    states, ys = trajectory(rz.Zoneout(cell, (0.3, 0.6)), XS, key=KEY)
    assert_close((states, ys), trajectory(rz.Zoneout(LSTM, (0.3, 0.6)), XS, key=KEY), 1e-6)
    assert (np.asarray(ys) != np.asarray(unroll(LSTM, XS)[1])).any()
    one = rz.Zoneout(cell, 0.4).step(cell.init_state(), XS[0], key=KEY)
    np.testing.assert_array_equal(one[1], one[0].h)


def test_zoneout_passes_outputs_that_are_no_state():
    inner = rz.cells.LRUCell(I, 5, key=KEY)
    cell = rz.Zoneout(inner, 0.5)
    state = inner.init_state()
    assert_close(cell.step(state, XS[0], key=KEY)[1], inner.step(state, XS[0])[1], 0)


def test_residual_adds_the_input():
    cell = rz.cells.LEMCell(I, I, key=KEY)
    ys = unroll(rz.Residual(cell), XS, dt=0.5)[1]
    np.testing.assert_allclose(ys, XS + unroll(cell, XS, dt=0.5)[1], rtol=1e-6)


def test_layer_normed_outputs_have_mean_0_and_variance_1():
    states, ys = trajectory(rz.LayerNormed(LSTM), 3 * XS)
    assert_close(states, trajectory(LSTM, 3 * XS)[0], 0)
    np.testing.assert_allclose(ys.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(ys.std(1), 1, atol=1e-2)
    scaled = eqx.tree_at(lambda c: c.norm.bias, rz.LayerNormed(LSTM), jnp.full(5, 2.0))
    np.testing.assert_allclose(unroll(scaled, 3 * XS)[1], ys + 2, atol=1e-6)


DROPPABLE = (
    "elman leaky_elman wilson_cowan lstm gru mgu antisymmetric gated_antisymmetric clockwork "
    "exprnn hcornn janet ugrnn ligru nbrc ur_lstm fastgrnn star"
).split()


@pytest.mark.parametrize("name", DROPPABLE)
def test_variational_dropout_drops_columns_of_the_recurrent_matrix(name):
    cell = rz.make_cell(name, I, 5, key=KEY)
    dropped = rz.VariationalDropout(cell, state_rate=0.5)
    states, ys = trajectory(dropped, XS, key=KEY)
    (keep,) = states.keep_state
    np.testing.assert_array_equal(keep, jnp.broadcast_to(keep[0], keep.shape))
    assert 0 < keep[0].sum() < 5
    matrix = StateMatrix(jnp.where(keep[0], cell.constants().matrix / 0.5, 0))
    np.testing.assert_allclose(ys, unroll(replace(Held(cell), c=matrix), XS)[1], atol=1e-5)


def test_variational_dropout_reaches_both_forms_of_the_gru_and_both_matrices():
    for make in (
        lambda: rz.cells.GRUCell(I, 5, reset_after=False, key=KEY),
        lambda: rz.cells.LEMCell(I, 5, key=KEY),
        lambda: rz.cells.CoRNNCell(I, 5, key=KEY),
    ):
        states, ys = trajectory(rz.VariationalDropout(make(), state_rate=0.5), XS, key=KEY)
        cell = make()
        names = ["weight_hh", "weight_hz"][: len(states.keep_state)]
        for field, keep in zip(names, states.keep_state):
            matrix = jnp.where(keep[0], getattr(cell, field) / 0.5, 0)
            cell = rz.base.replace(cell, **{field: matrix})
        np.testing.assert_allclose(ys, unroll(cell, XS)[1], atol=1e-5)


def test_variational_dropout_draws_once_per_sequence_at_the_asked_rate():
    cell = rz.VariationalDropout(
        rz.cells.ElmanCell(500, 400, key=KEY), input_rate=0.2, state_rate=0.6
    )
    reset = jnp.zeros(T, bool).at[4].set(True)
    states, _ = trajectory(cell, jnp.ones((T, 500)), reset=reset, key=KEY)
    for keep, rate in ((states.keep_input, 0.2), (states.keep_state[0], 0.6)):
        assert abs(1 - keep[0].mean() - rate) < 0.06
        np.testing.assert_array_equal(keep[0], keep[3])
        assert (keep[3] != keep[4]).any()
        np.testing.assert_array_equal(keep[4], keep[-1])


def test_variational_dropout_scales_inputs():
    cell = rz.VariationalDropout(rz.cells.ElmanCell(I, 5, key=KEY), input_rate=0.5)
    states, ys = trajectory(cell, XS, key=jr.key(3))
    keep = states.keep_input[0]
    assert 0 < keep.sum() < I
    np.testing.assert_allclose(ys, unroll(cell.cell, jnp.where(keep, 2 * XS, 0))[1], atol=1e-6)


def test_variational_dropout_in_inference_is_the_cell():
    cell = rz.VariationalDropout(LSTM, input_rate=0.5, state_rate=0.5)
    assert_close(unroll(eqx.nn.inference_mode(cell), XS)[1], unroll(LSTM, XS)[1], 1e-6)


@pytest.mark.parametrize("name", ["lru", "indrnn", "lipschitz", "unitary", "unicornn", "mingru"])
def test_variational_dropout_needs_a_recurrent_matrix(name):
    cell = rz.make_cell(name, I, 5, key=KEY)
    with pytest.raises(ValueError, match="names no matrix that it applies to its state"):
        rz.VariationalDropout(cell, state_rate=0.5)
    assert rz.VariationalDropout(cell, input_rate=0.5).input_size == I


class Own(rz.AbstractCell):
    """A cell of somebody else, whose names are not ours."""

    matrix: jax.Array
    carry_over: jax.Array
    input_size: int = eqx.field(static=True, default=I)
    output_size: int = eqx.field(static=True, default=I)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def init_state(self):
        return jnp.zeros(I)

    def step(self, state, x):
        h = jnp.tanh(self.matrix @ x + self.carry_over @ state)
        return h, h


class Declared(rz.AbstractCell):
    """The same, which says which matrix reads its state."""

    matrix: jax.Array
    carry_over: jax.Array
    input_size: int = eqx.field(static=True, default=I)
    output_size: int = eqx.field(static=True, default=I)

    def init_state(self):
        return jnp.zeros(I)

    def constants(self):
        return StateMatrix(self.carry_over)

    def equation(self, c, state, x):
        h = jnp.tanh(self.matrix @ x + c @ state)
        return h, h


def test_a_cell_says_itself_which_matrix_reads_its_state():
    matrices = jr.normal(jr.key(2), (2, I, I))
    with pytest.raises(ValueError, match="Own names no matrix.*StateMatrix"):
        rz.VariationalDropout(Own(*matrices), state_rate=0.5)
    cell = Declared(*matrices)
    states, ys = trajectory(rz.VariationalDropout(cell, state_rate=0.5), XS, key=jr.key(3))
    (keep,) = states.keep_state
    assert 0 < keep[0].sum() < I
    same = Declared(matrices[0], jnp.where(keep[0], matrices[1] / 0.5, 0))
    np.testing.assert_allclose(ys, unroll(same, XS)[1], atol=1e-6)
    with pytest.raises(ValueError, match=r"a matrix in each .*of Declared, got.*\(4, 3, 3\)"):
        rz.VariationalDropout(Declared(matrices[0], jnp.ones((4, I, I))), state_rate=0.5)


def test_every_matrix_that_a_cell_names_reads_its_state_and_all_of_it():
    def is_matrix(node):
        return isinstance(node, StateMatrix)

    def silent(node):
        return StateMatrix(jnp.zeros_like(node.matrix)) if is_matrix(node) else node

    cells = [build(case) for case in DEFAULTS]
    found = 0
    for cell in cells:
        c = cell.constants()
        if not any(map(is_matrix, jax.tree.leaves(c, is_leaf=is_matrix))):
            continue
        found += 1
        dropped = rz.VariationalDropout(cell, state_rate=0.5)
        none = dropped.init_state()._replace(
            cell=random_state(cell, 3), keep_input=jnp.ones(I, bool), drawn=jnp.array(True)
        )
        one = dropped.step(none, XS[0], key=KEY)[1]
        without = jax.tree.map(silent, c, is_leaf=is_matrix)
        two = cell.advance(without, none.cell, XS[0])[1]
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert found >= 13


def test_adopted_functions():
    weights = jr.normal(KEY, (5, 5 + I))

    def gives_state(h, x):
        return jnp.tanh(weights @ jnp.concatenate([h, x]))

    def gives_both(h, x):
        h = gives_state(h, x)
        return h, 2 * h[:3]

    zeros = jnp.zeros(5)
    one = rz.adopt(gives_state, input_size=I, init_state=zeros)
    two = rz.adopt(gives_both, input_size=I, init_state=zeros)
    three = rz.adopt(gives_state, input_size=I, init_state=zeros, output=lambda h: h[:2])
    assert (one.output_size, two.output_size, three.output_size) == (5, 3, 2)
    ys = unroll(one, XS)[1]
    h, expected = zeros, []
    for x in XS:
        h = gives_state(h, x)
        expected.append(h)
    np.testing.assert_allclose(ys, jnp.stack(expected), atol=1e-6)
    np.testing.assert_allclose(unroll(two, XS)[1], 2 * ys[:, :3], atol=1e-6)
    np.testing.assert_allclose(unroll(three, XS)[1], ys[:, :2], atol=1e-6)


def test_adopted_time():
    decay = rz.adopt(
        lambda h, x, dt: h * jnp.exp(-dt) + dt * x, input_size=2, init_state=jnp.ones(2), timed=True
    )
    final, _ = unroll(decay, jnp.zeros((4, 2)), dt=0.5)
    np.testing.assert_allclose(final, jnp.exp(-2.0) * jnp.ones(2), rtol=1e-6)


def test_adopted_initial_state_is_fixed():
    cell = rz.adopt(lambda h, x: h + x, input_size=2, init_state=jnp.ones(2))
    assert not jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array))


def test_adopted_equinox_cells_equal_equinox():
    for make in (eqx.nn.GRUCell, eqx.nn.LSTMCell):
        inner = make(I, 5, key=KEY)
        layer = rz.Recurrent(rz.adopt(inner))
        state = jnp.zeros(5) if make is eqx.nn.GRUCell else (jnp.zeros(5), jnp.zeros(5))
        for x, y in zip(XS, layer(XS)):
            state = inner(x, state)
            np.testing.assert_allclose(y, jax.tree.leaves(state)[0], atol=1e-6)
        ours = {"GRUCell": rz.cells.GRUCell, "LSTMCell": rz.cells.LSTMCell}[make.__name__](
            I, 5, key=KEY
        )
        names = [n for n in ("weight_ih", "weight_hh", "bias", "bias_n") if hasattr(ours, n)]
        ours = rz.base.replace(ours, **{n: getattr(inner, n) for n in names})
        np.testing.assert_allclose(unroll(ours, XS)[1], layer(XS), atol=1e-6)
