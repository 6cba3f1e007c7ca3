"""Loops whose samples lie side by side in memory: what comes out is the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from cases import DEFAULTS, assert_close, build, draw, float64, ids

import rnn_zoo as rz
from rnn_zoo._engine import abreast, backends, run as _run
from rnn_zoo.testing.evaluating import inputs_with_gaps


SAMPLES = 16
CASES = [case for case in DEFAULTS if not case.linear]
ALWAYS, NEVER = 0, 1 << 60


def from_numbers(monkeypatch, numbers):
    """Matrices of so many numbers or more are large; nothing traced before is used again."""
    monkeypatch.setitem(backends.SIZES["cpu"], "abreast", backends.Size(numbers, "here"))
    jax.clear_caches()


@pytest.fixture
def taken(monkeypatch):
    """For each loop that is set up after it, whether samples lie side by side."""
    found = []

    def spy(self, of=_run.Run._abreast):
        def noted(*at):
            found.append(True)
            return of(self, *at)

        return noted

    monkeypatch.setattr(_run.Run, "_abreast", property(spy))
    return found


@pytest.mark.parametrize(**ids(CASES, only={"lstm", "gru", "ligru"}))
def test_samples_side_by_side_equal_those_in_front(case, monkeypatch, taken):
    """States, outputs, gradients, with step sizes and keys of each sample, one back in time;
    and with columns of zeros, which large matrices get."""
    monkeypatch.setattr(abreast, "_columns", lambda rows, columns, samples: columns + 2)
    with float64():
        cell = build(case, jnp.float64)
        drawn = [inputs_with_gaps(cell, 6, seed) for seed in range(SAMPLES)]
        xs, state, given = jax.tree.map(lambda *a: jnp.stack(a), *drawn)
        del given["mask"], given["reset"]  # they have their samples in front
        xs = jnp.nan_to_num(xs)
        reverse = case.name == "gru"

        def results(at):
            cell, xs, state = at

            def of_one(xs, state, given):
                return rz.scan.trajectory(cell, xs, state, **given, reverse=reverse)

            states, ys = jax.vmap(of_one)(xs, state, given)
            real = [a for a in (*jax.tree.leaves(states), ys) if eqx.is_inexact_array(a)]
            return sum(jnp.sum(jnp.sin(jnp.abs(a))) for a in real), real

        found = []
        for numbers in (NEVER, ALWAYS):
            from_numbers(monkeypatch, numbers)
            found.append(eqx.filter_value_and_grad(results, has_aux=True)((cell, xs, state)))
            if numbers == NEVER:
                assert not taken
        assert_close(*found, 1e-11)
        if case.name in ("lstm", "gru", "ligru", "elman", "mgu", "lem", "cornn"):
            assert taken


def many(cell, xs):
    return jax.vmap(lambda xs: rz.scan.unroll(cell, xs)[1])(xs)


def test_derivatives_of_any_order_and_of_forward_mode(monkeypatch, taken):
    with float64():
        cell = rz.make_cell("lstm", 1, 3, key=jr.key(0), dtype=jnp.float64)
        xs, moved = draw(1, (SAMPLES, 5, 1)), draw(2, (SAMPLES, 5, 1))

        def value(xs):
            return jnp.sum(jnp.sin(many(cell, xs)))

        found = []
        for numbers in (NEVER, ALWAYS):
            from_numbers(monkeypatch, numbers)
            second = jax.jvp(jax.grad(value), (xs,), (moved,))
            found.append((jax.jvp(value, (xs,), (moved,)), second))
        assert_close(*found, 1e-11)
        assert taken


@pytest.mark.parametrize("who", ["cells", "inputs", "both"])
def test_gradients_of_batches_side_by_side(who, monkeypatch, taken):
    """A population's, say: a gradient of a batch, for many cells or many batches at once."""
    with float64():
        cell = rz.make_cell("gru", 2, 3, key=jr.key(0), dtype=jnp.float64)
        cells = jax.tree.map(lambda a: jnp.stack([a, 2 * a, -a]), cell)
        batches = draw(1, (3, SAMPLES, 5, 2))

        def gradient(cell, xs):
            return jax.grad(lambda cell: jnp.sum(jnp.sin(many(cell, xs))))(cell)

        at = (cell if who == "inputs" else cells), (batches[0] if who == "cells" else batches)
        in_axes = None if who == "inputs" else 0, None if who == "cells" else 0
        found = []
        for numbers in (NEVER, ALWAYS):
            from_numbers(monkeypatch, numbers)
            found.append(jax.jit(jax.vmap(gradient, in_axes))(*at))
        assert_close(*found, 1e-11)
        assert taken


