"""LSTMs by cuDNN, with JAX's own reference implementation in its place: on a CPU all but the call
itself runs. The one on a device is compared by `python -m benchmarks gpu`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo._engine import backends, cudnn


TIME, BATCH, INPUTS, HIDDEN = 7, 3, 2, 4
KINDS = {
    "one layer": {},
    "two layers": {"num_layers": 2, "use_bias": False},
    "both directions of two layers": {"num_layers": 2, "bidirectional": True},
}
LENGTHS = np.array([7, 3, 1])
PREFIX = np.arange(TIME) < LENGTHS[:, None]
GAPS = PREFIX.copy()
GAPS[0, 2] = False
NONE = PREFIX & (LENGTHS > 1)[:, None]
MASKS = {"lengths": PREFIX, "gaps": GAPS, "one without a step": NONE}


def drawn(kind, dtype=jnp.float32):
    keys = jr.split(jr.key(3), 3)
    layer = rz.LSTM(INPUTS, HIDDEN, key=keys[0], dtype=dtype, **KINDS[kind])
    # Every bias another number, and states that are not zero.
    layer = jax.tree.map(lambda a: a + 0.1 * jr.normal(keys[1], a.shape, dtype), layer)
    xs = np.asarray(jr.normal(keys[2], (BATCH, TIME, INPUTS), dtype))
    state = jax.tree.map(
        lambda s: np.asarray(jr.normal(keys[1], (BATCH, *s.shape), dtype)), layer.init_state()
    )
    return layer, xs, state


@eqx.filter_jit
def run(layer, xs, state, mask):
    """(final states, outputs)."""
    return rz.batch(layer.scan)(xs, state, mask=mask)


@eqx.filter_jit
def differentiated(layer, xs, state, mask):
    """(final states, outputs), and the gradients of a sum of them all."""

    def loss(layer, xs, state):
        found = rz.batch(layer.scan)(xs, state, mask=mask)
        leaves = jax.tree.leaves(found)
        weights = [jnp.sin(jnp.arange(y.size)).reshape(y.shape) for y in leaves]
        return sum(jnp.vdot(w, y) for w, y in zip(weights, leaves)), found

    arrays = eqx.partition(layer, eqx.is_inexact_array)
    slope = jax.value_and_grad(
        lambda a, x, s: loss(eqx.combine(a, arrays[1]), x, s), (0, 1, 2), has_aux=True
    )
    (_, found), gradients = slope(arrays[0], xs, state)
    return found, gradients


def close(found, expected, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_cudnn_gives_what_the_loop_gives(kind):
    layer, xs, state = drawn(kind)
    expected = differentiated(layer, xs, state, None)
    with cudnn.stand_in(), rz.scan.in_cudnn():
        close(differentiated(layer, xs, state, None), expected)


@pytest.mark.parametrize(
    ("kind", "function"),
    [("one layer", differentiated), ("both directions of two layers", run)],
)
def test_a_mask_is_a_length_or_runs_in_the_loop(kind, function):
    layer, xs, state = drawn(kind)
    for mask in MASKS.values():
        hidden = np.where(mask[..., None], xs, np.nan)
        expected = function(layer, hidden, state, mask)
        with cudnn.stand_in(), rz.scan.in_cudnn():
            close(function(layer, hidden, state, mask), expected)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))


def test_all_layers_are_one_call(monkeypatch):
    calls = []
    reference = cudnn.cudnn_reference
    monkeypatch.setattr(
        cudnn, "cudnn_reference", lambda at, sizes: calls.append(sizes) or reference(at, sizes)
    )
    for kind in ("two layers", "both directions of two layers"):
        layer, xs, _ = drawn(kind)
        with cudnn.stand_in(), rz.scan.in_cudnn():
            jax.jit(rz.batch(layer)).lower(xs[:, :5])
    assert set(calls) == {(2, 4, 2, False), (2, 4, 2, True)}


def test_weights_lie_as_jax_unpacks_them():
    layer, _, _ = drawn("both directions of two layers")
    cells = [side.cell for part in layer.layers for side in (part.forward, part.backward)]
    flat = cudnn.packed([(c.weight_ih, c.weight_hh, c.bias) for c in cells])
    from jax.experimental import rnn

    w, u, first, second = rnn.unpack_lstm_weights(flat, INPUTS, HIDDEN, 2, True)
    for i, cell in enumerate(cells):
        np.testing.assert_array_equal(w[i], cell.weight_ih)
        np.testing.assert_array_equal(u[i], cell.weight_hh)
        np.testing.assert_array_equal(first[i] + second[i], cell.bias)
    own = cudnn._unpacked(cudnn.Form(INPUTS, HIDDEN, 2, True, True, True), flat)
    close([part for part in own], [(c.weight_ih, c.weight_hh, c.bias) for c in cells], 0)


def test_every_transformation_of_a_call():
    """Gradients of each sample, weights of each sample, forward mode, second derivatives."""
    layer, xs, _ = drawn("one layer")
    arrays, rest = eqx.partition(layer, eqx.is_inexact_array)

    def loss(arrays, xs):
        return jnp.sum(jnp.sin(eqx.combine(arrays, rest)(xs)))

    def found(arrays, xs):
        many = jax.tree.map(lambda a: jnp.stack([a, 2 * a, -a]), arrays)
        one = jax.tree.map(jnp.ones_like, arrays)
        return (
            jax.vmap(jax.grad(loss), (None, 0))(arrays, xs),
            jax.vmap(loss)(many, xs),
            jax.jvp(lambda a: loss(a, xs[0]), (arrays,), (one,))[1],
            jax.grad(lambda a: jax.jvp(lambda b: loss(b, xs[0]), (a,), (one,))[1])(arrays),
            jax.jvp(lambda a: jax.grad(loss)(a, xs[0]), (arrays,), (one,))[1],
        )

    expected = jax.jit(found)(arrays, xs)
    with cudnn.stand_in(), rz.scan.in_cudnn():
        close(jax.jit(found)(arrays, xs), expected, 1e-4)


def test_what_cudnn_does_not_have_runs_in_the_loop():
    """Resets, float64, trajectories, empty sequences and the plain form; backwards it is one call
    without a mask."""
    cell = rz.make_cell("lstm", INPUTS, HIDDEN, key=jr.key(0))
    xs = np.asarray(jr.normal(jr.key(1), (TIME, INPUTS)))
    ways = (
        {"reset": np.arange(TIME) == 3},
        {"reverse": True},
        {"reverse": True, "mask": PREFIX[1]},
        {"engine": "scan"},
    )
    for way in ways:
        expected = rz.scan.unroll(cell, xs, **way)
        with cudnn.stand_in():
            close(rz.scan.unroll(cell, xs, method="cudnn", **way), expected)
    with cudnn.stand_in():
        close(rz.scan.trajectory(cell, xs, method="cudnn"), rz.scan.trajectory(cell, xs))
        assert rz.scan.unroll(cell, xs[:0], method="cudnn")[1].shape == (0, HIDDEN)
        half = rz.scan.unroll(cell, xs.astype(jnp.bfloat16), method="cudnn")[1]
    assert half.dtype == jnp.bfloat16


def test_other_cells_are_refused_by_name_and_left_alone_inside():
    key = jr.key(0)
    xs = np.ones((3, 2), np.float32)
    others = [
        rz.make_cell("gru", 2, 3, key=key),
        rz.make_cell("lstm", 2, 3, peepholes=True, key=key),
        rz.make_cell("lstm", 2, 3, coupled=True, key=key),
        rz.make_cell("lstm", 2, 3, dtype=jnp.bfloat16, key=key),
    ]
    for cell in others:
        with pytest.raises(ValueError, match="without peepholes"):
            rz.Recurrent(cell, method="cudnn")
        with cudnn.stand_in(), rz.scan.in_cudnn():
            inside = rz.scan.unroll(cell, xs)
        close(inside, rz.scan.unroll(cell, xs))
    with pytest.raises(ValueError, match="remat belongs"):
        rz.Recurrent(rz.make_cell("lstm", 2, 3, key=key), method="cudnn", remat=2)


def test_without_cudnn_it_says_what_is_missing():
    if jax.default_backend() != "cpu":
        pytest.skip("this machine has a device")
    layer = rz.Recurrent(rz.make_cell("lstm", 2, 3, key=jr.key(0)), method="cudnn")
    with pytest.raises(ValueError, match='needs a CUDA device .* "?\'cpu\'"?: use method="auto"'):
        layer(np.ones((3, 2), np.float32))
    model = rz.make_model("lstm", 2, 1, hidden_size=3, method="cudnn", key=jr.key(0))
    with pytest.raises(ValueError, match="needs a CUDA device"):
        model(np.ones((3, 2), np.float32))


def test_auto_takes_it_by_the_table_alone(monkeypatch):
    cell = rz.make_cell("lstm", 2, 3, key=jr.key(0))

    def chosen(length):
        return rz.scan.resolve_method(cell, "auto", length)

    assert backends.LSTM == {}
    with cudnn.stand_in():
        assert chosen(500) == "sequential"
        rows = (backends.Choice(0, "loop", "a"), backends.Choice(100, "cudnn", "b"))
        monkeypatch.setitem(backends.LSTM, jax.default_backend(), rows)
        assert [chosen(n) for n in (99, 100)] == ["sequential", "cudnn"]
        (length,) = jax.export.symbolic_shape("n")
        assert chosen(length) == "sequential"
    assert chosen(500) == "sequential"  # where there is no cuDNN


def test_precision_decides_on_tf32():
    """Products in full precision are asked of cuDNN too; nothing said lets it take TF32."""
    found = {}
    for name in (None, "highest", "float32", "high", "tensorfloat32", "F32_F32_F32"):
        with jax.default_matmul_precision(name):
            found[name] = cudnn.form(2, 3, 1, False).tf32
    exact = {name for name, tf32 in found.items() if not tf32}
    assert exact == {"highest", "float32", "F32_F32_F32"}
