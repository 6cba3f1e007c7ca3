"""Cells against their sources: what their authors' code does, and where it starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import (
    DEFAULTS,
    SEGMENT,
    I,
    arrays,
    draw,
    float64,
    gradients,
    ids,
    noisy,
    plain,
    strict,
)

import rnn_zoo as rz
from rnn_zoo._common.ranges import held
from rnn_zoo.scan import unroll


KEY = jr.key(0)


# --- silence --------------------------------------------------------------------------------------


@eqx.filter_jit
def after_silence(cell, silence):
    """Of the last output, squared, after so many zeros and five ones."""
    ones = jnp.ones((5, cell.input_size))
    xs = jnp.concatenate([jnp.zeros((silence, cell.input_size)), ones])
    return eqx.filter_grad(lambda cell: jnp.sum(unroll(cell, xs)[1][-1] ** 2))(cell)


@pytest.mark.parametrize(**ids(DEFAULTS))
def test_gradients_pass_a_long_silence(case):
    """At the start, and where the parameters have moved."""
    steps = np.arange(SEGMENT)
    xs = np.float32((steps >= 300) & (steps < 305))[:, None].repeat(I, 1)
    for cell in (plain(case), noisy(plain(case), 3, 0.1)):
        # What pads them takes no time, so that nothing grows there.
        dt = np.float32(steps < 305) if cell.timed else None
        with strict():
            _, grads = gradients(cell, xs, squares=np.float32(steps == 304), dt=dt)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_the_unitary_cell_hears_the_same_after_any_silence():
    cell = rz.cells.UnitaryCell(1, 32, key=KEY)
    for silence in (0, 20, 100, 700):
        leaves = jax.tree.leaves(after_silence(cell, silence))
        norm = np.sqrt(sum(np.sum(np.square(np.float64(leaf))) for leaf in leaves))
        np.testing.assert_allclose(norm, 36.83, rtol=1e-4)


# --- parameters with a range ----------------------------------------------------------------------


def test_gradients_that_lead_out_of_a_range_stop_at_its_edge():
    raw = jnp.array([-3.0, -1.0, 0.2, 1.0, 110.0])
    out = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0])

    def loss(raw, slopes):
        return jnp.sum(slopes * held(raw, -1.0, 1.0))

    np.testing.assert_array_equal(held(raw, -1.0, 1.0), jnp.clip(raw, -1, 1))
    stopped = [0, 0, 1, 0, 0]
    np.testing.assert_array_equal(jax.grad(loss)(raw, out), stopped)
    np.testing.assert_array_equal(jax.grad(loss)(raw, -out), -out)
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(jax.grad(loss)))(raw[None], out[None])[0], stopped
    )
    # Of a batch the sum counts: each sample alone would let one part through.
    both = jnp.stack([out, -3 * out])
    total = jax.grad(lambda raw: jnp.sum(jax.vmap(loss, (None, 0))(raw, both)))(raw)
    np.testing.assert_array_equal(total, -2 * out)
    tangent = jax.jvp(lambda raw: held(raw, -1.0, 1.0), (raw,), (out,))[1]
    np.testing.assert_array_equal(tangent, out)
    inside = jax.hessian(lambda raw: jnp.sum(held(raw, -200.0, 200.0) ** 3))(raw)
    np.testing.assert_allclose(inside, np.diag(6 * raw), rtol=1e-6)


def descend(cell, part, sign, steps, rate=0.1):
    """The part of a cell after a descent of `sign` times its summed outputs."""
    xs = jnp.ones((6, cell.input_size))
    optimizer = optax.adam(rate)

    def step(_, carry):
        cell, state = carry
        grads = jax.grad(lambda cell: sign * jnp.sum(unroll(cell, xs)[1]))(cell)
        moved, state = optimizer.update(part(grads), state)
        return eqx.tree_at(part, cell, part(cell) + moved), state

    start = cell, optimizer.init(part(cell))
    return jax.jit(lambda start: jax.lax.fori_loop(0, steps, step, start))(start)[0]


def test_independent_weights_stay_near_their_range_and_come_back():
    """Pushed outwards for 1100 steps of 0.1, and then back."""
    for make in (rz.cells.IndRNNCell, rz.cells.LinearIndRNNCell):
        cell = make(2, 4, key=KEY)
        cell = rz.base.replace(cell, weight_ih=jnp.abs(cell.weight_ih))
        there = descend(cell, lambda c: c.weight_hh, -1, 1100)
        assert 1 <= there.weight_hh.min() <= there.weight_hh.max() < 3
        back = descend(there, lambda c: c.weight_hh, 1, 25)
        assert back.weight_hh.max() < 1


def test_explicit_conductances_stay_near_their_range():
    cell = rz.cells.LTCCell(2, 4, constraint="explicit", key=KEY)
    edges = {"g_leak": jnp.zeros(4), "c_m": jnp.full(4, 1e-5)}
    cell = rz.base.replace(cell, **edges)
    cell = eqx.tree_at(lambda cell: cell.recurrent.weight, cell, jnp.full(16, -0.5))

    @jax.jit
    @jax.grad
    def slopes(cell, sign):
        used = cell.constants()
        parts = used.g_leak, used.c_m, used.recurrent.weight
        return sign * sum(jnp.sum(part) for part in parts)

    for sign, expected in ((1.0, 0.0), (-1.0, -1.0)):
        grads = slopes(cell, sign)
        for grad in (grads.g_leak, grads.c_m, grads.recurrent.weight):
            np.testing.assert_array_equal(grad, expected)


# --- steps as the authors' code writes them -------------------------------------------------------


def rows(W, U, b, readout, xs):
    """The recurrence of scoRNN's code: rows of h times W."""
    h, outputs = np.zeros(len(W)), []
    for x in xs:
        u = x @ U + h @ W
        h = np.sign(u) * np.maximum(np.abs(u) + b, 0)
        outputs.append(h @ readout)
    return np.array(outputs)


