"""What single cells promise beyond the laws of all."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw, noisy

import rnn_zoo as rz
from rnn_zoo.cells.unitary import mod_relu
from rnn_zoo.scan import trajectory, unroll


KEY = jr.key(0)
I, H = 3, 8


def test_published_names_are_found_and_their_options_exist():
    found = {}
    for name in rz.list_cells():
        for other, options in rz.cell_info(name).covers.items():
            assert set(options) <= set(rz.registry.cell_options(name)), other
            assert name in rz.list_cells(covers=other)
            found.setdefault(other, []).append(name)
    assert all(len(names) == 1 for names in found.values())
    assert rz.list_cells(covers="Peephole") == ("lstm", "lstmp")
    assert rz.list_cells(covers="scornn", linear=True) == ()
    assert rz.list_cells(covers="no such net") == ()
    with pytest.raises(ValueError, match=r"the peephole LSTM is .*'lstm', \.\.\., peepholes=True"):
        rz.make_cell("peephole_lstm", I, H, key=KEY)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in ("lstm", "lstmp", "gru", "janet", "exprnn", "esn")
        for options in rz.cell_info(name).covers.values()
    ],
)
def test_a_published_name_is_a_cell(name, options):
    assert jax.tree.leaves(rz.make_cell(name, I, H, key=KEY, **options))


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_the_unitary_matrix_keeps_the_norm(size):
    cell = noisy(rz.cells.UnitaryCell(I, size, key=KEY), 1)
    h = draw(2, (size,)) + 1j * draw(3, (size,))
    np.testing.assert_allclose(jnp.linalg.norm(cell.evolve(h)), jnp.linalg.norm(h), rtol=1e-6)


@pytest.mark.parametrize("parametrisation", ["exp", "cayley"])
@pytest.mark.parametrize("initialisation", ["cayley", "henaff"])
def test_the_orthogonal_matrix_is_orthogonal(parametrisation, initialisation):
    options = {"parametrisation": parametrisation, "initialisation": initialisation}
    cell = noisy(rz.cells.ExpRNNCell(I, H, key=KEY, **options), 1)
    matrix = cell.constants().matrix
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(H), atol=2e-6)


def test_exprnn_starts_with_rotation_blocks():
    for initialisation in ("cayley", "henaff"):
        matrix = (
            rz.cells.ExpRNNCell(I, 7, initialisation=initialisation, key=KEY).constants().matrix
        )
        blocks = np.kron(np.eye(4), np.ones((2, 2)))[:7, :7]
        np.testing.assert_allclose(matrix * (1 - blocks), 0, atol=1e-6)
        assert (abs(np.asarray(matrix)[np.arange(0, 6, 2), np.arange(1, 7, 2)]) > 1e-3).all()


def test_modrelu_is_finite_at_zero_and_dead_inside_its_threshold():
    zero = jnp.zeros(4, jnp.complex64)
    value, tangent = jax.jvp(lambda z: mod_relu(z, jnp.full(4, 0.1)), (zero,), (zero + 1,))
    assert np.isfinite(value).all()
    assert np.isfinite(tangent).all()
    z = jnp.array([0.3 + 0.4j])
    np.testing.assert_array_equal(mod_relu(z, jnp.array([-0.6])), 0)
    out = mod_relu(z, jnp.array([-0.1]))
    np.testing.assert_allclose(out, 0.8 * z, rtol=1e-4)


@pytest.mark.parametrize("name", ["antisymmetric", "gated_antisymmetric"])
def test_antisymmetric_spectrum_is_imaginary_less_the_diffusion(name):
    cell = noisy(rz.make_cell(name, I, H, gamma=0.3, key=KEY), 1)
    eigenvalues = np.linalg.eigvals(np.asarray(cell.constants().matrix, np.float64))
    np.testing.assert_allclose(eigenvalues.real, -0.3, atol=1e-6)
    assert abs(eigenvalues.imag).max() > 0.1


def test_antisymmetric_jacobian_has_the_diffusion_on_its_diagonal():
    cell = rz.cells.AntisymmetricCell(I, H, epsilon=1.0, gamma=0.3, key=KEY)
    jacobian = jax.jacfwd(lambda h: cell.step(h, jnp.zeros(I))[1])(jnp.zeros(H))
    np.testing.assert_allclose(np.diag(jacobian), 1 - 0.3, rtol=1e-6)
    # At rest with no input nothing moves: gamma is no constant shift.
    np.testing.assert_array_equal(cell.step(jnp.zeros(H), jnp.zeros(I))[1], 0)


def test_only_the_triangle_is_a_parameter():
    for name in ("antisymmetric", "gated_antisymmetric", "exprnn"):
        assert rz.make_cell(name, I, H, key=KEY).weight_hh.shape == (H * (H - 1) // 2,)


def test_lipschitz_reads_its_input_at_once_and_is_damped():
    for method in ("euler", "rk2"):
        cell = rz.cells.LipschitzCell(
            I, H, epsilon=0.5, gamma=0.3, beta=1.0, method=method, key=KEY
        )
        jacobian = jax.jacfwd(lambda x, cell=cell: cell.step(jnp.zeros(H), x)[1])(jnp.zeros(I))
        assert (abs(np.asarray(jacobian)) > 1e-4).all()
        A = cell.constants().A
        np.testing.assert_allclose(np.diag(A), -0.3, rtol=1e-6)
        np.testing.assert_allclose((A + A.T) / 2, -0.3 * np.eye(H), atol=1e-6)


def test_midpoint_rule_is_of_second_order_and_euler_of_first():
    def error(method, steps):
        cell = rz.cells.LipschitzCell(I, H, epsilon=1.0, method=method, key=KEY)
        xs = jnp.broadcast_to(draw(1, (I,)), (steps, I))
        fine = jnp.broadcast_to(draw(1, (I,)), (400, I))
        exact = unroll(
            rz.cells.LipschitzCell(I, H, epsilon=1.0, method="rk2", key=KEY), fine, dt=1 / 400
        )
        return float(jnp.linalg.norm(unroll(cell, xs, dt=1 / steps)[0] - exact[0]))

    assert 1.7 < error("euler", 4) / error("euler", 8) < 2.3
    assert error("rk2", 4) / error("rk2", 8) > 3.4


def test_idle_clockwork_blocks_are_held_bit_for_bit_and_the_clock_goes_on():
    cell = rz.cells.ClockworkCell(I, H, key=KEY)
    xs = draw(1, (16, I))
    states, _ = trajectory(cell, xs)
    h = np.asarray(states.h)
    for t in range(1, 16):
        for block, period in zip(np.split(np.arange(H), 4), (1, 2, 4, 8)):
            held = (h[t, block] == h[t - 1, block]).all()
            assert held == (t % period != 0)
    state, _ = unroll(cell, xs[:5])
    assert int(state.t) == 5
    np.testing.assert_allclose(unroll(cell, xs[5:], state)[0].h, h[-1], rtol=1e-6)


def test_clockwork_reads_slower_blocks_only():
    cell = rz.cells.ClockworkCell(I, H, periods=(4, 1), key=KEY)
    assert cell.periods == (1, 4)
    matrix = np.asarray(cell.constants().matrix)
    np.testing.assert_array_equal(matrix[4:, :4], 0)
    assert (matrix[:4] != 0).all()
    dirty = rz.base.replace(cell, weight_hh=jnp.ones((H, H)))
    np.testing.assert_array_equal(np.asarray(dirty.constants().matrix)[4:, :4], 0)


@pytest.mark.parametrize("periods", [(0, 1), (1, 1), (1.5, 2), (), tuple(range(1, 10))])
def test_clockwork_periods_are_checked(periods):
    with pytest.raises(ValueError, match="different integers from 1 up"):
        rz.cells.ClockworkCell(I, H, periods=periods, key=KEY)


def test_heterogeneous_ranges_are_respected():
    cell = rz.cells.HCoRNNCell(I, 500, gamma=(0.5, 1.5), epsilon=(10.0, 20.0), key=KEY)
    for value, (low, high) in ((cell.stiffness.value, (0.5, 1.5)), (cell.damping.value, (10, 20))):
        assert low <= value.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < value.max() <= high


def test_time_stands_before_every_term_of_an_oscillator():
    """As delta goes to 0 the step goes to the identity, at first order."""
    for name in ("cornn", "hcornn", "unicornn", "lem"):
        cell = noisy(rz.make_cell(name, I, H, key=KEY), 1)
        state = rz.cells.OscillatorState(draw(2, (H,)), draw(3, (H,)))
        moves = []
        for dt in (1e-2, 5e-3):
            new, _ = cell.step(state, draw(4, (I,)), dt)
            moves.append(jnp.concatenate([new.h - state.h, new.z - state.z]))
        np.testing.assert_allclose(moves[0], 2 * moves[1], rtol=0.05, atol=1e-5)


def test_bad_options_are_named():
    for name, options, message in (
        ("antisymmetric", {"epsilon": 0.0}, "epsilon above 0"),
        ("antisymmetric", {"gamma": -1.0}, "gamma at least 0"),
        ("lipschitz", {"beta": 0.2}, r"beta in \[0.5, 1\]"),
        ("lipschitz", {"method": "rk4"}, "method to be one of"),
        ("exprnn", {"parametrisation": "qr"}, "parametrisation to be one of"),
        ("exprnn", {"initialisation": "zero"}, "initialisation to be one of"),
        ("cornn", {"scheme": "implicit"}, "scheme to be one of"),
        ("cornn", {"delta": 0.0}, "delta above 0"),
        ("hcornn", {"gamma": (2.0, 1.0)}, "gamma as .low, high."),
        ("clockwork", {"periods": (2**30, 3)}, "does not fit the 32-bit clock"),
    ):
        with pytest.raises(ValueError, match=message):
            rz.make_cell(name, I, H, key=KEY, **options)
