"""What the engine takes, what it leaves to `lax.scan`, and what it says of cells that are wrong."""

from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import (
    ALL,
    DEFAULTS,
    LINEAR,
    H,
    I,
    assert_close,
    build,
    float64,
    ids,
    inputs,
    methods,
    of_kinds,
)
from jax import lax
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnn_zoo as rz
from rnn_zoo._engine import loop as _loop, plan as _plan, program as _program, run as _run
from rnn_zoo.scan import trajectory, unroll


# --- which engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_the_loop_takes_the_step_and_derivative_of_every_cell(case, monkeypatch):
    cell = build(case)
    # A length of its own: what was traced before is not traced again.
    xs, state, keywords = inputs(cell, 7)
    taken, plans = [], []

    def takes(*at, of=_loop._takes):
        taken.append(of(*at))
        return taken[-1]

    def plan(program, of=_plan.make_plan):
        plans.append(of(program))
        return plans[-1]

    monkeypatch.setattr(_loop, "_takes", takes)
    monkeypatch.setattr(_run, "make_plan", plan)

    def loss(at):
        cell, xs = at
        return jnp.sum(unroll(cell, xs, state, method="sequential", **keywords)[1])

    eqx.filter_eval_shape(eqx.filter_grad(loss), (cell, xs))
    assert taken == [True]
    assert len(plans) == 1
    assert None not in plans


def results(cell, xs, state, keywords, **options):
    """All states and outputs, and the gradients of a scalar of them."""
    params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)

    def value(params):
        cell, xs, state = eqx.combine(params, rest)
        states, ys = trajectory(cell, xs, state, **options, **keywords)
        leaves = [a for a in jax.tree.leaves((states, ys)) if eqx.is_inexact_array(a)]
        return sum(jnp.sum(jnp.sin(a.real) + jnp.cos(a.imag)) for a in leaves), (states, ys)

    return jax.jit(lambda p: jax.value_and_grad(value, has_aux=True)(p))(params)


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(**ids(of_kinds(LINEAR), kinds=True))
def test_the_plain_parallel_form_equals_the_engine(case, reverse):
    with float64() as dtype:
        cell = build(case, dtype)
        at = cell, *inputs(cell)
        options = {"method": "parallel", "reverse": reverse}
        plain = results(*at, engine="scan", **options)
        assert_close(plain, results(*at, **options), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_the_plain_loop_equals_the_engine(case):
    with float64() as dtype:
        cell = build(case, dtype)
        at = cell, *inputs(cell)
        for reverse in (False, True):
            plain = results(*at, engine="scan", reverse=reverse)
            assert_close(plain, results(*at, reverse=reverse), 1e-10)


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_gradients_of_a_batch_for_many_cells_at_once(case):
    """As a population trains: the way back through a batch is traced first, then mapped over
    members, whose matrices differ; for a linear cell by both methods."""
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell, 5)
        batch = jnp.stack([xs, xs / 2, -xs])
        params, rest = eqx.partition(cell, eqx.is_inexact_array)
        if not jax.tree.leaves(params):  # nothing in it is trained: a reservoir
            return
        members = [params, jax.tree.map(lambda a: 0.9 * a, params)]

        def gradient(params, method):
            def of_one(cell, xs):
                return unroll(cell, xs, state, method=method, **keywords)[1]

            def loss(params):
                cell = eqx.combine(params, rest)
                return jnp.sum(jnp.sin(jax.vmap(of_one, (None, 0))(cell, batch)))

            return jax.grad(loss)(params)

        for method in methods(cell):
            of_all = jax.jit(jax.vmap(lambda params, m=method: gradient(params, m)))
            alone = jax.jit(lambda params, m=method: gradient(params, m))
            together = of_all(jax.tree.map(lambda *a: jnp.stack(a), *members))
            each = jax.tree.map(lambda *a: jnp.stack(a), *map(alone, members))
            assert_close(together, each, 1e-9)


