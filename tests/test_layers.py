"""Layers and models: steps equal scans, pooling, dropout, blocks, short cuts, batches."""

import copy
import inspect
import pickle
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import DEFAULTS, KINDS, MASK, I, T, assert_close, ids, noisy, step

import rnn_zoo as rz
from rnn_zoo.scan import unroll
from rnn_zoo.wrappers.held import hold


XS = jr.normal(jr.key(1), (T, I))
KEY = jr.key(0)


def make_stack():
    cells = [rz.cells.LSTMCell(I, 4, key=KEY), rz.cells.LeakyElmanCell(4, 5, key=KEY)]
    return noisy(rz.Stacked([*cells, rz.cells.LRUCell(5, 3, key=KEY)], dropout=0.4), 9)


def make_block():
    return noisy(rz.Block(rz.cells.LRUCell(I, 5, key=KEY), dropout=0.3, key=KEY), 9)


def make_shared_dropout():
    cell = rz.cells.S5Cell(I, I, key=KEY)
    options = {"mix": "half_glu2", "prenorm": False, "broadcast_dropout": True}
    return noisy(rz.Block(cell, dropout=0.4, **options, key=KEY), 9)


def make_mamba():
    block = rz.layers.MambaBlock(I, kernel_size=3, state_size=2, key=KEY)
    return noisy(rz.Block(block, mix="none", key=KEY), 9)


def make_model():
    model = rz.make_model("lru", I, 2, hidden_size=4, num_layers=2, dropout=0.3, pool=None, key=KEY)
    return noisy(model, 9)


STREAMS = pytest.mark.parametrize(
    "make", [make_stack, make_block, make_model, make_shared_dropout, make_mamba]
)


# One program of a call, rather than one of each of its operations.
run = eqx.filter_jit(lambda layer, *arguments, **keywords: layer(*arguments, **keywords))
scan = eqx.filter_jit(lambda layer, *arguments, **keywords: layer.scan(*arguments, **keywords))


@STREAMS
@pytest.mark.parametrize("inference", [True, False])
def test_steps_equal_the_scan(make, inference):
    layer = eqx.nn.inference_mode(make(), inference)
    if not inference and not layer.stochastic:
        pytest.skip("draws nothing")
    time = {"dt": jnp.linspace(0.2, 1.5, T)} if layer.timed else {}
    key = None if inference else jr.key(3)
    final, ys = scan(layer, XS, key=key, **time)
    state, outputs = layer.init_state(), []
    keys = [None] * T if key is None else jr.split(key, T)
    for t in range(T):
        own = {"dt": time["dt"][t]} if time else {}
        own = {**own, "key": keys[t]} if layer.stochastic else own
        state, y = step(layer, state, XS[t], **own)
        outputs.append(y)
    assert_close((final, ys), (state, jnp.stack(outputs)), 1e-5)


@STREAMS
def test_chunks_equal_the_whole(make):
    layer = eqx.nn.inference_mode(make())
    whole = scan(layer, XS)
    state, first = scan(layer, XS[:4])
    state, second = scan(layer, XS[4:], state)
    assert_close((state, np.concatenate([first, second])), whole, 1e-5)


@STREAMS
def test_masked_outputs_are_zero_and_nan_stays_out(make):
    layer = eqx.nn.inference_mode(make())
    mask = jnp.asarray(MASK)
    broken = jnp.where(mask[:, None], XS, jnp.nan)
    ys = np.asarray(run(layer, broken, mask=mask))
    np.testing.assert_array_equal(ys[~MASK], 0)
    assert_close(ys[MASK], run(layer, XS[MASK]), 1e-5)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m[0](m[1], mask=mask) ** 2)))
    grads = gradient((layer, broken))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@STREAMS
def test_resets_equal_separate_documents(make):
    layer = eqx.nn.inference_mode(make())
    reset = jnp.zeros(T, bool).at[5].set(True)
    packed = run(layer, XS, reset=reset)
    assert_close(packed, np.concatenate([run(layer, XS[:5]), run(layer, XS[5:])]), 1e-5)


def test_the_block_is_its_equation():
    block = eqx.nn.inference_mode(make_block())
    gelu = jax.nn.gelu

    def by_hand(x, z):
        g = gelu(z)
        value = block.mix.value.weight @ g + block.mix.value.bias
        gate = block.mix.gate.weight @ g + block.mix.gate.bias
        return x + value * jax.nn.sigmoid(gate)

    centred = XS - XS.mean(-1, keepdims=True)
    norm = centred / jnp.sqrt(XS.var(-1, keepdims=True) + 1e-5)
    norm = norm * block.norm.weight + block.norm.bias
    zs = unroll(block.layer.cell, norm)[1]
    np.testing.assert_allclose(block(XS), jax.vmap(by_hand)(XS, zs), rtol=1e-4, atol=1e-5)


