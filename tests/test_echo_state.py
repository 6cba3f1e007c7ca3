"""Echo state networks: fitting over sequences, pools, grids, online learning, closed loops."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo.reservoir import RecursiveLeastSquares, readouts as _readouts


KEY = jr.key(0)


def cell(size=20, inputs=2, **options):
    return rz.cells.EchoStateCell(inputs, size, bias_scaling=0.3, key=KEY, **options)


def series(time=60, batch=3, inputs=2, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (batch, time, inputs), (batch, time, outputs)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)


def reference(R, Y, penalty):
    R, Y = np.float64(R), np.float64(Y)
    r, y = R.mean(axis=0), Y.mean(axis=0)
    squares = (R - r).T @ (R - r) + penalty * np.eye(R.shape[1])
    W = np.linalg.solve(squares, (R - r).T @ (Y - y)).T
    return W, y - W @ r


def assert_readout(network, expected):
    for one, two in zip((network.readout.weight, network.readout.bias), expected):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.abs(two).max())


@pytest.mark.parametrize("rows", [1, 50, 10_000])
def test_the_readout_is_ridge_regression_on_the_settled_states(rows, monkeypatch):
    monkeypatch.setattr(_readouts, "ROWS", rows)
    # A penalty of its own for each chunk size: the compiled fit holds that size.
    penalty = 0.1 + rows * 1e-6
    xs, ys = series(time=61 + rows % 7)
    lengths = [40, 10, 61]
    mask = rz.lengths_to_mask(jnp.array(lengths), xs.shape[1])
    network = rz.EchoStateNetwork(cell(), 2).fit_readout(
        xs, ys, ridge=penalty, washout=7, mask=mask
    )
    layer = rz.Recurrent(cell())
    kept = [slice(7, length) for length in lengths]
    R = np.concatenate([layer(x)[k] for x, k in zip(xs, kept)])
    Y = np.concatenate([y[k] for y, k in zip(ys, kept)])
    assert_readout(network, reference(R, Y, penalty))
    said = network(xs[0])
    expected = layer(xs[0]) @ network.readout.weight.T + network.readout.bias
    np.testing.assert_allclose(said, expected, atol=1e-5)


def test_one_sequence_needs_no_batch_axis():
    xs, ys = series(batch=1)
    network = rz.EchoStateNetwork(cell(), 2)
    one = network.fit_readout(xs[0], ys[0], ridge=0.1, washout=5)
    many = network.fit_readout(xs, ys, ridge=0.1, washout=5)
    assert_readout(many, (one.readout.weight, one.readout.bias))


def test_padding_never_reaches_the_fit():
    xs, ys = series()
    mask = rz.lengths_to_mask(jnp.array([60, 20, 33]), 60)
    network = rz.EchoStateNetwork(cell(), 2, include_input=True)
    expected = network.fit_readout(xs, ys, ridge=0.1, mask=mask)
    xs, ys = (jnp.where(mask[..., None], a, jnp.nan) for a in (xs, ys))
    fitted = network.fit_readout(xs, ys, ridge=0.1, mask=mask)
    np.testing.assert_array_equal(fitted.readout.weight, expected.readout.weight)


def test_a_reset_starts_the_washout_again():
    xs, ys = series(time=60, batch=1)
    reset = jnp.zeros((1, 60), bool).at[0, 40].set(True)
    network = rz.EchoStateNetwork(cell(), 2)
    packed = network.normal_equations(xs, ys, washout=7, reset=reset)
    apart = [
        network.normal_equations(xs[:, p], ys[:, p], washout=7) for p in (slice(40), slice(40, 60))
    ]
    whole = apart[0] + apart[1]
    assert float(packed.count) == 33 + 13
    np.testing.assert_allclose(packed.solve(0.1).weight, whole.solve(0.1).weight, atol=1e-5)


def test_time_steps_and_keys_reach_the_reservoir():
    xs, ys = series()
    dt = jnp.asarray(np.random.default_rng(3).uniform(0.2, 2.0, (3, 60)), jnp.float32)
    noisy = rz.EchoStateNetwork(cell(noise=0.1), 2)
    fitted = noisy.fit_readout(xs, ys, ridge=0.1, dt=dt, key=KEY)
    keys = jr.split(KEY, 3)
    layer = rz.Recurrent(cell(noise=0.1))
    R = np.concatenate([layer(x, dt=d, key=k) for x, d, k in zip(xs, dt, keys)])
    assert_readout(fitted, reference(R, np.concatenate(ys), 0.1))


def test_the_readout_sees_features_of_states_and_inputs():
    xs, ys = series()
    options = {"include_input": True, "features": rz.reservoir.half_squares}
    network = rz.EchoStateNetwork(cell(), 2, **options).fit_readout(xs, ys, ridge=0.1)
    layer = rz.Recurrent(cell())
    R = np.concatenate([np.concatenate([layer(x), x], axis=1) for x in xs])
    R = np.where(np.arange(22) % 2 == 0, R**2, R)
    assert_readout(network, reference(R, np.concatenate(ys), 0.1))


def test_scan_streams_and_chunks():
    xs, ys = series()
    network = rz.EchoStateNetwork(cell(), 2, include_input=True).fit_readout(xs, ys, ridge=0.1)
    whole = network(xs[0])
    state, first = network.scan(xs[0, :25])
    _, rest = network.scan(xs[0, 25:], state)
    np.testing.assert_allclose(jnp.concatenate([first, rest]), whole, atol=1e-5)
    state, streaming = network.init_state(), network.prepare()
    for x, y in zip(xs[0, :5], whole):
        state, said = streaming.step(state, x)
        np.testing.assert_allclose(said, y, atol=1e-5)


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_pooled_sequences_are_classified_by_ridge_on_labels(pool):
    xs, _ = series(batch=8)
    lengths = np.array([60, 10, 33, 60, 5, 22, 41, 60])
    mask = rz.lengths_to_mask(jnp.asarray(lengths), 60)
    labels = np.arange(8) % 3
    network = rz.EchoStateNetwork(cell(), 3, pool=pool).fit_readout(
        xs, labels, ridge=0.1, mask=mask
    )
    layer = rz.Recurrent(cell())
    hs = [np.asarray(layer(x[:n])) for x, n in zip(xs, lengths)]
    R = np.stack([h[-1] if pool == "last" else h.mean(axis=0) for h in hs])
    assert_readout(network, reference(R, np.eye(3)[labels], 0.1))
    logits = rz.batch(network)(xs, mask=mask)
    np.testing.assert_allclose(
        logits, R @ np.asarray(network.readout.weight).T + network.readout.bias, atol=1e-4
    )


def test_model_space_holds_the_linear_model_of_each_sequence():
    xs, _ = series(batch=6)
    lengths = np.array([60, 30, 44, 60, 25, 50])
    mask = rz.lengths_to_mask(jnp.asarray(lengths), 60)
    labels = np.arange(6) % 2
    pool = rz.reservoir.ModelSpace(4, ridge=0.5)
    network = rz.EchoStateNetwork(cell(), 2, pool=pool).fit_readout(
        xs, labels, mask=mask, ridge=0.1
    )
    layer = rz.Recurrent(cell())
    hs = [np.float64(layer(x[:n])) for x, n in zip(xs, lengths)]
    together = np.concatenate(hs)
    centred = together - together.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    expected = np.abs(vectors[:, ::-1][:, :4])
    np.testing.assert_allclose(np.abs(network.space.basis.value), expected, atol=1e-3)
    Q = np.float64(network.space.basis.value)
    zs = (hs[1] - together.mean(axis=0)) @ Q
    U, u = reference(zs[:-1], zs[1:], 0.5)
    model = network.space(layer(xs[1], mask=mask[1]), mask[1])
    np.testing.assert_allclose(model, np.concatenate([U.ravel(), u]), atol=1e-3)
    assert network(xs[0]).shape == (2,)


def test_a_grid_of_settings_is_one_vmap():
    xs, ys = series()

    def score(radius, leak):
        network = rz.EchoStateNetwork(cell(spectral_radius=radius, leak=leak), 2)
        return rz.metrics.nmse(network.fit_readout(xs, ys, ridge=0.1)(xs[0]), ys[0])

    radii, leaks = jnp.array([0.5, 0.9]), jnp.array([0.3, 1.0])
    scores = jax.jit(jax.vmap(score))(radii, leaks)
    each = [score(float(r), float(a)) for r, a in zip(radii, leaks)]
    np.testing.assert_allclose(scores, each, rtol=1e-4)


def test_any_layer_is_a_reservoir():
    xs, ys = series()
    deep = rz.layers.Cascade([cell(8), cell(6, inputs=8)])
    wide = rz.layers.Parallel([cell(8), rz.reservoir.as_reservoir(rz.cells.GRUCell(2, 5, key=KEY))])
    oscillators = rz.reservoir.random_oscillators(2, 9, key=KEY)
    for layer, size in ((deep, 14), (wide, 13), (oscillators, 9)):
        network = rz.EchoStateNetwork(layer, 2).fit_readout(xs, ys, ridge=0.1)
        assert network.readout.weight.shape == (2, size)
        unfitted = rz.EchoStateNetwork(layer, 2)
        assert not jax.tree.leaves(eqx.filter(unfitted, eqx.is_inexact_array))


def test_layers_that_read_from_the_end_are_fitted_as_a_whole():
    xs, ys = series(time=300)
    both = rz.Bidirectional(cell(6), cell(5))
    for layer in (both, rz.Stacked([both, cell(7, inputs=11)])):
        network = rz.EchoStateNetwork(layer, 2).fit_readout(xs, ys, ridge=0.1)
        R = np.concatenate([network.layer(x) for x in xs])
        assert_readout(network, reference(R, np.concatenate(ys), 0.1))


def test_only_the_readout_changes_after_adamw():
    xs, ys = series()
    network = rz.EchoStateNetwork(cell(), 2).fit_readout(xs, ys, ridge=0.1)
    optimiser = optax.adamw(0.1, weight_decay=0.5)
    trainable = eqx.filter(network, eqx.is_inexact_array)
    grads = eqx.filter_grad(lambda n: jnp.mean((n(xs[0]) - ys[0]) ** 2))(network)
    updates, _ = optimiser.update(grads, optimiser.init(trainable), trainable)
    after = eqx.apply_updates(network, updates)
    assert not np.allclose(after.readout.weight, network.readout.weight)
    for one, two in zip(jax.tree.leaves(after.layer), jax.tree.leaves(network.layer)):
        np.testing.assert_array_equal(one, two)


def test_random_oscillators_are_what_the_paper_draws():
    reservoir = rz.reservoir.random_oscillators(
        3, 40, spectral_radius=0.7, input_scaling=2.0, key=KEY
    )
    inside = reservoir.cell
    radius = abs(np.linalg.eigvals(np.float64(inside.weight_hh))).max()
    np.testing.assert_allclose(radius, 0.7, rtol=1e-4)
    assert 0 <= float(inside.weight_ih.min()) < 0.2 < 1.8 < float(inside.weight_ih.max()) <= 2
    assert float(inside.bias.min()) < -1.5 < 1.5 < float(inside.bias.max()) <= 2


# --- online ---------------------------------------------------------------------------------------


def test_online_learning_ends_where_the_closed_form_does():
    with float64() as dtype:
        xs, ys = (jnp.asarray(a[0], dtype) for a in series(time=200))
        mask = jnp.asarray(np.random.default_rng(1).random(200) < 0.8)
        network = rz.EchoStateNetwork(cell(dtype=dtype), 2)
        rule = RecursiveLeastSquares(ridge=0.1)
        learned, said = network.fit_online(xs, ys, rule=rule, mask=mask)
        R = np.asarray(rz.Recurrent(network.layer.cell)(xs, mask=mask))[mask]
        R = np.concatenate([R, np.ones((len(R), 1))], axis=1)
        expected = np.linalg.solve(R.T @ R + 0.1 * np.eye(21), R.T @ np.asarray(ys)[mask]).T
        np.testing.assert_allclose(learned.readout.weight, expected[:, :-1], atol=1e-9)
        np.testing.assert_allclose(learned.readout.bias, expected[:, -1], atol=1e-9)
        np.testing.assert_array_equal(said[~mask], 0)
        np.testing.assert_array_equal(said[np.argmax(mask)], 0)


def test_online_learning_resets_the_state_and_keeps_what_it_learned():
    xs, ys = series(time=40)
    network = rz.EchoStateNetwork(cell(), 2)
    reset = jnp.zeros(80, bool).at[40].set(True)
    packed, _ = network.fit_online(jnp.concatenate(xs[:2]), jnp.concatenate(ys[:2]), reset=reset)
    R = np.concatenate([rz.Recurrent(cell())(x) for x in xs[:2]])
    R = np.concatenate([R, np.ones((80, 1))], axis=1)
    expected = np.linalg.solve(R.T @ R + np.eye(21), R.T @ np.concatenate(ys[:2])).T
    np.testing.assert_allclose(packed.readout.weight, expected[:, :-1], atol=1e-4)


def test_force_reads_its_own_output():
    """The loop of the paper in NumPy: the output before an update is what is read next."""
    with float64() as dtype:
        ys = jnp.sin(jnp.arange(60, dtype=dtype) * 0.3)[:, None]
        us = jnp.cos(jnp.arange(60, dtype=dtype) * 0.3)[:, None]
        own = cell(15, dtype=dtype, spectral_radius=1.3)
        network = rz.EchoStateNetwork(own, 1)
        learned, said = network.fit_force(ys, us, rule=RecursiveLeastSquares(ridge=0.5))
        state, z = own.init_state(), np.zeros(1)
        W, P = np.zeros((1, 16)), np.eye(16) / 0.5
        for t in range(60):
            state, h = own.step(state, jnp.concatenate([jnp.asarray(z), us[t]]))
            r = np.append(h, 1.0)
            z = W @ r
            np.testing.assert_allclose(said[t], z, atol=1e-9)
            k = P @ r / (1 + r @ P @ r)
            W = W + np.outer(ys[t] - z, k)
            P = P - np.outer(k, r @ P)
        np.testing.assert_allclose(learned.readout.weight, W[:, :-1], atol=1e-8)


# --- closed loop ----------------------------------------------------------------------------------


def linear_model(key=KEY, inputs=2, outputs=2):
    layer = rz.Recurrent(cell(12, inputs=inputs))
    return rz.SequenceModel(layer, outputs, pool=None, key=key)


def by_hand(model, xs, steps, extra=None):
    step = eqx.filter_jit(lambda state, x: model.step(state, x))
    state, y = model.init_state(), None
    for x in np.asarray(xs):
        state, y = step(state, x)
    said = [y]
    for t in range(steps - 1):
        x = said[-1] if extra is None else np.concatenate([said[-1], extra[t]])
        state, y = step(state, x)
        said.append(y)
    return np.stack(said)


def test_autoregressive_reads_its_own_outputs():
    xs, _ = series(time=9)
    model = linear_model()
    run = rz.Autoregressive(model)
    np.testing.assert_allclose(run(xs[0], 6), by_hand(model, xs[0], 6), atol=1e-5)
    cell_alone = rz.Autoregressive(rz.cells.GRUCell(2, 2, key=KEY))
    np.testing.assert_allclose(
        cell_alone(xs[0], 4), by_hand(rz.cells.GRUCell(2, 2, key=KEY), xs[0], 4), atol=1e-5
    )


def test_known_inputs_stand_beside_what_is_fed_back():
    xs, us = series(time=9, inputs=3, outputs=1)
    model = linear_model(inputs=3)
    said = rz.Autoregressive(model)(xs[0], 6, inputs=us[0, :5])
    np.testing.assert_allclose(said, by_hand(model, xs[0], 6, us[0]), atol=1e-5)


def test_closed_loop_in_chunks_masks_and_batches():
    xs, _ = series(time=9)
    run = rz.Autoregressive(linear_model())
    whole = run(xs[0], 8)
    state, y = run.warm_up(xs[0])
    state, first = run.generate(state, y, 3)
    _, rest = run.generate(state, first[-1], 4)
    np.testing.assert_allclose(jnp.concatenate([y[None], first, rest]), whole, atol=1e-5)
    mask = rz.lengths_to_mask(jnp.array(6), 9)
    np.testing.assert_allclose(run(xs[0], 4, mask=mask), run(xs[0, :6], 4), atol=1e-5)
    many = jax.vmap(lambda x: run(x, 8))(xs)
    np.testing.assert_allclose(many[0], whole, atol=1e-5)
    slope = jax.jit(jax.grad(lambda x: run(x, 5)[-1].sum()))(xs[0])
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_time_passes_in_a_closed_loop():
    xs, _ = series(time=9)
    model = rz.EchoStateNetwork(cell(12), 2).fit_readout(*series(), ridge=0.1)
    run = rz.Autoregressive(model)
    dts = jnp.array([0.3, 0.6, 2.0])
    said = run(xs[0], 4, dt=0.5, future_dt=dts)
    state, _ = model.scan(xs[0], dt=0.5)
    for t in range(3):
        state, y = model.step(state, said[t], dts[t])
        np.testing.assert_allclose(said[t + 1], y, atol=1e-5)


def test_tokens_are_sampled_with_the_keys_given():
    layer = rz.GRU(4, 8, key=KEY)
    encoder = eqx.nn.Embedding(5, 4, key=KEY)
    model = rz.SequenceModel(layer, 5, encoder=encoder, pool=None, key=KEY)
    run = rz.Autoregressive(model, feedback=rz.models.Sample(0.5))
    tokens = jnp.array([0, 3, 1])
    logits = run(tokens, 50, key=jr.key(1))
    assert logits.shape == (50, 5)
    assert not np.allclose(logits, run(tokens, 50, key=jr.key(2)))
    greedy = rz.Autoregressive(model, feedback=rz.models.Sample(0.0))(tokens, 4)
    state, ys = model.scan(tokens)
    y = ys[-1]
    for said in greedy:
        np.testing.assert_allclose(said, y, atol=1e-5)
        state, y = model.step(state, jnp.argmax(y))
    with pytest.raises(RuntimeError, match="key"):
        run(tokens, 4)


# --- errors ---------------------------------------------------------------------------------------


NETWORK = rz.EchoStateNetwork(cell(), 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: NETWORK(x[0]), RuntimeError, "fit_readout"),
        (lambda x, y: NETWORK.fit_readout(x, y[:, :-1]), ValueError, r"ys of shape \(3, 60, 2\)"),
        (lambda x, y: NETWORK.fit_readout(x[0], y), ValueError, r"ys of shape \(60, 2\)"),
        (lambda x, y: NETWORK.fit_readout(x[..., :1], y), ValueError, "xs of shape"),
        (lambda x, y: NETWORK.fit_readout(x, y, ridge=0.0), ValueError, "penalty above 0"),
        (lambda x, y: NETWORK.fit_readout(x, y, washout=-1), ValueError, "washout"),
        (lambda x, y: NETWORK.fit_readout(x, y, mask=np.ones((3, 9), bool)), ValueError, "mask"),
        (lambda x, y: NETWORK.fit_readout(x[:0], y[:0]), ValueError, "at least one sequence"),
        (lambda x, y: rz.EchoStateNetwork(cell(), 2, pool="max"), ValueError, "pool"),
        (lambda x, y: rz.EchoStateNetwork(cell(), 0), ValueError, "output_size"),
        (lambda x, y: NETWORK.fit_online(x[0], y[0, 1:]), ValueError, "ys of shape"),
        (lambda x, y: NETWORK.fit_force(y[0], x[0]), ValueError, "beside its own"),
        (lambda x, y: rz.reservoir.ModelSpace(0), ValueError, "components"),
        (lambda x, y: rz.Autoregressive(jnp.tanh), TypeError, "cell"),
        (lambda x, y: rz.Autoregressive(linear_model())(x[0], 0), ValueError, "steps"),
        (lambda x, y: rz.Autoregressive(linear_model())(x[0, :0], 2), ValueError, "warm up"),
        (
            lambda x, y: rz.Autoregressive(linear_model(inputs=3, outputs=1))(np.ones((5, 3)), 4),
            ValueError,
            "fed back",
        ),
        (lambda x, y: rz.models.Sample(-1.0), ValueError, "temperature"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*series())


def test_pools_refuse_what_needs_steps():
    pooled = rz.EchoStateNetwork(cell(), 3, pool="mean")
    xs, ys = series()
    with pytest.raises(TypeError, match="cannot step"):
        pooled.step(pooled.init_state(), xs[0, 0])
    with pytest.raises(ValueError, match="washout"):
        pooled.fit_readout(xs, np.arange(3), washout=3)
    with pytest.raises(ValueError, match="one per sequence"):
        pooled.fit_readout(xs, ys)
    with pytest.raises(TypeError, match="online"):
        pooled.fit_online(xs[0], ys[0])
    with pytest.raises(ValueError, match="no basis"):
        rz.EchoStateNetwork(cell(), 3, pool="model_space").normal_equations(xs, np.arange(3))
    with pytest.raises(ValueError, match="components"):
        rz.EchoStateNetwork(cell(), 3, pool=rz.reservoir.ModelSpace(99)).fit_readout(
            xs, np.arange(3)
        )
    with pytest.raises(ValueError, match="pool=None"):
        rz.Autoregressive(rz.make_model("gru", 2, 2, key=KEY))(xs[0], 3)
