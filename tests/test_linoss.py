"""Linear oscillators: their authors' steps and starts, and the real powers of a step."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import I, T, float64
from scipy.linalg import fractional_matrix_power

import rnn_zoo as rz
from rnn_zoo.cells.oscillate import implicit, implicit_explicit, power
from rnn_zoo.scan import unroll


KEY = jr.key(0)


def authors_layer(scheme, A, G, step, B, C, D, xs):
    """Their recurrence over complex states, written from the equations of both papers."""
    z = y = np.zeros(len(A), complex)
    ys = []
    for x in xs:
        force = B @ x
        if scheme == "im":
            # z' = z + d (-A y' + f) and y' = y + d z', solved for z'.
            z = (z + step * (force - A * y)) / (1 + step**2 * A)
        else:
            z = (z + step * (force - A * y)) / (1 + step * G)
        y = y + step * z
        ys.append((C @ y).real + D * x)
    return np.array(ys)


@pytest.mark.parametrize("scheme", ["imex", "im", "damped"])
def test_two_real_oscillators_are_one_of_the_authors(scheme):
    rng = np.random.default_rng(0)
    modes, size = 4, 3
    A, s = rng.uniform(0.3, 1, modes), rng.normal(size=modes)
    G = rng.uniform(0, 0.5, modes) * (scheme == "damped")
    B = rng.normal(size=(modes, size)) + 1j * rng.normal(size=(modes, size))
    C = rng.normal(size=(size, modes)) + 1j * rng.normal(size=(size, modes))
    D, xs = rng.normal(size=size), rng.normal(size=(T, size))
    with float64():
        cell = rz.cells.LinOSSCell(size, size, state_size=2 * modes, scheme=scheme, key=KEY)
        cell = rz.base.replace(
            cell,
            A=jnp.tile(A, 2),
            step_logit=jnp.tile(s, 2),
            B=jnp.concatenate([B.real, B.imag]),
            C=jnp.concatenate([C.real, -C.imag], axis=1),
            D=jnp.diag(D),
            **({"G": jnp.tile(G, 2)} if scheme == "damped" else {}),
        )
        expected = authors_layer(scheme, A, G, 1 / (1 + np.exp(-s)), B, C, D, xs)
        np.testing.assert_allclose(unroll(cell, xs)[1], expected, rtol=1e-12, atol=1e-12)
        # A dt of 2 is two of their steps under one input.
        doubled = authors_layer(scheme, A, G, 1 / (1 + np.exp(-s)), B, C, D, xs.repeat(2, 0))
        ys = unroll(cell, xs, dt=2.0)[1]
        np.testing.assert_allclose(ys, doubled[1::2], rtol=1e-11, atol=1e-11)


def test_linoss_starts_as_its_authors():
    cell = rz.cells.LinOSSCell(4, 200, state_size=900, scheme="damped", key=KEY)
    for matrix, fan in ((cell.B, 4), (cell.C, 900)):
        assert 0.99 * fan**-0.5 < abs(np.asarray(matrix)).max() <= fan**-0.5
        np.testing.assert_allclose(np.asarray(matrix).std(), (3 * fan) ** -0.5, rtol=0.05)
    blocks = np.moveaxis(np.asarray(cell.constants().block, np.float64), -1, 0)
    eigenvalues = np.linalg.eigvals(blocks)[:, 0]
    quarters = [0.25, 0.5, 0.75]
    squared, angle = abs(eigenvalues) ** 2, abs(np.angle(eigenvalues))
    np.testing.assert_allclose(np.quantile(squared, quarters), [0.8575, 0.905, 0.9525], atol=0.01)
    np.testing.assert_allclose(np.quantile(angle, quarters), np.pi * np.array(quarters), atol=0.15)
    np.testing.assert_allclose(np.asarray(cell.step_logit).std(), 0.5, rtol=0.1)
    ring = rz.cells.LinOSSCell(4, 64, scheme="damped", r_min=0.5, r_max=0.6, max_phase=0.1, key=KEY)
    blocks = np.moveaxis(np.asarray(ring.constants().block, np.float64), -1, 0)
    eigenvalues = np.linalg.eigvals(blocks)
    assert (0.499 < abs(eigenvalues).min(), abs(eigenvalues).max() < 0.601) == (True, True)
    assert abs(np.angle(eigenvalues)).max() < 0.101
    old = rz.cells.LinOSSCell(4, 64, scheme="damped", initialisation="uniform", key=KEY)
    assert 0 <= min(old.A.min(), old.G.min(), old.step_logit.min())
    assert max(old.A.max(), old.G.max(), old.step_logit.max()) <= 1
    with pytest.raises(ValueError, match="expected 0 < r_min < r_max <= 1"):
        rz.cells.LinOSSCell(4, 4, scheme="damped", r_min=0.0, key=KEY)
    with pytest.raises(ValueError, match="initialisation to be one of"):
        rz.cells.LinOSSCell(4, 4, initialisation="ring", key=KEY)


# Free motion, its neighbourhood, the ordinary, and beyond the widest angle.
STIFFNESS = np.array([0.0, 1e-14, 1e-9, 1e-4, 0.3, 2.0, 9.0, 1e4])
SYSTEMS = {
    "im": lambda A: implicit(A, jnp.full(8, 0.6)),
    "imex": lambda A: implicit_explicit(A, jnp.zeros(8), jnp.full(8, 0.6)),
    "damped": lambda A: implicit_explicit(A, jnp.full(8, 0.2), jnp.full(8, 0.6)),
    "hardly damped": lambda A: implicit_explicit(A, jnp.full(8, 1e-7), jnp.full(8, 0.6)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_powers_are_those_of_the_matrix_and_smooth(name):
    with float64():
        system = jax.jit(SYSTEMS[name])(jnp.asarray(STIFFNESS))
        both = jax.jit(lambda dt: power(system, dt))
        for dt in (0.0, 0.4, 1.0, 3.0, 17.3):
            block, gain = map(np.asarray, both(jnp.asarray(dt)))
            for k in range(8):
                whole = np.eye(3)
                whole[:2] = np.column_stack([system.block[:, :, k], system.gain[:, k]])
                expected = fractional_matrix_power(whole, dt).real[:2]
                ours = np.column_stack([block[:, :, k], gain[:, k]])
                np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)

        def moved(A, dt):
            return jnp.concatenate([x.ravel() for x in power(SYSTEMS[name](A), dt)])

        slopes = jax.jit(jax.jacrev(moved, (0, 1)))
        for dt in (0.0, 0.7):
            by_A, by_dt = slopes(jnp.asarray(STIFFNESS), jnp.asarray(dt))
            assert np.isfinite(by_A).all()
            h = 1e-5
            ahead, behind = (moved(jnp.asarray(STIFFNESS), jnp.asarray(dt + d)) for d in (h, -h))
            np.testing.assert_allclose(by_dt, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)
        # In A the slope of a free motion is that of its neighbour, to the right of the kink at 0.
        by_A = slopes(jnp.full(8, 1e-3).at[1].set(1e-12), jnp.asarray(0.7))[0]
        if name in ("im", "imex"):
            by_A = np.diagonal(np.asarray(by_A).reshape(6, 8, 8), axis1=1, axis2=2)
            np.testing.assert_allclose(by_A[:, 1], by_A[:, 0], rtol=0.01, atol=1e-3)


def test_a_state_is_held_near_the_widest_angle_in_float32():
    cell = rz.cells.LinOSSCell(I, 4, key=KEY)
    cell = rz.base.replace(cell, A=jnp.full(4, 1e4))
    dt = jnp.asarray(np.random.default_rng(0).uniform(0.1, 2.6, 20_000), jnp.float32)
    state, _ = unroll(cell, jnp.zeros((20_000, I)), jnp.ones((2, 4)), dt=dt)
    assert abs(np.asarray(state)).max() < 300