def _inner(params):
    for value in jax.tree.leaves(list(params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
        if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield getattr(value, "jaxpr", value)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in _inner(equation.params):
            yield from primitives(inner)


def names_of(function, *at):
    return set(primitives(jax.make_jaxpr(function)(*at).jaxpr))


def test_the_door_reaches_layers_and_functions_that_are_compiled_already():
    layer = rz.Stacked(
        [rz.cells.GRUCell(I, H, key=jr.key(0)), rz.cells.LRUCell(H, H, key=jr.key(1))]
    )
    xs = jr.normal(jr.key(2), (6, I))
    run = jax.jit(lambda xs: layer(xs))
    ours = run(xs)
    own = {"recurrent_loop", "linear_recurrence"}
    assert own <= names_of(run, xs)
    with rz.scan.engine("scan"):
        names = names_of(run, xs)
        assert "scan" in names
        assert not own & names
        assert_close(run(xs), ours, 1e-5)
    assert own <= names_of(run, xs)
    cell = rz.cells.LRUCell(I, H, key=jr.key(0))
    plain = partial(unroll, cell, method="parallel", engine="scan")
    assert not {*own, "scan"} & names_of(plain, xs)
    segments = partial(unroll, rz.cells.GRUCell(I, H, key=jr.key(0)), remat=4, engine="scan")
    assert_close(segments(xs), unroll(rz.cells.GRUCell(I, H, key=jr.key(0)), xs), 1e-5)
    with pytest.raises(ValueError, match="expected engine to be one of"):
        unroll(cell, xs, engine="fast")


def test_nan_before_a_reset_does_not_pass_the_plain_forms():
    cell = rz.cells.LRUCell(I, H, key=jr.key(0))
    xs = jr.normal(jr.key(1), (7, I)).at[1].set(jnp.nan)
    reset = jnp.arange(7) == 3
    for method in ("sequential", "parallel"):
        ys = unroll(cell, xs, reset=reset, method=method, engine="scan")[1]
        assert_close(ys[3:], unroll(cell, xs[3:])[1], 1e-5)


# --- steps of users -------------------------------------------------------------------------------


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + abs(v)) ** 2,))


def test_a_surrogate_gradient_trains_in_a_batch():
    def step(v, x):
        s = spike(v - 1)
        return 0.9 * v * (1 - s) + x, s

    cell = rz.adopt(step, input_size=3, init_state=jnp.zeros(3))
    run = jax.vmap(lambda xs: unroll(cell, xs)[1])
    gradient = jax.grad(lambda xs: jnp.sum(run(xs)))(jnp.ones((2, 4, 3)))
    np.testing.assert_allclose(jnp.sum(gradient), 10.819944, rtol=1e-6)


def test_scopes_are_kept():
    inner = jax.jit(lambda z: jnp.tanh(jax.named_scope("inside")(jnp.sin)(z)))

    def step(h, x):
        with jax.named_scope("gates"):
            z = U @ h + x
        with jax.named_scope("outer"):
            return inner(z), z

    U = jnp.eye(3)
    cell = rz.adopt(step, input_size=3, init_state=jnp.zeros(3))
    run = jax.jit(jax.grad(lambda xs: jnp.sum(jax.vmap(lambda xs: unroll(cell, xs)[1])(xs))))
    text = run.lower(jnp.ones((2, 4, 3))).as_text(debug_info=True)
    for scope in ("gates)/dot_general", "outer/inside)/sin", "outer)/tanh"):
        assert scope in text, scope


def test_a_jit_with_shardings_stays():
    mesh = jax.make_mesh((1,), ("one",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec())
    wide = jax.jit(jnp.sin, in_shardings=sharding, out_shardings=sharding)

    def step(h, x):
        h = wide(h) + x
        return h, h

    cell = rz.adopt(step, input_size=3, init_state=jnp.zeros(3))
    names = names_of(lambda xs: unroll(cell, xs), jnp.ones((2, 3)))
    assert "scan" in names
    assert "recurrent_loop" not in names


def test_float_checks_see_a_nan_inside_the_loop():
    def step(h, x):
        h = jnp.log(x) + 0.5 * h
        return h, h

    cell = rz.adopt(step, input_size=3, init_state=jnp.zeros(3))
    for engine in rz.scan.ENGINES:
        run = checkify.checkify(
            jax.jit(partial(unroll, cell, engine=engine)), errors=checkify.float_checks
        )
        assert run(jnp.ones((4, 3)))[0].get() is None
        assert "nan" in run(-jnp.ones((4, 3)))[0].get()


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gru", "lru", pytest.param("linoss", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(AxisType.Auto, id="auto", marks=pytest.mark.slow),
        pytest.param(AxisType.Explicit, id="explicit"),
    ],
)
def test_cells_over_devices(name, kind):
    """Values, gradients and shardings, without a word about the initial state."""
    with float64() as dtype:
        cell = rz.make_cell(name, I, H, key=jr.key(0), dtype=dtype)
        xs = jr.normal(jr.key(1), (4, 6, I), dtype)
        mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
        data, same = PartitionSpec("data"), PartitionSpec()
        spread = jax.device_put(cell, NamedSharding(mesh, same))
        batch = jax.device_put(xs, NamedSharding(mesh, data))

        def of(function, options):
            def one(cell, xs):
                flags = {"mask": jnp.arange(6) != 2, "reset": jnp.arange(6) == 4}
                return unroll(cell, xs, **flags, **options)[1]

            run = function(one)
            return jax.jit(
                lambda c, x: (run(c, x), jax.grad(lambda *a: jnp.sum(run(*a) ** 2), (0, 1))(c, x))
            )

        over = lambda one: jax.vmap(one, (None, 0))  # noqa: E731
        specs = {"mesh": mesh, "in_specs": (same, data), "out_specs": data}
        mapped = lambda one: jax.shard_map(over(one), **specs)  # noqa: E731
        for method in methods(cell):
            for engine in rz.scan.ENGINES:
                options = {"method": method, "engine": engine}
                expected = of(over, options)(cell, xs)
                with jax.set_mesh(mesh):
                    for function in (over, mapped):
                        found = of(function, options)(spread, batch)
                        assert_close(found, expected, 1e-10)
                        assert found[0].sharding.is_equivalent_to(batch.sharding, 3)
                if engine == "auto":  # no mesh named: the arrays say it
                    assert_close(of(over, options)(spread, batch), expected, 1e-10)


