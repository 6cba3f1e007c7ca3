"""The blocks of networks whose heads keep a matrix, against the same parts in NumPy float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import MASK, I, T, assert_close, draw, float64, noisy
from references_matrix import MATRIX_REFERENCES, sigmoid, silu

import rnn_zoo as rz
from rnn_zoo.layers import HeadsBlock, Mamba2Block


KEY = jr.key(0)
RESET = np.isin(np.arange(T), [0, 5])
HEADS = {
    "gla": {},
    "gla conv": {"kernel_size": 3, "conv_bias": True},
    "retnet": {},
    "deltanet": {},
    "deltanet no conv": {"kernel_size": 0, "gate": "silu"},
    "gated_deltanet": {},
    "kda": {"kernel_size": 2},
    "delta_product": {},
    "hgrn2": {},
    "hgrn2 conv": {"kernel_size": 3},
    "m2rnn": {},
}
NAMES = [*HEADS, "mamba2", "mamba2 groups"]
TIMED = ("deltanet", "gated_deltanet", "kda", "mamba2", "hgrn2", "m2rnn")


def make(case):
    """With every parameter drawn anew, so that none stands at a 0 or 1 that hides it."""
    name = case.split()[0]
    if name == "mamba2":
        groups = 2 if "groups" in case else 1
        return noisy(
            Mamba2Block(4, num_heads=4, key_size=3, num_groups=groups, eps=0.1, key=KEY), 3
        )
    return noisy(HeadsBlock(name, 4, num_heads=2, key_size=4, eps=0.1, key=KEY, **HEADS[case]), 3)


def convolved(conv, xs, reset):
    """Of each channel the last inputs since the last reset, the newest first."""
    weight, ys = np.asarray(conv.weight), np.zeros_like(xs)
    begun = 0
    for t in range(len(xs)):
        begun = t if reset[t] else begun
        for j in range(len(weight)):
            if t - j >= begun:
                ys[t] += weight[j] * xs[t - j]
        ys[t] += 0 if conv.bias is None else np.asarray(conv.bias)
    return ys


def run_cell(name, cell, xs, dt, reset, **options):
    step, outputs = MATRIX_REFERENCES[name], []
    first = jax.tree.map(np.asarray, cell.init_state())
    state = first
    for x, own, new in zip(xs, dt, reset):
        state, y = step(cell, first if new else state, x, own, **options)
        outputs.append(y)
    return np.stack(outputs)


def rms(x, eps=0.1):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


def heads_by_hand(name, block, xs, dt, reset):
    """As the papers have it: maps, conv and silu on q, k, v, cell, norm of each head, gate, map."""
    *before, cell = block.inner.layers
    cell = cell.cell
    z = xs @ np.asarray(block.project_in.weight).T
    H, K, V = cell.num_heads, cell.key_size, cell.value_size
    steps = 2 if name == "delta_product" else 1
    n, rows = H * (K + steps * (K + V)), cell.input_size
    qkv, rest, g = z[:, :n], z[:, n:rows], z[:, rows:]
    if before:
        conv = getattr(before[0].layer, "layers", [None])[0]
        conv = getattr(before[0].layer, "cell", None) if conv is None else conv.cell
        qkv = qkv if conv is None else convolved(conv, qkv, reset)
        qkv = qkv if name == "hgrn2" else silu(qkv)
    o = run_cell(name, cell, np.concatenate([qkv, rest], 1), dt, reset)
    if name in ("hgrn2", "m2rnn"):
        o = rms(o * silu(g) if name == "m2rnn" else o) * np.asarray(block.norm.weight)
        return o @ np.asarray(block.project_out.weight).T
    o = rms(o.reshape(len(xs), H, V))
    o = o if name == "retnet" else o * np.asarray(block.norm.weight)
    o = o.reshape(len(xs), -1)
    if name == "kda":
        assert g.shape[1] == V
        o = o * sigmoid(g @ np.asarray(block.gate_map.weight).T)
    elif g.shape[1]:
        o = o * silu(g)
    return o @ np.asarray(block.project_out.weight).T


def mamba2_by_hand(block, xs, dt, reset):
    """x, B and C convolved together, delta and z as they are, the norm behind the gate."""
    leading, cell = block.inner.layers
    cell = cell.cell
    z = xs @ np.asarray(block.project_in.weight).T
    wide, groups = cell.output_size, cell.num_groups
    n = wide + 2 * groups * cell.key_size
    rows = n + cell.num_heads
    xBC = silu(convolved(leading.layer.layers[0].cell, z[:, :n], reset))
    features = np.concatenate([xBC, z[:, n:rows]], 1)
    o = run_cell("mamba2", cell, features, dt, reset, groups=groups) * silu(z[:, rows:])
    o = rms(o.reshape(len(xs), groups, -1)).reshape(len(xs), -1) * np.asarray(block.norm_weight)
    return o @ np.asarray(block.project_out.weight).T


def by_hand(case, block, xs, dt, reset):
    name = case.split()[0]
    if name == "mamba2":
        return mamba2_by_hand(block, xs, dt, reset)
    return heads_by_hand(name, block, xs, dt, reset)


run = eqx.filter_jit(lambda block, *arguments, **keywords: block.scan(*arguments, **keywords))


def given(case, dtype=jnp.float64):
    """Inputs, and the keywords of a timed block."""
    timed = case.split()[0] in TIMED
    xs = draw(1, (T, 4), dtype)
    return xs, {"dt": jnp.linspace(0.3, 1.6, T, dtype=dtype)} if timed else {}


@pytest.mark.parametrize("case", NAMES)
def test_blocks_equal_their_parts_by_hand(case):
    with float64():
        block, (xs, time) = make(case), given(case)
        assert block.timed == bool(time)
        dt = np.asarray(time.get("dt", np.ones(T)))
        expected = by_hand(case, block, np.asarray(xs), dt, RESET)
        _, ys = run(block, xs, reset=jnp.asarray(RESET), **time)
        np.testing.assert_allclose(ys, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", NAMES)
def test_masks_with_gaps_and_resets_in_blocks(case):
    """A masked step is no step: not of the convolution, not of the cell, and its NaN is unseen."""
    with float64():
        block, (xs, time) = make(case), given(case)
        dt = np.asarray(time.get("dt", np.ones(T)))
        broken = jnp.where(MASK[:, None], xs, jnp.nan)
        reset = RESET & MASK
        _, ys = run(block, broken, mask=jnp.asarray(MASK), reset=jnp.asarray(reset), **time)
        expected = by_hand(case, block, np.asarray(xs)[MASK], dt[MASK], reset[MASK])
        np.testing.assert_allclose(np.asarray(ys)[MASK], expected, rtol=1e-9, atol=1e-11)
        assert not np.asarray(ys)[~MASK].any()


@pytest.mark.parametrize("case", NAMES)
def test_blocks_stream(case):
    block, (xs, time) = make(case), given(case, jnp.float32)
    final, whole = run(block, xs, **time)
    cut = [{k: v[part] for k, v in time.items()} for part in (slice(3), slice(3, None))]
    state, first = run(block, xs[:3], **cut[0])
    state, second = run(block, xs[3:], state, **cut[1])
    assert_close((state, jnp.concatenate([first, second])), (final, whole), 2e-5)
    step = eqx.filter_jit(lambda state, x, **own: block.step(state, x, **own))
    state, outputs = block.init_state(), []
    for t in range(T):
        state, y = step(state, xs[t], **{k: v[t] for k, v in time.items()})
        outputs.append(y)
    assert_close((state, jnp.stack(outputs)), (final, whole), 2e-5)


GATES = {
    "gla": "silu",
    "retnet": "silu",
    "deltanet": "none",
    "gated_deltanet": "silu",
    "kda": "sigmoid",
    "delta_product": "silu",
    "hgrn2": "none",
    "m2rnn": "silu",
}


@pytest.mark.parametrize("name", GATES)
def test_gates_of_the_papers(name):
    made = eqx.filter_eval_shape(lambda: HeadsBlock(name, 4, num_heads=2, key=KEY))
    assert made.gate == GATES[name]


@pytest.mark.parametrize("name", [*GATES, "mamba2"])
def test_models_of_papers_by_name(name, tmp_path):
    options = {"num_heads": 3} if name != "mamba2" else {"expand": 1, "key_size": 3}
    model = rz.make_model(name, I, 2, hidden_size=6, num_layers=2, pool=None, key=KEY, **options)
    model = noisy(model, 4)
    first, *blocks, last = model.layer.layers
    kinds = [type(block.layer).__name__ for block in blocks]
    if name == "mamba2":
        assert kinds == ["Mamba2Block"] * 2
    else:
        assert kinds == ["HeadsBlock", "Pointwise"] * 2
        mlp = "MLP" if name == "retnet" else "SwiGLU"
        assert type(blocks[1].layer.function).__name__ == mlp
    xs = jr.normal(jr.key(1), (T, I))
    hs = jax.vmap(first.function)(xs)
    for block in blocks:
        hs = hs + block.layer(rms(hs, 1e-5) * block.norm.weight)
    hs = rms(hs, 1e-5) * last.function.weight
    np.testing.assert_allclose(model(xs), jax.vmap(model.head)(hs), rtol=1e-4, atol=1e-5)
    rz.train.save(tmp_path / name, model)
    assert eqx.tree_equal(rz.train.load(tmp_path / name), model)
    with pytest.raises(TypeError, match="no option 'input_map'.*"):
        rz.make_model(name, I, 2, input_map=False, key=KEY)
    both = rz.make_model(name, I, 2, hidden_size=6, bidirectional=True, key=KEY)
    assert both(xs).shape == (2,)


def test_sizes_of_the_papers():
    def shape(make):
        return eqx.filter_eval_shape(make)

    block = shape(lambda: HeadsBlock("gated_deltanet", 2048, num_heads=6, key=KEY))
    cell = block.inner.layers[1].cell
    assert (cell.key_size, cell.value_size) == (256, 512)
    assert block.norm.weight.shape == (512,)
    block = shape(lambda: HeadsBlock("gla", 1024, num_heads=4, key=KEY))
    cell = block.inner.layers[0].cell
    assert (cell.key_size, cell.value_size, len(block.inner.layers)) == (128, 256, 1)
    block = shape(lambda: HeadsBlock("retnet", 1024, num_heads=4, key=KEY))
    cell = block.inner.layers[0].cell
    assert (cell.key_size, cell.value_size, block.norm.weight) == (256, 512, None)
    block = shape(lambda: HeadsBlock("delta_product", 2048, num_heads=6, key=KEY))
    cell = block.inner.layers[1].cell
    assert (cell.key_size, cell.value_size, cell.num_products) == (256, 512, 2)
    block = shape(lambda: HeadsBlock("hgrn2", 1024, key=KEY))
    cell = block.inner.layers[0].cell
    assert (cell.num_heads, cell.key_size, cell.value_size) == (8, 128, 128)
    assert block.norm.weight.shape == (1024,)
    block = shape(lambda: HeadsBlock("m2rnn", 1024, width=1344, key=KEY))
    cell = block.inner.layers[1].cell
    assert (cell.num_heads, cell.key_size, cell.value_size) == (84, 64, 16)
    block = shape(lambda: Mamba2Block(768, key=KEY))
    cell = block.inner.layers[1].cell
    assert (cell.num_heads, cell.value_size, cell.key_size) == (24, 64, 128)
    # in_proj, conv1d, dt_bias, A_log, D, norm and out_proj of the authors' module of that size.
    leaves = jax.tree.leaves(eqx.filter(block, lambda a: hasattr(a, "shape")))
    counts = (3352 * 768, 1792 * 5, 3 * 24, 1536, 1536 * 768)
    assert sum(a.size for a in leaves) == sum(counts)


def test_retnet_starts_as_its_code_does():
    block = HeadsBlock("retnet", 64, num_heads=2, key=KEY)
    weight = np.abs(block.project_in.weight)
    for part, rows in ((weight[:64], 64), (weight[64:128], 64), (weight[128:256], 128)):
        bound = 2**-2.5 * np.sqrt(6 / (rows + 64))
        assert 0.97 * bound < part.max() <= bound
    assert 0.97 < np.abs(block.project_out.weight).max() / np.sqrt(6 / (64 + 128)) <= 1


@pytest.mark.parametrize("case", ["gated_deltanet", "mamba2"])
def test_gradients_of_blocks_at_zero_are_finite(case):
    block = make(case)
    loss = eqx.filter_grad(lambda block, xs: jnp.sum(block(xs) ** 2))
    for leaf in jax.tree.leaves(loss(block, jnp.zeros((T, 4)))):
        assert np.isfinite(leaf).all()


BAD = {
    "cell": (lambda: HeadsBlock("lstm", 4, key=KEY), "cell to be one of .*'kda'.*got 'lstm'"),
    "gate": (lambda: HeadsBlock("gla", 4, gate="gelu", key=KEY), "gate to be one of .*'gelu'"),
    "heads": (lambda: HeadsBlock("gla", 4, num_heads=3, key=KEY), "num_heads to divide"),
    "size": (lambda: Mamba2Block(0, key=KEY), "size"),
    "features": (
        lambda: rz.layers.Leading(rz.cells.GRUCell(3, 3, key=KEY), 2),
        "input_size of at least the 3 features",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_blocks_of_heads(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
