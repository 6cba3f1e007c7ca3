"""The sequential loop against `lax.scan`: values and derivatives of every kind, for any step."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, float64
from jax import export, lax

import rnn_zoo as rz
from rnn_zoo._engine import backends
from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.loop import loop
from rnn_zoo.scan import unroll


H, I = 3, 2


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    for name, value in {"chunk": 4, "batch": 1}.items():
        monkeypatch.setitem(backends.SIZES["cpu"], name, backends.Size(value, "here"))


# --- steps: (parameters, state, x) -> (state, y) --------------------------------------------------


def merged(p, h, x):
    h = jnp.tanh(p["W"] @ x + p["U"] @ h + p["b"])
    return h, h


def chained(p, h, x):
    """Products of what others give, of x alone too; one matrix in two; x times a parameter."""
    z = jnp.tanh(p["W"] @ (x * p["s"]) + p["U"] @ jnp.sin(p["U"] @ (p["U"] @ h) + p["b"]))
    return z + p["b"], z @ p["V"] + p["T"][0, :I] @ jnp.sin(p["W"] @ x)


def sides(p, h, x):
    """Vector first, products of higher rank, and a product that is added and used besides."""
    a = h @ p["U"]
    z = a + p["b"] + jnp.einsum("ijk,k->ij", p["T"], h).sum(0)
    return jnp.tanh(z) + 0.1 * a, jnp.outer(h, x) + jnp.vdot(h, z)


def constants(p, h, x):
    """A matrix that is computed from parameters, a product of constants, a literal result."""
    U = jnp.sin(p["U"]) @ p["U"]
    return jnp.tanh(U @ h + p["U"] @ p["b"] + p["W"] @ x), (p["b"], 2.0, jnp.zeros(2))


def elementwise(p, h, x):
    h = jnp.tanh(p["b"] * h + x.sum())
    return h, h


def counting(p, state, x):
    """An integer in the state and a bool among the outputs; what is done depends on them."""
    n, h = state["n"], state["h"]
    h = jnp.where(n % 2 == 0, jnp.tanh(p["U"] @ h + p["W"] @ x), h)
    return {"n": n + 1, "h": h}, (h, n > 2)


def rotating(p, z, x):
    z = jnp.exp(1j * p["b"]) * z + (p["W"] + 1j * p["V"]) @ x + (p["U"] * 1j) @ z
    return 0.5 * z, z.real


@jax.jit
def jitted(p, h, x):
    def inner(h):
        return jnp.tanh(p["U"] @ h + jnp.arange(3.0))

    h = jax.jit(inner)(h) + p["W"] @ x
    return h, h


def nested(p, h, x):
    """A loop inside a step, over the same matrix."""
    h = lax.fori_loop(0, 3, lambda _, h: jnp.tanh(p["U"] @ h + p["W"] @ x), h)
    return h, h


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + v**2),))


def surrogate(p, h, x):
    """An activation with a derivative of its own, in reverse mode only."""
    h = 0.5 * h + p["U"] @ spike(h) + p["W"] @ x
    return h, spike(h)


STEPS = [merged, chained, sides, constants, elementwise, counting, rotating, jitted, nested]
SLOW = [pytest.param(step, marks=pytest.mark.slow) for step in (sides, counting)]


def parameters():
    shapes = {"W": (H, I), "U": (H, H), "V": (H, I), "T": (2, H, H), "b": (H,), "s": (I,)}
    return {name: draw(i, shape) for i, (name, shape) in enumerate(shapes.items())}


def start(step):
    h = draw(7, (H,))
    if step is counting:
        return {"n": jnp.zeros((), int), "h": h}
    return h + 0j if step is rotating else h


def both(step, length, reverse=False):
    """The loop and the scan as functions of (parameters, state, xs)."""

    def ours(p, state, xs, **options):
        return loop(partial(step, p), state, xs, Way(length, reverse, **options))

    def scan(p, state, xs):
        return lax.scan(partial(step, p), state, xs, reverse=reverse)

    return ours, scan


def arguments(step, length):
    return parameters(), start(step), draw(8, (length, I))


def size(tree):
    """A scalar of everything in a tree that has a derivative."""
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return sum(jnp.sum(jnp.sin(a.real) + jnp.cos(a.imag)) for a in leaves)


def gradient(function, at):
    of, rest = eqx.partition(at, eqx.is_inexact_array)
    return jax.grad(lambda of: size(function(*eqx.combine(of, rest))))(of)


def assert_same(one, two):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


def compiled(results, *functions):
    """`results` of each function, each in one program."""
    return [jax.jit(results, static_argnums=0)(function) for function in functions]


# One step; one chunk; chunks; chunks and a rest.
@pytest.mark.parametrize(("length", "reverse"), [(1, False), (8, True), (9, False), (37, True)])
@pytest.mark.parametrize("step", STEPS)
def test_loop_equals_scan(step, length, reverse):
    with float64():
        at = arguments(step, length)
        results = compiled(lambda f: (f(*at), gradient(f, at)), *both(step, length, reverse))
        assert_same(*results)


@pytest.mark.parametrize("step", STEPS)
def test_forward_mode_and_second_derivatives_equal_those_of_scan(step):
    with float64():
        at = arguments(step, 5)
        of, rest = eqx.partition(at, eqx.is_inexact_array)
        tangents = jax.tree.map(lambda a: draw(9, a.shape, a.dtype), of)

        def results(function):
            def value(of):
                return size(function(*eqx.combine(of, rest)))

            return jax.jvp(value, (of,), (tangents,)), jax.jvp(jax.grad(value), (of,), (tangents,))

        assert_same(*compiled(results, *both(step, 5)))


@pytest.mark.parametrize("wanted", ["parameters", "state", "xs"])
def test_derivatives_of_one_argument_alone(wanted):
    with float64():
        at = arguments(chained, 5)
        place = ["parameters", "state", "xs"].index(wanted)

        def one(function):
            return jax.grad(lambda *at: size(function(*at)), place)(*at)

        assert_same(*compiled(one, *both(chained, 5)))


@pytest.mark.parametrize("step", [merged, chained, *SLOW])
@pytest.mark.parametrize("who", ["xs", "parameters", "state", "all", "xs, then parameters"])
def test_vmap_equals_vmap_of_scan(step, who):
    levels = {
        "xs": [(None, None, 0)],
        "parameters": [({"W": 0, "U": 0, "V": None, "T": 0, "b": None, "s": None}, None, None)],
        "state": [(None, 0, None)],
        "all": [(0, 0, 0)],
        "xs, then parameters": [(None, None, 1), (0, None, None)],
    }[who]
    with float64():
        at = arguments(step, 5)
        for in_axes in levels:

            def many(tree, axis):
                if isinstance(axis, dict):
                    return {name: many(tree[name], axis[name]) for name in tree}
                stack = lambda a: jnp.stack([a, a * 2, a + 1], axis)  # noqa: E731
                return tree if axis is None else jax.tree.map(stack, tree)

            at = tuple(many(tree, axis) for tree, axis in zip(at, in_axes))

        def results(function):
            def of_one(*at):
                return function(*at), gradient(function, at)

            def of_all(*at):
                mapped = function
                for in_axes in levels:
                    mapped = jax.vmap(mapped, in_axes)
                return mapped(*at)

            each = of_one
            for in_axes in levels:
                each = jax.vmap(each, in_axes)
            return of_all(*at), each(*at), gradient(of_all, at)

        assert_same(*compiled(results, *both(step, 5)))


def test_batches_of_batches():
    """Of unlike sizes, each of other arguments."""
    with float64():
        p, h, xs = arguments(merged, 5)
        many_h, many_xs = jnp.stack([h, h + 1]), jnp.stack([xs, 2 * xs, -xs])

        def results(function):
            inner = jax.vmap(function, (None, None, 0))
            of_all = lambda *at: jax.vmap(inner, (None, 0, None), 1)(*at)  # noqa: E731
            at = p, many_h, many_xs
            return of_all(*at), gradient(of_all, at)

        assert_same(*compiled(results, *both(merged, 5)))


def assert_equals_scan(step, length):
    with float64():
        at = arguments(step, length)
        assert_same(*compiled(lambda f: (f(*at), gradient(f, at)), *both(step, length)))


def test_large_matrices_are_not_laid_out_anew(monkeypatch):
    monkeypatch.setitem(backends.SIZES["cpu"], "matrix", backends.Size(0, "here"))
    assert_equals_scan(chained, 9)


def test_derivatives_in_reverse_mode_only():
    assert_equals_scan(surrogate, 9)


@pytest.mark.parametrize("name", ["lstm", "mamba"])
def test_batch_and_length_may_be_symbols(name):
    cell = rz.make_cell(name, I, H, key=jr.key(0))

    def run(xs):
        return jax.vmap(lambda xs: unroll(cell, xs, method="sequential")[1])(xs)

    def both_ways(xs):
        return run(xs), jax.grad(lambda xs: size(run(xs)))(xs)

    shape = jax.ShapeDtypeStruct(export.symbolic_shape(f"batch, time, {I}"), jnp.float32)
    exported = export.export(jax.jit(both_ways))(shape)
    for batch, time in ((2, 3), (3, 40)):
        xs = draw(0, (batch, time, I), jnp.float32)
        for one, two in zip(exported.call(xs), both_ways(xs)):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_a_step_with_an_effect_keeps_it():
    def careful(p, h, x):
        return eqx.error_if(h, jnp.any(h > 1e3), "too large"), h

    at = arguments(careful, 5)
    ours, scan = both(careful, 5)
    assert_same(ours(*at), scan(*at))
    with pytest.raises(Exception, match="too large"):
        jax.block_until_ready(ours(at[0], at[1] + 1e6, at[2]))


def test_a_state_that_changes_its_dtype_is_refused_as_by_scan():
    def wrong(p, h, x):
        return h.astype(jnp.float16), h

    for run in both(wrong, 5):
        with pytest.raises(TypeError, match="carry"):
            run(*arguments(wrong, 5))


def test_randomness_in_a_step():
    def noisy(p, h, at):
        x, key = at
        h = jnp.tanh(p["U"] @ h + p["W"] @ x + jr.normal(key, (H,)))
        return h, h

    with float64():
        p, h, xs = arguments(merged, 5)
        keys = jr.split(jr.key(0), 5)

        def results(function):
            def of_one(p, x):
                return function(p, h, (x, keys))

            return jax.vmap(of_one, (None, 0))(p, xs[None]), gradient(of_one, (p, xs))

        assert_same(*compiled(results, *both(noisy, 5)))


@pytest.mark.parametrize(("segment", "reverse"), [(1, False), (3, True), (4, False), (20, False)])
def test_segments_change_nothing(segment, reverse):
    with float64():
        at = arguments(merged, 9)
        ours, scan = both(merged, 9, reverse)
        ours = partial(ours, segment=segment)
        assert_same(*compiled(lambda f: (f(*at), gradient(f, at)), ours, scan))


@pytest.mark.parametrize("layer", [rz.Recurrent, rz.layers.Backward])
def test_remat_of_a_layer(layer):
    with float64():
        cell = rz.make_cell("gru", I, H, key=jr.key(0), dtype=jnp.float64)
        xs, flags = draw(0, (11, I)), np.random.default_rng(1).random((2, 11)) < 0.7

        def results(remat):
            def value(cell, xs):
                run = layer(cell, remat=remat)
                state, ys = run.scan(xs, mask=flags[0], reset=~flags[1])
                return size(state) + size(ys)

            return value(cell, xs), jax.grad(value, (0, 1))(cell, xs)

        for remat in ("sqrt", 4):
            assert_same(*compiled(results, remat, None))


def temporary(run, time):
    """The bytes that the gradient of an LSTM over a batch takes, besides its inputs and outputs."""
    cell, xs = rz.make_cell("lstm", 4, 64, key=jr.key(0)), jnp.zeros((4, time, 4))

    def loss(cell):
        return jnp.mean(jax.vmap(lambda xs: run(cell, xs))(xs) ** 2)

    return jax.jit(jax.grad(loss)).lower(cell).compile().memory_analysis().temp_size_in_bytes


def test_gradient_of_a_long_sequence_takes_half_of_the_memory(monkeypatch):
    monkeypatch.undo()

    def plain(cell, xs):
        return lax.scan(lambda s, x: cell.step(s, x), cell.init_state(), xs)[1]

    ours = temporary(lambda cell, xs: unroll(cell, xs)[1], 1024)
    assert ours < 0.65 * temporary(plain, 1024)


def test_memory_with_remat_grows_like_the_root_of_time(monkeypatch):
    monkeypatch.undo()

    def last(cell, xs):
        return unroll(cell, xs, remat="sqrt")[0].h

    # The inputs themselves, of which there are few, are copied once.
    assert temporary(last, 16 * 1024) < 6 * temporary(last, 1024)
