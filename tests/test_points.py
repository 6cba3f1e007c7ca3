"""Fixed points, orbits and basins of systems whose answers are known, and exponents likewise."""

import math
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, float64

import rnn_zoo as rz
from rnn_zoo import dynamics
from rnn_zoo.dynamics import basins, fixed_points, linearise, lyapunov, periodic_orbits


pytest.importorskip("optimistix")

KEY = jr.key(0)
NOTHING = jnp.zeros(1)


def system(step, size=2, **options):
    return rz.adopt(step, input_size=1, init_state=jnp.zeros(size), **options)


def around(count=200, size=2, width=1.3):
    return jr.uniform(KEY, (count, size), minval=-width, maxval=width)


def wells(h, x):
    """Two double wells: roots of h = tanh(2 h) in each coordinate."""
    return jnp.tanh(2 * h) + x


def ring(h, x):
    return h + 0.1 * h * (1 - h @ h) + 0 * x[0]


def root():
    h = 1.0
    for _ in range(100):
        h = math.tanh(2 * h)
    return h


def test_every_point_of_two_double_wells():
    with float64():
        found = fixed_points(system(wells), NOTHING, around())
        assert len(found) == 9
        np.testing.assert_array_equal(np.bincount(found.unstable), [4, 4, 1])
        np.testing.assert_allclose(
            np.sort(found.vectors[:, 0]), np.repeat([-root(), 0, root()], 3), atol=1e-9
        )
        still, outside = 2.0, 2 * (1 - root() ** 2)
        saddle = found.eigenvalues[found.unstable == 1][0]
        np.testing.assert_allclose(saddle, [still, outside], rtol=1e-9)
        assert (found.speeds < 1e-12).all()
        assert (found.owners >= 0).all()
        np.testing.assert_array_equal(found.sets, np.arange(9))
        assert "4 stable, 4 with 1 unstable direction, 1 with 2" in repr(found)


def test_the_input_moves_the_points():
    with float64():
        found = fixed_points(system(wells), jnp.array([0.5]), around())
        assert len(found) == 1  # one well of each is left
        h = found.vectors[0]
        np.testing.assert_allclose(np.tanh(2 * h) + 0.5, h, rtol=1e-10)


def test_basins_are_the_quadrants_of_two_double_wells():
    starts = around()
    found = fixed_points(system(wells), NOTHING, starts)
    reached = basins(system(wells), NOTHING, starts, found, steps=200)
    assert (reached >= 0).all()
    ends = found.vectors[[np.flatnonzero(found.sets == s)[0] for s in reached]]
    np.testing.assert_array_equal(np.sign(ends), np.sign(starts))
    early = basins(system(wells), NOTHING, starts, found, steps=1)
    assert (early == -1).any()


