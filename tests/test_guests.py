"""What this package knows of its own cells it says of the cells of others: laws, names, models."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import DEFAULTS, ids, subject

import rnn_zoo as rz
from rnn_zoo import testing
from rnn_zoo.testing import timing
from rnn_zoo.testing.law import LAWS


KEY = jr.key(0)
CALLS = []


class Gated(rz.AbstractCell):
    """A plain gated cell, as somebody writes it who has read the contract only."""

    weight_ih: jax.Array
    weight_hh: jax.Array
    bias: jax.Array
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(self, input_size, hidden_size, *, key):
        keys = jr.split(key)
        self.weight_ih = 0.5 * jr.normal(keys[0], (2 * hidden_size, input_size))
        self.weight_hh = 0.5 * jr.normal(keys[1], (2 * hidden_size, hidden_size))
        self.bias = jnp.zeros(2 * hidden_size)
        self.input_size, self.output_size = input_size, hidden_size

    def init_state(self):
        return jnp.zeros(self.output_size, jnp.promote_types(self.bias.dtype, jnp.float32))

    def step(self, state, x):
        z, n = jnp.split(self.weight_ih @ x + self.weight_hh @ state + self.bias, 2)
        z = jax.nn.sigmoid(z)
        h = (1 - z) * state + z * jnp.tanh(n)
        return h, h


def gated(cell, xs):
    """The same in NumPy, a loop over time."""
    size = cell.output_size
    w, u, b = (np.asarray(a) for a in (cell.weight_ih, cell.weight_hh, cell.bias))
    h, ys = np.zeros(size), []
    for x in xs:
        z = 1 / (1 + np.exp(-(w[:size] @ x + u[:size] @ h + b[:size])))
        h = h + z * (np.tanh(w[size:] @ x + u[size:] @ h + b[size:]) - h)
        ys.append(h)
    return np.stack(ys)


class Resonators(rz.AbstractCell):
    """A timed cell with a complex state: z' = e^{l dt} z + (e^{l dt} - 1) / l B x, y = Re z."""

    decay: jax.Array
    angle: jax.Array
    drive: jax.Array
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(self, input_size, hidden_size, *, dtype=None, key):
        keys = jr.split(key, 3)
        self.decay = jr.normal(keys[0], (hidden_size,), dtype)
        self.angle = 1 + jr.normal(keys[1], (hidden_size,), dtype)
        self.drive = jr.normal(keys[2], (hidden_size, input_size), dtype)
        self.input_size, self.output_size = input_size, hidden_size

    def _real(self):
        return jnp.promote_types(self.angle.dtype, jnp.float32)

    def init_state(self):
        return jnp.zeros(self.output_size, jnp.promote_types(self._real(), jnp.complex64))

    def constants(self):
        decay, angle = (a.astype(self._real()) for a in (self.decay, self.angle))
        return jax.lax.complex(-jnp.exp(decay), angle)

    def equation(self, c, state, x, dt=1.0):
        kept = jnp.exp(c * dt)
        z = kept * state + (kept - 1) / c * (self.drive @ x)
        return z, z.real


# --- the laws over this package, where no other test asks them ------------------------------------

# The others integrate by steps, jump at an observation, or are closed forms of an approximation.
HALVES = {"linoss", "lmu_linear", "s4d", "s5", "hgrn2"}
TIMED = [case for case in DEFAULTS if case.timed]


@pytest.mark.parametrize(**ids([case for case in TIMED if case.id in HALVES], only={"hgrn2"}))
def test_two_halves_are_one_whole(case):
    subject(case).halves = True
    timing.two_halves_are_one_whole(subject(case))


# --- a report of a guest's cell -------------------------------------------------------------------


def only(*names):
    return set(LAWS) - set(names)


def test_a_report_says_what_passed_and_what_does_not_apply():
    kept = ("output_size_is_true", "steps_equal_the_reference", "dt_zero_holds_the_state")
    report = testing.check_cell(Gated, gated, skip=only(*kept))
    assert report
    assert {one.law: one.status for one in report.findings} == {
        "output_size_is_true": "passed",
        "steps_equal_the_reference": "passed",
        "dt_zero_holds_the_state": "skipped",
    }
    assert repr(report).splitlines()[0] == "Gated: 3 laws, 2 passed, 0 BROKEN, 1 skipped"
    assert "no physical time" in repr(report)


def begun(cell, input_size, hidden_size, key, extra):
    Gated.__init__(cell, input_size, hidden_size, key=key)
    cell.extra = extra


def test_a_cell_that_draws_is_a_cell():
    def make(key):
        return rz.Zoneout(rz.cells.GRUCell(3, 5, key=key), 0.3)

    kept = ("files_and_copies_hold_the_cell", "two_keys_give_two_cells_and_one_key_one")
    report = testing.check_cell(make, skip=only(*kept))
    assert [one.status for one in report.findings] == ["passed"] * 2


