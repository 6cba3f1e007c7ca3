"""What a class says by its formula, constructors that a class declares, and registration."""

import inspect
from typing import ClassVar, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import Array, Float

import rnn_zoo as rz
from rnn_zoo import registry
from rnn_zoo.base import StateMatrix
from rnn_zoo.declared import (
    AbstractDeclaredCell,
    computed,
    derived,
    drawn,
    drawn_from,
    filled,
    one_of,
    option,
    positive,
)
from rnn_zoo.init import glorot, orthogonal
from rnn_zoo.linear import AffineMap, Diagonal
from rnn_zoo.scan import unroll


KEY = jr.key(0)
Name = TypeVar("Name")
XS = jr.normal(jr.key(1), (5, 3))


class Sized(rz.AbstractCell):
    """A cell that says nothing but its formula."""

    w: Array
    input_size: int = eqx.field(static=True, default=3)
    output_size: int = eqx.field(static=True, default=3)

    def init_state(self):
        return jnp.zeros(3)

    def step(self, state, x):
        h = jnp.tanh(self.w * state + x)
        return h, h


class Says(rz.AbstractCell):
    """A cell that says one flag itself."""

    timed = False

    def step(self, state, x, dt=None):
        return state, x


def test_flags_are_read_off_the_formula():
    assert (Sized.timed, Sized.stochastic, Sized.linear) == (False, False, False)

    class Timed(rz.AbstractCell):
        def equation(self, c, state, x, dt=1.0, *, key=None):
            return state, x

    assert (Timed.timed, Timed.stochastic, Timed.linear) == (True, True, False)

    class Linear(rz.AbstractLinearCell):
        def transition(self, c, x, dt=1.0):
            raise NotImplementedError

    assert (Linear.timed, Linear.stochastic, Linear.linear) == (True, False, True)

    assert not Says.timed


def test_a_child_with_a_formula_of_its_own_has_flags_of_its_own():
    class Child(Sized):
        def step(self, state, x, dt=1.0, *, key=None):
            h = jnp.tanh(dt * self.w * state + x)
            return h, h

    assert (Child.timed, Child.stochastic) == (True, True)
    cell, state = Child(jnp.full(3, 0.5)), jnp.ones(3)
    np.testing.assert_array_equal(unroll(cell, XS[:1], state, dt=0.0)[1][0], jnp.tanh(XS[0]))

    class Silent(Says):
        def step(self, state, x, dt=None):
            return state, x

    assert not Silent.timed


def test_classes_beside_a_cell_are_asked_too():
    class Typed(Sized, Generic[Name]):
        pass

    assert Typed[int] is not None
    for base in (rz.AbstractCell, AbstractDeclaredCell):
        with pytest.raises(TypeError, match="keyword"):
            type(base)("Wrong", (base,), {}, inti=False)


def test_a_step_is_an_equation_without_constants():
    cell = Sized(jnp.full(3, 0.5))
    assert cell.constants() is None
    state = jnp.ones(3)
    for ours, theirs in zip(cell.equation(None, state, XS[0]), cell.step(state, XS[0])):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(TypeError, match="abstract"):
        rz.AbstractCell()


def test_constants_are_computed_once_for_a_sequence_and_for_a_stream():
    counted = []

    class Counting(rz.AbstractCell):
        w: Array
        input_size: int = eqx.field(static=True, default=3)
        output_size: int = eqx.field(static=True, default=3)

        def init_state(self):
            return jnp.zeros(3)

        def constants(self):
            counted.append(1)
            return jnp.exp(self.w)

        def equation(self, c, state, x):
            h = jnp.tanh(c * state + x)
            return h, h

    cell = Counting(jnp.full(3, -0.5))
    ys = unroll(cell, XS)[1]
    assert len(counted) == 1
    state = cell.init_state()
    for x, y in zip(XS, ys):
        state, one = cell.step(state, x)
        np.testing.assert_allclose(one, y, rtol=1e-6)
    counted.clear()
    stream = rz.Stream(rz.Stacked([cell, cell]))
    state = stream.init_state()
    for x in XS:
        state, _ = stream.step(state, x)
    stream.scan(XS, state)
    assert len(counted) == 2, "once for each of the two cells"
    counted.clear()
    jax.grad(lambda c: unroll(c, XS)[1].sum())(cell)
    assert len(counted) <= 2


def test_forms_of_the_last_release_warn_and_work():
    with pytest.warns(DeprecationWarning, match=r"Old.transition\(x\) takes the constants"):

        class Old(rz.AbstractLinearCell):
            a: Array
            input_size: int = eqx.field(static=True, default=3)
            output_size: int = eqx.field(static=True, default=3)
            timed: ClassVar[bool] = False

            def init_state(self):
                return jnp.zeros(3)

            def transition(self, x):
                return AffineMap(Diagonal(self.a), x)

            def readout(self, c, state, x):
                return state

    cell = Old(jnp.full(3, 0.5))
    ways = [unroll(cell, XS, method=m)[1] for m in ("sequential", "parallel")]
    h, expected = np.zeros(3), []
    for x in np.asarray(XS):
        h = 0.5 * h + x
        expected.append(h)
    for ys in ways:
        np.testing.assert_allclose(ys, expected, rtol=1e-5)
    with pytest.warns(DeprecationWarning, match="write equation"):

        class Decorated(Sized.__bases__[0]):
            input_size: int = 3
            output_size: int = 3

            def init_state(self):
                return jnp.zeros(3)

            @rz.base.contract
            def step(self, state, x):
                return state, x

    with pytest.warns(DeprecationWarning, match="rz.Stream"):
        assert cell.prepare() is cell
    with pytest.warns(DeprecationWarning, match="prepare is not called any more"):
        type("Prepared", (rz.AbstractCell,), {"prepare": lambda self: self})
    state = jnp.ones(3)
    with pytest.warns(DeprecationWarning, match=r"cell.advance\(c, state"):
        one = rz.base.advance(cell, state, XS[0])
    np.testing.assert_array_equal(one[0], cell.step(state, XS[0])[0])


