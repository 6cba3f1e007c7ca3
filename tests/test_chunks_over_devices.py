"""Chunks of a cell that is not linear, on several devices: as on one, and only states pass.

Here are two devices. `test_eight_devices` runs this file again with eight.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from cases import assert_close, draw, float64
from test_chunks import (
    Chaotic,
    Clock,
    FlipFlop,
    Toggle,
    Turning,
    pulses,
    signs,
)

import rnn_zoo as rz
from rnn_zoo.scan import Chunks, chunk_report, unroll
from rnn_zoo.testing.evaluating import inputs_with_gaps, outcome


HERE = jax.device_count()
TIME = 48  # two devices: five chunks of five steps, of which the last is filled; eight: two each


def make_mesh(kind=jax.sharding.AxisType.Auto):
    return jax.make_mesh((HERE,), ("time",), axis_types=(kind,))


def spread(function, *given):
    """With time over all devices, and the result on one again."""
    with jax.set_mesh(make_mesh()), rz.scan.over_devices("time"):
        return jax.device_get(function(*given))


def make(name, dtype):
    return rz.make_cell(name, 3, 4, key=jax.random.key(0), dtype=dtype)


@pytest.mark.parametrize(
    "name",
    ["elman", *(pytest.param(n, marks=pytest.mark.slow) for n in ("clockwork", "lstm", "cfc"))],
)
def test_chunks_over_devices_equal_the_loop(name):
    """With a mask, resets and a state, from the end."""
    with float64() as dtype:
        cell = make(name, dtype)
        xs, state, keywords = inputs_with_gaps(cell, TIME)
        keywords["reverse"] = name != "lstm"
        one = outcome((cell, xs, state), "sequential", keywords)
        two = spread(outcome, (cell, xs, state), Chunks(5), keywords)
        assert_close(one[0], two[0], 1e-12)
        assert_close(one[1], two[1], 1e-10)


LEVELS = {
    "one of two": (Toggle(3.0), lambda: signs(32 * 32, 0.3), 32, 1e-9, (1,)),
    "one of eight": (FlipFlop(3.0), lambda: pulses(64 * 32, 0.004), 32, 1e-9, (1, 2)),
    "newton": (Turning(0.3), lambda: draw(1, (24 * 16, 1)), 16, 1e-8, (3,)),
    "one by one": (Chaotic(4.0), lambda: jnp.zeros((24 * 16, 1)), 16, 0, (4,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_every_level_over_devices(name):
    """Values, what was decided, and once a gradient of the first steps."""
    made, inputs, size, tolerance, levels = LEVELS[name]
    with float64():
        cell = jax.tree.map(jnp.asarray, made)
        xs, options = jnp.asarray(inputs()), Chunks(size, tol=1e-9)
        run = jax.jit(lambda xs, method: unroll(cell, xs, method=method), static_argnums=1)
        assert_close(run(xs, "sequential"), spread(run, xs, options), tolerance)
        report = spread(lambda xs: chunk_report(cell, xs, method=options), xs)
        assert report.level in levels
        alone = chunk_report(cell, xs, method=options)
        assert (report.level, report.chunks, report.size) == (alone.level, alone.chunks, size)
        assert abs(report.passes - alone.passes) <= 2

        if name != "newton":
            return

        def early(xs, method):
            return jnp.sum(unroll(cell, xs, method=method)[1][:20] ** 2)

        slope = jax.jit(jax.grad(early), static_argnums=1)
        assert_close(slope(xs, "sequential"), spread(slope, xs, options), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("check", [True, False])
def test_inside_a_shard_map_of_the_user(check):
    with float64() as dtype:
        cell, xs, whole, time = make("gru", dtype), draw(0, (TIME, 3)), jax.P(), jax.P("time")
        run = jax.shard_map(
            lambda cell, xs: unroll(cell, xs, method=Chunks(5), mesh_axis="time"),
            mesh=make_mesh(),
            in_specs=(whole, time),
            out_specs=(whole, time),
            check_vma=check,
        )
        assert_close(jax.jit(run)(cell, xs), unroll(cell, xs), 1e-11)


@pytest.mark.slow
def test_a_model_over_devices_and_a_batch():
    with float64() as dtype:
        model = rz.make_model(
            "gru", 3, 2, hidden_size=4, method=Chunks(8), dtype=dtype,
            pool=None, key=jax.random.key(0),
        )  # fmt: skip
        xs = draw(0, (2, TIME, 3))
        run = jax.jit(lambda model, xs: rz.batch(model)(xs))
        expected = run(model, xs)
        over = rz.base.replace(model, mesh_axis="time")
        with jax.set_mesh(make_mesh()):
            assert_close(expected, jax.device_get(run(over, xs)), 1e-11)


@pytest.mark.slow
def test_a_clock_goes_on_on_the_next_device():
    cell, xs, reset = Clock(), draw(0, (TIME, 1)), jnp.arange(TIME) == 13
    state = jnp.ones(1), jnp.int32(4)
    run = jax.jit(
        lambda xs, method: unroll(cell, xs, state, reset=reset, method=method), static_argnums=1
    )
    assert_close(run(xs, "sequential"), spread(run, xs, Chunks(5)), 1e-5)


def _collectives(jaxpr, found):
    """The most numbers that pass at once."""
    for equation in jaxpr.eqns:
        if equation.primitive.name.split("_invariant")[0] in ("all_gather", "ppermute", "psum"):
            found.append(max(v.aval.size for v in equation.outvars))
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    _collectives(inner, found)
    return found


def test_only_states_pass_between_devices():
    """As many numbers for long chunks as for short ones."""
    cell = make("elman", None)
    most = []
    for size in (64, 512):
        xs = jax.ShapeDtypeStruct((8 * HERE * size, 3), jnp.float32)

        def run(xs, size=size):
            return unroll(cell, xs, method=Chunks(size, seeds=2))[1]

        with jax.set_mesh(make_mesh()), rz.scan.over_devices("time"):
            most.append(max(_collectives(jax.make_jaxpr(run)(xs).jaxpr, [])))
    assert most[0] == most[1] <= 8 * HERE * 8 * 4


@pytest.mark.slow
def test_a_gradient_of_a_batch_on_an_explicit_mesh():
    """The batch is spread there, and stays so."""
    with float64() as dtype:
        cell, xs = make("elman", dtype), draw(0, (2 * HERE, 20, 3))

        def slope(xs, method):
            run = jax.vmap(lambda x: unroll(cell, x, method=method)[1])
            return jax.grad(lambda xs: jnp.sum(run(xs) ** 2))(xs)

        mesh = make_mesh(jax.sharding.AxisType.Explicit)
        with jax.set_mesh(mesh):
            spread = jax.device_put(xs, jax.NamedSharding(mesh, jax.P("time")))
            found = jax.jit(slope, static_argnums=1)(spread, Chunks(5))
        assert found.sharding.spec[0] == "time"
        assert_close(slope(xs, "sequential"), jax.device_get(found), 1e-10)


def test_the_loop_is_refused():
    with jax.set_mesh(make_mesh()):
        with pytest.raises(ValueError, match=r'not a linear cell.*method="chunks"'):
            unroll(make("elman", None), jnp.ones((TIME, 3)), mesh_axis="time")


@pytest.mark.slow
@pytest.mark.skipif(HERE != 2, reason="is run by itself")
def test_eight_devices():
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"DEVICES": "8"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    chosen = "(equal_the_loop and (elman or clockwork)) or newton or 'one of two'"
    command += ["-m", "slow or not slow", "-k", chosen.replace("'one of two'", "(one and two)")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]
