"""x @ W.T in the place of W @ x, for all steps at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import float64

from rnn_zoo._engine.rows import by_rows


def draw(seed, *shape, dtype=float):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    return jnp.asarray(values + 1j * rng.normal(size=shape) if dtype is complex else values)


def step(w, x):
    """A product by itself, one of a sum, one after another, and one of x with itself."""
    z = w @ x + jnp.tanh(w[:, 0])
    return jnp.tanh(z), w.T @ (w @ x), jnp.outer(x, x) @ x


def pair(w, xs):
    """The function under test and its reference, of the matrix and all steps."""
    return jax.vmap(by_rows(lambda x: step(w, x)))(xs), jax.vmap(lambda x: step(w, x))(xs)


def size(results):
    return sum(jnp.sum(jnp.abs(a) ** 2 + a.real) for a in jax.tree.leaves(results))


def assert_same(one, two):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("rows", "dtype"), [(2, float), (5, complex)])
def test_values_and_derivatives(rows, dtype):
    with float64():
        w, xs = draw(0, rows, 3, dtype=dtype), draw(1, 4, 3, dtype=dtype)
        moved = draw(2, rows, 3, dtype=dtype), draw(3, 4, 3, dtype=dtype)

        def derivatives(which):
            def f(w, xs):
                return pair(w, xs)[which]

            gradient = jax.grad(lambda *at: size(f(*at)), (0, 1))
            twice = jax.grad(lambda *at: size(gradient(*at)), (0, 1))
            return f(w, xs), jax.jvp(f, (w, xs), moved), gradient(w, xs), twice(w, xs)

        derivatives = jax.jit(derivatives, static_argnums=0)
        assert_same(derivatives(0), derivatives(1))


@pytest.mark.parametrize("axes", [(None, 0), (None, 1), (0, None), (0, 0), (0, 1)])
def test_batches(axes):
    with float64():
        w = draw(0, 5, 3) if axes[0] is None else draw(0, 2, 5, 3)
        xs = draw(1, 4, 3) if axes[1] is None else draw(1, *((2, 4) if axes[1] == 0 else (4, 2)), 3)

        def results(which):
            def of_each(w, xs):
                return jax.value_and_grad(lambda *at: size(pair(*at)[which]), (0, 1))(w, xs)

            def of_all(w, xs):
                return size(jax.vmap(lambda *at: pair(*at)[which], axes)(w, xs))

            return jax.vmap(of_each, axes)(w, xs), jax.grad(of_all, (0, 1))(w, xs)

        results = jax.jit(results, static_argnums=0)
        assert_same(results(0), results(1))


def test_no_result_is_turned():
    """The products of all steps and of a batch come out with the steps in front."""
    w, xs = jnp.ones((5, 3)), jnp.ones((2, 4, 3))

    def f(w):
        return jax.vmap(jax.vmap(by_rows(lambda x: w @ x)))(xs)

    assert "transpose" not in str(jax.make_jaxpr(f)(w))
    assert "transpose" in str(jax.make_jaxpr(jax.vmap(jax.vmap(lambda x: w @ x)))(xs))


def test_what_is_not_known_stays():
    @jax.custom_vjp
    def own(x):
        return x

    own.defvjp(lambda x: (x, None), lambda _, g: (2 * g,))
    w, x = jnp.ones((2, 3)), jnp.ones(3)
    assert "product_by_rows" not in str(jax.make_jaxpr(by_rows(lambda x: w @ own(x)))(x))
    np.testing.assert_allclose(jax.grad(lambda x: by_rows(lambda x: w @ own(x))(x).sum())(x), 4.0)