MIXES = {
    "glu": lambda m, z: m.value(jax.nn.gelu(z)) * jax.nn.sigmoid(m.gate(jax.nn.gelu(z))),
    "half_glu1": lambda m, z: jax.nn.gelu(z) * jax.nn.sigmoid(m.gate(jax.nn.gelu(z))),
    "half_glu2": lambda m, z: z * jax.nn.sigmoid(m.gate(jax.nn.gelu(z))),
    "gelu": lambda m, z: jax.nn.gelu(z),
    "none": lambda m, z: z,
    "mlp": lambda m, z: m.output(jax.nn.gelu(m.hidden(z))),
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("prenorm", [True, False])
def test_the_mixes_and_both_places_of_the_norm(mix, prenorm):
    cell = rz.cells.LRUCell(I, I, key=KEY)
    block = noisy(rz.Block(cell, mix=mix, prenorm=prenorm, key=KEY), 3)
    before = jax.vmap(block.norm)(XS) if prenorm else XS
    zs = unroll(block.layer.cell, before)[1]
    ys = XS + jax.vmap(lambda z: MIXES[mix](block.mix, z))(zs)
    expected = ys if prenorm else jax.vmap(block.norm)(ys)
    np.testing.assert_allclose(block(XS), expected, rtol=1e-4, atol=1e-5)


def test_broadcast_dropout_draws_once_for_each_document():
    cell = rz.adopt(lambda h, x: (h, x), input_size=I, init_state=jnp.zeros(1))
    options = {"mix": "none", "dropout": 0.5, "broadcast_dropout": True}
    block = rz.Block(rz.Stacked([cell, rz.cells.LRUCell(I, I, key=KEY)]), **options, key=KEY)
    reset = jnp.zeros(T, bool).at[4].set(True)
    dropped, masks = [], set()
    for seed in range(8):
        moved = np.asarray(block(XS, reset=reset, key=jr.key(seed)) - XS) == 0
        assert (moved[:4] == moved[0]).all()
        assert (moved[4:] == moved[4]).all()
        dropped.append(moved.mean())
        masks |= {tuple(moved[0]), tuple(moved[4])}
    assert 0.2 < np.mean(dropped) < 0.8
    assert len(masks) > 3
    kept = block.scan(XS, key=KEY)[0][1].keep
    whole = eqx.nn.inference_mode(block)(XS) - XS
    np.testing.assert_allclose(block(XS, key=KEY) - XS, 2 * whole * kept, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="key"):
        block(XS)


def test_the_two_halves_of_a_glu_differ():
    glu = rz.layers.GLU(3, 4, key=KEY)
    assert not np.allclose(glu.value.weight, glu.gate.weight)


def test_mlp_block():
    block = rz.Block(rz.cells.MinGRUCell(I, 5, key=KEY), mix="mlp", key=KEY)
    assert block(XS).shape == (T, I)
    assert isinstance(block.mix, rz.layers.MLP)


def test_dropout_between_layers_keeps_the_mean_and_is_off_in_inference():
    stack = rz.Stacked(
        [rz.cells.GRUCell(I, 50, key=KEY), rz.layers.Pointwise(lambda x: x, 50, 50)], dropout=0.5
    )
    quiet = eqx.nn.inference_mode(stack)(XS)
    keys = jr.split(jr.key(4), 400)
    noisy_mean = jax.vmap(lambda k: stack(XS, key=k))(keys).mean(0)
    np.testing.assert_allclose(noisy_mean, quiet, atol=0.12)
    dropped = np.mean(np.asarray(stack(XS, key=KEY)) == 0)
    assert 0.4 < dropped < 0.6
    with pytest.raises(RuntimeError, match="key"):
        stack(XS)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "CfC", "LTC", "LRU", "S5", "Mamba"])
def test_functions_with_the_names_of_classes_say_what_to_ask(name):
    make = getattr(rz, name)
    layer = make(I, 4, key=KEY)
    with pytest.raises(TypeError, match=rf"rz.{name} is a function .* rz.Stacked") as error:
        isinstance(layer, make)
    asked = re.search(r"isinstance\(layer\.layers.*?\)", str(error.value))
    assert asked
    assert asked[0] in " ".join(make.__doc__.split())
    assert eval(asked[0], {"rz": rz, "layer": layer})
    assert isinstance(layer, rz.Stacked)
    assert pickle.loads(pickle.dumps(make)) is make
    assert copy.deepcopy(make) is make
    assert list(inspect.signature(make).parameters)[:2] == ["input_size", "hidden_size"]


