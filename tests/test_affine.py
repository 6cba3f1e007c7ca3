"""The algebra of linear steps."""

import jax
import jax.random as jr
import numpy as np
import pytest

from rnn_zoo.linear import AffineMap, Block2x2, Diagonal


P = 4


def diagonal(key, *time):
    one, two = jr.split(key)
    return AffineMap(Diagonal(jr.normal(one, (*time, P))), jr.normal(two, (*time, P)))


def block(key, *time):
    one, two = jr.split(key)
    return AffineMap(
        Block2x2(0.7 * jr.normal(one, (*time, 2, 2, P))), jr.normal(two, (*time, 2, P))
    )


STRUCTURES = pytest.mark.parametrize("make", [diagonal, block])


@STRUCTURES
def test_compose_is_apply_after_apply(make):
    one, two = make(jr.key(0)), make(jr.key(1))
    h = jr.normal(jr.key(2), one.offset.shape)
    np.testing.assert_allclose(two.compose(one).apply(h), two.apply(one.apply(h)), rtol=1e-5)


@STRUCTURES
def test_compose_is_associative_with_an_identity(make):
    a, b, c = (make(jr.key(i)) for i in range(3))
    left, right = c.compose(b).compose(a), c.compose(b.compose(a))
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right)):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    for same in (a.compose(a.identity()), a.identity().compose(a)):
        for x, y in zip(jax.tree.leaves(same), jax.tree.leaves(a)):
            np.testing.assert_allclose(x, y, rtol=1e-6)


def test_block_is_a_dense_matrix():
    m = block(jr.key(0))
    h = jr.normal(jr.key(1), (2, P))
    for unit in range(P):
        expected = m.linear.a[:, :, unit] @ h[:, unit] + m.offset[:, unit]
        np.testing.assert_allclose(m.apply(h)[:, unit], expected, rtol=1e-5)