def test_scornn_is_that_of_its_authors():
    """Their skew matrix with the other sign, input weights and readout times D."""
    with float64() as dtype:
        rng = np.random.default_rng(0)
        triangle = np.triu(rng.normal(size=(6, 6)), 1)
        A, D = triangle - triangle.T, np.array([1.0, 1, 1, 1, -1, -1])
        W = np.linalg.solve(np.eye(6) + A, np.eye(6) - A) @ np.diag(D)
        U, b, readout = rng.normal(size=(3, 6)), 0.1 * rng.normal(size=6), rng.normal(size=(6, 2))
        xs = rng.normal(size=(20, 3))
        options = {"parametrisation": "cayley", "negative_ones": 2, "dtype": dtype}
        cell = rz.cells.ExpRNNCell(3, 6, key=KEY, **options)
        arrays = {
            "weight_hh": -triangle[np.triu_indices(6, 1)],
            "weight_ih": D[:, None] * U.T,
            "bias": b,
        }
        cell = rz.base.replace(cell, **{k: jnp.asarray(v) for k, v in arrays.items()})
        ys = np.asarray(unroll(cell, jnp.asarray(xs))[1]) @ (D[:, None] * readout)
        np.testing.assert_allclose(ys, rows(W, U, b, readout, xs), rtol=1e-10, atol=1e-12)


def test_scornn_starts_as_its_authors():
    cell = rz.cells.ExpRNNCell(3, 600, parametrisation="cayley", key=KEY)
    assert cell.negative_ones == 300
    matrix = np.asarray(cell.constants().matrix)
    # Two by two blocks that turn by U(0, pi / 2).
    angles = np.arcsin(abs(matrix[np.arange(0, 600, 2), np.arange(1, 600, 2)]))
    np.testing.assert_allclose(angles.mean(), np.pi / 4, atol=0.08)
    assert angles.min() < 0.05 < 1.5 < angles.max() < np.pi / 2
    assert 0.0098 < abs(np.asarray(cell.weight_ih)).max() <= 0.01
    np.testing.assert_array_equal(cell.bias, 0)