def test_a_basin_ends_at_the_eigenvector_that_does_not_grow():
    with float64():
        matrix = jnp.array([[1.2, 0.4], [-0.1, 0.7]])  # moduli around 1.1 and 0.8
        cell = system(lambda h, x: jnp.clip(matrix @ h, -50, 50))
        near = linearise(cell, NOTHING)
        np.testing.assert_allclose(near.readers @ near.modes, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(matrix @ near.modes, near.modes * near.eigenvalues, atol=1e-12)
        starts = around(width=1.0)
        found = fixed_points(cell, NOTHING, jnp.concatenate([starts, 100 * starts]))
        reached = basins(cell, NOTHING, starts, found, steps=2000)
        side = np.sign((near.readers[0] @ np.asarray(starts).T).real)
        assert len(np.unique(reached)) == 2
        for one in np.unique(reached):
            assert len(np.unique(side[reached == one])) == 1


def test_a_ring_is_one_continuous_set():
    with float64():
        found = fixed_points(system(ring), NOTHING, around())
        on = found.neutral == 1
        assert on.sum() > 150
        np.testing.assert_allclose(np.linalg.norm(found.vectors[on], axis=1), 1, atol=1e-6)
        assert len(np.unique(found.sets[on])) == 1
        assert found.stable[on].all()
        centre = found.vectors[~on]
        np.testing.assert_allclose(centre, np.zeros((1, 2)), atol=1e-6)
        assert "1 with 2 unstable directions, a continuous set of dimension 1" in repr(found)


def test_a_line_is_one_continuous_set():
    found = fixed_points(system(lambda h, x: h * jnp.array([1.0, 0.5])), NOTHING, around())
    assert len(found) > 150
    assert (found.neutral == 1).all()
    assert len(np.unique(found.sets)) == 1
    np.testing.assert_allclose(found.vectors[:, 1], 0, atol=1e-5)


def test_slow_points_are_minima_of_the_speed():
    def passing(h, x):
        return jnp.stack([h[0] + 0.1 * (h[0] ** 2 + 1e-2), 0.5 * h[1]])

    starts = around(40, width=0.3)
    assert len(fixed_points(system(passing), NOTHING, starts)) == 0
    slow = fixed_points(system(passing), NOTHING, starts, slow=2e-3)
    np.testing.assert_allclose(slow.vectors, np.zeros((len(slow), 2)), atol=2e-2)
    np.testing.assert_allclose(slow.speeds, 1e-3, rtol=1e-2)


def test_orbits_of_a_quarter_turn():
    turn = jnp.array([[0.0, -2.0], [2.0, 0.0]])
    with float64():
        cell = system(lambda h, x: jnp.tanh(turn @ h))
        found = periodic_orbits(cell, NOTHING, around(), 4)
        stable = found.orbits[found.stable]
        assert len(stable) == 1
        np.testing.assert_allclose(np.abs(stable), root(), rtol=1e-9)
        np.testing.assert_allclose(jnp.tanh(stable[0, -1] @ turn.T), stable[0, 0], rtol=1e-9)
        assert len(periodic_orbits(cell, NOTHING, around(), 2)) == 0
        assert len(fixed_points(cell, NOTHING, around())) == 1


def test_points_of_structured_and_timed_cells():
    """An LSTM's state is one vector of both parts; a timed cell's points are those of any dt."""
    with float64():
        cell = rz.cells.LSTMCell(2, 3, key=KEY, dtype=jnp.float64)
        x = jnp.array([0.3, -0.2])
        states, _ = rz.scan.trajectory(cell, draw(0, (9, 2)))
        found = fixed_points(cell, x, states)
        assert len(found.owners) == 9
        end, _ = rz.scan.unroll(cell, jnp.broadcast_to(x, (500, 2)))
        np.testing.assert_allclose(found.vectors[0], dynamics.state_vector(end), atol=1e-9)
        timed = rz.cells.LeakyElmanCell(2, 3, leak=0.3, key=KEY, dtype=jnp.float64)
        starts = dynamics.sample_states(timed, draw(0, (9, 2)), 5, noise=0.1, key=KEY)
        one, half = (fixed_points(timed, x, starts, dt=dt) for dt in (1.0, 0.5))
        np.testing.assert_allclose(one.vectors, half.vectors, atol=1e-9)
        slow = linearise(timed, x, one.vectors[0], dt=0.5).time_constants
        fast = linearise(timed, x, one.vectors[0], dt=1e-4).time_constants
        assert slow[0] == pytest.approx(fast[0], rel=0.5)


def test_exponents_of_products_of_random_matrices():
    """Newman 1986, doi:10.1007/BF01205781: Gaussian entries of variance g^2 / n."""
    n, g = 4, 1.3
    with float64():
        cell = rz.adopt(lambda h, x: x.reshape(n, n) @ h, input_size=n * n, init_state=jnp.zeros(n))
        xs = g / math.sqrt(n) * jr.normal(KEY, (60_000, n * n), jnp.float64)
        found = lyapunov(cell, xs, washout=20)
        halves = [jax.scipy.special.digamma((n - i + 1) / 2) for i in range(1, n + 1)]
        expected = (np.log(2 * g**2 / n) + np.asarray(halves)) / 2
        np.testing.assert_allclose(found.exponents, expected, atol=0.01)
        assert (np.abs(found.exponents - expected) < 4 * found.errors).all()
        assert (found.errors < 0.008).all()
        seldom = lyapunov(cell, xs[:6000], every=5, washout=20)
        often = lyapunov(cell, xs[:6000], washout=20)
        np.testing.assert_allclose(seldom.exponents, often.exponents, atol=1e-3)


def test_the_dimension_of_kaplan_and_yorke():
    assert dynamics.kaplan_yorke([0.906, 0.0, -14.572]) == pytest.approx(2 + 0.906 / 14.572)
    assert dynamics.kaplan_yorke([-1.0, -2.0]) == 0
    assert dynamics.kaplan_yorke([1.0, -0.5]) == 2
    assert dynamics.kaplan_yorke([0.5, -np.inf]) == 1
    with pytest.raises(ValueError, match="without NaN"):
        dynamics.kaplan_yorke([np.nan])


def test_a_bifurcation_is_one_program():
    def logistic(r):
        return rz.adopt(lambda h, x: r * h * (1 - h), input_size=1, init_state=jnp.array([0.5]))

    ends = dynamics.bifurcation(logistic, jnp.array([2.8, 3.2, 3.5]), NOTHING, steps=16)
    assert ends.shape == (3, 16, 1)
    counts = [len(np.unique(np.round(one, 4))) for one in np.asarray(ends)]
    assert counts == [1, 2, 4]


def test_what_no_point_can_be_looked_for_in(unchecked, monkeypatch):
    clockwork = rz.cells.ClockworkCell(1, 4, key=KEY)
    with pytest.raises(TypeError, match="counts steps"):
        fixed_points(clockwork, NOTHING, around(size=4))
    random = rz.Zoneout(rz.cells.ElmanCell(1, 2, key=KEY), 0.1)
    with pytest.raises(TypeError, match="is random"):
        fixed_points(random, NOTHING, around())
    with pytest.raises(ValueError, match="period of at least 2"):
        periodic_orbits(system(wells), NOTHING, around(), 1)
    with pytest.raises(ValueError, match="got none"):
        fixed_points(system(wells), NOTHING, jnp.zeros((0, 2)))
    with pytest.raises(ValueError, match="expected"):
        fixed_points(system(wells), NOTHING, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="blocks"):
        lyapunov(system(wells), jnp.zeros((5, 1)), blocks=9)
    monkeypatch.setitem(sys.modules, "optimistix", None)
    cell = eqx.tree_at(lambda c: c.bias, rz.cells.ElmanCell(1, 7, key=KEY), jnp.ones(7))
    with pytest.raises(ImportError, match="dynamics"):
        fixed_points(cell, NOTHING, around(3, 7))
