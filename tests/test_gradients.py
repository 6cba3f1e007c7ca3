"""Gradients: finite, alive, equal to finite differences; what is fixed stays fixed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import ALL, DEFAULTS, LINEAR, STRAIGHT_THROUGH, I, T, build, ids, same, strict, subject

import rnn_zoo as rz
from rnn_zoo.scan import unroll
from rnn_zoo.testing import deriving


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_reverse_forward_and_finite_differences_agree(case):
    if case.name in STRAIGHT_THROUGH:
        pytest.skip("its derivative is another one on purpose")
    deriving.reverse_forward_and_finite_differences_agree(subject(case))


@pytest.mark.parametrize(**ids(LINEAR, kinds=True))
def test_forward_mode_of_the_parallel_form(case):
    deriving.forward_mode_of_the_parallel_form(subject(case))


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_hessians_work(case):
    deriving.hessians_work(subject(case))


@pytest.mark.parametrize(**ids(ALL))
def test_every_parameter_has_a_finite_live_gradient(case):
    subject(case).cell()
    with strict():
        deriving.every_parameter_has_a_finite_live_gradient(subject(case))


@pytest.mark.parametrize(**ids(ALL, kinds=True))
def test_gradients_are_finite_at_zero(case):
    deriving.gradients_are_finite_at_zero(subject(case))


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