@pytest.mark.parametrize("negative", [0, 1, 4, 5])
def test_scornn_turns_as_many_signs_as_asked(negative):
    options = {"parametrisation": "cayley", "negative_ones": negative}
    matrix = noisy(rz.cells.ExpRNNCell(3, 5, key=KEY, **options), 1).constants().matrix
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrix), (-1) ** negative, rtol=1e-4)


def test_the_unitary_matrix_is_that_of_its_authors():
    """Their code in real halves: angles turn the other way and v is conjugated."""
    with float64() as dtype:
        cell = rz.cells.UnitaryCell(2, 6, dtype=dtype, key=KEY)
        p, h = arrays(cell), np.asarray(draw(1, (2, 6)))

        def turned(h, theta):
            re, im = h
            return re * np.cos(theta) + im * np.sin(theta), im * np.cos(theta) - re * np.sin(theta)

        def reflected(h, v):
            (re, im), (a, b) = h, v
            one, two, length = re @ a - im @ b, re @ b + im @ a, v.ravel() @ v.ravel()
            return re - 2 / length * (one * a + two * b), im - 2 / length * (two * a - one * b)

        def transformed(h, transform):
            out = transform(h[0] + 1j * h[1], norm="ortho")
            return out.real, out.imag

        theta, v = -p.omega, np.stack([p.v[0], -p.v[1]], 1)
        half = reflected(transformed(turned(h, theta[0]), np.fft.fft), v[0])
        half = tuple(part[p.permutation.astype(int)] for part in half)
        half = reflected(transformed(turned(half, theta[1]), np.fft.ifft), v[1])
        re, im = turned(half, theta[2])
        np.testing.assert_allclose(cell.evolve(jnp.asarray(h[0] + 1j * h[1])), re + 1j * im)


def test_lem_is_that_of_its_authors():
    """Their blocks are 2, 1, h, z of the input's and 2, 1, z of the state's."""
    with float64() as dtype:
        rng, size = np.random.default_rng(0), 4
        V, W, Wz = (rng.normal(size=s) for s in ((16, 3), (12, 4), (4, 4)))
        b, c, d = (rng.normal(size=s) for s in (16, 12, 4))
        xs = rng.normal(size=(10, 3))

        def sigmoid(v):
            return 1 / (1 + np.exp(-v))

        y, z, expected = np.zeros(size), np.zeros(size), []
        for x in xs:
            one, two, for_y, for_z = np.split(V @ x + b, 4)
            h_one, h_two, h_z = np.split(W @ y + c, 3)
            bar, step = sigmoid(one + h_one), sigmoid(two + h_two)
            z = (1 - step) * z + step * np.tanh(for_z + h_z)
            y = (1 - bar) * y + bar * np.tanh(Wz @ z + d + for_y)
            expected.append(y)

        def ordered(blocks, order):
            parts = np.split(blocks, len(order))
            return jnp.asarray(np.concatenate([parts[k] for k in order]))

        cell = rz.base.replace(
            rz.cells.LEMCell(3, size, dtype=dtype, key=KEY),
            weight_ih=ordered(V, [1, 0, 3, 2]),
            weight_hh=ordered(W, [1, 0, 2]),
            weight_hz=jnp.asarray(Wz),
            bias=ordered(b, [1, 0, 3, 2]) + jnp.concatenate([ordered(c, [1, 0, 2]), d]),
        )
        np.testing.assert_allclose(unroll(cell, jnp.asarray(xs))[1], expected, rtol=1e-11)


# --- Wilson and Cowan -----------------------------------------------------------------------------


def pair(leak):
    """One unit of each kind with the paper's weights, no bias, an input to E."""
    cell = rz.cells.WilsonCowanCell(1, 2, leak=leak, refractory=1.0, use_bias=False, key=KEY)
    raw = np.log(np.expm1(np.array([[16.0, 12.0], [15.0, 3.0]])))
    return rz.base.replace(cell, raw_weight_hh=jnp.asarray(raw), weight_ih=jnp.array([[1.0], [0]]))