def test_one_column_alone_is_still_a_product(monkeypatch, taken):
    """A GRU multiplies its inputs apart from its state; the last states, and the outputs."""
    with float64():
        cell = rz.make_cell("gru", 1, 3, key=jr.key(0), dtype=jnp.float64)
        xs, found = draw(1, (SAMPLES, 5, 1)), []
        for numbers in (NEVER, ALWAYS):
            from_numbers(monkeypatch, numbers)
            both = jax.vmap(lambda xs: rz.scan.unroll(cell, xs))
            found.append(jax.jit(both)(xs))
        assert_close(*found, 1e-12)
        assert taken
        assert abreast.joined([jnp.ones((9, 1))], SAMPLES).shape == (9, 2)


def test_a_sample_that_is_not_finite_stays_alone(monkeypatch, taken):
    from_numbers(monkeypatch, ALWAYS)
    cell = rz.make_cell("lstm", 2, 3, key=jr.key(0))
    xs = draw(1, (SAMPLES, 5, 2), jnp.float32)
    ys = many(cell, xs.at[3, 1].set(jnp.nan).at[7, 2].set(jnp.inf))
    others = jnp.array([i for i in range(SAMPLES) if i not in (3, 7)])
    assert jnp.isnan(ys[3, 1:]).all()
    assert_close(ys[others], many(cell, xs)[others], 0)
    assert taken


def test_which_loops_have_their_samples_side_by_side(monkeypatch, taken):
    from_numbers(monkeypatch, ALWAYS)

    def is_taken(name, samples=SAMPLES, function=many, **options):
        taken.clear()
        cell = rz.make_cell(name, 3, 4, key=jr.key(0), **options)
        jax.make_jaxpr(function)(cell, jnp.zeros((samples, 7, 3)))
        jax.jit(function).lower(cell, jnp.zeros((samples, 7, 3)))
        return bool(taken)

    assert is_taken("lstm")
    assert is_taken("lstm", peepholes=True)  # vectors are laid out for all samples
    assert is_taken("lstm", 64)
    for samples in (1, 8, 18, 72):
        assert not is_taken("lstm", samples)
    assert not is_taken("indrnn")  # no product in the loop

    def with_mask(cell, xs):
        return jax.vmap(lambda xs: rz.scan.unroll(cell, xs, mask=xs[:, 0] > 0)[1])(xs)

    assert not is_taken("lstm", function=with_mask)
    # One sample, batches of batches, and cells of their own for every sample.
    assert not is_taken("lstm", function=lambda cell, xs: rz.scan.unroll(cell, xs[0])[1])
    batches = lambda cell, xs: jax.vmap(many, (None, 0))(cell, xs[None])  # noqa: E731
    assert not is_taken("lstm", function=batches)

    def own(cell, xs):
        cells = jax.tree.map(lambda a: jnp.stack([a] * SAMPLES), cell)
        return jax.vmap(lambda cell, xs: rz.scan.unroll(cell, xs)[1])(cells, xs)

    assert not is_taken("lstm", function=own)
    monkeypatch.undo()
    assert backends.SIZES["cpu"]["abreast"].value > 4 * 4 * 7


def test_what_is_not_elementwise_keeps_its_samples_in_front(monkeypatch, taken):
    from_numbers(monkeypatch, ALWAYS)
    cell = rz.LayerNormed(rz.make_cell("lstm", 3, 4, key=jr.key(0)))
    jax.jit(many).lower(cell, jnp.zeros((SAMPLES, 7, 3)))
    assert not taken


def test_columns_of_zeros_where_threads_share_a_product_then():
    assert abreast._columns(512, 192, 32) == 228
    assert abreast._columns(512, 228, 32) == 228
    assert abreast._columns(512, 150, 32) == 150  # too many of them
    assert abreast._columns(2000, 1000, 64) == 1000
