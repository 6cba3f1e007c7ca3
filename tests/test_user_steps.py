"""Steps that use all of jax: the engine gives what `lax.scan` gives, however it is transformed."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import draw, float64
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from user_steps import STEPS, I, T, parameters

from rnn_zoo._engine import loop as _loop
from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.loop import loop


pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork")
QUICK = [pytest.param(n, marks=() if s.quick else pytest.mark.slow) for n, s in STEPS.items()]
QUICK_MESHES = ("cond", "custom_vjp", "nested_state", "complex_state", "jit_inside")
MESHES = [
    pytest.param(n, marks=() if n in QUICK_MESHES else pytest.mark.slow)
    for n, user in STEPS.items()
    if user.meshes and user.smooth
]


def runs(name):
    """The loop and the scan as functions of (parameters, state, xs)."""
    user = STEPS[name]

    def ours(p, state, xs, plain=False):
        inputs = xs if user.inputs is None else user.inputs(xs)
        return loop(partial(user.step, p), state, inputs, Way(T, plain=plain))

    def scan(p, state, xs):
        inputs = xs if user.inputs is None else user.inputs(xs)
        return lax.scan(partial(user.step, p), state, inputs, length=T)

    return ours, scan


def size(tree):
    """A scalar of everything in a tree that has a derivative."""
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return sum(jnp.sum(jnp.sin(a.real) + jnp.cos(a.imag)) for a in leaves) + jnp.zeros(())


def split(tree):
    return eqx.partition(tree, lambda a: jnp.issubdtype(a.dtype, jnp.inexact))


def derivatives(run, at, forward):
    """Gradient, forward mode over it, and the gradient of a batch."""
    of, rest = split(at)
    moved = jax.tree.map(lambda a: (0.1 + jnp.arange(a.size).reshape(a.shape)).astype(a.dtype), of)

    def value(of):
        return size(run(*eqx.combine(of, rest)))

    gradient = jax.jvp(jax.grad(value), (of,), (moved,)) if forward else jax.grad(value)(of)
    return gradient, gradient_of_batch(run, at)


def gradient_of_batch(run, at):
    p, state, xs = at
    of, rest = split((p, state))

    def value(of, xs):
        batched = jax.vmap(run, (None, None, 0))(*eqx.combine(of, rest), xs)
        return size(batched), jax.tree.map(_numbers, batched)

    return jax.value_and_grad(value, (0, 1), has_aux=True)(of, jnp.stack([xs, 2 * xs]))


def _numbers(a):
    return jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a


def numbers(tree):
    return jax.tree.map(_numbers, tree)


def assert_same(one, two, name):
    rounded = {"half_state": 5e-2, "mixed_dtypes": 1e-5, "equinox_cell": 1e-5}
    tolerance = rounded.get(name, 1e-10)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        x, y = (np.asarray(a, np.float64 if a.dtype == jnp.bfloat16 else None) for a in (x, y))
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def arguments(name):
    return parameters(), STEPS[name].state(), draw(8, (T, I))


@pytest.mark.parametrize("name", QUICK)
def test_a_step_in_the_engine_equals_the_scan(name):
    user = STEPS[name]
    with float64():
        at = arguments(name)

        def results(run):
            found = [numbers(run(*at))]
            if not user.smooth and name != "ordered_io":
                found.append(numbers(jax.vmap(run, (None, None, 0))(*at[:2], at[2][None])))
            if user.smooth:
                found.append(derivatives(run, at, user.forward))
            return found

        assert_same(*(jax.jit(partial(results, run))() for run in runs(name)), name)


@pytest.mark.parametrize("name", list(STEPS))
def test_which_steps_the_engine_takes(name, monkeypatch):
    """So that a step that is known is not left to the scan for nothing, nor the reverse."""
    taken = []
    monkeypatch.setattr(
        _loop, "_takes", lambda *a, of=_loop._takes: (taken.append(of(*a)), False)[1]
    )
    jax.eval_shape(runs(name)[0], *arguments(name))
    assert STEPS[name].known in (None, *taken)


def spread(f, p, state, xs, mesh):
    """`f(parameters, state, batch)` with the batch over the devices of a mesh."""
    p, state = jax.device_put((p, state), NamedSharding(mesh, PartitionSpec()))
    xs = jax.device_put(xs, NamedSharding(mesh, PartitionSpec("data")))
    with jax.set_mesh(mesh):
        return jax.jit(f)(p, state, xs)


@pytest.mark.parametrize("name", MESHES)
def test_a_step_over_devices_equals_the_scan_on_one(name):
    """The batch over two devices, on automatic and explicit meshes, and in `jax.shard_map`."""
    with float64():
        p, state, xs = arguments(name)
        at = p, state, jnp.stack([xs, 2 * xs, -xs, xs + 1])

        def of(run, mesh=None):
            batched = jax.vmap(run, (None, None, 0))
            if mesh is not None:
                data = PartitionSpec("data")
                specs = {"in_specs": (PartitionSpec(), PartitionSpec(), data), "out_specs": data}
                batched = jax.shard_map(batched, mesh=mesh, **specs)

            def value(p, xs, state):
                results = batched(p, state, xs)
                return size(results), numbers(results)

            return lambda p, state, xs: jax.value_and_grad(value, (0, 1), has_aux=True)(
                p, xs, state
            )

        ours, scan = runs(name)
        expected = jax.jit(of(scan))(*at)
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
            for inner in (None, mesh):
                try:
                    found = spread(of(ours, inner), *at, mesh)
                except Exception:  # what jax refuses of this step there, it refuses of us
                    with pytest.raises(Exception):  # noqa: B017
                        spread(of(partial(ours, plain=True), inner), *at, mesh)
                    continue
                assert_same(found, expected, name)