ONE_OF_A_KIND = {"lstm", "cfc", "lru"}
MESHES = {
    "explicit": (AxisType.Explicit, False),
    "auto": (AxisType.Auto, False),
    "shard_map": (AxisType.Auto, True),
}


def _over_meshes():
    """Every cell where each operation says how it is laid out; the rest with one of each kind."""
    kinds = {case.id for case in of_kinds(ALL)}
    for mesh, at in MESHES.items():
        for case in ALL:
            if mesh == "explicit" or case.id in kinds:
                quick = mesh == "explicit" and case.id in ONE_OF_A_KIND
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(case, *at, id=f"{case.id}-{mesh}", marks=marks)


@pytest.mark.parametrize(("case", "kind", "mapped"), list(_over_meshes()))
def test_a_batch_over_devices_equals_one_device(case, kind, mapped):
    """All cells and wrappers, with all that a sequence may have: values and gradients."""
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell, time=4)
        xs = jnp.stack([xs, 2 * xs, -xs, xs + 1])
        params, rest = eqx.partition((cell, state), eqx.is_inexact_array)

        def of(function):
            def one(params, xs):
                cell, state = eqx.combine(params, rest)
                found = unroll(cell, xs, state, **keywords)
                return [a for a in jax.tree.leaves(found) if eqx.is_inexact_array(a)]

            def value(params, xs):
                found = function(jax.vmap(one, (None, 0)))(params, xs)
                return sum(jnp.sum(jnp.sin(a.real) + jnp.cos(a.imag)) for a in found), found

            return jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))

        mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
        same, data = PartitionSpec(), PartitionSpec("data")
        specs = {"in_specs": (same, data), "out_specs": data}
        over = (lambda run: jax.shard_map(run, **specs)) if mapped else lambda run: run
        expected = of(lambda run: run)(params, xs)
        with jax.set_mesh(mesh):
            spread = jax.device_put(params, NamedSharding(mesh, same))
            found = of(over)(spread, jax.device_put(xs, NamedSharding(mesh, data)))
        for output in found[0][1]:
            assert output.sharding.spec[0] == "data"
        assert_close(jax.device_get(found), jax.device_get(expected), 1e-10)


def test_pmap():
    cell, xs = rz.cells.GRUCell(I, H, key=jr.key(0)), jr.normal(jr.key(1), (2, 2, 6, I))

    def gradient(cell, xs):
        loss = lambda cell: jnp.sum(jax.vmap(lambda xs: unroll(cell, xs)[1])(xs) ** 2)  # noqa: E731
        return lax.psum(jax.grad(loss)(cell), "devices")

    one = jax.pmap(gradient, axis_name="devices", in_axes=(None, 0))(cell, xs)
    both = jax.vmap(gradient, axis_name="devices", in_axes=(None, 0))(cell, xs)
    assert_close(one, both, 1e-4)


# --- cells that are wrong -------------------------------------------------------------------------


class Half(rz.AbstractLinearCell):
    """h' = a h + x, as its fields say."""

    a: jax.Array
    offset: jax.Array
    kind: type = eqx.field(static=True, default=rz.linear.Diagonal)
    size: int = eqx.field(static=True, default=2)
    input_size: int = eqx.field(static=True, default=2)
    output_size: int = eqx.field(static=True, default=2)
    timed: ClassVar[bool] = False

    def init_state(self):
        return jnp.zeros((2, 2) if self.kind is rz.linear.Block2x2 else 2)

    def transition(self, c, x):
        return rz.linear.AffineMap(
            self.kind(self.a), self.offset + (x.sum() if self.a.ndim > 1 else x)
        )

    def readout(self, c, state, x):
        return state.reshape(-1)[: self.size]


