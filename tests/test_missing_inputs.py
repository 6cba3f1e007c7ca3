"""Features that are missing at times: NaN in x of `GRUDCell` and of `Imputed` is "not seen"."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from cases import H, I, T, arrays, assert_close, float64, loop, noisy
from equation import step as computed
from references import REFERENCES

import rnn_zoo as rz
from rnn_zoo.scan import unroll


KEY = jr.key(0)
RNG = np.random.default_rng(3)
SEEN = RNG.random((T, I)) < 0.5
SEEN[3] = False  # a step at which nothing is seen, which is no masked step
XS = RNG.normal(size=(T, I))
GAPPY = np.where(SEEN, XS, np.nan)
DT = RNG.uniform(0.2, 1.8, size=T)
MASK = np.array([1, 0, 1, 1, 1, 1, 0, 1, 1], bool)
RESET = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0], bool)


def imputed(fill="forward", cell=rz.cells.GRUCell, dtype=None, **options):
    each = 1 + options.get("mask", True) + options.get("age", True)
    return rz.Imputed(cell(each * I, H, key=KEY, dtype=dtype), fill, **options)


def gru_d(dtype=None):
    return noisy(rz.cells.GRUDCell(I, H, input_mean=[0.5, -1.0, 2.0], key=KEY, dtype=dtype), 5)


BUILD = {
    "gru_d": gru_d,
    "forward": lambda dtype=None: imputed(mean=0.7, dtype=dtype),
    "mean": lambda dtype=None: imputed("mean", mean=np.arange(3.0), age=False, dtype=dtype),
    "decay": lambda dtype=None: imputed("decay", rz.cells.CfCCell, mean=0.7, dtype=dtype),
}


def test_a_gru_d_is_its_paper_where_features_are_missing():
    with float64() as dtype:
        cell = gru_d(dtype)
        state = cell.init_state()
        plain = jax.tree.map(np.asarray, state)
        text = rz.cell_info("gru_d").full_equation
        run = eqx.filter_jit(lambda state, x, dt: cell.step(state, x, dt))
        for x, dt in zip(GAPPY, DT):
            said, said_y = computed(text, cell, jax.tree.map(np.asarray, state), x, dt)
            state, y = run(state, x, dt)
            plain, plain_y = REFERENCES["gru_d"](arrays(cell), plain, x, dt)
            for ours, theirs in zip(state, plain):
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(np.concatenate(state), said, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose([y, y], [plain_y, said_y], rtol=1e-12, atol=1e-12)


def by_hand(fill, mean, decay=0.1):
    """[x, m, delta] of every step, from the whole sequence: when was each feature seen last?"""
    mean, times = np.broadcast_to(mean, I), np.cumsum(DT)
    rows = []
    for t in range(T):
        x, delta = np.empty(I), np.empty(I)
        for i in range(I):
            before = np.flatnonzero(SEEN[:t, i])
            delta[i] = times[t] - (times[before[-1]] if before.size else 0.0)
            last = XS[before[-1], i] if before.size else mean[i]
            share = {"forward": 1.0, "mean": 0.0, "decay": np.exp(-decay * delta[i])}[fill]
            x[i] = XS[t, i] if SEEN[t, i] else share * last + (1 - share) * mean[i]
        rows.append([x, 1.0 * SEEN[t], delta])
    return np.array(rows)


@pytest.mark.parametrize("fill", ["forward", "mean", "decay"])
@pytest.mark.parametrize(("mask", "age"), [(True, True), (False, True), (True, False)])
def test_the_cell_inside_reads_what_is_known(fill, mask, age):
    with float64() as dtype:
        cell = imputed(fill, mask=mask, age=age, mean=[0.5, -1.0, 2.0], dtype=dtype)
        dt = {"dt": DT} if cell.timed else {}
        # Without time in the wrapper or in the cell, there is none to give.
        assert cell.timed == (age or fill == "decay")
        read = by_hand(fill, [0.5, -1.0, 2.0])[:, [True, mask, age]].reshape(T, -1)
        expected = unroll(cell.cell, read)[1]
        np.testing.assert_allclose(unroll(cell, GAPPY, **dt)[1], expected, atol=1e-12)


@pytest.mark.parametrize("name", BUILD)
def test_chunks_masks_resets_and_times_are_exact(name):
    cell = BUILD[name]()
    xs = np.float32(GAPPY)
    run = {"mask": jnp.asarray(MASK), "reset": jnp.asarray(RESET)}
    run |= {"dt": jnp.asarray(DT, jnp.float32)} if cell.timed else {}
    state, _, ys = loop(cell, xs, **run)
    whole = unroll(cell, xs, **run)
    assert_close(whole, (state, ys), 1e-6)
    first, part = unroll(cell, xs[:4], **{k: v[:4] for k, v in run.items()})
    last, rest = unroll(cell, xs[4:], first, **{k: v[4:] for k, v in run.items()})
    assert_close((last, np.concatenate([part, rest])), whole, 1e-6)
    # Between masked steps nothing passes, whatever stands there.
    dt = {"dt": run["dt"][MASK]} if cell.timed else {}
    reset = run["reset"][MASK]
    assert_close(unroll(cell, xs[MASK], reset=reset, **dt)[1], ys[MASK], 1e-6)
    # A batch, and a stream.
    batched = rz.batch(rz.Recurrent(cell))(xs[None], **{k: v[None] for k, v in run.items()})
    assert_close(batched[0], ys, 1e-6)


@pytest.mark.parametrize("name", BUILD)
def test_values_and_gradients_are_finite_and_miss_nothing(name):
    cell = BUILD[name]()

    @jax.jit
    def run(xs, observed):
        """As arrays: what is not observed may hold anything."""
        xs = jnp.where(observed, xs, jnp.nan)
        return jnp.sum(jnp.sin(unroll(cell, xs)[1]))

    value, (slope, _) = jax.value_and_grad(run, (0, 1), allow_int=True)(jnp.float32(XS), SEEN)
    other = jnp.where(SEEN, jnp.float32(XS), 1e30)
    np.testing.assert_array_equal(value, run(other, SEEN))
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(np.asarray(slope)[~SEEN], 0)
    # What was seen acts later, too, unless the mean stands in for it.
    assert (np.asarray(slope)[SEEN] != 0).all()
    params, rest = eqx.partition(cell, eqx.is_inexact_array)
    nothing = jnp.full((T, I), jnp.nan)
    of_cell = jax.jit(jax.grad(lambda p: unroll(eqx.combine(p, rest), nothing)[1].sum()))(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(of_cell))
    # A compiler may write a product with 0 or 1 as a choice, which hides NaN; op by op none does.
    assert np.isfinite(cell.step(cell.init_state(), nothing[0])[1]).all()
    ys = unroll(cell, jnp.asarray(GAPPY, jnp.bfloat16))[1]
    assert ys.dtype == jnp.bfloat16
    assert np.isfinite(np.float32(ys)).all()


def test_decays_of_a_gru_d_train_from_the_first_step():
    cell = rz.cells.GRUDCell(I, H, key=KEY)
    for name in ("decay_x", "decay_h"):
        assert (np.asarray(getattr(cell, name)) > 0).all()
    slopes = eqx.filter_jit(eqx.filter_grad(lambda c: unroll(c, np.float32(GAPPY))[1].sum()))(cell)
    assert (np.asarray(slopes.decay_x) != 0).all()
    assert (np.asarray(slopes.decay_h) != 0).all()
    assert not jax.tree.leaves(eqx.filter(slopes.mean, eqx.is_inexact_array))


def model(cell, **options):
    return rz.SequenceModel(rz.Stacked([cell, rz.cells.GRUCell(H, H, key=KEY)]), 2, key=KEY)


@pytest.mark.parametrize("name", ["gru_d", "forward"])
def test_a_model_trains_on_what_is_there(name):
    x = RNG.normal(size=(8, T, I)).astype(np.float32)
    y = (np.nanmean(x[:, :, 0], 1) > 0).astype(np.int32)
    x[RNG.random(x.shape) < 0.5] = np.nan
    data = rz.data.Batch(x, y, dt=np.ones((8, T), np.float32))
    result = rz.train.fit(
        model(BUILD[name]()),
        data,
        loss=rz.train.cross_entropy,
        optimizer=optax.adam(1e-2),
        key=KEY,
        steps=3,
        batch_size=4,
    )
    losses = rz.train.evaluate(result.model, data, loss=rz.train.cross_entropy)
    assert np.isfinite(float(losses["loss"]))


def test_missing_values_are_not_to_blame_for_a_loss_that_is_not_finite():
    x = np.where(RNG.random((8, T, I)) < 0.5, np.nan, 1.0).astype(np.float32)

    def fit(layer, x):
        rz.train.fit(
            rz.SequenceModel(layer, 1, key=KEY),
            rz.data.Batch(x, np.full((8, 1), 1e30, np.float32)),
            loss=rz.train.mse,
            optimizer=optax.sgd(0.1),
            key=KEY,
            steps=1,
            batch_size=8,
        )

    with pytest.raises(rz.train.NonFiniteLossError, match="the training data are finite"):
        fit(rz.Bidirectional(imputed(age=False), imputed(age=False)), x)
    x[2, 1, 0], x[1, 0, 0] = np.inf, np.nan
    with pytest.raises(rz.train.NonFiniteLossError, match="got inf at sample 2, step 1"):
        fit(rz.Frozen(imputed(age=False)), x)
    with pytest.raises(rz.train.NonFiniteLossError, match="got nan at sample"):
        fit(rz.Residual(rz.cells.GRUCell(I, I, key=KEY)), x)


def grud():
    return rz.cells.GRUDCell(I, H, key=KEY)


def mapped(layer):
    return rz.SequenceModel(layer, 2, encoder=eqx.nn.Linear(5, layer.input_size, key=KEY), key=KEY)


BAD = {
    "width": (lambda: rz.Imputed(rz.cells.GRUCell(4, H, key=KEY)), ValueError, r"\[x, m, delta\].*multiple of 3, got GRUCell with 4"),
    "width without ages": (lambda: rz.Imputed(rz.cells.GRUCell(3, H, key=KEY), age=False), ValueError, r"\[x, m\].*multiple of 2"),
    "fill": (lambda: imputed("zero"), ValueError, "fill to be one of .*forward.*, got 'zero'"),
    "mean": (lambda: imputed(mean=[1.0, 2.0]), ValueError, r"mean as one finite number or \(3,\).*nanmean"),
    "mean with gaps": (lambda: imputed(mean=[1.0, np.nan, 2.0]), ValueError, "nanmean"),
    "decay": (lambda: imputed("decay", decay=0.0), ValueError, "decay"),
    "no cell": (lambda: rz.Imputed(jnp.tanh), TypeError, "expected a cell"),
    "no time": (lambda: unroll(imputed(age=False), GAPPY, dt=DT), TypeError, "no physical time"),
    "mean of a gru_d": (lambda: rz.cells.GRUDCell(I, H, input_mean=[1.0], key=KEY), ValueError, r"input_mean as one finite number or \(3,\)"),
    "encoder": (lambda: mapped(grud()), ValueError, "no encoder in front.*encoder=None"),
    "encoder of a stack": (lambda: mapped(rz.Stacked([rz.Zoneout(imputed(), 0.1)])), ValueError, "no encoder"),
    "encoder of both ways": (lambda: mapped(rz.Bidirectional(grud(), imputed())), ValueError, "no encoder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_wrong_use_is_named(name, unchecked):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()