FAULTS = {
    "size": (
        {"step": lambda self, state, x: (state, jnp.zeros(2))},
        ("output_size_is_true", r"\(5,\), as output_size says, got f32\[2\]"),
    ),
    "number": (
        {"init_state": lambda self: 0.0},
        ("a_step_gives_a_state_like_the_one_before", "arrays, got 0.0"),
    ),
    "dtype": (
        {"step": lambda self, s, x: (s.astype(jnp.float16), s)},
        ("a_step_gives_a_state_like_the_one_before", r"f32\[5\], got f16\[5\]"),
    ),
    "list": (
        {
            "extra": eqx.field(static=True),
            "__init__": lambda self, i, h, *, key: begun(self, i, h, key, [3]),
        },
        ("static_fields_have_a_hash", r"extra = \[3\]"),
    ),
    "impure": (
        {"step": lambda self, s, x: (CALLS.append(1), (s, s + len(CALLS)))[1]},
        ("a_step_is_a_pure_function", "different results"),
    ),
    "complex": (
        {
            "extra": eqx.field(),
            "__init__": lambda self, i, h, *, key: begun(self, i, h, key, jnp.ones(2) * 1j),
        },
        ("parameters_are_real_arrays", "got complex64 at .extra"),
    ),
    "dead": (
        {"step": lambda self, s, x: 2 * (jnp.tanh(s + self.weight_ih[:5] @ x + self.bias[:5]),)},
        ("every_parameter_has_a_finite_live_gradient", "weight_hh is zero"),
    ),
    "root": (
        {"step": lambda self, s, x: 2 * (0.5 * s + jnp.sqrt(jnp.sum(x**2)),)},
        ("gradients_are_finite_at_zero", "gradient of xs is not finite"),
    ),
    "no time": (
        {"step": lambda self, s, x, dt=1.0: 2 * (0.5 * s,)},
        ("dt_defaults_to_one_nominal_step", "neither state nor output depends on dt"),
    ),
    "another default": (
        {"step": lambda self, s, x, dt=2.0: 2 * (0.5 * s * dt,)},
        ("dt_defaults_to_one_nominal_step", "not the step over 1.0"),
    ),
    "Euler": (
        {"step": lambda self, s, x, dt=1.0: 2 * (s - 0.1 * dt * s,)},
        ("two_halves_are_one_whole", "differ by more than"),
    ),
    "reference": (
        {"step": lambda self, s, x: 2 * (0.5 * s + self.weight_ih[:5] @ x,)},
        ("steps_equal_the_reference", "first at step 0"),
    ),
}


def variant(**members):
    """A cell like `Gated`, with something else in it."""
    own = {name: value for name, value in vars(Gated).items() if callable(value)}
    kept = {name: own[name] for name in ("__init__", "init_state", "step")}
    fields = dict(Gated.__annotations__) | ({"extra": object} if "extra" in members else {})
    static = {name: eqx.field(static=True) for name in ("input_size", "output_size")}
    body = {"__module__": __name__, "__annotations__": fields, **static, **kept, **members}
    return type(rz.AbstractCell)("Variant", (rz.AbstractCell,), body)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore")
def test_a_planted_fault_is_found_and_says_how_to_mend(fault, unchecked):
    members, (law, said) = FAULTS[fault]
    given = {"halves": True, "skip": only(law)}
    with pytest.raises(testing.BrokenLaws, match=said) as caught:
        testing.check_cell(variant(**members), gated, **given)
    (broken,) = caught.value.report.broken
    assert broken.law == law
    assert broken.mend in str(caught.value)


def test_a_report_goes_on_behind_a_broken_promise():
    def step(self, state, x):
        h = jnp.tanh(state + self.weight_ih[:5] @ x)
        return h.astype(jnp.float16), jnp.concatenate([h, h])

    kept = ("output_size_is_true", "a_step_gives_a_state_like_the_one_before", "length_zero")
    live = "every_parameter_has_a_finite_live_gradient"
    report = testing.check_cell(variant(step=step), strict=False, skip=only(*kept, live))
    found = {one.law: one.remark for one in report.broken}
    assert set(found) == {*kept[:2], live}, found
    assert found[live] == "the gradient of weight_hh, bias is zero"
    assert any("true output size" in note for note in report.notes)


@pytest.mark.parametrize("law", testing.laws(Gated, skip=only("length_one", "outputs_are_finite")))
def test_laws_are_tests(law):
    law()
    assert str(law) == law.__name__ in ("length_one", "outputs_are_finite")


@pytest.mark.slow
def test_a_whole_report():
    chunks = "chunks_side_by_side_equal_the_loop"  # a quarter of the time
    report = testing.check_cell(Resonators, holds=True, halves=True, skip={chunks})
    assert report, report
    assert len(report.findings) == len(LAWS) - 1


