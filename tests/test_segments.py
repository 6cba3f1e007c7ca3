"""Linear cells in a loop go over a sequence some steps at once: it is the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from cases import DEFAULTS, assert_close, build, float64, ids

import rnn_zoo as rz
from rnn_zoo._engine import backends
from rnn_zoo._engine.unstable import samples_of
from rnn_zoo._evaluators.common import How
from rnn_zoo._evaluators.parallel import _segment
from rnn_zoo.testing.evaluating import inputs_with_gaps


CASES = [case for case in DEFAULTS if case.linear]


@pytest.mark.parametrize(**ids(CASES, only={"lru", "linoss", "mingru"}))
def test_segments_equal_the_whole(case, monkeypatch):
    with float64():
        cell = build(case, jnp.float64)
        xs, state, given = inputs_with_gaps(cell, 14)
        given["reverse"] = case.name in ("lru", "mamba")
        if case.name == "linoss":
            given["dt"] = jnp.asarray(0.7)

        def results(at):
            cell, xs, state = at
            states, ys = rz.scan.trajectory(cell, xs, state, **given)
            return sum(jnp.sum(jnp.sin(jnp.abs(a))) for a in (states, ys)), (states, ys)

        found = []
        for steps in (len(xs), 3):  # three at once leave a rest
            for name, value in (("linear_steps", steps), ("linear_values", 1)):
                monkeypatch.setitem(backends.SIZES["cpu"], name, backends.Size(value, "here"))
            found.append(eqx.filter_value_and_grad(results, has_aux=True)((cell, xs, state)))
        assert_close(*found, 1e-11)


def test_how_many_steps_at_once():
    how = How(False, False, algorithm="loop")
    assert _segment(32 * 128, 1000, how) == 32
    assert _segment(1 << 20, 1000, how) == 16
    assert _segment(32 * 128, 128, how) is None
    assert _segment(32 * 128, 1000, how._replace(algorithm="associative")) is None
    assert _segment(32 * 128, 1000, how._replace(mesh_axis="time")) is None


def test_samples_are_seen_through_batches_and_derivatives():
    found = []

    def sum_of(x):
        found.append(samples_of(x))
        return x.sum()

    xs = jnp.ones((3, 4, 2))
    jax.jit(jax.vmap(jax.vmap(sum_of), in_axes=1))(xs)
    jax.vmap(jax.grad(sum_of))(xs)
    jax.grad(lambda xs: jax.vmap(sum_of)(xs).sum())(xs)
    jax.vmap(lambda x: jax.vmap(sum_of, in_axes=None, axis_size=5)(x))(xs)
    jax.vmap(jax.jit(sum_of))(xs)
    assert found == [12, 3, 3, 3, 1]
    assert samples_of(xs) == 1