# --- declared constructors ------------------------------------------------------------------------


class Made(AbstractDeclaredCell, init=False):
    """Every kind of declaration."""

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal, key=4)
    offset: Float[Array, " pairs"] = drawn_from(lambda given, shape, key: jr.normal(key, shape))
    bias: Float[Array, " hidden"] | None = filled(0.5)
    double: Float[Array, " pairs"] = computed(lambda given, shape: 2 * given.offset)
    pairs: ClassVar[int] = derived(lambda given: given.hidden_size // 2)
    start: ClassVar[float] = option(1.0)
    rate: float = option(0.1, positive)
    kind: str = option("a", one_of("a", "b"))

    def init_state(self):
        return jnp.zeros(self.output_size)

    def constants(self):
        return StateMatrix(self.weight_hh)

    def equation(self, c, state, x):
        h = self.rate * (c @ state + self.weight_ih[: self.output_size] @ x)
        return h, h


def test_a_declared_constructor_takes_what_the_class_says():
    names = list(inspect.signature(Made).parameters)
    assert names == [
        "input_size",
        "hidden_size",
        "start",
        "rate",
        "kind",
        "use_bias",
        "dtype",
        "key",
    ]
    cell = Made(3, 4, rate=0.2, key=KEY)
    assert [leaf.shape for leaf in jax.tree.leaves(cell)] == [(8, 3), (4, 4), (2,), (4,), (2,)]
    np.testing.assert_array_equal(cell.double, 2 * cell.offset)
    assert (cell.rate, cell.kind, cell.input_size, cell.output_size) == (0.2, "a", 3, 4)
    assert not hasattr(cell, "start")
    assert not hasattr(cell, "pairs")
    assert Made(3, 4, use_bias=False, key=KEY).bias is None
    assert Made(3, 4, dtype=jnp.bfloat16, key=KEY).weight_ih.dtype == jnp.bfloat16
    keys = jr.split(KEY, 5)
    np.testing.assert_array_equal(cell.weight_ih, glorot(keys[0], (8, 3), jnp.float32, blocks=2))
    np.testing.assert_array_equal(cell.weight_hh, orthogonal(keys[4], (4, 4), jnp.float32))
    np.testing.assert_array_equal(cell.offset, jr.normal(keys[1], (2,)))
    assert "`rate`: above 0." in Made.__init__.__doc__
    assert unroll(cell, XS)[1].shape == (5, 4)


BAD = {
    "an unknown option": ({"ratee": 1.0}, TypeError, "no option 'ratee': did you mean 'rate'"),
    "a rate below 0": ({"rate": -1.0}, ValueError, "expected rate above 0, got -1.0"),
    "another kind": ({"kind": "c"}, ValueError, "kind to be one of"),
    "integers": ({"dtype": int}, ValueError, "a real dtype"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case):
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        Made(3, 4, key=KEY, **options)


def test_missing_arguments_are_named():
    with pytest.raises(TypeError, match=r"Made\(input_size, .*\): missing.*'key'"):
        Made(3, 4)
    with pytest.raises(ValueError, match="hidden_size to be an integer of at least 1, got 0"):
        Made(3, 0, key=KEY)


# --- registration ---------------------------------------------------------------------------------


@pytest.fixture
def cells(monkeypatch):
    """The registry, as it was before."""
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))


def test_a_cell_of_ones_own_is_registered_like_all_others(cells):
    register = rz.register("made", paper="mine, 2026", equation="h' = r (U h + W x)")
    assert register(Made) is Made
    assert "made" in rz.list_cells()
    assert "made" not in rz.list_cells(linear=True)
    info = rz.cell_info("made")
    assert (info.family, info.timed, info.linear, info.stochastic) == ("own", False, False, False)
    assert rz.make_cell("made", 3, 4, rate=0.3, key=KEY).rate == 0.3
    assert rz.make_model("made", 3, 2, hidden_size=4, key=KEY)(XS).shape == (2,)
    with pytest.raises(TypeError, match="did you mean 'rate'"):
        rz.make_cell("made", 3, 4, rat=0.3, key=KEY)
    register(Made)  # as a notebook does that runs a cell again
    with pytest.raises(ValueError, match="a name of its own, 'made' is Made"):
        rz.register("made", paper="", equation="")(lambda i, h, *, key: Made(i, h, key=key))


@pytest.mark.parametrize("name", ["My Cell", "LSTM", "2fast", ""])
def test_names_are_lower_case_words(name, cells):
    with pytest.raises(ValueError, match="a name in lower case"):
        rz.register(name, paper="", equation="")


def test_what_cannot_be_called_is_no_cell_for_the_registry(cells):
    with pytest.raises(TypeError, match=r"Sized\(input_size, hidden_size, key=key\)"):
        rz.register("sized", paper="", equation="")(Sized)
