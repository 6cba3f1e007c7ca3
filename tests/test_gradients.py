"""Gradients: finite, alive, equal to finite differences; what is fixed stays fixed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import (
    ALL,
    DEFAULTS,
    LINEAR,
    SEGMENT,
    I,
    T,
    build,
    draw,
    float64,
    gradients,
    ids,
    inputs,
    methods,
    only,
    plain,
    same,
    strict,
)

import rnn_zoo as rz
from rnn_zoo.scan import unroll


# Cells whose derivative is not that of their step; tests of their own say what it is.
STRAIGHT_THROUGH = {"pd_ssm"}


def summed(params, rest, keywords, method="auto"):
    cell, xs, state = eqx.combine(params, rest)
    final, ys = unroll(cell, xs, state, method=method, **keywords)
    weights = jnp.linspace(0.5, 1.5, ys.size).reshape(ys.shape)
    return jnp.sum(weights * jnp.sin(ys)) + sum(
        jnp.sum(abs(leaf)) for leaf in jax.tree.leaves(final) if jnp.iscomplexobj(leaf)
    )


def direction(tree, seed):
    leaves, treedef = jax.tree.flatten(tree)
    seeds = range(100 * seed, 100 * seed + len(leaves))

    def tangent(seed, leaf):
        real = draw(seed, (2, *leaf.shape) if jnp.iscomplexobj(leaf) else leaf.shape, float)
        return np.asarray(real[0] + 1j * real[1] if jnp.iscomplexobj(leaf) else real, leaf.dtype)

    return jax.tree.unflatten(treedef, [tangent(*pair) for pair in zip(seeds, leaves)])


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_reverse_forward_and_finite_differences_agree(case):
    if case.name in STRAIGHT_THROUGH:
        pytest.skip("its derivative is another one on purpose")
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)
        tangent = direction(params, 5)

        def f(params):
            return summed(params, rest, keywords)

        @jax.jit
        def both_modes(params, tangent):
            return jax.jvp(f, (params,), (tangent,))[1], jax.grad(f)(params)

        forward, grads = both_modes(params, tangent)
        pairs = zip(jax.tree.leaves(grads), jax.tree.leaves(tangent))
        reverse = sum(np.sum((np.asarray(g) * t).real) for g, t in pairs)
        np.testing.assert_allclose(forward, reverse, rtol=1e-9)
        f = jax.jit(f)
        step = 1e-6
        ahead, behind = (
            f(jax.tree.map(lambda p, t, s=s: np.asarray(p) + s * step * t, params, tangent))
            for s in (1, -1)
        )
        np.testing.assert_allclose(forward, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(**ids(LINEAR, kinds=True))
def test_forward_mode_of_the_parallel_form(case):
    with float64() as dtype:
        cell = build(case, dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)
        tangent = direction(params, 5)

        @jax.jit
        def derivatives(params, tangent):
            return [
                jax.jvp(lambda p, m=m: summed(p, rest, keywords, m), (params,), (tangent,))[1]
                for m in methods(cell)
            ]

        tangents = np.asarray(derivatives(params, tangent))
        np.testing.assert_allclose(tangents, tangents[:1].repeat(len(tangents)), rtol=1e-10)


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_hessians_work(case):
    cell = build(case)
    xs = inputs(cell)[0][:2]
    hessian = jax.jit(jax.hessian(lambda xs: jnp.sum(jnp.sin(unroll(cell, xs)[1]))))(xs)
    assert np.isfinite(hessian).all()


# No unit of a phased LSTM opens within so few steps; test_timed_cells.py has one that does.
IDLE = {("phased_lstm", "ratio")}


@pytest.mark.parametrize(**ids(ALL))
def test_every_parameter_has_a_finite_live_gradient(case):
    """Of the outputs of the first steps; what pads them is silence, over which no time passes."""
    cell = build(case)
    xs, _, keywords = inputs(cell)
    if getattr(cell, "takes_missing", False):  # what fills a gap in has a gradient where one is
        xs = xs.at[2:5, 0].set(jnp.nan).at[7, 1:].set(jnp.nan)
    rest = SEGMENT - T if case in DEFAULTS else 0
    own = {k: v if k == "key" else np.pad(v, (0, rest)) for k, v in only(keywords, "dt").items()}
    with strict():
        xs, sines = np.pad(xs, ((0, rest), (0, 0))), np.pad(np.ones(T, np.float32), (0, rest))
        grads = gradients(cell, xs, sines=sines, **own)[1]
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all(), path
        idle = (case.name, path[-1].name) in IDLE if hasattr(path[-1], "name") else False
        assert idle or leaf.size == 0 or (np.asarray(leaf) != 0).any(), path


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_gradients_are_finite_at_zero(case):
    cell = plain(case)
    keywords = {"key": jr.key(1)} if cell.stochastic else {}
    if cell.timed:
        keywords["dt"] = jnp.zeros(T)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(trained):
        cell, xs, dt = trained
        time = {} if dt is None else {"dt": dt}
        return jnp.sum(unroll(cell, xs, **{**keywords, **time})[1])

    grads = gradient((cell, jnp.zeros((T, I)), keywords.get("dt")))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_weight_decay_changes_no_fixed_array(case):
    cell = build(case)
    optimizer = optax.adamw(1e-2, weight_decay=0.5)

    @eqx.filter_jit
    def train(cell):
        parameters = eqx.filter(cell, eqx.is_inexact_array)
        # Any gradient does: what an optimiser may change is what it is shown.
        grads = jax.tree.map(jnp.ones_like, parameters)
        updates, _ = optimizer.update(grads, optimizer.init(parameters), parameters)
        return eqx.apply_updates(cell, updates)

    trained = train(cell)
    fixed = eqx.filter(cell, eqx.is_inexact_array, inverse=True)
    assert same(fixed, eqx.filter(trained, eqx.is_inexact_array, inverse=True))
    untrained = rz.Frozen | rz.cells.EchoStateCell | rz.cells.TappedDelayLine
    if isinstance(cell, untrained):
        assert not jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array))
        assert same(cell, trained)
    else:
        assert not same(cell, trained)


def test_indrnn_comes_back_from_the_edge_of_its_range():
    cell = rz.cells.IndRNNCell(I, 4, recurrent_range=(0.9, 1.0), key=jr.key(0))
    outside = rz.base.replace(cell, weight_hh=jnp.array([1.5, 3e8, 1.5, 1.01]))
    inside = rz.base.replace(cell, weight_hh=jnp.ones(4))
    xs = jr.normal(jr.key(1), (T, I))
    np.testing.assert_allclose(unroll(outside, xs)[1], unroll(inside, xs)[1], rtol=1e-6)
    grad = eqx.filter_grad(lambda c: jnp.sum(unroll(c, xs)[1]))(outside).weight_hh
    assert (np.asarray(grad) != 0).any()