WRONG_MAPS = {
    "a scalar for a diagonal": Half(jnp.array(0.5), jnp.zeros(2)),
    "a diagonal of one": Half(jnp.full(1, 0.5), jnp.zeros(2)),
    "a diagonal too long": Half(jnp.full(3, 0.5), jnp.zeros(2)),
    "complex": Half(jnp.full(2, 0.5j), jnp.zeros(2)),
    "a complex offset": Half(jnp.full(2, 0.5), jnp.zeros(2, complex)),
    "an offset of another shape": Half(jnp.full(2, 0.5), jnp.zeros((2, 2))),
    "a block of one column": Half(jnp.ones((2, 1, 2)), jnp.zeros((2, 2)), kind=rz.linear.Block2x2),
    "a block as a matrix": Half(jnp.ones((2, 2)), jnp.zeros((2, 2)), kind=rz.linear.Block2x2),
}


@pytest.mark.parametrize("name", WRONG_MAPS)
def test_a_transition_that_does_not_fit_its_state_is_refused(name):
    cell, xs = WRONG_MAPS[name], jnp.ones((3, 2))
    for method in ("auto", "parallel", "sequential"):
        for engine in rz.scan.ENGINES:
            with pytest.raises(ValueError, match="expected the transition of Half"):
                unroll(cell, xs, method=method, engine=engine)
    with pytest.raises(ValueError, match="expected the transition of Half"):
        cell.step(cell.init_state(), xs[0])


def test_a_constant_transition_that_fits():
    cell = Half(jnp.full(2, 0.5), jnp.zeros(2))
    for method in ("auto", "parallel", "sequential"):
        ys = unroll(cell, jnp.ones((3, 2)), method=method)[1]
        np.testing.assert_allclose(ys, [[1, 1], [1.5, 1.5], [1.75, 1.75]])


class Any(rz.AbstractCell):
    """A cell of two functions."""

    initial: object = eqx.field(static=True)
    function: object = eqx.field(static=True)
    input_size: int = eqx.field(static=True, default=2)
    output_size: int = eqx.field(static=True, default=2)
    timed: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    def init_state(self):
        return self.initial()

    def step(self, state, x):
        return self.function(state, x)


def pair():
    return jnp.zeros(2), jnp.zeros(2)


WRONG_STEPS = {
    "a number for an array": (lambda: 0, lambda h, x: (h + 1, x), "give arrays, got 0"),
    "a number among arrays": (lambda: (jnp.zeros(2), 1.5), lambda h, x: (h, x), "got 1.5"),
    "a leaf dropped": (pair, lambda h, x: ((h[0],), x), "state like the one before"),
    "a list for a tuple": (pair, lambda h, x: ([h[0], h[1]], x), "state like the one before"),
    "another dtype": (
        pair,
        lambda h, x: ((h[0], h[1].astype(int)), x),
        r"got \(f32\[2\], i32\[2\]\)",
    ),
    "complex": (pair, lambda h, x: ((h[0] * 1j, h[1]), x), r"got \(c64\[2\], f32\[2\]\)"),
    "another shape": (pair, lambda h, x: ((h[0][:1], h[1]), x), "state like the one before"),
    "a longer output": (pair, lambda h, x: (h, jnp.zeros(3)), "as its output_size says, got"),
    "a matrix as output": (pair, lambda h, x: (h, x[None]), "as its output_size says, got"),
}


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_a_step_that_breaks_its_promise_is_named(name):
    initial, step, message = WRONG_STEPS[name]
    for engine in rz.scan.ENGINES:
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            unroll(Any(initial, step), jnp.ones((3, 2)), engine=engine)
        assert "of Any" in str(caught.value)


def test_a_linear_cell_with_another_output_size_is_named():
    cell = Half(jnp.full(2, 0.5), jnp.zeros(2), size=1)
    for method in ("auto", "parallel", "sequential"):
        with pytest.raises(ValueError, match="output of Half"):
            unroll(cell, jnp.ones((3, 2)), method=method)


def test_keys_are_states_too():
    def step(state, x):
        h, key = state
        return (h + jr.normal(key, (2,)), jr.split(key)[0]), h

    cell = Any(lambda: (jnp.zeros(2), jr.key(0)), step)
    xs = jnp.ones((4, 2))
    first, _ = unroll(cell, xs[:2])
    assert_close(unroll(cell, xs[2:], first)[1], unroll(cell, xs)[1][2:], 1e-6)


# --- values ---------------------------------------------------------------------------------------


def test_constants_of_the_host_are_values():
    """JAX keeps NumPy constants in a class of its own, and hands them on so."""
    beartype = pytest.importorskip("beartype")
    closed = jax.make_jaxpr(lambda state, x: [state * x])(np.ones(2), np.ones(2))
    read, _ = _program.read_program(closed, 1)
    (op,) = read.inside
    inside = jax.make_jaxpr(lambda x: x + jnp.asarray(np.arange(2.0)))(1.0)
    (constant,) = inside.consts
    values = {ref.number: constant for ref in (*read.state, *read.inputs)}
    beartype.beartype(_program.perform)(op, values)
    assert values[op.results[0].number].tolist() == [0, 1]