def test_wilson_cowan_oscillates_as_the_paper_says():
    """The limit cycle at P = 1.25, against the equations integrated by NumPy; none at P = 0."""

    def S(v, a, theta):
        return 1 / (1 + np.exp(-a * (v - theta))) - 1 / (1 + np.exp(a * theta))

    def flow(h):
        E, I = h
        excited = S(16 * E - 12 * I + 1.25, 1.3, 4.0)
        return np.array([-E + (1 - E) * excited, -I + (1 - I) * S(15 * E - 3 * I, 2.0, 3.7)])

    step, h, paper = 0.01, np.zeros(2), []
    for _ in range(4000):
        k = flow(h)
        k = flow(h + step / 2 * k)
        h = h + step * k
        paper.append(h)
    with float64():
        xs = jnp.full((4000, 1), 1.25)
        # tau is one unit of time, a hundred steps.
        ys = np.asarray(unroll(pair(-np.expm1(-step)), xs)[1])
        late = slice(2500, None)
        assert np.ptp(ys[late, 0]) > 0.15
        np.testing.assert_allclose(ys[late].mean(0), np.array(paper)[late].mean(0), atol=0.01)
        np.testing.assert_allclose(
            np.ptp(ys[late], axis=0), np.ptp(paper[2500:], axis=0), atol=0.02
        )
        np.testing.assert_array_equal(unroll(pair(0.5), 0 * xs[:9])[1], 0)


def test_wilson_cowan_keeps_its_signs_and_its_bounds():
    cell = noisy(rz.cells.WilsonCowanCell(3, 7, refractory=1.0, key=KEY), 1, 2.0)
    matrix = np.asarray(cell.constants().matrix)
    assert (matrix[:, :4] > 0).all()
    assert (matrix[:, 4:] < 0).all()
    ys = unroll(cell, 10 * draw(1, (500, 3)), dt=jnp.abs(draw(2, (500,))))[1]
    assert -0.006 < ys.min() < 0.1 < 0.7 < ys.max() <= 1


def test_wilson_cowan_starts_at_the_weights_of_the_paper():
    cell = rz.cells.WilsonCowanCell(3, 500, excitatory=400, key=KEY)
    kinds, matrix = (slice(400), slice(400, None)), np.asarray(cell.constants().matrix)
    blocks = [[matrix[r, c].sum(1).mean() for c in kinds] for r in kinds]
    np.testing.assert_allclose(blocks, [[16, -12], [15, -3]], rtol=0.03)
    assert rz.cells.WilsonCowanCell(3, 5, key=KEY).excitatory == 3
    assert rz.cells.WilsonCowanCell(3, 1, key=KEY).excitatory == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"excitatory": 6}, "excitatory as an integer from 1 to 5"),
        ({"threshold": (1.0, 2.0, 3.0)}, "threshold as two numbers"),
        ({"gain": (1.0, 0.0)}, "gain above 0"),
        ({"refractory": 2.0}, "refractory in"),
        ({"leak": 0.0}, "leak in"),
    ],
)
def test_options_of_wilson_cowan_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        rz.cells.WilsonCowanCell(3, 5, key=KEY, **options)


# --- defaults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["antisymmetric", "gated_antisymmetric"])
def test_antisymmetric_defaults_obey_their_own_bound(name):
    for size in (2, 3, 4, 8, 32, 64, 128):
        for seed in range(4):
            cell = rz.make_cell(name, 1, size, key=jr.key(seed))
            spectrum = np.linalg.eigvals(np.asarray(cell.constants().matrix, np.float64))
            assert abs(1 + cell.epsilon * spectrum).max() <= 1
            # With room for weights that grow by a half.
            grown = spectrum.real + 1.5j * spectrum.imag
            assert abs(1 + cell.epsilon * grown).max() <= 1
    noise = draw(1, (20_000, 1))
    ys = unroll(rz.make_cell(name, 1, 64, key=KEY), noise)[1]
    assert np.sqrt(np.mean(np.square(ys[-1000:]))) < 1


def bound(weights):
    return float(abs(np.asarray(weights)).max())


