"""State spaces: discretisations, where their parameters start, exact flows, stability."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import MASK, I, T, assert_close, draw, float64, noisy

import rnn_zoo as rz
from rnn_zoo.cells import discretise
from rnn_zoo.cells.rglru import bounded_sqrt
from rnn_zoo.cells.s5 import _adjoint, s5_eigenvectors
from rnn_zoo.init import hippo_legs
from rnn_zoo.scan import trajectory, unroll


KEY = jr.key(0)
DIAGONAL = {
    "zoh": discretise.zoh,
    "bilinear": discretise.bilinear,
    "euler": discretise.euler,
    "exponential_euler": discretise.exponential_euler,
}


def transition(cell, x):
    return cell.transition(cell.constants(), x)


def taylor_exprel(z, terms=60):
    total, term = 0.0, 1.0
    for k in range(terms):
        total, term = total + term, term * z / (k + 2)
    return total


@pytest.mark.parametrize("phase", [np.exp(1j * np.linspace(0.1, 6, 7)), -np.ones(1)])
def test_exprel_on_both_sides_of_its_switch(phase):
    z = np.outer([0.0, 1e-9, 1e-3, 0.0999, 0.1001, 1.0, 5.0], phase).ravel()
    with float64():
        values, slopes = jax.jvp(
            discretise.exprel, (jnp.asarray(z),), (jnp.ones_like(jnp.asarray(z)),)
        )
    expected = np.array([taylor_exprel(v) for v in z])
    np.testing.assert_allclose(values, expected, rtol=2e-14)
    # The derivative, term by term: (k + 1) z^k / (k + 2)!.
    series, term = np.zeros_like(z), 0.5 * np.ones_like(z)
    for k in range(60):
        series, term = series + (k + 1) * term, term * z / (k + 3)
    np.testing.assert_allclose(slopes, series, rtol=1e-12)


@pytest.mark.parametrize("name", DIAGONAL)
@pytest.mark.parametrize("eigenvalue", [0.0, -0.7, -0.5 + 3j])
def test_diagonal_schemes_hold_at_zero_and_converge(name, eigenvalue):
    orders = {"zoh": None, "bilinear": 2, "euler": 1, "exponential_euler": 1}
    with float64():
        rate = jnp.asarray(eigenvalue)
        zero = jnp.asarray(0.0)
        decay, gain = DIAGONAL[name](rate, zero)
        assert decay == 1
        assert gain == 0
        slopes = jax.jacfwd(lambda d: DIAGONAL[name](rate, d))(zero)
        np.testing.assert_allclose(slopes, (rate, 1.0), atol=1e-12)
        exact = np.exp(eigenvalue), taylor_exprel(eigenvalue)
        errors = []
        for steps in (64, 128):
            decay, gain = map(np.asarray, DIAGONAL[name](rate, jnp.asarray(1.0 / steps)))
            response = gain * sum(decay**k for k in range(steps))
            errors.append(abs(decay**steps - exact[0]) + abs(response - exact[1]))
        if orders[name] is None or eigenvalue == 0:
            assert max(errors) < 1e-12
        else:
            np.testing.assert_allclose(errors[0] / errors[1], 2 ** orders[name], rtol=0.1)


@pytest.mark.parametrize("scheme", ["im", "imex", "damped"])
def test_oscillators_converge_to_their_flow_at_first_order(scheme):
    with float64():
        cell = rz.cells.LinOSSCell(I, 4, scheme=scheme, key=KEY, dtype=jnp.float64)
        cell = rz.base.replace(cell, A=jnp.array([0.7, 1.3, 2.0, 3.0]))
        if scheme == "damped":
            cell = rz.base.replace(cell, G=jnp.array([0.1, 0.3, 0.8, 0.0]))
        x, state = draw(2, (I,)), draw(3, (2, 4))
        force, damping = np.asarray(cell.B @ x), np.zeros(4) if cell.G is None else cell.G
        steps_of_all = 1 / (1 + np.exp(-np.asarray(cell.step_logit)))
        expected = []
        for k in range(4):
            A, G, time = np.asarray(cell.A)[k], np.asarray(damping)[k], steps_of_all[k]
            # exp of the system with the force as a third, constant component.
            system = time * np.array([[-G, -A, force[k]], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
            flow = np.asarray(jax.scipy.linalg.expm(jnp.asarray(system)))
            expected.append((flow @ [state[0, k], state[1, k], 1.0])[:2])
        errors = []
        for steps in (64, 128):
            xs = jnp.broadcast_to(x, (steps, I))
            part = jnp.asarray(steps_of_all / steps)
            finer = rz.base.replace(cell, step_logit=jnp.log(part / (1 - part)))
            end = unroll(finer, xs, state)[0]
            errors.append(np.linalg.norm(end.T - np.array(expected)))
        assert 1.8 < errors[0] / errors[1] < 2.2


@pytest.mark.parametrize("name", ["s4d", "s5", "linoss-im", "linoss-imex", "linoss-damped"])
def test_exact_flows_compose(name):
    with float64():
        options = {"scheme": name[7:]} if "-" in name else {}
        name = name.split("-")[0]
        cell = noisy(rz.make_cell(name, I, 4, key=KEY, dtype=jnp.float64, **options), 1)
        x = draw(2, (I,))
        state = draw(3, cell.init_state().shape)
        state = state if name == "linoss" else state + 1j * draw(4, state.shape)
        for dt in (0.3, 1.0, 7.0):
            half = cell.step(state, x, dt / 2)[0]
            np.testing.assert_allclose(
                cell.step(half, x, dt / 2)[0], cell.step(state, x, dt)[0], rtol=1e-12
            )


@pytest.mark.parametrize("size", [1, 2, 8, 31])
def test_hippo_is_its_formula(size):
    eigenvalues, V = hippo_legs(size)
    A, p = np.zeros((size, size)), np.zeros(size)
    for n in range(size):
        p[n] = np.sqrt(n + 0.5)
        A[n, n] = -(n + 1)
        for k in range(n):
            A[n, k] = -np.sqrt(2 * n + 1) * np.sqrt(2 * k + 1)
    np.testing.assert_allclose(V @ np.diag(eigenvalues) @ V.conj().T, A + np.outer(p, p), atol=1e-9)
    np.testing.assert_allclose(V.conj().T @ V, np.eye(size), atol=1e-10)
    np.testing.assert_array_equal(eigenvalues.real, -0.5)
    assert (np.diff(eigenvalues.imag) > 0).all()


def test_s5_starts_with_half_the_pairs_of_each_block():
    eigenvalues, V = s5_eigenvectors(12, blocks=2)
    full, W = hippo_legs(6)
    cell = rz.cells.S5Cell(40, 5, state_size=12, blocks=2, key=KEY)
    np.testing.assert_allclose(cell.Lambda_re, -0.5, rtol=1e-6)
    np.testing.assert_allclose(cell.Lambda_im, np.tile(full.imag[:3], 2), rtol=1e-6)
    assert (np.asarray(cell.Lambda_im) < 0).all()
    assert V.shape == (12, 6)
    np.testing.assert_allclose(V[6:, 3:], W[:, :3])
    np.testing.assert_array_equal(V[6:, :3], 0)
    # Both halves of each pair together are the real matrix that was drawn.
    pairs = 2 * (V @ (cell.B[0] + 1j * cell.B[1])).real
    np.testing.assert_allclose(pairs.std(), 1 / np.sqrt(40), rtol=0.1)


def test_s5_input_matrix_is_real_before_its_change_of_basis():
    cell = rz.cells.S5Cell(3, 8, conj_sym=False, key=KEY)
    V = s5_eigenvectors(8, conj_sym=False)[1]
    drawn = draw(1, (8, 3))
    real, imaginary = _adjoint(V, drawn)
    # A transposed V would give another real matrix in its place, with the same statistics.
    np.testing.assert_allclose(real + 1j * imaginary, V.conj().T @ drawn, atol=1e-5)
    back = V @ (cell.B[0] + 1j * cell.B[1])
    np.testing.assert_allclose(back.imag, 0, atol=1e-6)
    assert abs(back.real).max() > 0.1
    forth = (cell.C[0] + 1j * cell.C[1]) @ V.conj().T
    np.testing.assert_allclose([forth.real.std(), forth.imag.std()], 1 / np.sqrt(8), rtol=0.3)


def test_s5_draws_its_output_matrix_in_the_three_ways_of_its_authors():
    V = s5_eigenvectors(64, conj_sym=False)[1]
    for name, std in {"trunc_standard_normal": 1 / 8, "lecun_normal": 1 / np.sqrt(64 * 50)}.items():
        cell = rz.cells.S5Cell(3, 50, state_size=64, conj_sym=False, C_init=name, key=KEY)
        drawn = (np.asarray(cell.C[0]) + 1j * np.asarray(cell.C[1])) @ V.conj().T
        parts = np.concatenate([drawn.real.ravel(), drawn.imag.ravel()])
        np.testing.assert_allclose(parts.std(), std, rtol=0.03)
        # Cut at two deviations of the normal distribution, which are 2.27 of what is left.
        assert 2.1 * std < abs(parts).max() < 2.2741 * std
    cell = rz.cells.S5Cell(3, 50, state_size=64, C_init="complex_normal", key=KEY)
    np.testing.assert_allclose(np.asarray(cell.C).std(axis=(1, 2)), np.sqrt(0.5), rtol=0.05)
    assert abs(np.asarray(cell.C)).max() > 2.3


@pytest.mark.parametrize("name", ["s4d", "s5", "mamba"])
def test_steps_start_log_uniform(name):
    options = {"state_size": 4000, "blocks": 1000} if name == "s5" else {"state_size": 2}
    cell = rz.make_cell(name, 1, 1 if name == "s5" else 4000, key=KEY, **options)
    steps = np.exp(cell.log_step) if name != "mamba" else np.log1p(np.exp(cell.bias_dt))
    assert 0.00099 < steps.min() < 0.0011
    assert 0.09 < steps.max() < 0.101
    # Half of them below the geometric mean.
    np.testing.assert_allclose(np.median(steps), 0.01, rtol=0.1)


def test_s4d_eigenvalues_are_the_papers():
    cells = {
        name: rz.cells.S4DCell(2, 3, state_size=8, initialisation=name, key=KEY)
        for name in ("lin", "inv", "legs")
    }
    n = np.arange(4)
    expected = {
        "lin": np.pi * n,
        "inv": 8 / np.pi * (8 / (2 * n + 1) - 1),
        "legs": hippo_legs(8)[0].imag[4:],
    }
    for name, cell in cells.items():
        for channel in range(3):
            np.testing.assert_allclose(cell.frequency[channel], expected[name], rtol=1e-6)
        np.testing.assert_allclose(-np.exp(cell.log_decay), -0.5, rtol=1e-6)
    # HiPPO-LegS comes with its input vector, V* B with B_n = sqrt(2n + 1).
    V = hippo_legs(8)[1][:, 4:]
    B = abs(V.conj().T @ np.sqrt(2 * np.arange(8) + 1))
    np.testing.assert_allclose(cells["legs"].C, cells["lin"].C * B, rtol=1e-5)


@pytest.mark.parametrize("initialisation", ["uniform", "ring"])
def test_rglru_starts_as_its_authors(initialisation):
    cell = rz.cells.RGLRUCell(1, 2000, blocks=50, initialisation=initialisation, key=KEY)
    decay = np.exp(-np.log1p(np.exp(np.asarray(cell.Lambda, np.float64))))
    # The paper draws a^8, its code a by area.
    decay, power = (decay**8, 1) if initialisation == "uniform" else (decay, 2)
    assert decay.min() > 0.8999
    assert decay.max() < 0.9991
    quantiles = (np.quantile(decay, [0.25, 0.5, 0.75]) ** power - 0.9**power) / (
        0.999**power - 0.9**power
    )
    np.testing.assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.04)
    # Normal, of variance one by the width of a block.
    gates = np.asarray(cell.weight_gates).ravel()
    np.testing.assert_allclose([gates.std(), np.mean(gates**4)], [40**-0.5, 3 / 40**2], rtol=0.02)


def test_mamba_starts_with_the_integers():
    cell = rz.cells.MambaCell(2, 3, state_size=4, key=KEY)
    np.testing.assert_allclose(cell.constants().T, -np.tile([1, 2, 3, 4], (3, 1)), rtol=1e-6)


def test_complex_forms_start_as_published():
    cell = rz.cells.MambaCell(2, 3, state_size=4, complex_eigenvalues=True, key=KEY)
    np.testing.assert_allclose(cell.constants().T, np.tile(-0.5 + 1j * np.arange(4), (3, 1)))
    cell = rz.cells.RGLRUCell(1, 4000, blocks=500, complex_eigenvalues=True, key=KEY)
    decay, phase = np.exp(cell.constants().real), cell.constants().imag
    assert (decay.min() > 0.8999, decay.max() < 0.9991) == (True, True)
    assert (phase.min() >= 0, phase.max() < np.pi / 10) == (True, True)
    np.testing.assert_allclose(
        np.quantile(phase, [0.25, 0.75]), [np.pi / 40, 3 * np.pi / 40], rtol=0.1
    )
    assert abs(np.corrcoef(decay, phase)[0, 1]) < 0.1


COMPLEX = {name: {"complex_eigenvalues": True} for name in ("rglru", "mamba")}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in ("s4d", "s5", "lru", "rglru", "mamba", "linear_indrnn")]
    + list(COMPLEX.items()),
)
def test_eigenvalues_stay_inside_the_unit_circle(name, options):
    cell = noisy(rz.make_cell(name, I, 16, key=KEY, **options), 3, scale=1.0)
    decays = jax.vmap(lambda x: transition(cell, x).linear.a)(draw(1, (8, I)))
    assert (abs(np.asarray(decays)) <= 1).all()
    if name != "linear_indrnn":
        assert abs(np.asarray(decays)).min() < 1


def test_s5_eigenvalues_are_clipped_and_come_back():
    cell = rz.cells.S5Cell(I, 6, key=KEY)
    outside = rz.base.replace(cell, Lambda_re=jnp.array([0.5, 0.0, -0.5]))
    eigenvalues = outside.constants().system.eigenvalues
    np.testing.assert_allclose(eigenvalues.real, [-1e-4, -1e-4, -0.5])
    assert (abs(np.asarray(transition(outside, jnp.ones(I)).linear.a)) < 1).all()
    xs = draw(1, (T, I))
    ahead, back = (
        eqx.filter_grad(lambda c, s=sign: s * jnp.sum(unroll(c, xs)[1]))(outside).Lambda_re
        for sign in (1, -1)
    )
    # Of a gradient and its opposite one leads back inside, which passes, and one out.
    ahead, back = np.asarray(ahead), np.asarray(back)
    np.testing.assert_allclose(ahead[2], -back[2])
    assert (np.maximum(ahead, back)[:2] > 0).all()
    assert (np.minimum(ahead, back)[:2] == 0).all()
    free = rz.base.replace(outside, clip_eigs=False).constants().system.eigenvalues
    np.testing.assert_allclose(free.real, [0.5, 0.0, -0.5])


@pytest.mark.parametrize("scheme", ["im", "imex", "damped"])
def test_oscillator_eigenvalues(scheme):
    cell = noisy(rz.cells.LinOSSCell(I, 32, scheme=scheme, key=KEY), 3, scale=4.0)
    blocks = np.moveaxis(np.asarray(cell.constants().block, np.float64), -1, 0)
    modulus = abs(np.linalg.eigvals(blocks))
    assert modulus.max() < 1 + 1e-3
    step = 1 / (1 + np.exp(-np.asarray(cell.step_logit, np.float64)))
    determinant = np.linalg.det(blocks)
    if scheme == "im":
        expected = 1 / (1 + step**2 * np.maximum(cell.A, 0))
    else:
        expected = 1 / (1 + step * np.maximum(0 if cell.G is None else cell.G, 0))
    np.testing.assert_allclose(determinant, expected, rtol=1e-4)
    # Conjugate pairs, and so of one modulus.
    np.testing.assert_allclose(modulus[:, 0], modulus[:, 1], rtol=2e-3)


def test_an_undamped_oscillator_keeps_its_volume_and_a_damped_one_its_stability():
    free = rz.cells.LinOSSCell(I, 8, key=KEY)
    lossy = rz.cells.LinOSSCell(I, 8, scheme="im", key=KEY)
    start = jnp.ones((2, 8))
    ends = {n: unroll(c, jnp.zeros((2000, I)), start)[0] for n, c in (("f", free), ("l", lossy))}
    assert 0.1 < abs(np.asarray(ends["f"])).max() < 10
    assert abs(np.asarray(ends["l"])).max() < 1e-2


def test_the_root_of_the_gate_has_a_bounded_slope():
    zero = jnp.zeros(())
    assert bounded_sqrt(zero) == 0
    np.testing.assert_allclose(jax.grad(bounded_sqrt)(zero), 1000)
    assert np.isfinite(jax.hessian(bounded_sqrt)(zero))
    np.testing.assert_allclose(jax.grad(bounded_sqrt)(jnp.array(0.25)), 1.0, rtol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_short_convolution_is_the_convolution(kernel):
    cell = rz.cells.ShortConv(2, kernel_size=kernel, key=KEY)
    xs = np.asarray(draw(1, (T, 2)))
    expected = [np.convolve(xs[:, c], cell.weight[:, c])[:T] + cell.bias[c] for c in range(2)]
    state, ys = unroll(cell, xs)
    np.testing.assert_allclose(ys, np.array(expected).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(state, xs[T - kernel + 1 :])
    masked = unroll(cell, xs, mask=MASK)[0]
    np.testing.assert_array_equal(masked, xs[MASK][MASK.sum() - kernel + 1 :])


def test_mamba_block_is_its_equation():
    block = noisy(rz.layers.MambaBlock(I, kernel_size=2, state_size=3, key=KEY), 2)
    xs = draw(1, (T, I))
    conv, _, ssm = (layer for layer in block.inner.layers)
    u, gate = np.split(np.asarray(xs @ block.project_in.weight.T), 2, axis=1)
    before = np.concatenate([np.zeros((1, 2 * I)), u[:-1]])
    u = conv.cell.weight[0] * u + conv.cell.weight[1] * before + conv.cell.bias
    v = unroll(ssm.cell, jax.nn.silu(u))[1]
    expected = (v * jax.nn.silu(gate)) @ block.project_out.weight.T
    np.testing.assert_allclose(block(xs), expected, rtol=1e-4, atol=1e-5)


def test_mamba_chooses_by_its_input():
    cell = noisy(rz.cells.MambaCell(I, 4, key=KEY), 1)
    one, two = (transition(cell, x) for x in draw(1, (2, I)))
    assert not np.allclose(one.linear.a, two.linear.a)
    # Delta, B and u all depend on x: the offset is no linear function of it.
    doubled = transition(cell, 2 * draw(1, (2, I))[0])
    assert not np.allclose(doubled.offset, 2 * one.offset, rtol=1e-2)


BAD = {
    "s5 state": ("s5", {"state_size": 5}, "multiple of 2 .* smallest is 2, got 5"),
    "s5 blocks": ("s5", {"state_size": 6, "blocks": 2}, "multiple of 4"),
    "s5 rule": ("s5", {"discretisation": "euler"}, "discretisation to be one of"),
    "s5 steps": ("s5", {"step_range": (0.1, 0.01)}, "0 < low <= high"),
    "s4d state": ("s4d", {"state_size": 7}, "even state_size, from 2 up, got 7"),
    "s4d start": ("s4d", {"initialisation": "ones"}, "initialisation to be one of"),
    "rglru blocks": ("rglru", {"blocks": 3}, "divide hidden_size=4, got 3"),
    "rglru ring": ("rglru", {"decay_range": (0.9, 1.0)}, "0 < low < high < 1"),
    "rglru halves": (
        "rglru",
        {"complex_eigenvalues": True, "blocks": 4},
        "hidden_size=4 / 2, got 4",
    ),
    "rglru both": (
        "rglru",
        {"complex_eigenvalues": True, "negative_eigenvalues": True},
        "expected one of negative_eigenvalues and complex_eigenvalues, got both",
    ),
    "mamba both": (
        "mamba",
        {"complex_eigenvalues": True, "negative_eigenvalues": True},
        "expected one of negative_eigenvalues and complex_eigenvalues, got both",
    ),
    "mamba map": ("mamba", {"input_map": False}, "equal to hidden_size without input_map"),
    "mamba rank": ("mamba", {"rank": 0}, "rank to be an integer of at least 1"),
    "linoss scheme": ("linoss", {"scheme": "ex"}, "scheme to be one of"),
    "linear range": ("linear_indrnn", {"recurrent_range": (2.0, 1.0)}, "recurrent_range"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_options_are_named(what):
    name, options, message = BAD[what]
    with pytest.raises(ValueError, match=message):
        rz.make_cell(name, I, 4, key=KEY, **options)


def test_complex_pairs_need_an_even_size():
    with pytest.raises(ValueError, match="even hidden_size with complex_eigenvalues, from 2 up"):
        rz.cells.RGLRUCell(I, 5, complex_eigenvalues=True, key=KEY)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_labels_follow_the_declared_fields(bidirectional):
    model = rz.make_model("s5", I, 2, hidden_size=4, bidirectional=bidirectional, key=KEY)
    labels = rz.train.ssm_labels(eqx.filter(model, eqx.is_inexact_array))
    block = labels.layer.layers[1]
    cells = [block.layer.forward.cell, block.layer.backward.cell] if bidirectional else []
    for cell in cells or [block.layer.cell]:
        own = (cell.Lambda_re, cell.Lambda_im, cell.B, cell.log_step)
        assert (*own, cell.C, cell.D) == ("ssm",) * 4 + ("regular",) * 2
    assert (block.norm.weight, block.norm.bias) == ("ssm", "ssm")
    assert block.mix.gate.weight == "regular"
    assert set(jax.tree.leaves(rz.train.ssm_labels(rz.GRU(I, 4, key=KEY)))) == {"regular"}


@pytest.mark.parametrize("name", rz.list_cells(linear=True))
def test_declared_fields_exist(name):
    cell = rz.make_cell(name, I, 4, key=KEY)
    for field in getattr(cell, "ssm_parameters", ()):
        assert hasattr(cell, field)


def test_the_optimiser_decays_and_steps_by_group():
    model = rz.make_model("s5", I, 2, hidden_size=4, key=KEY)
    params = eqx.filter(model, eqx.is_inexact_array)
    optimizer = rz.train.ssm_optimizer(0.1, ssm_learning_rate=0.01, weight_decay=0.5)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    cell = updates.layer.layers[1].layer.cell
    np.testing.assert_array_equal(cell.Lambda_im, 0)
    np.testing.assert_allclose(cell.C, -0.1 * 0.5 * params.layer.layers[1].layer.cell.C, rtol=1e-5)
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(ones, optimizer.init(params), params)
    np.testing.assert_allclose(updates.layer.layers[1].layer.cell.Lambda_im, -0.01, rtol=1e-4)
    assert isinstance(optimizer, optax.GradientTransformation)


def test_fit_takes_the_grouped_optimiser():
    model = rz.make_model("s5", 1, 1, hidden_size=4, key=KEY)
    train = rz.data.Batch(draw(1, (8, 5, 1)), draw(2, (8, 1)))
    optimizer = rz.train.ssm_optimizer(optax.constant_schedule(1e-2))
    result = rz.train.fit(
        model, train, loss=rz.train.mse, optimizer=optimizer, steps=2, batch_size=4, key=KEY
    )
    assert not eqx.tree_equal(result.model, model)


def test_s5_from_the_authors_arrays():
    rng = np.random.default_rng(0)
    P, H, time = 3, 4, 6
    arrays = {
        "Lambda_re": -rng.uniform(0.1, 1.0, P),
        "Lambda_im": rng.normal(size=P),
        "B": rng.normal(size=(P, H, 2)),
        "C": rng.normal(size=(H, P, 2)),
        "D": rng.normal(size=H),
        "log_step": rng.uniform(-3, -1, (P, 1)),
    }
    us = rng.normal(size=(time, H))
    Lambda = arrays["Lambda_re"] + 1j * arrays["Lambda_im"]
    B = arrays["B"][..., 0] + 1j * arrays["B"][..., 1]
    C = arrays["C"][..., 0] + 1j * arrays["C"][..., 1]
    Delta = np.exp(arrays["log_step"][:, 0])
    for conj_sym in (True, False):
        for rule in ("zoh", "bilinear"):
            if rule == "zoh":
                Lambda_bar = np.exp(Lambda * Delta)
                B_bar = (1 / Lambda * (Lambda_bar - 1))[:, None] * B
            else:
                BL = 1 / (1 - Delta / 2 * Lambda)
                Lambda_bar, B_bar = BL * (1 + Delta / 2 * Lambda), (BL * Delta)[:, None] * B
            x, expected = np.zeros(P, complex), []
            for u in us:
                x = Lambda_bar * x + B_bar @ u
                y = 2 * (C @ x).real if conj_sym else (C @ x).real
                expected.append(y + arrays["D"] * u)
            with float64():
                cell = rz.interop.s5_from_arrays(
                    **arrays, conj_sym=conj_sym, discretisation=rule, dtype=jnp.float64
                )
                np.testing.assert_allclose(unroll(cell, us)[1], expected, rtol=1e-11)
    with pytest.raises(ValueError, match="expected Lambda_im as f32"):
        rz.interop.s5_from_arrays(**{**arrays, "Lambda_im": np.zeros(2)})


def test_lru_from_the_arrays_of_minimal_lru():
    rng = np.random.default_rng(0)
    N, H, time = 5, 3, 6
    arrays = {
        "nu_log": rng.normal(size=N),
        "theta_log": rng.normal(size=N),
        "gamma_log": rng.normal(size=N),
        "B_re": rng.normal(size=(N, H)),
        "B_im": rng.normal(size=(N, H)),
        "C_re": rng.normal(size=(H, N)),
        "C_im": rng.normal(size=(H, N)),
        "D": rng.normal(size=H),
    }
    us = rng.normal(size=(time, H))
    Lambda = np.exp(-np.exp(arrays["nu_log"]) + 1j * np.exp(arrays["theta_log"]))
    B_norm = (arrays["B_re"] + 1j * arrays["B_im"]) * np.exp(arrays["gamma_log"])[:, None]
    C = arrays["C_re"] + 1j * arrays["C_im"]
    x, states, expected = np.zeros(N, complex), [], []
    for u in us:
        x = Lambda * x + B_norm @ u
        states.append(x)
        expected.append((C @ x).real + arrays["D"] * u)
    with float64():
        cell = rz.interop.lru_from_arrays(**arrays, dtype=jnp.float64)
        ours, ys = trajectory(cell, us)
        np.testing.assert_allclose(ours, states, rtol=1e-11)
        np.testing.assert_allclose(ys, expected, rtol=1e-11)


def test_a_sequence_of_documents_streams_through_a_mamba_model():
    block = rz.Block(rz.layers.MambaBlock(I, state_size=2, key=KEY), mix="none", key=KEY)
    xs, reset = draw(1, (T, I)), jnp.zeros(T, bool).at[4].set(True)
    whole = block(xs, reset=reset)
    assert_close(whole, jnp.concatenate([block(xs[:4]), block(xs[4:])]), 1e-5)


@pytest.mark.parametrize("complex_eigenvalues", [False, True])
def test_rglru_can_leave_the_root_out_at_the_first_step_of_a_document(complex_eigenvalues):
    time, starts = 11, [1, 5, 8]
    xs = np.asarray(draw(1, (time, I)))
    mask, reset = np.ones(time, bool), np.zeros(time, bool)
    # The first document begins with a step that does not happen, and one reset is masked.
    mask[[0, 5]], reset[starts[1:]] = False, True
    first = np.isin(np.arange(time), [1, 6, 8])
    with float64():
        options = {"root_at_start": False, "complex_eigenvalues": complex_eigenvalues}
        cell = noisy(rz.cells.RGLRUCell(I, 4, key=KEY, dtype=jnp.float64, **options), 1)
        units = cell.Lambda.size
        h, expected = np.zeros(units, complex), np.zeros((time, 4))
        softplus = np.logaddexp(0, np.asarray(cell.Lambda))
        theta = np.zeros(units) if cell.theta is None else np.asarray(cell.theta)
        for t in np.flatnonzero(mask):
            u = np.asarray(cell.weight_ih @ xs[t] + cell.bias)
            gates = np.einsum("gij,j->gi", np.asarray(cell.weight_gates)[:, 0], u)
            r, i = 1 / (1 + np.exp(-gates - np.asarray(cell.bias_gates)))
            a = np.exp(8 * r * (1j * theta - softplus))
            u = u[:units] + 1j * u[units:] if complex_eigenvalues else u
            # As their code: no state before, and 1 for the root, where a document begins.
            h = i * u if first[t] else a * h + np.sqrt(1 - abs(a) ** 2) * i * u
            expected[t] = np.concatenate([h.real, h.imag])[:4]
        keywords = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}
        for method in ("sequential", "parallel"):
            state, ys = unroll(cell, xs, method=method, **keywords)
            np.testing.assert_allclose(ys, expected, rtol=1e-10, atol=1e-12)
            part, one = unroll(cell, xs[:1], method=method, mask=mask[:1])
            rest = {name: flags[1:] for name, flags in keywords.items()}
            end, two = unroll(cell, xs[1:], part, method=method, **rest)
            assert_close((end, jnp.concatenate([one, two])), (state, ys), 1e-12)


def test_powers_near_the_unit_circle_are_as_exact_as_the_loop():
    cell = rz.cells.LinearIndRNNCell(I, 8, key=KEY)
    u = jnp.asarray([0.9, 0.99, 0.999, -0.999, 0.9999, -0.9999, 0.99999, 1.0])
    cell = rz.base.replace(cell, weight_hh=u)
    xs = draw(1, (20_000, I))
    with float64():
        wide = jax.tree.map(
            lambda a: jnp.asarray(np.asarray(a), jnp.float64) if eqx.is_inexact_array(a) else a,
            (cell, xs),
        )
        exact = np.asarray(unroll(*wide)[1])
    loop, parallel = (
        np.linalg.norm(np.asarray(unroll(cell, xs, method=m)[1], np.float64) - exact, axis=0)
        / np.linalg.norm(exact, axis=0)
        for m in ("sequential", "parallel")
    )
    assert (parallel < np.maximum(3 * loop, 4 * np.finfo(np.float32).eps)).all()
