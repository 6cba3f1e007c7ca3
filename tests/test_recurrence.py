"""The recurrence of linear cells, its algorithms and its derivatives, against a Python loop."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import float64

from rnn_zoo._engine import backends
from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.recurrence import ALGORITHMS, solve
from rnn_zoo.linear import Block2x2, Diagonal, OneHotColumns, SharedDense


P = 3
SHAPES = {
    Diagonal: ((P,), (P,)),
    Block2x2: ((2, 2, P), (2, P)),
    SharedDense: ((P, P), (2, P)),
    OneHotColumns: ((P, P), (P,)),
}
ALGORITHM = pytest.mark.parametrize("algorithm", ALGORITHMS)


def elements_of(slow):
    """Every kind of A under every algorithm; `slow`: all but diagonals are."""

    def marks(kind, algorithm):
        return [pytest.mark.slow] if slow and kind is not Diagonal else []

    cases = [
        pytest.param(
            kind,
            varying,
            algorithm,
            marks=marks(kind, algorithm),
            id=f"{kind.__name__}-{'varying' if varying else 'constant'}-{algorithm}",
        )
        for kind, varying, algorithm in itertools.product(SHAPES, (False, True), ALGORITHMS)
    ]
    return pytest.mark.parametrize(("kind", "varying", "algorithm"), cases)


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    monkeypatch.setitem(backends.SIZES["cpu"], "block", backends.Size(3, "here"))


def draw(seed, *shape):
    rng = np.random.default_rng(seed)
    return jnp.asarray(0.5 * (rng.normal(size=shape) + 1j * rng.normal(size=shape)))


def elements(kind, time, varying, batch=()):
    shape_a, shape_b = SHAPES[kind]
    a = draw(0, *batch, *((time,) if varying else ()), *shape_a)
    if kind is OneHotColumns:
        a = a * jax.nn.one_hot(jnp.abs(a).argmax(-2), P, axis=-2)
    return a, draw(1, *batch, time, *shape_b)


def flags(time, masked=True):
    rng = np.random.default_rng(2)
    mask, barrier = jnp.asarray(rng.random(time) < 0.7), jnp.asarray(rng.random(time) < 0.3)
    return {"mask": mask, "barrier": barrier} if masked else {"mask": None, "barrier": None}


def by_hand(kind, a, b, *, mask, barrier, reverse):
    order = range(b.shape[0])
    h, states = jnp.zeros_like(b[0]), {}
    for t in reversed(order) if reverse else order:
        after = kind(a[t] if a.ndim > kind.rank else a).apply(h)
        after = after if mask is None else jnp.where(mask[t], after, h)
        after = after if barrier is None else jnp.where(barrier[t], 0, after)
        h = states[t] = after + b[t]
    return jnp.stack([states[t] for t in order])


def pair(kind, algorithm, reverse=False, **keywords):
    """The function under test and its reference, of (a, b)."""
    return (
        lambda a, b: solve(kind(a), b, Way(len(b), reverse), algorithm=algorithm, **keywords),
        lambda a, b: by_hand(kind, a, b, reverse=reverse, **keywords),
    )


def assert_same(one, two):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * float(1 + jnp.abs(y).max()))


def size(states):
    return jnp.sum(jnp.abs(states) ** 2) + jnp.sum(states.real)


@elements_of(slow=False)
@pytest.mark.parametrize("time", [1, 2, 3, 8])
def test_states_equal_the_loop(kind, varying, algorithm, time):
    with float64():
        a, b = elements(kind, time, varying)
        for reverse, masked in itertools.product([False, True], repeat=2):
            ours, loop = pair(kind, algorithm, reverse, **flags(time, masked))
            assert_same(ours(a, b), jax.jit(loop)(a, b))


@elements_of(slow=True)
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_equal_those_of_the_loop(kind, varying, algorithm, reverse):
    with float64():
        a, b = elements(kind, 4, varying)
        tangents = draw(3, *a.shape), draw(4, *b.shape)
        ours, loop = pair(kind, algorithm, reverse, **flags(4))

        def derivatives(f):
            gradient = jax.grad(lambda *at: size(f(*at)), (0, 1))
            twice = jax.grad(lambda *at: sum(map(size, gradient(*at))), (0, 1))
            forward = jax.jvp(f, (a, b), tangents)
            return forward, jax.jvp(gradient, (a, b), tangents), twice(a, b)

        derivatives = jax.jit(derivatives, static_argnums=0)
        assert_same(derivatives(ours), derivatives(loop))


@elements_of(slow=True)
@pytest.mark.parametrize("in_axes", [(None, 0), (0, None), (0, 0)])
def test_vmap_equals_a_loop_over_samples(kind, varying, algorithm, in_axes):
    with float64():
        (a, b), (many_a, many_b) = (elements(kind, 5, varying, batch) for batch in [(), (2,)])
        at = (a if in_axes[0] is None else many_a, b if in_axes[1] is None else many_b)
        ours, loop = pair(kind, algorithm, **flags(5))

        def results(f):
            def of_each(*at):
                return f(*at), jax.grad(lambda *at: size(f(*at)), (0, 1))(*at)

            of_all = jax.grad(lambda *at: size(jax.vmap(f, in_axes)(*at)), (0, 1))
            return jax.vmap(of_each, in_axes)(*at), of_all(*at)

        results = jax.jit(results, static_argnums=0)
        assert_same(results(ours), results(loop))


@ALGORITHM
def test_vmap_over_flags_and_twice(algorithm):
    with float64():
        a, b = elements(Diagonal, 5, False, (2,))
        masks = jnp.asarray(np.random.default_rng(5).random((3, 5)) < 0.6)

        def results(f):
            def one(a, b, mask):
                return jax.grad(lambda a: size(f(a, b, mask)))(a)

            return jax.vmap(lambda mask: jax.vmap(one, (0, 0, None))(a, b, mask))(masks)

        def ours(a, b, mask):
            return pair(Diagonal, algorithm, mask=mask, barrier=None)[0](a, b)

        def loop(a, b, mask):
            return pair(Diagonal, algorithm, mask=mask, barrier=None)[1](a, b)

        results = jax.jit(results, static_argnums=0)
        assert_same(results(ours), results(loop))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("varying", [False, True])
def test_blocks_of_a_size_that_the_compiler_fuses(varying, masked, monkeypatch):
    # The tests compile without optimisation; these numbers were wrong with it.
    monkeypatch.setitem(backends.SIZES["cpu"], "block", backends.Size(256, "here"))
    options = {"xla_backend_optimization_level": 3}
    if jax.__version__.startswith("0.10."):
        options["xla_cpu_use_fusion_emitters"] = True
    a = draw(0, *((2048,) if varying else ()), 2, 2, 64).real.astype("float32") / 2
    b = draw(1, 8, 2048, 2, 64).real.astype("float32")

    def states(algorithm):
        run = pair(Block2x2, algorithm, **flags(2048, masked))[0]
        return jax.jit(jax.vmap(run, (None, 0)), compiler_options=options)(a, b)

    np.testing.assert_allclose(states("blocked"), states("loop"), rtol=1e-4, atol=1e-4)


def test_only_the_states_are_kept_for_a_gradient():
    # The derivative reads A, the states and the cotangent: no product or prefix of either.
    a, b = jr.normal(jr.key(0), (P,)), jr.normal(jr.key(1), (64, P))
    ours = pair(Diagonal, "loop", mask=None, barrier=None)[0]
    pull = jax.vjp(ours, a, b)[1]
    kept = sorted(np.shape(x) for x in jax.tree.leaves(pull))
    assert kept in ([(1, P), (64, P)], [(P,), (64, P)])