def test_first_weights_are_those_of_the_authors():
    """U(±bound), and the widest of many draws is near the bound."""
    kaiming = np.sqrt(6 / 65)
    for name, parts in (
        ("hcornn", {"weight_ih": 1 / 2, "bias": 1 / 2, "weight_hh": 1 / np.sqrt(300)}),
        ("unicornn", {"weight_ih": kaiming / 2, "bias": 1 / 2}),
        ("indrnn", {"weight_ih": kaiming / 2}),
        ("linear_indrnn", {"weight_ih": kaiming / 2}),
    ):
        cell = rz.make_cell(name, 4, 300, key=KEY)
        for part, expected in parts.items():
            assert 0.98 * expected < bound(getattr(cell, part)) <= expected * (1 + 1e-6), name


def test_first_weights_of_the_authors_are_offered():
    linear = {"initialisation": "linear", "key": KEY}
    gru, lstm = (
        rz.cells.MinGRUCell(4, 300, **linear),
        rz.cells.MinLSTMCell(4, 300, forget_bias=2.0, **linear),
    )
    for cell in (gru, lstm):
        assert 0.49 < bound(cell.weight_ih) <= 0.5
    assert 0.49 < bound(gru.bias) <= 0.5
    assert 1.5 <= lstm.bias[:300].min() < 1.51 < 2.49 < lstm.bias[:300].max() <= 2.5
    clockwork = rz.cells.ClockworkCell(400, 100, initialisation="normal", key=KEY)
    np.testing.assert_allclose(np.std(clockwork.weight_ih), 0.1, rtol=0.02)
    plain, wide = (rz.cells.CfCCell(3, 4, init_gain=gain, key=KEY) for gain in (1.0, 1.35))
    np.testing.assert_allclose(wide.heads.weight, 1.35 * plain.heads.weight, rtol=1e-6)
    np.testing.assert_array_equal(wide.heads.bias, plain.heads.bias)
    lipschitz = rz.cells.LipschitzCell(3, 200, init_std=0.1, key=KEY)
    for M in (lipschitz.M_A, lipschitz.M_W):
        np.testing.assert_allclose(np.std(M), 0.1 / 200, rtol=0.02)


def test_ltc_starts_as_the_code_of_its_paper():
    cell = rz.cells.LTCCell(3, 30, ode_unfolds=4, initialisation="original", key=KEY)
    constants = cell.constants()
    np.testing.assert_allclose(constants.g_leak, 1, rtol=1e-5)
    np.testing.assert_allclose(constants.c_m, 1 / 8, rtol=1e-5)
    assert 0.01 <= constants.recurrent.weight.min() < 0.03


def test_stacked_unicornn_starts_small():
    layers = [rz.cells.UnICORNNCell(i, 64, key=jr.key(i)) for i in (1, 64, 64)]
    ys = rz.Stacked(layers)(draw(1, (1000, 1)))
    assert np.sqrt(np.mean(np.square(ys[-500:]))) < 0.5


def test_the_radius_of_a_random_oscillators_network_may_be_that_of_its_flow():
    """The matrix that their code makes of the same draw where gamma and epsilon are 1."""
    options = {"delta": 0.3, "spectral_radius": 0.8, "gamma": (1.0, 1.0), "epsilon": (1.0, 1.0)}
    draws = rz.reservoir.random_oscillators(1, 20, key=KEY, **options).cell.weight_hh
    ours = rz.reservoir.random_oscillators(
        1, 20, radius_of="leaky", key=KEY, **options
    ).cell.weight_hh
    W, leak = np.float64(draws), 0.3**2
    W = W * 2 / abs(W).max()  # U(-2, 2) again, nearly
    flow = leak * np.float64(ours) + (1 - leak) * np.eye(20)
    np.testing.assert_allclose(abs(np.linalg.eigvals(flow)).max(), 0.8, rtol=1e-4)
    # Off the diagonal it is the draw, by one factor.
    off = ~np.eye(20, dtype=bool)
    ratio = np.float64(ours)[off] / W[off]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