@pytest.mark.parametrize("make", [rz.RNN, rz.LSTM, rz.GRU, rz.LRU, rz.S5])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_short_cuts(make, bidirectional):
    layer = make(I, 4, num_layers=2, bidirectional=bidirectional, dropout=0.1, key=KEY)
    ys = layer(XS, key=KEY)
    assert ys.shape == (T, layer.output_size)
    expected = 4 if make in (rz.LRU, rz.S5) else 4 * (1 + bidirectional)
    assert layer.output_size == expected
    state, _ = layer.scan(XS, key=KEY)
    assert jax.tree.structure(state) == jax.tree.structure(layer.init_state())


def test_rnn_activation():
    layer = rz.RNN(I, 4, activation=jax.nn.relu, key=KEY)
    assert (np.asarray(layer(XS)) >= 0).all()


def test_bidirectional_is_both_directions_side_by_side():
    forward, backward = rz.cells.GRUCell(I, 4, key=KEY), rz.cells.LSTMCell(I, 3, key=KEY)
    layer = rz.Bidirectional(forward, backward)
    (f, b), ys = layer.scan(XS)
    f_expected, ys_f = unroll(forward, XS)
    b_expected, ys_b = unroll(backward, XS[::-1])
    assert_close((f, b), (f_expected, b_expected), 1e-6)
    np.testing.assert_allclose(ys, jnp.concatenate([ys_f, ys_b[::-1]], -1), atol=1e-6)


@pytest.mark.parametrize("lengths", [[T, 4, 1, 0]])
def test_pooling(lengths):
    mask = rz.lengths_to_mask(jnp.array(lengths), T)
    xs = jr.normal(jr.key(2), (len(lengths), T, I))
    models = {
        pool: rz.make_model("gru", I, 2, hidden_size=4, bidirectional=True, pool=pool, key=KEY)
        for pool in ("last", "mean")
    }
    layer, head = models["last"].layer, models["last"].head
    last = rz.batch(models["last"])(xs, mask=mask)
    mean = rz.batch(models["mean"])(xs, mask=mask)
    for i, n in enumerate(lengths):
        ys = layer(xs[i, :n])
        pooled = jnp.concatenate([ys[-1, :4], ys[0, 4:]]) if n else jnp.zeros(8)
        np.testing.assert_allclose(last[i], head(pooled), atol=1e-5)
        pooled = ys.mean(0) if n else jnp.zeros(8)
        np.testing.assert_allclose(mean[i], head(pooled), atol=1e-5)


def test_pooling_with_gaps_and_left_padding():
    model = rz.make_model("gru", I, 2, hidden_size=4, bidirectional=True, key=KEY)
    mask = jnp.asarray(MASK).at[0].set(False)
    np.testing.assert_allclose(model(XS, mask=mask), model(XS[mask]), atol=1e-5)


@pytest.mark.parametrize("pool", ["last", "mean", None])
def test_models_take_length_zero(pool):
    model = rz.make_model("gru", I, 2, hidden_size=4, pool=pool, dropout=0.2, key=KEY)
    out = model(XS[:0], key=KEY)
    assert out.shape == ((2,) if pool else (0, 2))
    assert np.isfinite(out).all()


@pytest.mark.parametrize(**ids(DEFAULTS, kinds=True))
def test_every_cell_makes_a_model(case):
    """One of each kind forwards alone, the others in both directions, which are two of it."""
    bidirectional = case.id not in KINDS
    sizes = {"hidden_size": 8, "num_layers": 2, "bidirectional": bidirectional}
    model = rz.make_model(case.name, I, 2, **sizes, dropout=0.1, key=KEY)
    xs = jr.normal(KEY, (2, T, I))
    assert rz.batch(model)(xs, key=KEY).shape == (2, 2)
    assert eqx.filter_vmap(eqx.nn.inference_mode(model))(xs).shape == (2, 2)


def test_token_model_streams():
    embedding = eqx.nn.Embedding(7, I, key=KEY)
    model = rz.SequenceModel(rz.GRU(I, 4, key=KEY), 7, encoder=embedding, pool=None, key=KEY)
    tokens = jnp.array([3, 1, 4, 1, 5])
    ys = model(tokens)
    state, outputs = model.init_state(), []
    for token in tokens:
        state, y = model.step(state, token)
        outputs.append(y)
    np.testing.assert_allclose(ys, jnp.stack(outputs), atol=1e-6)
    assert rz.batch(model)(tokens[None]).shape == (1, 5, 7)


@pytest.mark.parametrize("name", ["gru", "mingru"])
def test_a_model_by_name_reads_tokens(name):
    model = rz.make_model(name, 7, 2, hidden_size=4, embedding_size=3, key=KEY)
    assert (model.input_size, model.reads_tokens) == (7, True)
    assert model.encoder.weight.shape == (7, 3)
    tokens = jnp.array([3, 1, 4, 1, 5])
    features = model.encoder.weight[tokens]
    said = rz.SequenceModel(model.layer, 2, key=KEY)
    said = eqx.tree_at(lambda m: m.head, said, model.head)
    np.testing.assert_allclose(model(tokens), said(features), atol=1e-6)
    half = rz.make_model(name, 7, 2, hidden_size=4, embedding_size=3, dtype=jnp.bfloat16, key=KEY)
    assert half.encoder.weight.dtype == jnp.bfloat16