BAD = {
    "no maker": (lambda: testing.check_cell(3), TypeError, "a function that makes a cell"),
    "fields": (lambda: testing.check_cell(rz.cells.ShortConv.step), TypeError, "makes a cell"),
    "no cell": (lambda: testing.check_cell(lambda key: jnp.tanh), TypeError, "rz.adopt"),
    "no law": (lambda: testing.check_cell("gru", skip=["lenght"]), ValueError, "name laws"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_cell_is_named(name, unchecked):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


# --- names and models of a guest's cell -----------------------------------------------------------


def test_a_registered_class_has_a_name_until_it_is_taken_back():
    assert rz.register("guest_gated", Gated, paper="mine, 2026") is Gated
    try:
        assert "guest_gated" in rz.list_cells(linear=False, timed=False)
        info = rz.cell_info("guest_gated")
        assert (info.cls, info.family, info.paper) == (Gated, "own", "mine, 2026")
        assert isinstance(rz.make_cell("guest_gated", 3, 5, key=KEY), Gated)
        assert rz.make_model("guest_gated", 3, 2, key=KEY).recipe is not None
        with pytest.raises(ValueError, match="unregister.'guest_gated'"):
            rz.register("guest_gated", Resonators)
        assert testing.check_cell("guest_gated", skip=only("output_size_is_true"))
    finally:
        testing.unregister("guest_gated")
    assert "guest_gated" not in rz.list_cells()
    for name, said in (("guest_gated", "unknown cell"), ("lstm", "is the library's")):
        with pytest.raises(ValueError, match=said):
            testing.unregister(name)


def test_what_cannot_be_registered_is_named(unchecked):
    with pytest.raises(TypeError, match="give the class itself"):
        rz.register("guest", Gated(3, 5, key=KEY))
    with pytest.raises(ValueError, match="a name in lower case"):
        rz.register(Gated)


XS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
WIRING = rz.wiring.AutoNCPMap(3, 8, 2)
MODELS = {
    "class": (Gated, {"hidden_size": 4, "num_layers": 2}, Gated),
    "function": (lambda i, h, *, key: Gated(i, h, key=key), {"hidden_size": 4}, Gated),
    "map": (WIRING, {}, rz.cells.WiredCfCCell),
    "name and map": ("ltc", {"hidden_size": WIRING}, rz.cells.LTCCell),
    "class and map": (rz.cells.CfCCell, {"hidden_size": WIRING}, rz.cells.WiredCfCCell),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_classes_functions_and_maps(name):
    given, options, expected = MODELS[name]
    model = rz.make_model(given, 3, 2, key=KEY, **options)
    assert isinstance(model.layer.layers[0].cell, expected)
    assert eqx.filter_eval_shape(model, XS).shape == (2,)


def test_a_class_that_has_a_name_makes_the_model_of_that_name():
    one = rz.make_model(rz.cells.GRUCell, 3, 2, hidden_size=4, key=KEY)
    two = rz.make_model("gru", 3, 2, hidden_size=4, key=KEY)
    assert eqx.tree_equal(one, two)
    assert one.recipe == two.recipe
    assert rz.make_model(Gated, 3, 2, key=KEY).recipe is None


BAD_MODELS = {
    "cell": (lambda: (Gated(3, 5, key=KEY), {}), "rz.SequenceModel.rz.Recurrent"),
    "step": (lambda: (lambda h, x: h, {}), "made by .*key=key"),
    "number": (lambda: (3, {}), "the name of a cell, its class"),
    "option": (lambda: (Gated, {"units": 3}), "Gated. has no option 'units'"),
    "map": (lambda: ("gru", {"hidden_size": WIRING}), "does not take"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_what_makes_no_model_is_named(name, unchecked):
    given, options = BAD_MODELS[name][0]()
    with pytest.raises(TypeError, match=BAD_MODELS[name][1]):
        rz.make_model(given, 3, 2, key=KEY, **options)


# --- what never trains ----------------------------------------------------------------------------


def test_a_fixed_array_is_an_array_that_no_optimiser_sees():
    cell = rz.cells.EIRNNCell(3, 5, key=KEY)
    held = [f for f in jax.tree.leaves(cell, is_leaf=_fixed) if _fixed(f)]
    assert held, "the signs of Dale's law"
    for value in (jnp.array([1.0, -1.0]), jnp.array([1 + 2j])):
        fixed = rz.Fixed(value)
        np.testing.assert_array_equal(fixed.value, value)
        assert not jax.tree.leaves(eqx.filter(fixed, eqx.is_inexact_array))
    with pytest.raises(ValueError, match="floating-point or complex values, got int32"):
        rz.Fixed(jnp.arange(3))


def _fixed(leaf):
    return isinstance(leaf, rz.Fixed)
