"""`fit(..., compute_dtype=jnp.bfloat16)`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from test_train import KEY, echo_task, model_for, sign_task, train

import rnn_zoo as rz
from rnn_zoo.data import Batch
from rnn_zoo.train.lowered import in_dtype
from rnn_zoo.train.step import UpdateRule, start, take_step


BF16 = jnp.dtype(jnp.bfloat16)


def test_matrices_and_inputs_are_lowered_and_all_that_is_kept_is_not():
    seen = {}

    def loss(model, batch, *, key=None):
        cell = model.layer.layers[0].cell
        seen.update(w=cell.weight_ih.dtype, b=cell.bias.dtype, x=batch.x.dtype, y=batch.y.dtype)
        return rz.train.cross_entropy(model, batch, key=key)

    result = train(model_for(), sign_task(), loss=loss, steps=2, compute_dtype=jnp.bfloat16)
    assert seen == {"w": BF16, "b": jnp.float32, "x": BF16, "y": jnp.int32}
    kept = jax.tree.leaves(eqx.filter((result.model, result.opt_state), eqx.is_inexact_array))
    assert {leaf.dtype for leaf in kept} == {jnp.dtype(jnp.float32)}


def test_it_learns_as_float32_does():
    data = sign_task(256)
    optimizer = optax.adam(3e-2)
    losses = [
        train(model_for(), data, data, steps=150, optimizer=optimizer, compute_dtype=dtype)
        .history[-1]["valid_loss"]
        for dtype in (None, jnp.bfloat16)
    ]  # fmt: skip
    assert losses[0] < 0.2
    assert losses[1] < 1.2 * losses[0] + 0.02


def test_the_gradient_is_that_of_the_rounded_parameters():
    """In float32, and by hand."""
    w = jnp.asarray([[1.001, 2.0], [3.0, 4.0]])
    x = np.full((1, 2, 2), 1.003, np.float32)

    def of_part(params, rest, batch, key, state):
        return jnp.sum(jnp.sin((params @ batch.x[0].T).astype(jnp.float32)))

    lowered = in_dtype(of_part, BF16)
    found = jax.grad(lowered)(w, None, Batch(x, np.zeros(1)), None, None)
    expected = jax.grad(lambda w: of_part(w, None, Batch(jnp.asarray(x, BF16), None), None, None))(
        w.astype(BF16)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected.astype(jnp.float32))


@pytest.mark.parametrize("options", [{"truncate": 3}, {"mesh": True}], ids=str)
def test_segments_and_devices_take_it(options):
    if "mesh" in options:
        options = {"mesh": jax.make_mesh((1,), ("data",))}
    model = model_for(pool=None, outputs=1, name="gru")
    losses = [
        train(
            model, echo_task(16), echo_task(16), loss=rz.train.mse, steps=20,
            compute_dtype=dtype, **options,
        ).history[-1]["valid_loss"]
        for dtype in (None, jnp.bfloat16)
    ]  # fmt: skip
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


# One of each kind of state.
@pytest.mark.parametrize(
    "name",
    [
        "lstm",
        "lru",
        "mamba",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ltc", "mlstm", "unitary")),
    ],
)
def test_every_cell_traces_and_keeps_its_parameters(name):
    """States stay float32: else a loop over time would refuse them."""
    model = rz.make_model(name, 3, 2, hidden_size=8, key=KEY)
    rule = UpdateRule(rz.train.cross_entropy, optax.sgd(0.1), None, None, compute_dtype=BF16)
    batch = Batch(np.zeros((2, 5, 3), np.float32), np.zeros(2, np.int32))
    before = start(model, rule.optimizer)
    after, metrics = eqx.filter_eval_shape(take_step, before, batch, jr.key(0), rule)
    shapes = [
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
        for tree in (eqx.filter(before.model, eqx.is_array), after.model)
    ]
    assert shapes[0] == shapes[1]
    assert metrics["loss"].dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, "no dtype", 16])
def test_another_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match="expected compute_dtype to be jnp.bfloat16 or None"):
        train(model_for(), sign_task(), steps=1, compute_dtype=dtype)
