"""Batches, generated data sets and the registry."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from rnn_zoo import data
from rnn_zoo.data import Batch, systems
from rnn_zoo.data.batches import own_batches


KEY = jax.random.key(0)
SMALL = {"n_train": 40, "n_valid": 7, "n_test": 11}
GENERATED = {
    "adding": {**SMALL, "length": 9},
    "copy_memory": {**SMALL, "delay": 5},
    "delayed_recall": {**SMALL, "length": 9, "delay": 4},
    "mackey_glass": {},
    "lorenz": {"n_train": 150, "n_valid": 20, "n_test": 50, "washout": 10},
    "narma10": {},
    "multiple_sinusoids": {"n_valid": 20},
}


def padded(samples=10, time=6, labels=True):
    """A padded batch whose x and y spell sample and step, lengths 1 .. time in turn."""
    lengths = np.arange(samples) % time + 1
    mask = np.arange(time) < lengths[:, None]
    x = np.where(mask, np.arange(samples)[:, None] * 100 + np.arange(time), 0)
    y = np.arange(samples) if labels else x[..., None].astype(np.float32)
    dt = np.full(mask.shape, 0.5, np.float32)
    return Batch(x[..., None].astype(np.float32), y, mask, dt, np.zeros_like(mask)), lengths


def same(a, b):
    return bool(eqx.tree_equal(a, b))


def load(name, **options):
    """As NumPy arrays, on which a test needs no compiler."""
    sets = data.load(name, **options)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(sets))
    return jax.tree.map(np.asarray, sets)


# Batch


def test_a_selection_takes_the_same_samples_of_every_field():
    batch, _ = padded()
    assert len(batch) == 10
    for index in (slice(2, 5), np.array([7, 0, -1]), jnp.array([3]), [1, 1]):
        part = batch[index]
        assert isinstance(part, Batch)
        for name in ("x", "y", "mask", "dt", "reset"):
            picked = getattr(batch, name)[np.asarray(index) if isinstance(index, list) else index]
            np.testing.assert_array_equal(getattr(part, name), picked)
    assert len(batch[batch.y > 6]) == 3
    assert len(batch[[]]) == 0


def test_one_position_gives_one_sample_without_the_sample_axis():
    batch, _ = padded()
    sample = batch[3]
    assert sample.x.shape == (6, 1)
    assert sample.y == 3
    assert len(list(Batch(jnp.ones((4, 2, 1)), jnp.ones(4)))) == 4


def test_lengths_make_a_mask():
    x, y = np.ones((3, 4, 2)), np.ones(3)
    batch = Batch(x, y, lengths=[4, 0, 2])
    np.testing.assert_array_equal(batch.mask, np.arange(4) < np.array([[4], [0], [2]]))
    assert isinstance(batch.mask, np.ndarray)
    assert isinstance(Batch(jnp.ones((3, 4, 2)), y, lengths=[4, 0, 2]).mask, jax.Array)
    for wrong, message in (([4, 0], "lengths of shape"), ([4, 0, 5], r"lie in \[0, 4\]")):
        with pytest.raises(ValueError, match=message):
            Batch(x, y, lengths=wrong)
    with pytest.raises(ValueError, match="mask or lengths, got both"):
        Batch(x, y, np.ones((3, 4), bool), lengths=[4, 0, 2])


def test_time_does_not_run_backwards():
    dt = np.ones((3, 4), np.float32)
    dt[1, 2] = -0.5
    with pytest.raises(ValueError, match="at least 0, got -0.5 at sample 1, step 2"):
        Batch(np.ones((3, 4, 2)), np.ones(3), dt=dt)
    Batch(np.ones((3, 4, 2)), np.ones(3), dt > 0, dt)


def test_fields_that_are_none_stay_none():
    part = Batch(np.ones((3, 2, 1)), np.ones(3))[1:]
    assert (part.mask, part.dt, part.reset) == (None, None, None)


@pytest.mark.parametrize("index", [10, -11, np.array([0, 10])])
def test_positions_that_do_not_exist_are_refused(index):
    batch, _ = padded()
    for each in (batch, jax.tree.map(jnp.asarray, batch)):
        with pytest.raises(IndexError, match="not among 10 samples"):
            each[index]


def test_a_position_is_a_whole_number():
    with pytest.raises(TypeError, match="array of positions"):
        padded()[0][np.array([0.0, 1.0])]


X, Y = np.ones((4, 3, 2)), np.ones(4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(x=np.ones(4), y=Y), r"x of shape \(samples, time, features\).*x\[None\]"),
        (dict(x=X, y=np.ones(5)), "as many samples in y as in x"),
        (dict(x=X, y=Y, mask=np.ones((4, 2), bool)), r"mask of shape .*\(4, 3\), got \(4, 2\)"),
        (dict(x=X, y=Y, mask=np.ones((4, 3))), "mask to be bool, got float64"),
        (dict(x=X, y=Y, reset=np.ones((4, 3), int)), "reset to be bool"),
        (dict(x=X, y=Y, dt=np.ones((4, 3), int)), "dt to be float"),
        (dict(x=X, y=Y, dt=np.ones((4,))), "dt of shape"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Batch(**fields)


def test_batches_pass_through_transformations():
    batch = jax.tree.map(jnp.asarray, padded()[0])
    assert same(jax.jit(lambda b: b)(batch), batch)
    assert same(jax.vmap(lambda b: b)(batch), batch)
    assert same(jax.jit(lambda b, i: b[i])(batch, jnp.array([1, 2])), batch[1:3])
    remade = eqx.filter_jit(lambda b: Batch(b.x * 2, b.y, b.mask, b.dt, b.reset))(batch)
    np.testing.assert_array_equal(remade.x, batch.x * 2)
    floats, rest = eqx.partition(batch, eqx.is_inexact_array)
    assert floats.mask is None
    assert rest.x is None
    assert same(eqx.combine(floats, rest), batch)
    assert jax.eval_shape(lambda: batch).x.shape == (10, 6, 1)
    gradient = eqx.filter_grad(lambda b: (b.x**2).sum())(batch)
    np.testing.assert_array_equal(gradient.x, 2 * batch.x)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.zeros(4), False),
        (np.zeros((4, 3)), False),  # float: three features of a sample
        (np.zeros((4, 3), int), True),  # whole numbers: a label a step
        (np.zeros((4, 3, 1)), True),
        (np.zeros((4, 2, 1)), False),
    ],
)
def test_per_step(y, expected):
    assert Batch(X, y).per_step is expected


# batches


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 99])
def test_every_sample_comes_exactly_once(key, batch_size):
    batch, _ = padded()
    parts = list(data.batches(batch, batch_size, key=key))
    labels = np.concatenate([part.y for part in parts])
    np.testing.assert_array_equal(np.sort(labels), np.arange(10))
    assert all(len(part) == batch_size for part in parts[:-1])
    for part in parts:
        assert isinstance(part.x, jax.Array)
        np.testing.assert_array_equal(part.x, batch[np.asarray(part.y)].x)
        np.testing.assert_array_equal(part.mask, batch[np.asarray(part.y)].mask)
    if key is None:
        np.testing.assert_array_equal(labels, np.arange(10))


def test_the_key_decides_the_order():
    batch, _ = padded(50)

    def order(key):
        return np.concatenate([part.y for part in data.batches(batch, 8, key=key)]).tolist()

    assert order(KEY) == order(jax.random.key(0)) == order(jax.random.PRNGKey(0))
    assert order(KEY) != order(jax.random.key(1))
    assert order(KEY) != list(range(50))


def test_drop_last_leaves_whole_batches_only():
    batch, _ = padded()
    assert [len(part) for part in data.batches(batch, 4, drop_last=True)] == [4, 4]
    assert [len(part) for part in data.batches(batch, 5, drop_last=True)] == [5, 5]
    with pytest.raises(ValueError, match="batch_size 11 with drop_last leaves nothing"):
        data.batches(batch, 11, drop_last=True)
    with pytest.raises(ValueError, match="batch_size of at least 1"):
        data.batches(batch, 0)


@pytest.mark.parametrize("labels", [True, False])
def test_lengths_give_those_shapes_only_and_lose_nothing(labels):
    batch, lengths = padded(labels=labels)
    parts = list(data.batches(batch, 2, lengths=(8, 3, 4)))
    assert {part.x.shape[1] for part in parts} == {3, 4, 8}
    for part, first in zip(parts, range(0, 10, 2)):
        longest = max(lengths[first : first + 2])
        time = min(length for length in (3, 4, 8) if length >= longest)
        assert part.x.shape[1] == part.mask.shape[1] == part.dt.shape[1] == part.reset.shape[1]
        assert part.x.shape[1] == time
        assert part.per_step is not labels
        whole = batch[first : first + 2]
        np.testing.assert_array_equal(np.asarray(part.x)[part.mask], whole.x[whole.mask])
        assert not part.x[~part.mask].any()
        assert (part.dt[:, 6:] == 1).all()
        assert not part.reset.any()
        if not labels:
            np.testing.assert_array_equal(part.y, part.x)


def test_lengths_count_to_the_last_valid_step_even_after_gaps():
    mask = np.array([[False, True, False, True, False, False]])
    batch = Batch(np.ones((1, 6, 1)), np.ones(1), mask)
    (part,) = data.batches(batch, 1, lengths=(3, 4, 5))
    assert part.x.shape == (1, 4, 1)
    tokens = Batch(np.ones((1, 6), int), np.ones((1, 6), int), mask)
    (part,) = data.batches(tokens, 1, lengths=(7,))
    assert part.x.shape == part.y.shape == (1, 7)


def test_the_rows_of_one_process_are_as_long_as_those_of_all():
    batch, _ = padded(12, labels=False)
    keywords = {"key": jax.random.key(0), "lengths": (3, 5, 8)}
    whole = list(data.batches(batch, 4, **keywords))
    for own in (np.array([0, 1]), np.array([3]), None):
        parts = own_batches(batch, 4, own=lambda size, own=own: own, **keywords)
        for part, all_rows in zip(parts, whole, strict=True):
            rows = slice(None) if own is None else own
            assert part.x.shape[1] == all_rows.x.shape[1]
            for leaf, expected in zip(jax.tree.leaves(part), jax.tree.leaves(all_rows)):
                np.testing.assert_array_equal(leaf, np.asarray(expected)[rows])


def test_lengths_that_cannot_work_are_refused_at_the_call():
    batch, _ = padded()
    with pytest.raises(ValueError, match=r"no length of \(2, 5\).*6 steps.*at least 6"):
        data.batches(batch, 2, lengths=(2, 5))
    with pytest.raises(ValueError, match="needs a batch with a mask"):
        data.batches(Batch(X, Y), 2, lengths=(3,))


# pad_sequences and windows


def test_padding_keeps_the_sequences_and_marks_them():
    sequences = [np.full((n, 2), n, np.float32) for n in (3, 1, 0, 5)]
    x, mask = data.pad_sequences(sequences)
    assert x.shape == (4, 5, 2)
    np.testing.assert_array_equal(mask.sum(axis=1), [3, 1, 0, 5])
    for row, valid, sequence in zip(np.asarray(x), np.asarray(mask), sequences):
        np.testing.assert_array_equal(row[: len(sequence)], sequence)
        assert valid[: len(sequence)].all()
        assert not row[len(sequence) :].any()
    assert data.pad_sequences(sequences, 9)[0].shape == (4, 9, 2)
    tokens, _ = data.pad_sequences([[1, 2], [3]])
    assert tokens.tolist() == [[1, 2], [3, 0]]
    assert jnp.issubdtype(tokens.dtype, jnp.integer)
    assert data.pad_sequences([np.zeros(1)] * 200)[0].shape == (200, 1)


def test_padding_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="length 2 would cut a sequence of 3 steps"):
        data.pad_sequences([[1, 2, 3]], 2)
    with pytest.raises(ValueError, match="one trailing shape"):
        data.pad_sequences([np.ones((3, 2)), np.ones((3, 1))])
    with pytest.raises(ValueError, match="no sequence"):
        data.pad_sequences([])


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("stride", [1, 4])
def test_windows_are_the_series_and_its_future(horizon, stride):
    series = np.arange(20.0)
    batch = data.windows(series, 5, horizon=horizon, stride=stride)
    starts = list(range(0, 20 - horizon - 5 + 1, stride))
    assert len(batch) == len(starts)
    for sample, start in zip(batch, starts):
        np.testing.assert_array_equal(sample.x[:, 0], np.arange(start, start + 5))
        np.testing.assert_array_equal(sample.y, sample.x + horizon)
    assert float(batch.y.max()) <= 19
    whole = data.windows(np.stack([series, -series], axis=1), None, horizon=horizon)
    assert whole.x.shape == (1, 20 - horizon, 2)


def test_windows_with_gaps_count_steps_whose_value_and_target_were_seen():
    seen = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    series = np.where(seen, np.arange(1.0, 9.0), np.nan)
    batch = data.windows(series, None, mask=seen, dt=np.arange(8.0))
    np.testing.assert_array_equal(batch.mask[0], seen[:-1] & seen[1:])
    np.testing.assert_array_equal(batch.x[0, :, 0], [1, 0, 0, 4, 5, 0, 0])
    np.testing.assert_array_equal(batch.y[0, :, 0], [2, 0, 0, 5, 6, 0, 0])
    np.testing.assert_array_equal(batch.dt[0], np.arange(7.0))


def test_windows_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="length from 1 to the 4 steps that have a target"):
        data.windows(np.zeros(5), 5)
    with pytest.raises(ValueError, match="horizon of at least 1"):
        data.windows(np.zeros(5), 2, horizon=0)
    with pytest.raises(ValueError, match="stride"):
        data.windows(np.zeros(5), 2, stride=0)
    with pytest.raises(ValueError, match="0 steps"):
        data.windows(np.zeros(2), None, horizon=2)
    with pytest.raises(ValueError, match="expected mask of shape"):
        data.windows(np.zeros(5), 2, mask=np.ones(4, bool))
    with pytest.raises(ValueError, match="series"):
        data.windows(np.zeros((5, 1, 1)), 2)


# Memory tasks


@pytest.mark.parametrize("length", [2, 7, 20])
def test_adding_is_the_sum_of_one_marked_number_in_each_half(length):
    sets = load("adding", key=KEY, length=length, n_train=300, n_valid=5, n_test=50)
    for part in (sets.train, sets.valid, sets.test):
        values, markers = np.asarray(part.x[..., 0]), np.asarray(part.x[..., 1])
        assert set(np.unique(markers)) <= {0, 1}
        assert (markers[:, : length // 2].sum(axis=1) == 1).all()
        assert (markers[:, length // 2 :].sum(axis=1) == 1).all()
        np.testing.assert_allclose(part.y[:, 0], (values * markers).sum(axis=1), rtol=1e-6)
        assert values.min() >= 0
        assert values.max() < 1
    assert markers.any(axis=0).all()  # every position is drawn


def test_the_constant_of_the_adding_problem_errs_by_a_sixth():
    sets = load("adding", key=KEY, length=10, n_train=1, n_valid=0, n_test=20_000)
    (baseline,) = sets.info.baselines
    assert baseline.value == pytest.approx(1 / 6)
    assert float(((sets.test.y - 1) ** 2).mean()) == pytest.approx(1 / 6, rel=0.03)


@pytest.mark.parametrize(("delay", "n_items", "n_symbols"), [(7, 10, 8), (1, 2, 3)])
def test_copy_memory_shows_the_items_waits_and_asks(delay, n_items, n_symbols):
    options = dict(delay=delay, n_items=n_items, n_symbols=n_symbols, **SMALL)
    sets = load("copy_memory", key=KEY, encoding="tokens", **options)
    x, y = np.asarray(sets.train.x), np.asarray(sets.train.y)
    items = x[:, :n_items]
    assert x.shape == y.shape == (40, delay + 2 * n_items)
    assert set(np.unique(items)) == set(range(1, n_symbols + 1))
    assert (x[:, n_items + delay - 1] == n_symbols + 1).all()
    assert np.count_nonzero(x[:, n_items:]) == len(x)  # nothing else but the signal
    np.testing.assert_array_equal(y[:, -n_items:], items)
    assert not y[:, :-n_items].any()
    one_hot = load("copy_memory", key=KEY, **options)
    np.testing.assert_array_equal(one_hot.train.x.argmax(axis=-1), x)
    np.testing.assert_array_equal(one_hot.train.x.sum(axis=-1), 1)
    assert sets.train.per_step
    assert (sets.info.input_size, sets.info.output_size) == (n_symbols + 2, n_symbols + 1)


def test_the_memoryless_copy_baseline():
    (baseline,) = load("copy_memory", key=KEY, **SMALL).info.baselines
    assert baseline.value == pytest.approx(10 * math.log(8) / 120)


def test_delayed_recall_asks_for_the_flagged_symbol():
    sets = load("delayed_recall", key=KEY, length=12, delay=5, n_symbols=4, **SMALL)
    x, y = np.asarray(sets.train.x), np.asarray(sets.train.y)
    symbols, keep, recall = x[..., :4], x[..., 4], x[..., 5]
    np.testing.assert_array_equal(keep.sum(axis=1), 1)
    kept = keep.argmax(axis=1)
    np.testing.assert_array_equal(symbols[np.arange(40), kept].argmax(axis=1), y)
    assert set(kept) == set(range(7))  # at least 5 steps before step 11
    np.testing.assert_array_equal(recall, np.eye(12)[np.full(40, 11)])
    np.testing.assert_array_equal(symbols.sum(axis=-1)[:, :-1], 1)
    assert not symbols[:, -1].any()
    assert set(y) == {0, 1, 2, 3}


# Dynamics


def test_mackey_glass_follows_the_exact_solution_between_delays():
    # With the delayed value held, the equation is linear over a step and has an exact solution.
    series = data.mackey_glass_series(300)
    past = np.concatenate([np.full(17, 1.2), series])
    gain = 0.2 * past[:299] / (1 + past[:299] ** 10)
    decay = np.exp(-0.1)
    np.testing.assert_allclose(
        series[1:], series[:-1] * decay + gain / 0.1 * (1 - decay), rtol=1e-6
    )
    assert series[0] == 1.2
    assert 0.2 < series.min() < 0.6 < 1.2 < series.max() < 1.5


def test_mackey_glass_converges_to_the_delay_equation():
    coarse, middle, fine = (data.mackey_glass_series(60 * n + 1, h=1 / n)[::n] for n in (4, 8, 16))
    assert abs(middle - fine).max() == pytest.approx(abs(coarse - middle).max() / 2, rel=0.15)


def test_mackey_glass_takes_its_history():
    history = np.linspace(0.5, 1, 17)
    series = data.mackey_glass_series(3, history=history)
    gain = 0.2 * history[1] / (1 + history[1] ** 10)
    decay = np.exp(-0.1)
    assert series[2] == pytest.approx(series[1] * decay + gain / 0.1 * (1 - decay), rel=1e-6)
    with pytest.raises(ValueError, match="history of tau / h = 17 values, got 3"):
        data.mackey_glass_series(3, history=np.ones(3))
    with pytest.raises(ValueError, match="whole number"):
        data.mackey_glass_series(3, h=0.3)


def test_lorenz_agrees_with_an_adaptive_solver():
    def flow(_, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    times = np.arange(100) * 0.03
    exact = solve_ivp(
        flow, (0, 3), [1, 1, 1], t_eval=times, method="DOP853", rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(data.lorenz_series(100, substeps=30), exact.y.T, atol=1e-4)
    np.testing.assert_allclose(data.lorenz_series(50), exact.y.T[:50], atol=2e-2)


def test_narma10_obeys_its_recursion():
    u, y = data.narma10_series(400, key=KEY)
    assert u.shape == y.shape == (400,)
    assert 0 <= u.min() < 0.01 < 0.49 < u.max() <= 0.5
    assert y[0] == 0
    for t in range(9, 399):
        expected = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
        assert y[t + 1] == pytest.approx(expected, rel=1e-12)
    assert y[1] == pytest.approx(0.1)  # no input and no output before the first step


def test_narma10_draws_diverging_inputs_again(monkeypatch):
    wild = np.full(500, 0.5)
    assert not np.isfinite(systems._narma10(wild)).all()
    tame = np.random.default_rng(3).uniform(0, 0.5, 500)

    class Draws:
        def __init__(self, *draws):
            self.draws = list(draws)

        def uniform(self, low, high, size):
            return self.draws.pop(0) if len(self.draws) > 1 else self.draws[0]

    monkeypatch.setattr(systems, "generator", lambda key: Draws(wild, wild, tame))
    u, y = data.narma10_series(500, key=KEY)
    np.testing.assert_array_equal(u, tame)
    assert np.isfinite(y).all()
    monkeypatch.setattr(systems, "generator", lambda key: Draws(wild))
    with pytest.raises(RuntimeError, match="no bounded NARMA10 series"):
        data.narma10_series(500, key=KEY)


def test_narma10_pairs_an_input_with_the_output_that_first_feels_it():
    sets = load("narma10", key=KEY, normalise=False, length=None, n_train=60, n_test=40)
    u = np.concatenate([sets.train.x[0, :, 0], sets.valid.x[0, :, 0]])
    y = np.concatenate([sets.train.y[0, :, 0], sets.valid.y[0, :, 0]])
    for t in range(10, len(u)):
        past = y[t - 10 : t]  # y[t - 1] is the output before input u[t]
        expected = 0.3 * past[-1] + 0.05 * past[-1] * past.sum() + 1.5 * u[t - 9] * u[t] + 0.1
        assert y[t] == pytest.approx(expected, rel=1e-5)


def test_multiple_sinusoids():
    series = data.multiple_sinusoids_series(50)
    published = (0.2, 0.311, 0.42, 0.51, 0.63, 0.74, 0.85, 0.97)
    for t in (0, 1, 49):
        assert series[t] == pytest.approx(sum(math.sin(f * t) for f in published))
    two = load("multiple_sinusoids", frequencies=(0.2, 0.311), normalise=False)
    expected = np.sin(0.2 * np.arange(400, 699)) + np.sin(0.311 * np.arange(400, 699))
    np.testing.assert_allclose(two.test.x[0, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["mackey_glass", "lorenz", "multiple_sinusoids"])
def test_forecasts_are_standardised_by_the_train_part_and_follow_on(name):
    options = {"n_train": 300, "n_valid": 50, "n_test": 100, "length": None, "horizon": 3}
    sets = load(name, key=KEY, **options)
    raw = load(name, key=KEY, **options, normalise=False)
    features = sets.info.input_size
    assert sets.train.x.shape == (1, 297, features)
    assert sets.valid.x.shape == (1, 47, features)
    assert sets.test.x.shape == (1, 97, features)
    for part, rough in ((sets.train, raw.train), (sets.valid, raw.valid), (sets.test, raw.test)):
        np.testing.assert_array_equal(part.x[:, 3:], part.y[:, :-3])
        restored = part.x * np.array(sets.info.std) + np.array(sets.info.mean)
        np.testing.assert_allclose(restored, rough.x, rtol=1e-4, atol=1e-4)
    train = np.concatenate([sets.train.x[0], sets.train.y[0, -3:]])
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-4)
    assert raw.info.mean == raw.info.std == ()
    persistence = sets.info.baselines[-1]
    error = float(((sets.test.y - sets.test.x) ** 2).mean())
    assert persistence.value == pytest.approx(error, rel=1e-4)


def test_sizes_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="n_train >= 1"):
        load("adding", key=KEY, n_train=0)
    with pytest.raises(ValueError, match="n_test >= 2"):
        load("lorenz", key=KEY, n_test=1)
    with pytest.raises(ValueError, match="marker in each half"):
        load("adding", key=KEY, length=1)
    with pytest.raises(ValueError, match="1 <= delay < length"):
        load("delayed_recall", key=KEY, length=5, delay=5)
    with pytest.raises(ValueError, match="n_symbols of at least 2"):
        load("delayed_recall", key=KEY, n_symbols=1)
    with pytest.raises(ValueError, match="at least 1"):
        load("copy_memory", key=KEY, delay=0)


# The registry


def test_every_data_set_is_listed():
    names = data.list_datasets()
    assert names == tuple(sorted(names))
    assert {*GENERATED, "co2_weekly", "digits", "japanese_vowels"} <= set(names)
    assert {"santafe_laser", "sunspots_yearly"} <= set(names)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_data_depend_on_the_key_alone(name):
    sets = load(name, key=KEY, **GENERATED[name])
    assert same(sets, load(name, key=jax.random.PRNGKey(0), **GENERATED[name]))
    other = load(name, key=jax.random.key(1), **GENERATED[name])
    assert same(sets.train, other.train) is (name == "multiple_sinusoids")
    assert not same(sets.valid[:1], sets.test[:1])
    assert sets.info.name == name
    assert sets.info.task in ("classification", "regression", "forecasting")
    for part in (sets.train, sets.valid, sets.test):
        assert part.x.shape[2] == sets.info.input_size
        assert part.x.dtype == np.float32
        assert np.isfinite(part.x).all()
        if sets.info.task == "classification":
            assert part.y.dtype == np.int32
            assert 0 <= part.y.min() <= part.y.max() < sets.info.output_size
        else:
            assert part.y.shape[-1] == sets.info.output_size


def test_the_size_of_one_part_leaves_the_others_alone():
    few = load("adding", key=KEY, length=4, n_train=3, n_valid=0, n_test=5)
    many = load("adding", key=KEY, length=4, n_train=30, n_valid=9, n_test=5)
    assert few.valid is None
    assert same(few.test, many.test)


@pytest.mark.parametrize("name", sorted(set(GENERATED) - {"multiple_sinusoids"}))
def test_generated_data_need_a_key(name):
    with pytest.raises(ValueError, match=r"needs a key.*key=jax\.random\.key\(0\)"):
        load(name)


def test_unknown_names_and_options_are_explained():
    with pytest.raises(ValueError, match="did you mean 'mackey_glass'"):
        load("mackeyglass")
    with pytest.raises(ValueError, match="unknown data set 'zzz'; known are adding, bitstream_xor"):
        load("zzz")
    with pytest.raises(TypeError, match="'adding' has no option 'size'; its options are length"):
        load("adding", key=KEY, size=3)