def test_batch_maps_what_is_given():
    layer = rz.Recurrent(rz.cells.LeakyElmanCell(I, 4, key=KEY))
    xs = jr.normal(KEY, (3, T, I))
    plain = eqx.filter_vmap(layer)(xs)
    np.testing.assert_allclose(rz.batch(layer)(xs), plain, atol=1e-6)
    np.testing.assert_allclose(rz.batch(layer)(xs, dt=1.0), plain, atol=1e-6)
    per_sample = rz.batch(layer)(xs, dt=jnp.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(per_sample[1], plain[1], atol=1e-6)
    np.testing.assert_allclose(per_sample[0], layer(xs[0], dt=0.5), atol=1e-6)
    states = jr.normal(KEY, (3, 4))
    finals, ys = rz.batch(layer.scan)(xs, states)
    final, y = layer.scan(xs[2], states[2])
    assert_close((finals[2], ys[2]), (final, y), 1e-6)


def test_half_precision_in_gives_half_precision_out():
    for layer in (make_stack(), make_block(), make_model()):
        quiet = eqx.nn.inference_mode(layer)
        ys = quiet(XS.astype(jnp.bfloat16))
        assert ys.dtype == jnp.bfloat16
        np.testing.assert_allclose(ys.astype(jnp.float32), quiet(XS), rtol=0.1, atol=0.1)
        state, y = quiet.step(quiet.init_state(), XS[0].astype(jnp.bfloat16))
        assert y.dtype == jnp.bfloat16


def test_layers_that_hold_their_constants_equal_those_that_compute_them():
    for layer in (make_stack(), make_block(), make_model()):
        quiet = eqx.nn.inference_mode(layer)
        held = hold(quiet)
        state = quiet.init_state()
        assert_close(held.step(state, XS[0]), quiet.step(state, XS[0]), 0)
        assert_close(held.scan(XS), quiet.scan(XS), 1e-6)


@pytest.mark.parametrize("name", ["gru", "lru"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_no_direction_of_a_pooled_model_is_dead(name, num_layers):
    model = rz.make_model(
        name, I, 2, hidden_size=4, num_layers=num_layers, bidirectional=True, key=KEY
    )
    grads = eqx.filter_grad(lambda m: jnp.sum(m(XS) ** 2))(noisy(model, 3))
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert (np.asarray(leaf) != 0).any(), path


def test_directions_pass_through_maps_and_blocks():
    cell = rz.cells.GRUCell(I, 4, key=KEY)
    backward, both = rz.layers.Backward(cell), rz.Bidirectional(cell, cell)
    same = rz.layers.Pointwise(lambda x: x, 4, 4)
    assert rz.Stacked([cell, same]).directions() == ((0, 4, False),)
    assert rz.Stacked([backward, same]).directions() == ((0, 4, True),)
    wide = rz.layers.Pointwise(lambda x: x[:3], 8, 3)
    assert rz.Stacked([both, wide]).directions() == ((0, 3, False), (0, 3, True))
    forward_block = rz.Block(rz.cells.GRUCell(4, 4, key=KEY), key=KEY)
    assert rz.Stacked([backward, forward_block]).directions() == ((0, 4, False), (0, 4, True))
    model = rz.SequenceModel(rz.Stacked([backward, same]), 2, key=KEY)
    jacobian = jax.jacrev(model)(XS)
    assert (np.asarray(jacobian) != 0).all()


def test_sixteen_bits_are_rounded_once():
    stack = eqx.nn.inference_mode(rz.LRU(I, 8, num_layers=3, key=KEY))
    xs = XS.astype(jnp.bfloat16)
    final, ys = stack.scan(xs)
    state, outputs = stack.init_state(), []
    for x in xs:
        state, y = stack.step(state, x)
        outputs.append(y)
    assert_close(final, state, 1e-5)
    assert_close(ys, jnp.stack(outputs), 1e-2)
    assert_close(final, stack.scan(xs.astype(jnp.float32))[0], 1e-5)


def test_batch_takes_keys_for_each_step():
    layer = rz.Recurrent(rz.Zoneout(rz.cells.GRUCell(I, 4, key=KEY), 0.5))
    xs = jr.normal(KEY, (2, T, I))
    keys = jr.split(jr.key(5), (2, T))
    ys = rz.batch(layer)(xs, key=keys)
    assert_close(ys[1], layer(xs[1], key=keys[1]), 1e-6)
