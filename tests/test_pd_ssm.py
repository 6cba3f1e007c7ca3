"""PD-SSM: the derivative that it has in the place of its own, an automaton, where it starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, float64, noisy

import rnn_zoo as rz


KEY = jr.key(0)


def test_derivative_of_p_is_that_of_the_softmax_of_its_columns():
    """By hand for one step: lambda d h^T, through the softmax of each column, to M and S."""
    with float64() as dtype:
        cell = noisy(rz.cells.PDSSMCell(3, 4, state_size=5, dtype=dtype, key=KEY), 1)
        x, rng = draw(2, (3,)), np.random.default_rng(3)
        h = rng.normal(size=5) + 1j * rng.normal(size=5)
        weights = rng.normal(size=4)
        found = eqx.filter_grad(lambda c: weights @ c.step(jnp.asarray(h), x)[1])(cell)

        p = jax.tree.map(np.asarray, cell)
        s = np.exp(p.S @ x) / np.exp(p.S @ x).sum()
        scores = np.tensordot(s, p.M, 1)
        soft = np.exp(scores) / np.exp(scores).sum(0)
        modulus = 1 / (1 + np.exp(-(p.weight_mag @ x + p.bias_mag)))
        turn = 2 * np.pi / (1 + np.exp(-(p.weight_phase @ x + p.bias_phase)))
        kept = modulus * np.exp(1j * turn) * h
        of_state = weights @ (p.C[0] + 1j * p.C[1])  # y is the real part of its product with h'
        of_p = np.real(of_state[:, None] * kept)
        of_scores = soft * (of_p - (soft * of_p).sum(0))
        np.testing.assert_allclose(found.M, s[:, None, None] * of_scores, rtol=1e-10, atol=1e-14)
        of_s = (p.M * of_scores).sum((1, 2))
        of_S = (s * (of_s - s @ of_s))[:, None] * x
        np.testing.assert_allclose(found.S, of_S, rtol=1e-10, atol=1e-14)


def test_derivative_of_the_rest_is_that_of_the_equation():
    """Finite differences in all parameters but the two that P is made of."""
    with float64() as dtype:
        cell = noisy(rz.cells.PDSSMCell(3, 4, state_size=5, dtype=dtype, key=KEY), 1)
        xs = draw(2, (9, 3))
        names = ("B", "C", "D", "weight_mag", "bias_mag", "weight_phase", "bias_phase")
        rest = {n: getattr(cell, n) for n in names}
        way = {
            n: jnp.asarray(np.random.default_rng(4).normal(size=p.shape)) for n, p in rest.items()
        }

        @jax.jit
        def loss(rest):
            return jnp.sin(rz.scan.unroll(rz.base.replace(cell, **rest), xs)[1]).sum()

        def at(step):
            return loss({n: p + step * way[n] for n, p in rest.items()})

        forward = jax.jvp(loss, (rest,), (way,))[1]
        np.testing.assert_allclose(forward, (at(1e-6) - at(-1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_parallel_has_the_derivatives_of_the_steps(reverse):
    """Those of P in the entries that are 0 too, with gaps, resets and a given start."""
    with float64() as dtype:
        cell = noisy(rz.cells.PDSSMCell(3, 4, state_size=5, dtype=dtype, key=KEY), 1)
        xs, rng = draw(2, (11, 3)), np.random.default_rng(3)
        start = jnp.asarray(rng.normal(size=5) + 1j * rng.normal(size=5))
        flags = {"mask": rng.random(11) < 0.7, "reset": rng.random(11) < 0.2, "reverse": reverse}

        def results(method):
            def loss(at):
                state, ys = rz.scan.unroll(at[0], at[1], at[2], method=method, **flags)
                return jnp.sin(ys).sum() + jnp.abs(state).sum(), (state, ys)

            return eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))((cell, xs, start))

        steps = results("sequential")
        for method in ("parallel", "auto"):
            for one, other in zip(jax.tree.leaves(results(method)), jax.tree.leaves(steps)):
                np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_a_nan_in_the_matrices_is_seen():
    cell = rz.cells.PDSSMCell(2, 3, key=KEY)
    cell = rz.base.replace(cell, M=cell.M.at[0, 0, 0].set(jnp.nan))
    for method in ("sequential", "parallel"):
        assert jnp.isnan(rz.scan.unroll(cell, jnp.ones((4, 2)), method=method)[1]).all(), method


def test_runs_an_automaton():
    """Parity of the ones among the inputs: two units, which a one exchanges."""
    cell = rz.cells.PDSSMCell(2, 1, state_size=2, num_matrices=2, key=KEY)
    zeros = {n: jnp.zeros_like(getattr(cell, n)) for n in ("B", "D", "weight_mag", "weight_phase")}
    cell = rz.base.replace(
        cell,
        **zeros,
        M=jnp.stack([jnp.eye(2), jnp.eye(2)[::-1]]),
        S=20 * jnp.eye(2),
        bias_mag=jnp.full(2, 30.0),
        bias_phase=jnp.full(2, -30.0),
        C=jnp.array([[[0.0, 1.0]], [[0.0, 0.0]]]),
    )
    bits = np.random.default_rng(5).integers(0, 2, 200)
    start = jnp.array([1.0, 0.0], cell.init_state().dtype)
    _, ys = rz.scan.unroll(cell, np.eye(2, dtype=np.float32)[bits], start)
    np.testing.assert_allclose(ys[:, 0], bits.cumsum() % 2, atol=1e-5)


def test_equal_scores_take_the_first():
    cell = rz.cells.PDSSMCell(2, 3, key=KEY)
    cell = rz.base.replace(cell, M=jnp.zeros_like(cell.M))
    state, _ = cell.step(jnp.ones(3, cell.init_state().dtype), jnp.zeros(2))
    assert state[0] != 0
    np.testing.assert_array_equal(state[1:], 0)


def test_starts():
    cell = rz.cells.PDSSMCell(50, 60, state_size=40, key=KEY)
    assert cell.num_matrices == 6
    expected = {"B": 100, "C": 40, "M": 40, "S": 1, "D": 50, "weight_mag": 50, "weight_phase": 50}
    for name, variance in expected.items():
        std = np.asarray(getattr(cell, name)).std()
        assert abs(std * np.sqrt(variance) - 1) < 0.15, name
    assert rz.cells.PDSSMCell(3, 7, key=KEY).state_size == 7
    with pytest.raises(ValueError, match="num_matrices"):
        rz.cells.PDSSMCell(3, 7, num_matrices=0, key=KEY)
